"""What a log router tells of itself: its counters, a JSON line every few minutes, and its errors. Pure.

Counters are Fluent Bit's `/api/v1/metrics` (Fluent Bit manual, Monitoring). They count from the router's start, so two
lines of one router are a rate. An S3 output counts a line once it is on the task's disk. Those of an upload that fails
it counts as dropped, although it keeps them and tries again; that it gives them up is told by a line alone (out_s3's
cb_s3_flush and s3_upload_queue).

What was lost is told for as long as it is looked back; what is merely late only while it lasts, which is the time from
the routers' last counters but one.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from inference_operator.fluentbit.rendering import DEBUG

PERIOD: Final = timedelta(minutes=5)
"""How often a router tells its counters."""

_ERROR: Final = "[error] ["
"""With the name of a part of Fluent Bit. Without one it is about a line that is passed on as it is."""
_OF_S3: Final = "[output:s3:"
_GIVEN_UP: Final = "will not retry"
_TOO_LONG: Final = ("Discarding massive", "Discarding large")
"""Of CloudWatch's output and of Firehose's, which do not count such a line as dropped."""

_ANSWERING: Final = ("getaddrinfo", "reason", "is not authorized to perform")
"""Of what tells why, beside or below an error: a name that is not found, and the answers of OpenSearch."""

COUNTERS: Final = '"dropped_records"'
PATTERN: Final = " ".join([f"?{COUNTERS}", *(f'?"{text}"' for text in (_ERROR, _GIVEN_UP, *_TOO_LONG, *_ANSWERING))])
"""Of FilterLogEvents: lines with any of these ("Filter and pattern syntax")."""

DEBUG_NAME: Final = "debugUntil"
"""What the flow of `debugUntil` is called."""

_DAY: Final = timedelta(days=1)
_EVER: Final = datetime.min.replace(tzinfo=UTC) + PERIOD
_WHY: Final = re.compile("responded with error=|HTTP status=|error: Output|not found|timed out|exceeded|certificate")
_BELOW: Final = re.compile("(?:response:|error: Output)$")
_NO_NAME: Final = re.compile(r"getaddrinfo\(.*")
_ANSWER: Final = re.compile(
    r'"(?:[Mm]essage|type"\s*:\s*"(?!version_conflict)(?P<type>\w+)",\s*"reason)"\s*:\s*'
    r'"(?P<text>(?:[^"\\]|\\.)*?)(?: Preview of .*?)?"'
)
"""What OpenSearch says of a request, or of the first line that it refuses, without what was in that line. That it has
one already is no refusal."""
SOME: Final = "a destination"
_COUNTED: Final = ("proc_records", "proc_bytes", "dropped_records", "retries_failed", "retries", "errors")


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
    """Lines."""
    delayed: bool = False
    """Whether it is not reached at once."""

    def __add__(self, other: Flow) -> Flow:
        return Flow(
            records_per_day=self.records_per_day + other.records_per_day,
            bytes_per_day=self.bytes_per_day + other.bytes_per_day,
            dropped=self.dropped + other.dropped,
            delayed=self.delayed or other.delayed,
        )


@dataclass(frozen=True, kw_only=True)
class Report:
    routers: int = 0
    """That told their counters."""
    flows: Mapping[str, Flow] = field(default_factory=dict)
    """By destination."""
    objects_lost: Mapping[str, int] = field(default_factory=dict)
    """By destination in S3: how many objects were given up. How many lines they had is not told."""
    too_long: Mapping[str, int] = field(default_factory=dict)
    """By destination: how many lines it did not take."""
    error: str | None = None
    """What a router told last of what goes wrong."""
    failing: frozenset[str] = frozenset()
    """The destinations of which there are errors still; of an error that names none, `SOME`."""

    @property
    def dropped(self) -> Mapping[str, int]:
        return {name: flow.dropped for name, flow in self.flows.items() if flow.dropped}

    @property
    def delayed(self) -> Sequence[str]:
        """Destinations that are not reached at once."""
        names = self.failing | {name for name, flow in self.flows.items() if flow.delayed}
        return sorted(names - {SOME} or names)


Counters = Mapping[str, Mapping[str, int]]
Series = Sequence[tuple[datetime, Counters]]


def report(lines: Iterable[Said]) -> Report:
    """Of the lines of some minutes, in any order."""
    told: dict[str, dict[datetime, Counters]] = {}
    errors: list[Said] = []
    lost: Counter[str] = Counter()
    too_long: Counter[str] = Counter()
    answer: str | None = None
    for line in sorted(lines, key=lambda line: line.at):
        counters = _counters(line.text)
        if counters is not None:
            told.setdefault(line.stream, {})[line.at] = counters
        elif _GIVEN_UP in line.text:
            lost[_output(line.text)] += 1
        elif any(text in line.text for text in _TOO_LONG):
            too_long[_output(line.text)] += 1
        elif _ERROR in line.text:
            errors.append(line)
        else:
            answer = _answer(line.text) or answer
    lately = max((max(series) for series in told.values()), default=_EVER) - PERIOD
    in_s3 = {_output(error.text) for error in errors if _OF_S3 in error.text}
    flows: dict[str, Flow] = {}
    for series in told.values():
        for name, flow in _flows(list(series.items()), lately, in_s3).items():
            flows[name] = flows.get(name, Flow()) + flow
    return Report(
        routers=len(told),
        flows=dict(sorted(flows.items())),
        objects_lost=dict(sorted(lost.items())),
        too_long=dict(sorted(too_long.items())),
        error=_telling(errors, answer),
        failing=frozenset(_output(error.text) for error in errors if error.at > lately),
    )


def _output(text: str) -> str:
    found = re.search(r"\[output:[^:\]]+:([^\]]+)\]", text)
    return _named(found[1]) if found else SOME


def _named(alias: str) -> str:
    return alias.replace(DEBUG, DEBUG_NAME)


def _telling(errors: Sequence[Said], answer: str | None) -> str | None:
    """The latest error that says why, or is at least an output's: others tell only that something was in vain. With
    what answered, where the error has none itself."""
    texts = [error.text.partition("[error]")[2].strip() for error in reversed(errors)]
    told = max(texts, key=lambda text: (bool(_WHY.search(text)), text.startswith("[output:")), default=None)
    if answer is None or told is None:
        return told or answer
    return f"{told} {answer}" if _BELOW.search(told) or not _WHY.search(told) else told


def _answer(text: str) -> str | None:
    if found := _NO_NAME.search(text):
        return found[0]
    if found := _ANSWER.search(text):
        return f"{found['type']}: {found['text']}" if found["type"] else found["text"]
    return None


def _counters(text: str) -> Counters | None:
    try:
        outputs = json.loads(text)["output"]
        return {
            _named(str(name)): {key: int(counted.get(key, 0)) for key in _COUNTED}
            for name, counted in outputs.items()
            if not str(name).startswith("null.")
        }
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _flows(series: Series, lately: datetime, in_s3: Collection[str]) -> Mapping[str, Flow]:
    """Of one router. One that told its counters once has just started, and counts from there."""
    last_at, last = series[-1]
    first_at, first = series[0] if len(series) > 1 else (last_at - PERIOD, {})
    before = next((counters for at, counters in reversed(series[:-1]) if at <= lately), first)
    days = max(last_at - first_at, timedelta(seconds=1)) / _DAY

    def since(earlier: Counters, name: str, key: str) -> int:
        return max(0, last[name][key] - earlier.get(name, {}).get(key, 0))

    def dropped(name: str) -> int:
        kept = name in in_s3 and not since(first, name, "retries_failed")
        return 0 if kept else since(first, name, "dropped_records")

    return {
        name: Flow(
            records_per_day=since(first, name, "proc_records") / days,
            bytes_per_day=since(first, name, "proc_bytes") / days,
            dropped=dropped(name),
            delayed=last_at > lately and any(since(before, name, key) for key in ("retries", "errors")),
        )
        for name in last
    }
