"""The status of an InferenceDeployment: what the operator tells. Knows no rule by which it comes about.

Lists are newest first and bounded: a longer one is cut when the model is made.
"""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field

from inference_operator.api.model import Conditions, Message, StatusModel, cut, newest
from inference_operator.api.quantities import Time

HISTORY_LIMIT: Final = 10
EVENTS_LIMIT: Final = 20
NOTIFIED_LIMIT: Final = 10
STOPPED_TASKS_LIMIT: Final = 20
TASKS_LIMIT: Final = 10
FINDINGS_LIMIT: Final = 20
TARGETS_LIMIT: Final = 10
DRIFT_LIMIT: Final = 50
DIFFERENCE_LENGTH: Final = 1024

_Name = Annotated[str, *cut(2048)]
_Word = Annotated[str, *cut(128)]


class DesiredRevision(StatusModel):
    """What the spec asks for."""

    revision: _Name | None = None
    """ARN of the task-definition revision made from the spec."""
    spec_hash: _Word | None = None
    """Hash of what the revision was made from; equal specs have equal hashes."""
    image: _Name | None = None
    """Container image of the revision."""
    model: _Name | None = None
    """Folder of the models, as in `spec.models.path`."""


class RunningRevision(StatusModel):
    """What answers requests now."""

    revision: _Name | None = None
    """ARN of the task-definition revision."""
    image: _Name | None = None
    """Container image of the revision."""
    model: _Name | None = None
    """Folder of the models of the revision."""
    since: Time | None = None
    """When its rollout completed."""


class DeploymentState(StatusModel):
    """The latest ECS deployment that the object asked for."""

    id: _Word | None = None
    """Id that ECS gave it, e.g. ecs-svc/1234567890123456789."""
    service_deployment: _Name | None = None
    """ARN of ECS's record of it, for `aws ecs describe-service-deployments`."""
    asked_hash: _Word | None = None
    """Hash of what was asked for. A deployment that failed is not sent again while it is the same."""
    revision: _Name | None = None
    """ARN of the task-definition revision that it brings."""
    generation: Annotated[int | None, Field(ge=0)] = None
    """Generation of the spec that asked for it."""
    state: _Word | None = None
    """How it stands: InProgress, Paused, Completed, Failed or RolledBack."""
    started_at: Time | None = None
    """When ECS began it."""
    reason: Message | None = None
    """What ECS says of its state, in ECS's words."""
    failed_tasks: Annotated[int, Field(ge=0)] | None = None
    """Tasks that failed to come up, as the circuit breaker counts them."""
    threshold: Annotated[int, Field(ge=0)] | None = None
    """Number of failed tasks at which the circuit breaker gives up."""
    strategy: _Word | None = None
    """How tasks are replaced, e.g. ROLLING."""
    stage: _Word | None = None
    """How far it is, where requests are shifted, e.g. BAKE_TIME."""
    traffic_percent: Annotated[int, Field(ge=0, le=100)] | None = None
    """Percentage of the requests that the new tasks get, where requests are shifted."""
    paused_until: Time | None = None
    """Until when it waits for somebody to have it continued or rolled back; absent while it does not."""


class Failure(StatusModel):
    """Why the latest failed rollout failed, and what to do."""

    generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec that failed."""
    deployment: _Word | None = None
    """Id of the ECS deployment that failed."""
    revision: _Name | None = None
    """ARN of the task-definition revision that it was to bring."""
    cause: _Word | None = None
    """One word for the cause, e.g. EfsAccessDenied."""
    message: Message | None = None
    """What happened."""
    next_step: Message | None = None
    """What to do about it."""
    exit_code: int | None = None
    """Exit code of the container that failed."""
    container: _Word | None = None
    """Name of the container that failed."""
    tasks: Annotated[tuple[_Name, ...], *newest(TASKS_LIMIT)] = ()
    """Ids of the tasks that show it, newest first."""
    at: Time | None = None
    """When it failed."""


class HistoryEntry(StatusModel):
    """One rollout."""

    deployment: _Word | None = None
    """Id of the ECS deployment."""
    revision: _Name | None = None
    """ARN of the task-definition revision rolled out."""
    generation: Annotated[int, Field(ge=0)] | None = None
    """Generation of the spec rolled out."""
    image: _Name | None = None
    """Container image rolled out."""
    model: _Name | None = None
    """Folder of the models rolled out."""
    outcome: _Word | None = None
    """How it ended: Completed, Failed, RolledBack or Superseded."""
    cause: _Word | None = None
    """One word for the cause, if it failed, e.g. EfsAccessDenied."""
    started_at: Time | None = None
    """When it began."""
    finished_at: Time | None = None
    """When it ended."""


class ServiceEvent(StatusModel):
    """One event of the ECS service."""

    id: _Word
    """Id that ECS gave it."""
    at: Time
    """When it happened."""
    message: Message
    """In ECS's words."""
    severity: _Word | None = None
    """Info, Warning or Error."""


class StoppedTask(StatusModel):
    """One task that stopped; kept after AWS forgets it."""

    task: _Name
    """Id of the task."""
    at: Time | None = None
    """When it stopped. Absent while it is still stopping."""
    cause: _Word | None = None
    """One word for the cause, e.g. OutOfMemory."""
    stop_code: _Word | None = None
    """Stop code of ECS, e.g. EssentialContainerExited."""
    reason: Message | None = None
    """Why it stopped, in ECS's words."""
    exit_code: int | None = None
    """Exit code of the container that ended the task."""
    container: _Word | None = None
    """Name of the container that ended the task."""


class ExecState(StatusModel):
    """Whether a shell can be had in the tasks, through ECS Exec."""

    ready_tasks: Annotated[int, Field(ge=0)] = 0
    """Number of running tasks whose agent runs."""
    message: Message | None = None
    """How to get a shell; or why the agent of some task does not run."""


class VerificationFinding(StatusModel):
    """Something that a check found not to be as it should be, or could not tell."""

    check: _Word
    """Name of the check, e.g. Subnets."""
    result: _Word
    """Failed, which keeps the rollout back; Warning; or Unknown, where it can't be told."""
    message: Message
    """What is the case."""
    next_step: Message | None = None
    """What to do about it."""


class VerificationState(StatusModel):
    """What checks found: before the latest rollout, or of an environment by itself."""

    of: _Word | None = None
    """Hash of the specs that were checked: the environment's, and the service's if there is one."""
    at: Time | None = None
    """When they were checked."""
    checks: Annotated[int, Field(ge=0)] = 0
    """Number of checks."""
    findings: Annotated[tuple[VerificationFinding, ...], *newest(FINDINGS_LIMIT)] = ()
    """What they found, the worst first."""


class TargetProblem(StatusModel):
    """One task that the load balancer sends no requests to, or should not."""

    target: _Name
    """Address and port of the task."""
    state: _Word
    """State of the target as ELB has it, e.g. unhealthy."""
    reason: _Word | None = None
    """Reason code of ELB, e.g. Target.ResponseCodeMismatch."""
    message: Message | None = None
    """In ELB's words."""
    next_step: Message | None = None
    """What to do about it."""


class TargetsState(StatusModel):
    """What the load balancer thinks of the tasks."""

    registered: Annotated[int, Field(ge=0)] = 0
    """Tasks that are registered, without those that drain."""
    healthy: Annotated[int, Field(ge=0)] = 0
    """Tasks that get requests."""
    problems: Annotated[tuple[TargetProblem, ...], *newest(TARGETS_LIMIT)] = ()
    """What is the matter, task by task."""


class DestinationFlow(StatusModel):
    """What went to one destination of late, as a rate."""

    name: _Word
    """Name of the destination; `debugUntil` for the service's own log group while debugging."""
    bytes_per_day: Annotated[int, Field(ge=0)] = 0
    """Bytes a day, before compression, to two digits."""
    records_per_day: Annotated[int, Field(ge=0)] = 0
    """Lines a day, to two digits."""
    dropped: Annotated[int, Field(ge=0)] = 0
    """Lines that were given up in the last half hour."""
    usd_per_day: _Word | None = None
    """Estimated cost in US dollars a day at list prices. Absent where it is not paid by what is written."""


class LogsState(StatusModel):
    """What the log routers told of late."""

    routers: Annotated[int, Field(ge=0)] = 0
    """Number of routers that told their counters."""
    destinations: Annotated[tuple[DestinationFlow, ...], Field(max_length=20)] = ()
    """What went to each destination, all tasks together."""


class Difference(StatusModel):
    """Something that differs at AWS from what is asked for, and is left so."""

    resource: _Word
    """Kind of resource, as in its condition, e.g. Service."""
    field: _Name | None = None
    """What of it differs, as AWS names it. Absent where all of it is missing, or should be."""
    want: Annotated[str, *cut(DIFFERENCE_LENGTH)] | None = None
    """What is asked for."""
    have: Annotated[str, *cut(DIFFERENCE_LENGTH)] | None = None
    """What there is."""


class Applied(StatusModel):
    """What was in effect at AWS when last nothing was left to do."""

    generation: Annotated[int, Field(ge=0)]
    """Generation of the object."""
    environment_generation: Annotated[int, Field(ge=0)]
    """Generation of its environment."""


class Resources(StatusModel):
    """The AWS resources of this service."""

    cluster: _Name | None = None
    """Name of the ECS cluster."""
    service: _Name | None = None
    """ARN of the ECS service."""
    task_definition: _Name | None = None
    """ARN of the latest task-definition revision."""
    access_point: _Name | None = None
    """Id of the EFS access point."""
    target_group: _Name | None = None
    """ARN of the target group."""
    alternate_target_group: _Name | None = None
    """ARN of the second target group, where requests are shifted between the two."""
    listener_rule: _Name | None = None
    """ARN of the listener rule."""
    discovery_service: _Name | None = None
    """ARN of the Cloud Map service."""
    scalable_target: _Name | None = None
    """Resource id of the scalable target of Application Auto Scaling."""
    test_listener_rule: _Name | None = None
    """ARN of the rule on the environment's test listener."""
    log_groups: Annotated[tuple[_Name, ...], Field(max_length=20)] = ()
    """Names of the log groups."""


class Notified(StatusModel):
    """Something that people were told through the environment's `notifications`."""

    id: _Word
    """Id in the message."""
    type: _Word
    """RolloutStarted, RolloutPaused, RolloutFailed, RolledBack or Recovered."""
    at: Time
    """When it was delivered."""


class InferenceDeploymentStatus(StatusModel):
    """What the operator knows of the service. Written by the operator alone."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that this status speaks about."""
    conditions: Conditions = ()
    """`Ready` says whether the revision asked for is the one running, with all replicas healthy; the others say why."""
    url: _Name | None = None
    """Address of the service, without a final slash. Absent where the environment has no load balancer."""
    internal_host: _Name | None = None
    """Name under which callers inside the VPC find the tasks. Absent where the environment has no namespace for it."""
    replicas: Annotated[int, Field(ge=0)] = 0
    """Number of tasks that exist."""
    ready_replicas: Annotated[int, Field(ge=0)] = 0
    """Number of tasks that are running, without those that the load balancer sends no requests to."""
    selector: _Name | None = None
    """Label selector for the scale subresource. No pod carries these labels: the tasks run on Fargate."""
    desired: DesiredRevision | None = None
    """What the spec asks for."""
    running: RunningRevision | None = None
    """What answers requests now."""
    deployment: DeploymentState | None = None
    """The latest ECS deployment that the object asked for."""
    last_failure: Failure | None = None
    """Why the latest failed rollout failed, and what to do."""
    history: Annotated[tuple[HistoryEntry, ...], *newest(HISTORY_LIMIT)] = ()
    """The latest rollouts, newest first."""
    events: Annotated[tuple[ServiceEvent, ...], *newest(EVENTS_LIMIT)] = ()
    """The latest events of the ECS service, newest first, each id once."""
    stopped_tasks: Annotated[tuple[StoppedTask, ...], *newest(STOPPED_TASKS_LIMIT)] = ()
    """The latest tasks that stopped, newest first."""
    exec: ExecState | None = None
    """Whether a shell can be had in the tasks. Absent unless `spec.exec.enabled`."""
    targets: TargetsState | None = None
    """What the load balancer thinks of the tasks. Absent while nothing is known to be the matter."""
    verification: VerificationState | None = None
    """The checks before the latest rollout."""
    logs: LogsState | None = None
    """What the log routers told of late. Absent without `spec.logging`."""
    resources: Resources | None = None
    """The AWS resources of this service."""
    notified: Annotated[tuple[Notified, ...], *newest(NOTIFIED_LIMIT)] = ()
    """What people were told, newest first. What stands here is not told again."""
    drift: Annotated[tuple[Difference, ...], *newest(DRIFT_LIMIT)] = ()
    """What differs at AWS and is left so, because of the annotation `ecs-inference.dev/paused` or of
    `spec.driftPolicy`."""
    applied: Applied | None = None
    """What `spec.driftPolicy: Report` counts drift from. Absent with another policy."""
    last_reconcile_at: _Name | None = None
    """Value of the annotation `ecs-inference.dev/reconcile-at` that was last honoured."""
    last_rollback_at: _Name | None = None
    """Value of the annotation `ecs-inference.dev/rollback-at` that was last honoured."""
    last_continue_at: _Name | None = None
    """Value of the annotation `ecs-inference.dev/continue-at` that was last honoured."""
