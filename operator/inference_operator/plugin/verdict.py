"""Whether what was asked for came to be: what `wait` ends with. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from inference_operator.api.meta import RECONCILE_AT
from inference_operator.domain.reasons import Reason

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    state: Literal["ready", "failed", "pending"]
    why: str


def judge(document: Document) -> Verdict:
    """Of the spec as it is now. ECS calls a service stable after a rollback too; here that is a failure."""
    meta, status = document["metadata"], document.get("status") or {}
    if meta.get("deletionTimestamp"):
        return Verdict("failed", "it is being deleted")
    conditions = {c["type"]: c for c in status.get("conditions", ())}
    ready, stalled = conditions.get("Ready"), conditions.get("Stalled")
    if ready is None or status.get("observedGeneration") != meta.get("generation"):
        return Verdict("pending", f"generation {meta.get('generation')} has not been looked at yet")
    asked = (meta.get("annotations") or {}).get(RECONCILE_AT)
    if asked is not None and asked != status.get("lastReconcileAt"):
        return Verdict("pending", "it is to be tried again")
    if ready["status"] == "True":
        return Verdict("ready", ready["message"])
    if stalled is not None and stalled["status"] == "True" and stalled["reason"] != Reason.ENVIRONMENT_NOT_FOUND:
        # An environment may be applied together with what runs in it, and be seen after it.
        return Verdict("failed", f"{stalled['reason']}: {stalled['message']}")
    return Verdict("pending", f"{ready['reason']}: {ready['message']}")
