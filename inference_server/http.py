"""An HTTP answer as a value, and errors as one. Knows neither WSGI nor Flask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson

from inference_server.protocol.errors import RequestError

JSON = "application/json"
BINARY = "application/octet-stream"
HEADER_LENGTH = "Inference-Header-Content-Length"

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
"""What a client waits for that has said `Expect: 100-continue`. Source: RFC 9110, section 10.1.1."""

STATUS_LINES = {status.value: f"{status.value} {status.phrase}" for status in HTTPStatus}


@dataclass(slots=True)
class Answer:
    status: int
    body: bytes
    content_type: str = JSON
    headers: Sequence[tuple[str, str]] = ()
    """Beside Content-Type and Content-Length."""


def json_answer(status: int, document: Any) -> Answer:
    return Answer(status, orjson.dumps(document))


def error_answer(status: int, message: str) -> Answer:
    """`error` is always a string and the type exactly application/json: clients of the protocol count on both."""
    return json_answer(status, {"error": message})


def answer_for(error: RequestError) -> Answer:
    answer = error_answer(error.status, str(error))
    answer.headers = error.headers
    return answer
