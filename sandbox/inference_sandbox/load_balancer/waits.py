"""Waiting by a clock that can be moved: whoever moves it wakes those whose moment has come.

What is waited for is not known here. `until` belongs to one event loop; the rest may be asked from any thread.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from itertools import count

from inference_sandbox.ports import Clock


class MachineClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


class Waits:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._loop = asyncio.get_running_loop()
        self._moved = asyncio.Event()
        self._due: dict[int, datetime] = {}
        self._numbers = count()

    async def until(self, moment: datetime) -> None:
        number = next(self._numbers)
        self._due[number] = moment
        try:
            while (left := (moment - self.clock.now()).total_seconds()) > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._moved.wait()
        finally:
            del self._due[number]

    def next_due(self) -> datetime | None:
        return min(self._due.copy().values(), default=None)

    def wake(self) -> None:
        """The clock has been moved."""
        self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()
