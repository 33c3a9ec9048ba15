"""Who answers a request whose model is late, on a clock of the test's own and a pair of sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.deadline import Watch, Watchdog
from inference_server.metrics.store import DURATION, Key, LockedStore, Store, by_code, read_stores


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The worker's end of a connection, and the caller's."""
    worker, caller = socket.socketpair()
    with worker, caller:
        caller.settimeout(5)
        yield worker, caller


def received(caller: socket.socket) -> bytes:
    return b"".join(iter(lambda: caller.recv(4096), b""))


def test_a_model_in_time_is_answered_by_its_worker(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, caller = ends
    watch = Watch()
    watch.asked.append((10.0, worker.fileno(), ("m", "1")))
    watch.look(9.9)
    assert watch.finish()
    watch.look(20.0)
    worker.shutdown(socket.SHUT_WR)
    assert received(caller) == b""


def test_a_late_model_is_answered_by_the_watch_and_once(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, caller = ends
    watch = Watch()
    watch.asked.append((10.0, worker.fileno(), ("m", "1")))
    watch.look(10.0)
    watch.look(11.0)
    assert not watch.finish()
    answer = received(caller)
    assert answer.startswith(b"HTTP/1.1 504 ")
    assert answer.count(b"HTTP/1.1") == 1


def test_a_caller_that_reads_nothing_holds_up_neither_the_watch_nor_the_worker(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    worker, _ = ends
    worker.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        while True:
            worker.send(bytes(65536))
    worker.setblocking(True)
    watch = Watch()
    watch.asked.append((10.0, worker.fileno(), ("m", "1")))
    watch.look(10.0)
    assert not watch.finish()


def test_a_late_request_leaves_the_next_one_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, _ = ends
    watch = Watch()
    watch.asked.append((10.0, worker.fileno(), ("m", "1")))
    watch.look(10.0)
    watch.finish()
    watch.asked.append((20.0, worker.fileno(), ("m", "1")))
    watch.look(19.0)
    assert watch.finish()


def test_what_is_late_is_told_when_it_is_answered_and_when_the_model_is_back(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    worker, _ = ends
    told: list[tuple[Key, int]] = []
    watch = Watch(lambda model, change: told.append((model, change)))
    watch.asked.append((10.0, worker.fileno(), ("m", "1")))
    watch.look(10.0)
    assert told == [(("m", "1"), 1)]
    assert not watch.finish()
    assert told == [(("m", "1"), 1), (("m", "1"), -1)]


@pytest.mark.parametrize("kind", [Store, LockedStore])
def test_what_a_killed_worker_was_late_with_is_counted_by_the_next_one(tmp_path: Path, kind: type[Store]) -> None:
    key = ("m", "1")
    counters = kind(tmp_path / "a.counters", [key], 2)
    counters.use_slot(1)
    counters.late(key, 1)
    assert by_code(read_stores(tmp_path)[key])[504] == 0
    for _ in range(2):
        counters.use_slot(0)
        counters.use_slot(1)
        cells = read_stores(tmp_path)[key]
        assert by_code(cells)[504] == sum(cells[DURATION]) == 1


def test_each_thread_has_a_watch_of_its_own_and_the_watchdog_looks_at_all() -> None:
    now = 0.0
    watchdog = Watchdog(lambda: now, threads=2)
    mine = watchdog.own.watch
    others: list[Watch] = []
    thread = threading.Thread(target=lambda: others.append(watchdog.own.watch))
    thread.start()
    thread.join()
    assert watchdog.own.watch is mine is not others[0]
    worker, caller = socket.socketpair()
    with worker, caller:
        others[0].asked.append((5.0, worker.fileno(), ("m", "1")))
        watchdog.start()
        now = 6.0
        caller.settimeout(5)
        assert received(caller).startswith(b"HTTP/1.1 504 ")
        assert not others[0].finish()
