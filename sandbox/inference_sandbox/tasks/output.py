"""What a container prints: into a file, line by line to whoever listens, and to its log driver if it has one here.

It must not know what runs the container, nor where logs are sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

from inference_sandbox.ports import Clock
from inference_sandbox.tasks.log_driver import LogDriver

_logger = logging.getLogger(__name__)

LogSink = Callable[[str, str, str, str, datetime], None]
"""Gets task ARN, container name, "stdout" or "stderr", line, time. Called in the runner's thread: it must be quick."""

MAX_LINE = 262_118
"""Bytes after which a line without end is cut: the most that one CloudWatch Logs event holds."""


class LineReader:
    """Cuts a stream of bytes into lines of text."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._emit(line)
        while len(self._rest) > MAX_LINE:
            self._emit(self._rest[:MAX_LINE])
            del self._rest[:MAX_LINE]

    def end(self) -> None:
        if self._rest:
            self._emit(self._rest)
            self._rest = bytearray()

    def _emit(self, line: bytearray) -> None:
        for start in range(0, max(len(line), 1), MAX_LINE):
            self._on_line(line[start : start + MAX_LINE].decode("utf-8", "replace").removesuffix("\r"))


class ContainerOutput:
    """One container's output: `write` bytes as they come, `end` at its end. `close` is for one that never began."""

    def __init__(
        self,
        *,
        arn: str,
        container: str,
        file: Path,
        clock: Clock,
        sink: LogSink | None,
        driver: LogDriver | None = None,
    ) -> None:
        self._driver = driver
        self._arn = arn
        self._container = container
        self._clock = clock
        self._sink = sink
        self._file = file.open("ab", buffering=0)
        self._lines = {stream: LineReader(partial(self._tell, stream)) for stream in ("stdout", "stderr")}

    def write(self, stream: str, data: bytes) -> None:
        self._file.write(data)
        if self._driver is not None:
            self._driver.write(stream, data)
        if self._sink is not None:
            self._lines[stream].feed(data)

    async def end(self) -> None:
        """Returns when its log driver has sent what it can."""
        self.close()
        if self._driver is not None:
            await self._driver.close()

    def close(self) -> None:
        for lines in self._lines.values():
            lines.end()
        self._file.close()

    def _tell(self, stream: str, line: str) -> None:
        if self._sink is None:
            return
        try:
            self._sink(self._arn, self._container, stream, line, self._clock.now())
        except Exception:
            _logger.exception("the log sink failed for container %s of %s", self._container, self._arn)
