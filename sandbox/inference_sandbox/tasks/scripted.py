"""A runner for tests: each task does what its script says, on an injected clock. No process, no thread.

It must not know the scheduler; it only speaks the runner's port.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import count
from typing import Literal

from inference_sandbox.ports import (
    Clock,
    ContainerExited,
    ContainerHealth,
    Report,
    TaskFailedToStart,
    TaskLaunch,
    TaskRunning,
)


@dataclass(frozen=True, kw_only=True)
class Script:
    """What one task does. Times count from its start, except `stops_after`, which counts from the stop signal."""

    starts_after: timedelta = timedelta(seconds=2)
    fails_to_start: str | None = None
    """`stoppedReason`, in AWS's words; the task then never runs."""
    exits_after: timedelta | None = None
    """Counted from running: the first essential container exits by itself."""
    exit_code: int | None = 1
    exit_reason: str | None = None
    health: Literal["HEALTHY", "UNHEALTHY"] | None = "HEALTHY"
    """The verdict of every container check that is defined; None: never any."""
    health_after: timedelta = timedelta(seconds=5)
    stops_after: timedelta = timedelta(seconds=1)
    stop_exit_code: int = 0


@dataclass
class _Running:
    launch: TaskLaunch
    script: Script
    alive: set[str] = field(default_factory=set)
    signalled: int = 0
    """How often it was told to stop: whatever was to happen before then no longer does."""


class ScriptedRunner:
    """`script` chooses for each launch; `starts` and `stops` record what was asked, in order."""

    def __init__(self, clock: Clock, script: Callable[[TaskLaunch], Script] | None = None) -> None:
        self._clock = clock
        self.script = script or (lambda _launch: Script())
        self.starts: list[TaskLaunch] = []
        self.stops: list[str] = []
        self._tasks: dict[str, _Running] = {}
        self._due: list[tuple[datetime, int, int, Report]] = []
        self._order = count()
        self._addresses = count(1)

    def start(self, task: TaskLaunch) -> None:
        self.starts.append(task)
        script = self.script(task)
        names = {container.definition["name"] for container in task.containers}
        self._tasks[task.arn] = _Running(task, script, names)
        at = self._clock.now() + script.starts_after
        if script.fails_to_start is not None:
            self._push(TaskFailedToStart(arn=task.arn, reason=script.fails_to_start, at=at))
            return
        self._push(TaskRunning(arn=task.arn, address=self._address(), at=at))
        if script.health is not None:
            for container in task.containers:
                if container.definition.get("healthCheck"):
                    self.report_health(task.arn, container.definition["name"], script.health, at + script.health_after)
        if script.exits_after is not None:
            name = next(c.definition["name"] for c in task.containers if c.definition.get("essential", True))
            self._push(self._exit(task.arn, name, at + script.exits_after, script.exit_code, script.exit_reason))

    def stop(self, arn: str) -> None:
        self.stops.append(arn)
        running = self._tasks.get(arn)
        if running is None:
            return
        running.signalled += 1
        at = self._clock.now() + running.script.stops_after
        for name in sorted(running.alive):
            self._push(self._exit(arn, name, at, running.script.stop_exit_code, None))

    def report_health(self, arn: str, container: str, status: Literal["HEALTHY", "UNHEALTHY"], at: datetime) -> None:
        self._push(ContainerHealth(arn=arn, container=container, status=status, at=at))

    def exit(self, arn: str, container: str, code: int | None = 1, reason: str | None = None) -> None:
        """The container ends now, by itself."""
        self._push(self._exit(arn, container, self._clock.now(), code, reason))

    def poll(self) -> Sequence[Report]:
        now = self._clock.now()
        reports: list[Report] = []
        while (due := self.next_due()) is not None and due <= now:
            report = heapq.heappop(self._due)[-1]
            running = self._tasks[report.arn]
            if isinstance(report, ContainerExited):
                if report.container not in running.alive:
                    continue
                running.alive.discard(report.container)
            reports.append(report)
        return reports

    def next_due(self) -> datetime | None:
        while self._due and self._due[0][2] != self._tasks[self._due[0][-1].arn].signalled:
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    def close(self) -> None:
        self._tasks.clear()
        self._due.clear()

    def _address(self) -> str:
        number = next(self._addresses)
        return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"

    @staticmethod
    def _exit(arn: str, container: str, at: datetime, code: int | None, reason: str | None) -> ContainerExited:
        return ContainerExited(arn=arn, container=container, exit_code=code, at=at, reason=reason)

    def _push(self, report: Report) -> None:
        heapq.heappush(self._due, (report.at, next(self._order), self._tasks[report.arn].signalled, report))


def failing(reason: str, *, after: timedelta = timedelta(seconds=2)) -> Script:
    return Script(fails_to_start=reason, starts_after=after)


def crashing(*, after: timedelta, code: int = 1, reason: str | None = None) -> Script:
    return replace(Script(), exits_after=after, exit_code=code, exit_reason=reason)
