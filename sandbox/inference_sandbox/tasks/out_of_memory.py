"""Whether the kernel has killed a process of a container for memory, asked of the kernel itself.

Engines tell it (`State.OOMKilled`), but some do not see it where versions 1 and 2 of control groups are mixed. With
version 1 the kernel announces it on an eventfd (kernel documentation, "Memory Resource Controller", section 9).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path


class OutOfMemoryWatch:
    """Watches the control group of a process of this machine, until `close`. Made within an event loop.

    `happened` stays False where there is no version 1 group, or where this user may not look at it.
    """

    def __init__(self, pid: int) -> None:
        self.happened = False
        self._descriptors: list[int] = []
        with contextlib.suppress(OSError):
            self._begin(_memory_group(pid))

    def close(self) -> None:
        if self._descriptors:
            asyncio.get_running_loop().remove_reader(self._descriptors[-1])
        for descriptor in self._descriptors:
            os.close(descriptor)
        self._descriptors = []

    def _begin(self, group: Path | None) -> None:
        if group is None:
            return
        control = os.open(group / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        self._descriptors.append(control)
        event = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._descriptors.append(event)
        (group / "cgroup.event_control").write_text(f"{event} {control}")
        asyncio.get_running_loop().add_reader(event, self._announced, control, event)

    def _announced(self, control: int, event: int) -> None:
        """The end of the group is announced too: then its file can be read no more."""
        with contextlib.suppress(OSError):
            os.eventfd_read(event)
            os.pread(control, 1, 0)
            self.happened = True


def _memory_group(pid: int) -> Path | None:
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    path = next((line.split(":", 2)[2] for line in lines if "memory" in line.split(":", 2)[1].split(",")), None)
    if path is None:
        return None
    for mount in Path("/proc/self/mounts").read_text().splitlines():
        _, folder, kind, options, *_ = mount.split()
        if kind == "cgroup" and "memory" in options.split(","):
            return Path(folder, path.lstrip("/"))
    return None
