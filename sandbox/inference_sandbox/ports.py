"""What the parts of the sandbox know of each other: plain values and three small Protocols.

The ECS scheduler (`ecs/`) decides; a `Runner` (`tasks/`) runs tasks; a `LoadBalancer` (`load_balancer/`) routes. None
imports another: they meet here. This module knows no moto, no boto3, no thread and no process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol

Document = Mapping[str, Any]
"""A JSON-like value in the shape and with the member names of the AWS API, e.g. a ContainerDefinition."""

StopCode = Literal[
    "TaskFailedToStart",
    "EssentialContainerExited",
    "UserInitiated",
    "ServiceSchedulerInitiated",
    "SpotInterruption",
    "TerminationNotice",
    "InfrastructureHealth",
]


class Clock(Protocol):
    def now(self) -> datetime:
        """The time, aware, in UTC."""


@dataclass(frozen=True, kw_only=True)
class EfsMount:
    """A folder that stands in for what an EFS volume shows a container."""

    container_path: str
    host_path: str
    read_only: bool
    uid: int | None = None
    gid: int | None = None


@dataclass(frozen=True, kw_only=True)
class ContainerLaunch:
    """One container to run: its definition as registered, and what was looked up for it."""

    definition: Document
    environment: Mapping[str, str]
    """Environment and secrets, resolved."""
    mounts: Sequence[EfsMount] = ()

    @property
    def name(self) -> str:
        return str(self.definition["name"])


@dataclass(frozen=True, kw_only=True)
class TaskLaunch:
    """All that a runner needs to start one task."""

    arn: str
    task_definition: Document
    containers: Sequence[ContainerLaunch]


@dataclass(frozen=True, kw_only=True)
class TaskRunning:
    """Every container has been started; the task has its address (the private IPv4 of its network interface)."""

    arn: str
    address: str
    at: datetime


@dataclass(frozen=True, kw_only=True)
class TaskFailedToStart:
    """The task never ran. `reason` is worded as AWS words `stoppedReason`."""

    arn: str
    reason: str
    at: datetime
    container: str | None = None
    container_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ContainerExited:
    """A container of a started task ended. `reason` is `containers[].reason` (OutOfMemoryError…), absent for a plain
    exit."""

    arn: str
    container: str
    exit_code: int | None
    at: datetime
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class ContainerHealth:
    """The container's own health check came to a verdict."""

    arn: str
    container: str
    status: Literal["HEALTHY", "UNHEALTHY"]
    at: datetime


Report = TaskRunning | TaskFailedToStart | ContainerExited | ContainerHealth


class Runner(Protocol):
    """Runs tasks. Every method returns at once; what happens is told by `poll`, oldest first, each fact once."""

    def start(self, task: TaskLaunch) -> None: ...

    def stop(self, arn: str) -> None:
        """Send every container of the task its stop signal, and SIGKILL after its `stopTimeout` (30 s if it has
        none)."""

    def poll(self) -> Sequence[Report]: ...

    def close(self) -> None:
        """End every process that this runner started."""


@dataclass(frozen=True, kw_only=True)
class RuleRoute:
    """One rule of a listener, in the shape of DescribeRules. `priority` None is the default rule."""

    arn: str
    priority: int | None
    conditions: Sequence[Document]
    actions: Sequence[Document]
    transforms: Sequence[Document] = ()


@dataclass(frozen=True, kw_only=True)
class ListenerRoutes:
    arn: str
    port: int
    rules: Sequence[RuleRoute]
    """In the order in which they are tried: by priority, the default rule last."""


@dataclass(frozen=True, kw_only=True)
class TargetGroupSettings:
    """A target group in the shape of DescribeTargetGroups, with its attributes
    (`deregistration_delay.timeout_seconds`…)."""

    arn: str
    settings: Document
    attributes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TargetState:
    """As in DescribeTargetHealth: `state` is initial, healthy, unhealthy, draining or unused; `reason` its code."""

    address: str
    port: int
    state: Literal["initial", "healthy", "unhealthy", "draining", "unused"]
    reason: str | None = None
    description: str | None = None


@dataclass(kw_only=True)
class Passed:
    """Requests that came to a listener and went to a target group, or to none. Codes are counted by their first digit,
    response times are in seconds."""

    listener_arn: str
    target_group_arn: str | None
    requests: int = 0
    target_codes: Counter[int] = field(default_factory=Counter)
    balancer_codes: Counter[int] = field(default_factory=Counter)
    """Of answers that are the load balancer's own."""
    response_times: list[float] = field(default_factory=list)
    connection_errors: int = 0


class LoadBalancer(Protocol):
    """Routes HTTP to targets. Thread-safe; every method returns at once."""

    def configure(self, listeners: Sequence[ListenerRoutes], target_groups: Sequence[TargetGroupSettings]) -> None:
        """Make this the whole configuration; what is unchanged is not disturbed, connections under way included."""

    def register(self, target_group_arn: str, address: str, port: int) -> None: ...

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Start to drain: no new request; requests under way end; gone after the deregistration delay."""

    def fail(self, target_group_arn: str, address: str, port: int) -> None:
        """From now on the target's health checks are answered with 503, whatever it answers itself."""

    def targets(self, target_group_arn: str) -> Sequence[TargetState]: ...

    def close(self) -> None: ...


class MovableLoadBalancer(LoadBalancer, Protocol):
    """One whose clock may be moved."""

    def next_due(self) -> datetime | None:
        """When it will next have something to do by itself."""

    def settled(self) -> bool:
        """Whether all that was due by now has been done."""

    def wake(self) -> None:
        """Its clock has been moved."""
