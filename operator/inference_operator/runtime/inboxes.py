"""The inboxes of all environments that ask for events: each is there while its queue and its rule are in order."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog

from inference_operator.aws.ports import Sqs
from inference_operator.domain.ecs_events import News
from inference_operator.runtime.inbox import Heard, Inbox

log = structlog.get_logger(__name__)

Hear = Callable[[str, News, Callable[[], None]], Heard]
"""Tells of an event of an environment; see `Keeper.hear`. Called on the event loop."""

PATIENCE = 60.0
"""Seconds after the start for which events wait until the objects that they may be about have been seen."""


@dataclass
class Inboxes:
    hear: Hear
    lost: Callable[[str], None]
    """Called on the event loop with the environment whose queue is gone."""
    complete: Callable[[], bool]
    """Whether all objects have been seen: before, whose an event is can't be told."""
    _made: dict[str, Inbox] = field(default_factory=dict)
    _wanted: dict[str, tuple[str, Sqs]] = field(default_factory=dict)
    _began: float = field(default_factory=time.monotonic)

    def hears(self, environment: str) -> bool:
        """Whether its events come."""
        inbox = self._made.get(environment)
        return inbox is not None and inbox.hears

    def follow(self, environment: str, queue_url: str | None, connect: Callable[[], Sqs]) -> None:
        """Read from there from now on, as whom `connect` says; None: from nowhere."""
        if queue_url is None:
            self._wanted.pop(environment, None)
        else:
            self._wanted[environment] = (queue_url, connect())
        self._fit(environment)

    def stop(self) -> None:
        self._wanted.clear()
        for environment in list(self._made):
            self._fit(environment)

    def _fit(self, environment: str) -> None:
        wanted, made = self._wanted.get(environment), self._made.get(environment)
        if made is not None and (made.queue_url, made.sqs) != wanted:
            made.stop()
            del self._made[environment]
            made = None
        if wanted is None or made is not None:
            return
        if not self.complete() and time.monotonic() - self._began < PATIENCE:
            asyncio.get_running_loop().call_later(0.5, self._fit, environment)
            return
        self._made[environment] = self._inbox(environment, *wanted)
        self._made[environment].start()
        log.info("events are heard", environment=environment)

    def _inbox(self, environment: str, queue_url: str, sqs: Sqs) -> Inbox:
        loop = asyncio.get_running_loop()

        async def told(news: Sequence[tuple[News, Callable[[], None]]]) -> list[Heard]:
            return [self.hear(environment, it, kept) for it, kept in news]

        def hear(news: Sequence[tuple[News, Callable[[], None]]], /) -> list[Heard]:
            return asyncio.run_coroutine_threadsafe(told(news), loop).result()

        def lost() -> None:
            loop.call_soon_threadsafe(self.lost, environment)

        return Inbox(environment=environment, sqs=sqs, queue_url=queue_url, hear=hear, lost=lost)
