"""The WSGI application: reads the body, sends inference past Flask, logs the request, and never lets an exception out.

Flask's routing and request objects cost more than a small model's prediction; POST .../infer needs neither.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import structlog

from inference_server.catalog import Catalog
from inference_server.http import STATUS_LINES, Answer, answer_for, error_answer
from inference_server.inference import infer
from inference_server.protocol.errors import InvalidRequestError, RequestError, TooLargeError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = structlog.get_logger("inference_server.access")

_DISCARD_BYTES = 64 * 1024 * 1024
_DISCARD_SECONDS = 2.0
_BLOCK = 65536

ChunkedReader = Callable[[], bytes]
"""Gives the next chunk of a request with `Transfer-Encoding: chunked`, b"" at its end."""


class Application:
    def __init__(
        self, catalog: Catalog, flask: WSGIApplication, *, max_body_bytes: int, read_chunk: ChunkedReader | None = None
    ) -> None:
        self._catalog = catalog
        self._flask = flask
        self._max_body_bytes = max_body_bytes
        self._read_chunk = read_chunk

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        began = time.perf_counter()
        try:
            body = self._read_body(environ)
            if environ["REQUEST_METHOD"] == "POST":
                answer = self._infer(environ["PATH_INFO"], body, environ)
                if answer is not None:
                    return _send(answer, environ, start_response, began)
            environ["wsgi.input"] = io.BytesIO(body)
            environ["CONTENT_LENGTH"] = str(len(body))
            return self._ask_flask(environ, start_response, began)
        except TooLargeError as error:
            sent = _send(answer_for(error), environ, start_response, began)
            return _then_discard(sent, environ)
        except RequestError as error:
            return _send(answer_for(error), environ, start_response, began)
        except Exception:  # uWSGI would answer nothing at all
            log.exception("a request failed", method=environ.get("REQUEST_METHOD"), path=environ.get("PATH_INFO"))
            return _send(error_answer(500, "internal error; see the server's log"), environ, start_response, began)

    def _infer(self, path: str, body: bytes, environ: WSGIEnvironment) -> Answer | None:
        """Answer POST /v2/models/{name}[/versions/{version}]/infer; None if the path is another."""
        match path.strip("/").split("/"):
            case ["v2", "models", name, "infer"]:
                model = self._catalog.find(_text(name))
            case ["v2", "models", name, "versions", version, "infer"]:
                model = self._catalog.find(_text(name), _text(version))
            case _:
                return None
        environ["inference.model"], environ["inference.version"] = model.name, model.version
        return infer(model, body, environ.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"))

    def _read_body(self, environ: WSGIEnvironment) -> bytes:
        """The whole body. Raises TooLargeError before reading more than the limit."""
        if "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower():
            return self._read_chunks()
        text = environ.get("CONTENT_LENGTH") or "0"
        if not (text.isascii() and text.isdigit()):
            raise InvalidRequestError("Content-Length is not a number")
        length = int(text)
        self._check_size(length)
        if not length:
            return b""
        try:
            body = environ["wsgi.input"].read(length)
        except OSError:
            raise InvalidRequestError("the body did not arrive in time") from None
        if len(body) != length:
            raise InvalidRequestError(f"the body has {len(body)} bytes; Content-Length says {length}")
        return bytes(body)

    def _read_chunks(self) -> bytes:
        if self._read_chunk is None:
            raise InvalidRequestError("chunked bodies are not supported here; send Content-Length")
        blocks, size = [], 0
        try:
            while block := self._read_chunk():
                size += len(block)
                self._check_size(size)
                blocks.append(block)
        except OSError:
            raise InvalidRequestError("the chunked body is malformed or did not arrive in time") from None
        return b"".join(blocks)

    def _check_size(self, size: int) -> None:
        if size > self._max_body_bytes:
            raise TooLargeError(
                f"the body has more than {self._max_body_bytes} bytes, the limit (INFERENCE_MAX_BODY_BYTES)"
            )

    def _ask_flask(self, environ: WSGIEnvironment, start_response: StartResponse, began: float) -> Iterable[bytes]:
        status = 500

        def remember(line: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            nonlocal status
            status = int(line[:3])
            return start_response(line, headers, exc_info)

        body = b"".join(self._flask(environ, remember))
        _log(environ, status, len(body), began)
        return [body]


def _send(answer: Answer, environ: WSGIEnvironment, start_response: StartResponse, began: float) -> list[bytes]:
    headers = [
        ("Content-Type", answer.content_type),
        ("Content-Length", str(len(answer.body))),
        *answer.headers,
    ]
    start_response(STATUS_LINES[answer.status], headers)
    _log(environ, answer.status, len(answer.body), began)
    return [answer.body]


def _then_discard(sent: Iterable[bytes], environ: WSGIEnvironment) -> Iterable[bytes]:
    """Send the answer, then read on for a while: a connection closed on unread bytes is reset, and the answer lost."""
    yield from sent
    until, left = time.monotonic() + _DISCARD_SECONDS, _DISCARD_BYTES
    source = environ["wsgi.input"]
    try:
        while left > 0 and time.monotonic() < until and (block := source.read(_BLOCK)):
            left -= len(block)
    except OSError:
        return


def _log(environ: WSGIEnvironment, status: int, size: int, began: float) -> None:
    path = environ.get("PATH_INFO", "")
    health = path in {"/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"}
    write = log.debug if health and status < 400 else log.warning if status >= 500 else log.info  # noqa: PLR2004
    write(
        "request",
        method=environ.get("REQUEST_METHOD"),
        path=quote(path, safe="/-._~", encoding="latin-1"),
        status=status,
        duration_ms=round((time.perf_counter() - began) * 1000, 3),
        bytes=size,
        model=environ.get("inference.model"),
        version=environ.get("inference.version"),
        request_id=environ.get("HTTP_X_REQUEST_ID") or environ.get("HTTP_X_AMZN_TRACE_ID"),
    )


def _text(part: str) -> str:
    """WSGI gives the decoded bytes of the path as latin-1."""
    return part.encode("latin-1").decode(errors="replace")
