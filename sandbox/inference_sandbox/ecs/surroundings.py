"""What ECS needs of the rest of AWS: a Protocol, with the values that cross it.

This module must not know who answers; `aws/` does with moto, tests with scripts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from inference_sandbox.ecs.state import Task
from inference_sandbox.ports import TaskLaunch


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event for EventBridge."""

    account: str
    region: str
    detail_type: str
    resources: Sequence[str]
    detail: Mapping[str, Any]
    at: datetime
    source: str = "aws.ecs"


@dataclass(frozen=True, kw_only=True)
class TargetGroupFacts:
    target_type: str
    port: int | None
    attached: bool
    """Some listener or rule forwards to it."""
    health_check_interval: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, kw_only=True)
class AlarmFacts:
    state: str
    """OK, ALARM or INSUFFICIENT_DATA."""
    window: timedelta
    """Over which time it looks: its period times its evaluation periods."""


@dataclass(frozen=True, kw_only=True)
class NotLaunched:
    """A task cannot be started: something that it needs is missing. Worded as AWS words `stoppedReason`."""

    reason: str
    container: str | None = None
    container_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """How long ECS itself takes; what the runner takes comes on top. Defaults of Fargate's order of magnitude."""

    provisioning: timedelta = timedelta(seconds=6)
    pulling: timedelta = timedelta(seconds=8)
    activating: timedelta = timedelta(seconds=1)
    deprovisioning: timedelta = timedelta(seconds=4)
    spot_warning: timedelta = timedelta(minutes=2)


BRIEF = Latencies(
    provisioning=timedelta(milliseconds=150),
    pulling=timedelta(milliseconds=150),
    activating=timedelta(milliseconds=50),
    deprovisioning=timedelta(milliseconds=150),
    spot_warning=timedelta(seconds=10),
)
"""For a demo on the wall clock, where nobody wants to wait for a network interface that does not exist."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What AWS does not let a customer set. Every figure has its source beside it."""

    latencies: Latencies = field(default_factory=Latencies)
    healthy_after: timedelta = timedelta(seconds=40)
    """Without any check, a task counts as healthy 40 seconds after RUNNING (DeploymentConfiguration)."""
    throttle_after: int = 3
    """Consecutive failures to start before restarts are delayed: AWS does not publish it."""
    throttle_first: timedelta = timedelta(seconds=10)
    throttle_maximum: timedelta = timedelta(minutes=27)
    """Developer guide, "Amazon ECS service throttle logic"; editions before 2024 say 15."""
    stopped_kept: timedelta = timedelta(hours=1)
    """Stopped tasks stay describable "at least 1 hour"."""
    said_again: timedelta = timedelta(hours=6)
    alarm_poll: timedelta = timedelta(seconds=10)
    """How often alarms are looked at during a deployment: AWS does not publish it."""
    target_poll: timedelta = timedelta(seconds=1)
    """How often the load balancer is asked about targets that are not settled."""


class Surroundings(Protocol):
    def zone(self, account: str, region: str, subnet: str) -> str | None:
        """The availability zone of a subnet; None if there is no such subnet."""

    def missing_security_group(self, account: str, region: str, groups: Sequence[str]) -> str | None:
        """The first of `groups` that does not exist."""

    def target_group(self, arn: str) -> TargetGroupFacts | None: ...

    def prepare(self, task: Task) -> TaskLaunch | NotLaunched:
        """Look up what the task needs: secrets, EFS, log groups."""

    def listening(self, account: str, region: str) -> bool:
        """Whether any rule could take an event: most of the time nobody listens, and an event is not worth making."""

    def publish(self, event: Event) -> None: ...

    def alarms(self, account: str, region: str, names: Sequence[str]) -> Mapping[str, AlarmFacts]:
        """By alarm name; absent if there is no such alarm."""

    def record_types(self, registry: str) -> Sequence[str] | None:
        """The DNS record types of a Cloud Map service; None if there is no such service."""

    def register(self, registry: str, instance: str, attributes: Mapping[str, str]) -> None:
        """Make an instance of a Cloud Map service."""

    def deregister(self, registry: str, instance: str) -> None: ...

    def set_health(self, registry: str, instance: str, *, healthy: bool) -> None: ...

    def rule(self, arn: str) -> bool:
        """Whether there is such a listener rule."""

    def shift(self, rule: str, shares: Mapping[str, float]) -> None:
        """Have a listener rule forward to these target groups, by ARN, with these shares in percent."""

    def invoke(self, function: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask a Lambda function that is a lifecycle hook; its answer."""
