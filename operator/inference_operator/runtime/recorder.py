"""Kubernetes Events without the noise: saying again what was said last waits ten minutes, and objects have budgets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from inference_operator.engine.events import Event

REPEAT_AFTER = 600.0  # seconds
BURST = 25  # client-go's event broadcaster: 25 events an object, then one in five minutes
REFILL = 300.0
REMEMBERED = 10_000


@dataclass
class _Budget:
    tokens: float
    at: float


@dataclass
class Recorder:
    """Decides which events are posted. `clock` gives monotonic seconds."""

    clock: Callable[[], float]
    _posted: OrderedDict[tuple[str, str], tuple[Event, float]] = field(default_factory=OrderedDict)
    """By object and aspect: the last event, and when."""
    _budgets: OrderedDict[str, _Budget] = field(default_factory=OrderedDict)

    def admits(self, uid: str, event: Event) -> bool:
        now = self.clock()
        key = (uid, event.about)
        last = self._posted.get(key)
        if last is not None and last[0] == event and now - last[1] < REPEAT_AFTER:
            return False
        budget = self._budgets.setdefault(uid, _Budget(BURST, now))
        budget.tokens = min(BURST, budget.tokens + (now - budget.at) / REFILL)
        budget.at = now
        if budget.tokens < 1:
            return False
        budget.tokens -= 1
        self._posted[key] = (event, now)
        self._posted.move_to_end(key)
        if len(self._posted) > REMEMBERED:
            self._posted.popitem(last=False)
        if len(self._budgets) > REMEMBERED:
            self._budgets.popitem(last=False)
        return True
