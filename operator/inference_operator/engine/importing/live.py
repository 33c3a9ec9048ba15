"""What AWS shows of a service and of all that belongs to it, read once. Only operations that the operator asks for
anyway, so that no right is needed besides its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from inference_operator.api.meta import CONTAINER
from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer, Aws
from inference_operator.domain import tags
from inference_operator.resources.scalable_target import DIMENSION, address


@dataclass(frozen=True, kw_only=True)
class Behind:
    """A target group, with what leads to it."""

    group: Answer
    attributes: Mapping[str, str]
    listeners: Sequence[Answer]
    """Of its load balancer."""
    rules: Sequence[Answer]
    """Those that forward to it, default actions among them, each with its `ListenerArn`."""
    host: str
    """DNS name of the load balancer."""


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """A scalable target, with what moves it."""

    target: Answer
    policies: Sequence[Answer]
    actions: Sequence[Answer]


@dataclass(frozen=True, kw_only=True)
class Live:
    region: str
    cluster: str
    service: Answer
    definition: Answer
    definition_tags: Mapping[str, str]
    access_point: Answer | None = None
    behind: Behind | None = None
    scaled: Scaled | None = None
    discovery: Answer | None = None
    """The service of Cloud Map in which its tasks are registered."""
    retention: Mapping[str, int | None] = field(default_factory=dict)
    """Days, by log group that containers write to; None: for ever."""

    @property
    def name(self) -> str:
        name: str = self.service["serviceName"]
        return name

    @property
    def tags(self) -> dict[str, str]:
        return tags.parse(self.service.get("tags"))

    @property
    def containers(self) -> Sequence[Answer]:
        found: Sequence[Answer] = self.definition["containerDefinitions"]
        return found

    @property
    def main(self) -> Answer:
        """The container that serves: the one that is called so, gets the requests, or comes first."""
        balanced = {each.get("containerName") for each in self.service.get("loadBalancers", ())}
        ranked = sorted(self.containers, key=lambda c: (c["name"] != CONTAINER, c["name"] not in balanced))
        return ranked[0]

    @property
    def models(self) -> tuple[Answer, Answer] | None:
        """The volume of EFS that the main container mounts, and the mount."""
        volumes = {v["name"]: v for v in self.definition.get("volumes", ()) if v.get("efsVolumeConfiguration")}
        mounts = (m for m in self.main.get("mountPoints", ()) if m.get("sourceVolume") in volumes)
        return next(((volumes[mount["sourceVolume"]], mount) for mount in mounts), None)


def look(aws: Aws, cluster: str, service: str) -> Live | None:
    """None if there is no such service that is ACTIVE and has a task definition; one of an external controller has
    none."""
    answer = aws.ecs.describe_services(cluster=cluster, services=[service], include=["TAGS"])["services"]
    if not answer or answer[0]["status"] != "ACTIVE" or "taskDefinition" not in answer[0]:
        return None
    shown = answer[0]
    described = aws.ecs.describe_task_definition(taskDefinition=shown["taskDefinition"], include=["TAGS"])
    live = Live(
        region=aws.region,
        cluster=shown["clusterArn"].rpartition("/")[2],
        service=shown,
        definition=described["taskDefinition"],
        definition_tags=tags.parse(described.get("tags")),
    )
    return replace(
        live,
        access_point=_access_point(aws, live),
        behind=_behind(aws, shown),
        scaled=_scaled(aws, live),
        discovery=_discovery(aws, shown),
        retention=dict(_retention(aws, live)),
    )


def _access_point(aws: Aws, live: Live) -> Answer | None:
    efs = live.models[0]["efsVolumeConfiguration"] if live.models is not None else {}
    identifier = (efs.get("authorizationConfig") or {}).get("accessPointId")
    if identifier is None:
        return None
    try:
        found: Answer = aws.efs.describe_access_points(AccessPointId=identifier)["AccessPoints"][0]
    except NotFound:
        return None
    return found


def _behind(aws: Aws, service: Answer) -> Behind | None:
    arn = next((each["targetGroupArn"] for each in service.get("loadBalancers", ()) if "targetGroupArn" in each), None)
    if arn is None:
        return None
    group = aws.elb.describe_target_groups(TargetGroupArns=[arn])["TargetGroups"][0]
    shown = aws.elb.describe_target_group_attributes(TargetGroupArn=arn)["Attributes"]
    listeners = [each for balancer in group["LoadBalancerArns"] for each in _listeners(aws, balancer)]
    balancers = aws.elb.describe_load_balancers(LoadBalancerArns=group["LoadBalancerArns"][:1])["LoadBalancers"]
    return Behind(
        group=group,
        attributes={each["Key"]: each["Value"] for each in shown},
        listeners=listeners,
        rules=[rule for each in listeners for rule in _rules(aws, each["ListenerArn"]) if arn in groups_of(rule)],
        host=balancers[0]["DNSName"] if balancers else "",
    )


def groups_of(rule: Answer) -> list[str]:
    """ARNs of the target groups that a rule forwards to."""
    found = []
    for action in rule["Actions"]:
        weighted = [each["TargetGroupArn"] for each in action.get("ForwardConfig", {}).get("TargetGroups", ())]
        found += weighted or [action[member] for member in ("TargetGroupArn",) if member in action]
    return found


def _listeners(aws: Aws, balancer: str) -> Iterator[Answer]:
    return _pages(aws.elb.describe_listeners, "Listeners", ("Marker", "NextMarker"), LoadBalancerArn=balancer)


def _rules(aws: Aws, listener: str) -> Iterator[Answer]:
    found = _pages(aws.elb.describe_rules, "Rules", ("Marker", "NextMarker"), ListenerArn=listener)
    return ({**rule, "ListenerArn": listener} for rule in found)


def _scaled(aws: Aws, live: Live) -> Scaled | None:
    where = address(f"service/{live.cluster}/{live.name}")
    asked = {"ServiceNamespace": where["ServiceNamespace"], "ResourceIds": [where["ResourceId"]]}
    targets = aws.scaling.describe_scalable_targets(**asked)["ScalableTargets"]
    target = next((each for each in targets if each["ScalableDimension"] == DIMENSION), None)
    if target is None:
        return None
    next_page = ("NextToken", "NextToken")
    return Scaled(
        target=target,
        policies=list(_pages(aws.scaling.describe_scaling_policies, "ScalingPolicies", next_page, **where)),
        actions=list(_pages(aws.scaling.describe_scheduled_actions, "ScheduledActions", next_page, **where)),
    )


def _discovery(aws: Aws, service: Answer) -> Answer | None:
    registries = service.get("serviceRegistries") or ()
    arn = next((each["registryArn"] for each in registries if each.get("registryArn")), None)
    if arn is None:
        return None
    found: Answer = aws.discovery.get_service(Id=arn.rpartition("/")[2])["Service"]
    return found


def _retention(aws: Aws, live: Live) -> Iterator[tuple[str, int | None]]:
    logged = ((each.get("logConfiguration") or {}).get("options") or {} for each in live.containers)
    for name in sorted({options["awslogs-group"] for options in logged if "awslogs-group" in options}):
        listed = aws.logs.describe_log_groups(logGroupNamePrefix=name, limit=50)["logGroups"]
        yield from ((name, group.get("retentionInDays")) for group in listed if group["logGroupName"] == name)


def _pages(ask: Callable[..., Answer], member: str, marks: tuple[str, str], **asked: Any) -> Iterator[Answer]:
    page: dict[str, Any] = {}
    mark, next_mark = marks
    while True:
        answer = ask(**asked, **page)
        yield from answer[member]
        if not answer.get(next_mark):
            return
        page = {mark: answer[next_mark]}
