"""What EventBridge tells of ECS, as a message's body holds it: whose it is, and what must not be forgotten. Pure.

Events come at least once, in any order, and with members that nobody has announced (developer guide, "Amazon ECS
events"). So one says little more than "look at this service". Only why a task stopped is kept: ECS forgets it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from inference_operator.domain.failures import ROUTINE

SOURCE: Final = "aws.ecs"
TASK: Final = "ECS Task State Change"
DEPLOYMENT: Final = "ECS Deployment State Change"
ACTION: Final = "ECS Service Action"

STOPPED: Final = "STOPPED"
_GROUP: Final = "service:"
_ARN = Annotated[str, Field(pattern="^arn:", max_length=2048)]


@dataclass(frozen=True, kw_only=True)
class News:
    """Something happened to a service."""

    id: str
    at: datetime
    """When, by AWS's clock."""
    service: str
    task: str | None = None
    """ARN, where it is about one task."""
    version: int = 0
    """Of the task; it grows."""
    stopped: Mapping[str, Any] | None = None
    """The task, if it has stopped, and that was no matter of routine: as DescribeTasks shows it, as far as it tells
    why."""


class JunkError(ValueError):
    """It is no event that ECS documents. The text names what is wrong, and holds nothing of the message."""


class _Part(BaseModel):
    """Unknown members are left out; that they are there is no error."""

    model_config = ConfigDict(frozen=True, extra="ignore", alias_generator=to_camel, hide_input_in_errors=True)


class _Envelope(_Part):
    id: Annotated[str, Field(min_length=1, max_length=128)]
    source: Literal["aws.ecs"]
    detail_type: Annotated[
        Literal["ECS Task State Change", "ECS Deployment State Change", "ECS Service Action"],
        Field(alias="detail-type"),
    ]
    time: AwareDatetime
    resources: Annotated[tuple[_ARN, ...], Field(min_length=1, max_length=10)]


class _Container(_Part):
    name: Annotated[str, Field(max_length=255)]
    exit_code: int | None = None
    reason: Annotated[str, Field(max_length=4096)] | None = None


class _Task(_Part):
    task_arn: _ARN
    group: Annotated[str, Field(max_length=512)]
    version: int
    last_status: Annotated[str, Field(max_length=64)]
    task_definition_arn: _ARN
    started_by: Annotated[str, Field(max_length=256)] | None = None
    stop_code: Annotated[str, Field(max_length=64)] | None = None
    stopped_reason: Annotated[str, Field(max_length=4096)] | None = None
    stopped_at: AwareDatetime | None = None
    containers: Annotated[tuple[_Container, ...], Field(max_length=20)] = ()


class _OfTask(_Part):
    detail: _Task


def read(body: str) -> News | None:
    """None: an event that tells of no service. Raises JunkError."""
    try:
        envelope = _Envelope.model_validate_json(body)
        if envelope.detail_type != TASK:
            return News(id=envelope.id, at=envelope.time, service=envelope.resources[0].rpartition("/")[2])
        task = _OfTask.model_validate_json(body).detail
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise JunkError(f"{'.'.join(map(str, first['loc'])) or 'body'}: {first['type']}") from None
    if not task.group.startswith(_GROUP):
        return None
    return News(
        id=envelope.id,
        at=envelope.time,
        service=task.group.removeprefix(_GROUP),
        task=task.task_arn,
        version=task.version,
        stopped=task.model_dump(by_alias=True, exclude_none=True) if _tells_why(task) else None,
    )


def _tells_why(task: _Task) -> bool:
    return task.last_status == STOPPED and not (task.stopped_reason or "").startswith(ROUTINE)


@dataclass
class Seen:
    """Tells news from what was told already: the same event again, or a task as it was before. Forgets the oldest, so
    a very late repetition may count as news, which costs a look."""

    limit: int = 10_000
    _events: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _versions: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def is_news(self, news: News) -> bool:
        if news.id in self._events:
            return False
        self._keep(self._events, news.id, None)
        if news.task is None:
            return True
        if self._versions.get(news.task, -1) >= news.version:
            return False
        self._keep(self._versions, news.task, news.version)
        return True

    def _keep(self, kept: OrderedDict[str, Any], key: str, value: Any) -> None:
        kept[key] = value
        kept.move_to_end(key)
        if len(kept) > self.limit:
            kept.popitem(last=False)
