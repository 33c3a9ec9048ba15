"""Turns what uWSGI and the interpreter print into log records: a level and a message, a traceback being one record.

Pure, and of the standard library alone, as it runs in the supervisor.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_KNOWN_HARMLESS = ("you are running uWSGI as root", "harakiri without post buffering", "[uwsgi-body-read]")
"""The last is a caller that stopped sending: the access log has it as a 408."""
_TRACEBACK = "Traceback (most recent call last):"
_ERROR = re.compile(r"DAMN|segfault|Segmentation fault|killed by signal|no python application|unable to|[Ee]rror")
_TOO_LARGE = re.compile(r"\[WARNING\] unable to add |invalid HTTP request size|not enough space in wsgi_req")
_QUOTED_UP_TO = "to uwsgi packet, consider increasing buffer size"
"""Ends what uWSGI says of a header that it has no room for, all of which it quotes before."""
TOO_LARGE = (
    "a request had more than 64 kB of headers or 32 kB of path: uWSGI gives it no answer, or leaves a part of it out"
)
_ENDED = re.compile(r"HARAKIRI \[core \d+\] .*? - (\S*) ([^?]*)(?:\?.*)? since \d+$")
"""A request that is ended for its time, which uWSGI names whole: what callers put into the query may be secret."""
ENDED = "a request was ended with its worker, of which one took longer than INFERENCE_HARD_TIMEOUT_SECONDS"
"""Nobody else can log it. Whether it was answered is not known here: of most the deadline has seen to that."""
_LONGEST_PATH = 500
_WARNING = re.compile(r"!!!|WARNING|respawn|listen queue.*full", re.IGNORECASE)

Line = tuple[str, str, Mapping[str, str]]
"""Level, message, and what else is told."""
_NOTHING: Mapping[str, str] = {}


@dataclass(slots=True)
class OutputReader:
    """Fed with blocks of bytes, cut anywhere."""

    _rest: bytes = b""
    _traceback: list[str] = field(default_factory=list)
    _quoting: bool = False
    """Whether lines are part of a header, which may be secret, and are not passed on."""

    def feed(self, block: bytes) -> Iterator[Line]:
        """The records that are complete now. An empty block is the end of the output."""
        *lines, self._rest = (self._rest + block).split(b"\n")
        if not block and self._rest:
            lines.append(self._rest)
            self._rest = b""
        for line in lines:
            yield from self._line(line.decode(errors="replace").rstrip("\r"))
        if not block and self._traceback:
            yield self._end_traceback()

    def _line(self, line: str) -> Iterator[Line]:
        if self._quoting:
            self._quoting = not line.endswith(_QUOTED_UP_TO)
        elif _TOO_LARGE.match(line):
            self._quoting = line.startswith("[WARNING]") and not line.endswith(_QUOTED_UP_TO)
            yield "WARNING", TOO_LARGE, _NOTHING
        elif self._traceback:
            self._traceback.append(line)
            if line and not line.startswith((" ", "\t")):
                yield self._end_traceback()
        elif line == _TRACEBACK:
            self._traceback.append(line)
        elif ended := _ENDED.search(line):
            yield "ERROR", ENDED, {"method": ended[1], "path": ended[2][:_LONGEST_PATH]}
        elif line.strip():
            yield level_of(line), line, _NOTHING

    def _end_traceback(self) -> Line:
        text, self._traceback = "\n".join(self._traceback), []
        return "ERROR", text, _NOTHING


def level_of(line: str) -> str:
    """The level of a line of uWSGI, which gives none; its banner is of use only to who debugs it."""
    if any(text in line for text in _KNOWN_HARMLESS):
        return "DEBUG"
    if _ERROR.search(line):
        return "ERROR"
    return "WARNING" if _WARNING.search(line) else "DEBUG"
