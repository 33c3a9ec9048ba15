"""A worker's own memory: what it does not share with the others. Linux only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from inference_server.logs import Logger

log = Logger("inference_server.memory")

_EVERY_SECONDS = 2.0
_ROLLUP = Path("/proc/self/smaps_rollup")


def private_bytes() -> int:
    """Of this process. Source: kernel documentation, proc, smaps_rollup, in kB."""
    lines = _ROLLUP.read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024


def watch_memory(limit: int, give_up: Callable[[], None]) -> None:
    """Call `give_up` once this process has more than `limit` bytes of its own. Starts a thread."""

    def run() -> None:
        while (size := private_bytes()) <= limit:
            time.sleep(_EVERY_SECONDS)
        log.warning("a worker has too much memory, and is replaced", bytes=size, limit=limit)
        give_up()

    threading.Thread(target=run, name="memory", daemon=True).start()
