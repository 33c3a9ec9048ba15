"""Says in words what a schema node demands: for `kubectl explain` and for the reference page. Knows no field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from inference_operator.api.constraints import MUST_BE


def limit(node: Mapping[str, Any]) -> str:
    """What values a node accepts beyond its type, as a phrase; empty where it accepts any."""
    parts = [
        node.get(MUST_BE, ""),
        "one of " + ", ".join(str(value) for value in node["enum"]) if "enum" in node else "",
        _range(node.get("minimum"), node.get("maximum"), ""),
        "" if MUST_BE in node and "type" not in node else _range(None, node.get("maxLength"), "character"),
        _range(node.get("minItems"), node.get("maxItems"), "item"),
    ]
    return "; ".join(part for part in parts if part)


def _range(low: int | None, high: int | None, unit: str) -> str:
    plural = unit and f" {unit}{'' if (low if high is None else high) == 1 else 's'}"
    match low, high:
        case None, None:
            return ""
        case None, _:
            return f"at most {high}{plural}"
        case _, None:
            return f"at least {low}{plural}"
        case _:
            return f"{low} to {high}{plural}"


def default(node: Mapping[str, Any]) -> str:
    """The default as YAML has it; empty where there is none, or where it is made of the members' own defaults."""
    if "default" not in node or node["default"] == {}:
        return ""
    value = node["default"]
    return value if isinstance(value, str) else json.dumps(value)


def type_name(node: Mapping[str, Any]) -> str:
    if node.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if "additionalProperties" in node:
        return f"map of {type_name(node['additionalProperties'])}s"
    if node["type"] == "array":
        return f"list of {type_name(node['items'])}s"
    if node.get("format") == "date-time":
        return "time"
    return str(node["type"])


def explained(node: Mapping[str, Any]) -> dict[str, Any]:
    """`node` and all below it, with limits and defaults told in the descriptions, ready for a CRD."""
    out = {key: value for key, value in node.items() if key != MUST_BE}
    sentences = [node.get("description", "")]
    if (words := limit(node)) and "enum" not in node:  # kubectl prints an enum by itself
        sentences.append(f"Limit: {words}.")
    if text := default(node):
        sentences.append(f"Default: {text}")
    if any(sentences):
        out["description"] = " ".join(sentence for sentence in sentences if sentence)
    if "properties" in node:
        out["properties"] = {name: explained(child) for name, child in node["properties"].items()}
    if "items" in node:
        out["items"] = explained(node["items"])
    if "additionalProperties" in node:
        out["additionalProperties"] = explained(node["additionalProperties"])
    return out
