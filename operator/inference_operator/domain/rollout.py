"""What became of the deployment asked for: read from a service's deployments, from ECS's record of the latest one, and
from what was known before. Pure.

ECS calls a service stable after a rollback too, and forgets the failed deployment once its tasks are gone. So the
question is never "is it stable?" but "is the deployment that brings *what is asked for* the primary one, and has it
completed?". Nor is one that brings the same, and was there before, the one that was begun.

A deployment is known by its id. What was asked for when it was sent is kept beside it as a hash: what failed is held,
that is not sent again, while that hash is the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from inference_operator.api.meta import ROLLBACK_AT
from inference_operator.domain.service_deployment import Record

Deployment = Mapping[str, Any]
"""One of DescribeServices' `services[].deployments[]`."""


def primary_of(deployments: Iterable[Deployment]) -> Deployment | None:
    """The one that ECS works towards; a service that goes has none."""
    return next((each for each in deployments if each["status"] == "PRIMARY"), None)


class State(StrEnum):
    NOT_SENT = "NotSent"
    IN_PROGRESS = "InProgress"
    PAUSED = "Paused"
    """In progress, and waiting for somebody."""
    COMPLETED = "Completed"
    FAILED = "Failed"
    """Given up, and still the primary deployment: there was nothing to roll back to, or rollback is off."""
    ROLLED_BACK = "RolledBack"


UNDER_WAY = (State.IN_PROGRESS, State.PAUSED)
HELD = (State.FAILED, State.ROLLED_BACK)

LAG = timedelta(seconds=30)
"""How long DescribeServices may not show a deployment that was begun (eventual consistency)."""

ROLLBACK_ASKED = f"rollback was requested with the annotation {ROLLBACK_AT}"
"""Our reason for a deployment's end; it counts for more than ECS's words for it."""


@dataclass(frozen=True, kw_only=True)
class Known:
    """What earlier passes knew, from the object's status: the deployment that they followed."""

    id: str | None = None
    record: str | None = None
    """ARN of ECS's record of it."""
    asked: str | None = None
    """Hash of what was asked for."""
    state: str | None = None
    started_at: datetime | None = None
    """In whole seconds."""
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    revision: str
    """ARN of the task-definition revision."""
    hash: str
    """Of all that, when it changes, makes another try worth while."""
    deadline: timedelta


@dataclass(frozen=True, kw_only=True)
class Stand:
    """How the service stands."""

    deployments: Sequence[Deployment]
    current: bool
    """The primary deployment brings what is asked for."""
    left: Deployment | None = None
    """A deployment that brings what is asked for and is not the primary one."""
    record: Record | None = None
    """ECS's record of the latest deployment, if that brings what is asked for and it was looked at."""


@dataclass(frozen=True, kw_only=True)
class Rollout:
    state: State
    revision: str
    asked: str = ""
    deployment: str | None = None
    """Its id."""
    started_at: datetime | None = None
    updated_at: datetime | None = None
    reason: str | None = None
    failed_tasks: int = 0
    record: Record | None = None
    overdue: bool = False
    """In progress for longer than the progress deadline."""

    @property
    def held(self) -> bool:
        return self.state in HELD

    @property
    def under_way(self) -> bool:
        return self.state in UNDER_WAY


def follow(asked: Asked, stand: Stand, known: Known, *, now: datetime | None) -> Rollout:
    """The rollout of what is asked for. Without a time nothing is overdue."""
    primary = primary_of(stand.deployments)
    if primary is None:
        return Rollout(state=State.NOT_SENT, revision=asked.revision, asked=asked.hash)
    back = _went_back(asked, primary, known)
    if stand.current and not back:
        return _current(primary, asked, stand, known, now)
    if back or _was_given_up(asked, stand, known):
        unseen = now is not None and _may_not_show_yet(stand, known, now)
        return _sent(asked, known) if unseen else _given_up(asked, stand, known)
    return Rollout(state=State.NOT_SENT, revision=asked.revision, asked=asked.hash)


def _current(primary: Deployment, asked: Asked, stand: Stand, known: Known, now: datetime | None) -> Rollout:
    states = {"COMPLETED": State.COMPLETED, "FAILED": State.FAILED}
    state = states.get(primary.get("rolloutState", ""), State.IN_PROGRESS)
    if state is State.FAILED and known.id == primary["id"] and known.asked != asked.hash:
        state = State.NOT_SENT  # what failed was something else, in a way that does not show in the service
    record = stand.record
    if state is State.IN_PROGRESS and record is not None and record.pause is not None:
        state = State.PAUSED
    return Rollout(
        state=state,
        revision=asked.revision,
        asked=asked.hash,
        deployment=primary["id"],
        started_at=primary["createdAt"],
        updated_at=primary.get("updatedAt"),
        reason=(_ours(known) if known.id == primary["id"] else None) or primary.get("rolloutStateReason"),
        failed_tasks=max(primary.get("failedTasks", 0), record.failed_tasks if record is not None else 0),
        record=record,
        overdue=state is State.IN_PROGRESS and now is not None and now - primary["createdAt"] > asked.deadline,
    )


def _ours(known: Known) -> str | None:
    return known.reason if known.reason == ROLLBACK_ASKED else None


def _went_back(asked: Asked, primary: Deployment, known: Known) -> bool:
    """Whether the deployment that was followed has given way to an earlier one, to which ECS goes back under its old
    id; maybe of the same revision, as when an image has changed behind its tag. One of the same second is no earlier
    one: none completes so soon."""
    if known.asked != asked.hash or known.state not in (*UNDER_WAY, *HELD) or known.started_at is None:
        return False
    return bool(primary["createdAt"].replace(microsecond=0) < known.started_at)


def _was_given_up(asked: Asked, stand: Stand, known: Known) -> bool:
    """What is asked for is not what the primary deployment brings. Was it sent, and did ECS go back from it?"""
    if known.asked == asked.hash and known.state in HELD:
        return True
    if known.asked == asked.hash and known.state in UNDER_WAY and known.started_at is not None:
        return False  # a later one is somebody else's, and to be mended
    if stand.left is not None and stand.left.get("rolloutState") == "FAILED" and stand.left["id"] != known.id:
        return True
    record = stand.record
    return record is not None and record.ended_badly and not _is_known(record, known)


def _may_not_show_yet(stand: Stand, known: Known, now: datetime) -> bool:
    """Whether nothing but its absence speaks for the end of a deployment that another process has just begun."""
    begun = known.started_at if known.state in UNDER_WAY else None
    if begun is None or stand.left is not None:
        return False
    return now - begun < LAG if stand.record is None else not stand.record.ended_badly


def _sent(asked: Asked, known: Known) -> Rollout:
    return Rollout(
        state=State.IN_PROGRESS,
        revision=asked.revision,
        asked=asked.hash,
        deployment=known.id,
        started_at=known.started_at,
    )


def _is_known(record: Record, known: Known) -> bool:
    """Whether it is of the deployment that was followed before: then its end says nothing of what is asked for now."""
    if known.record is not None or known.started_at is None:
        return record.arn == known.record
    return record.created_at is not None and record.created_at <= known.started_at + timedelta(seconds=5)


def _given_up(asked: Asked, stand: Stand, known: Known) -> Rollout:
    shown, record = stand.left or {}, stand.record
    followed = known if known.asked == asked.hash else Known()
    told = shown.get("rolloutStateReason") if shown.get("rolloutState") == "FAILED" else None  # else of its progress
    return Rollout(
        state=State.ROLLED_BACK,
        revision=asked.revision,
        asked=asked.hash,
        deployment=shown.get("id") or followed.id,
        started_at=shown.get("createdAt") or followed.started_at or (record.created_at if record else None),
        updated_at=(record.given_up_at if record else None) or shown.get("updatedAt"),
        reason=_ours(followed) or (record.reason if record else None) or told,
        failed_tasks=max(shown.get("failedTasks", 0), record.failed_tasks if record else 0),
        record=record,
    )
