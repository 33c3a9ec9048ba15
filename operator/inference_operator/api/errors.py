"""Turns a pydantic ValidationError into lines that name the field, the value, the limit and the fix. Knows no field."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from inference_operator.api.constraints import SHOWN_LENGTH
from inference_operator.api.model import SpecModel

_SENTENCES: Final = {
    "missing": "is required; add it",
    "int_type": "must be a whole number, written without quotes",
    "int_from_float": "must be a whole number, written without quotes",
    "bool_type": "must be true or false, written without quotes",
    "string_type": "must be a text; put it in quotes",
    "model_type": "must be an object with members",
    "tuple_type": "must be a list",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items and has {actual_length}",
    "literal_error": "must be one of {expected}",
}


def explain(error: ValidationError) -> str:
    """One line for each problem, e.g. `spec.replicas: must be at most 5000; got 6000`."""
    root = next((part for part in ("spec", "status") if error.title.lower().endswith(part)), "")
    return "\n".join(_line(root, problem) for problem in error.errors(include_url=False))


def sentences(error: ValidationError) -> str:
    """The same in one line, after which more can be said."""
    return " ".join(line if line.endswith("?") else f"{line}." for line in explain(error).splitlines())


def _line(root: str, problem: ErrorDetails) -> str:
    ours = _SENTENCES.get(problem["type"])  # what else there is may have braces of its own
    sentence = ours.format_map(problem.get("ctx", {})) if ours is not None else problem["msg"]
    if problem["type"] == "extra_forbidden":
        sentence = _unknown(str(problem["loc"][-1]))
    return f"{_path(root, problem['loc'])}: {sentence}{_got(problem)}"


def _path(root: str, location: tuple[int | str, ...]) -> str:
    path = root
    for part in location:
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return path.removeprefix(".") or "object"


def _got(problem: ErrorDetails) -> str:
    """The value given, where it is short and no secret: an environment variable's value may be one."""
    value: Any = problem["input"]
    if problem["type"] == "extra_forbidden" or problem["loc"][-1:] == ("value",):
        return ""
    if not isinstance(value, (str, int, float)):
        return ""
    shown = repr(value)
    return f"; got {shown[:SHOWN_LENGTH]}" + ("…" if len(shown) > SHOWN_LENGTH else "")


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, set(_known_names(SpecModel)), n=1)
    return f"is not known; did you mean {close[0]}?" if close else "is not known; remove it or correct its name"


def _known_names(model: type[SpecModel]) -> Iterator[str]:
    for part in model.__subclasses__():
        yield from (field.alias or name for name, field in part.model_fields.items())
        yield from _known_names(part)
