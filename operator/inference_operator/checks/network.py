"""There is room for the tasks, and what has to reach them may."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_network
from typing import Any

from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer
from inference_operator.checks.base import Case, Check, Finding, Place, failed, unknown, warning

MANAGED = "Nothing, if the condition SecurityGroupRulesReady of the InferenceEnvironment is True or will be soon."
"""To do about a missing rule where the operator makes it."""


def subnets_of(place: Place) -> Sequence[Answer]:
    ids = list(place.environment.network.subnets)
    ask = place.aws.ec2.describe_subnets
    found: Sequence[Answer] = place.ask(ask, "ec2:DescribeSubnets", SubnetIds=ids)["Subnets"]
    return found


def look_for_subnets(place: Place) -> Iterator[Finding]:
    try:
        subnets = subnets_of(place)
    except NotFound as error:
        told = error.message.rstrip(".")
        yield failed(f"a subnet of the environment does not exist: {told}", "Name subnets that exist.")
        return
    if len({subnet["VpcId"] for subnet in subnets}) > 1:
        yield failed("the environment's subnets are in several VPCs", "Name subnets of one VPC.")


def look_at_subnets(case: Case) -> Iterator[Finding]:
    yield from look_for_subnets(case)
    try:
        subnets = subnets_of(case)
    except NotFound:  # as was just told
        return
    free = sum(subnet["AvailableIpAddressCount"] for subnet in subnets)
    _, most = case.spec.bounds
    more = max(1, case.spec.rollout.maximum_percent * most // 100)
    if most and free < more:
        told = f"{free} addresses are free in the environment's subnets, and the rollout may need {more}"
        step = "Free some, or add subnets to the InferenceEnvironment."
        yield failed(told, step) if free == 0 else warning(told, step)


def look_for_security_groups(place: Place) -> Iterator[Finding]:
    """A group is known by its rules alone, which the operator may read; one may be there without any."""
    asked, region = place.environment.network.security_groups, place.environment.region
    try:
        known = {rule["GroupId"] for rule in rules_of(place, asked)}
    except NotFound:
        known = set()
    lacking = ", ".join(group for group in asked if group not in known)
    if not known:
        yield failed(
            f"there is no rule of {lacking} in {region}: they do not exist, or let tasks reach nothing",
            "Name security groups that exist, with a rule that lets tasks out.",
        )
    elif lacking:
        told = f"there is no rule of {lacking} in {region}, so that it is not known to exist"
        yield unknown(told, "Name security groups that exist; nothing, if it does.")


def listener(place: Place, arn: str) -> Answer | None:
    try:
        answer = place.ask(place.aws.elb.describe_listeners, "elb:DescribeListeners", ListenerArns=[arn])
    except NotFound:
        return None
    [found] = answer["Listeners"]
    return dict(found)


def look_for_listeners(place: Place) -> Iterator[Finding]:
    balancer = place.environment.load_balancer
    arns = (balancer.listener_arn, balancer.test_listener_arn) if balancer is not None else ()
    for arn in arns:
        if arn is not None and listener(place, arn) is None:
            yield _no_listener(arn)


def look_for_namespace(place: Place) -> Iterator[Finding]:
    asked = place.environment.service_discovery
    if asked is None:
        return
    try:
        place.ask(place.aws.discovery.get_namespace, "servicediscovery:GetNamespace", Id=asked.namespace_id)
    except NotFound:
        yield failed(
            f"the Cloud Map namespace {asked.namespace_id} does not exist in {place.environment.region}",
            "Make one, and name it; or remove serviceDiscovery.",
        )


def look_at_listener(case: Case) -> Iterator[Finding]:
    balancer = case.environment.load_balancer
    if balancer is None:
        return
    arn, version = balancer.listener_arn, case.spec.ingress.protocol_version
    found = listener(case, arn)
    if found is None:
        yield _no_listener(arn)
    elif version != "HTTP1" and found["Protocol"] != "HTTPS":
        yield failed(
            f"spec.ingress.protocolVersion {version} needs a listener with TLS, and the environment's has the protocol "
            f"{found['Protocol']}",
            "Use HTTP1, or an environment whose listener is HTTPS.",
        )


def _no_listener(arn: str) -> Finding:
    return failed(f"the listener {arn} does not exist", "Restore it; or make an InferenceEnvironment with another one.")


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


def rules_of(place: Place, groups: Sequence[str]) -> Sequence[Answer]:
    """Of security groups, in both directions, as DescribeSecurityGroupRules shows them."""
    filters: list[dict[str, Any]] = [{"Name": "group-id", "Values": sorted(groups)}]
    answer = place.ask(
        place.aws.ec2.describe_security_group_rules, "ec2:DescribeSecurityGroupRules", Filters=filters, MaxResults=1000
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
SUBNETS_OF_ENVIRONMENT = Check(
    name="Subnets", about="`network.subnets` exist, in one VPC.", member="network.subnets", look=look_for_subnets
)
SECURITY_GROUPS = Check(
    name="SecurityGroups",
    about="`network.securityGroups` exist; one without a rule can't be told from one that does not.",
    member="network.securityGroups",
    look=look_for_security_groups,
)
LISTENERS_OF_ENVIRONMENT = Check(
    name="Listener",
    about="`loadBalancer.listenerArn` and `testListenerArn` exist.",
    member="loadBalancer",
    look=look_for_listeners,
)
SERVICE_DISCOVERY = Check(
    name="ServiceDiscovery",
    about="`serviceDiscovery.namespaceId` exists.",
    member="serviceDiscovery.namespaceId",
    look=look_for_namespace,
)
