"""The loop around the engine's passes: one for each object, woken by whatever may matter to it, one pass at a time.

Level-triggered: a wake says only "look again".
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import structlog

from inference_operator.api.meta import FINALIZER
from inference_operator.api.status import STOPPED_TASKS_LIMIT
from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec, InferenceEnvironmentStatus, Notified
from inference_operator.domain import ecs_events
from inference_operator.domain.names import Identity
from inference_operator.engine.backoff import after_failures
from inference_operator.engine.environments import queue_url
from inference_operator.engine.objects import (
    Connect,
    News,
    Outcome,
    Work,
    World,
    environment_name,
    look_after,
    take_away,
)
from inference_operator.runtime import metrics
from inference_operator.runtime.inboxes import Inboxes
from inference_operator.runtime.kube import GoneError, Kube
from inference_operator.runtime.notifier import Notifier
from inference_operator.runtime.recorder import Recorder
from inference_operator.runtime.slot import Document, Slot, StoppedTask, fingerprint

log = structlog.get_logger(__name__)

SPACING = 1.0
"""Seconds between the beginnings of two passes over an object for the sake of events: they come in bursts."""
CONTESTED = 5.0
"""Seconds until a status that somebody else has written is put right: it may be another operator, which does so too."""
UNHELD = 0.1  # seconds until it is looked again whether an object has its finalizer
STUCK = timedelta(minutes=1)
"""So long a wait of a deletion is none for AWS, but for somebody to do something."""
LOOK_EVERY = 10.0
"""Seconds until an object whose deletion waits is looked up again."""
JITTER = 0.05  # of a wait, either way: a fleet does not look all at once


class Stopped(Protocol):
    """kopf's stopper of a daemon."""

    def __bool__(self) -> bool: ...
    def wait(self) -> Awaitable[object]: ...


@dataclass(frozen=True)
class Duty:
    """What is done for the objects of a kind."""

    look_after: Work
    take_away: Work


DEPLOYMENT = Duty(look_after, take_away)


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
    environment_slots: dict[str, Slot] = field(default_factory=dict)
    """By name of the InferenceEnvironment."""
    labels: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """By namespace, its labels as last read."""

    expected: set[str] = field(default_factory=set)
    """ECS service names of the objects that there were at the start and that the watch has not shown yet."""

    def __post_init__(self) -> None:
        self.notifier = Notifier(
            secrets=self.kube, sns=lambda spec: self.connect(spec).sns, changed=self.call_environment
        )
        self.inboxes = Inboxes(hear=self.hear, lost=self.queue_lost, complete=lambda: not self.expected)

    def documents(self) -> list[Document]:
        """Objects and environments, with the status last written."""
        return [{**document, "status": slot.status or document.get("status")} for slot, document in self.kept()]

    def kept(self) -> list[tuple[Slot, Document]]:
        """Objects and environments, as last seen."""
        environments = [(slot, self.environments[name]) for name, slot in self.environment_slots.items()]
        return [*self.slots.values(), *environments]

    def notice(self, document: Document, slot: Slot) -> None:
        """Something happened to an object."""
        service = service_of(document)
        if service not in self.slots or _port_of(self.slots[service][1]) != _port_of(document):
            self._call_environment(document)
        self.slots[service] = (slot, document)
        self._notice_status(slot, document)
        self.expected.discard(service)
        seen = fingerprint(document["metadata"])
        if seen != slot.seen:
            slot.seen = seen
            slot.call()

    def gone(self, document: Document, slot: Slot) -> None:
        """The watch tells of an object's end. kopf stops its daemon only where it saw the deletion begin."""
        slot.gone = True
        slot.call()
        while slot.stopped:  # no status will have it; until it is kept, it would come again
            slot.stopped.popitem()[1].kept()
        self.forget(document)
        if "namespace" in document["metadata"]:
            # Again: when it was forgotten, whoever listed what is in the environment may have seen it still.
            self._call_environment(document)

    def forget(self, document: Document) -> None:
        if self._has_successor(document):
            return
        if "namespace" not in document["metadata"]:
            self._forget_environment(document)
            return
        if self.slots.pop(service_of(document), None) is not None:
            self._call_environment(document)
        self.expected.discard(service_of(document))

    def _has_successor(self, document: Document) -> bool:
        """Whether there is another object of the name by now: somebody has taken the first one's finalizer away."""
        return bool(self._as_shown(document)["metadata"]["uid"] != document["metadata"]["uid"])

    def _as_shown(self, document: Document) -> Document:
        """The object of the name as the watch last brought it."""
        if "namespace" not in document["metadata"]:
            return self.environments.get(document["metadata"]["name"], document)
        return self.slots.get(service_of(document), (None, document))[1]

    def environment_noticed(self, document: Document, slot: Slot) -> None:
        """Something happened to an environment: if to what it offers, everything in it is looked at again."""
        name = document["metadata"]["name"]
        known = self.environments.get(name)
        self.environments[name] = document
        self.environment_slots[name] = slot
        self._notice_status(slot, document)
        seen = fingerprint(document["metadata"])
        if seen != slot.seen:
            slot.seen = seen
            slot.doubted = True
            slot.call()
        if known is None or _offers(known) != _offers(document):
            self._call_those_in(name)

    def _forget_environment(self, document: Document) -> None:
        name = document["metadata"]["name"]
        self.environments.pop(name, None)
        self.environment_slots.pop(name, None)
        self._listen({**document, "spec": {}}, None)
        self._call_those_in(name)

    def _call_those_in(self, name: str) -> None:
        for slot, used_by in list(self.slots.values()):
            if environment_name(used_by) == name:
                slot.doubted = True
                slot.call()

    def _call_environment(self, document: Document) -> None:
        """What is in it has changed."""
        slot = self.environment_slots.get(environment_name(document))
        if slot is not None:
            slot.call()

    def service_changed(self, service: str) -> None:
        """Another object's look at AWS showed that this service is not what it was."""
        kept = self.slots.get(service)
        if kept is not None:
            self._hint(kept[0])

    def call_environment(self, name: str) -> None:
        slot = self.environment_slots.get(name)
        if slot is not None:
            slot.call()

    def queue_lost(self, environment: str) -> None:
        """The queue of its events is gone: it is looked at again."""
        slot = self.environment_slots.get(environment)
        if slot is not None:
            slot.doubted = True
            self._hint(slot)

    def _listen(self, environment: Document, status: InferenceEnvironmentStatus | None) -> None:
        """Events are read where the status of an environment, which has just been looked at as it is given, says."""
        name, spec = environment["metadata"]["name"], environment.get("spec") or {}
        self.inboxes.follow(
            name,
            queue_url(status) if status is not None else None,
            lambda: self.connect(InferenceEnvironmentSpec.model_validate(spec)).sqs,
        )
        metrics.events_asked_for(name, asked=bool(spec.get("events")))

    def hear(
        self, environment: str, news: ecs_events.News, kept: Callable[[], None]
    ) -> Literal["mine", "later", "foreign"]:
        """An event about a service came. "later": what it tells is safe once `kept` is called."""
        slot, document = self.slots.get(news.service, (None, {}))
        if slot is None or environment_name(document) != environment:
            return "foreign"
        slot.heard_at = datetime.now(UTC)
        self._hint(slot)
        if news.stopped is None or news.task is None:
            return "mine"
        before = slot.stopped.pop(news.task, None)
        if before is not None:
            before.kept()  # this one tells the same and more, and is held in its place
        slot.stopped[news.task] = StoppedTask(news.stopped, kept)
        if len(slot.stopped) > STOPPED_TASKS_LIMIT:
            slot.stopped.popitem(last=False)[1].kept()  # the status holds no more either
        return "later"

    def _notice_status(self, slot: Slot, document: Document) -> None:
        if slot.take_status(document) and slot.due is not None:  # else it is seen to when the pass ends
            self._put_right(slot, document)

    def _put_right(self, slot: Slot, document: Document) -> None:
        if not slot.failures:  # else it may be our own, whose answer was lost
            metadata = document["metadata"]
            where = {"namespace": metadata.get("namespace"), "name": metadata["name"]}
            log.warning("the status is not as written: another operator runs here, or the CRDs are older", **where)
        asyncio.get_running_loop().call_later(CONTESTED, self._hint, slot)

    def _hint(self, slot: Slot) -> None:
        """Wakes the object, but not so soon that it would be looked at twice within SPACING."""
        loop = asyncio.get_running_loop()
        wait = slot.began + SPACING - loop.time()
        if wait <= 0:
            slot.hinted = False
            slot.call()
        elif not slot.hinted:
            slot.hinted = True
            loop.call_later(wait, self._hint_again, slot)

    def _hint_again(self, slot: Slot) -> None:
        slot.hinted = False
        self._hint(slot)

    async def keep(self, body: Document, slot: Slot, stopped: Stopped, duty: Duty = DEPLOYMENT) -> None:
        """Until the object goes or the operator stops. Never raises: kopf does not start a daemon twice."""

        def over() -> bool:
            return bool(stopped) or slot.gone

        slot.wait(0)
        while not over():
            if FINALIZER not in body["metadata"].get("finalizers", ()):
                # Not held yet, or let go: if it were deleted now, nobody would take away what a pass makes.
                await first_of(slot.wake, stopped, UNHELD)
                slot.wake.clear()
                continue
            async with self.gate, slot.lock:
                if over():
                    break
                slot.wake.clear()  # before reading: what happens from here on is the next pass's
                slot.begin()
                outcome = await self._pass(duty.look_after, dict(body), slot, over)
            await self._rest(slot, stopped, outcome)
        if slot.gone and _slipped_away(body):
            log.warning("deleted behind its finalizer: what was made is taken away", name=body["metadata"]["name"])
            await self.finish(body, slot, duty)

    async def finish(self, body: Document, slot: Slot, duty: Duty = DEPLOYMENT) -> None:
        """Until nothing of a deleted object is left. kopf brings no word of the object before this is over: neither of
        an edit, such as the end of a pause, nor that somebody has taken the finalizer away."""
        slot.wait(0)
        while True:
            async with self.gate, slot.lock:
                slot.wake.clear()
                slot.begin()
                outcome = await self._pass(duty.take_away, dict(body), slot)
            if outcome.done:
                break
            found = await self._rest_looking(body, slot, outcome)
            body = found or body
            if found is None and outcome.requeue_after >= STUCK:
                log.warning("gone without its finalizer: what is left of it stays", name=body["metadata"]["name"])
                break
        self.forget(body)  # the watch may not tell of its end: what happens while it is interrupted it does not

    async def _rest_looking(self, body: Document, slot: Slot, outcome: Outcome) -> Document | None:
        """Rests, and looks at the object now and then, once at least: as it is last; None if it is gone."""
        resting = asyncio.ensure_future(self._rest(slot, None, outcome))
        found: Document | None = body
        try:
            while not resting.done():
                await asyncio.wait([resting], timeout=LOOK_EVERY)
                found = await self._looked_up(found or body, slot)
        finally:
            resting.cancel()
        return found

    async def _looked_up(self, document: Document, slot: Slot) -> Document | None:
        """An object that is being deleted, as the API server has it now and as known where that can't be seen; None if
        it is gone."""
        try:
            found = await asyncio.to_thread(self.kube.latest, document)
        except Exception as error:  # noqa: BLE001 whatever the API server or the way to it: it is asked again
            log.warning("not seen how the object is now", name=document["metadata"]["name"], error=str(error))
            return document
        if found is not None and not self._has_successor(document):
            (self.notice if "namespace" in found["metadata"] else self.environment_noticed)(found, slot)
        return found

    async def _rest(self, slot: Slot, stopped: Stopped | None, outcome: Outcome) -> None:
        seconds = outcome.requeue_after.total_seconds() if outcome.on_time else jittered(outcome.requeue_after)
        slot.wait(seconds)
        if slot.wake.is_set():  # it was called during the pass
            slot.wait(0)
        await first_of(slot.wake, stopped, seconds)

    async def _pass(
        self, work: Work, document: Document, slot: Slot, stopping: Callable[[], bool] = lambda: False
    ) -> Outcome:
        metadata = document["metadata"]
        with structlog.contextvars.bound_contextvars(
            namespace=metadata.get("namespace"),
            name=metadata.get("name"),
            uid=metadata.get("uid"),
            generation=metadata.get("generation"),
        ):
            known = slot.status if slot.status is not None else document.get("status")
            started = time.perf_counter()
            slot.began = asyncio.get_running_loop().time()
            log.debug("a pass begins", monotonic=slot.began)
            stopped = dict(slot.stopped)
            world = replace(await self._world(document, slot), stopping=stopping)
            if metadata.get("deletionTimestamp") and "namespace" not in metadata and not self._has_successor(document):
                self._listen(document, None)
            outcome = await asyncio.to_thread(
                work, {**document, "status": known}, world, slot.memory, datetime.now(UTC)
            )
            metrics.RECONCILE_SECONDS.observe(time.perf_counter() - started)
            metrics.RECONCILES.labels(result=_result(outcome)).inc()
            told = await self._tell(document, slot, known, outcome)
            if slot.status == outcome.status.document():
                slot.settle(world.news, stopped, outcome)
                self._notify(document, slot, outcome, world)
            stays = not (metadata.get("deletionTimestamp") or slot.gone or self._has_successor(document))
            if isinstance(outcome.status, InferenceEnvironmentStatus) and stays:
                self._listen(document, outcome.status)
            return told

    def _notify(self, document: Document, slot: Slot, outcome: Outcome, world: World) -> None:
        name = environment_name(document)

        def delivered(notified: Notified) -> None:
            slot.notified[notified.id] = notified
            self._hint(slot)

        for notice in outcome.notices:
            if notice.id not in slot.notified:
                # As the pass saw it: by now there may be none, or one that does not validate.
                environment = InferenceEnvironmentSpec.model_validate(world.environments[name]["spec"])
                self.notifier.offer(name, environment, notice, delivered)

    async def _world(self, document: Document, slot: Slot) -> World:
        environments = dict(self.environments)
        if "namespace" not in document["metadata"]:
            objects = await asyncio.to_thread(self._objects_in, document)
            return World(
                environments=environments,
                connect=self.connect,
                objects=objects,
                undelivered=self.notifier.failing.get(document["metadata"]["name"]),
            )
        asked = (environments.get(environment_name(document), {}).get("spec") or {}).get("policy") or {}
        labels = None
        if asked.get("namespaces"):  # the right to read them is needed only where a policy asks for them
            labels = await asyncio.to_thread(self._labels_of, document["metadata"]["namespace"])
        news = News(
            at=slot.heard_at,
            stopped_tasks=tuple(task.shown for task in slot.stopped.values()),
            notified=tuple(slot.notified.values()),
            pushed=self.inboxes.hears(environment_name(document)),
        )
        return World(environments=environments, connect=self.connect, labels=labels, news=news)

    def _objects_in(self, environment: Document) -> list[Document] | None:
        """What has been seen; or, where something is removed with the last of them, what the API server lists."""
        seen: Iterable[Document] = [document for _, document in list(self.slots.values())]
        # What is removed because nobody needs it must be known not to be needed.
        network = (environment.get("spec") or {}).get("network") or {}
        if environment["metadata"].get("deletionTimestamp") or network.get("manageSecurityGroupRules"):
            try:
                seen = self.kube.deployments()
            except Exception as error:  # noqa: BLE001 whatever the API server or the way to it
                log.warning("objects of the environment not listed", error=str(error))
                return None
        return [document for document in seen if environment_name(document) == environment["metadata"]["name"]]

    def _labels_of(self, namespace: str) -> Mapping[str, str] | None:
        try:
            self.labels[namespace] = self.kube.namespace_labels(namespace)
        except Exception as error:  # noqa: BLE001 whatever the API server or the way to it: what is known is believed on
            log.warning("labels of the namespace not read", namespace=namespace, error=str(error))
        return self.labels.get(namespace)

    async def _tell(self, document: Document, slot: Slot, known: Mapping[str, Any] | None, outcome: Outcome) -> Outcome:
        after = outcome.status.document()
        if self._has_successor(document):
            return outcome
        try:
            written = await asyncio.to_thread(self.kube.write_status, document, known, after)
            # A status that another process has written is as good as written by this one.
            slot.written = written or slot.written or document["metadata"].get("resourceVersion")
            if written is not None:
                log.info("status written", ready=_ready(after))
            slot.status = after
            slot.failures = 0
            slot.take_status(self._as_shown(document))
        except GoneError:
            return outcome
        except Exception:  # whatever the API server or the way to it: the next pass writes it
            log.exception("status not written")
            slot.failures += 1
            wait = min(outcome.requeue_after, after_failures(slot.failures))
            return Outcome(status=outcome.status, requeue_after=wait, done=outcome.done)
        for event in outcome.events:
            metadata = document["metadata"]
            posting = self.recorder.posting(metadata["uid"], event, metadata["name"])
            if posting is not None:
                try:
                    await asyncio.to_thread(self.kube.publish, document, event, posting.name, posting.count)
                except Exception as error:  # noqa: BLE001 an Event is a courtesy; in a namespace that goes it can't be posted at all
                    log.warning("event not posted", reason=event.reason, error=str(error))
        if slot.status != after:  # somebody else has written it since, maybe while Events were posted
            self._put_right(slot, document)
        return outcome


def _slipped_away(document: Document) -> bool:
    """Whether an object was deleted although it had our finalizer, before anything was told of it. The API server reads
    an object, sees no finalizer, and deletes it with what has come to it since (`Store.Delete` of k8s.io/apiserver).
    """
    metadata = document["metadata"]
    held = FINALIZER in metadata.get("finalizers", ()) and not metadata.get("deletionTimestamp")
    return held and not document.get("status")


def service_of(document: Document) -> str:
    metadata = document["metadata"]
    return Identity(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"]).service


def _port_of(document: Document) -> object:
    """What of an object is opened by its environment."""
    return (document.get("spec") or {}).get("port")


def _offers(environment: Document) -> object:
    """The next one of a name takes what the one before, which was being deleted, did not."""
    return environment["metadata"]["uid"], environment.get("spec")


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
