"""A configuration of somebody's own: what is checked in it, and how it is wrapped."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from inference_operator.api.logging import CONFIGURATION_LENGTH, CustomRouter
from inference_operator.fluentbit.classic import document
from inference_operator.fluentbit.rendering import FOLDER, PORTS, VARIABLES, Configuration, service

_FIELD: Final = "spec.logging.custom.configuration"
_FILE: Final = "spec.logging.custom.file"
_FORWARD_PORT: Final = "24224"
_SOCKET: Final = "fluent.sock"
_MAIN_FILE: Final = "/fluent-bit/etc/fluent-bit.conf"
_PARSING: Final = ("parser", "multiline_parser")
_KINDS: Final = ("service", *_PARSING, "custom", "input", "filter", "output", "plugins")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

Section = tuple[str, Mapping[str, str]]


def refusals(custom: CustomRouter) -> list[str]:
    """One sentence for each thing that would keep the router from starting or lose lines. A file of an image can't be
    looked into."""
    found = list(_of_names(custom))
    if custom.configuration is None:
        return [*found, *_of_file(custom.file or "")]
    return [*found, *_of_text(custom.configuration), *_of_parsers(custom.parsers or ""), *_of_size(wrapped(custom))]


def _of_names(custom: CustomRouter) -> Iterator[str]:
    for taken in sorted({secret.name for secret in custom.secrets} & set(VARIABLES)):
        yield f"spec.logging.custom.secrets has {taken}, which the operator sets; choose another name"


def _of_file(file: str) -> Iterator[str]:
    if file.endswith((".yaml", ".yml")):
        yield f"{_FILE} '{file}' is YAML, which FireLens can't include; write it in Fluent Bit's classic format"
    if file == _MAIN_FILE or file.startswith(f"{FOLDER}/"):
        yield f"{_FILE} '{file}' is hidden by what FireLens and the operator write there; move it, such as to /etc"


def _of_text(text: str) -> Iterator[str]:
    sections = list(_sections(text))
    for section in sections:
        yield from (f"{_FIELD} has {what}" for what in _of_section(*section))
    if not any(kind == "output" for kind, _ in sections) and "@include" not in text.lower():
        yield f"{_FIELD} has no [OUTPUT] section, so every line is lost; add one"
    if _CONTROL.search(text):
        yield f"{_FIELD} has a control character, which no environment variable of ECS can hold; remove it"


def _of_section(kind: str, entries: Mapping[str, str]) -> Iterator[str]:
    name = entries.get("name", "").lower()
    told = f"[{kind.upper()}]"
    if kind == "service":
        moved = f", and move its parsers to parsers: {_PARSERS_TOO}" if "parsers_file" in entries else ""
        yield f"a [SERVICE] section, and the operator writes that one; remove it{moved}"
    if kind in _PARSING:
        yield f"a {told} section, which belongs to another file; move it to parsers"
    if kind not in _KINDS:
        yield f"a {told} section, which Fluent Bit passes over here; write [INPUT], [FILTER] or [OUTPUT], or remove it"
    if kind in ("input", "filter", "output") and not name:
        yield f"an {told} without Name, with which the router does not start; add one"
    if kind in ("filter", "output") and not {"match", "match_regex"} & entries.keys():
        yield f"an {told} without Match, which gets nothing; add one, such as Match *"
    if re.search(r"\s", matched := entries.get("match", "")):
        yield f"an {told} with Match {matched}, which gets nothing: no tag has a blank; move a comment to its own line"
    if kind == "input":
        yield from _of_input(name, entries)
    if name == "s3" and not entries.get("store_dir", "").startswith(f"{FOLDER}/"):
        yield (
            f"an s3 output without a store_dir below {FOLDER}, the one folder that can be written to; add one of its "
            f"own, such as store_dir {FOLDER}/s3"
        )


_PARSERS_TOO: Final = "their text, or @INCLUDE and their file in the image"


def _of_input(name: str, entries: Mapping[str, str]) -> Iterator[str]:
    if entries.get("unix_path", "").endswith(f"/{_SOCKET}"):
        yield f"an input on {entries['unix_path']}, where FireLens has its own; remove it: {_BY_ITSELF}"
    elif "unix_path" not in entries:
        port = entries.get("port", _FORWARD_PORT if name == "forward" else "").lstrip("0")
        if port in PORTS:
            yield f"a {name} input on port {port}, where {PORTS[port]}; remove it: {_BY_ITSELF}"


_BY_ITSELF: Final = "the containers' lines come in by themselves"


def _of_parsers(text: str) -> Iterator[str]:
    if any(kind not in _PARSING for kind, _ in _sections(text)):
        yield "spec.logging.custom.parsers has other sections than [PARSER] and [MULTILINE_PARSER]; move them"


def _of_size(configuration: Configuration) -> Iterator[str]:
    if len(configuration) > CONFIGURATION_LENGTH:
        yield (
            f"{_FIELD} and its parsers are {len(configuration)} bytes, with the [SERVICE] section, and "
            f"{CONFIGURATION_LENGTH} is the limit; shorten them, or put them into an image and name their file"
        )


def _sections(text: str) -> Iterator[Section]:
    """Kinds and entries, keys and kinds in lower case, with what @SET gives put in its place."""
    for name, value in re.findall(r"^\s*@SET\s+(\S+?)\s*=\s*(\S*)", text, re.MULTILINE | re.IGNORECASE):
        text = text.replace(f"${{{name}}}", value)
    for part in re.split(r"^\s*\[", text, flags=re.MULTILINE)[1:]:
        kind, _, body = part.partition("]")
        lines = [
            line.split(None, 1) for line in body.splitlines() if line.strip() and not line.lstrip().startswith("#")
        ]
        yield kind.strip().lower(), {key.lower(): "".join(value).strip() for key, *value in lines}


def wrapped(custom: CustomRouter) -> Configuration:
    """With the section that the router's reports and its parsers need."""
    own = _indented(custom.configuration) if custom.configuration is not None else f"@INCLUDE {custom.file}"
    return Configuration(main=f"{document([service()])}\n{own}", parsers=_indented(custom.parsers or "# none"))


def _indented(text: str) -> str:
    """As deep as that section: Fluent Bit takes one depth in a file, no line of blanks, and none before [ and @."""
    return re.sub(
        r"^[ \t]+(\S?)", lambda line: line[1] if line[1] in "[@" else f"    {line[1]}", text, flags=re.MULTILINE
    )
