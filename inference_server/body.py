"""Reads the body of a request from the WSGI server, whole and no larger than allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

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


def read_body(environ: WSGIEnvironment, limit: int, read_chunk: ChunkReader | None) -> bytes:
    """The body as sent. Raises TooLargeError without reading what is over the limit."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return _read_chunks(environ["HTTP_TRANSFER_ENCODING"], limit, read_chunk)
    text = environ.get("CONTENT_LENGTH") or "0"
    if not (text.isascii() and text.isdigit()):
        raise InvalidRequestError("Content-Length is not a number")
    length = int(text[:19])
    if length > limit:
        raise _too_large(limit)
    if not length:
        return b""
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError:
        raise SlowClientError("the body did not arrive in time") from None
    if len(body) != length:
        raise InvalidRequestError(f"the body has {len(body)} bytes; Content-Length says {length}")
    return body


def _read_chunks(encoding: str, limit: int, read_chunk: ChunkReader | None) -> bytes:
    if read_chunk is None or encoding.strip().lower() != "chunked":
        raise LengthRequiredError(f"Transfer-Encoding {encoding[:40]!r} can't be read; send a Content-Length")
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


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {limit} bytes, the limit (INFERENCE_MAX_BODY_BYTES)")
