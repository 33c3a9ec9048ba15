"""The life of a task, whatever runs its containers: what the ECS agent does on a host.

Its duty: the order of start and of stop (`dependsOn`, and a log router first and last), essential containers, health,
and the reports that `ports.Runner` promises. How a container is run belongs to an `Engine`; whether a task ought to
run, to the scheduler.

A task's reports obey three rules that a reader may count on:

- exactly one of `TaskRunning` and `TaskFailedToStart`;
- one `ContainerExited` for each container that was started, or that is not essential and could not be;
- a running task has ended when every container has exited; a task that never ran, with `TaskFailedToStart`, which
  comes last.

All times here are real ones, for the containers are real; the clock only stamps the reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from inference_sandbox.ports import (
    Clock,
    ContainerExited,
    ContainerHealth,
    ContainerLaunch,
    Report,
    TaskFailedToStart,
    TaskLaunch,
    TaskRunning,
)
from inference_sandbox.tasks import firelens
from inference_sandbox.tasks.health import HealthCheck, HealthVerdict

_logger = logging.getLogger(__name__)

STOP_TIMEOUT = 30.0
"""Seconds between the stop signal and SIGKILL where a container definition has no `stopTimeout`."""

START_TIMEOUT = 180.0
"""Seconds to wait for a container that others depend on, where its definition has no `startTimeout`."""

_CLOSE_DEADLINE = 10.0
_KINDS_KEPT = 10_000


@dataclass(frozen=True)
class Exit:
    """How a container ended. `code` is as containers report it: 128 and the signal's number for a signal."""

    code: int | None
    reason: str | None = None


class StartError(Exception):
    """A task or a container cannot start. `str()` is the stoppedReason, `container_reason` the containers[].reason."""

    def __init__(
        self,
        reason: str,
        *,
        container: str | None = None,
        container_reason: str | None = None,
        exit_code: int | None = None,
    ) -> None:
        super().__init__(reason)
        self.container = container
        self.container_reason = container_reason
        self.exit_code = exit_code


class RunningContainer(Protocol):
    """A container that an engine has started."""

    async def wait(self) -> Exit: ...

    def terminate(self) -> None:
        """Send the stop signal to its first process."""

    def kill(self) -> None:
        """End all of its processes."""

    async def probe(self, argv: Sequence[str], *, seconds: float) -> bool:
        """Run a command inside it: did it exit 0 in time? Raises nothing for a command that is not there."""


class Place(Protocol):
    """Where one task runs: what an engine set up for it, and starts its containers in."""

    @property
    def address(self) -> str:
        """The task's, known once a container has been started."""

    @property
    def kind(self) -> str:
        """What its containers are, in a word for people: `container` or `process`."""

    async def start(self, container: ContainerLaunch) -> RunningContainer:
        """Raises StartError."""

    async def release(self) -> None:
        """Give back what was set up; every container has ended."""


class Engine(Protocol):
    """Runs containers. Every method runs in the runner's own event loop and must not block it."""

    async def prepare(self, task: TaskLaunch) -> Place:
        """Images, volumes, network. Raises StartError."""

    async def close(self) -> None: ...


class TaskRunner:
    """A `ports.Runner` over an engine: one thread and event loop for all tasks, asleep while nothing happens."""

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._reports: deque[Report] = deque()
        self._lives: dict[str, _TaskLife] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._kinds: dict[str, str] = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="task-runner", daemon=True)
        self._thread.start()

    def start(self, task: TaskLaunch) -> None:
        """Raises ValueError for a task that is already there, or that has a health check ECS would not accept."""
        if task.arn in self._lives:
            raise ValueError(f"task {task.arn} is already started: start each task once")
        life = _TaskLife(task, self._engine, self._reports.append, self._clock, partial(self._placed, task.arn))
        self._lives[task.arn] = life
        self._loop.call_soon_threadsafe(self._begin, life)

    def stop(self, arn: str) -> None:
        life = self._lives.get(arn)
        if life is not None:
            self._loop.call_soon_threadsafe(life.stop)

    def poll(self) -> Sequence[Report]:
        return [self._reports.popleft() for _ in range(len(self._reports))]

    def runs_as(self, arn: str) -> str | None:
        """What the task's containers are or were, in a word: `container` or `process`. None: it never got a place."""
        return self._kinds.get(arn)

    def close(self) -> None:
        if not self._thread.is_alive():
            return
        asyncio.run_coroutine_threadsafe(self._end_all(), self._loop).result(2 * _CLOSE_DEADLINE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CLOSE_DEADLINE)
        self._loop.close()

    def _begin(self, life: _TaskLife) -> None:
        running = self._loop.create_task(life.run(), name=life.launch.arn)
        self._running.add(running)
        running.add_done_callback(partial(self._ended, life))

    def _ended(self, life: _TaskLife, running: asyncio.Task[None]) -> None:
        self._running.discard(running)
        self._lives.pop(life.launch.arn, None)

    def _placed(self, arn: str, kind: str) -> None:
        self._kinds[arn] = kind
        if len(self._kinds) > _KINDS_KEPT:
            del self._kinds[next(iter(self._kinds))]

    async def _end_all(self) -> None:
        for life in list(self._lives.values()):
            life.abandon()
        if self._running:
            await asyncio.wait(set(self._running), timeout=_CLOSE_DEADLINE)
        await self._engine.close()


class _Container:
    """One container of a task, and how far it has come."""

    def __init__(self, launch: ContainerLaunch, depends_on: Mapping[str, str]) -> None:
        definition = launch.definition
        self.launch = launch
        self.name: str = definition["name"]
        self.label = f"{self.name}({definition.get('image')})"
        self.essential: bool = definition.get("essential", True)
        self.depends_on = depends_on
        self.health_check = HealthCheck.of(definition)
        self.stop_timeout: float = definition.get("stopTimeout") or STOP_TIMEOUT
        self.start_timeout: float = definition.get("startTimeout") or START_TIMEOUT
        self.started = False
        self.given_up = False
        """It could not be started, and the task does without."""
        self.healthy = False
        self.exit: Exit | None = None
        self.finished = False
        """It has exited, or will never start."""

    def satisfies(self, condition: str) -> bool:
        match condition:
            case "START":
                return self.started
            case "HEALTHY":
                return self.healthy
            case "COMPLETE":
                return self.exit is not None
            case "SUCCESS":
                return self.exit is not None and self.exit.code == 0
        raise ValueError(f"dependsOn condition {condition!r}: must be START, HEALTHY, COMPLETE or SUCCESS")


class _TaskLife:
    """One task from its start to the exit of its last container."""

    def __init__(
        self,
        launch: TaskLaunch,
        engine: Engine,
        report: Callable[[Report], None],
        clock: Clock,
        placed: Callable[[str], None],
    ) -> None:
        self.launch = launch
        self._placed = placed
        self._engine = engine
        self._report = report
        self._clock = clock
        waits = firelens.dependencies(launch)
        self._containers = {each.name: _Container(each, waits[each.name]) for each in launch.containers}
        self._waiters: list[asyncio.Future[None]] = []
        self._stopping = False
        self._abandoned = False
        self._is_running = False
        self._failure: StartError | None = None

    def stop(self) -> None:
        self._stopping = True
        self._wake()

    def abandon(self) -> None:
        """Stop without a stop signal: SIGKILL at once."""
        self._abandoned = True
        self.stop()

    async def run(self) -> None:
        try:
            place = await self._engine.prepare(self.launch)
            self._placed(place.kind)
            try:
                async with asyncio.TaskGroup() as group:
                    for container in self._containers.values():
                        group.create_task(self._live(place, container))
            finally:
                await place.release()
        except StartError as error:
            self._failure = error
        except Exception as error:
            _logger.exception("the runner failed in task %s", self.launch.arn)
            self._give_up(StartError(f"InternalError: {error}"))
        if not self._is_running:
            self._report_failure(self._failure or StartError("Task stopped before its containers were started"))

    def _give_up(self, error: StartError) -> None:
        """Nobody may wait for a report that will not come."""
        self._failure = error
        for container in self._containers.values():
            if container.started and container.exit is None:
                self._report_exit(container, Exit(None, str(error)))

    async def _live(self, place: Place, container: _Container) -> None:
        try:
            for name, condition in container.depends_on.items():
                await self._reached(container, self._containers[name], condition)
            if not self._stopping:
                running = await place.start(container.launch)
                await self._watch(place.address, container, running)
        except StartError as error:
            if container.essential:
                self._failure = self._failure or error
                self.stop()
            else:
                container.given_up = True
                self._report_exit(container, Exit(error.exit_code, error.container_reason or str(error)))
                self._report_if_running(place.address)
        finally:
            container.finished = True
            self._wake()

    async def _reached(self, container: _Container, dependency: _Container, condition: str) -> None:
        """Wait for a dependency; returns early if the task is stopping. Raises StartError once it can't be reached."""
        await self._until(lambda: self._stopping or dependency.started or dependency.finished)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(dependency.start_timeout):
                await self._until(
                    lambda: self._stopping or dependency.satisfies(condition) or dependency.finished,
                )
        if not self._stopping and not dependency.satisfies(condition):
            raise _unresolved(container, dependency)

    async def _watch(self, address: str, container: _Container, running: RunningContainer) -> None:
        """A started container until it has ended."""
        container.started = True
        self._report_if_running(address)
        self._wake()
        helpers = [asyncio.create_task(self._stop_in_turn(container, running))]
        if container.health_check is not None:
            helpers.append(asyncio.create_task(self._probe(container, container.health_check, running)))
        try:
            container.exit = await running.wait()
        finally:
            running.kill()
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
        self._report_exit(container, container.exit)

    async def _stop_in_turn(self, container: _Container, running: RunningContainer) -> None:
        """Once the task is to stop: those that depend on a container end before it does."""
        dependents = [each for each in self._containers.values() if container.name in each.depends_on]
        await self._until(
            lambda: self._abandoned or (self._stopping and all(dependent.finished for dependent in dependents)),
        )
        if not self._abandoned:
            running.terminate()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(container.stop_timeout):
                    await self._until(lambda: self._abandoned)
        running.kill()

    async def _probe(self, container: _Container, check: HealthCheck, running: RunningContainer) -> None:
        verdict = HealthVerdict(check)
        started = time.monotonic()
        while True:
            await asyncio.sleep(check.interval)
            age = time.monotonic() - started
            changed = verdict.observe(passed=await running.probe(check.argv, seconds=check.timeout), age=age)
            if changed is None:
                continue
            container.healthy = changed == "HEALTHY"
            self._report(
                ContainerHealth(arn=self.launch.arn, container=container.name, status=changed, at=self._clock.now())
            )
            self._wake()

    def _report_if_running(self, address: str) -> None:
        if not self._is_running and all(each.started or each.given_up for each in self._containers.values()):
            self._is_running = True
            self._report(TaskRunning(arn=self.launch.arn, address=address, at=self._clock.now()))

    def _report_exit(self, container: _Container, ended: Exit) -> None:
        self._report(
            ContainerExited(
                arn=self.launch.arn,
                container=container.name,
                exit_code=ended.code,
                at=self._clock.now(),
                reason=ended.reason,
            )
        )
        if container.essential and not self._stopping:
            self._failure = StartError(
                "Essential container in task exited", container=container.name, container_reason=ended.reason
            )
            self.stop()

    def _report_failure(self, error: StartError) -> None:
        self._report(
            TaskFailedToStart(
                arn=self.launch.arn,
                reason=str(error),
                at=self._clock.now(),
                container=error.container,
                container_reason=error.container_reason,
            )
        )

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Wait until something changes so that the condition holds."""
        while not condition():
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()


def _unresolved(container: _Container, dependency: _Container) -> StartError:
    """The words, and the exit code of a container that never was, are the ECS agent's."""
    exit_code = dependency.exit.code if dependency.exit else None
    known = "STOPPED" if dependency.finished else "RUNNING"
    return StartError(
        "Task failed to start",
        container=container.name,
        container_reason=(
            "CannotStartContainerError: dependency graph: failed to resolve container ordering dependency "
            f"[{dependency.label} ({known}->RUNNING) - Exit: {exit_code}] "
            f"for target [{container.label} (NONE->RUNNING)]"
        ),
        exit_code=128 + signal.SIGTERM,
    )
