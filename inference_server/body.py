"""Reads the body of a request from the WSGI server, whole and no larger than allowed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from inference_server.http import CONTINUE
from inference_server.protocol.errors import (
    InvalidRequestError,
    LengthRequiredError,
    SlowClientError,
    TooLargeError,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

ChunkReader = Callable[[], bytes]
"""Gives the next part of a chunked body, b"" at its end. Raises OSError if the body is malformed."""


def read_body(environ: WSGIEnvironment, connection: int, limit: int, read_chunk: ChunkReader) -> bytes:
    """The body as sent. Raises TooLargeError without reading what is over the limit."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return _read_chunks(environ, connection, limit, read_chunk)
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequestError("Content-Length is not a number")
    length = int(text[:19])
    if length > limit:
        raise _too_large(limit)
    if not length:
        return b""
    _answer_expectation(environ, connection)
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError:
        raise SlowClientError("the body did not arrive in time") from None
    if len(body) != length:
        raise InvalidRequestError(f"the body has {len(body)} bytes; Content-Length says {length}")
    return body


def _read_chunks(environ: WSGIEnvironment, connection: int, limit: int, read_chunk: ChunkReader) -> bytes:
    encoding = environ["HTTP_TRANSFER_ENCODING"]
    if encoding.strip().lower() != "chunked":
        raise LengthRequiredError(f"Transfer-Encoding {encoding[:40]!r} can't be read; send a Content-Length")
    _answer_expectation(environ, connection)
    parts: list[bytes] = []
    size = 0
    try:
        while part := read_chunk():
            size += len(part)
            if size > limit:
                raise _too_large(limit)
            parts.append(part)
    except OSError:
        raise InvalidRequestError("the chunked body is malformed, or did not arrive in time") from None
    return b"".join(parts)


def _answer_expectation(environ: WSGIEnvironment, connection: int) -> None:
    expected = environ.get("HTTP_EXPECT")
    if expected and expected.lower() == "100-continue" and environ["SERVER_PROTOCOL"] != "HTTP/1.0":
        with contextlib.suppress(OSError):  # if it is gone, reading will tell
            os.write(connection, CONTINUE)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {limit} bytes, the limit (INFERENCE_MAX_BODY_BYTES)")
