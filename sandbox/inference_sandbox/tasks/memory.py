"""Memory limits of tasks and containers, as hard as the machine lets us.

Control groups of the kernel where this user may make them (`control_groups`), else a look at the processes every second
(`resident_memory`). Which of the two it is changes how soon a container is killed, not what is reported of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from inference_sandbox.tasks.control_groups import ControlGroups
from inference_sandbox.tasks.resident_memory import ResidentMemory

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
"""The `reason` that ECS gives a container that ran out of memory."""

MIB = 1024 * 1024


class ContainerMemory(Protocol):
    """The limit of one container."""

    def enter(self, argv: Sequence[str]) -> list[str]:
        """The words that run a program under the limit."""

    def started(self, leader: int, kill: Callable[[], None]) -> None:
        """The container's first process is there; `kill` ends it."""

    def ended(self) -> bool:
        """It has ended: what is left of it is killed. Whether it ran out of memory."""


class TaskMemory(Protocol):
    """The limit of one task, which its containers share."""

    def container(self, name: str, limit: int | None) -> ContainerMemory: ...

    async def release(self) -> None: ...


class MemoryLimits(Protocol):
    """`root` is a control group to remove once every process is gone, if there is one. Limits are in bytes."""

    @property
    def root(self) -> Path | None: ...

    def task(self, name: str, limit: int | None) -> TaskMemory: ...

    async def close(self) -> None: ...


def find_memory_limits() -> MemoryLimits:
    """The best way to hold containers to their memory that there is for this user on this machine."""
    return ControlGroups.find() or ResidentMemory()
