"""Logging: one JSON object a line, with `ts` (UTC), `level`, `logger`, `message`, and the fields of the event.

A line is one write of at most 4096 bytes, which a pipe keeps whole among lines of other processes; longer texts lose
their middle. Must not log payloads or the values of environment variables.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import orjson
import structlog

MAX_LINE = 4096
"""PIPE_BUF of Linux: what a pipe takes in one piece."""


def configure(level: str, descriptor: int) -> None:
    """Send the lines of structlog's loggers to a file descriptor."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.format_exc_info, render],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _LineLogger(descriptor, names[0] if names else "inference_server"),
        cache_logger_on_first_use=False,
    )


class _LineLogger:
    """Writes lines to a descriptor; carries the name of the logger, for `render`."""

    def __init__(self, descriptor: int, name: str) -> None:
        self.name = name
        self._descriptor = descriptor

    def _write(self, line: bytes) -> None:
        os.write(self._descriptor, line)

    debug = info = warning = error = critical = exception = _write


def render(logger: Any, method: str, event: MutableMapping[str, Any]) -> bytes:
    """An event as one line. A structlog processor."""
    del method
    head = {
        "ts": timestamp(),
        "level": str(event.pop("level")).upper(),
        "logger": logger.name,
        "message": event.pop("event"),
    }
    return as_line({**head, **event})


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
