"""Durations as people write them: `90s`, `10m`, `1h30m`, `2d`."""

from __future__ import annotations

import re
from datetime import timedelta

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_WRITTEN = re.compile("".join(rf"(?:(?P<{unit}>\d+){unit})?" for unit in _UNITS))


def parse(text: str) -> timedelta:
    """Raises ValueError for what is no duration above zero."""
    found = _WRITTEN.fullmatch(text.strip())
    given = {unit: int(count) for unit, count in found.groupdict().items() if count} if found else {}
    seconds = sum(count * _UNITS[unit] for unit, count in given.items())
    if not seconds:
        raise ValueError(f"{text!r}: write a duration above zero, e.g. 90s, 10m, 1h30m or 2d")
    return timedelta(seconds=seconds)


def written(duration: timedelta) -> str:
    """The two largest units: `3s`, `10m`, `1h 30m`; `0s` for none."""
    left, parts = int(duration.total_seconds()), []
    for unit, size in _UNITS.items():
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
