"""Memory limits where the kernel's control groups are out of reach: the processes' memory is looked at every second.

A container that grows faster than that may be over its limit for a moment. One pass over /proc serves all tasks, and
only while there is a container with a limit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

PERIOD = 1.0
"""Seconds between two looks."""

_SESSION, _RESIDENT = 3, 21
"""Fields of /proc/PID/stat, counted from behind the program's name: see proc_pid_stat(5)."""


class ResidentMemory:
    """A `memory.MemoryLimits`."""

    def __init__(self) -> None:
        self._tasks: set[TaskWatch] = set()
        self._watch: asyncio.Task[None] | None = None

    @property
    def root(self) -> Path | None:
        return None

    def task(self, _name: str, limit: int | None) -> TaskWatch:
        task = TaskWatch(limit, self._tasks.discard)
        self._tasks.add(task)
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._look_again_and_again())
        return task

    async def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    async def _look_again_and_again(self) -> None:
        while self._tasks:
            await asyncio.sleep(PERIOD)
            used = resident_by_session()
            for task in list(self._tasks):
                task.look(used)


class TaskWatch:
    """A `memory.TaskMemory`."""

    def __init__(self, limit: int | None, forget: Callable[[TaskWatch], None]) -> None:
        self._limit = limit
        self._forget = forget
        self._containers: list[ContainerWatch] = []

    def container(self, _name: str, limit: int | None) -> ContainerWatch:
        container = ContainerWatch(limit)
        self._containers.append(container)
        return container

    async def release(self) -> None:
        self._forget(self)

    def look(self, used: Counter[int]) -> None:
        """Kill what is over its limit; if it is the task, its largest container."""
        sizes = {each: used[each.leader] for each in self._containers if each.leader is not None}
        for container, size in sizes.items():
            if container.limit is not None and size > container.limit and container.exact_size() > container.limit:
                container.kill_for_memory()
        if self._limit is not None and sum(sizes.values()) > self._limit:
            exact = {container: container.exact_size() for container in sizes}
            if sum(exact.values()) > self._limit:
                max(exact, key=lambda container: exact[container]).kill_for_memory()


class ContainerWatch:
    """A `memory.ContainerMemory`."""

    def __init__(self, limit: int | None) -> None:
        self.limit = limit
        self.leader: int | None = None
        """The process whose session is the container, while it is alive."""
        self._kill: Callable[[], None] | None = None
        self._killed = False

    def enter(self, argv: Sequence[str]) -> list[str]:
        return list(argv)

    def started(self, leader: int, kill: Callable[[], None]) -> None:
        self.leader, self._kill = leader, kill

    def ended(self) -> bool:
        self.leader = None
        return self._killed

    def exact_size(self) -> int:
        """Bytes, with pages that several processes share counted once: resident sizes alone count them for each."""
        total = 0
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, ProcessLookupError):
                if os.getsid(process.pid) == self.leader:
                    total += process.memory_full_info().pss
        return total

    def kill_for_memory(self) -> None:
        self._killed = True
        if self._kill is not None:
            self._kill()


def resident_by_session() -> Counter[int]:
    """Resident bytes of all processes, added up by session."""
    page = os.sysconf("SC_PAGE_SIZE")
    used: Counter[int] = Counter()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                fields = Path(entry.path, "stat").read_text().rpartition(")")[2].split()
                used[int(fields[_SESSION])] += int(fields[_RESIDENT]) * page
    return used
