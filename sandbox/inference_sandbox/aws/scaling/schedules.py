"""When a scheduled action is due next: `at(…)`, `rate(…)` and `cron(…)` (Application Auto Scaling user guide, "Schedule
recurring scaling actions using cron expressions"; API reference, PutScheduledAction).

Pure functions of an expression and of times. This module must not know what a scheduled action does.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

UNITS = {"minute": timedelta(minutes=1), "hour": timedelta(hours=1), "day": timedelta(days=1)}
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
"""1 to 7 in an expression."""
HORIZON = timedelta(days=366 * 8)
"""How far ahead a cron expression is searched: across one leap day that a century leaves out."""
FIELDS = 6


def next_due(expression: str, timezone: str, after: datetime, anchor: datetime) -> datetime | None:
    """The first moment after `after`; None if there is none. A rate counts from `anchor`. ValueError: no expression."""
    kind, _, inner = expression.strip().removesuffix(")").partition("(")
    zone = ZoneInfo(timezone)
    match kind:
        case "at":
            when = datetime.fromisoformat(inner).replace(tzinfo=zone).astimezone(UTC)
            return when if when > after else None
        case "rate":
            return _next_rate(inner, after, anchor)
        case "cron":
            return _next_cron(inner, zone, after)
    raise ValueError(f"{expression!r} is no at(…), rate(…) or cron(…) expression")


def _next_rate(inner: str, after: datetime, anchor: datetime) -> datetime:
    value, _, unit = inner.partition(" ")
    every = int(value) * UNITS[unit.removesuffix("s")] if unit.removesuffix("s") in UNITS else timedelta()
    if every <= timedelta():
        raise ValueError(f"{inner!r} is no rate such as 5 minutes, 1 hour or 2 days")
    if after < anchor:
        return anchor
    return anchor + ((after - anchor) // every + 1) * every


def _next_cron(inner: str, zone: ZoneInfo, after: datetime) -> datetime | None:
    fields = inner.upper().split()
    if len(fields) != FIELDS:
        raise ValueError(f"{inner!r} has {len(fields)} fields: minutes hours day-of-month month day-of-week year")
    minutes, hours = _numbers(fields[0], 0, 59), _numbers(fields[1], 0, 23)
    start = after.astimezone(zone)
    for day in _days(fields[2:], start.date(), (start + HORIZON).date()):
        for hour in sorted(hours):
            for minute in sorted(minutes):
                local = datetime.combine(day, time(hour, minute), zone)
                when = local.astimezone(UTC)
                if when > after and when.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
                    return when  # a time that a change to summer time leaves out is not one
    return None


def _days(fields: list[str], first: date, last: date) -> Iterator[date]:
    in_month, months, in_week, years = fields
    named = _numbers(months, 1, 12, MONTHS)
    wanted_years = _numbers(years, 1970, 2199)
    if in_month != "?" and in_week != "?" and "*" not in (in_month, in_week):
        raise ValueError("day-of-month and day-of-week can't both be given: write ? for one of them")
    _check_days(in_month, in_week)
    day = first
    while day <= last:
        if day.year in wanted_years and day.month in named and _is_day(day, in_month, in_week):
            yield day
        day += timedelta(days=1)


def _check_days(in_month: str, in_week: str) -> None:
    """Raises ValueError for what `_is_day` could not read."""
    for day in (date(2024, 2, 29), date(2024, 3, 1)):
        _in_month(day, in_month)
        _in_week(day, in_week)


def _is_day(day: date, in_month: str, in_week: str) -> bool:
    return _in_month(day, in_month) and _in_week(day, in_week)


def _in_month(day: date, field: str) -> bool:
    last = calendar.monthrange(day.year, day.month)[1]
    if field == "L":
        return day.day == last
    nearest = re.fullmatch(r"(\d{1,2}|L)W", field)
    if nearest:
        aimed = last if nearest[1] == "L" else int(nearest[1])
        return aimed <= last and day == _nearest_weekday(day.replace(day=aimed), last)
    return field == "?" or day.day in _numbers(field, 1, 31)


def _nearest_weekday(aimed: date, last: int) -> date:
    """Within the same month."""
    match aimed.weekday():
        case 5:
            return aimed + timedelta(days=-1 if aimed.day > 1 else 2)
        case 6:
            return aimed + timedelta(days=1 if aimed.day < last else -2)
    return aimed


def _in_week(day: date, field: str) -> bool:
    number = day.isoweekday() % 7 + 1  # 1 is Sunday
    if field == "L":
        return number == len(WEEKDAYS)
    special = re.fullmatch(r"(\w+?)(?:#([1-5])|L)", field)
    if special and _one(special[1], WEEKDAYS) is not None:
        if number != _one(special[1], WEEKDAYS):
            return False
        if special[2]:
            return (day.day - 1) // 7 + 1 == int(special[2])
        return day.day + 7 > calendar.monthrange(day.year, day.month)[1]
    return field == "?" or number in _numbers(field, 1, 7, WEEKDAYS)


def _numbers(field: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    """The values of a field with `*`, `,`, `-` and `/`."""
    if field == "?":
        return set(range(low, high + 1))
    found: set[int] = set()
    for part in field.split(","):
        span, slash, step = part.partition("/")
        first, dash, end = span.partition("-")
        start = low if first in ("*", "") else _one(first, names)
        stop = _one(end, names) if dash else high if slash or first == "*" else start
        if start is None or stop is None or not (low <= start <= high and low <= stop <= high):
            raise ValueError(f"{part!r} is not within {low} to {high}")
        values = range(start, stop + 1) if start <= stop else (*range(start, high + 1), *range(low, stop + 1))
        found |= set(values[:: int(step) if slash else 1])
    return found


def _one(text: str, names: tuple[str, ...]) -> int | None:
    if text in names:
        return names.index(text) + 1
    return int(text) if text.isdigit() else None
