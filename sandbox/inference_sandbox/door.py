"""The way into a sandbox that another process holds: its side door over HTTP, `$AWS_ENDPOINT_URL/_sandbox`.

What may be asked there is not known here; light to import.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_SECONDS = 30


class DoorError(Exception):
    """The sandbox refused, or did not answer; the message says why."""


class Door:
    def __init__(self, aws_endpoint_url: str) -> None:
        self._url = f"{aws_endpoint_url}/_sandbox"
        # A proxy of the environment knows nothing of this machine's loopback.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def get(self, path: str, **query: str | int | None) -> Any:
        given = {name: value for name, value in query.items() if value is not None}
        return self._ask("GET", f"{path}?{urllib.parse.urlencode(given)}")

    def post(self, path: str, *, within_seconds: float = _SECONDS, **given: Any) -> Any:
        return self._ask(
            "POST", path, {name: value for name, value in given.items() if value is not None}, within_seconds
        )

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path)

    def _ask(self, method: str, path: str, body: Any = None, within_seconds: float = _SECONDS) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the sandbox's own address on loopback
            f"{self._url}{path}", method=method, data=None if body is None else json.dumps(body).encode()
        )
        try:
            with self._opener.open(request, timeout=within_seconds) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                raise DoorError(
                    _reason(error.read()) or f"the sandbox answered {error.code} to {method} {path}"
                ) from None
        except (OSError, ValueError) as error:
            raise DoorError(f"the sandbox at {self._url} does not answer: {error}") from error


def _reason(body: bytes) -> str | None:
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return None
