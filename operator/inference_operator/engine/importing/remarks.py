"""What is to be told beside a manifest that was made from a live service, and a manifest's way through the models.

What the models refuse is left out, one member after the other, until they take the rest; and each is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from inference_operator.api.errors import explain
from inference_operator.api.model import SpecModel

FILL_IN = "/fill-in"
"""Stands where a spec must say something that the service does not tell."""

MODEL = TypeVar("MODEL", bound=SpecModel)
Place = tuple[int | str, ...]


@dataclass(frozen=True)
class Remark:
    where: str
    says: str
    next_step: str

    def __str__(self) -> str:
        return f"{self.where}: {self.says}. Next: {self.next_step}"


class CannotImportError(Exception):
    """There is no manifest that would be anything like the service."""


@dataclass
class Accepted(Generic[MODEL]):
    """A spec, and what had to be left out of it."""

    spec: MODEL
    left_out: list[Remark] = field(default_factory=list)


def accepted(model: type[MODEL], given: Mapping[str, Any]) -> Accepted[MODEL]:
    draft = deepcopy(dict(given))
    left_out: list[Remark] = []
    places: set[Place] = set()
    while True:
        try:
            return Accepted(model.model_validate(draft), left_out)
        except ValidationError as error:
            line = explain(error).splitlines()[0]
            where, _, says = line.partition(": ")
            place = _to_leave_out(model, draft, error)
            if place is None:
                raise CannotImportError(line) from error
            _leave_out(draft, place)
            problem = error.errors(include_url=False)[0]
            if problem["type"] != "missing" or problem["loc"] not in places:  # what was left out has been told
                step = "Write it in a form that is accepted, if the default does not do."
                left_out.append(Remark(where, f"{says}; it is left out", step))
            places.add(place)


def _to_leave_out(model: type[MODEL], draft: Mapping[str, Any], error: ValidationError) -> Place | None:
    """The member without which this problem, the first one, is gone. None if it has to be there."""
    problem = error.errors(include_url=False)[0]
    place: Place = problem["loc"]
    if problem["type"] == "missing":
        place = place[:-1]  # what lacks a member, as that one was left out before
        return place or None
    if place:
        return place
    # A rule over several members: the last of them without which it is met.
    return next((found for found in _candidates(draft) if not _still(model, draft, found, problem["msg"])), None)


def _candidates(draft: Mapping[str, Any]) -> Iterator[Place]:
    for name, value in reversed(list(draft.items())):
        yield from ((name, inner) for inner in (value if isinstance(value, dict) else ()))
        yield (name,)


def _still(model: type[MODEL], draft: Mapping[str, Any], place: Place, message: str) -> bool:
    tried = deepcopy(dict(draft))
    _leave_out(tried, place)
    try:
        model.model_validate(tried)
    except ValidationError as error:
        return any(each["msg"] == message or each["loc"][: len(place)] == place for each in error.errors())
    return False


def _leave_out(draft: Any, place: Place) -> None:
    *parents, last = place
    for part in parents:
        draft = draft[part]
    del draft[last]
