"""Where a line goes: the meaning of routes, in Python. What is rendered for Fluent Bit must agree with it.

`goes_to` is the whole rule; below it is how a line is understood.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from inference_operator.api.logging import FieldMatch, Match, Route
from inference_operator.api.patterns import compiled

LEVELS: Final[Mapping[str, Sequence[str]]] = {
    "DEBUG": ("debug", "trace", "10"),
    "INFO": ("info", "notice", "20"),
    "WARNING": ("warning", "warn", "30"),
    "ERROR": ("error", "traceback", "40"),
    "CRITICAL": ("critical", "fatal", "50"),
}
"""The names of each level, and its number in Python's logging."""

START: Final = "start_state"
LEVEL_MEMBERS: Final = ("level", "levelname", "severity")
LEVEL_IN_TEXT: Final = (
    r"\A.{0,100}?(?:(?<![A-Za-z0-9_])|\x1b\[[0-9;]*m)"
    r"(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)(?![A-Za-z0-9_])"
)
"""As a word; the sequence that colours it ends with a letter."""
_GROUPED: Final = r"  \+ Exception Group "
TRACEBACK: Final = rf"\A(?:{_GROUPED})?(?P<level>Traceback) \(most recent call last\):"
REQUEST_LINE: Final = r'"[A-Z]{3,7} (?P<path>/[^\s?"]*)'
_BEGINNING: Final = r"^Traceback \(most recent call last\):"
_GROUP: Final = rf"^{_GROUPED}Traceback \(most recent call last\):"
JOINING: Final = (
    (START, _BEGINNING, "in"),
    (START, _GROUP, "group"),
    ("in", r"^(?:\s+.*|)$", "in"),
    ("in", r"^[A-Za-z_][\w.]*(?::.*)?$", "after"),
    ("group", r"^\s+[|+]", "group"),
    ("group", "^$", "between"),
    ("after", "^$", "between"),
    ("between", "^(?:During handling of|The above exception was)", "between"),
    ("between", "^$", "between"),
    ("between", _BEGINNING, "in"),
    ("between", _GROUP, "group"),
)
"""Which lines are one traceback, chained ones whole: in a state, a line that matches leads to another state."""

HELPER: Final = "_rt_"
"""What the names of the router's own members begin with."""
_UNDERSCORE: Final = r"(?:_|\\u005[fF])"
HELPER_IN_JSON: Final = (
    rf"(?<!\\)\x22{_UNDERSCORE}(?:r|\\u0072)(?:t|\\u0074){_UNDERSCORE}(?>[^\x22\\]++|\\[\s\S])*+\x22\s*:"
)
"""A line that has such a member, spelled out or escaped. It is not parsed. What a text says or quotes makes no
difference: else who writes it could keep a line's secrets from being redacted."""
DEPTH: Final = 60
"""Objects and lists in one another that a line may have, itself counted. The router loses one of 64, and what came
with it, and ends at thousands: MSGPACK_EMBED_STACK_SIZE of Fluent Bit, and its stack."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """What a container wrote: a line, or a traceback whole."""

    text: str
    container: str = "app"
    source: str = "stdout"


@dataclass(frozen=True, kw_only=True)
class Record:
    """A line as routes see it."""

    line: Line
    members: Mapping[str, Any] = field(default_factory=dict)
    """Of a JSON line; of another one only `log`, the line itself."""
    level: str = ""
    path: str = ""
    message: str = ""


def goes_to(record: Record, routes: Sequence[Route], *, dice: float) -> tuple[int, frozenset[str]]:
    """The number of the route that takes a record, and the destinations that get it. `dice` is from [0, 1)."""
    for number, route in enumerate(routes):
        if route.match is None or takes(route.match, record):
            kept = route.sample_percent is None or dice * 100 < route.sample_percent
            return number, frozenset(route.to if kept else ())
    raise ValueError("the last route must be without match")


def takes(match: Match, record: Record) -> bool:
    """Whether all that a match says is true of a record."""
    return (
        (not match.levels or any(record.level.lower() in LEVELS[level] for level in match.levels))
        and all(_field_is(asked, record.members) for asked in match.fields)
        and (match.source is None or record.line.source == match.source)
        and (match.path is None or _path_is(match.path, record.path))
        and (match.regex is None or (record.message != "" and _finds(match.regex, record.message)))
        and (match.container is None or record.line.container == match.container)
    )


def understood(line: Line) -> Record:
    """A line with what routes ask of it."""
    members = _members(line.text)
    log = _text(members.get("log"))
    request = re.search(REQUEST_LINE, log, re.ASCII)
    return Record(
        line=line,
        members=members,
        level=_level(members, log),
        path=_text(members.get("path")) or (request["path"] if request else ""),
        message=_text(members.get("message")) or log,
    )


def joined(texts: Iterable[str]) -> Iterator[str]:
    """Lines, with those of a traceback made one."""
    held: list[str] = []
    state = START
    for text in texts:
        following = _following(state, text)
        if following is None and held:
            yield "\n".join(held)
            held, following = [], _following(START, text)
        if following is None:
            yield text
        else:
            held.append(text)
        state = following or START
    if held:
        yield "\n".join(held)


def _following(state: str, text: str) -> str | None:
    found = (after for before, regex, after in JOINING if before == state and re.search(regex, text, re.ASCII))
    return next(found, None)


def _members(text: str) -> Mapping[str, Any]:
    if not re.search(HELPER_IN_JSON, text):
        try:
            found = _JSON.decode(text)
            return found if isinstance(found, dict) and depth(found) <= DEPTH else {"log": text}
        except (ValueError, RecursionError):
            return {"log": text}
    return {"log": text}


def depth(value: Any) -> int:
    """How many objects and lists are in one another."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def _number(text: str) -> float:
    """As the router's JSON parser has it: what 64 bits can't hold is a fraction, what no fraction can hold no JSON."""
    if text.lstrip("-").isdigit() and -(2**63) <= int(text) < 2**64:
        return int(text)
    if math.isinf(number := float(text)):
        raise ValueError(f"{text} is too large")
    return number


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is no number of JSON")


_JSON: Final = json.JSONDecoder(parse_int=_number, parse_float=_number, parse_constant=_no_number, strict=False)


def _level(members: Mapping[str, Any], log: str) -> str:
    if _is_whole(number := members.get("level")):
        return str(number)
    named = next((text for text in (_text(members.get(name)) for name in LEVEL_MEMBERS) if text), None)
    if named is not None:
        return named
    found = re.search(TRACEBACK, log) or re.search(LEVEL_IN_TEXT, log, re.ASCII)
    return found["level"] if found else ""


def _path_is(asked: str, path: str) -> bool:
    if asked.endswith("*"):
        return path.startswith(asked[:-1])
    return path.partition("?")[0] == asked


def _field_is(asked: FieldMatch, members: Mapping[str, Any]) -> bool:
    value: Any = members
    for name in asked.name.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    if asked.regex is not None:
        return isinstance(value, (str, bool)) and _finds(asked.regex, _text(value))
    if _is_whole(value):
        return "." not in asked.name and str(value) in asked.values
    return isinstance(value, (str, bool)) and _text(value) in asked.values


def _is_whole(value: Any) -> bool:
    """A number that the router can make a text of."""
    return isinstance(value, int) and not isinstance(value, bool) and value < 2**63


def _finds(regex: str, text: str) -> bool:
    return compiled(regex).search(text) is not None


def _text(value: Any) -> str:
    """As the router's conditions see it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else ""
