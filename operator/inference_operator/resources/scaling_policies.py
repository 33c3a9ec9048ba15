"""What makes Application Auto Scaling act on a scalable target: target-tracking policies and scheduled actions.

They have no tags of their own, so their names say whose they are: ours begin with PREFIX. Those of somebody else's on
a scalable target of ours are left alone. AWS allows one policy for a metric: where somebody else has it, ours can't be
had until theirs is gone, or until adoption is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.api import meta
from inference_operator.api.v1alpha1 import Autoscaling, Schedule
from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer, Scaling
from inference_operator.domain import tags
from inference_operator.domain.reasons import Reason
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Blocked, Change, Context, Fact, Failed, Scene, Settled, Wait, changed
from inference_operator.resources.scalable_target import PREFIX, address, listed, pages, resource_id

METRICS = {
    "cpu": "ECSServiceAverageCPUUtilization",
    "memory": "ECSServiceAverageMemoryUtilization",
    "requests": "ALBRequestCountPerTarget",
}
_ELSEWHERE = (
    "spec.autoscaling.requestsPerReplica would count no request: AWS counts those of the service's first target group, "
    "and the last rollout that shifted requests has left them on the second one. Nothing of the autoscaling is changed "
    "until that ends. Next: take cpuPercent or memoryPercent; or release once more with a strategy that shifts "
    "requests, without requestsPerReplica, which brings them back to the first, and set ROLLING and "
    "requestsPerReplica then."
)
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
    adopt: bool
    """What somebody else has for the same is taken over."""
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Policies:
    resource: str
    policies: Mapping[str, Settings]
    schedules: Mapping[str, Settings]
    theirs: Mapping[str, str]
    """Names of somebody else's, by what they would be if they were ours: `policies.cpu`, `schedules.night`."""
    tags: Mapping[str, str]


class ScalingPolicies:
    """The measures and schedules by which the number of tasks is scaled."""

    name: ClassVar[str] = "ScalingPolicies"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want | Blocked | Wait | None:
        asked = ctx.spec.autoscaling
        if asked is None:
            return None
        if Fact.SCALABLE_TARGET not in ctx.facts:
            return Wait("the scalable target is not there yet", Reason.DEPENDENCY_NOT_READY)
        if asked.requests_per_replica and Fact.TARGET_GROUP not in ctx.facts:
            return Wait("the target group is not there yet", Reason.DEPENDENCY_NOT_READY)
        serving = ctx.facts.get(Fact.SERVING_TARGET_GROUP)
        if asked.requests_per_replica and serving is not None and serving == ctx.facts.get(Fact.ALTERNATE_TARGET_GROUP):
            return Blocked(Reason.UNSUITABLE, _ELSEWHERE)
        return Want(
            resource=ctx.facts[Fact.SCALABLE_TARGET],
            policies=dict(_policies(ctx, asked)),
            schedules={schedule.name: _action(schedule) for schedule in asked.schedules},
            adopt=ctx.adopt,
            tags=tags.ownership(ctx.identity),
        )

    def diff(self, want: Want, have: Policies) -> Change:
        sides = (("policies", want.policies, have.policies), ("schedules", want.schedules, have.schedules))
        pairs = {
            f"{what}.{name}": (asked.get(name), known.get(name))
            for what, asked, known in sides
            for name in sorted({*asked, *known})
        }
        for path, name in have.theirs.items():
            if want.adopt and pairs.get(path, (None, None))[0] is not None:
                pairs[path] = (pairs[path][0], {"Name": name})  # it gets the name that says whose it is
        return changed({path: pair for path, pair in pairs.items() if path not in _taken(want, have)})

    def settled(self, ctx: Context, want: Want, have: Policies) -> Settled | Failed:
        taken = _taken(want, have)
        if taken:
            whose = "; ".join(f"{path.partition('.')[2]} by {have.theirs[path]}" for path in sorted(taken))
            return Failed(
                Reason.NOT_OWNED,
                f"policies of somebody else's scale by the same metrics, and AWS allows one for each: {whose}. "
                f"Next: delete them; or take the metrics out of spec.autoscaling; or, to have them replaced, set the "
                f"annotation {meta.ADOPT} to true",
            )
        return Settled(f"by {', '.join(sorted((*have.policies, *have.schedules)))}")

    def facts(self, have: Policies) -> Mapping[Fact, str]:
        return {}

    def observe(self, scene: Scene) -> Policies | None:
        resource = resource_id(scene.environment.cluster, scene.identity)
        if listed(scene) is None:
            return None  # nor has it any policy
        scaling, where = scene.aws.scaling, address(resource)
        policies = pages(scaling.describe_scaling_policies, "ScalingPolicies", where)
        actions = pages(scaling.describe_scheduled_actions, "ScheduledActions", where)
        have = read(resource, policies, actions, tags.ownership(scene.identity))
        if not have.policies and not have.schedules and Fact.SCALABLE_TARGET not in scene.facts:
            return None
        return have if have.policies or have.schedules or have.theirs else None

    def create(self, ctx: Context, want: Want) -> Policies:
        nothing = Policies(resource=want.resource, policies={}, schedules={}, theirs={}, tags=want.tags)
        return self.update(ctx, want, nothing, self.diff(want, nothing))

    def update(self, ctx: Context, want: Want, have: Policies, change: Change) -> Policies:
        scaling, theirs = ctx.aws.scaling, dict(have.theirs)
        for path in change.paths:
            what, _, name = path.partition(".")
            if path in theirs:
                _delete(scaling, want.resource, what, theirs.pop(path))
            asked = (want.policies if what == "policies" else want.schedules).get(name)
            if asked is None:
                _delete(scaling, want.resource, what, PREFIX + name)
            else:
                _put(scaling, want.resource, what, PREFIX + name, asked)
        policies = {measure: asked for measure, asked in want.policies.items() if f"policies.{measure}" not in theirs}
        return replace(have, policies=policies, schedules=want.schedules, theirs=theirs)

    def retag(self, scene: Scene, have: Policies, retag: Retag) -> Policies:
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: Policies) -> None:
        if listed(scene) is None:
            return  # they went with it
        for measure in have.policies:
            _delete(scene.aws.scaling, have.resource, "policies", PREFIX + measure)
        for name in have.schedules:
            _delete(scene.aws.scaling, have.resource, "schedules", PREFIX + name)

    def tidy(self, ctx: Context, want: Want, have: Policies) -> Policies:
        return have


def _put(scaling: Scaling, resource: str, what: str, name: str, asked: Settings) -> None:
    where = address(resource)
    if what == "policies":
        scaling.put_scaling_policy(PolicyName=name, PolicyType="TargetTrackingScaling", **{TRACKING: asked}, **where)
    else:
        scaling.put_scheduled_action(ScheduledActionName=name, **asked, **where)


def _delete(scaling: Scaling, resource: str, what: str, name: str) -> None:
    where = address(resource)
    with suppress(NotFound):
        if what == "policies":
            scaling.delete_scaling_policy(PolicyName=name, **where)
        else:
            scaling.delete_scheduled_action(ScheduledActionName=name, **where)


def _taken(want: Want, have: Policies) -> frozenset[str]:
    """What can't be had, since AWS allows it once and somebody else has it."""
    asked = {f"policies.{measure}" for measure in want.policies}
    return frozenset() if want.adopt else frozenset(asked & have.theirs.keys())


def read(resource: str, policies: Iterable[Answer], actions: Iterable[Answer], found: Mapping[str, str]) -> Policies:
    ours: dict[str, Settings] = {}
    theirs: dict[str, str] = {}
    measured = [(measure, policy) for policy in policies if (measure := measure_of(policy)) is not None]
    for measure, policy in measured:
        if policy["PolicyName"] == PREFIX + measure:
            ours[measure] = _known(policy[TRACKING])
        else:
            theirs[f"policies.{measure}"] = policy["PolicyName"]
    schedules: dict[str, Settings] = {}
    for action in actions:
        name = action["ScheduledActionName"]
        if name.startswith(PREFIX):
            schedules[name.removeprefix(PREFIX)] = {"Timezone": "UTC", **_members(action, ACTION)}
        else:
            theirs[f"schedules.{name}"] = name
    return Policies(resource=resource, policies=ours, schedules=schedules, theirs=theirs, tags=found)


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
