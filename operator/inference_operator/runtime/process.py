"""The process, from its start to its end: health first, then the lease where there are several replicas, then kopf.

SIGTERM lets what is under way end, and gives the lease back then; a lost lease ends the process at once. Once kopf has
ended, which takes it 7 s at most, AWS is asked nothing more. What waits for an answer by then gives up within 18 s: all
ends within a pod's 30 s, though AWS be silent.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import kopf
import structlog
from kubernetes.config import load_incluster_config, load_kube_config
from kubernetes.config.config_exception import ConfigException

from inference_operator.aws.clients import EndingError
from inference_operator.runtime import handlers, health, metrics
from inference_operator.runtime.election import Election, KubeLease, LostError
from inference_operator.runtime.kube import Kube
from inference_operator.runtime.settings import Settings

log = structlog.get_logger(__name__)

LOST_LEASE = 3
"""Exit code of a replica that lost its lease."""


def run(settings: Settings) -> None:
    """Until SIGTERM or SIGINT."""
    try:
        load_incluster_config()  # type: ignore[no-untyped-call]  # typed in part
    except ConfigException:
        load_kube_config()  # type: ignore[no-untyped-call]  # typed in part
    try:
        asyncio.run(_run(settings))
    except kopf.LoginError:
        log.critical("ending: the API server takes no credentials of ours any more; who starts again reads them anew")
        sys.exit(1)


async def _run(settings: Settings) -> None:
    state = health.Health()
    server = await health.serve(state, settings.metrics_port) if settings.metrics_port is not None else None
    try:
        if settings.lease is None:
            metrics.LEADER.set(1)
            await _work(settings, state, lambda: None)
        else:
            await _lead(settings, state, Election(_lease(settings.lease), _identity()))
    finally:
        if server is not None:
            await server.cleanup()


async def _lead(settings: Settings, state: health.Health, election: Election) -> None:
    if not await _before_sigterm(election.acquire()):
        await election.release()  # it may have become ours all the same
        return
    metrics.LEADER.set(1)
    holding = asyncio.create_task(_hold(election))

    def while_leading() -> None:
        """Whoever was frozen in a pass may be the first to run again, before `hold`."""
        if election.overdue():
            _end("it has not been renewed")

    try:
        await _work(settings, state, while_leading)
    finally:
        # A pass of a deletion goes on when kopf has ended. Until its end the lease is renewed, so that no other begins.
        await asyncio.get_running_loop().shutdown_default_executor()
        holding.cancel()
        with suppress(asyncio.CancelledError):
            await holding
        await election.release()


async def _hold(election: Election) -> None:
    try:
        await election.hold()
    except LostError as error:
        _end(str(error))


def _end(reason: str) -> None:
    log.critical("the lease is lost: ending at once, for another may be leading", reason=reason)
    os._exit(LOST_LEASE)  # nothing is tidied up: threads may be about to write


async def _work(settings: Settings, state: health.Health, while_leading: Callable[[], None]) -> None:
    over = threading.Event()

    def before_try() -> None:
        if over.is_set():
            raise EndingError
        while_leading()

    registry = kopf.OperatorRegistry()
    handlers.register(registry, settings, state, before_try, while_leading)
    where: dict[str, Any] = {"clusterwide": True}
    if settings.namespaces:
        finding = asyncio.create_task(_readable(settings.namespaces))
        if not await _before_sigterm(finding):
            return
        where = {"namespaces": finding.result()}
    try:
        await kopf.operator(registry=registry, standalone=True, **where)
    finally:
        over.set()


async def _readable(namespaces: Sequence[str]) -> list[str]:
    """Without those whose objects may not be listed, for which kopf would end. Once they may be, the comparison of the
    watch with a list finds what is in them, and liveness fails."""
    found = await handlers.answer(Kube(namespaces).readable)
    for namespace in sorted({*namespaces} - {*found}):
        log.error("not looked after: its objects may not be listed", namespace=namespace)
    return found


async def _before_sigterm(work: Any) -> bool:
    """Whether it ended by itself. kopf sets handlers of its own once it runs."""
    loop, told = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, told.set)
    waits = [asyncio.ensure_future(work), asyncio.ensure_future(told.wait())]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.remove_signal_handler(name)
    return not told.is_set()


def _lease(name: str) -> KubeLease:
    namespace, _, lease = name.partition("/")
    return KubeLease(namespace, lease)


def _identity() -> str:
    """Of this process alone: a container that is started again in the same pod is somebody else."""
    return f"{socket.gethostname()}_{uuid.uuid4().hex[:8]}"
