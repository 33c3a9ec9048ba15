"""What is to happen later: a heap of due times, so that what waits costs nothing.

It must not know what its actions do.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from datetime import datetime
from itertools import count

Action = Callable[[], None]


class Agenda:
    def __init__(self) -> None:
        self._heap: list[tuple[datetime, int, Action]] = []
        self._order = count()

    def at(self, when: datetime, action: Action) -> None:
        """Run `action` at the first tick not before `when`; an action checks by itself that it still applies."""
        heapq.heappush(self._heap, (when, next(self._order), action))

    def run(self, now: datetime) -> None:
        """Run everything due, in order of due time, including what becomes due meanwhile."""
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()

    def next_due(self) -> datetime | None:
        return self._heap[0][0] if self._heap else None

    def __len__(self) -> int:
        return len(self._heap)
