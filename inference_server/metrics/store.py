"""Counters in shared memory: a slot for each worker, in it a row for each model, in it the columns below.

A worker writes to its own slot alone, so nothing is locked between processes, and nothing is lost when one is replaced:
its successor goes on in the same slot. Readers sum over the slots. A store is a file in the scratch folder, mapped by
every process of one generation of the server; readers sum over generations too, by the models' names. Knows no HTTP.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import threading
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter, time
from typing import TypeAlias

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds; one more column counts what is above."""
STAGES = ("queue", "decode", "predict", "encode")
OK = 200
OTHER = 0
"""Stands for every status that has no column of its own."""
_CODES = (OTHER, 400, 404, 405, 408, 413, 415, 417, 500, 501, 503, 504, OK)

DURATION = slice(0, len(BUCKETS) + 1)
"""Columns of the histogram of whole requests."""
_CODE = DURATION.stop
"""First of the counts by status."""
_CODE_COLUMN = {code: _CODE + number for number, code in enumerate(_CODES)}
DURATION_SUM = _CODE + len(_CODES)
STAGE_SUMS = slice(DURATION_SUM + 1, DURATION_SUM + 1 + len(STAGES))
"""Seconds by stage, of successful requests."""
ROWS = STAGE_SUMS.stop
REQUEST_BYTES = ROWS + 1
RESPONSE_BYTES = REQUEST_BYTES + 1
LAST = RESPONSE_BYTES + 1
"""When the last request ended, by time.perf_counter, which is one clock for all processes; `read_stores` tells it in
seconds of the epoch. Its maximum is read, not its sum."""
COLUMNS = LAST + 1

_SUMS = _CODE_COLUMN[OK]
"""First of the columns that nearly every request adds to, but for the last one."""
_SUMS_AT = _SUMS * 8
_read_sums = struct.Struct(f"{LAST - _SUMS}d").unpack_from
_write_sums = struct.Struct(f"{COLUMNS - _SUMS}d").pack_into

Amounts = tuple[float, float, float, float, float, float, float, float]
"""What a request adds to the columns from DURATION_SUM on: the seconds that it took, those of each stage in the order
of STAGES, its rows, and the bytes of its body and of its answer's."""

Row: TypeAlias = "memoryview[float]"
"""Of one model in one worker's slot: doubles, in the order of the columns."""

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
            # Where the disk is full this says so; memory that turns out not to be there ends the process.
            os.posix_fallocate(file.fileno(), 0, size)
            self._memory = memoryview(mmap.mmap(file.fileno(), size)).cast("d")
        self.use_slot(0)

    def use_slot(self, slot: int) -> None:
        """Called in a worker, after the fork."""
        starts = range(slot * len(self._keys) * COLUMNS, (slot + 1) * len(self._keys) * COLUMNS, COLUMNS)
        self._rows = {key: self._memory[start : start + COLUMNS] for key, start in zip(self._keys, starts, strict=True)}

    def row(self, key: Key) -> Row:
        """Where this process counts a model's requests; UNKNOWN's if it has none of its own."""
        return self._rows.get(key) or self._rows[UNKNOWN]

    def died_of(self, key: Key, code: int) -> None:
        """Count a request that an earlier worker of this slot died of."""
        row = self.row(key)
        row[_CODE_COLUMN[code]] += 1.0
        row[DURATION.stop - 1] += 1.0  # it had no end

    def observe(self, row: Row, code: int, amounts: Amounts, now: float) -> None:
        """Count one request, which ends now. One thread of a process may: see LockedStore."""
        seconds, queue, decode, predict, encode, rows, request_bytes, response_bytes = amounts
        # Where it counts what counting costs, the first bucket is the right one.
        row[0 if seconds <= BUCKETS[0] else bisect_left(BUCKETS, seconds)] += 1.0
        success = 1.0
        if code != OK:
            success = 0.0
            row[_CODE_COLUMN.get(code, _CODE_COLUMN[OTHER])] += 1.0
        # To read and write them together costs half of what it does one by one.
        before = _read_sums(row, _SUMS_AT)
        _write_sums(
            row,
            _SUMS_AT,
            before[0] + success,
            before[1] + seconds,
            before[2] + queue,
            before[3] + decode,
            before[4] + predict,
            before[5] + encode,
            before[6] + rows,
            before[7] + request_bytes,
            before[8] + response_bytes,
            now,
        )


class LockedStore(Store):
    """For workers of several threads."""

    def __init__(self, path: Path, keys: Iterable[Key], slots: int) -> None:
        super().__init__(path, keys, slots)
        self._lock = threading.Lock()

    def observe(self, row: Row, code: int, amounts: Amounts, now: float) -> None:
        with self._lock:
            super().observe(row, code, amounts, now)


def read_stores(folder: Path) -> dict[Key, list[float]]:
    """The columns of every model, summed over workers and over all generations in a folder."""
    totals: dict[Key, list[float]] = {}
    for path in sorted(folder.glob("*.counters")):
        for key, cells in _rows_of(path):
            total = totals.setdefault(key, [0.0] * COLUMNS)
            last = max(total[LAST], cells[LAST])
            totals[key] = [a + b for a, b in zip(total, cells, strict=True)]
            totals[key][LAST] = last
    epoch = time() - perf_counter()
    for total in totals.values():
        total[LAST] += epoch if total[LAST] else 0.0
    return totals


def by_code(cells: Sequence[float]) -> dict[int, float]:
    """How many requests were answered with which status; OTHER stands for the rest."""
    return {code: cells[column] for code, column in _CODE_COLUMN.items()}


def _rows_of(path: Path) -> Iterator[tuple[Key, Sequence[float]]]:
    keys: list[Key] = [(name, version) for name, version in json.loads(path.with_suffix(".json").read_text())]
    cells = memoryview(path.read_bytes()).cast("d")
    for number in range(len(cells) // COLUMNS):
        start = number * COLUMNS
        yield keys[number % len(keys)], cells[start : start + COLUMNS]
