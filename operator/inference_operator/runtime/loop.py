"""The loop around the engine's passes: one for each object, woken by whatever may matter to it, one pass at a time.

Level-triggered: a wake says only "look again". The state kept here saves work; all of it may be lost at any moment.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import structlog

from inference_operator.api.meta import RECONCILE_AT
from inference_operator.domain.names import Identity
from inference_operator.engine.backoff import after_failures
from inference_operator.engine.objects import Connect, Outcome, Work, World, look_after, take_away
from inference_operator.engine.reconcile import Memory
from inference_operator.runtime import metrics
from inference_operator.runtime.kube import GoneError, Kube
from inference_operator.runtime.recorder import Recorder

log = structlog.get_logger(__name__)

Document = Mapping[str, Any]
JITTER = 0.05  # of a wait, either way: a fleet does not look all at once


class Stopped(Protocol):
    """kopf's stopper of a daemon."""

    def __bool__(self) -> bool: ...
    def wait(self) -> Awaitable[object]: ...


@dataclass
class Slot:
    """What is kept of one object between its passes."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    memory: Memory = field(default_factory=Memory)
    seen: object = None
    """The fingerprint that last woke it."""
    status: Mapping[str, Any] | None = None
    """The status last written, which the watch may not have brought back yet."""
    failures: int = 0
    """Writes to the Kubernetes API that failed in a row."""
    due: float | None = None
    """When its next pass should begin (monotonic); None while one is under way."""

    def wait(self, seconds: float) -> None:
        self.due = time.monotonic() + seconds

    def begin(self) -> None:
        now = time.monotonic()
        metrics.QUEUE_SECONDS.observe(max(0.0, now - (self.due if self.due is not None else now)))
        self.due = None

    def call(self) -> None:
        """Its turn is now."""
        now = time.monotonic()
        self.due = min(self.due, now) if self.due is not None else self.due
        self.wake.set()


def fingerprint(metadata: Mapping[str, Any]) -> object:
    """What of an object starts a pass. The status is not in it: our own write would wake us for ever."""
    annotations = metadata.get("annotations") or {}
    return metadata.get("generation"), metadata.get("deletionTimestamp"), annotations.get(RECONCILE_AT)


@dataclass
class Keeper:
    """All objects of the cluster, kept as their specs ask."""

    kube: Kube
    connect: Connect
    gate: AbstractAsyncContextManager[Any]
    """Bounds how many passes run at once."""
    recorder: Recorder = field(default_factory=lambda: Recorder(time.monotonic))
    environments: dict[str, Document] = field(default_factory=dict)
    slots: dict[str, tuple[Slot, Document]] = field(default_factory=dict)
    """By ECS service name: its slot and the object as last seen."""

    def notice(self, document: Document, slot: Slot) -> None:
        """Something happened to an object."""
        self.slots[service_of(document)] = (slot, document)
        seen = fingerprint(document["metadata"])
        if seen != slot.seen:
            slot.seen = seen
            slot.call()

    def forget(self, document: Document) -> None:
        self.slots.pop(service_of(document), None)

    def environment_changed(self, name: str, document: Document | None) -> None:
        """An environment was made, changed or deleted: everything in it is looked at again."""
        if document is None:
            self.environments.pop(name, None)
        else:
            self.environments[name] = document
        for slot, used_by in list(self.slots.values()):
            if (used_by.get("spec") or {}).get("environment", "default") == name:
                slot.memory.forget()
                slot.call()

    def service_changed(self, service: str) -> None:
        """Another object's look at AWS showed that this service is not what it was."""
        kept = self.slots.get(service)
        if kept is not None:
            kept[0].call()

    async def keep(self, body: Document, slot: Slot, stopped: Stopped) -> None:
        """Until the object goes or the operator stops. Never raises: kopf does not start a daemon twice."""
        slot.wait(0)
        while not stopped:
            slot.wake.clear()  # before reading: what happens from here on is the next pass's
            async with self.gate, slot.lock:
                if stopped:
                    return
                slot.begin()
                outcome = await self._pass(look_after, dict(body), slot)
            await self._rest(slot, stopped, outcome)

    async def finish(self, body: Document, slot: Slot) -> None:
        """Until nothing of a deleted object is left."""
        slot.wait(0)
        while True:
            slot.wake.clear()
            async with self.gate, slot.lock:
                slot.begin()
                outcome = await self._pass(take_away, dict(body), slot)
            if outcome.done:
                self.forget(body)
                return
            await self._rest(slot, None, outcome)

    async def _rest(self, slot: Slot, stopped: Stopped | None, outcome: Outcome) -> None:
        seconds = jittered(outcome.requeue_after)
        slot.wait(seconds)
        if slot.wake.is_set():  # it was called during the pass
            slot.wait(0)
        await first_of(slot.wake, stopped, seconds)

    async def _pass(self, work: Work, document: Document, slot: Slot) -> Outcome:
        metadata = document["metadata"]
        with structlog.contextvars.bound_contextvars(
            namespace=metadata.get("namespace"),
            name=metadata.get("name"),
            uid=metadata.get("uid"),
            generation=metadata.get("generation"),
        ):
            known = slot.status if slot.status is not None else document.get("status")
            started = time.perf_counter()
            world = World(environments=dict(self.environments), connect=self.connect)
            outcome = await asyncio.to_thread(
                work, {**document, "status": known}, world, slot.memory, datetime.now(UTC)
            )
            metrics.RECONCILE_SECONDS.observe(time.perf_counter() - started)
            metrics.RECONCILES.labels(result=_result(outcome)).inc()
            return await self._tell(document, slot, known, outcome)

    async def _tell(self, document: Document, slot: Slot, known: Mapping[str, Any] | None, outcome: Outcome) -> Outcome:
        after = outcome.status.document()
        try:
            if await asyncio.to_thread(self.kube.write_status, document, known, after):
                log.info("status written", ready=_ready(after))
            slot.status = after
            slot.failures = 0
        except GoneError:
            return Outcome(status=outcome.status, requeue_after=timedelta(minutes=5), done=outcome.done)
        except Exception:  # whatever the API server or the way to it: the next pass writes it
            log.exception("status not written")
            slot.failures += 1
            wait = min(outcome.requeue_after, after_failures(slot.failures))
            return Outcome(status=outcome.status, requeue_after=wait, done=outcome.done)
        for event in outcome.events:
            if self.recorder.admits(document["metadata"]["uid"], event):
                try:
                    await asyncio.to_thread(self.kube.publish, document, event)
                except Exception as error:  # noqa: BLE001 an Event is a courtesy; in a namespace that goes it can't be posted at all
                    log.warning("event not posted", reason=event.reason, error=str(error))
        return outcome


def service_of(document: Document) -> str:
    metadata = document["metadata"]
    return Identity(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"]).service


def jittered(wait: timedelta) -> float:
    """Seconds."""
    return wait.total_seconds() * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 spreading, not secrecy


async def first_of(wake: asyncio.Event, stopped: Stopped | None, timeout: float) -> None:  # noqa: ASYNC109 three things end the wait
    """Returns at the first of the three."""
    waits = [asyncio.ensure_future(wake.wait())]
    if stopped is not None:
        waits.append(asyncio.ensure_future(_flagged(stopped)))
    _, pending = await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()


async def _flagged(stopped: Stopped) -> Literal[True]:
    await stopped.wait()
    return True


def _result(outcome: Outcome) -> str:
    return _ready(outcome.status.document()) or "unknown"


def _ready(status: Mapping[str, Any]) -> str | None:
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), None)
    return ready["reason"] if ready is not None else None
