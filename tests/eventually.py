"""Waiting in tests: until something is so, and no longer than a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], timeout: float = 10.0, *, every: float = 0.05) -> T:
    """The first true answer of `predicate`, asked every `every` seconds for at most `timeout` seconds.

    An AssertionError in it means "not yet", so a predicate may assert; the last one is raised when time is up.
    """
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        with suppress(AssertionError):
            if answer := predicate():
                return answer
        time.sleep(every)
    answer = predicate()
    assert answer, f"not so within {timeout} s: the last answer was {answer!r}"
    return answer
