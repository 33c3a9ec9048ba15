"""What became of a service's latest rollout, and how that is told. Pure.

The rules by which a rollout's state follows are `domain.rollout`'s; here are the service as AWS shows it and the words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from inference_operator.api import meta
from inference_operator.api.v1alpha1 import Failure, StoppedTask
from inference_operator.aws.ports import Answer
from inference_operator.domain import causes, failures, rollout, targets
from inference_operator.domain.failures import Evidence
from inference_operator.domain.reasons import Reason
from inference_operator.domain.rollout import ROLLBACK_ASKED, Asked, Known, Rollout, Stand, State
from inference_operator.domain.service_deployment import Pause, Record
from inference_operator.resources import service_input
from inference_operator.resources.base import Context, Failed, Wait
from inference_operator.resources.scalable_target import Moved
from inference_operator.resources.task_definition import revision_of


@dataclass(frozen=True, kw_only=True)
class Want:
    cluster: str
    name: str
    settings: Mapping[str, Any]
    """The members that CreateService and UpdateService share."""
    tags: Mapping[str, str]
    asked: Asked
    known: Known
    retry: bool
    """What is held is to be tried again."""
    refresh: bool
    """So is what runs, for the sake of images and secrets that may have changed behind their names."""
    rollback: bool
    """What is under way is to be rolled back."""
    bounds: tuple[int, int]
    """The fewest and the most tasks that may be asked for; an autoscaler moves between them."""
    proceed: bool
    """What is paused is to go on."""

    @property
    def revision(self) -> str:
        return self.asked.revision


@dataclass(frozen=True, kw_only=True)
class Service:
    arn: str
    cluster: str
    name: str
    status: str
    answer: Answer
    """As DescribeServices shows it."""
    tags: Mapping[str, str]
    record: Record | None = None
    """ECS's record of the latest deployment, if that brings what is asked for; read only while DescribeServices does
    not tell enough."""
    stopped_tasks: Sequence[Answer] = ()
    """As DescribeTasks shows them, newest first; read only while there is a failure or a loss to explain."""
    asked_back: bool = False
    """A rollback has just been asked for."""
    running_tasks: Sequence[Answer] = ()
    """As DescribeTasks shows them; read only where ECS Exec is asked for, whose agents are told of there alone."""
    moved: Moved | None = None
    """Read only where the number of tasks is outside the bounds of the spec."""
    targets: Sequence[Answer] = ()
    """As DescribeTargetHealth shows them; read only where something may be the matter with them."""

    @property
    def deployments(self) -> Sequence[rollout.Deployment]:
        deployments: Sequence[rollout.Deployment] = self.answer["deployments"]
        return deployments

    @property
    def primary(self) -> rollout.Deployment | None:
        return rollout.primary_of(self.deployments)


def follow(want: Want, have: Service, *, now: datetime | None = None) -> Rollout:
    """What became of what is asked for. Without a time nothing is overdue."""
    others = [d for d in have.deployments if d["status"] != "PRIMARY"]
    stand = Stand(
        deployments=have.deployments if have.status == "ACTIVE" else (),
        current=service_input.current(want.settings, have.answer),
        left=next((d for d in others if service_input.brings(want.settings, d)), None),
        record=have.record,
    )
    known = replace(want.known, reason=ROLLBACK_ASKED) if have.asked_back else want.known
    return rollout.follow(want.asked, stand, known, now=now)


def evidence(ctx: Context, have: Service, seen: Rollout, known: Sequence[StoppedTask] = ()) -> Evidence:
    return Evidence(
        tasks=have.stopped_tasks,
        events=failures.merged(ctx.previous.events, have.answer.get("events", ())),
        revision=seen.revision,
        deployment=seen.deployment,
        since=seen.started_at,
        known=known,
    )


def failure_of(ctx: Context, have: Service, seen: Rollout) -> Failure:
    """Why a held deployment failed: what is known already, unless newer tasks tell more."""
    previous = ctx.previous.last_failure
    same = previous is not None and (previous.revision, previous.deployment) == (seen.revision, seen.deployment)
    told = previous if same else None
    shown = failures.failure(
        evidence(ctx, have, seen), generation=ctx.generation, verdict=_verdict(seen), at=seen.updated_at or ctx.now
    )
    is_news = told is None or (bool(shown.tasks) and shown.tasks[0] not in told.tasks)
    return shown if told is None or is_news else told


def _verdict(seen: Rollout) -> str | None:
    alarms = seen.record.alarms if seen.record is not None else ()
    return f"{seen.reason or 'alarm detected.'} Alarms: {', '.join(alarms)}" if alarms else seen.reason


def unfinished(ctx: Context, have: Service, seen: Rollout) -> Wait | Failed:
    """How a rollout that has not completed is told."""
    if seen.held:
        return _held(ctx, have, seen)
    told = _progress(ctx, have, seen)
    pause = seen.record.pause if seen.record is not None else None
    if pause is not None:
        return Wait(_paused(told, pause), Reason.ROLLOUT_PAUSED)
    if seen.overdue:
        trouble = failures.trouble(evidence(ctx, have, seen))
        step = trouble.cause.next_step if trouble is not None else targets.next_step(targets.summary(have.targets))
        return Failed(
            Reason.PROGRESS_DEADLINE_EXCEEDED,
            f"{told}, and that for longer than rollout.progressDeadline. Next: {step or _LOOK} "
            f"Meanwhile the rollout goes on; a new value of the annotation {meta.ROLLBACK_AT} ends it.",
            at_rest=False,
        )
    return Wait(told, Reason.ROLLING_OUT)


RECENTLY = timedelta(hours=1)
"""As long as ECS remembers stopped tasks."""


def below(ctx: Context, have: Service, seen: Rollout) -> str:
    """How many tasks run after the rollout, and why no more or no fewer, if something that happened since it last was
    steady tells, and not long ago."""
    running, desired = have.answer["runningCount"], have.answer["desiredCount"]
    told = f"{running} of {desired} tasks run"
    if running >= desired:
        return told + _protected(ctx, have, seen)
    steady = failures.steady_at(evidence(ctx, have, seen).events)
    since = max(at for at in (ctx.now - RECENTLY, seen.started_at, steady) if at is not None)
    shown = [task for task in have.stopped_tasks if task.get("stoppedAt", ctx.now) >= since]
    known = [task for task in ctx.previous.stopped_tasks if (task.at or ctx.now) >= since]
    recent = replace(have, stopped_tasks=shown)
    return told + _why(ctx, recent, replace(seen, started_at=since), known)


def _paused(told: str, pause: Pause) -> str:
    until = f" until {pause.expires_at:%Y-%m-%dT%H:%M:%SZ}" if pause.expires_at is not None else ""
    then = "goes on" if pause.then == "CONTINUE" else "goes back"
    return (
        f"{told}; it is paused{until}, when ECS {then}. Next: give the annotation {meta.CONTINUE_AT} "
        f"or {meta.ROLLBACK_AT} a new value"
    )


def _held(ctx: Context, have: Service, seen: Rollout) -> Failed:
    failure = failure_of(ctx, have, seen)
    exited = f"; container {failure.container}, exit code {failure.exit_code}" if failure.exit_code else ""
    cause = f"{failure.cause} ({failure.message.rstrip('.')}{exited})" if failure.message else "ECS gave no cause"
    rolled_back, primary = seen.state is State.ROLLED_BACK, have.primary or {}
    # Without a rollback the tasks before it stay for ever.
    moving = primary.get("rolloutState") == "IN_PROGRESS" or (rolled_back and len(have.deployments) > 1)
    moving = moving or failures.unexplained(failure, ctx.now)
    return Failed(
        Reason.ROLLED_BACK if rolled_back else Reason.ROLLOUT_FAILED,
        f"{revision_of(seen.revision)} {_ended(failure)}: {cause}. "
        f"{_what_serves(have, seen)}{_nor_comes_up(have, seen)}. Next: {failure.next_step} {_UNTIL}.",
        at_rest=not moving,
    )


def _ended(failure: Failure) -> str:
    return "was stopped" if failure.cause == causes.ROLLBACK_REQUESTED.name else "failed"


def _what_serves(have: Service, seen: Rollout) -> str:
    primary = have.primary
    if seen.state is State.FAILED or primary is None:
        older = (d for d in have.deployments if d is not primary and d.get("runningCount"))
        serving = next((f"; {revision_of(d['taskDefinition'])} serves on" for d in older), "")
        return f"Nothing was rolled back{serving}"
    same = primary["taskDefinition"] == seen.revision
    before = "The deployment before it" if same else revision_of(primary["taskDefinition"])
    match primary.get("rolloutState"):
        case "FAILED":
            return f"The rollback failed too: {primary.get('rolloutStateReason', '').rstrip('.')}"
        case "IN_PROGRESS":
            return f"ECS goes back to {'the deployment before it' if same else before}"
        case _ if not primary.get("runningCount"):
            return f"{before} is back, and no task runs"
        case _ if seen.started_at is not None and primary["createdAt"] > seen.started_at:
            return f"{before} serves, which somebody else has deployed since"
        case _:
            return f"{before} serves again"


def _nor_comes_up(have: Service, seen: Rollout) -> str:
    """Why tasks of what was rolled back to can't start, where ECS tries in vain: it lacks what it had, maybe for good.
    To make that anew mends new revisions alone."""
    primary = have.primary or {}
    if seen.state is not State.ROLLED_BACK or not primary.get("failedTasks"):
        return ""
    since = seen.started_at
    recent = (t for t in have.stopped_tasks if since is None or t.get("stoppedAt", since) >= since)
    tasks = [t for t in recent if t.get("stopCode") != "UserInitiated"]
    found = failures.trouble(
        Evidence(tasks=tasks, events=(), revision=primary["taskDefinition"], deployment=primary["id"], since=since)
    )
    if found is None:
        return ""
    return (
        f", whose tasks do not come up either: {found.cause.name} ({(found.text or '').rstrip('.')}; for these: "
        f"{found.cause.next_step.rstrip('.')}; what is gone for good, only a release that comes up replaces)"
    )


_LOOK = "See in the containers' log, status.events and spec.health why tasks are not healthy."
_UNTIL = (
    "It is not tried again until the spec (replicas aside) or its environment asks for something else, "
    f"or the annotation {meta.RECONCILE_AT} gets a new value"
)


def _progress(ctx: Context, have: Service, seen: Rollout) -> str:
    if seen.state is State.NOT_SENT:
        return f"{revision_of(seen.revision)} has still to be rolled out"
    primary = have.primary or {}
    running, desired = primary.get("runningCount", 0), primary.get("desiredCount", 0)
    told = f"{revision_of(seen.revision)}: {running} of {desired} tasks run"
    if seen.record is not None and seen.record.traffic is not None and running >= desired:
        return f"{told} and get {seen.record.traffic:g} % of the requests ({seen.record.stage})"
    if seen.failed_tasks or running < desired:
        failed = f", {seen.failed_tasks} failed to come up" if seen.failed_tasks else ""
        return f"{told}{failed}{_why(ctx, have, seen)}"
    seen_by_balancer = targets.summary(have.targets)
    if trouble := targets.sentence(seen_by_balancer):
        step = targets.next_step(seen_by_balancer)
        return f"{told}; {trouble}" + (f". Next: {step.rstrip('.')}" if step and not seen.overdue else "")
    if len(have.deployments) == 1:
        return f"{told}; ECS waits until they are healthy"
    return f"{told}; ECS waits until they are healthy and the tasks before them have ended{_protected(ctx, have, seen)}"


def _protected(ctx: Context, have: Service, seen: Rollout) -> str:
    """Why tasks that are no longer wanted do not end, if ECS has told so since it last was steady."""
    unsteady = takewhile(lambda each: each[0] is not causes.STEADY, evidence(ctx, have, seen).told())
    step = "" if seen.overdue else f". Next: {causes.PROTECTED.next_step}"
    found = (f"; {cause.name} ({text.rstrip('.')}){step}" for cause, text in unsteady if cause is causes.PROTECTED)
    return next(found, "")


def _why(ctx: Context, have: Service, seen: Rollout, known: Sequence[StoppedTask] = ()) -> str:
    found = evidence(ctx, have, seen, known)
    trouble = failures.trouble(found)
    slow = "; ECS waits longer and longer between tries" if failures.waits_longer(found) else ""
    if trouble is None:
        return slow
    step = "" if seen.overdue else f". Next: {trouble.cause.next_step}"
    return f"; the latest: {trouble.cause.name} ({(trouble.text or '').rstrip('.')}){slow}{step}"
