"""A client of a container engine's API (Docker Engine API 1.41, which Podman speaks too), for an event loop.

Only what `container` needs, and no more than the requests: what they mean for a task is not known here.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp

_STREAMS: Mapping[int, Literal["stdout", "stderr"]] = {1: "stdout", 2: "stderr"}
_FRAME_HEADER = 8
_ERRORS_FROM = 400


class EngineRefused(Exception):
    """The engine answered with an error. `str()` is its message."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class EngineApi:
    """`host` as in DOCKER_HOST: `unix:///path` or `tcp://host:port`. Made within an event loop."""

    def __init__(self, host: str) -> None:
        address = urlsplit(host)
        if address.scheme == "unix":
            self._base = "http://engine"
            connector: aiohttp.BaseConnector = aiohttp.UnixConnector(address.path, limit=0)
        else:
            self._base = f"http://{address.netloc}"
            connector = aiohttp.TCPConnector(limit=0)
        self._client = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=None))

    async def close(self) -> None:
        await self._client.close()

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str) -> Any:
        """The answer's JSON, None if it has none. Raises EngineRefused, and aiohttp.ClientError if nobody answers."""
        async with self._client.request(method, self._base + path, json=body, params=query) as answer:
            return await _read(answer)

    @contextlib.asynccontextmanager
    async def output(
        self, method: str, path: str, body: Mapping[str, Any] | None = None, **query: str
    ) -> AsyncIterator[AsyncIterator[tuple[str, bytes]]]:
        """The multiplexed output of a container or a command: pairs of stream and bytes as they come, to the end."""
        async with self._client.request(method, self._base + path, json=body, params=query) as answer:
            if answer.status >= _ERRORS_FROM:
                await _read(answer)
            yield _frames(answer.content)


async def _frames(content: aiohttp.StreamReader) -> AsyncIterator[tuple[str, bytes]]:
    while True:
        try:
            header = await content.readexactly(_FRAME_HEADER)
            data = await content.readexactly(int.from_bytes(header[4:], "big"))
        except EOFError:
            return
        yield _STREAMS.get(header[0], "stdout"), data


async def _read(answer: aiohttp.ClientResponse) -> Any:
    text = await answer.text()
    try:
        document = json.loads(text)
    except ValueError:
        document = None
    if answer.status >= _ERRORS_FROM:
        message = document.get("message") if isinstance(document, dict) else None
        raise EngineRefused(answer.status, message or text.strip() or f"HTTP {answer.status}")
    return document
