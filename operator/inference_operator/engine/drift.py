"""What differs at AWS from what is asked for and is left as it is, in words. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from inference_operator.api.v1alpha1 import Difference
from inference_operator.engine.plan import Create, Delete, Replace, StepResult, Update, Withheld, Write
from inference_operator.resources.base import Change


def sentence(kind: str, step: Write) -> str:
    """In a condition of the kind."""
    return "; ".join(_told(difference) for difference in _differences(kind, step))


def differences(results: Iterable[StepResult]) -> tuple[Difference, ...]:
    """For `status.drift`."""
    found = [d for r in results if isinstance(r.step, Withheld) for d in _differences(r.kind, r.step.step)]
    return tuple(found)


def _differences(kind: str, step: Write) -> list[Difference]:
    match step:
        case Create():
            return [Difference(resource=kind, want="there", have="missing")]
        case Delete():
            return [Difference(resource=kind, want="missing", have="there")]
        case Update(change) | Replace(change):
            return [_of(kind, change, path) for path in change.paths]


def _of(kind: str, change: Change, path: str) -> Difference:
    if path not in change.values:
        return Difference(resource=kind, field=path)
    want, have = change.values[path]
    return Difference(resource=kind, field=path, want=_text(want), have=_text(have))


def _text(value: Any) -> str:
    if value is None:
        return "absent"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=_plain)


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, (set, frozenset)) else dict(value)


def _told(difference: Difference) -> str:
    if difference.want is None:
        return f"{difference.field} differs"
    if difference.field is None:
        return f"it is {difference.have}, and should be {difference.want}"
    return f"{difference.field} is {difference.have}, and should be {difference.want}"
