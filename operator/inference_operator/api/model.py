"""What the models share: how specs, statuses and metadata are read and written. Knows no field of ours."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.alias_generators import to_camel
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from inference_operator.api.constraints import Unique
from inference_operator.api.quantities import Time

MESSAGE_LENGTH: Final = 4096
NAME_REGEX: Final = "[a-z0-9]([a-z0-9-]*[a-z0-9])?"
NAME_LENGTH: Final = 40


class SpecModel(BaseModel):
    """A part of a spec: frozen, camelCase only, unknown members refused.

    A member that is null counts as absent, as it does for the API server.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,  # it may be a secret; `errors.explain` knows which is not
    )

    rules: ClassVar[tuple[Mapping[str, str], ...]] = ()
    """CEL rules over several members, for the CRD. The same rules stand in Python beside them."""

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: Any) -> Any:
        return (
            {name: value for name, value in given.items() if value is not None} if isinstance(given, Mapping) else given
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        node = handler.resolve_ref_schema(handler(schema))
        if cls.rules:
            node["x-kubernetes-validations"] = [dict(rule) for rule in cls.rules]
        return node


class StatusModel(BaseModel):
    """A part of a status: frozen, unknown members ignored, so that a status of another version can be read."""

    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        use_attribute_docstrings=True,
    )

    def document(self) -> dict[str, Any]:
        """As it stands in the object: camelCase, times as text, absent members left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


def cut(length: int) -> Any:
    """What makes a `str` of a status at most `length` long: by cutting, since the API server would refuse it all."""

    def shorten(given: Any) -> Any:
        return given[: length - 1] + "…" if isinstance(given, str) and len(given) > length else given

    return Field(max_length=length), BeforeValidator(shorten)


def newest(count: int) -> Any:
    """What makes a list of a status, newest first, at most `count` long: by dropping the oldest."""
    return Field(max_length=count), BeforeValidator(
        lambda given: given[:count] if isinstance(given, (list, tuple)) else given
    )


Message = Annotated[str, *cut(MESSAGE_LENGTH)]


class Condition(StatusModel):
    """One aspect of the object's state, as metav1.Condition has it."""

    type: Annotated[str, Field(min_length=1, max_length=316)]
    """What the condition is about, e.g. Ready."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    reason: Annotated[str, Field(min_length=1, max_length=1024, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """One word that says why, for programs."""
    message: Message
    """A sentence that says why and what to do, for people."""
    last_transition_time: Time
    """When `status` last changed."""
    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the object that this was said about."""


Conditions = Annotated[tuple[Condition, ...], Field(max_length=40), Unique("type")]


class ObjectMeta(StatusModel):
    """The members of an object's metadata that the operator reads."""

    name: str
    namespace: str | None = None
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    annotations: Mapping[str, str] = Field(default_factory=dict)
    labels: Mapping[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()
    creation_timestamp: datetime | None = None
    deletion_timestamp: datetime | None = None
