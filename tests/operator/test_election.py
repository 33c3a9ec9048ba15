"""Which replica works. Time is a number that the tests move."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from inference_operator.runtime import election, process
from inference_operator.runtime.election import ConflictError, Election, KubeLease, Lease, LostError
from inference_operator.runtime.health import Health
from inference_operator.runtime.settings import Settings
from inference_sandbox.pytest_plugin import Kube

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class Kept:
    """A lease in memory, as an API server keeps it."""

    lease: Lease | None = None
    failing: bool = False
    before_write: Callable[[], None] | None = None
    written: list[Lease] = field(default_factory=list)

    def read(self) -> Lease | None:
        if self.failing:
            raise TimeoutError("the API server does not answer")
        return self.lease

    def write(self, lease: Lease) -> Lease:
        if self.failing:
            raise TimeoutError("the API server does not answer")
        if self.before_write is not None:
            self.before_write()
        if lease.version != (self.lease.version if self.lease else None):
            raise ConflictError
        self.lease = replace(lease, version=str(int(lease.version or 0) + 1))
        self.written.append(self.lease)
        return self.lease


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Sleeping moves it, and takes no time."""
    made = Clock()
    real = asyncio.sleep

    async def moved(seconds: float) -> None:
        made.now += seconds
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", moved)
    return made


def candidate(kept: Any, clock: Clock, name: str = "me") -> Election:
    return Election(kept, name, monotonic=clock, now=lambda: NOON)


def test_a_lease_that_nobody_has_is_taken_at_once(clock: Clock) -> None:
    kept = Kept()
    asyncio.run(candidate(kept, clock).acquire())
    assert kept.lease is not None
    assert (kept.lease.holder, kept.lease.acquired, kept.lease.transitions, clock.now) == ("me", NOON, 0, 0.0)


def test_a_lease_that_was_given_back_is_taken_at_once(clock: Clock) -> None:
    kept = Kept(Lease(holder="", version="4", transitions=2))
    asyncio.run(candidate(kept, clock).acquire())
    assert kept.lease is not None
    assert (kept.lease.holder, kept.lease.transitions, clock.now) == ("me", 3, 0.0)


def test_a_lease_that_is_no_longer_renewed_is_taken_after_its_duration_by_our_clock(clock: Clock) -> None:
    kept = Kept(Lease(holder="other", version="4", renewed=datetime(2000, 1, 1, tzinfo=UTC)))
    asyncio.run(candidate(kept, clock).acquire())
    assert kept.lease is not None
    assert kept.lease.holder == "me"
    assert election.DURATION <= clock.now <= election.DURATION + election.RETRY


def test_a_lease_that_is_renewed_is_never_taken(clock: Clock) -> None:
    kept = Kept(Lease(holder="other", version="4"))
    mine = candidate(kept, clock)

    for version in range(5, 60):
        clock.now += election.RETRY
        kept.lease = Lease(holder="other", version=str(version))
        assert mine._try() == "other"
    assert clock.now > 3 * election.DURATION
    assert kept.written == []


def test_of_two_that_see_a_free_lease_one_gets_it(clock: Clock) -> None:
    kept = Kept(Lease(holder="", version="4"))

    def faster() -> None:
        kept.before_write = None
        kept.lease = Lease(holder="other", version="5")

    kept.before_write = faster
    mine = candidate(kept, clock)
    assert mine._try() == "other"
    assert kept.lease is not None
    assert kept.lease.holder == "other"


def test_a_holder_whose_renewals_fail_gives_up_before_the_lease_runs_out(clock: Clock) -> None:
    kept = Kept()
    mine = candidate(kept, clock)

    async def lead() -> None:
        await mine.acquire()
        kept.failing = True
        await mine.hold()

    with pytest.raises(LostError, match="could not be renewed for 10 s"):
        asyncio.run(lead())
    assert election.RENEW_DEADLINE < clock.now < election.DURATION


def test_a_holder_whose_last_renewal_was_answered_late_gives_up_before_the_lease_runs_out(clock: Clock) -> None:
    """The others count from when the API server had it."""
    kept = Kept()
    mine = candidate(kept, clock)
    renewed: list[float] = []

    def answered_late(lease: Lease) -> Lease:
        made = Kept.write(kept, lease)
        renewed.append(clock.now)
        clock.now += 6.0
        kept.failing = True
        return made

    async def lead() -> None:
        await mine.acquire()
        kept.write = answered_late  # type: ignore[method-assign]
        await mine.hold()

    with pytest.raises(LostError, match="could not be renewed for 10 s"):
        asyncio.run(lead())
    assert clock.now - renewed[-1] < election.DURATION


def test_a_holder_goes_on_when_a_renewal_fails_now_and_then(clock: Clock) -> None:
    kept = Kept()
    mine = candidate(kept, clock)
    turns = itertools.count()

    def every_third_fails() -> None:
        turn = next(turns)
        if turn == 60:
            kept.lease = Lease(holder="other", version="1000")
        elif turn % 3:
            raise TimeoutError("the API server does not answer")

    async def lead() -> None:
        await mine.acquire()
        kept.before_write = every_third_fails
        await mine.hold()

    with pytest.raises(LostError, match="other"):
        asyncio.run(lead())
    assert len(kept.written) == 21
    assert clock.now > 10 * election.RENEW_DEADLINE


def test_a_holder_that_finds_another_in_its_place_has_lost(clock: Clock) -> None:
    kept = Kept()
    mine = candidate(kept, clock)

    async def lead() -> None:
        await mine.acquire()
        kept.lease = Lease(holder="other", version="9")
        await mine.hold()

    with pytest.raises(LostError, match="other"):
        asyncio.run(lead())


def test_what_is_released_is_nobodys(clock: Clock) -> None:
    kept = Kept()
    mine = candidate(kept, clock)

    async def lead() -> None:
        await mine.acquire()
        await mine.release()

    asyncio.run(lead())
    assert kept.lease is not None
    assert kept.lease.holder == ""


def test_who_is_told_to_stop_during_a_renewal_gives_the_lease_back(clock: Clock) -> None:
    kept, writing, go_on = Kept(), threading.Event(), threading.Event()
    mine = candidate(kept, clock)

    def held_up() -> None:
        kept.before_write = None
        writing.set()
        assert go_on.wait(10)

    async def lead() -> None:
        await mine.acquire()
        kept.before_write = held_up
        holding = asyncio.create_task(mine.hold())
        assert await asyncio.to_thread(writing.wait, 10)
        holding.cancel()
        releasing = asyncio.create_task(mine.release())
        await asyncio.sleep(0)
        go_on.set()
        await releasing

    asyncio.run(lead())
    assert kept.lease is not None
    assert kept.lease.holder == ""


def test_who_is_told_to_stop_while_it_becomes_the_leader_gives_the_lease_back() -> None:
    kept = Kept()

    def told_to_stop() -> None:
        kept.before_write = None
        os.kill(os.getpid(), signal.SIGTERM)

    kept.before_write = told_to_stop
    asyncio.run(process._lead(Settings(), Health(), Election(kept, "me")))
    assert kept.lease is not None
    assert kept.lease.holder == ""


def test_who_is_told_to_stop_gives_the_lease_back_when_the_passes_under_way_have_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept, ended = Kept(), []
    released = threading.Event()

    def a_pass() -> None:
        released.wait(0.3)
        ended.append(kept.lease is not None and kept.lease.holder == "me")

    async def work(*_: object) -> None:
        asyncio.get_running_loop().run_in_executor(None, a_pass)  # which kopf does not wait for
        kept.before_write = released.set

    monkeypatch.setattr(process, "_work", work)
    asyncio.run(process._lead(Settings(), Health(), Election(kept, "me")))
    assert ended == [True]
    assert kept.lease is not None
    assert kept.lease.holder == ""


def test_a_lease_object_of_the_api_server_serves_as_one(kube: Kube, clock: Clock) -> None:
    from kubernetes import client  # noqa: PLC0415 an extra, which the fixture has found installed

    made = KubeLease(kube.namespace, "operator")
    made._api = client.CoordinationV1Api(kube.api)
    assert made.read() is None
    assert candidate(made, clock, "first")._try() == "first"  # at a full second, which isoformat() cuts short
    first = made.read()
    assert first is not None
    assert first.holder == "first"
    with pytest.raises(ConflictError):
        made.write(replace(first, version="1"))
    with pytest.raises(ConflictError):
        made.write(Lease(holder="second"))
    second = candidate(made, clock, "second")
    assert second._try() == "first"
    clock.now += election.DURATION
    assert second._try() == "second"
    printed = kube.cluster.kubectl("get", "lease", "operator", "-n", kube.namespace)
    assert "second" in printed
