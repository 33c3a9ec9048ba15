"""What a log router tells of itself: its counters, a JSON line every few minutes, and its errors. Pure.

Counters are Fluent Bit's `/api/v1/metrics` (Fluent Bit manual, Monitoring). They count from the router's start, so two
lines of one router are a rate. An S3 output counts a line once it is on the task's disk: that its upload fails is told
by error lines alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from inference_operator.fluentbit.rendering import DEBUG

PERIOD: Final = timedelta(minutes=5)
"""How often a router tells its counters."""

PATTERN: Final = '?"dropped_records" ?"[error]"'
"""Of FilterLogEvents: lines with one or the other ("Filter and pattern syntax")."""

DEBUG_NAME: Final = "debugUntil"
"""What the flow of `debugUntil` is called."""

_DAY: Final = timedelta(days=1)
_COUNTERS: Final = ("proc_records", "proc_bytes", "dropped_records", "retries_failed", "retries", "errors")


@dataclass(frozen=True, kw_only=True)
class Said:
    """A line of a router's own log."""

    stream: str
    """Of one router."""
    at: datetime
    text: str


@dataclass(frozen=True, kw_only=True)
class Flow:
    """What went to one destination, of all routers together."""

    records_per_day: float = 0
    bytes_per_day: float = 0
    """As they wait in the router, before compression."""
    dropped: int = 0
    retries: int = 0
    errors: int = 0

    def __add__(self, other: Flow) -> Flow:
        return Flow(
            records_per_day=self.records_per_day + other.records_per_day,
            bytes_per_day=self.bytes_per_day + other.bytes_per_day,
            dropped=self.dropped + other.dropped,
            retries=self.retries + other.retries,
            errors=self.errors + other.errors,
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    routers: int = 0
    """That told their counters."""
    flows: Mapping[str, Flow] = field(default_factory=dict)
    """By destination."""
    error: str | None = None
    """The latest error that a router told."""

    @property
    def dropped(self) -> Mapping[str, int]:
        return {name: flow.dropped for name, flow in self.flows.items() if flow.dropped}

    @property
    def troubled(self) -> Sequence[str]:
        """Destinations that are not reached at once."""
        return [name for name, flow in self.flows.items() if flow.retries or flow.errors]


Counters = Mapping[str, Mapping[str, int]]


def report(lines: Iterable[Said]) -> Report:
    """Of the lines of some minutes, in any order."""
    told: dict[str, list[tuple[datetime, Counters]]] = {}
    errors = []
    for line in sorted(lines, key=lambda line: line.at):
        counters = _counters(line.text)
        if counters is not None:
            told.setdefault(line.stream, []).append((line.at, counters))
        elif "[error]" in line.text:
            errors.append(line.text.partition("[error]")[2].strip())
    flows: dict[str, Flow] = {}
    for series in told.values():
        for name, flow in _flows(series).items():
            flows[name] = flows.get(name, Flow()) + flow
    return Report(routers=len(told), flows=dict(sorted(flows.items())), error=errors[-1] if errors else None)


def _counters(text: str) -> Counters | None:
    try:
        outputs = json.loads(text)["output"]
        return {
            str(name).replace(DEBUG, DEBUG_NAME): {key: int(counted.get(key, 0)) for key in _COUNTERS}
            for name, counted in outputs.items()
            if not str(name).startswith("null.")
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _flows(series: Sequence[tuple[datetime, Counters]]) -> Mapping[str, Flow]:
    """Of one router. One that told its counters once has just started, and counts from there."""
    last_at, last = series[-1]
    first_at, first = series[0] if len(series) > 1 else (last_at - PERIOD, {})
    days = max(last_at - first_at, timedelta(seconds=1)) / _DAY

    def flow(name: str, counted: Mapping[str, Any]) -> Flow:
        new = {key: max(0, counted[key] - first.get(name, {}).get(key, 0)) for key in _COUNTERS}
        return Flow(
            records_per_day=new["proc_records"] / days,
            bytes_per_day=new["proc_bytes"] / days,
            dropped=new["dropped_records"] + new["retries_failed"],
            retries=new["retries"],
            errors=new["errors"],
        )

    return {name: flow(name, counted) for name, counted in last.items()}
