"""The way down, on a clock of the test's own."""

from __future__ import annotations

import pytest

from inference_server.lifecycle import SETTLE_SECONDS, Lifecycle, Order, Phase


def drive(lifecycle: Lifecycle, start: float, seconds: float, waiting: int | None = 0) -> list[tuple[float, Order]]:
    """Tick ten times a second; the orders with their times, in tenths."""
    orders = []
    for step in range(int(seconds * 10) + 1):
        now = start + step / 10
        orders += [(round(now, 1), order) for order in lifecycle.on_tick(now, waiting=waiting)]
    return orders


def test_sigterm_drains_then_refuses_then_stops() -> None:
    lifecycle = Lifecycle(drain_seconds=5, grace_seconds=10)
    assert lifecycle.on_signal(100) == [Order.ANNOUNCE_DRAIN]
    assert drive(lifecycle, 100, 8) == [(105.0, Order.REFUSE_CONNECTIONS), (105.3, Order.STOP_SERVER)]
    assert lifecycle.exit_code(0) == 0


def test_without_a_drain_it_refuses_at_once() -> None:
    lifecycle = Lifecycle(drain_seconds=0, grace_seconds=10)
    assert lifecycle.on_signal(0) == [Order.ANNOUNCE_DRAIN, Order.REFUSE_CONNECTIONS]


def test_what_does_not_serve_yet_does_not_drain() -> None:
    lifecycle = Lifecycle(drain_seconds=5, grace_seconds=10)
    assert lifecycle.on_signal(0, serving=False) == [Order.ANNOUNCE_DRAIN, Order.REFUSE_CONNECTIONS]


def test_a_second_signal_cuts_the_drain_short_and_a_third_changes_nothing() -> None:
    lifecycle = Lifecycle(drain_seconds=100, grace_seconds=10)
    lifecycle.on_signal(0)
    assert lifecycle.on_signal(1) == [Order.REFUSE_CONNECTIONS]
    assert lifecycle.on_signal(2) == []


def test_it_waits_for_waiting_connections_for_half_of_the_grace() -> None:
    lifecycle = Lifecycle(drain_seconds=0, grace_seconds=10)
    lifecycle.on_signal(0)
    assert drive(lifecycle, 0, 4.9, waiting=3) == []
    assert drive(lifecycle, 5, 1, waiting=3) == [(5.0, Order.STOP_SERVER)]


def test_connections_that_come_through_late_start_the_wait_anew() -> None:
    lifecycle = Lifecycle(drain_seconds=0, grace_seconds=10)
    lifecycle.on_signal(0)
    lifecycle.on_tick(1, waiting=0)
    lifecycle.on_tick(1.1, waiting=1)
    assert lifecycle.on_tick(1.15 + SETTLE_SECONDS, waiting=0) == []
    assert lifecycle.on_tick(1.2 + 2 * SETTLE_SECONDS, waiting=0) == [Order.STOP_SERVER]


def test_what_outlives_the_grace_is_killed_once_and_the_exit_code_says_so() -> None:
    lifecycle = Lifecycle(drain_seconds=1, grace_seconds=2)
    lifecycle.on_signal(0)
    orders = drive(lifecycle, 0, 6)
    assert orders[-1] == (3.0, Order.KILL_SERVER)
    assert [order for _, order in orders].count(Order.KILL_SERVER) == 1
    assert lifecycle.exit_code(-9) == 1


@pytest.mark.parametrize(("status", "code"), [(0, 1), (1, 1), (22, 22), (-9, 137), (-11, 139)])
def test_a_server_that_ends_by_itself_is_never_a_success(status: int, code: int) -> None:
    lifecycle = Lifecycle(drain_seconds=1, grace_seconds=2)
    assert lifecycle.exit_code(status) == code


def test_nothing_happens_while_it_serves() -> None:
    lifecycle = Lifecycle(drain_seconds=1, grace_seconds=2)
    assert drive(lifecycle, 0, 50) == []
    assert lifecycle.phase is Phase.SERVING
