"""One pass over one InferenceDeployment, from the object as the API server has it to its status: parse, accept,
reconcile, tell. What runs around it (watching, threads, clocks, writing) is the runtime's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

import structlog
from pydantic import ValidationError

from inference_operator.api import meta
from inference_operator.api.errors import explain, sentences
from inference_operator.api.v1alpha1 import (
    InferenceDeploymentSpec,
    InferenceDeploymentStatus,
    InferenceEnvironmentSpec,
    InferenceEnvironmentStatus,
    Notified,
    ObjectMeta,
)
from inference_operator.aws.errors import AwsError
from inference_operator.aws.ports import Answer, Aws
from inference_operator.checks.base import Case
from inference_operator.domain import causes, members, policy, tags
from inference_operator.domain.names import Identity
from inference_operator.domain.reasons import Reason
from inference_operator.engine import backoff, conditions, log_health, notifications, status
from inference_operator.engine.contest import WAYS_OUT, Contest
from inference_operator.engine.events import Event, ignored, transitions
from inference_operator.engine.notifications import Notice
from inference_operator.engine.plan import StepResult, Trouble
from inference_operator.engine.reconcile import (
    InterruptedPassError,
    Memory,
    Pass,
    finalize,
    reconcile,
    release,
    unsuitable,
)
from inference_operator.engine.status import Refusal
from inference_operator.engine.verification import Gate
from inference_operator.resources import KINDS, service_input
from inference_operator.resources.access_point import AccessPoints
from inference_operator.resources.base import Context, Failed, Scene, Wait
from inference_operator.resources.log_group import LogGroups
from inference_operator.resources.service import Service, Services

log = structlog.get_logger(__name__)

Document = Mapping[str, Any]
Connect = Callable[[InferenceEnvironmentSpec], Aws]
"""The AWS clients of an environment: of its region, with the rights of its role."""

SOON = timedelta(seconds=1)
LONGEST_VALUE = 253  # characters of an annotation that asks for something once
SHARE = 0.95  # of an interval: an observation younger than this was made for the same round of looking


@dataclass(frozen=True, kw_only=True)
class News:
    """What AWS's events told of an object since its last pass."""

    at: datetime | None = None
    """When the latest one came: what was seen of the service before that is out of date."""
    stopped_tasks: tuple[Answer, ...] = ()
    """As DescribeTasks shows them."""
    notified: tuple[Notified, ...] = ()
    """What people were told."""
    pushed: bool = False
    """Events come, so that there is no need to ask often."""

    def freshness(self, usual: timedelta, now: datetime) -> timedelta:
        return usual if self.at is None else max(timedelta(), min(usual, now - self.at))


@dataclass(frozen=True, kw_only=True)
class World:
    """What an object is looked at in."""

    environments: Mapping[str, Document]
    """InferenceEnvironment objects by name."""
    connect: Connect
    labels: policy.Labels | None = None
    """Of the object's namespace; None if they are not known. Read only where the environment's policy asks for some."""
    verifies: bool = True
    """Whether it is checked before a rollout what would fail after it."""
    objects: Sequence[Document] | None = ()
    """In a pass over an environment: the InferenceDeployments in it; None if they can't be listed."""
    undelivered: str | None = None
    """In a pass over an environment: why its last notification did not get through."""
    news: News = News()
    stopping: Callable[[], bool] = lambda: False
    """Whether the process is to end, or the object to go: the pass is cut short between two kinds."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    status: InferenceDeploymentStatus | InferenceEnvironmentStatus
    requeue_after: timedelta
    on_time: bool = False
    """Not sooner and not later: a turn at AWS was given away for then."""
    events: tuple[Event, ...] = ()
    results: tuple[StepResult, ...] = ()
    notices: tuple[Notice, ...] = ()
    """What people are to be told."""
    done: bool = True
    """Of a deletion: nothing of the object is left."""


Work = Callable[[Document, World, Memory, datetime], Outcome]


def guarded(work: Work) -> Work:
    """The same pass, which tells of a bug in it instead of raising: the loop around it must go on. Whatever comes of
    it, what events told is not lost."""

    @wraps(work)
    def careful(document: Document, world: World, memory: Memory, now: datetime) -> Outcome:
        try:
            outcome = work(document, world, memory, now)
        except InterruptedPassError:
            log.info("the pass was cut short")
            outcome = Outcome(status=_read(document)[1], requeue_after=backoff.ROLLING, done=False)
        except Exception:
            log.exception("the pass failed")
            memory.forget()
            memory.failures += 1
            object_meta, previous = _read(document)
            told = status.broken(previous, generation=object_meta.generation, now=now)
            outcome = Outcome(status=told, requeue_after=backoff.after_failures(memory.failures), done=False)
        if isinstance(outcome.status, InferenceDeploymentStatus):
            outcome = replace(outcome, status=status.with_stopped(outcome.status, world.news.stopped_tasks))
        return outcome

    return careful


@guarded
def look_after(document: Document, world: World, memory: Memory, now: datetime) -> Outcome:
    """Bring AWS to what the object asks for, as far as can be done now."""
    object_meta, previous = _read(document)
    accepted = accept(document, world.environments, world.labels)
    if isinstance(accepted, Refusal):
        return _not_accepted(document, world, accepted, now)
    spec, environment = accepted
    aws = world.connect(environment)
    unsendable = list(members.refusals(spec.rollout, aws.lacking))
    if unsendable:
        return _not_accepted(document, world, Refusal(Reason.INVALID_SPEC, "; ".join(unsendable) + _UPDATE), now)
    retry = _new(object_meta, meta.RECONCILE_AT, previous.last_reconcile_at)
    rollback = _new(object_meta, meta.ROLLBACK_AT, previous.last_rollback_at)
    proceed = _new(object_meta, meta.CONTINUE_AT, previous.last_continue_at)
    if retry is not None:
        memory.forget()
        memory.contest = Contest()
    ctx = Context(
        identity=_identity(object_meta),
        environment=environment,
        aws=aws,
        now=now,
        freshness=timedelta() if retry or rollback or proceed else world.news.freshness(memory.interval * SHARE, now),
        previous=previous,
        told=world.news.stopped_tasks,
        spec=spec,
        generation=object_meta.generation,
        environment_generation=_generation(world.environments[spec.environment]),
        followed=Services.name in memory.seen,
        retry=retry,
        rollback=rollback,
        adopt=_is_true(object_meta, meta.ADOPT),
        stopping=world.stopping,
        proceed=proceed,
    )
    ctx = replace(ctx, withheld=_withheld(object_meta, ctx))
    memory.deploys(spec.model_dump(exclude=service_input.NO_REASON))
    unfit = unsuitable(KINDS, ctx, memory)
    if unfit is not None:
        return _not_accepted(document, world, Refusal(Reason.UNSUITABLE, unfit), now)
    case = Case(identity=ctx.identity, spec=spec, environment=environment, aws=ctx.aws)
    gate = Gate(case=case, known=previous.verification, now=now, again=retry is not None)
    verifies = world.verifies and ctx.withheld is None
    done = reconcile(KINDS, ctx, memory, permit=gate if verifies else lambda: None)
    memory.logs = log_health.look(ctx, memory.logs, running=conditions.running_tasks(done))
    told = status.summarize(ctx, done, gate.told, memory.logs, memory.contest.told(now, WAYS_OUT))
    told = notifications.with_notified(told, world.news.notified)
    for kind in _missed(previous, told):
        memory.seen.pop(kind, None)
    memory.interval = _interval(done, world.news)
    return Outcome(
        status=told,
        requeue_after=min(_requeue(done.results, memory, ctx), _debugging_ends(spec, now)),
        on_time=_turn(done.results) is not None,
        events=(*transitions(previous, told, done.results), *ignored(object_meta.annotations)),
        results=tuple(done.results),
        notices=notifications.due(object_meta, spec.environment, told, now) if environment.notifications else (),
    )


_UPDATE = ". Next: take it out of the spec, or update the operator's image."


def _not_accepted(document: Document, world: World, refusal: Refusal, now: datetime) -> Outcome:
    object_meta, previous = _read(document)
    running = _what_serves(environment_name(document), object_meta, previous, world, now)
    told = status.refused(previous, refusal, running, generation=object_meta.generation, now=now)
    events = (*transitions(previous, told), *ignored(object_meta.annotations))
    return Outcome(status=told, requeue_after=backoff.RESYNC, events=events)


def _what_serves(
    name: str, object_meta: ObjectMeta, previous: InferenceDeploymentStatus, world: World, now: datetime
) -> Service | None:
    """The service of an object that is refused, which still changes by itself; None where it can't be looked at.
    `name`: its environment's."""
    found = world.environments.get(name)
    environment = environment_spec(found) if found is not None else None
    if not isinstance(environment, InferenceEnvironmentSpec) or previous.resources is None:
        return None
    scene = _scene(object_meta, previous, environment, world, now, backoff.RESYNC)
    try:
        have = Services().observe(scene)
    except AwsError as error:
        log.warning("AWS error", operation=error.operation, code=error.code, error=error.message)
        return None
    return have if have is not None and tags.owned(have.tags, scene.identity) else None


def _scene(
    object_meta: ObjectMeta,
    previous: InferenceDeploymentStatus,
    environment: InferenceEnvironmentSpec,
    world: World,
    now: datetime,
    interval: timedelta,
) -> Scene:
    """`interval`: how long it is until the next look."""
    return Scene(
        identity=_identity(object_meta),
        environment=environment,
        aws=world.connect(environment),
        now=now,
        freshness=world.news.freshness(interval * SHARE, now),
        previous=previous,
    )


MADE: Mapping[str | None, str] = {
    causes.EFS_DENIED.name: AccessPoints.name,  # EFS refuses to mount through one that is not there
    causes.EFS_ACCESS_POINT.name: AccessPoints.name,
    causes.LOG_GROUP_MISSING.name: LogGroups.name,
}
"""By name of the cause of a task's end: the kind of what we make that may be gone then."""


def _missed(before: InferenceDeploymentStatus, after: InferenceDeploymentStatus) -> set[str]:
    """The kinds that tasks have failed for since, though what they lack is believed to be there. No others are looked
    at again: tasks of a revision whose access point is gone, or that a policy keeps from it, fail for ever."""
    known = {task.task for task in before.stopped_tasks}
    return {MADE[task.cause] for task in after.stopped_tasks if task.task not in known and task.cause in MADE}


def _withheld(object_meta: ObjectMeta, ctx: Context) -> Reason | None:
    """Why nothing is to be written now."""
    if _is_true(object_meta, meta.PAUSED):
        return Reason.PAUSED
    applied = ctx.previous.applied
    if ctx.spec.drift_policy != "Report" or applied is None or ctx.retry is not None or ctx.rollback is not None:
        return None
    current = (ctx.generation, ctx.environment_generation)
    return Reason.DRIFTED if (applied.generation, applied.environment_generation) == current else None


def _is_true(object_meta: ObjectMeta, annotation: str) -> bool:
    return object_meta.annotations.get(annotation, "").lower() == "true"


def _generation(environment: Document) -> int:
    generation: int = environment["metadata"].get("generation", 0)
    return generation


def _debugging_ends(spec: InferenceDeploymentSpec, now: datetime) -> timedelta:
    """How long until the spec means something else by itself."""
    until = spec.logging.debug_until
    return max(until - now, SOON) if until is not None and now < until else timedelta.max


@guarded
def take_away(document: Document, world: World, memory: Memory, now: datetime) -> Outcome:
    """Remove what was made for an object. Needs its identity and its environment, not a valid spec."""
    object_meta, previous = _read(document)
    name = environment_name(document)
    found = world.environments.get(name)
    environment = environment_spec(found) if found is not None else None
    if not isinstance(environment, InferenceEnvironmentSpec):
        return _without_environment(name, environment, object_meta, previous, now)
    scene = _scene(object_meta, previous, environment, world, now, backoff.ROLLING)
    memory.interval = backoff.ROLLING
    if (document.get("spec") or {}).get("deletionPolicy") == "Retain":
        results = release(KINDS, scene, memory)
    elif _is_true(object_meta, meta.PAUSED):
        results = [status.blocked_deletion(_PAUSED, because="Paused")]
    else:
        results = finalize(KINDS, scene, memory)
    told = status.deleting(previous, results, generation=object_meta.generation, now=now)
    done = all(result.outcome is None for result in results)
    wait = _requeue(results, memory, scene)
    return Outcome(
        status=told,
        requeue_after=wait,
        on_time=_turn(results) is not None,
        events=tuple(transitions(previous, told, results)),
        results=tuple(results),
        done=done,
    )


_PAUSED = Trouble(
    reason=Reason.PAUSED,
    message=f"the annotation {meta.PAUSED} is set, so nothing is removed. Next: remove the annotation; "
    f"or set spec.deletionPolicy to Retain, to leave everything as it is.",
    retry_soon=False,
)


def accept(
    document: Document, environments: Mapping[str, Document], labels: policy.Labels | None
) -> tuple[InferenceDeploymentSpec, InferenceEnvironmentSpec] | Refusal:
    """The spec and its environment, or why they are not acted on. Pure."""
    try:
        spec = InferenceDeploymentSpec.model_validate(document.get("spec", {}))
    except ValidationError as error:
        return Refusal(Reason.INVALID_SPEC, f"{sentences(error)} What runs goes on as it is. Next: mend the spec.")
    found = environments.get(spec.environment)
    if found is None:
        return Refusal(Reason.ENVIRONMENT_NOT_FOUND, _not_found(spec.environment, environments))
    if found["metadata"].get("deletionTimestamp") and not (document.get("status") or {}).get("resources"):
        return Refusal(
            Reason.ENVIRONMENT_NOT_FOUND,
            f"InferenceEnvironment '{spec.environment}' is being deleted and takes nothing new. "
            f"Next: make this object again with a spec.environment that stays.",
        )
    environment = environment_spec(found)
    if isinstance(environment, ValidationError):
        return Refusal(
            Reason.ENVIRONMENT_INVALID,
            f"InferenceEnvironment '{spec.environment}' is not valid: {sentences(environment)} Next: mend it.",
        )
    identity = _identity(ObjectMeta.model_validate(document["metadata"]))
    return _refused(spec, environment, identity, labels) or (spec, environment)


def _refused(
    spec: InferenceDeploymentSpec,
    environment: InferenceEnvironmentSpec,
    identity: Identity,
    labels: policy.Labels | None,
) -> Refusal | None:
    """Why a valid spec can't be had in its environment."""
    unmet = policy.unmet(spec, environment)
    if unmet:
        return Refusal(
            Reason.INVALID_SPEC,
            f"{'; '.join(unmet)}. Next: change the spec, or ask the platform team to change the environment.",
        )
    forbidden = policy.refusals(spec, environment, identity=identity, labels=labels)
    if forbidden:
        return Refusal(
            Reason.FORBIDDEN_BY_POLICY,
            f"the policy of InferenceEnvironment '{spec.environment}' forbids this: {'; '.join(forbidden)}. "
            f"Next: change the spec, or ask the platform team to change spec.policy.",
        )
    return None


def _read(document: Document) -> tuple[ObjectMeta, InferenceDeploymentStatus]:
    object_meta, told = ObjectMeta.model_validate(document["metadata"]), document.get("status")
    try:
        if told:
            return object_meta, InferenceDeploymentStatus.model_validate(told)
    except ValidationError as error:  # of another version, or written by hand: it is made anew
        log.warning("unreadable status", name=object_meta.name, namespace=object_meta.namespace, error=explain(error))
    # Nothing was told yet, or it is lost: a backup brings an object without its status, Git another cluster's object.
    # What the annotations ask for once was asked of what was before.
    return object_meta, InferenceDeploymentStatus(
        last_reconcile_at=_value(object_meta, meta.RECONCILE_AT),
        last_rollback_at=_value(object_meta, meta.ROLLBACK_AT),
        last_continue_at=_value(object_meta, meta.CONTINUE_AT),
    )


def _new(object_meta: ObjectMeta, annotation: str, honoured: str | None) -> str | None:
    """The annotation's value, unless it is the one last honoured."""
    value = _value(object_meta, annotation)
    return value if value != honoured else None


def _value(object_meta: ObjectMeta, annotation: str) -> str | None:
    """Of a very long one the beginning counts, which the status can hold."""
    return object_meta.annotations.get(annotation, "")[:LONGEST_VALUE] or None


def _identity(object_meta: ObjectMeta) -> Identity:
    return Identity(namespace=object_meta.namespace or "default", name=object_meta.name, uid=object_meta.uid)


def environment_name(document: Document) -> str:
    """Of the InferenceEnvironment that an object runs in."""
    default: str = InferenceDeploymentSpec.model_fields["environment"].default
    name = (document.get("spec") or {}).get("environment", default)
    return name if isinstance(name, str) else default


def environment_spec(document: Document) -> InferenceEnvironmentSpec | ValidationError:
    """The spec of an InferenceEnvironment, or what is wrong with it."""
    try:
        return InferenceEnvironmentSpec.model_validate(document.get("spec", {}))
    except ValidationError as error:
        return error


def _not_found(name: str, environments: Iterable[str]) -> str:
    known = ", ".join(sorted(environments)) or "none"
    return (
        f"there is no InferenceEnvironment '{name}' (there is: {known}). "
        f"Next: ask the platform team to create it, or make this object again with a spec.environment that exists."
    )


def _without_environment(
    name: str,
    error: ValidationError | None,
    object_meta: ObjectMeta,
    previous: InferenceDeploymentStatus,
    now: datetime,
) -> Outcome:
    """Without its environment it is not known where an object's resources are. If it never had any, it may go."""
    if previous.resources is None:
        return Outcome(status=previous, requeue_after=timedelta())
    why = f"is not valid: {sentences(error)}" if error is not None else "does not exist."
    message = (
        f"its resources can't be removed: InferenceEnvironment '{name}' {why} "
        f"Next: restore it; or remove what status.resources lists by hand, and then the finalizer {meta.FINALIZER}."
    )
    trouble = Trouble(reason=Reason.ENVIRONMENT_NOT_FOUND, message=message, retry_soon=False)
    results = [status.blocked_deletion(trouble)]
    told = status.deleting(previous, results, generation=object_meta.generation, now=now)
    return Outcome(status=told, requeue_after=backoff.RESYNC, events=tuple(transitions(previous, told)), done=False)


def _interval(done: Pass, news: News) -> timedelta:
    """How often the object's service is worth a look.

    Events tell of the service alone, and DescribeServices may lag behind them: soon after one it is looked at again.
    """
    moving = {r.kind for r in done.results if _is_awaited(r.outcome) or _goes_on(r.outcome)}
    if not moving and not done.wrote:
        return backoff.PUSHED * backoff.RESYNC if news.pushed else backoff.RESYNC
    told_of = news.pushed and news.at is None and moving <= {Services.name}
    return backoff.PUSHED * backoff.ROLLING if told_of else backoff.ROLLING


def _is_awaited(outcome: object) -> bool:
    """Not one that only waits for another kind, which then has an outcome of its own."""
    return isinstance(outcome, Wait) and outcome.reason is not Reason.DEPENDENCY_NOT_READY


def _goes_on(outcome: object) -> bool:
    return isinstance(outcome, Failed) and not outcome.at_rest


def _requeue(results: Sequence[StepResult], memory: Memory, scene: Scene) -> timedelta:
    """Counted from when the service was seen, which another object's look may have done some time before this pass."""
    outcomes = [result.outcome for result in results]
    if any(isinstance(outcome, Trouble) for outcome in outcomes):
        memory.failures += 1
        return backoff.after_failures(memory.failures)
    memory.failures = 0
    age = scene.aws.services.age(scene.environment.cluster, scene.identity.service)
    return _turn(results) or max(SOON, memory.interval - age)


def _turn(results: Sequence[StepResult]) -> timedelta | None:
    """When the first turn at AWS comes that was given to the object, if any was and nothing else went wrong."""
    outcomes = [result.outcome for result in results]
    if any(isinstance(outcome, Trouble) for outcome in outcomes):
        return None
    return min((o.turn_in for o in outcomes if isinstance(o, Wait) and o.turn_in is not None), default=None)
