"""Sends a steady load of requests and keeps account of each: nothing is tried again, and nothing is left out."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np

from demo.failure import DemoFailed
from demo.inference import ask

_CLIENTS = 4
_PAUSE_SECONDS = 0.03
_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Of one request."""

    seconds: float
    model_version: str | None = None
    """None if the request failed."""
    failure: str | None = None


@dataclass(frozen=True, kw_only=True)
class Report:
    sent: int
    failures: Sequence[str]
    by_version: Mapping[str, int]
    """How many requests each version of the model answered."""
    median_ms: float
    p99_ms: float


def summarise(outcomes: Sequence[Outcome]) -> Report:
    times = [outcome.seconds * 1000 for outcome in outcomes] or [0.0]
    return Report(
        sent=len(outcomes),
        failures=[outcome.failure for outcome in outcomes if outcome.failure is not None],
        by_version=Counter(outcome.model_version for outcome in outcomes if outcome.model_version is not None),
        median_ms=float(np.percentile(times, 50)),
        p99_ms=float(np.percentile(times, 99)),
    )


@contextmanager
def under_load(url: str, model: str, name: str, rows: np.ndarray) -> Iterator[list[Outcome]]:
    """Within the `with` block, several clients send one row of `rows` after another as input `name`.

    The list grows as they do; after the block it is complete.
    """
    outcomes: list[Outcome] = []
    enough = threading.Event()

    def send(client: int) -> None:
        with httpx.Client(timeout=_TIMEOUT_SECONDS, trust_env=False) as http:
            number = client
            while not enough.wait(_PAUSE_SECONDS):
                outcomes.append(_one(http, url, model, {name: rows[number % len(rows)][np.newaxis]}))
                number += _CLIENTS

    clients = [threading.Thread(target=send, args=(client,), name=f"load-{client}") for client in range(_CLIENTS)]
    for client in clients:
        client.start()
    try:
        yield outcomes
    finally:
        enough.set()
        for client in clients:
            client.join()


def _one(http: httpx.Client, url: str, model: str, inputs: Mapping[str, np.ndarray]) -> Outcome:
    began = time.perf_counter()
    try:
        answer = ask(http, url, model, inputs)
    except DemoFailed as failure:
        return Outcome(seconds=time.perf_counter() - began, failure=str(failure))
    return Outcome(seconds=time.perf_counter() - began, model_version=answer.model_version)
