"""What became of the revision asked for: read from a service's deployments and from what was known before. Pure.

ECS calls a service stable after a rollback too, and forgets the failed deployment once its tasks are gone. So the
question is never "is it stable?" but "is the deployment that brings *this* revision the primary one, and has it
completed?".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

Deployment = Mapping[str, Any]
"""One of DescribeServices' `services[].deployments[]`."""


class State(StrEnum):
    NOT_SENT = "NotSent"
    IN_PROGRESS = "InProgress"
    COMPLETED = "Completed"
    FAILED = "Failed"
    """Given up, and still the primary deployment: there was nothing to roll back to, or rollback is off."""
    ROLLED_BACK = "RolledBack"


HELD = (State.FAILED, State.ROLLED_BACK)


@dataclass(frozen=True, kw_only=True)
class Known:
    """What earlier passes knew, from the object's status."""

    sent: str | None = None
    """The revision last sent."""
    sent_state: str | None = None
    failed: str | None = None
    """The revision that failed last, and has not completed since."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    state: State
    revision: str
    deployment: str | None = None
    started_at: datetime | None = None
    updated_at: datetime | None = None
    reason: str | None = None
    failed_tasks: int = 0
    overdue: bool = False
    """In progress for longer than the progress deadline."""

    @property
    def held(self) -> bool:
        return self.state in HELD


def follow(
    deployments: Sequence[Deployment], *, wanted: str, known: Known, deadline: timedelta, now: datetime
) -> Rollout:
    """The rollout of revision `wanted`."""
    primary = next((d for d in deployments if d["status"] == "PRIMARY"), None)
    mine = next((d for d in deployments if d["taskDefinition"] == wanted), None)
    if primary is not None and primary["taskDefinition"] == wanted:
        return _current(primary, wanted, deadline, now)
    if (mine is not None and mine.get("rolloutState") == "FAILED") or _was_given_up(wanted, known):
        shown = mine or {}
        return Rollout(
            state=State.ROLLED_BACK,
            revision=wanted,
            deployment=shown.get("id"),
            started_at=shown.get("createdAt"),
            updated_at=shown.get("updatedAt"),
            reason=shown.get("rolloutStateReason"),
            failed_tasks=shown.get("failedTasks", 0),
        )
    return Rollout(state=State.NOT_SENT, revision=wanted)


def _current(primary: Deployment, wanted: str, deadline: timedelta, now: datetime) -> Rollout:
    states = {"COMPLETED": State.COMPLETED, "FAILED": State.FAILED}
    state = states.get(primary.get("rolloutState", ""), State.IN_PROGRESS)
    return Rollout(
        state=state,
        revision=wanted,
        deployment=primary["id"],
        started_at=primary["createdAt"],
        updated_at=primary.get("updatedAt"),
        reason=primary.get("rolloutStateReason"),
        failed_tasks=primary.get("failedTasks", 0),
        overdue=state is State.IN_PROGRESS and now - primary["createdAt"] > deadline,
    )


def _was_given_up(wanted: str, known: Known) -> bool:
    """It is not primary and its deployment is forgotten; if we had sent it and it had not completed, ECS gave it up."""
    if known.failed == wanted:
        return True
    return known.sent == wanted and known.sent_state in (State.IN_PROGRESS, *HELD)
