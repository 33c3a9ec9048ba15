"""boto3 clients that reach a gateway in this process without a socket: fast, for tests.

It must not know any service.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from inference_sandbox.aws.gateway import ReplyLost, ServerRequest

CREDENTIALS: Mapping[str, str] = MappingProxyType(
    {"aws_access_key_id": "AKIASANDBOXSANDBOX00", "aws_secret_access_key": "sandbox"}
)

Handle = Callable[[ServerRequest], Response]
_handlers: list[Handle] = []


def reach(handle: Handle) -> None:
    """From now on the clients' requests go to `handle`."""
    _handlers[:] = [handle]


@cache
def client(service: str, region: str) -> Any:
    """One attempt for each call. Clients are slow to make and keep no state, so they outlive what they are made for."""
    config = Config(retries={"mode": "standard", "total_max_attempts": 1}, parameter_validation=False)
    make: Any = boto3.client  # its overloads name each service; here the name is a variable
    made = make(service, region_name=region, config=config, **CREDENTIALS)
    made.meta.events.register_first("before-send", send)
    gc.freeze()  # the service's model lives as long as the process and need not be walked again
    return made


def send(request: AWSPreparedRequest, **_kwargs: Any) -> AWSResponse:
    """For botocore's event `before-send`: answers without a socket, for clients that were made elsewhere too."""
    url = urlsplit(request.url)
    environ = EnvironBuilder(
        path=url.path or "/",
        base_url=f"{url.scheme}://{url.netloc}",
        query_string=url.query,
        method=request.method,
        headers=[(str(name), _text(value)) for name, value in request.headers.items()],
        data=_bytes(request.body),
    ).get_environ()
    try:
        response = _handlers[-1](ServerRequest(environ))
    except ReplyLost as error:
        raise ConnectionClosedError(endpoint_url=request.url) from error
    headers: Any = HTTPHeaders()
    for name, value in response.headers.items():
        headers[name] = value
    return AWSResponse(request.url, response.status_code, headers, _Raw(response.get_data()))


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _bytes(body: Any) -> bytes:
    if body is None:
        return b""
    if isinstance(body, str):
        return body.encode()
    return bytes(body.read() if hasattr(body, "read") else body)


class _Raw:
    """The little of urllib3's response that botocore reads."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self, **_kwargs: Any) -> Any:
        yield self._body

    def read(self, *_args: Any) -> bytes:
        body, self._body = self._body, b""
        return body
