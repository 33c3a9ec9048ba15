"""Undoes the chunked transfer coding. Source: RFC 9112, section 7.1. Pure: bytes come from a function.

uWSGI has a reader of its own, which is not used: it refuses chunk extensions, which a recipient must ignore, and chunks
of more than a megabyte; it takes a size that is no number for the last chunk, and does not read what follows that.
"""

from __future__ import annotations

import re
from collections.abc import Callable

Receive = Callable[[int], bytes]
"""Gives the bytes that come next, at most so many; b"" at the end of the connection. Raises TimeoutError."""

_LONGEST_LINE = 4096
"""Of a chunk's size with its extensions, or of a trailer field."""
_TRAILER_LINES = 100
_CHUNKS = 200_000
"""Each costs some microseconds, and may bring a single byte."""
_BLOCK = 65536
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;.*)?", re.DOTALL)


class MalformedError(Exception):
    """The body is not chunked as it should be. The text says where."""


class TooManyBytesError(Exception):
    """The body is larger than allowed."""


def read_chunked(receive: Receive, limit: int) -> bytes:
    """The body, without its trailer. Raises MalformedError, or TooManyBytesError before it has more than `limit`."""
    source = _Source(receive)
    body = bytearray()
    chunks = 0
    while size := _size(source.line()):
        chunks += 1
        if chunks > _CHUNKS:
            raise MalformedError(f"it has more than {_CHUNKS} chunks; send larger ones")
        if size > limit - len(body):
            raise TooManyBytesError
        source.move(size, body)
        if source.line():
            raise MalformedError("a chunk is longer than its size says")
    for _ in range(_TRAILER_LINES):
        if not source.line():
            return bytes(body)
    raise MalformedError(f"the trailer has more than {_TRAILER_LINES} lines")


def _size(line: bytes) -> int:
    found = _SIZE.fullmatch(line)
    if found is None:
        raise MalformedError("the size of a chunk is no hexadecimal number")
    return int(found.group(1), 16)


class _Source:
    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._held = bytearray()

    def line(self) -> bytes:
        """The next line, without its end."""
        while (end := self._held.find(b"\n")) < 0:
            if len(self._held) > _LONGEST_LINE:
                raise MalformedError(f"a line is longer than {_LONGEST_LINE} bytes")
            self._held += self._more(_BLOCK)
        line = bytes(self._held[:end])
        del self._held[: end + 1]
        if not line.endswith(b"\r"):
            raise MalformedError("a line does not end with CR and LF")
        return line[:-1]

    def move(self, count: int, body: bytearray) -> None:
        """Append the next `count` bytes to `body`."""
        held = self._held[:count]
        del self._held[:count]
        body += held
        missing = count - len(held)
        while missing:
            block = self._more(min(missing, _BLOCK))
            body += block
            missing -= len(block)

    def _more(self, most: int) -> bytes:
        block = self._receive(most)
        if not block:
            raise MalformedError("it ends early")
        return block
