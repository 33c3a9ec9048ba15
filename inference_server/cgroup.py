"""What the container may use, as the kernel enforces it: a task with half a CPU still sees all cores of its host.

Reads cgroup v2 (`cpu.max`) and v1 (`cpu.cfs_quota_us`). Source: kernel documentation, cgroup-v2 and sched-bwc.
"""

from __future__ import annotations

import math
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def cpu_quota(root: Path = CGROUP) -> float | None:
    """The number of CPUs that the cgroup may use; None if it is not limited."""
    v2 = _read(root / "cpu.max").split()
    if len(v2) == 2:  # noqa: PLR2004  (the file holds "<quota> <period>")
        quota, period = v2
    else:
        quota, period = _read(root / "cpu" / "cpu.cfs_quota_us"), _read(root / "cpu" / "cpu.cfs_period_us")
    if not quota.isdigit() or not period.isdigit() or int(period) == 0:
        return None
    return int(quota) / int(period)


def cpus(root: Path = CGROUP) -> int:
    """Whole CPUs to plan for: the quota rounded up, and no more than the process may be scheduled on."""
    available = len(os.sched_getaffinity(0))
    quota = cpu_quota(root)
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
