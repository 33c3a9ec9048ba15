"""What the operator would make of an imported spec, beside what there is: whatever differs is told, so that nothing is
lost unnoticed that a spec can't say. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference_operator.api.ingress import EVERYTHING
from inference_operator.aws.ports import Answer
from inference_operator.domain import rollout
from inference_operator.engine.importing import tasks
from inference_operator.engine.importing.hints import next_step
from inference_operator.engine.importing.live import Behind, Live, Scaled
from inference_operator.engine.importing.remarks import Remark
from inference_operator.engine.importing.traffic import rule_of
from inference_operator.resources import scalable_target, scaling_policies, service_input
from inference_operator.resources.base import Blocked, Change, Context, Fact, Wait
from inference_operator.resources.listener_rule import HOST, PATH, ListenerRules, read
from inference_operator.resources.scalable_target import PREFIX, ScalableTargets
from inference_operator.resources.scaling_policies import ScalingPolicies, measure_of
from inference_operator.resources.target_group import TargetGroup, TargetGroups
from inference_operator.resources.task_definition import essence, render

SHOWN = 80
"""Characters of a value that are shown."""

ABSENT: Any = object()

NAMED_BY = ("name", "containerName", "sourceVolume", "containerPort", "capacityProvider", "key")
"""Members by which AWS tells the items of a list apart."""

OF_NO_MATTER = frozenset(
    {
        "clusterArn",
        "createdAt",
        "createdBy",
        "currentServiceDeployment",
        "currentServiceRevisions",
        "deployments",
        "desiredCount",
        "events",
        "pendingCount",
        "platformFamily",
        "roleArn",
        "runningCount",
        "serviceArn",
        "serviceName",
        "status",
        "tags",
        "taskDefinition",
        "taskSets",
    }
)
"""Members of a service that say how it stands, or are told elsewhere (API_Service)."""

AS_OURS: Mapping[str, Any] = {
    "launchType": "FARGATE",
    "schedulingStrategy": "REPLICA",
    "deploymentController": {"type": "ECS"},
    "healthCheckGracePeriodSeconds": 0,
    "resourceManagementType": "CUSTOMER",
}
"""What other members have in a service that the operator makes."""

OF_DEPLOYMENTS = ("serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations")
"""Settings of a service that its deployments alone show (API_Deployment)."""

GROUP_AS_OURS: Mapping[str, Any] = {
    "Protocol": "HTTP",
    "TargetType": "ip",
    "HealthCheckProtocol": "HTTP",
    "HealthCheckPort": "traffic-port",
    "HealthCheckEnabled": True,
    "IpAddressType": "ipv4",
}
ATTRIBUTE_DEFAULTS: Mapping[str, str] = {
    "load_balancing.algorithm.anomaly_mitigation": "off",
    "load_balancing.cross_zone.enabled": "use_load_balancer_configuration",
    "stickiness.app_cookie.cookie_name": "",
    "stickiness.app_cookie.duration_seconds": "86400",
    "stickiness.lb_cookie.duration_seconds": "86400",
    "stickiness.type": "lb_cookie",
    "target_group_health.dns_failover.minimum_healthy_targets.count": "1",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": "off",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": "1",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
}
"""Of an Application Load Balancer's target group (API_TargetGroupAttribute)."""


@dataclass(frozen=True)
class Difference:
    path: str
    want: Any
    have: Any

    @property
    def is_added(self) -> bool:
        """The operator would set what is not set now."""
        return self.have is ABSENT or self.have is None

    def told(self) -> Remark:
        shown = [_shown(self.path, value) for value in (self.have, self.want)]
        says = f"{shown[0]} would be gone" if self.want is ABSENT else f"{shown[0]} would be {shown[1]}"
        return Remark(self.path, says, next_step(self.path))


def _shown(path: str, value: Any) -> str:
    """A variable's value may be a secret."""
    if ".environment[" in path:
        return "its value"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def compared(ctx: Context, live: Live) -> list[Difference]:
    return [*_task(ctx, live), *_service(ctx, live), *_balanced(ctx, live), *_scaled(ctx, live)]


def _task(ctx: Context, live: Live) -> Iterator[Difference]:
    want, have = essence(render(ctx)), essence(tasks.renamed(live))
    same = {"family": want["family"]}  # a name is told where names are
    yield from differences("taskDefinition", {**want, **same}, {**have, **same})


def _service(ctx: Context, live: Live) -> Iterator[Difference]:
    settings, shown = service_input.settings(ctx), tasks.renamed_service(live)
    for member, (want, have) in service_input.compared(settings, shown).items():
        if member not in OF_NO_MATTER and (want, have) != (0, None):
            yield from differences(f"service.{member}", want, have)
    rest = {m: v for m, v in shown.items() if m not in OF_NO_MATTER and m not in settings}
    primary = rollout.primary_of(live.service["deployments"]) or {}
    rest |= {member: primary[member] for member in OF_DEPLOYMENTS if member in primary}
    for member, have in rest.items():
        if have and have != AS_OURS.get(member) and not _switched_off(have):
            yield Difference(f"service.{member}", AS_OURS.get(member, ABSENT), have)


def _switched_off(value: Any) -> bool:
    return isinstance(value, Mapping) and value.get("enabled") is False


def _balanced(ctx: Context, live: Live) -> Iterator[Difference]:
    behind, groups = live.behind, TargetGroups()
    want = groups.desire(ctx)
    if behind is None or want is None:
        return
    have = TargetGroup(arn="", answer=behind.group, health_check=behind.group, attributes=behind.attributes, tags={})
    yield from _changes("targetGroup", groups.diff(want, have))
    for member, ours in GROUP_AS_OURS.items():
        if behind.group.get(member, ours) != ours:
            yield Difference(f"targetGroup.{member}", ours, behind.group[member])
    for name, value in behind.attributes.items():
        if name not in want.attributes and value != ATTRIBUTE_DEFAULTS.get(name, value):
            yield Difference(f"targetGroup.{name}", ATTRIBUTE_DEFAULTS[name], value)
    yield from _ruled(ctx, behind)


def _ruled(ctx: Context, behind: Behind) -> Iterator[Difference]:
    rule, rules = rule_of(behind), ListenerRules()
    for other in (each for each in behind.rules if each is not rule):
        what = "default action" if other.get("IsDefault") else f"rule of priority {other['Priority']}"
        yield Difference(f"listener.{what}", ABSENT, f"also sends requests to the target group ({other['RuleArn']})")
    want = rules.desire(ctx)
    if rule is None or want is None or isinstance(want, Wait):
        return
    have = read(rule)
    have = replace(have, conditions={PATH: frozenset({EVERYTHING}), **have.conditions})  # without paths it takes all
    yield from _changes("listenerRule", rules.diff(want, have))
    for condition in rule["Conditions"]:
        if condition["Field"] not in (HOST, PATH):
            yield Difference(f"listenerRule.Conditions[{condition['Field']}]", ABSENT, condition)
    for action in rule["Actions"]:
        if action["Type"] != "forward":
            yield Difference(f"listenerRule.Actions[{action['Type']}]", ABSENT, "asked for before the requests go on")


def _as_ours(scaled: Scaled) -> tuple[list[Answer], list[Answer]]:
    """Policies and scheduled actions with the names that they would be given: a name is no difference to callers."""
    policies: list[Answer] = [
        {**p, "PolicyName": f"{PREFIX}{measure_of(p) or p['PolicyName']}"} for p in scaled.policies
    ]
    actions: list[Answer] = [
        {**a, "ScheduledActionName": PREFIX + a["ScheduledActionName"].removeprefix(PREFIX)} for a in scaled.actions
    ]
    return policies, actions


def _scaled(ctx: Context, live: Live) -> Iterator[Difference]:
    scaled = live.scaled
    if scaled is None:
        return
    ctx.facts[Fact.SCALABLE_TARGET] = scaled.target["ResourceId"]
    for policy in scaled.policies:
        if measure_of(policy) is None:
            yield Difference(f"scaling.{policy['PolicyName']}", ABSENT, policy["PolicyType"])
    targets, policies = ScalableTargets(), ScalingPolicies()
    limits, rules = targets.desire(ctx), policies.desire(ctx)
    if limits is None or rules is None or isinstance(limits, Wait) or isinstance(rules, Wait | Blocked):
        yield Difference("scaling", ABSENT, "a scalable target that no measure or schedule of a spec moves")
        return
    yield from _changes("scaling", targets.diff(limits, scalable_target.read(scaled.target, limits.tags)))
    have = scaling_policies.read(scaled.target["ResourceId"], *_as_ours(scaled), rules.tags)
    yield from _changes("scaling", policies.diff(rules, have))
    for policy in scaled.policies:
        if policy.get(scaling_policies.TRACKING, {}).get("DisableScaleIn"):
            yield Difference(f"scaling.{policy['PolicyName']}.DisableScaleIn", False, True)
    for action in scaled.actions:
        for member in ("StartTime", "EndTime"):
            if member in action:
                yield Difference(f"scaling.{action['ScheduledActionName']}.{member}", ABSENT, str(action[member]))


def _changes(of: str, change: Change) -> Iterator[Difference]:
    for path in change.paths:
        want, have = change.values[path]
        yield from differences(f"{of}.{path}", _listed(want), _listed(have))


def _listed(value: Any) -> Any:
    """Sets as lists, for people."""
    if isinstance(value, Mapping):
        return {name: _listed(part) for name, part in value.items()}
    return sorted(value) if isinstance(value, frozenset | set) else value


def differences(path: str, want: Any, have: Any) -> Iterator[Difference]:
    """Down to the members that differ."""
    if want == have:
        return
    if isinstance(want, Mapping) and isinstance(have, Mapping):
        for member in sorted({*want, *have}):
            yield from differences(f"{path}.{member}", want.get(member, ABSENT), have.get(member, ABSENT))
        return
    named = [_named(want), _named(have)]
    if None not in named:
        wanted, there = (each or {} for each in named)
        for name in sorted({*wanted, *there}):
            yield from differences(f"{path}[{name}]", wanted.get(name, ABSENT), there.get(name, ABSENT))
        return
    yield Difference(path, want, have)


def _named(items: Any) -> dict[str, Any] | None:
    """A list of things that AWS tells apart, by what tells them apart."""
    if not isinstance(items, Sequence) or isinstance(items, str) or not all(isinstance(i, Mapping) for i in items):
        return None if items is not ABSENT else {}
    key = next((key for key in NAMED_BY if all(key in item for item in items)), None)
    return {str(item[key]): item for item in items} if key is not None else None
