"""What stopped tasks and service events say, as far as it can be told without guessing. Pure.

The texts are ECS's own and are kept as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from inference_operator.api.v1alpha1 import Failure, ServiceEvent, StoppedTask

ROUTINE = "Scaling activity initiated by"
"""Begins `stoppedReason` when the scheduler stops a task that it no longer needs."""

_ERRORS = ("unable", "failed", "unhealthy", "throttled")


def stopped_task(task: Mapping[str, Any]) -> StoppedTask:
    """From one of DescribeTasks' tasks. The container told of is the one with a reason, else one with an exit code."""
    containers = task.get("containers", ())
    guilty: Mapping[str, Any] = next(
        (c for c in containers if c.get("reason")),
        next((c for c in containers if c.get("exitCode") not in (None, 0)), containers[0] if containers else {}),
    )
    reasons = [r for r in (task.get("stoppedReason"), guilty.get("reason")) if r]
    return StoppedTask(
        task=task["taskArn"].rpartition("/")[2],
        at=task.get("stoppedAt"),
        stop_code=task.get("stopCode"),
        reason="; ".join(dict.fromkeys(reasons)) or None,
        exit_code=guilty.get("exitCode"),
        container=guilty.get("name"),
    )


def service_event(event: Mapping[str, Any]) -> ServiceEvent:
    message = event["message"]
    severity = "Warning" if any(word in message for word in _ERRORS) else "Info"
    return ServiceEvent(id=event["id"], at=event["createdAt"], message=message, severity=severity)


def failure(
    tasks: Iterable[Mapping[str, Any]], *, revision: str, generation: int, reason: str | None, at: datetime
) -> Failure:
    """Why a revision failed: what its newest task that did not stop as a matter of routine says; else ECS's reason."""
    told = [
        stopped_task(task)
        for task in tasks
        if task.get("taskDefinitionArn") == revision and not task.get("stoppedReason", "").startswith(ROUTINE)
    ]
    newest = told[0] if told else None
    return Failure(
        generation=generation,
        revision=revision,
        cause=newest.stop_code if newest else None,
        message=(newest.reason if newest else None) or reason,
        next_step=_next_step(newest),
        exit_code=newest.exit_code if newest else None,
        container=newest.container if newest else None,
        tasks=tuple(t.task for t in told),
        at=at,
    )


def _next_step(task: StoppedTask | None) -> str:
    if task is None:
        return "look at status.events, then change the spec"
    if task.stop_code == "EssentialContainerExited":
        return (
            f"read the log of container '{task.container}' of task {task.task} in the service's log group, "
            f"mend the image, the models or the spec, and apply again"
        )
    return "mend what the message names, then change the spec, or set the annotation ecs-inference.dev/reconcile-at"
