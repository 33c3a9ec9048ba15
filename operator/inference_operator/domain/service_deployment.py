"""ECS's record of one deployment of a service, which tells more than the service's list of deployments: how far it has
come, what it waits for, the circuit breaker's figures, alarms, and why it ended. Pure.

Source: API reference, ServiceDeployment. It has no status "failed": STOPPED also means failed with no way back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

ENDED_BADLY = frozenset(
    {
        "STOPPED",
        "STOP_REQUESTED",
        "ROLLBACK_REQUESTED",
        "ROLLBACK_IN_PROGRESS",
        "ROLLBACK_SUCCESSFUL",
        "ROLLBACK_FAILED",
    }
)


@dataclass(frozen=True, kw_only=True)
class Pause:
    """A lifecycle hook at which the deployment waits for somebody."""

    id: str
    stage: str | None
    expires_at: datetime | None
    then: str
    """What ECS does after that: ROLLBACK or CONTINUE."""


@dataclass(frozen=True, kw_only=True)
class Record:
    arn: str
    status: str
    target: str
    """ARN of the service revision that it brings."""
    created_at: datetime | None = None
    given_up_at: datetime | None = None
    reason: str | None = None
    """Why it ended, or is being rolled back, in ECS's words."""
    stage: str | None = None
    traffic: float | None = None
    """Percent of the production traffic that the new tasks are to get, where traffic is shifted."""
    failed_tasks: int = 0
    threshold: int | None = None
    """Failed tasks at which the circuit breaker gives up; None without it."""
    alarms: tuple[str, ...] = ()
    """Those that went off."""
    pause: Pause | None = None

    @property
    def ended_badly(self) -> bool:
        return self.status in ENDED_BADLY


def read(answer: Mapping[str, Any]) -> Record:
    """From one of DescribeServiceDeployments' `serviceDeployments[]`."""
    rollback = answer.get("rollback") or {}
    breaker = answer.get("deploymentCircuitBreaker") or {}
    target = answer.get("targetServiceRevision") or {}
    stage = answer.get("lifecycleStage")
    return Record(
        arn=answer["serviceDeploymentArn"],
        status=answer["status"],
        target=target.get("arn", ""),
        created_at=answer.get("createdAt"),
        given_up_at=rollback.get("startedAt") or answer.get("stoppedAt"),
        reason=rollback.get("reason") or answer.get("statusReason"),
        stage=stage,
        traffic=target.get("requestedProductionTrafficWeight"),
        failed_tasks=breaker.get("failureCount", 0),
        threshold=breaker.get("threshold") if breaker.get("status") != "DISABLED" else None,
        alarms=tuple((answer.get("alarms") or {}).get("triggeredAlarmNames") or ()),
        pause=_pause(answer.get("lifecycleHookDetails") or (), stage),
    )


def _pause(hooks: Any, stage: str | None) -> Pause | None:
    waiting = next((h for h in hooks if h.get("targetType") == "PAUSE" and h["status"] == "AWAITING_ACTION"), None)
    if waiting is None:
        return None
    return Pause(
        id=waiting["hookId"],
        stage=stage,
        expires_at=waiting.get("expiresAt"),
        then=waiting.get("timeoutAction") or "ROLLBACK",
    )
