"""The WSGI application: reads the body, answers, and then tells the log and the metrics. Never lets an exception out.

Inference on a loaded model goes past Flask, whose routing and request objects cost more than a small model's
prediction. All else is Flask's, with the same code behind it.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from inference_server.access_log import AccessLog
from inference_server.body import read_body
from inference_server.catalog import Catalog, LoadedModel
from inference_server.chunked import Receive
from inference_server.exchange import ENVIRON_KEY, Clock, Exchange
from inference_server.express import Express
from inference_server.http import Answer, answer_for, error_answer
from inference_server.inference import Inference
from inference_server.logs import Logger
from inference_server.metrics.store import OK, UNKNOWN, Store
from inference_server.protocol.errors import RequestError, SlowClientError
from inference_server.request_line import check_head, put_right
from inference_server.sending import Sender

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

log = Logger("inference_server.application")

Connection = Callable[[], int]
"""The descriptor of the connection that this thread is answering."""

Trace = Callable[[Mapping[str, Any], Exchange, int, float], None]
"""See Tracing.record."""

_DISCARD_BYTES = 64 * 1024 * 1024
_DISCARD_SECONDS = 2.0
_BLOCK = 65536


class Application:
    def __init__(
        self,
        catalog: Catalog,
        flask: WSGIApplication,
        inference: Inference,
        store: Store,
        access_log: AccessLog,
        *,
        max_body_bytes: int,
        connection: Connection,
        clock: Clock,
        receive: Receive,
    ) -> None:
        self._catalog = catalog
        self._paths: dict[str, Express] = {}
        self._flask = flask
        self._inference = inference
        self._store = store
        self._access_log = access_log
        self._max_body_bytes = max_body_bytes
        self._connection = connection
        self._clock = clock
        self._receive = receive
        self._sender = Sender()
        self.trace: Trace | None = None
        """Told of each inference, if set."""
        self.leave: Callable[[], None] | None = None
        """Called before the next answer, if set: the worker is to be replaced once it has answered."""

    def refresh(self) -> None:
        """Called when the catalog is complete."""
        self._paths = {
            path: Express(
                model, self._inference, self._store, self._access_log, self._sender, self._clock, self._finish
            )
            for path, model in _infer_paths(self._catalog)
        }

    def respond(self, environ: WSGIEnvironment, _: StartResponse) -> list[bytes]:
        """What the WSGI server calls. Returns what the connection did not take."""
        connection, began = self._connection(), self._clock()
        express = self._paths.get(environ.get("PATH_INFO", ""))
        body: bytes | None = None
        exchange: Exchange | None = None
        try:
            check_head(environ)
            body = read_body(environ, connection, self._max_body_bytes, self._receive)
            if environ["REQUEST_METHOD"] != "POST":
                express = None
            if express is not None and self.trace is None and self.leave is None:
                rest = express.respond(body, environ, connection, began)
                if rest is not None:
                    return rest
            exchange = Exchange(began, connection, request_bytes=len(body))
            if express is not None:
                answer = self._inference.answer(express.model, body, environ, exchange)
            else:
                answer = self._ask_flask(body, environ, exchange)
        except RequestError as error:
            answer = answer_for(error)
        except Exception:  # uWSGI would answer nothing at all
            log.exception("a request failed", method=environ.get("REQUEST_METHOD"), path=environ.get("PATH_INFO"))
            answer = error_answer(500, "internal error; see the server's log")
        if exchange is None:
            exchange = Exchange(began, connection, request_bytes=len(body or b""))
        return self._finish(environ, exchange, answer, unread=body is None)

    def _finish(
        self, environ: Mapping[str, Any], exchange: Exchange, answer: Answer, *, unread: bool = False
    ) -> list[bytes]:
        """Count, log and send the answer."""
        method = environ.get("REQUEST_METHOD")
        if exchange.model is None and method == "POST":  # it may be one to a model, though nobody has looked at it
            express = self._paths.get(environ.get("PATH_INFO", ""))
            if express is not None:
                exchange.model, exchange.inference = express.model, True
        now = self._observe(environ, exchange, answer)
        if self.leave is not None:
            self.leave()
        rest = self._sender.answer(answer, exchange.connection, now, with_body=method != "HEAD")
        if unread and answer.status != SlowClientError.status:  # of such a client there is nothing to wait for
            _discard(exchange.connection)
        return rest

    def _ask_flask(self, body: bytes, environ: WSGIEnvironment, exchange: Exchange) -> Answer:
        put_right(environ)
        environ["wsgi.input"] = io.BytesIO(body)
        environ["CONTENT_LENGTH"] = str(len(body))
        environ[ENVIRON_KEY] = exchange
        return _ask_flask(self._flask, environ)

    def _observe(self, environ: Mapping[str, Any], exchange: Exchange, answer: Answer) -> float:
        now = self._clock()
        size = len(answer.body)
        if exchange.inference:
            key = UNKNOWN if exchange.model is None else exchange.model.key
            queue, decode, predict, encode = exchange.stages
            seconds = now - exchange.began + queue
            rows = exchange.rows if answer.status == OK else 0
            self._store.observe(
                self._store.row(key),
                answer.status,
                (seconds, queue, decode, predict, encode, rows, exchange.request_bytes, size),
                now,
            )
            if self.trace is not None:
                self.trace(environ, exchange, answer.status, now)
        self._access_log.write(environ, exchange, answer.status, size, now)
        return now


def _infer_paths(catalog: Catalog) -> Iterator[tuple[str, LoadedModel]]:
    for name, versions in catalog.models.items():
        for version, model in versions.items():
            yield f"/v2/models/{name}/versions/{version}/infer", model
        default = catalog.default(name)
        if default is not None:
            yield f"/v2/models/{name}/infer", default


def _ask_flask(flask: WSGIApplication, environ: WSGIEnvironment) -> Answer:
    if environ["REQUEST_METHOD"] == "HEAD":  # whose answer tells the length of GET's
        environ = {**environ, "REQUEST_METHOD": "GET"}
    head: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Callable[[bytes], object]:
        head[:] = [int(status.split(" ", 1)[0]), headers, exc_info]
        return lambda _: None

    parts = flask(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        close = getattr(parts, "close", None)
        if close is not None:
            close()
    status, headers, _ = head
    types = [value for name, value in headers if name == "Content-Type"]
    others = [(name, value) for name, value in headers if name not in {"Content-Type", "Content-Length"}]
    return Answer(status, body, types[0] if types else "application/json", others)


def _discard(connection: int) -> None:
    """Read on for a while after the answer: a connection closed on unread bytes is reset, and the answer lost."""
    until, left = time.monotonic() + _DISCARD_SECONDS, _DISCARD_BYTES
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection)) as source:
        while left > 0 and (patience := until - time.monotonic()) > 0:
            source.settimeout(patience)
            block = source.recv(_BLOCK)
            if not block:
                return
            left -= len(block)
