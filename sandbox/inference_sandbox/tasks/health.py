"""A container's own health check: its settings and its verdict. Pure; who runs the command is not its business.

ECS documents the settings in the API type HealthCheck; the rule of verdicts is Docker's, which ECS shows: the first
probe comes one interval after the start, the next one interval after the last has ended; failures within the start
period do not count unless a probe has already succeeded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Status = Literal["HEALTHY", "UNHEALTHY"]


@dataclass(frozen=True, kw_only=True)
class HealthCheck:
    """A container definition's `healthCheck`. Times are in seconds."""

    argv: tuple[str, ...]
    interval: float = 30
    timeout: float = 5
    retries: int = 3
    start_period: float = 0

    @classmethod
    def of(cls, definition: Mapping[str, Any]) -> HealthCheck | None:
        """The check of a container definition, None if it has none.

        Raises ValueError if the command's first word is none of CMD, CMD-SHELL and NONE.
        """
        check = definition.get("healthCheck")
        if not check or not check.get("command") or check["command"][0] == "NONE":
            return None
        kind, *words = check["command"]
        if kind not in {"CMD", "CMD-SHELL"} or not words:
            raise ValueError(
                f"healthCheck.command of container {definition.get('name')} is {check['command']}: "
                "it must be CMD and its words, or CMD-SHELL and one shell command"
            )
        return cls(
            argv=tuple(words) if kind == "CMD" else ("/bin/sh", "-c", " ".join(words)),
            interval=check.get("interval") or cls.interval,
            timeout=check.get("timeout") or cls.timeout,
            retries=check.get("retries") or cls.retries,
            start_period=check.get("startPeriod") or cls.start_period,
        )


class HealthVerdict:
    """What the probes so far say of a container."""

    def __init__(self, check: HealthCheck) -> None:
        self._check = check
        self._failures = 0
        self._ever_passed = False
        self.status: Status | None = None

    def observe(self, *, passed: bool, age: float) -> Status | None:
        """Count a probe that began `age` seconds after the container's start; the new status if that changed it."""
        before = self.status
        if passed:
            self._failures, self._ever_passed, self.status = 0, True, "HEALTHY"
        elif self._ever_passed or age >= self._check.start_period:
            self._failures += 1
            if self._failures >= self._check.retries:
                self.status = "UNHEALTHY"
        return self.status if self.status != before else None
