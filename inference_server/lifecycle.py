"""When to do what on the way down. Pure: the time and what happened go in, orders to the supervisor come out.

    SERVING --SIGTERM--> DRAINING --drain_seconds--> CLOSING --no connection waits--> STOPPING --server exits--> done
                         readiness is 503,           new connections                  workers finish their
                         all is served               are refused                      request and exit

CLOSING and STOPPING share `grace_seconds`; what is left after them is killed. A second signal cuts the drain short.
Knows no process, no signal number and no socket. Only the standard library, as the supervisor is kept small.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

SETTLE_SECONDS = 0.2
"""How long no connection may be waiting before the socket is closed: handshakes under way come through in this time."""


class Phase(Enum):
    SERVING = auto()
    DRAINING = auto()
    CLOSING = auto()
    STOPPING = auto()


class Order(Enum):
    """What the supervisor is to do."""

    ANNOUNCE_DRAIN = auto()
    """Make readiness answer 503."""
    REFUSE_CONNECTIONS = auto()
    """Take no new connection; serve those that wait."""
    STOP_SERVER = auto()
    """Let the workers finish their request and exit."""
    KILL_SERVER = auto()


@dataclass(slots=True)
class Lifecycle:
    drain_seconds: float
    grace_seconds: float
    phase: Phase = Phase.SERVING
    killed: bool = False
    _until: float = 0
    """End of the drain, or of the grace."""
    _quiet_since: float | None = None

    def on_signal(self, now: float, *, serving: bool = True) -> list[Order]:
        """SIGTERM or SIGINT came. Where nothing is `serving` yet, there is nothing to drain."""
        if self.phase is Phase.SERVING:
            self.phase, self._until = Phase.DRAINING, now + (self.drain_seconds if serving else 0)
            return [Order.ANNOUNCE_DRAIN, *self.on_tick(now, waiting=None)]
        if self.phase is Phase.DRAINING:
            self._until = now
            return self.on_tick(now, waiting=None)
        return []

    def on_tick(self, now: float, *, waiting: int | None) -> list[Order]:
        """Time passed. `waiting`: connections that no worker has taken yet; None if that is not known."""
        if self.phase is Phase.DRAINING and now >= self._until:
            self.phase, self._until, self._quiet_since = Phase.CLOSING, now + self.grace_seconds, None
            return [Order.REFUSE_CONNECTIONS]
        if self.phase is Phase.CLOSING:
            return self._close(now, waiting)
        if self.phase is Phase.STOPPING and now >= self._until and not self.killed:
            self.killed = True
            return [Order.KILL_SERVER]
        return []

    def _close(self, now: float, waiting: int | None) -> list[Order]:
        if waiting:
            self._quiet_since = None
        elif self._quiet_since is None:
            self._quiet_since = now
        settled = self._quiet_since is not None and now - self._quiet_since >= SETTLE_SECONDS
        # Half of the grace is kept for the requests in flight, however many connections still wait.
        if settled or now >= self._until - self.grace_seconds / 2:
            self.phase = Phase.STOPPING
            return [Order.STOP_SERVER]
        return []

    def exit_code(self, server_status: int) -> int:
        """The code to exit with, now that the server has ended with `server_status`. A death by SIGKILL, -9, is 137,
        as of a container that is killed itself."""
        if self.phase is Phase.SERVING:
            return 128 - server_status if server_status < 0 else server_status or 1
        return 1 if self.killed else 0
