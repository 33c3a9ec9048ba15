"""Which connections are ended for keeping a worker waiting, on a clock of the test's own and real sockets."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from inference_server.loitering import Loiterers
from inference_server.supervisor import listen

PATIENCE = 5.0


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The worker's end of a connection, on which something was sent, and the caller's."""
    with listen("127.0.0.1", 0, 8) as listening, socket.create_connection(listening.getsockname(), 5) as caller:
        caller.sendall(b"GET")
        worker, _ = listening.accept()
        with worker:
            yield worker, caller


def ended(at_work: set[int], worker: socket.socket, caller: socket.socket) -> bool:
    """Whether the worker's connection is ended once it has waited long enough; it is not before that."""
    times = (0.0, PATIENCE - 1, PATIENCE)
    loiterers = Loiterers(at_work, PATIENCE, iter(times).__next__)
    for _ in times:
        assert worker.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"
        loiterers.look(worker.getsockname()[1])
    caller.setblocking(False)
    try:
        return not caller.recv(100)
    except BlockingIOError:
        return False


def test_a_connection_whose_headers_do_not_come_is_ended(ends: tuple[socket.socket, socket.socket]) -> None:
    assert ended(set(), *ends)


def test_one_that_the_application_works_on_is_left_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    assert not ended({ends[0].fileno()}, *ends)


def test_one_that_is_being_answered_is_left_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, caller = ends
    worker.sendall(b"HTTP/1.1 200")
    assert caller.recv(100)
    assert not ended(set(), *ends)


def test_another_ports_connections_are_left_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, _ = ends
    times = (0.0, PATIENCE)
    loiterers = Loiterers(set(), PATIENCE, iter(times).__next__)
    for _ in times:
        loiterers.look(worker.getsockname()[1] + 1)
    worker.sendall(b"still there")


def test_connections_that_send_nothing_stay_with_the_kernel() -> None:
    """Longer than load balancers keep them."""
    with listen("127.0.0.1", 0, 8) as listening:
        assert listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 3500
