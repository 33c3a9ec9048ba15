"""Ends what a sandbox left at a container engine, and tells whether an engine answers at all.

Containers are no children of the sandbox: they would outlive it. So it keeps this program beside it, on a pipe; when
the pipe closes, whatever the cause, the containers and volumes with the sandbox's label are removed. It is run as a
script and imports the standard library alone, and so has its own small client of the Docker Engine API (1.41).
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

DEFAULT_HOST = "unix:///var/run/docker.sock"
_TIMEOUT = 30.0


class _Connection(http.client.HTTPConnection):
    """HTTP to an engine's socket, or to its TCP port."""

    def __init__(self, host: str, timeout: float) -> None:
        self._address = urlsplit(host)
        super().__init__(self._address.hostname or "engine", self._address.port or 2375, timeout=timeout)

    def connect(self) -> None:
        if self._address.scheme == "unix":
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(self.timeout)
            self.sock.connect(self._address.path)
        else:
            super().connect()


def find_engine(environment: Mapping[str, str] = os.environ) -> str | None:
    """The DOCKER_HOST of a container engine that answers, None if there is none."""
    host = environment.get("DOCKER_HOST") or DEFAULT_HOST
    try:
        status, _ = _ask(host, "GET", "/_ping", timeout=5)
    except (OSError, http.client.HTTPException):
        return None
    return host if status == http.client.OK else None


def why_unreachable(host: str) -> str | None:
    """Why the sandbox could not reach what listens in an engine's containers; None if it can."""
    _, described = _ask(host, "GET", "/info")
    if any("rootless" in option for option in (described or {}).get("SecurityOptions") or ()):
        return "it is rootless, and so its containers have no address that this machine could reach"
    return None


def remove_all(host: str, label: str) -> None:
    """Remove every container and volume that has the label."""
    chosen = quote(json.dumps({"label": [label]}))
    _, containers = _ask(host, "GET", f"/containers/json?all=1&filters={chosen}")
    for container in containers or ():
        _ask(host, "POST", f"/containers/{container['Id']}/kill?signal=KILL")
        _ask(host, "DELETE", f"/containers/{container['Id']}?force=1&v=1")
    _, volumes = _ask(host, "GET", f"/volumes?filters={chosen}")
    for volume in (volumes or {}).get("Volumes") or ():
        _ask(host, "DELETE", f"/volumes/{volume['Name']}?force=1")


def _ask(host: str, method: str, path: str, *, timeout: float = _TIMEOUT) -> tuple[int, Any]:
    with contextlib.closing(_Connection(host, timeout)) as connection:
        connection.request(method, path)
        answer = connection.getresponse()
        body = answer.read()
    try:
        return answer.status, json.loads(body)
    except ValueError:
        return answer.status, None


if __name__ == "__main__":
    sys.stdin.read()
    remove_all(sys.argv[1], sys.argv[2])
