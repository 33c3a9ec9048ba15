"""The ceiling: the work in a WSGI callable, whatever is asked."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.server.contenders.codec import answer
from benchmarks.server.contenders.work import MODEL_VARIABLE, load

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

predict = load(Path(os.environ[MODEL_VARIABLE]))


def application(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    body = answer(predict, environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
