"""Fluent Bit's part in routing, played in Python from the text of a configuration: filters in order, tags, outputs.

It knows what Fluent Bit documents of these filters, and no route. What it can't play (joining, waiting, sending) it
takes as done: lines come whole.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_operator.fluentbit.masking import MASKED
from inference_operator.fluentbit.rendering import ONE_OBJECT, Configuration
from inference_operator.fluentbit.routing import DEPTH, Line, depth

Record = dict[str, Any]
Entries = Sequence[tuple[str, str]]
TASK_ID = "0123456789abcdef0123456789abcdef"
JOINING = "multiline"


@dataclass(frozen=True)
class Section:
    kind: str
    entries: Entries

    def get(self, key: str, default: str = "") -> str:
        return next((value for name, value in self.entries if name.lower() == key.lower()), default)

    def all(self, key: str) -> Iterator[str]:
        return (value for name, value in self.entries if name.lower() == key.lower())

    def takes(self, tag: str) -> bool:
        if regex := self.get("Match_Regex"):
            return onigmo(regex).search(tag) is not None
        return re.fullmatch(re.escape(self.get("Match")).replace(r"\*", ".*"), tag) is not None


def sections(text: str) -> list[Section]:
    found: list[tuple[str, list[tuple[str, str]]]] = []
    for line in text.splitlines():
        if line.startswith("["):
            found.append((line.strip("[]"), []))
        elif line.startswith(" "):
            key, value = line.split(None, 1)
            found[-1][1].append((key, value.rstrip()))
    return [Section(kind, entries) for kind, entries in found]


class OneObject:
    """For the one pattern that calls itself, which Python's cannot."""

    def search(self, text: str) -> Any:
        try:
            found, end = json.JSONDecoder(strict=False).raw_decode(text.strip())
            return (end == len(text.strip()) and text.strip().startswith("{") and depth(found) <= DEPTH) or None
        except (ValueError, RecursionError):
            return None  # nor does the JSON parser take it


def onigmo(regex: str) -> re.Pattern[str] | OneObject:
    if regex == ONE_OBJECT:
        return OneObject()
    translated = regex.replace(r"\z", r"\Z").replace("(?<_", "(?P<_")
    return re.compile(translated, re.ASCII | re.MULTILINE)


def received(configuration: Configuration, line: Line) -> list[tuple[str, Record]]:
    """The outputs, by alias (or by name, where there is none), that get a line, and the record that each gets."""
    parsers = {section.get("Name"): section for section in sections(configuration.parsers)}
    main = sections(configuration.main)
    record: Record = {"container_id": "0", "container_name": "/x", "source": line.source, "log": line.text}
    tag = f"{line.container}-firelens-{TASK_ID}"
    for _ in range(3):  # an emitted record goes through all filters again; more often would be a circle
        emitted = None
        for section in main:
            if section.kind == "FILTER" and section.takes(tag):
                if section.get("Name") == "rewrite_tag":
                    emitted = _rewritten(section, tag, record)
                    if emitted is not None:
                        break
                else:
                    record = FILTERS[section.get("Name")](section, record, parsers)
        if emitted is None:
            outputs = [s for s in main if s.kind == "OUTPUT" and s.takes(tag)]
            return [(s.get("Alias", s.get("Name")), record) for s in outputs]
        tag = emitted
    raise AssertionError(f"the tag {tag} goes round")


def _rewritten(section: Section, tag: str, record: Record) -> str | None:
    key, regex, new_tag, keep = section.get("Rule").split(" ")
    assert keep == "false"
    value = record.get(key.removeprefix("$"))
    match = onigmo(regex).search(value) if isinstance(value, str) else None
    return new_tag.replace("$1", match[1]).replace("$TAG", tag) if match else None


def _value(record: Record, accessor: str) -> Any:
    """In Fluent Bit an accessor to a member of what is neither an object nor a list is one to that itself."""
    if not accessor.startswith("$"):
        return record.get(accessor)
    first, *rest = re.findall(r"[^$\[\]']+", accessor)
    assert re.fullmatch(r"(?!TAG)[A-Za-z_][A-Za-z0-9_./-]*", first), "it would be another member's name, or the tag"
    value = record.get(first)
    for name in rest if isinstance(value, (Mapping, list)) else ():
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _holds(condition: str, record: Record) -> bool:
    kind, key, *rest = condition.split(" ")
    value = _value(record, key)
    if kind.lower() == "key_exists":
        return key in record
    text = ("false", "true")[value] if isinstance(value, bool) else value
    matches = isinstance(text, str) and onigmo(rest[0]).search(text) is not None
    return matches == {"key_value_matches": True, "key_value_does_not_match": False}[kind.lower()]


def _modify(section: Section, record: Record, _: Mapping[str, Section]) -> Record:
    if not all(_holds(condition, record) for condition in section.all("Condition")):
        return record
    out = dict(record)
    for key, value in section.entries:
        first, _sep, second = value.partition(" ")
        match key.lower():
            case "rename" if first in out and second not in out:
                out[second] = out.pop(first)
            case "hard_rename" if first in out:
                out[second] = out.pop(first)
            case "hard_copy" if first in out:
                out[second] = out[first]
            case "add" if first not in out:
                out[first] = second
            case "set":
                out[first] = second
            case "remove":
                out.pop(first, None)
            case "remove_regex":
                out = {name: member for name, member in out.items() if not onigmo(first).search(name)}
    return out


def _parser(section: Section, record: Record, parsers: Mapping[str, Section]) -> Record:
    key = section.get("Key_Name")
    text = record.get(key)
    assert section.get("Reserve_Data") == "On"
    kept = record if section.get("Preserve_Key") == "On" else {k: v for k, v in record.items() if k != key}
    for name in section.all("Parser"):
        members = _parsed(parsers[name], text) if isinstance(text, str) else None
        if members is not None:
            return {**kept, **members}
    return record


def _parsed(parser: Section, text: str) -> Record | None:
    if parser.get("Format") == "json":
        try:
            found = json.loads(text, strict=False, parse_float=_finite, parse_constant=_finite)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, dict) else None
    match = onigmo(parser.get("Regex")).search(text)
    return match.groupdict() if match else None


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"the JSON parser takes no {text}")
    return number


def _record_modifier(section: Section, record: Record, _: Mapping[str, Section]) -> Record:
    out = dict(record)
    for value in section.all("Record"):
        name, _sep, text = value.partition(" ")
        out[name] = text
    if key := section.get("Uuid_Key"):
        out[key] = str(uuid.uuid4())
    return out


def _type_converter(section: Section, record: Record, _: Mapping[str, Section]) -> Record:
    key, new_key, kind = section.get("int_key").split(" ")
    assert kind == "string"
    value = record.get(key)
    whole = isinstance(value, int) and not isinstance(value, bool)
    return {**record, new_key: str(value) if whole else value} if key in record else record


def _lua(section: Section, record: Record, _: Mapping[str, Section]) -> Record:
    """The one script that there is, as it is meant; that it does so is for the real router to show."""
    assert section.get("Call") == "mask"
    told = re.fullmatch(r"local paths = \{(.*?)\} local function (.*)", section.get("Code"))
    assert told is not None
    asked = {path: json.loads(text or "null") for path, text in re.findall(r"\[\"(.+?)\"\] = '(.*?)'", told[1])}
    try:
        members = json.loads(record.get("_rt_json", "{}"), strict=False)
    except (ValueError, RecursionError):
        return record
    met = {name: value for name, value in members.items() if any(f"{path}.".startswith(f"{name}.") for path in asked)}
    for path, text in asked.items():
        met = masked(met, path, text)
    return {**record, MASKED: json.dumps(met)} if met else record


def masked(value: Any, path: str, text: str | None) -> Any:
    """A value in which the members of a path are replaced by a text, or left out."""
    if isinstance(value, list):
        return [masked(each, path, text) for each in value]
    if not isinstance(value, dict):
        return value
    out: dict[str, Any] = {}
    for name, inner in value.items():
        if name == path:
            out |= {} if text is None else {name: text}
        else:
            out[name] = masked(inner, path.removeprefix(f"{name}."), text) if path.startswith(f"{name}.") else inner
    return out


def _as_it_is(_section: Section, record: Record, _parsers: Mapping[str, Section]) -> Record:
    return record


FILTERS: Mapping[str, Callable[[Section, Record, Mapping[str, Section]], Record]] = {
    JOINING: _as_it_is,
    "lua": _lua,
    "modify": _modify,
    "parser": _parser,
    "record_modifier": _record_modifier,
    "type_converter": _type_converter,
}
