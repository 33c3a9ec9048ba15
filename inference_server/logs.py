"""Logging: one JSON object a line, with `ts` (UTC), `level`, `logger`, `message`, and the fields of the event.

A line is one write of at most 4096 bytes, which a pipe keeps whole among lines of other processes; longer texts lose
their middle. Must not log payloads or the values of environment variables.

So little is needed that no logging library is worth the memory that it takes in every worker.
"""

from __future__ import annotations

import os
import sys
import traceback
from datetime import UTC, datetime
from typing import Any

import orjson

MAX_LINE = 4096
"""PIPE_BUF of Linux: what a pipe takes in one piece."""

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


class _Output:
    """Where lines go, and which: the same for the whole process."""

    descriptor = 2
    least = LEVELS.index("INFO")


def configure(level: str, descriptor: int) -> None:
    """Send lines of this level and above to a file descriptor. Before it is called they go to stderr."""
    _Output.least = LEVELS.index(level)
    _Output.descriptor = descriptor


class Logger:
    """Writes what happens in one part of the server. `message` is what happened, always in the same words."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, message: str, **fields: Any) -> None:
        self._write(0, message, fields)

    def info(self, message: str, **fields: Any) -> None:
        self._write(1, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        self._write(2, message, fields)

    def error(self, message: str, **fields: Any) -> None:
        self._write(3, message, fields)

    def exception(self, message: str, **fields: Any) -> None:
        """An error, with the traceback of the exception that is being handled."""
        text = "".join(traceback.format_exception(sys.exception())).rstrip()
        self._write(3, message, {**fields, "exception": text})

    def always(self, message: str, **fields: Any) -> None:
        """Whatever the level, for lines that somebody has asked for."""
        self._put(LEVELS[1], message, fields)

    def _write(self, level: int, message: str, fields: dict[str, Any]) -> None:
        if level >= _Output.least:
            self._put(LEVELS[level], message, fields)

    def _put(self, level: str, message: str, fields: dict[str, Any]) -> None:
        head = {"ts": timestamp(), "level": level, "logger": self._name, "message": message}
        os.write(_Output.descriptor, as_line({**head, **fields}))


def timestamp() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_line(record: dict[str, Any]) -> bytes:
    """A record as one line of at most MAX_LINE bytes."""
    line = orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
    kept = MAX_LINE
    while len(line) > MAX_LINE and kept:
        kept //= 2
        short = {name: _shorten(value, kept) for name, value in record.items()}
        line = orjson.dumps(short, default=str, option=orjson.OPT_APPEND_NEWLINE)
    return line


def _shorten(value: Any, kept: int) -> Any:
    if not isinstance(value, str) or len(value) <= kept:
        return value
    half = kept // 2
    return f"{value[:half]} … {value[len(value) - half :]}"
