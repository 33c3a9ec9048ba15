"""What becomes of what a service's containers write: routes to the environment's destinations. Knows no Fluent Bit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from inference_operator.api.constraints import Flag, Form, Unique, must_be, refuse, text, whole
from inference_operator.api.containers import Image, Secrets
from inference_operator.api.model import SpecModel
from inference_operator.api.patterns import Pattern

CONFIGURATION_LENGTH: Final = 32 * 1024
"""Characters of a log router's configuration: half of the 64 KiB that a task definition may have."""

FIELD_REGEX: Final = r"[A-Za-z@][A-Za-z0-9_@-]*(\.[A-Za-z0-9_@-]+){0,4}"
DESTINATION_NAME: Final = "[a-z0-9]([a-z0-9-]{0,28}[a-z0-9])?"
DESTINATION_MUST_BE: Final = "the name of a destination of the environment, such as errors"

_TIME_REGEX: Final = r"20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})"

FieldName = Annotated[
    str,
    *text(128, FIELD_REGEX, "the name of a member of JSON lines, those of inner objects after a dot, such as user.id"),
]
DestinationName = Annotated[str, *text(30, DESTINATION_NAME, DESTINATION_MUST_BE)]
Level = Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]


@dataclass(frozen=True)
class _Moment:
    """Metadata of a `datetime` field that is written with its zone, in whole seconds."""

    must_be: str = "a time with its zone, in whole seconds, such as 2026-11-24T18:00:00Z"

    def _read(self, given: Any) -> datetime:
        if isinstance(given, datetime):
            return given
        form = Form(_TIME_REGEX, self.must_be)
        try:
            return datetime.fromisoformat(form._check(given)).astimezone(UTC)  # noqa: SLF001 the same check, on the text
        except (TypeError, ValueError, OverflowError):
            raise refuse(f"must be {self.must_be}") from None

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._read,
            serialization=core_schema.plain_serializer_function_ser_schema(
                datetime.isoformat, return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return must_be(
            {"type": "string", "maxLength": 25},
            self.must_be,
            f"self.matches('^{_TIME_REGEX}$') && timestamp(self) > timestamp(0)",
        )


_ONE_OF_VALUES: Final = "a field is matched by values or by regex; give one of the two"


class FieldMatch(SpecModel):
    """What one member of a JSON line must be."""

    name: FieldName
    """Name of the member. Those of inner objects are named after a dot, e.g. `user.id`."""

    values: Annotated[
        tuple[
            Annotated[str, Field(min_length=1, max_length=256), Form(r"[^\x00-\x1f\x7f]+", "a text of one line")], ...
        ],
        Field(max_length=20),
        Unique(),
    ] = ()
    """Any of these texts. They match a member that is that text, that whole number, or true or false."""

    regex: Pattern | None = None
    """Regular expression that is searched for in a member that is a text."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if bool(self.values) == (self.regex is not None):
            raise refuse(_ONE_OF_VALUES)
        return self

    rules = ({"rule": "(has(self.values) && self.values.size() > 0) != has(self.regex)", "message": _ONE_OF_VALUES},)


_EMPTY_MATCH: Final = "match says nothing; name what lines it takes, or leave it out of the last route"


class Match(SpecModel):
    """Which lines a route takes: those of which all that is said here is true."""

    levels: Annotated[tuple[Level, ...], Field(max_length=5), Unique()] = ()
    """Any of these levels. A JSON line's level is its member `level`, `levelname` or `severity`, a name or a number of
    Python's; another line's is the first name of a level in its first 100 characters. A traceback is an ERROR."""

    fields: Annotated[tuple[FieldMatch, ...], Field(max_length=5), Unique("name")] = ()
    """What members of JSON lines must be."""

    source: Literal["stdout", "stderr"] | None = None
    """The stream that the line was written to."""

    path: (
        Annotated[
            str,
            *text(
                128,
                r"/[A-Za-z0-9_.~/%+@-]*\*?",
                "a URL path, with a * at its end for any that begin with it, such as /healthz or /v2/*",
            ),
        ]
        | None
    ) = None
    """The URL path of a request: the member `path` of a JSON line, or that of a request line such as
    `"GET /healthz HTTP/1.1"` in another. What follows a `?` does not count. A `*` at the end stands for any text."""

    regex: Pattern | None = None
    """Regular expression that is searched for in the message: the member `message` of a JSON line, or another line
    whole."""

    container: Annotated[str, *text(40, "[a-z0-9]([a-z0-9-]*[a-z0-9])?", "the name of a container")] | None = None
    """The container that wrote it: `app`, or a sidecar's name."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.levels or self.fields or self.source or self.path or self.regex or self.container):
            raise refuse(_EMPTY_MATCH)
        return self

    rules = (
        {
            "rule": "(has(self.levels) && self.levels.size() > 0) || (has(self.fields) && self.fields.size() > 0)"
            " || has(self.source) || has(self.path) || has(self.regex) || has(self.container)",
            "message": _EMPTY_MATCH,
        },
    )


_TO_OR_DROP: Final = "a route says either where its lines go (to) or that they are dropped (drop: true); give one"
_SAMPLE_OF_NOTHING: Final = "samplePercent says how many of the lines go to the destinations; remove it beside drop"


class Route(SpecModel):
    """Where some lines go."""

    match: Match | None = None
    """Which lines: of those that no route before took, the ones of which all of this is true. All if absent."""

    to: Annotated[tuple[DestinationName, ...], Field(max_length=5), Unique()] = ()
    """Names of the environment's destinations that each get the lines."""

    drop: Flag = False
    """Whether the lines go nowhere."""

    sample_percent: Annotated[int, whole(1, 99)] | None = None
    """How many of a hundred lines go to the destinations, chosen at random; the others go nowhere. All if absent."""

    @model_validator(mode="after")
    def _goes_somewhere_or_nowhere(self) -> Self:
        if bool(self.to) == self.drop:
            raise refuse(_TO_OR_DROP)
        if self.drop and self.sample_percent is not None:
            raise refuse(_SAMPLE_OF_NOTHING)
        return self

    rules = (
        {
            "rule": "(has(self.to) && self.to.size() > 0) != (has(self.drop) && self.drop)",
            "message": _TO_OR_DROP,
        },
        {"rule": "!has(self.drop) || !self.drop || !has(self.samplePercent)", "message": _SAMPLE_OF_NOTHING},
    )


_ONE_SOURCE: Final = "a custom configuration is given as configuration or as a file of the image; give one of the two"
_PARSERS_BESIDE_FILE: Final = "parsers belong to configuration; those of a file are named in that file's image"


class CustomRouter(SpecModel):
    """A configuration of Fluent Bit in place of routes. What it sends where is its own matter."""

    configuration: Annotated[str, Field(min_length=1, max_length=CONFIGURATION_LENGTH)] | None = None
    """Filters and outputs in Fluent Bit's classic format. Lines come with the tag `<container>-firelens-<task id>`."""

    parsers: Annotated[str, Field(min_length=1, max_length=CONFIGURATION_LENGTH // 2)] | None = None
    """Parsers that `configuration` uses, in Fluent Bit's classic format."""

    file: (
        Annotated[
            str, *text(255, "(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+", "an absolute file, such as /etc/shop/router.conf")
        ]
        | None
    ) = None
    """File of the image that holds the configuration."""

    image: Image | None = None
    """Image of the log router, with Fluent Bit as aws-for-fluent-bit has it. The environment's router if absent. The
    environment's policy applies to it."""

    secrets: Secrets = ()
    """Environment variables of the log router whose values are read when a task starts, by name. In its configuration
    `${NAME}` stands for a value."""

    @model_validator(mode="after")
    def _one_of_the_two(self) -> Self:
        if (self.configuration is None) == (self.file is None):
            raise refuse(_ONE_SOURCE)
        if self.parsers is not None and self.file is not None:
            raise refuse(_PARSERS_BESIDE_FILE)
        return self

    rules = (
        {"rule": "has(self.configuration) != has(self.file)", "message": _ONE_SOURCE},
        {"rule": "!has(self.parsers) || !has(self.file)", "message": _PARSERS_BESIDE_FILE},
    )


_NO_END: Final = "the last route must be without match, so that it says where all other lines go; add one: to or drop"
_UNREACHABLE: Final = "a route without match takes every line, so none after it is ever asked; move it to the end"
_ROUTES_OR_CUSTOM: Final = "routes and custom exclude each other; keep one of them"
_NEEDS_ROUTES: Final = "debugUntil, redact and remove need routes; add routes, or remove them"


class Logging(SpecModel):
    """What becomes of what the containers write. Without routes, all goes to the service's log group."""

    routes: Annotated[tuple[Route, ...], Field(max_length=20)] = ()
    """Where lines go: a line takes the first route that matches. The last one has no match, and takes the rest."""

    redact: Annotated[tuple[FieldName, ...], Field(max_length=20), Unique()] = ()
    """Members of JSON lines whose value is replaced by [redacted]. Those of inner objects are named after a dot, e.g.
    `user.email`, of objects in lists too. Without a dot it is the line's own member alone."""

    remove: Annotated[tuple[FieldName, ...], Field(max_length=20), Unique()] = ()
    """Members that are taken out of JSON lines, named as for `redact`."""

    debug_until: Annotated[datetime, _Moment()] | None = None
    """Until this time every line, dropped ones too, also goes to the service's log group. Tasks are replaced when that
    begins and when it ends."""

    custom: CustomRouter | None = None
    """A configuration of Fluent Bit in place of routes."""

    @property
    def routed(self) -> bool:
        """Whether lines go through a log router."""
        return bool(self.routes) or self.custom is not None

    @model_validator(mode="after")
    def _routes_are_whole(self) -> Self:
        if self.routes and self.routes[-1].match is not None:
            raise refuse(_NO_END)
        if any(route.match is None for route in self.routes[:-1]):
            raise refuse(_UNREACHABLE)
        if self.routes and self.custom is not None:
            raise refuse(_ROUTES_OR_CUSTOM)
        if not self.routes and (self.redact or self.remove or self.debug_until is not None):
            raise refuse(_NEEDS_ROUTES)
        return self

    rules = (
        {
            "rule": "!has(self.routes) || self.routes.size() == 0 || !has(self.routes[self.routes.size() - 1].match)",
            "message": _NO_END,
        },
        {
            "rule": "!has(self.routes) || self.routes.filter(r, !has(r.match)).size() < 2",
            "message": _UNREACHABLE,
        },
        {
            "rule": "!has(self.routes) || self.routes.size() == 0 || !has(self.custom)",
            "message": _ROUTES_OR_CUSTOM,
        },
        {
            "rule": "(has(self.routes) && self.routes.size() > 0) || ((!has(self.redact) || self.redact.size() == 0)"
            " && (!has(self.remove) || self.remove.size() == 0) && !has(self.debugUntil))",
            "message": _NEEDS_ROUTES,
        },
    )
