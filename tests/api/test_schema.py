from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from inference_operator.api.constraints import Form, Unique
from inference_operator.api.model import SpecModel
from inference_operator.api.quantities import Cpu, DurationRange
from inference_operator.api.schema import UnstructurableError, structural_schema


class Model(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, use_attribute_docstrings=True, extra="forbid")


class Inner(Model):
    """An inner thing."""

    name: str
    size: Annotated[int, Field(ge=1, le=9)] = 3


class Recursive(Model):
    child: Recursive | None = None


def test_references_are_replaced_by_what_they_refer_to() -> None:
    class Outer(Model):
        first_part: Inner
        """The first."""
        second_part: Inner

    assert structural_schema(Outer) == {
        "type": "object",
        "required": ["firstPart", "secondPart"],
        "properties": {
            "firstPart": {
                "type": "object",
                "description": "The first.",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
                },
            },
            "secondPart": {
                "type": "object",
                "description": "An inner thing.",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string"},
                    "size": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
                },
            },
        },
    }


def test_an_optional_is_what_it_holds_neither_required_nor_nullable() -> None:
    class Outer(Model):
        text: str | None = None
        part: Inner | None = None

    schema = structural_schema(Outer)
    assert "required" not in schema
    assert schema["properties"]["text"] == {"type": "string"}
    assert schema["properties"]["part"]["type"] == "object"
    assert "default" not in schema["properties"]["part"]


def test_integer_or_text_is_the_one_union_that_kubernetes_knows() -> None:
    class Outer(Model):
        amount: int | str

    assert structural_schema(Outer)["properties"]["amount"] == {"x-kubernetes-int-or-string": True}


def test_any_other_union_is_refused_with_its_place_and_a_way_out() -> None:
    class Other(Model):
        width: int

    class Outer(Model):
        parts: tuple[Inner | Other, ...]

    with pytest.raises(
        UnstructurableError, match=r"^Outer\.parts\[\]: a union of 2 types; make it an object of optional"
    ):
        structural_schema(Outer)


def test_recursion_is_refused() -> None:
    with pytest.raises(UnstructurableError, match=r"Recursive\.child.*contains itself"):
        structural_schema(Recursive)


def test_an_open_type_is_refused() -> None:
    class Outer(Model):
        anything: object

    with pytest.raises(UnstructurableError, match=r"^Outer\.anything: the type is any; name one of object, array"):
        structural_schema(Outer)


def test_a_map_has_the_schema_of_its_values() -> None:
    class Outer(Model):
        labels: Annotated[dict[str, Annotated[str, Field(max_length=63)]], Field(max_length=5)]

    assert structural_schema(Outer)["properties"]["labels"] == {
        "type": "object",
        "maxProperties": 5,
        "additionalProperties": {"type": "string", "maxLength": 63},
    }


def test_a_map_of_values_of_any_type_is_refused() -> None:
    class Outer(Model):
        labels: dict[str, object]

    with pytest.raises(UnstructurableError, match=r"^Outer\.labels: a map of values of any type"):
        structural_schema(Outer)


def test_a_constraint_on_the_wrong_type_is_refused() -> None:
    class Outer(Model):
        items: Annotated[tuple[str, ...], Field(json_schema_extra={"maxLength": 3})]

    with pytest.raises(UnstructurableError, match=r"no maxLength can be said of the type array"):
        structural_schema(Outer)


def test_a_literal_becomes_an_enum() -> None:
    class Outer(Model):
        one: Literal["a"]
        many: Literal[1, 3, 5] = 3

    properties = structural_schema(Outer)["properties"]
    assert properties["one"] == {"type": "string", "enum": ["a"]}
    assert properties["many"] == {"type": "integer", "enum": [1, 3, 5], "default": 3}


def test_defaults_stand_at_members_and_never_inside_list_items() -> None:
    class Outer(Model):
        part: Inner | None = None
        parts: tuple[Inner, ...] = ()
        flag: bool = False
        cpu: Cpu = Cpu.parse("500m")
        pause: Annotated[timedelta, DurationRange(timedelta(0), timedelta(hours=1))] = timedelta(minutes=90)

    properties = structural_schema(Outer)["properties"]
    assert properties["part"]["properties"]["size"]["default"] == 3
    assert "default" not in properties["parts"]["items"]["properties"]["size"]
    assert "default" not in properties["parts"]
    assert properties["flag"]["default"] is False
    assert properties["cpu"]["default"] == "500m"
    assert properties["pause"]["default"] == "1h30m"


def test_the_default_of_an_object_leaves_it_to_its_members() -> None:
    class Part(Model):
        pause: Annotated[timedelta, DurationRange(timedelta(0), timedelta(hours=1))] = timedelta(minutes=5)
        hint: str | None = None
        names: tuple[str, ...] = ()

    class Outer(Model):
        part: Part = Part()

    part = structural_schema(Outer)["properties"]["part"]
    assert part["default"] == {}
    assert part["properties"]["pause"]["default"] == "5m"


def test_a_default_that_the_members_contradict_is_refused() -> None:
    class Part(Model):
        size: int = 1

    class Outer(Model):
        part: Part = Part(size=2)

    with pytest.raises(UnstructurableError, match=r"^Outer\.part: the default .* differs"):
        structural_schema(Outer)


def test_rules_and_list_types_reach_the_schema() -> None:
    class Item(SpecModel):
        name: Annotated[str, Form("[a-z]+", "a lower-case word, such as abc")]
        rules = ({"rule": "self.name != 'x'", "message": "no x"},)

    class Outer(SpecModel):
        items: Annotated[tuple[Item, ...], Unique("name")]
        words: Annotated[tuple[str, ...], Unique()] = ()

    properties = structural_schema(Outer)["properties"]
    assert properties["items"]["x-kubernetes-list-type"] == "map"
    assert properties["items"]["x-kubernetes-list-map-keys"] == ["name"]
    assert properties["words"]["x-kubernetes-list-type"] == "set"
    item = properties["items"]["items"]
    assert item["x-kubernetes-validations"] == [{"rule": "self.name != 'x'", "message": "no x"}]
    assert item["properties"]["name"]["x-kubernetes-validations"] == [
        {"rule": "self.matches(r'^(?:[a-z]+)$')", "message": "must be a lower-case word, such as abc"}
    ]


def test_a_description_is_one_line() -> None:
    class Outer(Model):
        name: str
        """A name
        on two lines."""

    assert structural_schema(Outer)["properties"]["name"]["description"] == "A name on two lines."
