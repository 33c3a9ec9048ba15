"""Target groups: who is in, how healthy each target is, whose turn it is. Pure: no socket, no clock of its own.

States, reason codes and thresholds are those of the API types TargetGroup, TargetHealth and TargetGroupAttribute.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from inference_sandbox.ports import TargetGroupSettings, TargetState

State = Literal["initial", "healthy", "unhealthy", "draining", "unused"]

_LEAST_SHARE = 0.01
DEREGISTRATION_DELAY = 300.0
"""Seconds of draining where the attribute `deregistration_delay.timeout_seconds` is not set."""


@dataclass(frozen=True)
class Health:
    """A target's health as DescribeTargetHealth tells it."""

    state: State
    reason: str | None = None
    description: str | None = None


REGISTERING = Health("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
CHECKING = Health("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
HEALTHY = Health("healthy")
DRAINING = Health("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
NOT_IN_USE = Health(
    "unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"
)

TIMED_OUT = Health("unhealthy", "Target.Timeout", "Request timed out")
FAILED = Health("unhealthy", "Target.FailedHealthChecks", "Health checks failed")


def wrong_code(status: int) -> Health:
    return Health("unhealthy", "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]")


@dataclass(frozen=True, kw_only=True)
class CheckSettings:
    """How a group's targets are checked. Times in seconds; the defaults are an ALB's."""

    path: str = "/"
    port: int | None = None
    """None is the port that the target is registered with."""
    interval: float = 30
    timeout: float = 5
    healthy_threshold: int = 5
    unhealthy_threshold: int = 2
    codes: Sequence[range] = (range(200, 201),)

    @classmethod
    def of(cls, group: TargetGroupSettings) -> CheckSettings:
        settings = group.settings
        port = settings.get("HealthCheckPort") or "traffic-port"
        matcher = (settings.get("Matcher") or {}).get("HttpCode") or "200"
        bounds = [part.strip().partition("-") for part in matcher.split(",")]
        return cls(
            path=settings.get("HealthCheckPath") or cls.path,
            port=None if port == "traffic-port" else int(port),
            interval=settings.get("HealthCheckIntervalSeconds") or cls.interval,
            timeout=settings.get("HealthCheckTimeoutSeconds") or cls.timeout,
            healthy_threshold=settings.get("HealthyThresholdCount") or cls.healthy_threshold,
            unhealthy_threshold=settings.get("UnhealthyThresholdCount") or cls.unhealthy_threshold,
            codes=[range(int(first), int(last or first) + 1) for first, _, last in bounds],
        )

    def accepts(self, status: int) -> bool:
        return any(status in codes for codes in self.codes)


class Target:
    """One registered address and port."""

    def __init__(self, address: str, port: int, health: Health) -> None:
        self.address = address
        self.port = port
        self.health = health
        self.outstanding = 0
        """Requests under way."""
        self.fails = False
        """Its checks fail on request."""
        self.warms_from: datetime | None = None
        """When its slow start began, if it had one."""
        self._in_a_row = 0
        """Checks that came to the same result, one after the other: positive if passed, negative if failed."""

    @property
    def key(self) -> tuple[str, int]:
        return self.address, self.port

    def observe(self, result: Health, settings: CheckSettings) -> None:
        """Count a finished check (`HEALTHY`, or why it failed) and move the state by the thresholds.

        A new target needs to pass but once; one that was unhealthy needs the healthy threshold.
        """
        if self.health.state not in {"initial", "healthy", "unhealthy"}:
            return
        passed = result is HEALTHY
        self._in_a_row = (max(self._in_a_row, 0) + 1) if passed else (min(self._in_a_row, 0) - 1)
        if passed:
            if self.health.state == "initial" or self._in_a_row >= settings.healthy_threshold:
                self.health = HEALTHY
        elif -self._in_a_row >= settings.unhealthy_threshold:
            self.health = result
        elif self.health is REGISTERING:
            self.health = CHECKING

    def restart(self, health: Health) -> None:
        self.health = health
        self._in_a_row = 0

    def told(self) -> TargetState:
        health = self.health
        return TargetState(
            address=self.address,
            port=self.port,
            state=health.state,
            reason=health.reason,
            description=health.description,
        )


class TargetGroup:
    """The targets of one group, and whose turn it is. `targets` is replaced, never changed: any thread may read it."""

    def __init__(self, settings: TargetGroupSettings) -> None:
        self.settings = settings
        self.check = CheckSettings.of(settings)
        self.is_configured = False
        self.in_use = False
        """Whether some rule forwards to it."""
        self.targets: tuple[Target, ...] = ()
        self._turn = 0
        self._slow_turns = WeightedTurn()

    @property
    def deregistration_delay(self) -> float:
        return float(self.settings.attributes.get("deregistration_delay.timeout_seconds") or DEREGISTRATION_DELAY)

    @property
    def _slow_start(self) -> float:
        return float(self.settings.attributes.get("slow_start.duration_seconds") or 0)

    def observe(self, target: Target, result: Health, now: datetime) -> None:
        """A finished check of a target. One that becomes healthy starts slowly, if there is one that has not to."""
        before = target.health.state
        target.observe(result, self.check)
        if target.health.state == "healthy" and before != "healthy":
            others = (each for each in self.targets if each is not target and each.health.state == "healthy")
            target.warms_from = now if any(self._share(each, now) >= 1 for each in others) else None

    def _share(self, target: Target, now: datetime) -> float:
        """Of the requests that it would have if it were warm: it rises from 0 to 1 in the group's slow start."""
        if target.warms_from is None or not self._slow_start:
            return 1
        return min(1, max(_LEAST_SHARE, (now - target.warms_from).total_seconds() / self._slow_start))

    def configure(self, settings: TargetGroupSettings) -> None:
        self.is_configured = True
        self.settings = settings
        self.check = CheckSettings.of(settings)

    def find(self, address: str, port: int) -> Target | None:
        return next((target for target in self.targets if target.key == (address, port)), None)

    def eligible(self) -> Sequence[Target]:
        """The healthy targets; if there is none, all that are not draining: the load balancer fails open."""
        staying = [target for target in self.targets if target.health.state != "draining"]
        return [target for target in staying if target.health.state == "healthy"] or staying

    def choose(self, now: datetime) -> Target | None:
        """The target of the next request by the group's algorithm, None if the group is empty."""
        eligible = self.eligible()
        if not eligible:
            return None
        shares = {f"{target.address}:{target.port}": self._share(target, now) for target in eligible}
        if min(shares.values()) < 1:
            chosen = self._slow_turns.choose(shares)
            return next(target for target, name in zip(eligible, shares, strict=True) if name == chosen)
        self._turn += 1
        turn = self._turn % len(eligible)
        match self.settings.attributes.get("load_balancing.algorithm.type"):
            case "least_outstanding_requests":
                return min((*eligible[turn:], *eligible[:turn]), key=lambda target: target.outstanding)
            case "weighted_random":
                return random.choice(eligible)  # noqa: S311 - spreads load, keeps no secret
            case _:
                return eligible[turn]


class WeightedTurn:
    """Deals requests out in the shares of weights (smooth weighted round robin)."""

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}

    def choose(self, weights: Mapping[str, float]) -> str | None:
        """One of the names that have weights; None if none has a weight above 0."""
        total = sum(weights.values())
        if total <= 0:
            return None
        self._credit = {arn: self._credit.get(arn, 0) + weight for arn, weight in weights.items()}
        chosen = max((arn for arn, weight in weights.items() if weight > 0), key=lambda arn: self._credit[arn])
        self._credit[chosen] -= total
        return chosen
