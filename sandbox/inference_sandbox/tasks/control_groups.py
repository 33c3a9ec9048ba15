"""Memory limits by the kernel's control groups, version 1 or 2.

A group for this runner, in it one for each task, in that one for each container. It knows processes by their ids only.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_ENTER = 'echo $$ > "$0" && exec "$@"'
"""A shell that joins a group and then becomes the program, so that nothing runs outside of it even for a moment."""

_REMOVAL_TRIES = 40
_REMOVAL_PAUSE = 0.05


@dataclass(frozen=True)
class _Group:
    """One control group. `version` is 1 or 2."""

    path: Path
    version: int

    def make(self, name: str) -> _Group:
        """A group inside of this one. Raises OSError if this user may not, or if it would have no memory limit."""
        child = _Group(self.path / name, self.version)
        child.path.mkdir()
        if self.version == 2:  # noqa: PLR2004 - the version's own number
            with contextlib.suppress(OSError):  # not before it is empty; whether it worked is seen in the next group
                (child.path / "cgroup.subtree_control").write_text("+memory")
        return child

    def limit(self, size: int) -> None:
        """Without swap: a Fargate task has none."""
        limit, swap = (
            ("memory.limit_in_bytes", ("memory.memsw.limit_in_bytes", size))
            if self.version == 1
            else ("memory.max", ("memory.swap.max", 0))
        )
        (self.path / limit).write_text(str(size))
        with contextlib.suppress(OSError):  # a kernel may do without the accounting of swap
            (self.path / swap[0]).write_text(str(swap[1]))

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process in it for memory."""
        told = (self.path / ("memory.oom_control" if self.version == 1 else "memory.events")).read_text()
        counts = dict(line.split() for line in told.splitlines())
        return int(counts.get("oom_kill", 0)) > 0

    def kill(self) -> None:
        for pid in (self.path / "cgroup.procs").read_text().split():
            with contextlib.suppress(OSError):
                os.kill(int(pid), signal.SIGKILL)

    def remove(self) -> bool:
        """Whether it is gone. A group can't go before its last process."""
        if not self.path.exists():
            return True
        with contextlib.suppress(OSError):
            self.kill()
            for inner in self.path.iterdir():
                if inner.is_dir():
                    _Group(inner, self.version).remove()
            self.path.rmdir()
        return not self.path.exists()


class ControlGroups:
    """A `memory.MemoryLimits`."""

    def __init__(self, root: _Group) -> None:
        self._root = root

    @property
    def root(self) -> Path | None:
        return self._root.path

    @classmethod
    def find(cls) -> ControlGroups | None:
        """None if this user may make no control group with a memory limit."""
        name = f"inference-sandbox-{os.getpid()}-{secrets.token_hex(4)}"
        for place in _places():
            try:
                root = place.make(name)
            except OSError:
                continue
            if _works(root):
                return cls(root)
            root.remove()
        return None

    def task(self, name: str, limit: int | None) -> TaskGroup:
        group = self._root.make(name)
        if limit:
            group.limit(limit)
        return TaskGroup(group)

    async def close(self) -> None:
        await _remove(self._root)


class TaskGroup:
    """A `memory.TaskMemory`."""

    def __init__(self, group: _Group) -> None:
        self._group = group

    def container(self, name: str, limit: int | None) -> ContainerGroup:
        group = self._group.make(name)
        if limit:
            group.limit(limit)
        return ContainerGroup(group)

    async def release(self) -> None:
        await _remove(self._group)


class ContainerGroup:
    """A `memory.ContainerMemory`."""

    def __init__(self, group: _Group) -> None:
        self._group = group

    def enter(self, argv: Sequence[str]) -> list[str]:
        return ["/bin/sh", "-c", _ENTER, str(self._group.path / "cgroup.procs"), *argv]

    def started(self, _leader: int, _kill: Callable[[], None]) -> None:
        """The kernel needs no help."""

    def ended(self) -> bool:
        self._group.kill()
        return self._group.out_of_memory()


async def _remove(group: _Group) -> None:
    for _ in range(_REMOVAL_TRIES):
        if group.remove():
            return
        await asyncio.sleep(_REMOVAL_PAUSE)


def _works(root: _Group) -> bool:
    """Whether a process can be put under a limit there: tried, for the kernel has many reasons to refuse."""
    try:
        probe = root.make("probe")
        probe.limit(64 * 1024 * 1024)
        entered = subprocess.run(ContainerGroup(probe).enter(["true"]), check=False, capture_output=True)
        probe.out_of_memory()
        return entered.returncode == 0 and probe.remove()
    except OSError:
        return False


def _places() -> Iterator[_Group]:
    """Where a group might be made: this process's own group, and the groups around it, the nearest first."""
    own = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()}
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    for _, mounted_at, kind, options, *_ in mounts:
        if kind == "cgroup2":
            version, path = 2, own.get("", "/")
        elif kind == "cgroup" and "memory" in options.split(","):
            version = 1
            path = next((own[key] for key in own if "memory" in key.split(",")), "/")
        else:
            continue
        here = Path(mounted_at, path.lstrip("/"))
        for folder in (here, *here.parents):
            if folder.is_relative_to(mounted_at) and folder.is_dir():
                yield _Group(folder, version)
