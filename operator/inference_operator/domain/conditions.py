"""Conditions as the Kubernetes API conventions have them: `lastTransitionTime` moves only when `status` does. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Self

from inference_operator.api.v1alpha1 import Condition
from inference_operator.domain.reasons import Reason

Status = Literal["True", "False", "Unknown"]


class Type(StrEnum):
    """Conditions about the whole object. Each AWS kind has `<name>Ready` besides."""

    about: str

    def __new__(cls, value: str, about: str) -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.about = about
        return member

    ACCEPTED = "Accepted", "the spec is valid, the environment exists and its policy allows this"
    VERIFIED = (
        "Verified",
        (
            "the checks before the latest rollout found nothing that would fail; absent before any. Of an "
            "InferenceEnvironment: what it names is there, and fits together"
        ),
    )
    READY = "Ready", "the revision asked for is the one running, in steady state, with all replicas healthy"
    PROGRESSING = "Progressing", "a step or a rollout is under way"
    DEGRADED = "Degraded", "serving, but below what was asked: fewer replicas, or an older revision"
    NOTIFIES = "NotificationsReady", "of an InferenceEnvironment: the last notification reached all `notifications`"
    LOGS_FLOWING = "LogsFlowing", "log routers lost no line and reach every destination; absent without routes"
    RECONCILING = "Reconciling", "the same as Progressing, for tools that follow kstatus; absent while it is not so"
    PAUSED = "Paused", "an annotation says to write nothing to AWS; absent while it is not so"
    CONTESTED = "Contested", "somebody else keeps changing what the operator puts back; absent while it is not so"
    STALLED = "Stalled", "somebody has to act before it can be as asked (kstatus); absent while it is not so"


@dataclass(frozen=True)
class Said:
    """What is to be said of one aspect."""

    type: str
    status: Status
    reason: Reason
    message: str


def merged(
    previous: Iterable[Condition], said: Iterable[Said], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """The new list: what is said, in that order. What is no longer said is gone."""
    before = {condition.type: condition for condition in previous}

    def condition(it: Said) -> Condition:
        old = before.get(it.type)
        since = old.last_transition_time if old is not None and old.status == it.status else now
        return Condition(
            type=it.type,
            status=it.status,
            reason=it.reason.value,
            message=it.message,
            last_transition_time=since,
            observed_generation=generation,
        )

    return tuple(condition(it) for it in said)


def find(conditions: Iterable[Condition], wanted: str) -> Condition | None:
    return next((c for c in conditions if c.type == wanted), None)
