"""Who answers a request whose model is late, on a clock of the test's own and a pair of sockets."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference_server.deadline import Watch, Watchdog
from inference_server.metrics.store import DURATION, LockedStore, Store, by_code, read_stores

MODEL = ("m", "1")


def a_watch() -> Watch:
    return Watchdog(lambda: 0.0, [MODEL], workers=1, threads=1).own.watch


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
    watch = a_watch()
    watch.begin(10.0, worker.fileno(), MODEL)
    watch.look(9.9)
    assert watch.finish()
    watch.look(20.0)
    worker.shutdown(socket.SHUT_WR)
    assert received(caller) == b""


def test_a_late_model_is_answered_by_the_watch_and_once(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, caller = ends
    watch = a_watch()
    watch.begin(10.0, worker.fileno(), MODEL)
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
    watch = a_watch()
    watch.begin(10.0, worker.fileno(), MODEL)
    watch.look(10.0)
    assert not watch.finish()


def test_a_late_request_leaves_the_next_one_alone(ends: tuple[socket.socket, socket.socket]) -> None:
    worker, _ = ends
    watch = a_watch()
    watch.begin(10.0, worker.fileno(), MODEL)
    watch.look(10.0)
    watch.finish()
    watch.begin(20.0, worker.fileno(), MODEL)
    watch.look(19.0)
    assert watch.finish()


@pytest.mark.parametrize("threads", [1, 2])
def test_who_takes_a_dead_workers_place_hears_what_it_was_at_and_who_has_been_answered(
    ends: tuple[socket.socket, socket.socket], threads: int
) -> None:
    other = ("n", "2")
    watchdog = Watchdog(lambda: 10.0, [MODEL, other], workers=2, threads=threads)
    watchdog.use_slot(1)
    at = [watchdog.own.watch]
    if threads > 1:
        thread = threading.Thread(target=lambda: at.append(watchdog.own.watch))
        thread.start()
        thread.join()
    for watch in at:
        watch.begin(20.0, ends[0].fileno(), other)
        assert watch.finish()
        watch.begin(20.0, ends[0].fileno(), other)
    assert watchdog.use_slot(0) == []
    assert watchdog.use_slot(1) == [(other, False)] * threads
    assert watchdog.use_slot(1) == []
    watchdog.own.watch.begin(10.0, ends[0].fileno(), MODEL)
    watchdog.look()
    assert watchdog.use_slot(1) == [(MODEL, True)]
    watchdog.own.watch.begin(10.0, ends[0].fileno(), MODEL)
    watchdog.look()
    assert not watchdog.own.watch.finish()
    assert watchdog.use_slot(1) == []


@pytest.mark.parametrize("kind", [Store, LockedStore])
def test_a_request_that_a_worker_died_of_is_counted_and_had_no_end(tmp_path: Path, kind: type[Store]) -> None:
    counters = kind(tmp_path / "a.counters", [MODEL], 2)
    counters.use_slot(1)
    counters.died_of(MODEL, 500)
    cells = read_stores(tmp_path)[MODEL]
    assert by_code(cells)[500] == sum(cells[DURATION]) == cells[DURATION.stop - 1] == 1


def test_each_thread_has_a_watch_of_its_own_and_the_watchdog_looks_at_all() -> None:
    now = 0.0
    watchdog = Watchdog(lambda: now, [MODEL], workers=1, threads=2)
    mine = watchdog.own.watch
    others: list[Watch] = []
    thread = threading.Thread(target=lambda: others.append(watchdog.own.watch))
    thread.start()
    thread.join()
    assert watchdog.own.watch is mine is not others[0]
    worker, caller = socket.socketpair()
    with worker, caller:
        others[0].begin(5.0, worker.fileno(), MODEL)
        watchdog.start()
        now = 6.0
        caller.settimeout(5)
        assert received(caller).startswith(b"HTTP/1.1 504 ")
        assert not others[0].finish()
