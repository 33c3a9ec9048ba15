"""The scalable target: what tells Application Auto Scaling between which limits it may move the number of tasks.

Schedules move the limits themselves: those of the spec, and those that somebody else has made on the same target. So
where there are some, the limits that AWS shows are theirs, and whether ours were sent is known by a hash that is kept
as a tag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.aws.errors import AwsError, Busy, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.names import Identity, digest
from inference_operator.domain.reasons import Reason
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled, Wait, changed

NAMESPACE = "ecs"
DIMENSION = "ecs:service:DesiredCount"
PREFIX = "ecs-inference-"
"""Begins the names of the policies and scheduled actions that are made here: they have no tags."""
SWITCHES = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")


def resource_id(cluster: str, identity: Identity) -> str:
    return f"service/{cluster}/{identity.service}"


def address(resource: str) -> dict[str, str]:
    """The members that name the scalable target in every call."""
    return {"ServiceNamespace": NAMESPACE, "ResourceId": resource, "ScalableDimension": DIMENSION}


@dataclass(frozen=True, kw_only=True)
class Want:
    resource: str
    limits: Mapping[str, int]
    suspended: bool
    scheduled: bool
    """Schedules move the limits."""
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class ScalableTarget:
    arn: str
    resource: str
    limits: Mapping[str, int]
    switches: Mapping[str, bool]
    """What of scaling is suspended."""
    tags: Mapping[str, str]
    moved_by: tuple[str, ...] = ()
    """Scheduled actions of somebody else's; read only where the limits are not those that were sent last."""

    @property
    def suspended(self) -> bool:
        return all(self.switches.values())


@dataclass(frozen=True, kw_only=True)
class Moved:
    """Somebody else scales: by scheduled actions that move our limits, or with a scalable target of their own."""

    limits: tuple[int, int]
    by: tuple[str, ...]


class ScalableTargets:
    """The limits between which the number of tasks is scaled."""

    name: ClassVar[str] = "ScalableTarget"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want | Wait | None:
        asked = ctx.spec.autoscaling
        if asked is None:
            return None
        if Fact.SERVICE not in ctx.facts:
            return Wait("the service is not there yet", Reason.DEPENDENCY_NOT_READY)
        # Every call that registers it brings the number of tasks within the limits, even where scaling is suspended
        # (API_RegisterScalableTarget). So a suspended one must allow none.
        lowest = 0 if ctx.spec.suspend else asked.min_replicas
        limits = {"MinCapacity": lowest, "MaxCapacity": asked.max_replicas}
        return Want(
            resource=resource_id(ctx.environment.cluster, ctx.identity),
            limits=limits,
            suspended=ctx.spec.suspend,
            scheduled=bool(asked.schedules),
            tags={**ctx.tags, tags.SPEC_HASH: digest(limits)},
        )

    def diff(self, want: Want, have: ScalableTarget) -> Change:
        state = {"SuspendedState": (want.suspended, have.suspended)}
        sent = have.tags.get(tags.SPEC_HASH) == want.tags[tags.SPEC_HASH]
        if (want.scheduled or have.moved_by) and sent:
            return changed(state)
        limits = {path: (value, have.limits.get(path)) for path, value in want.limits.items()}
        return changed({**limits, **state})

    def settled(self, ctx: Context, want: Want, have: ScalableTarget) -> Settled:
        low, high = have.limits["MinCapacity"], have.limits["MaxCapacity"]
        moved = f", moved by scheduled actions of somebody else's: {', '.join(have.moved_by)}" if have.moved_by else ""
        return Settled(f"{low} to {high} tasks{_suspended(have)}{moved}")

    def facts(self, have: ScalableTarget) -> Mapping[Fact, str]:
        return {Fact.SCALABLE_TARGET: have.resource}

    def observe(self, scene: Scene) -> ScalableTarget | None:
        shown = listed(scene)
        if shown is None:
            return None
        found = _tags_of(scene, shown)
        if found is None:
            return None
        have = read(shown, found)
        as_sent = have.tags.get(tags.SPEC_HASH) == digest(have.limits)
        return have if as_sent else replace(have, moved_by=foreign_schedules(scene))

    def create(self, ctx: Context, want: Want) -> ScalableTarget:
        members = {**address(want.resource), **want.limits, "SuspendedState": _switches(want.suspended)}
        try:
            answer = ctx.aws.scaling.register_scalable_target(**members, Tags=dict(want.tags))
        except AwsError as error:
            raise _not_visible_yet(error) from error
        shown = {**members, "ScalableTargetARN": answer["ScalableTargetARN"]}
        ctx.aws.listings.add("scalable targets", shown)
        return read(shown, want.tags)

    def update(self, ctx: Context, want: Want, have: ScalableTarget, change: Change) -> ScalableTarget:
        members: dict[str, Any] = {}
        if set(want.limits) & set(change.paths):
            members |= want.limits
        if "SuspendedState" in change.paths:
            members["SuspendedState"] = _switches(want.suspended)
        ctx.aws.scaling.register_scalable_target(**address(want.resource), **members)
        ctx.aws.listings.forget("scalable targets")
        limits = want.limits if set(want.limits) & set(change.paths) else have.limits
        return replace(have, limits=limits, switches=members.get("SuspendedState", have.switches))

    def retag(self, scene: Scene, have: ScalableTarget, retag: Retag) -> ScalableTarget:
        if retag.remove:
            scene.aws.scaling.untag_resource(ResourceARN=have.arn, TagKeys=list(retag.remove))
        if retag.put:
            scene.aws.scaling.tag_resource(ResourceARN=have.arn, Tags=dict(retag.put))
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: ScalableTarget) -> None:
        """Its policies and scheduled actions go with it."""
        with suppress(NotFound):
            scene.aws.scaling.deregister_scalable_target(**address(have.resource))
        scene.aws.listings.forget("scalable targets")

    def tidy(self, ctx: Context, want: Want, have: ScalableTarget) -> ScalableTarget:
        return have


def _switches(suspended: bool) -> dict[str, bool]:
    return dict.fromkeys(SWITCHES, suspended)


def _suspended(have: ScalableTarget) -> str:
    """Somebody may have suspended a part of scaling, which no field of the spec asks for: it is left so, and told."""
    names = [name for name, suspended in have.switches.items() if suspended]
    if have.suspended:
        return ", suspended"
    return f", {' and '.join(names)} by somebody else" if names else ""


def listed(scene: Scene) -> Answer | None:
    """The object's scalable target as AWS shows it."""
    resource, targets = resource_id(scene.environment.cluster, scene.identity), scene.aws.listings.scalable_targets()
    return next((t for t in targets if (t["ResourceId"], t["ScalableDimension"]) == (resource, DIMENSION)), None)


def foreign_schedules(scene: Scene) -> tuple[str, ...]:
    """Names of the scheduled actions on the object's scalable target that are somebody else's."""
    return tuple(name for name in _schedules(scene) if not name.startswith(PREFIX))


def moved(ctx: Context) -> Moved | None:
    """None: nobody else scales the service. What is on a target of ours that is not asked for any more goes with it."""
    shown = listed(ctx)
    found = _tags_of(ctx, shown) if shown is not None else None
    if shown is None or found is None:
        return None
    if not tags.owned(found, ctx.identity):
        where = address(shown["ResourceId"])
        policies = pages(ctx.aws.scaling.describe_scaling_policies, "ScalingPolicies", where)
        by = (*sorted(policy["PolicyName"] for policy in policies), *_schedules(ctx))
    else:
        by = foreign_schedules(ctx) if ctx.spec.autoscaling is not None else ()
    return Moved(limits=(shown["MinCapacity"], shown["MaxCapacity"]), by=by) if by else None


def _tags_of(scene: Scene, shown: Answer) -> Mapping[str, str] | None:
    """None: the scalable target is gone since it was listed."""
    try:
        return tags.parse(scene.aws.scaling.list_tags_for_resource(ResourceARN=shown["ScalableTargetARN"])["Tags"])
    except NotFound:
        scene.aws.listings.forget("scalable targets")
        return None


def _schedules(scene: Scene) -> tuple[str, ...]:
    where = address(resource_id(scene.environment.cluster, scene.identity))
    actions = pages(scene.aws.scaling.describe_scheduled_actions, "ScheduledActions", where)
    return tuple(sorted(action["ScheduledActionName"] for action in actions))


def pages(describe: Callable[..., Answer], member: str, where: Mapping[str, str]) -> Iterator[Answer]:
    page: dict[str, str] = {}
    while True:
        answer = describe(**where, **page)
        yield from answer[member]
        if not answer.get("NextToken"):
            return
        page = {"NextToken": answer["NextToken"]}


def _not_visible_yet(error: AwsError) -> AwsError:
    """A service that was made a moment ago may not be known to Application Auto Scaling yet."""
    if error.code == "ValidationException" and "exist" in error.message and "service" in error.message.lower():
        return Busy(code=error.code, message=error.message, operation=error.operation)
    return error


def read(shown: Answer, found: Mapping[str, str]) -> ScalableTarget:
    state = shown.get("SuspendedState") or {}
    return ScalableTarget(
        arn=shown["ScalableTargetARN"],
        resource=shown["ResourceId"],
        limits={"MinCapacity": shown["MinCapacity"], "MaxCapacity": shown["MaxCapacity"]},
        switches={switch: state.get(switch, False) for switch in SWITCHES},
        tags=found,
    )
