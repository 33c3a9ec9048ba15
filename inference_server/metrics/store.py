"""Counters in shared memory: a slot for each worker, in it a row for each model, in it the columns below.

A worker writes to its own slot alone, so nothing is locked between processes, and nothing is lost when one is replaced:
its successor goes on in the same slot. Readers sum over the slots. A store is a file in the scratch folder, mapped by
every process of one generation of the server; readers sum over generations too, by the models' names. Knows no HTTP.
"""

from __future__ import annotations

import json
import mmap
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import time

CODES = (200, 400, 404, 405, 408, 413, 415, 417, 500, 501, 503, 504)
OTHER_CODE = len(CODES)
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds; one more column counts what is above."""
STAGES = ("queue", "decode", "predict", "encode")

_CODE_COLUMN = {code: column for column, code in enumerate(CODES)}
DURATION = OTHER_CODE + 1
"""First column of the histogram of whole requests; its sum of seconds follows the buckets."""
DURATION_SUM = DURATION + len(BUCKETS) + 1
STAGE = DURATION_SUM + 1
"""Seconds by stage, of successful requests."""
_QUEUE, _DECODE, _PREDICT, _ENCODE = range(STAGE, STAGE + len(STAGES))
ROWS = STAGE + len(STAGES)
REQUEST_BYTES = ROWS + 1
RESPONSE_BYTES = REQUEST_BYTES + 1
LAST = RESPONSE_BYTES + 1
"""Time of the last request, in seconds of the epoch: its maximum is read, not its sum."""
COLUMNS = LAST + 1

UNKNOWN = ("_unknown", "")
"""The row of requests that name no model that is served: names that callers make up become no labels."""

Key = tuple[str, str]
"""Name and version of a model."""


class Store:
    """One generation's counters, open for writing."""

    def __init__(self, path: Path, keys: Iterable[Key], slots: int) -> None:
        """Make the file. Slots are numbered from 0; the keys come after UNKNOWN."""
        self._keys = [UNKNOWN, *keys]
        size = slots * len(self._keys) * COLUMNS * 8
        path.with_suffix(".json").write_text(json.dumps(self._keys))
        with path.open("w+b") as file:
            file.truncate(size)
            self._memory = memoryview(mmap.mmap(file.fileno(), size)).cast("d")
        self.use_slot(0)

    def use_slot(self, slot: int) -> None:
        """Called in a worker, after the fork."""
        starts = range(slot * len(self._keys) * COLUMNS, (slot + 1) * len(self._keys) * COLUMNS, COLUMNS)
        self._rows = {key: self._memory[start : start + COLUMNS] for key, start in zip(self._keys, starts, strict=True)}

    def observe(
        self, key: Key, code: int, seconds: float, stages: Sequence[float], amounts: tuple[int, int, int]
    ) -> None:
        """Count one request. One thread of a process may: see LockedStore.

        `stages` are the seconds by stage, in the order of STAGES; `amounts` its rows, and the bytes of its body and of
        its answer's.
        """
        cells = self._rows.get(key) or self._rows[UNKNOWN]
        cells[_CODE_COLUMN.get(code, OTHER_CODE)] += 1.0
        cells[DURATION + bisect_left(BUCKETS, seconds)] += 1.0
        cells[DURATION_SUM] += seconds
        rows, request_bytes, response_bytes = amounts
        cells[REQUEST_BYTES] += request_bytes
        cells[RESPONSE_BYTES] += response_bytes
        cells[LAST] = time()
        if code == 200:  # noqa: PLR2004  (success is what the stages are told of)
            cells[ROWS] += rows
            queue, decode, predict, encode = stages
            if queue:
                cells[_QUEUE] += queue
            cells[_DECODE] += decode
            cells[_PREDICT] += predict
            cells[_ENCODE] += encode


class LockedStore(Store):
    """For workers of several threads."""

    def __init__(self, path: Path, keys: Iterable[Key], slots: int) -> None:
        super().__init__(path, keys, slots)
        self._lock = threading.Lock()

    def observe(
        self, key: Key, code: int, seconds: float, stages: Sequence[float], amounts: tuple[int, int, int]
    ) -> None:
        with self._lock:
            super().observe(key, code, seconds, stages, amounts)


def read_stores(folder: Path) -> dict[Key, list[float]]:
    """The columns of every model, summed over workers and over all generations in a folder."""
    totals: dict[Key, list[float]] = {}
    for path in sorted(folder.glob("*.counters")):
        for key, cells in _rows_of(path):
            total = totals.setdefault(key, [0.0] * COLUMNS)
            last = max(total[LAST], cells[LAST])
            totals[key] = [a + b for a, b in zip(total, cells, strict=True)]
            totals[key][LAST] = last
    return totals


def _rows_of(path: Path) -> Iterator[tuple[Key, Sequence[float]]]:
    keys: list[Key] = [(name, version) for name, version in json.loads(path.with_suffix(".json").read_text())]
    cells = memoryview(path.read_bytes()).cast("d")
    for number in range(len(cells) // COLUMNS):
        start = number * COLUMNS
        yield keys[number % len(keys)], cells[start : start + COLUMNS]
