"""What the `awsfirelens` log driver does: a container's lines, as records, to the socket of the task's log router.

The protocol is Fluentd's forward protocol in its message mode (Fluentd wiki, "Forward Protocol Specification v1"), the
records those of Docker's fluentd driver: `log`, `source`, `container_id`, `container_name`, and for a line longer
than 16 KiB the members that tell its parts. A router that does not take its records is waited for as long as the buffer
lasts; what no longer fits is dropped and counted, for a container must never wait for its log.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import struct
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

from inference_sandbox.tasks.firelens import SOCKET, Sender

PART = 16 * 1024
"""Bytes of a line that make a record; a longer line is several."""

_AGAIN = 0.1
_LAST_RECORDS = 3.0
_EVENT_TIME = b"\xd7\x00"
_SHORT, _BYTE, _WORD = 32, 0x100, 0x10000
_logger = logging.getLogger(__name__)


class LogDriver:
    """One container's. `folder` is where the router's socket is or will be. Lives in the runner's event loop."""

    def __init__(self, sender: Sender, folder: Path) -> None:
        self._sender = sender
        self._folder = folder
        self._lines = {source: _Parts(self, source) for source in ("stdout", "stderr")}
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._sending: asyncio.Task[None] | None = None
        self.dropped = 0

    def write(self, source: str, data: bytes) -> None:
        self._lines[source].feed(data)

    def put(self, record: Mapping[str, str | bytes]) -> None:
        own = {"container_id": self._sender.container_id, "container_name": self._sender.container_name}
        message = pack_message(self._sender.tag, time.time(), {**own, **record})
        if self._size + len(message) > self._sender.buffer_limit:
            self.dropped += 1
            return
        self._size += len(message)
        self._waiting.append(message)
        self._empty.clear()
        self._news.set()
        self._sending = self._sending or asyncio.create_task(self._send_all())

    async def close(self) -> None:
        """Send what waits, for a few seconds at most."""
        for lines in self._lines.values():
            lines.end()
        if self._sending is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_RECORDS):
                await self._empty.wait()
        self._sending.cancel()
        await asyncio.gather(self._sending, return_exceptions=True)
        self.dropped += len(self._waiting)
        if self.dropped:
            _logger.warning(
                "%d records of %s were dropped: its router did not take them", self.dropped, self._sender.tag
            )

    async def _send_all(self) -> None:
        while True:
            try:
                await self._send_over_one_connection()
            except OSError:  # no router yet, or no longer
                await asyncio.sleep(_AGAIN)

    async def _send_over_one_connection(self) -> None:
        _, writer = await _connect(self._folder)
        try:
            while True:
                if not self._waiting:
                    await self._news.wait()
                self._news.clear()
                while self._waiting:
                    writer.write(self._waiting[0])
                    await writer.drain()
                    self._size -= len(self._waiting.popleft())
                self._empty.set()
        finally:
            writer.close()


async def _connect(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the socket in a folder whose path may be longer than the 107 bytes that a socket's address has room for."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/{SOCKET}")
    finally:
        os.close(descriptor)


class _Parts:
    """One stream's bytes as records."""

    def __init__(self, driver: LogDriver, source: str) -> None:
        self._driver = driver
        self._source = source
        self._rest = bytearray()
        self._parts: str | None = None
        """The id of the line that is being sent in parts."""
        self._ordinal = 0

    def feed(self, data: bytes) -> None:
        self._rest += data
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._cut(line)
            self._tell(line, last=True)
        self._cut(self._rest)

    def end(self) -> None:
        if self._rest:
            self._tell(self._rest, last=True)
            self._rest = bytearray()

    def _cut(self, line: bytearray) -> None:
        while len(line) > PART:
            self._tell(line[:PART], last=False)
            del line[:PART]

    def _tell(self, text: bytearray, *, last: bool) -> None:
        record: dict[str, str | bytes] = {"source": self._source, "log": bytes(text)}
        if not last and self._parts is None:
            self._parts, self._ordinal = secrets.token_hex(32), 0
        if self._parts is not None:
            self._ordinal += 1
            record |= {
                "partial_message": "true",
                "partial_id": self._parts,
                "partial_ordinal": str(self._ordinal),
                "partial_last": str(last).lower(),
            }
        if last:
            self._parts = None
        self._driver.put(record)


def pack_message(tag: str, at: float, record: Mapping[str, str | bytes]) -> bytes:
    """`[tag, EventTime, record]` in MessagePack (github.com/msgpack/msgpack/blob/master/spec.md)."""
    seconds = int(at)
    event_time = _EVENT_TIME + struct.pack(">II", seconds, int((at - seconds) * 1e9))
    pairs = b"".join(_text(name) + _text(value) for name, value in record.items())
    return b"\x93" + _text(tag) + event_time + bytes([0x80 | len(record)]) + pairs


def _text(text: str | bytes) -> bytes:
    """Bytes are a text too, whatever they hold: the driver is written in Go, and a line's part may end within a
    character."""
    data = text if isinstance(text, bytes) else text.encode()
    size = len(data)
    if size < _SHORT:
        return bytes([0xA0 | size]) + data
    if size < _BYTE:
        return b"\xd9" + bytes([size]) + data
    if size < _WORD:
        return b"\xda" + struct.pack(">H", size) + data
    return b"\xdb" + struct.pack(">I", size) + data
