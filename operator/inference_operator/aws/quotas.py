"""How fast Amazon ECS may be called, by the token buckets that it publishes, kept here so that AWS need not refuse.

"Request throttling for the Amazon ECS API": each account and region has a bucket for each group of actions. Who comes
when a bucket is empty gets a turn, a moment to come back at, and turns are a bucket's rate apart: nobody waits in a
thread, and a fleet of a thousand is as quick as AWS lets it be. Pure but for a lock; time comes in as a number.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Quota:
    burst: int
    rate: float
    """A second."""


QUOTAS: Mapping[tuple[str, ...], Quota] = {
    ("CreateService", "UpdateService", "DeleteService"): Quota(50, 5),
    ("RegisterTaskDefinition", "DeregisterTaskDefinition"): Quota(20, 1),
    ("DescribeServices", "ListServices"): Quota(100, 20),
    ("DescribeTasks", "ListTasks"): Quota(100, 20),
    ("DescribeTaskDefinition", "ListTaskDefinitions", "ListTaskDefinitionFamilies"): Quota(50, 20),
    ("ListServiceDeployments", "DescribeServiceDeployments"): Quota(50, 20),
}
"""Those that an operator of many services comes near to. Others are left to the client's own retries."""

SLACK = 1
"""Tokens of each burst that are left alone: calls arrive a little closer together than they are sent."""


@dataclass
class _Bucket:
    quota: Quota
    tokens: float = field(init=False)
    at: float | None = None
    turns: deque[float] = field(default_factory=deque)
    """Moments that were given away and whose calls have not come yet, in order."""

    def __post_init__(self) -> None:
        self.tokens = self.quota.burst - SLACK

    def take(self, now: float) -> float:
        full = self.quota.burst - SLACK
        self.tokens = min(full, self.tokens + self.quota.rate * (now - (now if self.at is None else self.at)))
        self.at = now
        forgotten = now - full / self.quota.rate  # by then the bucket is full again, with or without them
        while self.turns and self.turns[0] < forgotten:
            self.turns.popleft()
        if self.turns and self.turns[0] <= now:
            self.turns.popleft()
            return 0.0
        self.tokens -= 1
        if self.tokens >= 0:
            return 0.0
        wait = -self.tokens / self.quota.rate
        self.turns.append(now + wait)
        return wait


@dataclass
class Pace:
    """The buckets of one account and region."""

    monotonic: Callable[[], float]
    _buckets: dict[str, _Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for operations, quota in QUOTAS.items():
            self._buckets |= dict.fromkeys(operations, _Bucket(quota))

    def refused(self, operation: str) -> None:
        """AWS has throttled it: others of the account have taken from its bucket too."""
        bucket = self._buckets.get(operation)
        if bucket is not None:
            with self._lock:
                bucket.tokens = min(bucket.tokens, 0)

    def wait(self, operation: str) -> float:
        """0 if a call of ECS may be sent now; else the seconds after which to come back, to a turn that is kept."""
        bucket = self._buckets.get(operation)
        if bucket is None:
            return 0.0
        with self._lock:
            return bucket.take(self.monotonic())
