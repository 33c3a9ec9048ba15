"""A status as people read it: services, deployments, tasks and the newest events, much as the console shows them.

Pure: the document of `status.snapshot` in, tables of rich or lines of text out.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.table import Table
from rich.text import Text

from inference_sandbox import durations

Status = dict[str, Any]
Row = Sequence[str]

_OVERHEAD_LINES = 10
"""The heading, and for each of four tables a header and an empty line, with one to spare."""
_LEAST_LINES = 8
_WIDE = 1_000
_GAP = 2
_LEAST_WORDS = 40
"""How wide the last column is to be at least, if its texts are as long."""
_DISPENSABLE = ("RUNS AS", "WANTED", "HEALTH", "TASK DEFINITION", "AGE")
"""Columns that a narrow screen does without, in this order."""
_STYLES = {
    **dict.fromkeys(("ACTIVE", "RUNNING", "HEALTHY", "COMPLETED", "PRIMARY"), "green"),
    **dict.fromkeys(("PROVISIONING", "PENDING", "ACTIVATING", "IN_PROGRESS"), "yellow"),
    **dict.fromkeys(("DEACTIVATING", "STOPPING", "DEPROVISIONING", "DRAINING"), "magenta"),
    **dict.fromkeys(("FAILED", "UNHEALTHY"), "bold red"),
    **dict.fromkeys(("STOPPED", "UNKNOWN", "INACTIVE"), "dim"),
}


def tables(status: Status, *, lines: int | None = None) -> RenderableType:
    """For a screen of so many lines; without a number, everything."""
    left = None if lines is None else max(lines - _OVERHEAD_LINES, _LEAST_LINES)
    services, deployments, tasks = list(_services(status)), list(_deployments(status)), list(_tasks(status))
    used = 0
    parts: list[RenderableType] = [_heading(status)]
    for header, rows, share in (
        (("SERVICE", "STATUS", "DESIRED", "RUNNING", "PENDING", "TASK DEFINITION"), services, 0.2),
        (("SERVICE", "DEPLOYMENT", "STATUS", "TASK DEFINITION", "TASKS", "FAILED", "ROLLOUT"), deployments, 0.2),
        (("SERVICE", "TASK", "STATUS", "WANTED", "HEALTH", "RUNS AS", "TASK DEFINITION", "AGE", "WHY"), tasks, 0.4),
    ):
        shown = rows if left is None else _fitting(rows, int(left * share))
        used += len(shown)
        parts += [Text(), _Table(header, shown)]
    events = list(_events(status))
    parts += [Text(), _Table(("TIME", "EVENT"), events if left is None else events[: left - used])]
    return Group(*parts)


def text(status: Status) -> str:
    """The same without a terminal: no colour, nothing cut off."""
    output = io.StringIO()
    Console(file=output, width=_WIDE, color_system=None).print(tables(status))
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


def new_events(status: Status, seen: set[str]) -> list[str]:
    """A line for each event that is not in `seen`, oldest first; adds them to it."""
    new = [event for service in status["services"] for event in service["events"] if event["id"] not in seen]
    seen.update(event["id"] for event in new)
    newest_first = sorted(new, key=_created, reverse=True)  # stable: each service's own are in this order already
    return [f"{_time(event['createdAt'])} {event['message']}" for event in reversed(newest_first)]


def _heading(status: Status) -> Text:
    ahead = status["secondsAhead"]
    parts = [f"{status['at'][:19].replace('T', ' ')} UTC"]
    if ahead > 0:
        parts.append(f"{durations.written(timedelta(seconds=ahead))} ahead")
    parts.append(f"services: {len(status['services']) + status['moreServices']}")
    if status["moreServices"]:
        parts.append(f"not shown: {status['moreServices']}")
    if status["droppedLogLines"]:
        parts.append(f"log lines dropped: {status['droppedLogLines']}")
    return Text(", ".join(parts), style="bold")


def _services(status: Status) -> Iterator[Row]:
    for each in status["services"]:
        counts = [str(each[count]) for count in ("desiredCount", "runningCount", "pendingCount")]
        yield each["serviceName"], each["status"], *counts, _short(each["taskDefinition"])


def _deployments(status: Status) -> Iterator[Row]:
    for service in status["services"]:
        for each in service["deployments"]:
            yield (
                service["serviceName"],
                each["id"],
                each["status"],
                _short(each["taskDefinition"]),
                f"{each['runningCount']}/{each['desiredCount']}",
                str(each["failedTasks"]),
                each["rolloutState"],
            )


def _tasks(status: Status) -> Iterator[Row]:
    now = datetime.fromisoformat(status["at"])
    for owner, tasks in (
        *((service["serviceName"], service["tasks"]) for service in status["services"]),
        ("-", status["tasks"]),
    ):
        for each in tasks:
            yield (
                owner,
                _short(each["taskArn"])[:8],
                each["lastStatus"],
                each["desiredStatus"],
                each["healthStatus"],
                each["runsAs"] or "-",
                _short(each["taskDefinitionArn"]),
                durations.written(now - datetime.fromisoformat(each["createdAt"])),
                _why(each),
            )


def _why(task: dict[str, Any]) -> str:
    """Why it stops, and with it what became of a container that ended badly."""
    reasons = [task.get("stoppedReason")]
    for container in task["containers"]:
        if container.get("reason") not in (None, *reasons):
            reasons.append(container["reason"])
        if container.get("exitCode"):
            reasons.append(f"{container['name']} exited with {container['exitCode']}")
    return "; ".join(filter(None, reasons))


def _events(status: Status) -> Iterator[Row]:
    events = [event for service in status["services"] for event in service["events"]]
    for event in sorted(events, key=_created, reverse=True):  # as above
        yield _time(event["createdAt"]), event["message"]


def _created(event: dict[str, Any]) -> str:
    return str(event["createdAt"])


def _time(moment: str) -> str:
    return moment[11:19]


def _short(arn: str) -> str:
    return arn.rsplit("/", 1)[-1]


def _fitting(rows: Sequence[Row], count: int) -> Sequence[Row]:
    if len(rows) <= count:
        return rows
    return [*rows[: count - 1], (f"… {len(rows) - count + 1} more",)]


class _Table:
    """The last column, which has the longest texts, is the one that is cut off. Where it would have no room for a few
    words, others stay away: those of `_DISPENSABLE`."""

    def __init__(self, header: Row, rows: Sequence[Row]) -> None:
        self._header = header
        self._rows = rows
        self._widths = [
            max(len(row[number]) for row in (header, *rows) if number < len(row)) for number in range(len(header))
        ]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        shown = self._columns(options.max_width)
        table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="dim", expand=True)
        for number in shown:
            is_last = number == shown[-1]
            width, ratio = (None, 1) if is_last else (self._widths[number], None)
            table.add_column(self._header[number], no_wrap=True, overflow="ellipsis", width=width, ratio=ratio)
        for row in self._rows:
            cells = [row[number] for number in shown if number < len(row)]
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in cells))
        yield table

    def _columns(self, width: int) -> list[int]:
        shown = list(range(len(self._header)))
        for name in _DISPENSABLE:
            left = width - sum(self._widths[number] + _GAP for number in shown[:-1])
            if left < min(_LEAST_WORDS, self._widths[-1]) and name in self._header:
                shown.remove(self._header.index(name))
        return shown
