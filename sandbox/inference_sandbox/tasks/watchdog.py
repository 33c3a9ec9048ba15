"""A tiny program that outlives the sandbox just long enough to end what the sandbox started.

A task must not outlive its sandbox, not even one that was killed with SIGKILL, and a container's grandchildren no more
than its first process. So the runner keeps this program beside it and tells it over a pipe which process groups are
alive (`+123`, `-123`, one a line). When the pipe closes, whatever the cause, the groups that are left are killed, and
the control group given as argument, if any, is removed. Run as a script: it imports the standard library alone.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterable
from pathlib import Path

_REMOVAL_DEADLINE = 5.0


def main(lines: Iterable[str], cgroup: Path | None) -> None:
    alive: set[int] = set()
    for line in lines:
        group = int(line[1:])
        (alive.add if line.startswith("+") else alive.discard)(group)
    for group in alive:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)
    if cgroup is not None:
        _remove(cgroup)


def _remove(cgroup: Path) -> None:
    deadline = time.monotonic() + _REMOVAL_DEADLINE
    while cgroup.exists() and time.monotonic() < deadline:
        for folder in sorted(filter(Path.is_dir, (cgroup, *cgroup.rglob("*"))), reverse=True):
            with contextlib.suppress(OSError):
                for pid in (folder / "cgroup.procs").read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
                folder.rmdir()
        time.sleep(0.05)


if __name__ == "__main__":
    main(sys.stdin, Path(sys.argv[1]) if len(sys.argv) > 1 else None)
