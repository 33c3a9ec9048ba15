"""Kubernetes Events without the noise: what is told again is counted on the Event that told it first, what was told
last is not told again for ten minutes, and every object has a budget.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from inference_operator.engine.events import Event

REPEAT_AFTER = 600.0  # seconds
SERIES_ENDS_AFTER = 3000.0  # seconds; the API server forgets an Event an hour after its last change
BURST = 25  # client-go's event broadcaster: 25 events an object, then one in five minutes
REFILL = 300.0
REMEMBERED = 10_000


@dataclass
class _Budget:
    tokens: float
    at: float


@dataclass
class _Told:
    posting: Posting
    at: float
    """When it was last posted."""


@dataclass(frozen=True)
class Posting:
    """How an event is to be posted."""

    name: str
    """Of the Kubernetes Event."""
    count: int
    """How often it happened: a new Event if once, else the series of the one of that name."""


@dataclass
class Recorder:
    """Decides how events are posted. `clock` gives monotonic seconds."""

    clock: Callable[[], float]
    _told: OrderedDict[tuple[str, Event], _Told] = field(default_factory=OrderedDict)
    """By object and event."""
    _last: OrderedDict[tuple[str, str], Event] = field(default_factory=OrderedDict)
    """By object and aspect: the last event."""
    _budgets: OrderedDict[str, _Budget] = field(default_factory=OrderedDict)

    def posting(self, uid: str, event: Event, name: str) -> Posting | None:
        """None: it is not to be posted. `name` is the object's."""
        now = self.clock()
        told, aspect = self._told.get((uid, event)), (uid, event.about)
        if told is not None and now - told.at >= SERIES_ENDS_AFTER:
            told = None
        count = told.posting.count + 1 if told is not None else 1
        said_last = self._last.get(aspect) == event
        if (said_last and told is not None and now - told.at < REPEAT_AFTER) or not self._affords(uid, now):
            if told is not None:  # it is counted, and told with the next one
                told.posting = Posting(told.posting.name, count)
            return None
        posting = Posting(told.posting.name if told is not None else f"{name}.{uuid.uuid4().hex[:16]}", count)
        _keep(self._told, (uid, event), _Told(posting, now))
        _keep(self._last, aspect, event)
        return posting

    def _affords(self, uid: str, now: float) -> bool:
        budget = self._budgets.get(uid) or _Budget(BURST, now)
        budget.tokens = min(BURST, budget.tokens + (now - budget.at) / REFILL)
        budget.at = now
        _keep(self._budgets, uid, budget)
        if budget.tokens < 1:
            return False
        budget.tokens -= 1
        return True


K = TypeVar("K")
V = TypeVar("V")


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > REMEMBERED:
        kept.popitem(last=False)
