"""There is room for the tasks, and what has to reach them may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any

from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer
from inference_operator.checks.base import Case, Check, Finding, failed, warning

MANAGED = "Nothing, if the condition SecurityGroupRulesReady of the InferenceEnvironment is True or will be soon."
"""To do about a missing rule where the operator makes it."""


def subnets_of(case: Case) -> Sequence[Answer]:
    ids = list(case.environment.network.subnets)
    found: Sequence[Answer] = case.ask(case.aws.ec2.describe_subnets, "ec2:DescribeSubnets", SubnetIds=ids)["Subnets"]
    return found


def look_at_subnets(case: Case) -> Iterator[Finding]:
    try:
        subnets = subnets_of(case)
    except NotFound as error:
        told = error.message.rstrip(".")
        yield failed(f"a subnet of the environment does not exist: {told}", "Name subnets that exist.")
        return
    if len({subnet["VpcId"] for subnet in subnets}) > 1:
        yield failed("the environment's subnets are in several VPCs", "Name subnets of one VPC.")
    free = sum(subnet["AvailableIpAddressCount"] for subnet in subnets)
    _, most = case.spec.bounds
    more = max(1, case.spec.rollout.maximum_percent * most // 100)
    if most and free < more:
        told = f"{free} addresses are free in the environment's subnets, and the rollout may need {more}"
        step = "Free some, or add subnets to the InferenceEnvironment."
        yield failed(told, step) if free == 0 else warning(told, step)


def look_at_listener(case: Case) -> Iterator[Finding]:
    balancer = case.environment.load_balancer
    if balancer is None:
        return
    arn, version = balancer.listener_arn, case.spec.ingress.protocol_version
    try:
        [listener] = case.ask(case.aws.elb.describe_listeners, "elb:DescribeListeners", ListenerArns=[arn])["Listeners"]
    except NotFound:
        yield failed(
            f"the listener {arn} does not exist", "Restore it; or make an InferenceEnvironment with another one."
        )
        return
    if version != "HTTP1" and listener["Protocol"] != "HTTPS":
        yield failed(
            f"spec.ingress.protocolVersion {version} needs a listener with TLS, and the environment's has the protocol "
            f"{listener['Protocol']}",
            "Use HTTP1, or an environment whose listener is HTTPS.",
        )


def look_at_way_in(case: Case) -> Iterator[Finding]:
    balancer = case.environment.load_balancer
    if balancer is None:
        return
    sources = case.aws.listings.load_balancer_of(balancer.listener_arn).get("SecurityGroups", [])
    groups = list(case.environment.network.security_groups)
    if not admits(rules_of(case, groups), port=case.spec.port, groups=sources):
        told = warning if case.environment.network.manage_security_group_rules else failed
        yield told(
            f"no rule of {', '.join(groups)} lets the load balancer ({', '.join(sources) or 'without a group'}) in "
            f"on tcp {case.spec.port}, so that every health check would fail",
            MANAGED if told is warning else f"Allow tcp {case.spec.port} from the load balancer's security group.",
        )


def rules_of(case: Case, groups: Sequence[str]) -> Sequence[Answer]:
    """Of security groups, in both directions, as DescribeSecurityGroupRules shows them."""
    filters: list[dict[str, Any]] = [{"Name": "group-id", "Values": sorted(groups)}]
    answer = case.ask(
        case.aws.ec2.describe_security_group_rules, "ec2:DescribeSecurityGroupRules", Filters=filters, MaxResults=1000
    )
    found: Sequence[Answer] = answer["SecurityGroupRules"]
    return found


def admits(rules: Iterable[Answer], *, port: int, groups: Iterable[str], addresses: Iterable[str] = ()) -> bool:
    """Whether some rule lets tcp in on a port from one of the groups, or from all of some addresses (CIDR).

    Rules by prefix list are not looked into: they count as letting everything in.
    """
    groups, networks = set(groups), [ip_network(address) for address in addresses]
    for rule in rules:
        if rule.get("IsEgress") or not _covers(rule, port):
            continue
        source = ip_network(rule["CidrIpv4"]) if rule.get("CidrIpv4") else None
        if rule.get("PrefixListId") or rule.get("ReferencedGroupInfo", {}).get("GroupId") in groups:
            return True
        if source is not None and all(n.version == source.version and n.subnet_of(source) for n in networks):  # type: ignore[arg-type]  # of one version
            return True
    return False


def _covers(rule: Answer, port: int) -> bool:
    protocol = str(rule.get("IpProtocol"))
    if protocol == "-1":
        return True
    first, last = rule.get("FromPort", -1), rule.get("ToPort", -1)
    return protocol in ("tcp", "6") and (first == -1 or first <= port <= last)


SUBNETS = Check(
    name="Subnets",
    about="The subnets exist in one VPC and have free addresses: none is a failure, too few for the rollout a warning.",
    look=look_at_subnets,
)
LISTENER = Check(
    name="Listener",
    about="The listener exists, with TLS where `ingress.protocolVersion` needs it.",
    look=look_at_listener,
)
WAY_IN = Check(
    name="LoadBalancerAccess",
    about="A security group of the tasks lets the load balancer in on `port`.",
    look=look_at_way_in,
)
