"""Words for what is wrong with a request. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

_SHOWN = 40
"""Characters of a value that are shown."""

_JSON_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "number",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def type_name(kind: type) -> str:
    """JSON's word for a type."""
    return _JSON_TYPES.get(kind, kind.__name__)


def json_type(value: Any) -> str:
    return type_name(type(value))


def show(value: Any) -> str:
    """A value as JSON, cut short: it is the caller's, and may be long."""
    try:
        text = orjson.dumps(value).decode()
    except orjson.JSONEncodeError:
        text = json_type(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def names_of(specs: Mapping[str, object]) -> str:
    return quoted(list(specs)) or "none"
