"""kopf's part: it watches, keeps a memory for each object, holds the finalizer, and calls the `Keeper`.

`on.event` wakes, one daemon per object looks, `on.delete` takes away. The last is guarded by `when`: unguarded, kopf
would write an annotation at each change. A daemon alone would not do: for an object deleted while the operator was down
kopf starts none, and its resources would be left.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any, TypeVar

import kopf
import structlog
from kubernetes.client.exceptions import ApiException
from prometheus_client import REGISTRY

from inference_operator.api.meta import FINALIZER, GROUP, VERSION
from inference_operator.engine import environments
from inference_operator.runtime import metrics
from inference_operator.runtime.connections import Connections
from inference_operator.runtime.fleet import Fleet
from inference_operator.runtime.health import Health
from inference_operator.runtime.kube import COMPONENT, DEPLOYMENTS, ENVIRONMENTS, Kube
from inference_operator.runtime.loop import Duty, Keeper, service_of
from inference_operator.runtime.settings import Settings
from inference_operator.runtime.slot import Slot

log = structlog.get_logger(__name__)

T = TypeVar("T")

OBJECTS = (GROUP, VERSION, DEPLOYMENTS)
PLACES = (GROUP, VERSION, ENVIRONMENTS)
ASK_EVERY = 2.0  # seconds, of an API server that does not answer at the start
PLACE = Duty(environments.look_after, environments.take_away)


def register(
    registry: kopf.OperatorRegistry,
    settings: Settings,
    health: Health,
    before_try: Callable[[], None],
    before_write: Callable[[], None],
) -> None:
    """Adds the operator's handlers to a registry of kopf's. `health` is told of what they keep. `before_try` is called
    before each request to AWS, `before_write` before each status and Event."""
    keeper = _LateKeeper()

    @kopf.on.login(registry=registry)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        """At the address that the client has: kopf's own way to be a service account asks for `kubernetes.default.svc`,
        which needs a DNS, and passes over a KUBERNETES_SERVICE_HOST that somebody has set."""
        return kopf.login_via_client(**kwargs)

    @kopf.on.startup(registry=registry)
    async def start(settings: kopf.OperatorSettings, **_: Any) -> None:
        configure(settings)
        await keeper.start(own, health, before_try, before_write)

    @kopf.on.cleanup(registry=registry)
    async def stop(**_: Any) -> None:
        keeper.it.inboxes.stop()
        await keeper.it.notifier.stop()

    own = settings
    _register_environments(registry, keeper)

    @kopf.on.event(*OBJECTS, registry=registry)
    async def notice(event: kopf.RawEvent, body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
        if event["type"] == "DELETED":
            keeper.it.gone(dict(body), slot_of(memo))
        else:
            lighten(event["object"])
            keeper.it.notice(dict(body), slot_of(memo))

    @kopf.daemon(*OBJECTS, registry=registry, id="keep")
    async def keep(body: kopf.Body, memo: kopf.Memo, stopped: kopf.DaemonStopped, **_: Any) -> None:
        await keeper.it.keep(body, slot_of(memo), stopped)

    @kopf.on.delete(*OBJECTS, registry=registry, id="finish", when=_is_deleting)
    async def finish(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
        await keeper.it.finish(body, slot_of(memo))


def _register_environments(registry: kopf.OperatorRegistry, keeper: _LateKeeper) -> None:
    @kopf.on.event(*PLACES, registry=registry)
    async def notice_environment(event: kopf.RawEvent, body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
        if event["type"] == "DELETED":
            keeper.it.gone(dict(body), slot_of(memo))
        else:
            keeper.it.environment_noticed(dict(body), slot_of(memo))

    @kopf.daemon(*PLACES, registry=registry, id="keep-environment")
    async def keep_environment(body: kopf.Body, memo: kopf.Memo, stopped: kopf.DaemonStopped, **_: Any) -> None:
        await keeper.it.keep(body, slot_of(memo), stopped, PLACE)

    @kopf.on.delete(*PLACES, registry=registry, id="release", when=_is_deleting)
    async def release(body: kopf.Body, memo: kopf.Memo, **_: Any) -> None:
        await keeper.it.finish(body, slot_of(memo), PLACE)


def configure(settings: kopf.OperatorSettings) -> None:
    """kopf, as this operator wants it; each default that is changed here costs something there."""
    settings.peering.standalone = True
    settings.scanning.disabled = True  # no right to list namespaces and CRDs is needed
    settings.posting.enabled = False  # Events are posted by the recorder
    settings.posting.loggers = False
    settings.persistence.finalizer = FINALIZER
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=GROUP, v1=False)
    settings.persistence.diffbase_storage = _NothingKept()
    settings.networking.request_timeout = 30
    settings.networking.connect_timeout = 5
    settings.networking.error_backoffs = [1, 2, 5, 10, 20]
    settings.watching.connect_timeout = 10
    settings.background.cancellation_polling = 5
    settings.process.ultimate_exiting_timeout = 28  # a pod has 30


class _NothingKept(kopf.DiffBaseStorage):
    """Nobody here asks kopf what has changed. It would write the whole object into an annotation of it before it lets
    it go, and never let go of one in which there is no room for that."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def store(self, **_: Any) -> None:
        pass


def lighten(document: Any) -> None:
    """Less of an object that kopf keeps for as long as there is the object, in place. Who set which field is a third of
    it and of no use here; and each object comes with its own copy of the names of the fields, which are always the
    same."""
    document["metadata"].pop("managedFields", None)
    for part in ("spec", "status"):
        if part in document:
            document[part] = _with_shared_names(document[part])


def _with_shared_names(part: Any) -> Any:
    if isinstance(part, dict):
        return {sys.intern(name): _with_shared_names(value) for name, value in part.items()}
    return [_with_shared_names(item) for item in part] if isinstance(part, list) else part


def slot_of(memo: kopf.Memo) -> Slot:
    if "slot" not in memo:
        memo.slot = Slot()
    slot: Slot = memo.slot
    return slot


def _is_deleting(meta: Mapping[str, Any], **_: Any) -> bool:
    return meta.get("deletionTimestamp") is not None


class _LateKeeper:
    """The keeper, which can only be made once kopf's event loop runs."""

    it: Keeper
    comparing: asyncio.Task[None]

    async def start(
        self, settings: Settings, health: Health, before_try: Callable[[], None], before_write: Callable[[], None]
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(settings.concurrency + 4, thread_name_prefix="pass"))
        kube = Kube(settings.namespaces, before_write)
        # Before the first pass: an environment that is merely not seen yet must not read as one that is not there.
        environments = await answer(kube.environments)
        expected = {service_of({"metadata": m}) for m in await answer(kube.metadata)}

        def changed(_cluster: str, service: str) -> None:
            loop.call_soon_threadsafe(self.it.service_changed, service)

        self.it = Keeper(
            kube=kube,
            connect=Connections(metrics.aws_call, changed, before_try),
            gate=asyncio.Semaphore(settings.concurrency),
            environments=environments,
            expected=expected,
        )
        health.slots = self.it.kept
        REGISTRY.register(Fleet(self.it.documents))
        self.comparing = asyncio.create_task(health.keep_comparing(kube))
        log.info("started", component=COMPONENT, environments=sorted(environments))


async def answer(ask: Callable[[], T]) -> T:
    """An API server that is away, or does not know the kinds yet, is waited for. kopf would call the start again, which
    registers what can be registered once."""
    while True:
        try:
            return await asyncio.to_thread(ask)
        except Exception as error:  # noqa: BLE001 whatever the API server or the way to it
            busy = isinstance(error, ApiException) and error.status == HTTPStatus.TOO_MANY_REQUESTS
            # As it is for a moment after the kinds were made known: no word to anybody.
            log.log(logging.DEBUG if busy else logging.WARNING, "the objects can't be listed yet", error=str(error))
            await asyncio.sleep(ASK_EVERY)
