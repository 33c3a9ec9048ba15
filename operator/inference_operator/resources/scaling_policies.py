"""What makes Application Auto Scaling act on a scalable target: target-tracking policies and scheduled actions.

They have no tags of their own. On a scalable target of ours we own what the spec can ask for: the policies that track
cpu, memory or requests, of which AWS allows one each, whatever their names, and the scheduled actions. Policies that
follow anything else are left alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.api.v1alpha1 import Autoscaling, Schedule
from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer, Scaling
from inference_operator.domain import tags
from inference_operator.domain.reasons import Reason
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled, Wait, changed
from inference_operator.resources.scalable_target import DIMENSION, address, resource_id

PREFIX = "ecs-inference-"
"""Begins the names of the policies that are made here."""
METRICS = {
    "cpu": "ECSServiceAverageCPUUtilization",
    "memory": "ECSServiceAverageMemoryUtilization",
    "requests": "ALBRequestCountPerTarget",
}
TRACKING = "TargetTrackingScalingPolicyConfiguration"
ACTION = ("Schedule", "Timezone", "ScalableTargetAction")
Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Want:
    resource: str
    policies: Mapping[str, Settings]
    """By measure: TargetTrackingScalingPolicyConfiguration."""
    schedules: Mapping[str, Settings]
    """By name: the members of PutScheduledAction that are not its name and address."""
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Policies:
    resource: str
    policies: Mapping[str, Settings]
    names: Mapping[str, str]
    """By measure: what its policy is called."""
    schedules: Mapping[str, Settings]
    tags: Mapping[str, str]


class ScalingPolicies:
    """The measures and schedules by which the number of tasks is scaled."""

    name: ClassVar[str] = "ScalingPolicies"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want | Wait | None:
        asked = ctx.spec.autoscaling
        if asked is None:
            return None
        if Fact.SCALABLE_TARGET not in ctx.facts:
            return Wait("the scalable target is not there yet", Reason.DEPENDENCY_NOT_READY)
        if asked.requests_per_replica and Fact.TARGET_GROUP not in ctx.facts:
            return Wait("the target group is not there yet", Reason.DEPENDENCY_NOT_READY)
        return Want(
            resource=ctx.facts[Fact.SCALABLE_TARGET],
            policies=dict(_policies(ctx, asked)),
            schedules={schedule.name: _action(schedule) for schedule in asked.schedules},
            tags=tags.ownership(ctx.identity),
        )

    def diff(self, want: Want, have: Policies) -> Change:
        sides = (("policies", want.policies, have.policies), ("schedules", want.schedules, have.schedules))
        pairs = {
            f"{what}.{name}": (asked.get(name), known.get(name))
            for what, asked, known in sides
            for name in sorted({*asked, *known})
        }
        return changed(pairs)

    def settled(self, ctx: Context, want: Want, have: Policies) -> Settled:
        return Settled(f"by {', '.join(sorted((*have.policies, *have.schedules)))}")

    def facts(self, have: Policies) -> Mapping[Fact, str]:
        return {}

    def observe(self, scene: Scene) -> Policies | None:
        resource = resource_id(scene.environment.cluster, scene.identity)
        listed = scene.aws.listings.scalable_targets()
        if not any((t["ResourceId"], t["ScalableDimension"]) == (resource, DIMENSION) for t in listed):
            return None  # nor has it any policy
        scaling, where = scene.aws.scaling, address(resource)
        policies = _pages(scaling.describe_scaling_policies, "ScalingPolicies", where)
        actions = _pages(scaling.describe_scheduled_actions, "ScheduledActions", where)
        have = read(resource, policies, actions, tags.ownership(scene.identity))
        return have if have.policies or have.schedules else None

    def create(self, ctx: Context, want: Want) -> Policies:
        nothing = Policies(resource=want.resource, policies={}, names={}, schedules={}, tags=want.tags)
        return self.update(ctx, want, nothing, self.diff(want, nothing))

    def update(self, ctx: Context, want: Want, have: Policies, change: Change) -> Policies:
        scaling, where = ctx.aws.scaling, address(want.resource)
        names = {measure: have.names.get(measure, PREFIX + measure) for measure in want.policies}
        for measure in _different(want.policies, have.policies):
            if measure in want.policies:
                settings = {"PolicyType": "TargetTrackingScaling", TRACKING: want.policies[measure]}
                scaling.put_scaling_policy(PolicyName=names[measure], **settings, **where)
            else:
                self._delete_policy(scaling, have.names[measure], where)
        for name in _different(want.schedules, have.schedules):
            if name in want.schedules:
                scaling.put_scheduled_action(ScheduledActionName=name, **want.schedules[name], **where)
            else:
                self._delete_action(scaling, name, where)
        return replace(have, policies=want.policies, names=names, schedules=want.schedules)

    def retag(self, scene: Scene, have: Policies, retag: Retag) -> Policies:
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: Policies) -> None:
        scaling, where = scene.aws.scaling, address(have.resource)
        for name in have.names.values():
            self._delete_policy(scaling, name, where)
        for name in have.schedules:
            self._delete_action(scaling, name, where)

    def tidy(self, ctx: Context, want: Want, have: Policies) -> Policies:
        return have

    def _delete_policy(self, scaling: Scaling, name: str, where: Mapping[str, str]) -> None:
        with suppress(NotFound):
            scaling.delete_scaling_policy(PolicyName=name, **where)

    def _delete_action(self, scaling: Scaling, name: str, where: Mapping[str, str]) -> None:
        with suppress(NotFound):
            scaling.delete_scheduled_action(ScheduledActionName=name, **where)


def read(resource: str, policies: Iterable[Answer], actions: Iterable[Answer], found: Mapping[str, str]) -> Policies:
    measured = {measure: policy for policy in policies if (measure := measure_of(policy)) is not None}
    return Policies(
        resource=resource,
        policies={measure: _known(policy[TRACKING]) for measure, policy in measured.items()},
        names={measure: policy["PolicyName"] for measure, policy in measured.items()},
        schedules={a["ScheduledActionName"]: {"Timezone": "UTC", **_members(a, ACTION)} for a in actions},
        tags=found,
    )


def _policies(ctx: Context, asked: Autoscaling) -> Iterator[tuple[str, Settings]]:
    targets = {"cpu": asked.cpu_percent, "memory": asked.memory_percent, "requests": asked.requests_per_replica}
    for measure, target in targets.items():
        if target is not None:
            label = {"ResourceLabel": _label(ctx)} if measure == "requests" else {}
            yield (
                measure,
                {
                    "TargetValue": float(target),
                    "PredefinedMetricSpecification": {"PredefinedMetricType": METRICS[measure], **label},
                    "ScaleOutCooldown": int(asked.scale_out_cooldown.total_seconds()),
                    "ScaleInCooldown": int(asked.scale_in_cooldown.total_seconds()),
                },
            )


def _label(ctx: Context) -> str:
    """`app/<load balancer>/<id>/targetgroup/<target group>/<id>`, the last parts of the two ARNs."""
    balancer = ctx.environment.load_balancer
    listener = balancer.listener_arn.partition(":listener/")[2] if balancer is not None else ""
    return f"{listener.rpartition('/')[0]}/{ctx.facts[Fact.TARGET_GROUP].rpartition(':')[2]}"


def _action(schedule: Schedule) -> Settings:
    return {
        "Schedule": schedule.schedule,
        "Timezone": schedule.timezone or "UTC",
        "ScalableTargetAction": {"MinCapacity": schedule.min_replicas, "MaxCapacity": schedule.max_replicas},
    }


def measure_of(policy: Answer) -> str | None:
    """Which of our measures a policy tracks."""
    metric = (policy.get(TRACKING) or {}).get("PredefinedMetricSpecification") or {}
    return next((measure for measure, name in METRICS.items() if name == metric.get("PredefinedMetricType")), None)


def _known(shown: Answer) -> Settings:
    """The members that we set: what AWS adds by itself is no difference."""
    return _members(shown, ("TargetValue", "PredefinedMetricSpecification", "ScaleOutCooldown", "ScaleInCooldown"))


def _members(shown: Answer, members: Iterable[str]) -> dict[str, Any]:
    return {member: shown[member] for member in members if shown.get(member) is not None}


def _different(want: Mapping[str, Settings], have: Mapping[str, Settings]) -> list[str]:
    return sorted(name for name in want.keys() | have.keys() if want.get(name) != have.get(name))


def _pages(describe: Callable[..., Answer], member: str, where: Mapping[str, str]) -> Iterator[Answer]:
    page: dict[str, str] = {}
    while True:
        answer = describe(**where, **page)
        yield from answer[member]
        if not answer.get("NextToken"):
            return
        page = {"NextToken": answer["NextToken"]}
