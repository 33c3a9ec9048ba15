"""Turns a pydantic model into a Kubernetes structural schema. Knows no field of the contract.

A structural schema is JSON schema cut down: a type at every node, no references, no unions. What a model says beyond
that is refused here with its path, since the API server would refuse it later or, worse, drop it. Source: "Specifying a
structural schema" in the Kubernetes documentation of custom resource definitions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from inference_operator.api.quantities import Cpu, Memory, format_duration

Schema = dict[str, Any]

_KEPT: Final = {
    "object": {"type", "required", "minProperties", "maxProperties"},
    "array": {"type", "minItems", "maxItems"},
    "string": {"type", "format", "enum", "pattern", "minLength", "maxLength"},
    "integer": {"type", "enum", "minimum", "maximum"},
    "boolean": {"type"},
    "int-or-string": {"minLength", "maxLength"},
}
_TRANSLATED: Final = frozenset({"properties", "additionalProperties", "items", "const", "default", "description"})
_DROPPED: Final = frozenset({"title", "$defs"})


class UnstructurableError(TypeError):
    """The model says something that a structural schema cannot; the text names the place and a way out."""


class _Defaults(GenerateJsonSchema):
    """Writes the defaults of our own types as a user would."""

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, timedelta):
            return format_duration(dft)
        if isinstance(dft, (Cpu, Memory)):
            return str(dft)
        return super().encode_default(dft)


@dataclass(frozen=True)
class _Place:
    """Where in the model a node is."""

    path: str
    models: tuple[str, ...] = ()
    in_list: bool = False

    def refuse(self, reason: str) -> UnstructurableError:
        return UnstructurableError(f"{self.path}: {reason}")


def structural_schema(model: type[BaseModel]) -> Schema:
    """The structural schema of `model`, by alias, with the CEL rules and list types that its fields carry.

    Raises UnstructurableError for recursive models, for unions other than "or absent" and "integer or string", for
    open types, for defaults that the members of an object contradict, and for keywords that have no place there.
    """
    raw = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Defaults)
    return _structural(raw, raw.get("$defs", {}), _Place(model.__name__))


def _structural(node: Mapping[str, Any], models: Mapping[str, Schema], place: _Place) -> Schema:
    node, place = _inlined(node, models, place)
    if node.get("additionalProperties") is False:
        del node["additionalProperties"]  # pruning, or strict field validation, does this
    kind = "int-or-string" if "x-kubernetes-int-or-string" in node else node.get("type", "any")
    if kind not in _KEPT:
        raise place.refuse(f"the type is {kind}; name one of {', '.join(_KEPT)}")
    out = {keyword: value for keyword, value in node.items() if keyword in _KEPT[kind] or keyword.startswith("x-")}
    if strange := node.keys() - out.keys() - _TRANSLATED - _DROPPED:
        raise place.refuse(f"no {', '.join(sorted(strange))} can be said of the type {kind}")
    if "description" in node:
        out["description"] = " ".join(node["description"].split())
    if "const" in node:
        out["enum"] = [node["const"]]
    if "items" in node:
        out["items"] = _structural(node["items"], models, replace(place, path=f"{place.path}[]", in_list=True))
    if "additionalProperties" in node:
        if not isinstance(node["additionalProperties"], Mapping) or kind != "object":
            raise place.refuse("a map of values of any type; name the type of its values")
        out["additionalProperties"] = _structural(
            node["additionalProperties"], models, replace(place, path=f"{place.path}{{}}", in_list=True)
        )
    if "properties" in node:
        out["properties"] = {
            name: _structural(child, models, replace(place, path=f"{place.path}.{name}"))
            for name, child in node["properties"].items()
        }
    return out | _default(node, place)


def _default(node: Mapping[str, Any], place: _Place) -> Schema:
    """The default, where the server should write it into the object."""
    value = node.get("default")
    if value is None or value in ([], {}) or place.in_list:
        return {}  # absence says the same; in a list item a default would show as drift in GitOps tools
    if "properties" not in node:
        return {"default": value}
    own = {name: child["default"] for name, child in node["properties"].items() if "default" in child}
    if value != own:
        raise place.refuse(f"the default {value} differs from the defaults of its members, {own}")
    return {"default": {}}  # the server goes on to the members' own defaults


def _inlined(node: Mapping[str, Any], models: Mapping[str, Schema], place: _Place) -> tuple[Schema, _Place]:
    """`node` without references and unions. What stands beside a reference wins over what it refers to."""
    out = dict(node)
    while "$ref" in out or "anyOf" in out:
        if "$ref" in out:
            name = out.pop("$ref").removeprefix("#/$defs/")
            if name in place.models:
                raise place.refuse(f"{name} contains itself; a structural schema has no recursion")
            place = replace(place, models=(*place.models, name))
            out = {**models[name], **out}
        else:
            out = {**_one_of(out.pop("anyOf"), place), **out}
    return out, place


def _one_of(choices: list[Schema], place: _Place) -> Schema:
    choices = [choice for choice in choices if choice.get("type") != "null"]
    if len(choices) == 1:
        return choices[0]
    if sorted(choice.get("type", "") for choice in choices) == ["integer", "string"]:
        return {"x-kubernetes-int-or-string": True}
    raise place.refuse(
        f"a union of {len(choices)} types; make it an object of optional members and a rule that one is set"
    )
