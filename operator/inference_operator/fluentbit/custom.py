"""A configuration of somebody's own: what is checked in it, and how it is wrapped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from inference_operator.api.logging import CustomRouter
from inference_operator.fluentbit.classic import document
from inference_operator.fluentbit.rendering import Configuration, service

_FIELD: Final = "spec.logging.custom.configuration"
_FORWARD_PORT: Final = "24224"


def refusals(custom: CustomRouter) -> list[str]:
    """One sentence for each thing that would keep the router from starting or lose lines. A file of an image can't be
    looked into."""
    return [] if custom.configuration is None else list(_refusals(custom.configuration, custom.parsers or ""))


def _refusals(text: str, parsers: str) -> Iterator[str]:
    sections = list(_sections(text))
    for kind, entries in sections:
        if kind == "input" and entries.get("name", "").lower() == "forward" and _is_taken(entries):
            yield (
                f"{_FIELD} has a forward input on port {_FORWARD_PORT}, where FireLens has its own; remove it: "
                f"the containers' lines come in by themselves"
            )
        if kind == "service":
            yield f"{_FIELD} has a [SERVICE] section, and the operator writes that one; remove it"
        if kind in ("parser", "multiline_parser"):
            yield f"{_FIELD} has a [{kind.upper()}] section, which belongs to another file; move it to parsers"
        if kind == "output" and not {"match", "match_regex"} & entries.keys():
            yield f"{_FIELD} has an [OUTPUT] without Match, which gets nothing; add one, such as Match *"
    if not any(kind == "output" for kind, _ in sections) and "@include" not in text.lower():
        yield f"{_FIELD} has no [OUTPUT] section, so every line is lost; add one"
    if any(kind not in ("parser", "multiline_parser") for kind, _ in _sections(parsers)):
        yield "spec.logging.custom.parsers has other sections than [PARSER] and [MULTILINE_PARSER]; move them"


def _is_taken(entries: Mapping[str, str]) -> bool:
    return "unix_path" not in entries and entries.get("port", _FORWARD_PORT) == _FORWARD_PORT


def _sections(text: str) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Kinds and entries, keys and kinds in lower case."""
    for part in re.split(r"^\s*\[", text, flags=re.MULTILINE)[1:]:
        kind, _, body = part.partition("]")
        lines = [
            line.split(None, 1) for line in body.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]
        yield kind.strip().lower(), {words[0].lower(): words[-1].strip() for words in lines}


def wrapped(custom: CustomRouter) -> Configuration:
    """With the section that the router's reports and its parsers need."""
    own = custom.configuration if custom.configuration is not None else f"@INCLUDE {custom.file}"
    return Configuration(main=f"{document([service()])}\n{own}", parsers=custom.parsers or "# none")
