"""What people are to be told of an object's rollouts. Pure.

It follows from the status alone, and from what the status says was told: so neither a restart nor a second pass tells
anything twice, and what was not delivered is told later. The ids are the same whenever they are made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from inference_operator.api.v1alpha1 import InferenceDeploymentStatus, Notified, ObjectMeta
from inference_operator.domain.conditions import Type, find
from inference_operator.domain.names import digest

STALE_AFTER = timedelta(hours=1)
"""News that is older is none: nobody wants to hear last year's of every service when notifications are turned on."""


class Kind(StrEnum):
    STARTED = "RolloutStarted"
    PAUSED = "RolloutPaused"
    FAILED = "RolloutFailed"
    ROLLED_BACK = "RolledBack"
    RECOVERED = "Recovered"


_OF_STATE = {
    "InProgress": Kind.STARTED,
    "Paused": Kind.PAUSED,
    "Failed": Kind.FAILED,
    "RolledBack": Kind.ROLLED_BACK,
}
_BAD = (Kind.FAILED, Kind.ROLLED_BACK)


@dataclass(frozen=True, kw_only=True)
class Notice:
    id: str
    type: Kind
    at: datetime
    message: dict[str, Any]
    """The JSON document that is sent. Of the status, nothing else: it holds no secret."""


def due(meta: ObjectMeta, environment: str, status: InferenceDeploymentStatus, now: datetime) -> tuple[Notice, ...]:
    """What is to be told and has not been."""
    told = {notified.id for notified in status.notified}
    found = (_notice(meta, environment, status, *it) for it in _news(meta, status, now))
    return tuple(notice for notice in found if notice.id not in told and now - notice.at < STALE_AFTER)


def with_notified(status: InferenceDeploymentStatus, delivered: tuple[Notified, ...]) -> InferenceDeploymentStatus:
    if not delivered:
        return status
    kept = {it.id: it for it in (*status.notified, *delivered)}
    newest = sorted(kept.values(), key=lambda it: it.at, reverse=True)
    return InferenceDeploymentStatus.model_validate({**dict(status), "notified": newest})


def _news(
    meta: ObjectMeta, status: InferenceDeploymentStatus, now: datetime
) -> Iterator[tuple[Kind, list[Any], datetime]]:
    """Kind, what its id is made of, and when."""
    deployment, ready = status.deployment, find(status.conditions, Type.READY)
    kind = _OF_STATE.get(deployment.state or "") if deployment is not None else None
    if deployment is not None and kind is not None:
        which = [
            meta.uid,
            kind,
            deployment.id or deployment.revision,
            deployment.stage if kind is Kind.PAUSED else None,
        ]
        changed = ready.last_transition_time if ready is not None else now
        failed = status.last_failure.at if status.last_failure is not None and kind in _BAD else None
        yield kind, which, failed or (deployment.started_at if kind is Kind.STARTED else changed) or now
    verdict = next((it for it in status.notified if it.type in (*_BAD, Kind.RECOVERED)), None)
    if ready is not None and ready.status == "True" and verdict is not None and verdict.type in _BAD:
        yield Kind.RECOVERED, [meta.uid, Kind.RECOVERED, verdict.id], ready.last_transition_time


def _notice(
    meta: ObjectMeta,
    environment: str,
    status: InferenceDeploymentStatus,
    kind: Kind,
    which: list[Any],
    at: datetime,
) -> Notice:
    ready = find(status.conditions, Type.READY)
    failure = status.last_failure if kind in _BAD else None
    desired, name = status.desired, f"{meta.namespace}/{meta.name}"
    identifier = digest(which)[:32]
    told = failure.message if failure is not None else ready.message if ready is not None else None
    message = {
        "id": identifier,
        "type": kind.value,
        "at": at.isoformat(),
        "environment": environment,
        "namespace": meta.namespace,
        "name": meta.name,
        "generation": status.observed_generation,
        "deployment": status.deployment.id if status.deployment is not None else None,
        "image": desired.image if desired is not None else None,
        "model": desired.model if desired is not None else None,
        "cause": failure.cause if failure is not None else None,
        "message": told,
        "nextStep": failure.next_step if failure is not None else None,
        "url": status.url,
        "text": f"{name}: {kind.value}" + (f" ({failure.cause})" if failure is not None else "") + f". {told or ''}",
    }
    kept = {key: value for key, value in message.items() if value is not None}
    return Notice(id=identifier, type=kind, at=at, message=kept)
