"""What stopped tasks and service events say, as the status tells it: ECS's own texts, and their cause. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from inference_operator.api.v1alpha1 import Failure, ServiceEvent, StoppedTask
from inference_operator.domain import causes
from inference_operator.domain.causes import Cause, Fact

ROUTINE = "Scaling activity initiated by"
"""Begins `stoppedReason` when the scheduler stops a task that it no longer needs."""

ROUTER = "log_router"
"""Name of the container that routes logs."""


def stopped_task(task: Mapping[str, Any]) -> StoppedTask:
    """From one of DescribeTasks' tasks. The container told of is the one with a reason, else one with an exit code."""
    containers = task.get("containers", ())
    guilty: Mapping[str, Any] = next(
        (c for c in containers if c.get("reason")),
        next((c for c in containers if c.get("exitCode") not in (None, 0)), containers[0] if containers else {}),
    )
    reasons = [r for r in (task.get("stoppedReason"), guilty.get("reason")) if r]
    text = "; ".join(dict.fromkeys(reasons))
    stopped = StoppedTask(
        task=task["taskArn"].rpartition("/")[2],
        at=task.get("stoppedAt"),
        stop_code=task.get("stopCode"),
        reason=text or None,
        exit_code=guilty.get("exitCode"),
        container=guilty.get("name"),
    )
    return stopped.model_copy(update={"cause": cause_of(stopped).name})


def cause_of(task: StoppedTask) -> Cause:
    return causes.classify(
        Fact(
            text=task.reason or "",
            stop_code=task.stop_code,
            exit_code=task.exit_code,
            router=task.container == ROUTER,
        )
    )


def service_event(event: Mapping[str, Any]) -> ServiceEvent:
    message = event["message"]
    severity = causes.classify(Fact(text=message)).severity
    return ServiceEvent(id=event["id"], at=event["createdAt"], message=message, severity=severity.value)


def failure(
    tasks: Iterable[Mapping[str, Any]], *, revision: str, generation: int, reason: str | None, at: datetime
) -> Failure:
    """Why a revision failed: what its newest task that did not stop as a matter of routine says; else ECS's reason."""
    told = [
        stopped_task(task)
        for task in tasks
        if task.get("taskDefinitionArn") == revision and not task.get("stoppedReason", "").startswith(ROUTINE)
    ]
    if not told:
        return Failure(
            generation=generation,
            revision=revision,
            cause=causes.UNKNOWN.name,
            message=reason,
            next_step="Look at status.events, then change the spec.",
            at=at,
        )
    newest = told[0]
    cause = cause_of(newest)
    return Failure(
        generation=generation,
        revision=revision,
        cause=cause.name,
        message=newest.reason or reason,
        next_step=cause.next_step,
        exit_code=newest.exit_code,
        container=newest.container,
        tasks=tuple(t.task for t in told),
        at=at,
    )
