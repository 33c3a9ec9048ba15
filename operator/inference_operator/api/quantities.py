"""Amounts as Kubernetes writes them: cpu, memory, durations, timestamps. Knows no field and no AWS limit.

A parsed amount keeps its text, so that what is shown is what was written, and compares by its value.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, ClassVar, Final, Self

from pydantic import BeforeValidator, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from inference_operator.api.constraints import must_be, refuse

QUANTITY_MAX_LENGTH: Final = 21
"""Longer than any text that the forms below allow: it is there to bound the cost of the rule for the API server."""
_BINARY: Final = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}
_DECIMAL: Final = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
_SCALES: Final = {**_BINARY, **_DECIMAL}


@dataclass(frozen=True, order=True)
class _Quantity:
    """A Kubernetes quantity, written as an integer or a text. Subclasses say which forms and in what unit."""

    value: int
    """In the smallest unit: millis of a cpu, bytes of memory."""
    text: str = field(compare=False)

    regex: ClassVar[str]
    must_be: ClassVar[str]

    @classmethod
    def parse(cls, given: object) -> Self:
        """Raises ValueError, with what is accepted, for any other form."""
        text = str(given)
        is_text = isinstance(given, (str, int)) and not isinstance(given, bool)
        if not is_text or not re.fullmatch(cls.regex, text, re.ASCII):
            raise ValueError(f"must be {cls.must_be}")
        return cls(cls._value_of(text), text)

    @classmethod
    def _value_of(cls, text: str) -> int:
        raise NotImplementedError

    def __str__(self) -> str:
        return self.text

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def validate(given: object) -> _Quantity:
            if isinstance(given, cls):
                return given
            try:
                return cls.parse(given)
            except ValueError as error:
                raise refuse(str(error)) from None

        return core_schema.no_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(str, return_schema=core_schema.str_schema()),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return must_be(
            {"anyOf": [{"type": "integer"}, {"type": "string"}], "maxLength": QUANTITY_MAX_LENGTH},
            cls.must_be,
            f"string(self).matches(r'^(?:{cls.regex})$')",
        )


@dataclass(frozen=True, order=True)
class Cpu(_Quantity):
    regex: ClassVar[str] = r"[0-9]{1,5}m|[0-9]{1,2}(\.[0-9]{1,3})?"
    """Who writes 256 or 4096 means ECS's unit: as vCPUs it would be no size, and as a maximum no limit."""
    must_be: ClassVar[str] = 'a number of vCPUs, not of their 1024th parts, such as 500m, "0.5" or 2'

    @classmethod
    def _value_of(cls, text: str) -> int:
        return int(text[:-1]) if text.endswith("m") else int(Decimal(text) * 1000)

    @property
    def millis(self) -> int:
        return self.value

    @property
    def units(self) -> int:
        """In ECS's unit, 1024 to a vCPU."""
        return self.value * 1024 // 1000


@dataclass(frozen=True, order=True)
class Memory(_Quantity):
    regex: ClassVar[str] = r"[0-9]{1,15}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)|[0-9]{7,15}"
    """Without a unit it is bytes. Who writes 512 or 16384 has forgotten it."""
    must_be: ClassVar[str] = "an amount of memory with its unit, such as 512Mi or 4Gi"

    @classmethod
    def _value_of(cls, text: str) -> int:
        number, suffix = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text, re.ASCII).groups()  # type: ignore[union-attr]  # `parse` has matched a narrower regex
        return math.ceil(Decimal(number) * _SCALES[suffix])

    @property
    def bytes(self) -> int:
        return self.value

    @property
    def mib(self) -> int:
        """In ECS's unit, rounded up."""
        return -(-self.value // 2**20)


DURATION_REGEX: Final = r"([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,6}s)?"
DURATION_MAX_LENGTH: Final = 21


def parse_duration(text: str) -> timedelta:
    """`90s`, `10m`, `1h30m`. Raises ValueError for any other form."""
    match = re.fullmatch(DURATION_REGEX, text, re.ASCII) if text else None
    if match is None:
        raise ValueError("must be a duration such as 90s, 10m or 1h30m")
    hours, minutes, seconds = (int(part[:-1]) if part else 0 for part in match.groups())
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def format_duration(value: timedelta) -> str:
    minutes, seconds = divmod(int(value.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


@dataclass(frozen=True)
class DurationRange:
    """Metadata of a `timedelta` field: written as `10m` or `1h30m`, between two limits, both included."""

    minimum: timedelta
    maximum: timedelta
    unit: timedelta = timedelta(seconds=1)
    """A second, or a minute: then it must be whole ones."""

    @property
    def must_be(self) -> str:
        limits = f"between {format_duration(self.minimum)} and {format_duration(self.maximum)}"
        if self._in_minutes:
            return f"a duration in whole minutes such as 10m or 1h30m, {limits}"
        return f"a duration such as 90s, 10m or 1h30m, {limits}"

    @property
    def _in_minutes(self) -> bool:
        return self.unit > timedelta(seconds=1)

    def _read(self, given: Any) -> timedelta:
        try:
            value = given if isinstance(given, timedelta) else parse_duration(given)
        except (TypeError, ValueError):
            value = None
        if value is None or not self.minimum <= value <= self.maximum or value % self.unit:
            raise refuse(f"must be {self.must_be}")
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                format_duration, return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        low, high = (f"duration('{format_duration(limit)}')" for limit in (self.minimum, self.maximum))
        return must_be(
            {"type": "string", "minLength": 2, "maxLength": DURATION_MAX_LENGTH},
            self.must_be,
            f"self.matches('^{DURATION_REGEX}$') && {low} <= duration(self) && duration(self) <= {high}"
            + (" && duration(self).getSeconds() % 60 == 0" if self._in_minutes else ""),
        )


def _to_time(given: Any) -> Any:
    if isinstance(given, str):
        given = datetime.fromisoformat(given)
    if isinstance(given, datetime):
        if given.tzinfo is None:
            raise ValueError("a time needs its zone, such as 2026-11-24T09:30:00Z")
        return given.astimezone(UTC).replace(microsecond=0)
    return given


Time = Annotated[
    datetime,
    BeforeValidator(_to_time),
    PlainSerializer(lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"), return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A moment as metav1.Time has it: UTC, whole seconds, `2026-11-24T09:30:00Z`."""
