"""Load on a running server, as much as a few connections make, and how it answered. Of the standard library alone.

Each request has a connection of its own, as the server closes it. The load is made by threads of one process, which
takes about a quarter of a millisecond a request: for models that are quicker than that it is the load that is measured.
"""

from __future__ import annotations

import http.client
import json
import math
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

_TIMEOUT_SECONDS = 60


class CantAskError(Exception):
    """The server can't be asked; the text says why."""


@dataclass(frozen=True, slots=True)
class Outcome:
    seconds: float
    latencies: Sequence[float]
    """Seconds of each answered request, in ascending order."""
    statuses: Counter[str]
    """How many were answered with which status, or failed with which error."""

    @property
    def per_second(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, part: float) -> float:
        """Seconds within which this part of the requests was answered; nan if none was."""
        if not self.latencies:
            return math.nan
        return self.latencies[min(len(self.latencies) - 1, int(part * len(self.latencies)))]


def example_request(url: str, model: str) -> bytes:
    """A request that the model takes, as the server's own documentation shows it."""
    try:
        status, body = _ask(url, "GET", f"/docs/examples/{quote(model, safe='')}", b"")
    except (OSError, http.client.HTTPException) as error:
        raise CantAskError(f"{url} can't be reached: {error}") from None
    if status != http.HTTPStatus.OK:
        try:
            reason = json.loads(body)["error"]
        except (ValueError, TypeError, KeyError):  # it is another server
            reason = f"it answers {status}, and not as this server does"
        raise CantAskError(f"{url} has no example for model '{model}': {reason}")
    return body


def check_url(url: str) -> None:
    """Raises CantAskError for what is not the URL of a server."""
    try:
        parts = urlsplit(url)
        right = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:  # of a port that is none
        right = False
    if not right:
        raise CantAskError(f"{url} is not the URL of a server, such as http://127.0.0.1:8080")


def bench(url: str, model: str, body: bytes, connections: int, seconds: float) -> Outcome:
    """Ask on that many connections at once for that long."""
    path = f"/v2/models/{quote(model, safe='')}/infer"
    latencies: list[float] = []
    statuses: Counter[str] = Counter()
    began = time.perf_counter()
    until = began + seconds

    def ask_on_and_on() -> None:
        while (start := time.perf_counter()) < until:
            try:
                status, _ = _ask(url, "POST", path, body)
            except (OSError, http.client.HTTPException) as error:
                statuses[type(error).__name__] += 1
                continue
            latencies.append(time.perf_counter() - start)
            statuses[str(status)] += 1

    threads = [threading.Thread(target=ask_on_and_on) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Outcome(time.perf_counter() - began, sorted(latencies), statuses)


def _ask(url: str, method: str, path: str, body: bytes) -> tuple[int, bytes]:
    parts = urlsplit(url)
    connect = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = connect(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request(method, parts.path.rstrip("/") + path, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()
