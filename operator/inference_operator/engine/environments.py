"""One pass over one InferenceEnvironment: whether services can use it, how many do, and whether it may go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from inference_operator.api.errors import explain
from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec, InferenceEnvironmentStatus, ObjectMeta
from inference_operator.domain.conditions import Said, Type, merged
from inference_operator.domain.reasons import Reason
from inference_operator.engine import backoff
from inference_operator.engine.objects import Document, Outcome, World
from inference_operator.engine.reconcile import Memory

NAMED = 10
"""So many of the objects that are in the way of a deletion are named."""


def look_after(document: Document, world: World, _memory: Memory, now: datetime) -> Outcome:
    """Say whether services can use it."""
    users = world.objects or ()
    return Outcome(status=_told(document, _judged(document), len(users), now), requeue_after=backoff.AUDIT)


def take_away(document: Document, world: World, _memory: Memory, now: datetime) -> Outcome:
    """It may go once nothing runs in it: without it nobody would know where its services' resources are."""
    users = world.objects
    if not users and users is not None:
        said = Said(Type.READY, "False", Reason.DELETING, "it is being deleted")
        return Outcome(status=_told(document, said, 0, now), requeue_after=backoff.RESYNC)
    message = "what runs in it can't be listed now; it is tried again" if users is None else _in_the_way(users)
    said = Said(Type.READY, "False", Reason.IN_USE, message)
    told = _told(document, said, len(users or ()), now)
    return Outcome(status=told, requeue_after=backoff.FIRST if users is None else backoff.RESYNC, done=False)


def _judged(document: Document) -> Said:
    try:
        spec = InferenceEnvironmentSpec.model_validate(document.get("spec", {}))
    except ValidationError as error:
        return Said(Type.READY, "False", Reason.INVALID_SPEC, f"{explain(error)} Next: mend the spec.")
    return Said(Type.READY, "True", Reason.ACCEPTED, f"services run in cluster {spec.cluster} of {spec.region}")


def _in_the_way(users: Sequence[Document]) -> str:
    names = sorted(f"{user['metadata']['namespace']}/{user['metadata']['name']}" for user in users)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return (
        f"it is deleted once nothing runs in it; now there is {', '.join(names[:NAMED])}{more}. "
        f"Next: delete these InferenceDeployments"
    )


def _told(document: Document, said: Said, services: int, now: datetime) -> InferenceEnvironmentStatus:
    meta = ObjectMeta.model_validate(document["metadata"])
    previous = _previous(document.get("status") or {})
    return InferenceEnvironmentStatus(
        observed_generation=meta.generation,
        conditions=merged(previous.conditions, [said], generation=meta.generation, now=now),
        services=services,
    )


def _previous(status: Mapping[str, Any]) -> InferenceEnvironmentStatus:
    try:
        return InferenceEnvironmentStatus.model_validate(status)
    except ValidationError:  # written by hand or by another version: it is made anew
        return InferenceEnvironmentStatus()
