"""Clocks. The scheduler only ever reads one; tests move a virtual one, a demo runs on the wall's.

This module must not know what the time is used for.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock:
    """Stands still until it is moved."""

    def __init__(self, start: datetime = EPOCH) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def set(self, when: datetime) -> None:
        """Move forward to `when`; a moment that has passed leaves the clock where it is."""
        self._now = max(self._now, when)

    def advance(self, duration: timedelta) -> None:
        self.set(self._now + duration)


class WallClock:
    """The machine's clock, plus whatever it was advanced by (so that a demo can skip a wait)."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    def advance(self, duration: timedelta) -> None:
        self._ahead += duration
