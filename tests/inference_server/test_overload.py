"""When a request is refused because too many wait, or because it waited for too long itself."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from inference_server.overload import Overload
from inference_server.protocol.errors import UnavailableError
from tests.eventually import eventually

NOW = 1000.0
WAITED = 0.1
"""Seconds at least."""
CLOCKS_DIFFER = 0.05
"""Seconds: the kernel counts in ticks."""


@dataclass
class Door:
    """A socket that listens, with those who have come to it."""

    listening: socket.socket
    stack: ExitStack = field(default_factory=ExitStack)

    def come(self, count: int) -> None:
        for _ in range(count):
            self.stack.enter_context(socket.create_connection(self.listening.getsockname())).sendall(b"x")

    def take(self) -> socket.socket:
        return self.stack.enter_context(self.listening.accept()[0])


@pytest.fixture
def door() -> Iterator[Door]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        it = Door(listening)
        with it.stack:
            yield it


def test_more_than_may_wait_are_refused_and_as_many_are_not(door: Door) -> None:
    overload = Overload(door.listening, max_waiting=2)
    door.come(3)
    taken = door.take()
    assert overload.waiting() == 2
    assert overload.check(NOW, taken.fileno(), math.inf) >= 0
    door.come(1)
    with pytest.raises(UnavailableError, match="3 requests wait for a worker; the limit is 2"):
        overload.check(NOW, taken.fileno(), math.inf)


def test_who_has_waited_longer_than_the_deadline_allows_is_refused(door: Door) -> None:
    overload, began = Overload(door.listening, max_waiting=2), time.monotonic()
    door.come(2)
    taken = door.take()
    eventually(lambda: overload.check(NOW, taken.fileno(), math.inf) > WAITED)
    assert overload.check(NOW, taken.fileno(), math.inf) <= time.monotonic() - began + CLOCKS_DIFFER
    with pytest.raises(UnavailableError, match="longer than its deadline allows"):
        overload.check(NOW, taken.fileno(), WAITED)
    taken.getpeername()  # the connection is not closed by the look at it


def test_where_nobody_waits_nobody_has_waited(door: Door) -> None:
    """A connection that is kept open may have been quiet for long."""
    overload = Overload(door.listening, max_waiting=1)
    door.come(2)
    quiet = door.take()
    eventually(lambda: overload.check(NOW, quiet.fileno(), math.inf) > 0.0)
    door.take()
    assert overload.check(NOW, quiet.fileno(), 0.0) == 0.0
    assert NOW < overload.next_check <= NOW + 0.05
