"""The `awslogs` driver: what containers print, on its way to CloudWatch Logs.

Lines are taken in at once, in whatever thread they come, and delivered in batches by whoever ticks. Of the driver's
options the group, the stream prefix and the region count; `mode`, buffer sizes and multi-line patterns do not. Nothing
here knows how a container runs.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from moto.logs.models import logs_backends

from inference_sandbox.ecs.state import Task

MAXIMUM_WAITING = 100_000
"""Lines taken in and not yet delivered: what comes beyond is dropped, for a task must never wait for its log."""

_logger = logging.getLogger(__name__)


class _Line(NamedTuple):
    task_arn: str
    container: str
    text: str
    at: datetime


class _Stream(NamedTuple):
    account: str
    region: str
    group: str
    name: str


class ContainerLogs:
    """`sink` is a log sink for a runner; `deliver` puts what came into CloudWatch's log streams."""

    def __init__(self) -> None:
        self._waiting: deque[_Line] = deque()
        self._unknown: set[tuple[str, str]] = set()
        self.dropped = 0
        """Lines that no longer had a place to go to, or came too fast."""

    def sink(self, task_arn: str, container: str, _stream: str, line: str, at: datetime) -> None:
        """Standard output and error go to the same stream, as with the driver."""
        if len(self._waiting) >= MAXIMUM_WAITING:
            self.dropped += 1
        else:
            self._waiting.append(_Line(task_arn, container, line, at))

    def deliver(self, tasks: Mapping[str, Task]) -> None:
        """`tasks`: by ARN. Call it under whatever lock guards CloudWatch's state."""
        batches: dict[_Stream, list[_Line]] = {}
        for _ in range(len(self._waiting)):
            line = self._waiting.popleft()
            task = tasks.get(line.task_arn)
            if task is None:
                self.dropped += 1
            elif (stream := _stream_of(task, line.container)) is not None:
                batches.setdefault(stream, []).append(line)
        for stream, lines in batches.items():
            self._put(stream, lines)

    def _put(self, stream: _Stream, lines: Iterable[_Line]) -> None:
        group = logs_backends[stream.account][stream.region].groups.get(stream.group)
        events = [{"timestamp": int(line.at.timestamp() * 1000), "message": line.text} for line in lines]
        if group is not None and stream.name in group.streams:
            # To the group itself: the backend would refuse what is more than two hours ahead of the machine's clock,
            # and the sandbox's may be.
            group.put_log_events(stream.name, events)
            return
        self.dropped += len(events)
        if (stream.group, stream.name) not in self._unknown:
            self._unknown.add((stream.group, stream.name))
            _logger.warning("container output is dropped: there is no log stream %s in %s", stream.name, stream.group)


def _stream_of(task: Task, container: str) -> _Stream | None:
    """None for a container that logs by another driver, or not at all."""
    definition: dict[str, Any] = next(each.definition for each in task.containers if each.name == container)
    log = definition.get("logConfiguration") or {}
    if log.get("logDriver") != "awslogs":
        return None
    options = log.get("options") or {}
    return _Stream(
        account=task.cluster.account,
        region=options.get("awslogs-region") or task.cluster.region,
        group=options.get("awslogs-group", ""),
        name=f"{options.get('awslogs-stream-prefix', 'ecs')}/{container}/{task.id}",
    )
