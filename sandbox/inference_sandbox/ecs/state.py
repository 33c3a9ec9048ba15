"""What exists in ECS: clusters, task definitions, services, deployments, tasks. Plain records without behaviour.

Members that the scheduler does not reason about stay documents in the shape of the API. This module must not know how
a record changes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from inference_sandbox.ports import StopCode

LastStatus = Literal[
    "PROVISIONING", "PENDING", "ACTIVATING", "RUNNING", "DEACTIVATING", "STOPPING", "DEPROVISIONING", "STOPPED"
]
Health = Literal["HEALTHY", "UNHEALTHY", "UNKNOWN"]
RolloutState = Literal["IN_PROGRESS", "COMPLETED", "FAILED"]
ServiceDeploymentStatus = Literal[
    "PENDING",
    "IN_PROGRESS",
    "SUCCESSFUL",
    "STOP_REQUESTED",
    "STOPPED",
    "ROLLBACK_REQUESTED",
    "ROLLBACK_IN_PROGRESS",
    "ROLLBACK_SUCCESSFUL",
    "ROLLBACK_FAILED",
]

MAXIMUM_EVENTS = 100
"""`Service.events`: "A maximum of 100 of the latest events are displayed." (API reference, Service)"""


@dataclass(eq=False, kw_only=True, slots=True)
class Cluster:
    arn: str
    name: str
    account: str
    region: str
    status: str = "ACTIVE"
    settings: list[dict[str, str]] = field(default_factory=list)
    configuration: dict[str, Any] | None = None
    capacity_providers: list[str] = field(default_factory=list)
    default_strategy: list[dict[str, Any]] = field(default_factory=list)
    service_connect_defaults: dict[str, Any] | None = None
    tags: dict[str, str] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    """By name; INACTIVE ones stay describable."""
    tasks: dict[str, Task] = field(default_factory=dict)
    """By id; STOPPED ones stay for an hour."""


@dataclass(eq=False, kw_only=True, slots=True)
class TaskDefinition:
    arn: str
    family: str
    revision: int
    document: dict[str, Any]
    """As registered, with the defaults that Describe shows."""
    registered_at: datetime
    registered_by: str
    status: Literal["ACTIVE", "INACTIVE", "DELETE_IN_PROGRESS"] = "ACTIVE"
    deregistered_at: datetime | None = None
    delete_requested_at: datetime | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def essential(self) -> list[dict[str, Any]]:
        return [c for c in self.document["containerDefinitions"] if c.get("essential", True)]


@dataclass(eq=False, kw_only=True, slots=True)
class Revision:
    """A service revision: everything of a service that starts a new deployment when it changes."""

    arn: str
    task_definition: TaskDefinition
    document: dict[str, Any]
    """launchType or capacityProviderStrategy, platformVersion, networkConfiguration, loadBalancers, …"""
    created_at: datetime
    side: int = 0
    """Whose targets its tasks are: 0 of targetGroupArn, 1 of the alternate target group."""


@dataclass(eq=False, kw_only=True, slots=True)
class Hook:
    """One run of a lifecycle hook."""

    id: str
    kind: Literal["AWS_LAMBDA", "PAUSE"]
    target: str | None
    details: Any
    status: Literal["AWAITING_ACTION", "IN_PROGRESS", "SUCCEEDED", "FAILED", "TIMED_OUT"]
    expires_at: datetime
    timeout_action: Literal["ROLLBACK", "CONTINUE"]
    due: datetime
    """When a Lambda function is asked next."""


@dataclass(eq=False, kw_only=True, slots=True)
class ServiceDeployment:
    """The record behind DescribeServiceDeployments."""

    arn: str
    target: Revision
    sources: list[Revision]
    """Revisions that ran when it began."""
    created_at: datetime
    configuration: dict[str, Any]
    status: ServiceDeploymentStatus = "PENDING"
    status_reason: str | None = None
    started_at: datetime | None = None
    updated_at: datetime
    finished_at: datetime | None = None
    stopped_at: datetime | None = None
    lifecycle_stage: str | None = None
    rollback: dict[str, Any] | None = None
    breaker_status: str = "DISABLED"
    breaker_failures: int = 0
    breaker_threshold: int = 0
    alarms: dict[str, Any] = field(default_factory=dict)
    hooks: list[Hook] = field(default_factory=list)


@dataclass(eq=False, kw_only=True, slots=True)
class Deployment:
    id: str
    service: Service
    revision: Revision
    record: ServiceDeployment
    created_at: datetime
    updated_at: datetime
    status: Literal["PRIMARY", "ACTIVE", "INACTIVE"] = "PRIMARY"
    rollout_state: RolloutState = "IN_PROGRESS"
    rollout_reason: str = ""
    desired: int = 0
    failed_tasks: int = 0
    """Consecutive failures, as Describe shows them."""
    breaker_failures: int = 0
    start_failures: int = 0
    """Consecutive tasks that went from PENDING to STOPPED: what the start throttle looks at."""
    start_not_before: datetime | None = None
    settled_at: datetime | None = None
    """When everything was in place; its alarms are watched for a while longer."""
    ignored_alarms: set[str] | None = None
    """Alarms that were in ALARM when it began; None until it has been looked at."""
    begun: bool = False
    """It has been looked at once."""
    stage: str | None = None
    """Of a deployment that shifts traffic."""
    stage_since: datetime | None = None
    weight: float = 0.0
    """Its share of production traffic, in percent."""
    test_weight: float = 0.0
    """Its share of test traffic, in percent."""
    shifted_at: datetime | None = None
    hooks: list[Hook] = field(default_factory=list)
    tasks: dict[str, Task] = field(default_factory=dict)
    """By ARN; all that are not STOPPED."""


@dataclass(eq=False, kw_only=True, slots=True)
class Container:
    arn: str
    name: str
    definition: dict[str, Any]
    essential: bool
    last_status: str = "PENDING"
    runtime_id: str | None = None
    exit_code: int | None = None
    reason: str | None = None
    health: Health = "UNKNOWN"


@dataclass(eq=False, kw_only=True, slots=True)
class Target:
    """A task's registration in one target group."""

    group_arn: str
    container: str
    port: int
    state: str = "initial"
    reason: str | None = None
    description: str | None = None
    registered: bool = False


@dataclass(eq=False, kw_only=True, slots=True)
class Task:
    arn: str
    id: str
    cluster: Cluster
    task_definition: TaskDefinition
    group: str
    started_by: str
    created_at: datetime
    containers: list[Container]
    network: dict[str, Any]
    zone: str
    subnet: str
    eni: str
    mac: str
    attachment: str
    launch_type: str | None
    capacity_provider: str | None
    platform_version: str
    service: Service | None = None
    deployment: Deployment | None = None
    targets: list[Target] = field(default_factory=list)
    registries: list[dict[str, Any]] = field(default_factory=list)
    """Where it is an instance of Cloud Map while it runs: ServiceRegistry."""
    tags: dict[str, str] = field(default_factory=dict)
    overrides: dict[str, Any] = field(default_factory=dict)
    enable_execute_command: bool = False
    last_status: LastStatus = "PROVISIONING"
    desired_status: Literal["RUNNING", "STOPPED"] = "RUNNING"
    version: int = 1
    address: str | None = None
    handed_over: bool = False
    """The runner has been told to start it, so only the runner's reports end it."""
    pull_started_at: datetime | None = None
    pull_stopped_at: datetime | None = None
    started_at: datetime | None = None
    stopping_at: datetime | None = None
    execution_stopped_at: datetime | None = None
    stopped_at: datetime | None = None
    stop_code: StopCode | None = None
    stopped_reason: str | None = None
    was_healthy: bool = False
    """It has counted as healthy at least once."""
    settled: bool = False
    """Without any health check: 40 seconds have passed since RUNNING."""
    counted: bool = False
    """Its failure has been counted."""
    protected_until: datetime | None = None
    protection_enabled: bool = False

    @property
    def active(self) -> bool:
        """Wanted, and not on its way out: what the percentages of a deployment count."""
        return self.desired_status == "RUNNING"

    def protected(self, now: datetime) -> bool:
        """Whether scale-in protection holds: it is on and has not expired."""
        return self.protection_enabled and self.protected_until is not None and now < self.protected_until


@dataclass(eq=False, kw_only=True, slots=True)
class ServiceEvent:
    id: str
    at: datetime
    message: str


@dataclass(eq=False, kw_only=True, slots=True)
class Service:
    arn: str
    name: str
    cluster: Cluster
    created_at: datetime
    created_by: str
    desired_count: int
    document: dict[str, Any]
    """Members of CreateService and UpdateService in the API's shape, defaults filled in."""
    client_token: str | None = None
    request: dict[str, Any] = field(default_factory=dict)
    """The request that created it, for idempotency."""
    status: Literal["ACTIVE", "DRAINING", "INACTIVE"] = "ACTIVE"
    tags: dict[str, str] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    """The PRIMARY first."""
    last_completed: Deployment | None = None
    """What a rollback goes back to."""
    records: list[ServiceDeployment] = field(default_factory=list)
    revisions: dict[str, Revision] = field(default_factory=dict)
    events: deque[ServiceEvent] = field(default_factory=lambda: deque(maxlen=MAXIMUM_EVENTS))
    """Newest first."""
    said: dict[str, datetime] = field(default_factory=dict)
    """Warnings that are not repeated until their cause clears or six hours pass."""
    steady: bool = False
    rebalancing: bool = False
    """Its tasks are being moved between availability zones."""
    surplus: int = 0
    """How many tasks more than desired it has for that, until they are healthy."""

    @property
    def primary(self) -> Deployment:
        return self.deployments[0]

    @property
    def tasks(self) -> list[Task]:
        return [task for deployment in self.deployments for task in deployment.tasks.values()]
