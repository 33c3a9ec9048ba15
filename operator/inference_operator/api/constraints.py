"""Constraints that are written once and hold twice: in pydantic here, and in the CRD as schema and CEL.

Each is metadata for `Annotated`. Knows no field of the contract.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

SHOWN_LENGTH: Final = 80
"""Characters of a refused value that are shown."""

MUST_BE: Final = "x-must-be"
"""Schema keyword of our own: a constraint in words, completing "must be …". It becomes part of the description."""


def refuse(text: str) -> PydanticCustomError:
    """The error for a value that breaks a rule of ours; `text` goes to the user as it is."""
    return PydanticCustomError("rule", "{text}", {"text": text})


def must_be(node: JsonSchemaValue, what: str, rule: str) -> JsonSchemaValue:
    """`node` with a CEL rule on its own value, and `what` the rule means as message and description."""
    return {**node, MUST_BE: what, "x-kubernetes-validations": [{"rule": rule, "message": f"must be {what}"}]}


def decimal(number: str, digits: int) -> str:
    """CEL for the text of a number from 0 to 10**`digits` - 1.

    `string(number)` would do, but the API server takes its result to be boundless, and a message made of it for too
    costly.
    """
    places = (f"({number} / {10**place} % 10)" for place in reversed(range(digits)))
    texts = (f"'0123456789'.substring({place}, {place} + 1)" for place in places)
    shown = (
        f"({number} >= {10**place} ? {text} : '')" if place else text
        for place, text in zip(reversed(range(digits)), texts, strict=True)
    )
    return f"({' + '.join(shown)})"


@dataclass(frozen=True)
class Form:
    """A text that `regex` matches whole. RE2 syntax: no look-around, so that the API server can run it as well.

    `must_be` completes the sentence "must be …", with an example.
    """

    regex: str
    must_be: str

    def _check(self, value: str) -> str:
        if not re.fullmatch(self.regex, value, re.ASCII):
            raise refuse(f"must be {self.must_be}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return must_be(handler(schema), self.must_be, f"self.matches(r'^(?:{self.regex})$')")


@dataclass(frozen=True)
class Unique:
    """A list without duplicates: of scalars, or of objects told apart by the member `key`."""

    key: str | None = None

    def _check(self, items: Sequence[Any]) -> Sequence[Any]:
        seen = set()
        for item in items:
            identity = getattr(item, self.key) if self.key else item
            if identity in seen:
                raise refuse(f"has '{identity}' twice; keep one of them")
            seen.add(identity)
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        node = handler(schema)
        if self.key is None:
            return {**node, "x-kubernetes-list-type": "set"}
        return {**node, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [self.key]}


def text(maximum: int, regex: str, must_be: str) -> Any:
    """What makes a `str` one of 1 to `maximum` characters that matches `regex`."""
    return StringConstraints(min_length=1, max_length=maximum), Form(regex, must_be)


Flag = Annotated[bool, Field(strict=True)]


def whole(minimum: int, maximum: int) -> Any:
    """What makes an `int` one between two limits, both included; texts, fractions and booleans are refused."""
    return Field(strict=True, ge=minimum, le=maximum)


def immutable(member: str, why: str) -> dict[str, str]:
    """A rule on the parent of a required member: it stays as it was. For the API server alone: models see no past."""
    return {
        "rule": f"self.{member} == oldSelf.{member}",
        "message": f"{member} can't be changed: {why}",
        "fieldPath": f".{member}",
    }


def kept(member: str, why: str) -> dict[str, str]:
    """A rule on the parent of an optional member: it may appear, and not go again."""
    return {
        "rule": f"has(self.{member}) || !has(oldSelf.{member})",
        "message": f"{member} can't be removed: {why}",
    }


def stays(member: str, why: str) -> dict[str, str]:
    """A rule on the parent of an optional member: it may neither appear nor go."""
    return {
        "rule": f"has(self.{member}) == has(oldSelf.{member})",
        "message": f"{member} can neither be added nor removed: {why}",
    }
