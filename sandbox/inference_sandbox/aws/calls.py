"""The record of every API call: who asked what, when, and how it was answered.

It must not know what any operation means.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from inference_sandbox.aws.policies import Access

SECRETS = frozenset({"SecretString", "SecretBinary", "secretString"})
MAXIMUM_CALLS = 100_000


@dataclass(kw_only=True)
class Call:
    """One call as recorded. `service` is the IAM prefix: ecs, elasticloadbalancing, elasticfilesystem, logs, …"""

    number: int
    service: str
    operation: str
    parameters: Mapping[str, Any]
    region: str
    account: str
    principal: str
    at: datetime
    status: int = 0
    error: str | None = None
    fault: str | None = field(default=None)
    """The fault that was injected, if any."""
    asked: Sequence[Access] = ()
    """In IAM mode, what the caller's policies were asked, unless it is root."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self) | {"at": self.at.isoformat(), "parameters": _plain(self.parameters)}


def _plain(value: Any) -> Any:
    """JSON-able, with secret values left out."""
    if isinstance(value, Mapping):
        return {key: "***" if key in SECRETS else _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


class Calls(Sequence[Call]):
    """Oldest first, the latest hundred thousand. Thread-safe."""

    def __init__(self) -> None:
        self._calls: deque[Call] = deque(maxlen=MAXIMUM_CALLS)
        self._lock = threading.Lock()
        self._number = 0

    def begin(self, **facts: Any) -> Call:
        with self._lock:
            self._number += 1
            call = Call(number=self._number, **facts)
            self._calls.append(call)
            return call

    def find(self, *, service: str | None = None, operation: str | None = None, since: int = 0) -> list[Call]:
        """Filtered; `since` is the number of the last call already seen."""
        with self._lock:
            calls = list(self._calls)
        return [
            call
            for call in calls
            if call.number > since and service in (None, call.service) and operation in (None, call.operation)
        ]

    def clear(self) -> None:
        with self._lock:
            self._calls.clear()

    def __getitem__(self, index: Any) -> Any:
        with self._lock:
            return list(self._calls)[index]

    def __len__(self) -> int:
        return len(self._calls)
