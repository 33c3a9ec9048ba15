"""What there is in ECS right now, as one document: what a table shows, and `GET /_sandbox/status` answers.

Services and tasks have the shape of DescribeServices and DescribeTasks. Pure: records in, plain values out.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from inference_sandbox.ecs import views
from inference_sandbox.ecs.state import Cluster, Service, Task

MAXIMUM_SERVICES = 50
"""More than a screen shows. Beyond, those that are not in a steady state come first."""
MAXIMUM_EVENTS = 20
MAXIMUM_STOPPED = 5
"""Of each service: the latest tasks that have stopped, for their reasons."""


def snapshot(
    clusters: Iterable[Cluster],
    *,
    now: datetime,
    ahead: timedelta,
    dropped_log_lines: int,
    runs_as: Callable[[str], str | None],
) -> dict[str, Any]:
    """`services`, each with its `tasks` and its latest events; `tasks` that belong to no service; the sandbox's time,
    and by how many seconds it is ahead of the machine's. Each task has `runsAs`, see `LiveAws`."""

    def shown_tasks(tasks: Iterable[Task]) -> list[dict[str, Any]]:
        return [views.task(task) | {"runsAs": runs_as(task.arn)} for task in _latest(tasks)]

    known = list(clusters)
    services = [each for cluster in known for each in cluster.services.values() if each.status != "INACTIVE"]
    shown = sorted(services, key=lambda each: (each.steady, each.name))[:MAXIMUM_SERVICES]
    tasks: dict[str | None, list[Task]] = defaultdict(list)
    for task in (task for cluster in known for task in cluster.tasks.values()):
        tasks[task.service.arn if task.service else None].append(task)
    answer = {
        "at": now,
        "secondsAhead": round(ahead.total_seconds()),
        "services": [
            _service(each) | {"tasks": shown_tasks(tasks[each.arn])}
            for each in sorted(shown, key=lambda each: each.name)
        ],
        "moreServices": len(services) - len(shown),
        "tasks": shown_tasks(tasks[None]),
        "droppedLogLines": dropped_log_lines,
    }
    plain: dict[str, Any] = json.loads(json.dumps(answer, default=_plain))
    return plain


def _service(record: Service) -> dict[str, Any]:
    shown = views.service(record)
    return shown | {"events": shown["events"][:MAXIMUM_EVENTS]}


def _latest(tasks: Iterable[Task]) -> list[Task]:
    """All that have not stopped, and the last few that have; the newest first."""
    newest = sorted(tasks, key=lambda task: task.created_at, reverse=True)
    stopped = [task for task in newest if task.last_status == "STOPPED"][:MAXIMUM_STOPPED]
    return [task for task in newest if task.last_status != "STOPPED" or task in stopped]


def _plain(value: object) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no place in a status")
    return value.isoformat(timespec="seconds")
