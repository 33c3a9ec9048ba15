"""What a status tells of revisions: which one is asked for, which one serves, how the rollout between them goes, and
how those before it ended. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_operator.api.rollout import DEFAULT_THRESHOLD
from inference_operator.api.v1alpha1 import (
    DeploymentState,
    DesiredRevision,
    Failure,
    HistoryEntry,
    RunningRevision,
)
from inference_operator.domain.reasons import Reason
from inference_operator.domain.rollout import UNDER_WAY, Rollout, State
from inference_operator.domain.service_deployment import Record
from inference_operator.resources import service, service_rollout, task_definition
from inference_operator.resources.base import Context

TASKS = task_definition.TaskDefinitions.name


def desired(ctx: Context, have: Mapping[str, Any]) -> DesiredRevision | None:
    """What the spec asks for; while paused, what was asked for before."""
    if ctx.withheld is Reason.PAUSED:
        return ctx.previous.desired
    registered: task_definition.TaskDefinition | None = have.get(TASKS)
    return DesiredRevision(
        revision=registered.arn if registered is not None else None,
        spec_hash=registered.hash if registered is not None else None,
        image=ctx.spec.image,
        model=ctx.spec.models.path,
    )


def running(ctx: Context, found: service.Service | None, rollout: Rollout | None) -> RunningRevision | None:
    """What serves: the last revision whose rollout completed, while it has tasks."""
    if found is None or found.answer["runningCount"] == 0:
        return None
    before = ctx.previous.running
    if rollout is not None and rollout.state is State.COMPLETED:
        since = before.since if before is not None and before.revision == rollout.revision else rollout.updated_at
        return RunningRevision(revision=rollout.revision, **_followed(ctx), since=since or ctx.now)
    completed = next((d for d in found.deployments if d.get("rolloutState") == "COMPLETED"), None)
    if completed is None or (before is not None and before.revision == completed["taskDefinition"]):
        return before
    known = next((e for e in ctx.previous.history if e.revision == completed["taskDefinition"]), HistoryEntry())
    return RunningRevision(
        revision=completed["taskDefinition"], image=known.image, model=known.model, since=completed.get("updatedAt")
    )


def _followed(ctx: Context) -> dict[str, str | None]:
    """Image and model of the revision that is followed: while paused, of what was asked for before."""
    if ctx.withheld is Reason.PAUSED and ctx.previous.desired is not None:
        return {"image": ctx.previous.desired.image, "model": ctx.previous.desired.model}
    return {"image": ctx.spec.image, "model": ctx.spec.models.path}


def deployment(ctx: Context, rollout: Rollout | None, answer: Mapping[str, Any]) -> DeploymentState | None:
    """The rollout that is followed, or was last."""
    previous = ctx.previous.deployment
    if rollout is None or rollout.state is State.NOT_SENT:
        return previous
    same = previous if previous is not None and _is_same(previous, rollout) else DeploymentState()
    record = rollout.record
    return DeploymentState(
        id=rollout.deployment or same.id,
        service_deployment=record.arn if record is not None else same.service_deployment,
        asked_hash=rollout.asked,
        revision=rollout.revision,
        generation=same.generation or ctx.generation,
        state=rollout.state.value,
        started_at=rollout.started_at or same.started_at,
        reason=rollout.reason or (same.reason if same.state == rollout.state.value else None),
        failed_tasks=max(rollout.failed_tasks, (same.failed_tasks or 0) if rollout.held else 0) or None,
        threshold=(record.threshold if record is not None else None) or _threshold(ctx, answer),
        strategy=same.strategy or ctx.spec.rollout.strategy,
        **(_stage(record) if record is not None and rollout.under_way else {}),
    )


def _stage(record: Record) -> dict[str, Any]:
    """How far a rollout is that shifts requests."""
    return {
        "stage": record.stage,
        "traffic_percent": round(record.traffic) if record.traffic is not None else None,
        "paused_until": record.pause.expires_at if record.pause is not None else None,
    }


def _is_same(known: DeploymentState, rollout: Rollout) -> bool:
    if rollout.deployment is None:  # forgotten by ECS
        return known.asked_hash == rollout.asked
    return known.id == rollout.deployment


def _threshold(ctx: Context, answer: Mapping[str, Any]) -> int | None:
    breaker = ctx.spec.rollout.circuit_breaker
    if not breaker.enabled or ctx.spec.rollout.shifts:
        return None
    return (breaker.threshold or DEFAULT_THRESHOLD).tasks(int(answer.get("desiredCount", ctx.spec.starts_with)))


def last_failure(ctx: Context, running: service.Service | None, rollout: Rollout | None) -> Failure | None:
    """Why the last rollout that failed did, until the same revision comes up."""
    previous = ctx.previous.last_failure
    if rollout is None or running is None:
        return previous
    if rollout.state is State.COMPLETED and previous is not None and previous.revision == rollout.revision:
        return None  # it was tried again, and this time it came up
    return service_rollout.failure_of(ctx, running, rollout) if rollout.held else previous


def history(ctx: Context, rollout: Rollout | None, failure: Failure | None) -> tuple[HistoryEntry, ...]:
    """Rollouts that have ended, newest first."""
    entries, before = ctx.previous.history, ctx.previous.deployment
    if rollout is None or rollout.state is State.NOT_SENT:
        return entries
    same = before is not None and _is_same(before, rollout)
    if before is not None and not same and before.state in UNDER_WAY:
        entries = (_cut_short(ctx, before, rollout), *entries)
    told = any(e.deployment == rollout.deployment and e.outcome == rollout.state.value for e in entries)
    if rollout.under_way or told or (before is not None and same and before.state == rollout.state):
        return entries
    ended = HistoryEntry(
        deployment=rollout.deployment,
        revision=rollout.revision,
        generation=before.generation if before is not None and same else ctx.generation,
        **_followed(ctx),
        outcome=rollout.state.value,
        cause=failure.cause if rollout.held and failure is not None else None,
        started_at=rollout.started_at or (before.started_at if before is not None and same else None),
        finished_at=rollout.updated_at or ctx.now,
    )
    return (ended, *entries)


def _cut_short(ctx: Context, before: DeploymentState, after: Rollout) -> HistoryEntry:
    """The deployment that was followed has given way to another: to a newer one, or to one that ECS went back to."""
    newer = not (before.started_at and after.started_at) or after.started_at.replace(microsecond=0) >= before.started_at
    asked = ctx.previous.desired or DesiredRevision()
    known = asked if asked.revision == before.revision else DesiredRevision()
    return HistoryEntry(
        deployment=before.id,
        revision=before.revision,
        generation=before.generation,
        image=known.image,
        model=known.model,
        outcome="Superseded" if newer else State.ROLLED_BACK.value,
        started_at=before.started_at,
        finished_at=ctx.now,
    )
