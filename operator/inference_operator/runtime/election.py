"""Which of several replicas works: the holder of a Lease (coordination.k8s.io/v1), by client-go's rules and figures.

A lease is no fence: a process that was frozen may go on after another has taken over. So who can't renew ends itself
before the lease runs out; and who was frozen finds that with `overdue`, before it writes. What is on its way then can't
be stopped, but what the operator does to AWS can be done twice.

Knows nothing of kopf and of what the holder does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import structlog
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from inference_operator.runtime.kube import connect, micro_time

log = structlog.get_logger(__name__)

T = TypeVar("T")

DURATION = 15.0
"""Seconds that a lease is respected for after its last renewal."""
RENEW_DEADLINE = 10.0
"""Seconds that a holder goes on without a renewal that succeeds."""
RETRY = 2.0
"""Seconds between tries, of the holder and of those who wait."""
REQUEST_TIMEOUT = (2, 4)  # connect, read: a try ends well before the deadline


class LostError(Exception):
    """The lease is no longer ours, or may no longer be."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    holder: str = ""
    """Nobody's if empty."""
    duration: float = DURATION
    acquired: datetime | None = None
    renewed: datetime | None = None
    transitions: int = 0
    version: str | None = None
    """resourceVersion; None of one that does not exist yet."""


class ConflictError(Exception):
    """Somebody else wrote the lease since it was read."""


class Leases(Protocol):
    """One named lease. Both may raise anything that a network does."""

    def read(self) -> Lease | None: ...

    def write(self, lease: Lease) -> Lease:
        """Create it, or replace the version that it was read as; ConflictError if that is no longer the latest."""


@dataclass
class Election:
    """`acquire`, then `hold` beside the work, then `release`."""

    leases: Leases
    me: str
    monotonic: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _seen: tuple[str | None, float] = (None, 0.0)
    """The version last seen, and when it was first seen: other machines' clocks are not believed."""
    _held: Lease | None = None
    _renewed: float = 0.0
    """When the latest try that succeeded began: the API server may have had it then, and have answered long after."""
    _thread: ThreadPoolExecutor = field(
        default_factory=lambda: ThreadPoolExecutor(1, thread_name_prefix="lease"), repr=False
    )  # of its own: passes that wait for AWS must not delay a renewal

    async def acquire(self) -> None:
        """Returns once the lease is ours. Failures of the API server are waited out."""
        told = ""
        while True:
            try:
                holder = await self._in_thread(self._try)
            except Exception as error:  # noqa: BLE001 whatever the API server or the way to it
                log.warning("the lease can't be read or written", error=str(error))
            else:
                if holder == self.me:
                    log.info("leading", identity=self.me)
                    return
                if holder != told:
                    log.info("standing by", leader=holder, identity=self.me)
                    told = holder
            await asyncio.sleep(RETRY)

    async def hold(self) -> None:
        """Renews, until it can't: LostError. Never returns."""
        while True:
            await asyncio.sleep(RETRY)
            left = self._renewed + RENEW_DEADLINE - self.monotonic()
            try:
                holder = await asyncio.wait_for(self._in_thread(self._try), left)
            except Exception as error:  # noqa: BLE001 whatever the API server or the way to it
                log.warning("the lease was not renewed", error=str(error) or type(error).__name__)
            else:
                if holder != self.me:
                    raise LostError(f"the lease is {holder or 'nobody'}'s")
            if self.overdue():
                raise LostError(f"the lease could not be renewed for {RENEW_DEADLINE:.0f} s")

    def overdue(self) -> bool:
        """Whether the last renewal is so long ago that another may lead soon, or leads already."""
        return self.monotonic() - self._renewed > RENEW_DEADLINE

    async def release(self) -> None:
        """Gives it up at once, so that another need not wait for its end. A courtesy: failures are passed over."""
        with suppress(Exception):
            await self._in_thread(self._give_back)  # after a try that is under way: what that writes is given back
        self._thread.shutdown(wait=False)

    def _give_back(self) -> None:
        if self._held is not None:
            self.leases.write(replace(self._held, holder="", duration=1.0, renewed=self.now()))

    def _try(self) -> str:
        """Take or renew the lease if it may be; who holds it then."""
        began = self.monotonic()
        holder = self._take()
        if holder == self.me:
            self._renewed = began
        return holder

    def _take(self) -> str:
        found = self.leases.read()
        if found is not None and found.holder != self.me:
            if found.version != self._seen[0]:
                self._seen = (found.version, self.monotonic())
            if found.holder and self.monotonic() - self._seen[1] < found.duration:
                return found.holder
        mine = self._mine(found or Lease())
        try:
            self._held = self.leases.write(mine)
        except ConflictError:
            return self._who_was_faster()
        return self.me

    def _mine(self, found: Lease) -> Lease:
        now = self.now()
        if found.holder == self.me:
            return replace(found, renewed=now, duration=DURATION)
        taken_over = found.transitions + (found.version is not None)
        return replace(found, holder=self.me, acquired=now, renewed=now, duration=DURATION, transitions=taken_over)

    def _who_was_faster(self) -> str:
        found = self.leases.read()
        return found.holder if found is not None else ""

    async def _in_thread(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)


class KubeLease:
    """A Lease object, by the package `kubernetes`, whose configuration has been loaded."""

    def __init__(self, namespace: str, name: str) -> None:
        self._namespace = namespace
        self._name = name
        self._api = client.CoordinationV1Api(connect())

    def read(self) -> Lease | None:
        try:
            found: Any = self._api.read_namespaced_lease(self._name, self._namespace, _request_timeout=REQUEST_TIMEOUT)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return _read(found)

    def write(self, lease: Lease) -> Lease:
        body = client.V1Lease(
            metadata=client.V1ObjectMeta(name=self._name, namespace=self._namespace, resource_version=lease.version),
            spec=client.V1LeaseSpec(
                holder_identity=lease.holder,
                lease_duration_seconds=int(lease.duration),
                acquire_time=lease.acquired and micro_time(lease.acquired),
                renew_time=lease.renewed and micro_time(lease.renewed),
                lease_transitions=lease.transitions,
            ),
        )
        options: dict[str, Any] = {"_request_timeout": REQUEST_TIMEOUT}
        try:
            if lease.version is None:
                return _read(self._api.create_namespaced_lease(self._namespace, body, **options))
            return _read(self._api.replace_namespaced_lease(self._name, self._namespace, body, **options))
        except ApiException as error:
            if error.status == HTTPStatus.CONFLICT:
                raise ConflictError from error
            raise


def _read(found: Any) -> Lease:
    spec = found.spec
    return Lease(
        holder=spec.holder_identity or "",
        duration=float(spec.lease_duration_seconds or DURATION),
        acquired=spec.acquire_time,
        renewed=spec.renew_time,
        transitions=spec.lease_transitions or 0,
        version=found.metadata.resource_version,
    )
