"""Where logs can go: an environment's named destinations, and its log router. Knows no route and no Fluent Bit."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, GetCoreSchemaHandler, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from inference_operator.api.constraints import SHOWN_LENGTH, Flag, Form, must_be, refuse, text
from inference_operator.api.containers import Image
from inference_operator.api.logging import DESTINATION_NAME
from inference_operator.api.model import SpecModel
from inference_operator.api.quantities import Cpu, Memory

RETENTION_DAYS = Literal[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653
]
"""What PutRetentionPolicy of CloudWatch Logs accepts."""

ROUTER_IMAGE: Final = "public.ecr.aws/aws-observability/aws-for-fluent-bit:3.5.10"

_WHOSE: Final = r"(?:[A-Za-z0-9_./-]|\{namespace\}|\{name\})"


class CloudWatchLogs(SpecModel):
    """A log group of CloudWatch Logs. One stream for each task."""

    log_group: Annotated[
        str,
        *text(
            256,
            f"{_WHOSE}+",
            "the name of a log group, in which {namespace} and {name} stand for the service's, "
            "such as /inference/{namespace}/{name}/errors",
        ),
    ]
    """Name of the log group. With both `{namespace}` and `{name}` in it, each service has a group of its own, which is
    made for it. Any other is shared and must exist."""

    retention_days: RETENTION_DAYS = 90
    """Days that what is written to a service's own group is kept. Unused for a shared group."""


class S3(SpecModel):
    """Objects in a bucket: JSON lines, compressed with gzip, one object for each task, route and minute."""

    bucket: Annotated[str, *text(63, r"[a-z0-9][a-z0-9.-]+[a-z0-9]", "the name of a bucket, such as inference-logs")]
    """Name of the bucket, which must exist."""

    prefix: Annotated[
        str,
        Field(max_length=200),
        Form(
            "(?:(?:[A-Za-z0-9_.=-]|\\{namespace\\}|\\{name\\})+/)*",
            "folders, each with its /, in which {namespace} and {name} stand for the service's, "
            "such as {namespace}/{name}/",
        ),
    ] = "{namespace}/{name}/"
    """What the keys begin with. The date and the hour follow: `dt=2026-11-24/hour=18/`."""


class Firehose(SpecModel):
    """A delivery stream of Amazon Data Firehose."""

    delivery_stream: Annotated[
        str, *text(64, "[A-Za-z0-9_.-]+", "the name of a delivery stream, such as inference-logs")
    ]
    """Name of the delivery stream, which must exist."""


class OpenSearch(SpecModel):
    """A domain of Amazon OpenSearch Service."""

    endpoint: Annotated[
        str,
        *text(
            255,
            r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+",
            "the host name of a domain, without https://, such as search-logs-abc.eu-west-1.es.amazonaws.com",
        ),
    ]
    """Host name of the domain, which must exist. It is reached on port 443."""

    index: Annotated[str, *text(100, "[a-z0-9][a-z0-9_.-]*", "the name of an index in lower case, such as inference")]
    """Name of the index."""


_ONE_KIND: Final = "a destination is one of cloudWatchLogs, s3, firehose and openSearch; give one"


class Destination(SpecModel):
    """One place where logs can go: exactly one of its members."""

    cloud_watch_logs: CloudWatchLogs | None = None
    """A log group of CloudWatch Logs: at hand, searchable, and dear."""

    s3: S3 | None = None
    """Objects in a bucket: cheap."""

    firehose: Firehose | None = None
    """A delivery stream of Amazon Data Firehose, which goes on to where it was made to go."""

    open_search: OpenSearch | None = None
    """A domain of Amazon OpenSearch Service."""

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if sum(kind is not None for kind in (self.cloud_watch_logs, self.s3, self.firehose, self.open_search)) != 1:
            raise refuse(_ONE_KIND)
        return self

    rules = (
        {
            "rule": "[has(self.cloudWatchLogs), has(self.s3), has(self.firehose), has(self.openSearch)]"
            ".filter(given, given).size() == 1",
            "message": _ONE_KIND,
        },
    )


@dataclass(frozen=True)
class _Names:
    """Metadata of a map: its keys are names of destinations."""

    must_be: str = "a map from names, lower-case letters, digits and -, at most 30, such as errors, to destinations"

    def _check(self, given: Mapping[str, Destination]) -> Mapping[str, Destination]:
        for name in given:
            if not re.fullmatch(DESTINATION_NAME, name, re.ASCII):
                raise refuse(f"must be {self.must_be}; got the name '{name[:SHOWN_LENGTH]}'")
        return given

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return must_be(handler(schema), self.must_be, f"self.all(name, name.matches('^{DESTINATION_NAME}$'))")


Destinations = Annotated[dict[str, Destination], Field(max_length=10), _Names()]
"""By name."""


class Router(SpecModel):
    """The log router of services that have routes: a container with Fluent Bit beside the server."""

    image: Image = ROUTER_IMAGE
    """Image of the log router, with Fluent Bit as aws-for-fluent-bit has it, 3.5.10 or later."""

    retention_days: RETENTION_DAYS = 90
    """Days that CloudWatch Logs keeps what the router itself writes."""

    cpu: Cpu | None = None
    """vCPUs of the task's that are kept for the router. What the others leave if absent."""

    memory: Memory = Memory.parse("128Mi")
    """Memory of the task's that is kept for the router. It may use more."""

    buffer: Memory = Memory.parse("256Mi")
    """Half of the lines that may wait on the task's disk for each destination that is not reached. Beyond that it drops
    its oldest; the others get theirs meanwhile."""

    essential: Flag = True
    """Whether a task ends when its router ends. Without a router, nothing is logged."""
