"""What is worth a Kubernetes Event: transitions of an object's summary and what was done to its resources. Pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from inference_operator.api import meta
from inference_operator.api.v1alpha1 import InferenceDeploymentStatus
from inference_operator.domain.conditions import Type, find
from inference_operator.domain.reasons import Reason
from inference_operator.engine import contest
from inference_operator.engine.plan import Create, Delete, Replace, StepResult, Trouble, Update
from inference_operator.resources import service_input
from inference_operator.resources.base import Settled

NORMAL = frozenset({Reason.READY, Reason.SCALED_TO_ZERO, Reason.ROLLING_OUT, Reason.WAITING, Reason.DELETING})


@dataclass(frozen=True)
class Event:
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
    about: str
    """What aspect of the object it tells of: a later event about the same makes an earlier one news again."""


def transitions(
    before: InferenceDeploymentStatus, after: InferenceDeploymentStatus, results: Sequence[StepResult] = ()
) -> list[Event]:
    """In the order in which a reader wants them: what was done, what could not be done, then how it stands."""
    return [*_steps(results), *_in_vain(before, after, results), *_contested(before, after), *_summary(before, after)]


def _steps(results: Sequence[StepResult]) -> Iterator[Event]:
    done = {Create: "Created", Update: "Updated", Replace: "Replaced", Delete: "Deleted"}
    for result in results:
        word = done.get(type(result.step))
        if word is not None and not isinstance(result.outcome, Trouble):
            yield Event("Normal", f"{result.kind}{word}", _told(result), result.kind)


def _told(result: StepResult) -> str:
    subject = result.subject or (result.outcome.message if isinstance(result.outcome, Settled) else result.kind)
    if result.put_back:
        return f"{subject}: put back what somebody else had changed: {contest.values(result.step)}"
    match result.step:
        case Update(change) | Replace(change):
            return f"{subject}: {', '.join(change.paths)}"
        case _:
            return subject


def _in_vain(
    before: InferenceDeploymentStatus, after: InferenceDeploymentStatus, results: Sequence[StepResult]
) -> Iterator[Event]:
    """Annotations that have been honoured and found nothing to act on."""
    written = {path for result in results if isinstance(result.step, Update) for path in result.step.change.paths}
    latest = f"the latest is {after.deployment.state}" if after.deployment is not None else "there is none"
    value = after.last_rollback_at
    if value != before.last_rollback_at and service_input.ROLL_BACK not in written:
        message = f"{meta.ROLLBACK_AT}={value} stopped nothing: no rollout is under way ({latest}). Next: {_GO_BACK}"
        yield Event("Warning", "NothingToRollBack", message, meta.ROLLBACK_AT)
    value = after.last_continue_at
    if value != before.last_continue_at and service_input.CONTINUE not in written:
        message = f"{meta.CONTINUE_AT}={value} continued nothing: no rollout is paused ({latest})"
        yield Event("Warning", "NothingToContinue", message, meta.CONTINUE_AT)


_GO_BACK = "to go back to what was served before, put its values into the spec."


def ignored(annotations: Mapping[str, str]) -> list[Event]:
    """Annotations of ours that do nothing as they are written: nobody else would say so."""
    complaints = [found for name, value in sorted(annotations.items()) if (found := _does_nothing(name, value))]
    return [Event("Warning", "AnnotationIgnored", "; ".join(complaints), "annotations")] if complaints else []


def _does_nothing(name: str, value: str) -> str | None:
    if name in meta.SWITCHES and value.lower() not in ("true", "false", ""):
        return f'the annotation {name}={value} does nothing. Next: set it to "true", or remove it'
    if name in meta.ANNOTATIONS or not name.startswith(f"{meta.GROUP}/"):
        return None
    known = {each.removeprefix(f"{meta.GROUP}/"): each for each in meta.ANNOTATIONS}
    close = difflib.get_close_matches(name.removeprefix(f"{meta.GROUP}/"), known, n=1)
    meant = f"did you mean {known[close[0]]}?" if close else f"there is {', '.join(known.values())}"
    return f"the annotation {name} does nothing; {meant}"


def _contested(before: InferenceDeploymentStatus, after: InferenceDeploymentStatus) -> Iterator[Event]:
    new = find(after.conditions, Type.CONTESTED)
    if new is not None and find(before.conditions, Type.CONTESTED) is None:
        yield Event("Warning", new.reason, new.message, Type.CONTESTED)


def _summary(before: InferenceDeploymentStatus, after: InferenceDeploymentStatus) -> Iterator[Event]:
    old, new = find(before.conditions, Type.READY), find(after.conditions, Type.READY)
    if new is None or (old is not None and (old.status, old.reason) == (new.status, new.reason)):
        return
    yield Event("Normal" if new.reason in NORMAL else "Warning", new.reason, new.message, Type.READY)
