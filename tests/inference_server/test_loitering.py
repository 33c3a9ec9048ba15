"""From which connections no more is read, on a clock of the test's own and real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from inference_server.loitering import Loiterers
from inference_server.supervisor import listen

PATIENCE = 5.0


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with listen("127.0.0.1", 0, 8) as listening:
        yield listening


@pytest.fixture
def worker(listening: socket.socket) -> Iterator[socket.socket]:
    """The worker's end of a connection whose caller has begun to say something."""
    with socket.create_connection(listening.getsockname(), 5) as caller:
        caller.sendall(b"GET")
        worker, _ = listening.accept()
        with worker:
            worker.setblocking(False)
            assert worker.recv(10) == b"GET"
            yield worker


def is_over(worker: socket.socket) -> bool:
    try:
        return worker.recv(10) == b""
    except BlockingIOError:
        return False


def test_nothing_more_is_read_from_a_connection_that_takes_too_long(worker: socket.socket) -> None:
    times = [0.0, PATIENCE - 1, PATIENCE]
    loiterers = Loiterers(worker.getsockname()[1], PATIENCE, lambda: times.pop(0))
    for over in (False, False, True):
        loiterers.look()
        assert is_over(worker) is over


def test_such_a_connection_can_be_answered(listening: socket.socket) -> None:
    with socket.create_connection(listening.getsockname(), 5) as caller:
        caller.sendall(b"GET")
        worker, _ = listening.accept()
        with worker:
            Loiterers(listening.getsockname()[1], 0, lambda: 0.0).look()
            worker.sendall(b"HTTP/1.1 408")
            assert caller.recv(100) == b"HTTP/1.1 408"


def test_the_listening_socket_goes_on_listening(listening: socket.socket) -> None:
    Loiterers(listening.getsockname()[1], 0, lambda: 0.0).look()
    with socket.create_connection(listening.getsockname(), 5) as caller:
        caller.sendall(b"GET")
        listening.accept()[0].close()


def test_another_ports_connections_are_left_alone(worker: socket.socket) -> None:
    Loiterers(worker.getsockname()[1] + 1, 0, lambda: 0.0).look()
    assert not is_over(worker)


def test_connections_that_send_nothing_stay_with_the_kernel(listening: socket.socket) -> None:
    """Longer than load balancers keep them."""
    assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 3500
