"""Reads the body of a request from the WSGI server, whole and no larger than allowed."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from inference_server.chunked import MalformedError, Receive, TooManyBytesError, read_chunked
from inference_server.http import CONTINUE
from inference_server.protocol.errors import (
    ExpectationError,
    InvalidRequestError,
    NotSupportedError,
    SlowClientError,
    TooLargeError,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_BLANK = " \t"
"""May stand around the value of a header, and uWSGI leaves it there."""


def read_body(environ: WSGIEnvironment, connection: int, limit: int, receive: Receive) -> bytes:
    """The body as sent. Raises TooLargeError without reading what is over the limit."""
    if environ.get("HTTP_TRANSFER_ENCODING"):
        return _read_chunks(environ, connection, limit, receive)
    text = environ.get("CONTENT_LENGTH") or "0"
    if not text.isdecimal():  # in Latin-1, which a WSGI environment has, the ten digits
        text = text.strip(_BLANK)
        if not text.isdecimal():
            raise InvalidRequestError("Content-Length is not a number")
    length = int(text[:19])
    if length > limit:
        raise _too_large(limit)
    if not length:
        return b""
    if "HTTP_EXPECT" in environ:
        _answer_expectation(environ, connection)
    try:
        body: bytes = environ["wsgi.input"].read(length)
    except OSError:
        raise SlowClientError("the body did not arrive in time") from None
    if len(body) != length:
        raise InvalidRequestError(f"the body has {len(body)} bytes; Content-Length says {length}")
    return body


def _read_chunks(environ: WSGIEnvironment, connection: int, limit: int, receive: Receive) -> bytes:
    codings = [coding.strip(_BLANK) for coding in environ["HTTP_TRANSFER_ENCODING"].lower().split(",")]
    if codings[-1] != "chunked":  # RFC 9112, section 6.3: where the body ends can't be known
        raise InvalidRequestError("Transfer-Encoding does not end with 'chunked'")
    if len(codings) > 1:
        raise NotSupportedError("Transfer-Encoding may be 'chunked' alone; for compression use Content-Encoding")
    _answer_expectation(environ, connection)
    try:
        return read_chunked(receive, limit)
    except TooManyBytesError:
        raise _too_large(limit) from None
    except MalformedError as error:
        raise InvalidRequestError(f"the chunked body is malformed: {error}") from None
    except OSError:
        raise SlowClientError("the body did not arrive in time") from None


def _answer_expectation(environ: WSGIEnvironment, connection: int) -> None:
    expected = environ.get("HTTP_EXPECT")
    if not expected or environ["SERVER_PROTOCOL"] == "HTTP/1.0":
        return
    if expected.strip(_BLANK).lower() != "100-continue":
        raise ExpectationError("Expect may be '100-continue' alone")
    with contextlib.suppress(OSError):  # if it is gone, reading will tell
        os.write(connection, CONTINUE)


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(f"the body has more than {limit} bytes, the limit (INFERENCE_MAX_BODY_BYTES)")
