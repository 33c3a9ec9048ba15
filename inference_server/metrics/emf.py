"""Metrics for CloudWatch, as lines of the log: what has been counted since the last lines, one for each model.

CloudWatch Logs makes metrics of a line in the embedded metric format, whoever brings it there, so no agent and no
permission is needed. Source: "Specification: Embedded metric format" of the CloudWatch user guide.

What was told last is kept in a file, so that neither a worker's end nor another generation tells it twice or drops it.
They may report at the same time, so there is a lock beside it, which is held until all has been logged: a process that
ends reports once more, and by waiting for its other thread's lines lets that log them.
"""

from __future__ import annotations

import fcntl
import itertools
import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from inference_server.generation_folder import write_document
from inference_server.logs import Logger
from inference_server.metrics import store
from inference_server.metrics.store import Key

log = Logger("inference_server.metrics")

_UNITS = {
    "Requests": "Count",
    "ClientErrors": "Count",
    "ServerErrors": "Count",
    "Rows": "Count",
    "Duration": "Milliseconds",
    "DurationP99": "Milliseconds",
}
_FIRST_SERVER_ERROR = 500
_NOT_OFFERED = 501
"""What the caller wants, and so the caller's error."""


class EmfReporter:
    def __init__(self, folder: Path, namespace: str, totals: Callable[[], Mapping[Key, Sequence[float]]]) -> None:
        self._told = folder / "emf.json"
        self._namespace = namespace
        self._totals = totals
        self._ended = False

    def start(self, seconds: float) -> None:
        """Report now and then. Starts a thread, so it is called after the fork, in one worker."""

        def run() -> None:
            while True:
                time.sleep(seconds)
                self.report()

        threading.Thread(target=run, name="emf", daemon=True).start()

    def report(self, *, last: bool = False) -> None:
        """Log what has been counted since the last time. `last`: this process ends, and is to report no more, as what
        its other thread notes from here on it may not live to log."""
        self._ended = self._ended or last
        try:
            with self._told.with_suffix(".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                if last or not self._ended:
                    self._report()
        except OSError as error:  # a full disk, mostly; what is not told now is told with the next
            log.warning("metrics can't be told", reason=error.strerror)

    def _report(self) -> None:
        now = {json.dumps(key): list(cells) for key, cells in self._totals().items()}
        before: dict[str, list[float]] = json.loads(self._told.read_text()) if self._told.exists() else {}
        write_document(self._told, now)
        for key, cells in now.items():
            since = [a - b for a, b in zip(cells, before.get(key, [0.0] * store.COLUMNS), strict=True)]
            if any(store.by_code(since).values()):
                log.always("metrics", **emf_record(self._namespace, tuple(json.loads(key)), since, _milliseconds()))


def _milliseconds() -> int:
    return int(time.time() * 1000)


def emf_record(namespace: str, key: Key, cells: Sequence[float], milliseconds: int) -> dict[str, Any]:
    """The columns of one model, of the time since the last record, as CloudWatch reads them."""
    counts = store.by_code(cells)
    requests = sum(counts.values())
    server_errors = sum(count for code, count in counts.items() if code >= _FIRST_SERVER_ERROR and code != _NOT_OFFERED)
    values = {
        "Requests": requests,
        "ClientErrors": requests - counts[store.OK] - server_errors,
        "ServerErrors": server_errors,
        "Rows": cells[store.ROWS],
        "Duration": round(1000 * cells[store.DURATION_SUM] / requests, 3),
        "DurationP99": 1000 * quantile(cells[store.DURATION], 0.99),
    }
    metrics = [{"Name": name, "Unit": unit} for name, unit in _UNITS.items()]
    directive = {"Namespace": namespace, "Dimensions": [["Model", "Version"]], "Metrics": metrics}
    return {
        "_aws": {"Timestamp": milliseconds, "CloudWatchMetrics": [directive]},
        "Model": key[0],
        "Version": key[1] or "-",
        **values,
    }


def quantile(counts: Sequence[float], part: float) -> float:
    """Seconds that this part of the requests took at most: the bound of the bucket that it ends in."""
    needed = part * sum(counts)
    bounds = (*store.BUCKETS, 2 * store.BUCKETS[-1])
    return next(bound for bound, count in zip(bounds, itertools.accumulate(counts), strict=True) if count >= needed)
