"""InferenceDeployment: what an application team asks for. Knows no AWS call and no status."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inference_operator.api import fargate
from inference_operator.api.constraints import Flag, Form, Unique, immutable, refuse, text, whole
from inference_operator.api.containers import (
    ONCE_RULE,
    Arguments,
    Env,
    Image,
    Secrets,
    Sidecar,
    User,
    refuse_twice,
)
from inference_operator.api.environment import EFS_FOLDER, FOLDER_DEPTH, FOLDER_LENGTH, ROLE_ARN
from inference_operator.api.ingress import Ingress
from inference_operator.api.logging import Logging
from inference_operator.api.meta import CONTAINER, TAG_PREFIX
from inference_operator.api.model import NAME_LENGTH, NAME_REGEX, SpecModel
from inference_operator.api.policy import MAXIMUM_REPLICAS
from inference_operator.api.quantities import Cpu, DurationRange, Memory
from inference_operator.api.rollout import Rollout, rollout_refusal, room_rule
from inference_operator.api.scaling import Autoscaling

SUCCESS_CODES = "[0-9]{1,3}(-[0-9]{1,3})?(,[0-9]{1,3}(-[0-9]{1,3})?)*"
SUCCESS_CODES_ARE = "codes and ranges of codes with commas between them, such as 200 or 200-299,404"
_HTTP_CODES = "[2-4][0-9]{2}(-[2-4][0-9]{2})?(,[2-4][0-9]{2}(-[2-4][0-9]{2})?)*"
_GRPC_CODES = "[0-9]{1,2}(-[0-9]{1,2})?(,[0-9]{1,2}(-[0-9]{1,2})?)*"
_WRONG_CODES = (
    "health.successCodes must be HTTP codes from 200 to 499, "
    "or with ingress.protocolVersion GRPC gRPC codes from 0 to 99; name such codes"
)
_CHECKS_OVERLAP = "timeout must be shorter than interval; lower timeout or raise interval"
_KEY_TAKEN = f"key must not begin with aws: or {TAG_PREFIX}, which AWS and the operator keep for themselves"


class Models(SpecModel):
    """Which models are served, and where the container finds them."""

    path: Annotated[
        str,
        *text(
            FOLDER_LENGTH,
            f"(/{EFS_FOLDER}){{1,{FOLDER_DEPTH}}}",
            f"an absolute folder at most {FOLDER_DEPTH} deep, such as /recommender/2026-11-24",
        ),
    ]
    """Folder of the models, from the environment's `models.rootDirectory`. Together at most 4 deep, 100 characters."""

    mount_path: Annotated[
        str, *text(255, "(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)+", "an absolute folder other than /, such as /models")
    ] = "/models"
    """Folder of the container where the models appear, read-only."""


class Health(SpecModel):
    """How it is known that a task can serve."""

    path: Annotated[str, *text(255, r"/[A-Za-z0-9_.~/%?=&+-]*", "an absolute URL path, such as /readyz")] = "/readyz"
    """URL path that answers with one of `successCodes` when the task can serve. With `ingress.protocolVersion` GRPC the
    method that is called, such as /grpc.health.v1.Health/Check."""

    success_codes: Annotated[str, *text(64, SUCCESS_CODES, SUCCESS_CODES_ARE)] | None = None
    """Codes that a passing check may answer: HTTP's from 200 to 499, or gRPC's from 0 to 99 with
    `ingress.protocolVersion` GRPC. 200 if absent, with GRPC 0."""

    startup: Annotated[timedelta, DurationRange(timedelta(0), timedelta(hours=6))] = timedelta(minutes=5)
    """How long a new task may take to load its models before a failing check counts."""

    command: Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=20)] = ()
    """Command that is run in the container and exits with 0 when the task can serve, its program and arguments one by
    one. A second check beside `path`; the only one where the environment has no load balancer."""

    interval: Annotated[timedelta, DurationRange(timedelta(seconds=5), timedelta(seconds=300))] = timedelta(seconds=10)
    """Time between two checks."""

    timeout: Annotated[timedelta, DurationRange(timedelta(seconds=2), timedelta(seconds=60))] = timedelta(seconds=5)
    """How long a check may take. Shorter than `interval`."""

    healthy_threshold: Annotated[int, whole(2, 10)] = 2
    """Passing checks in a row after which the load balancer sends requests to a task."""

    unhealthy_threshold: Annotated[int, whole(2, 10)] = 3
    """Failing checks in a row after which a task is taken out and replaced."""

    @model_validator(mode="after")
    def _a_check_ends_before_the_next(self) -> Self:
        if self.timeout >= self.interval:
            raise refuse(_CHECKS_OVERLAP)
        return self

    rules = (
        {  # the server tries it on the default, {}, before the members have theirs
            "rule": "!has(self.timeout) || !has(self.interval) || duration(self.timeout) < duration(self.interval)",
            "message": _CHECKS_OVERLAP,
        },
    )


class Capacity(SpecModel):
    """One capacity provider, and its share of the tasks."""

    provider: Literal["FARGATE", "FARGATE_SPOT"]
    """Capacity provider. The cluster must be associated with it. FARGATE_SPOT costs less, and AWS may end its tasks
    with two minutes' warning."""

    base: Annotated[int, whole(0, 100_000)] | None = None
    """Tasks that run on it before any is shared out by weight. None if absent. One provider alone may have it."""

    weight: Annotated[int, whole(0, 1000)] | None = None
    """Share of the tasks beyond the base, relative to the other weights. None of them if absent."""


_EXEC_WRITES = "ECS Exec needs a writable root file system; remove readOnlyRootFilesystem or set exec.enabled to false"
_NO_ROOM_TO_REBALANCE = (
    "availability zones can be rebalanced only where rollout.maximumPercent is above 100; "
    "raise that, or set availabilityZoneRebalancing to false"
)
# Developer guide, "Use a target metric to scale": not supported for blue/green deployments.
_REQUESTS_MOVE = (
    "autoscaling.requestsPerReplica needs the rollout.strategy ROLLING: with the others AWS counts the requests of one "
    "target group, and after a rollout the other one gets them; take cpuPercent or memoryPercent"
)
_TWO_COUNTS = (
    "replicas can't be set with autoscaling, which decides the number of tasks; leave replicas out, and change "
    "autoscaling.minReplicas or maxReplicas instead, or set suspend to have none"
)
_NO_WEIGHT = "no provider of capacity has a weight above 0; give one"
_NO_SUCH_CONTAINER = (
    f"a route matches a container that there is not; name {CONTAINER} or one of sidecars, or remove the route"
)
_TWO_BASES = "more than one provider of capacity has a base; keep one of them"


class Exec(SpecModel):
    """ECS Exec: a shell in a running container, through `aws ecs execute-command`."""

    enabled: Flag = False
    """Whether it is possible. The root file system is then writable, and the task role needs the actions
    ssmmessages:CreateControlChannel, CreateDataChannel, OpenControlChannel and OpenDataChannel."""


class Tag(SpecModel):
    """One tag of the AWS resources of this service, its tasks among them."""

    key: Annotated[
        str, *text(128, r"[A-Za-z0-9 +=._:/@-]+", "letters, digits, spaces and + = . _ : / @ -, such as cost-center")
    ]
    """Key. It must not begin with `aws:` or with `ecs-inference.dev/`."""

    value: Annotated[
        str, Field(max_length=256), Form(r"[A-Za-z0-9 +=._:/@-]*", "letters, digits, spaces and + = . _ : / @ -")
    ]
    """Value."""

    @model_validator(mode="after")
    def _key_is_free(self) -> Self:
        if self.key.lower().startswith("aws:") or self.key.startswith(TAG_PREFIX):
            raise refuse(_KEY_TAKEN)
        return self

    rules = (
        {
            "rule": f"!self.key.lowerAscii().startsWith('aws:') && !self.key.startsWith('{TAG_PREFIX}')",
            "message": _KEY_TAKEN,
        },
    )


class InferenceDeploymentSpec(SpecModel):
    """One inference service on ECS Fargate."""

    environment: Annotated[
        str, *text(NAME_LENGTH, NAME_REGEX, "the name of an InferenceEnvironment, such as production")
    ] = "default"
    """Name of the InferenceEnvironment to run in."""

    image: Image
    """Container image, with a tag or a digest."""

    replicas: Annotated[int, whole(0, MAXIMUM_REPLICAS)] | None = None
    """Number of tasks. 1 if absent; must be absent with `autoscaling`, which decides it."""

    autoscaling: Autoscaling | None = None
    """The number of tasks, left to Application Auto Scaling. Fixed if absent."""

    suspend: Flag = False
    """Whether no task is to run, whatever else is asked for. All else stays as it is, and so does the URL."""

    cpu: Cpu = Cpu.parse("1")
    """vCPUs of one task. With `memory` it must be a size that Fargate has."""

    memory: Memory = Memory.parse("2Gi")
    """Memory of one task. With `cpu` it must be a size that Fargate has."""

    architecture: Literal["X86_64", "ARM64"] = "X86_64"
    """Processor of the tasks. The images must be made for it."""

    ephemeral_storage: (
        Annotated[
            str,
            *text(
                5,
                "(2[1-9]|[3-9][0-9]|1[0-9][0-9]|200)Gi",
                "an amount of storage from 21Gi to 200Gi in whole Gi, such as 40Gi",
            ),
        ]
        | None
    ) = None
    """Disk of one task, its images included. 20Gi if absent."""

    capacity: Annotated[tuple[Capacity, ...], Field(max_length=2), Unique("provider")] = ()
    """Capacity providers that share the tasks. All on FARGATE if absent."""

    platform_version: Annotated[
        str, *text(10, r"LATEST|1\.[4-9]\.[0-9]", "LATEST, or a version of Fargate from 1.4.0 on")
    ] = "LATEST"
    """Version of Fargate that the tasks run on."""

    models: Models
    """Which models are served, and where the container finds them."""

    port: Annotated[int, whole(1, 65535)] = 8080
    """TCP port on which the container serves HTTP."""

    task_role_arn: Annotated[str, *ROLE_ARN] | None = None
    """ARN of the role that the containers have. It must be allowed to mount the models, and the environment's
    `policy.taskRoleArns` must allow it. The environment's own if absent."""

    command: Arguments = ()
    """Arguments that replace the image's own command."""

    user: User | None = None
    """User as whom the container runs. The image's own if absent."""

    env: Env = ()
    """Environment variables of the container, by name."""

    secrets: Secrets = ()
    """Environment variables whose values are read when a task starts, by name."""

    stop_timeout: Annotated[timedelta, DurationRange(timedelta(seconds=2), timedelta(seconds=120))] = timedelta(
        seconds=30
    )
    """How long a stopping container may take before it is killed. The server is told to be done in that time:
    INFERENCE_DRAIN_SECONDS and INFERENCE_GRACE_SECONDS follow from it where `env` does not set them."""

    read_only_root_filesystem: Flag | None = None
    """Whether the container can write to /tmp alone. True if absent, except with `exec.enabled`,
    which needs the opposite."""

    sidecars: Annotated[tuple[Sidecar, ...], Field(max_length=8), Unique("name")] = ()
    """Further containers of each task, by name."""

    health: Health = Health()
    """How it is known that a task can serve."""

    logging: Logging = Logging()
    """Where the lines go that the containers write."""

    ingress: Ingress = Ingress()
    """How the shared load balancer finds this service. Unused where the environment has no load balancer."""

    rollout: Rollout = Rollout()
    """How tasks are replaced when the spec changes."""

    availability_zone_rebalancing: Flag | None = None
    """Whether ECS moves tasks until the availability zones have equally many. If absent it does so where
    `rollout.maximumPercent` is above 100, which it needs."""

    exec: Exec = Exec()
    """ECS Exec: a shell in a running container."""

    drift_policy: Literal["Mend", "Report"] = "Mend"
    """What becomes of differences at AWS that somebody else has made: they are undone; or, once the spec is in effect,
    told in `status.drift` and left until the spec, the environment or the annotation `reconcile-at` changes."""

    deletion_policy: Literal["Delete", "Retain"] = "Delete"
    """What becomes of the AWS resources when the object is deleted. Those that are retained go on working, and the
    next object of the same name gets them."""

    tags: Annotated[tuple[Tag, ...], Field(max_length=20), Unique("key")] = ()
    """Tags of the service's AWS resources and of its tasks, by key. Tasks get them when they start."""

    @property
    def bounds(self) -> tuple[int, int]:
        """The fewest and the most tasks that may be asked of ECS."""
        if self.suspend:
            return 0, 0
        if self.autoscaling is not None:
            return self.autoscaling.bounds
        return self._least, self._least

    @property
    def starts_with(self) -> int:
        """The number of tasks of a service that is new, or has been suspended."""
        return 0 if self.suspend else self._least

    @property
    def _least(self) -> int:
        if self.autoscaling is not None:
            return self.autoscaling.min_replicas
        return 1 if self.replicas is None else self.replicas

    @property
    def rebalances(self) -> bool:
        if self.availability_zone_rebalancing is not None:
            return self.availability_zone_rebalancing
        return self.rollout.maximum_percent > 100  # noqa: PLR2004 percent

    @property
    def root_is_read_only(self) -> bool:
        if self.read_only_root_filesystem is not None:
            return self.read_only_root_filesystem
        return not self.exec.enabled

    @model_validator(mode="after")
    def _fargate_has_the_size(self) -> Self:
        if not fargate.is_valid(self.cpu, self.memory):
            raise refuse(fargate.refusal(self.cpu, self.memory))
        return self

    @model_validator(mode="after")
    def _a_rollout_has_room(self) -> Self:
        refusal = rollout_refusal(self._least, self.rollout.minimum_healthy_percent, self.rollout.maximum_percent)
        if refusal:
            raise refuse(refusal)
        return self

    @model_validator(mode="after")
    def _its_parts_fit_together(self) -> Self:
        refuse_twice(self.env, self.secrets)
        if self.autoscaling is not None and self.replicas is not None:
            raise refuse(_TWO_COUNTS)
        if self.autoscaling is not None and self.autoscaling.requests_per_replica and self.rollout.shifts:
            raise refuse(_REQUESTS_MOVE)
        if self.capacity and not any(provider.weight for provider in self.capacity):
            raise refuse(_NO_WEIGHT)
        if sum(bool(provider.base) for provider in self.capacity) > 1:
            raise refuse(_TWO_BASES)
        if self.rebalances and self.rollout.maximum_percent <= 100:  # noqa: PLR2004 percent
            raise refuse(_NO_ROOM_TO_REBALANCE)
        if self.exec.enabled and self.root_is_read_only:
            raise refuse(_EXEC_WRITES)
        codes = _GRPC_CODES if self.ingress.protocol_version == "GRPC" else _HTTP_CODES
        if self.health.success_codes is not None and not re.fullmatch(codes, self.health.success_codes, re.ASCII):
            raise refuse(_WRONG_CODES)
        if self._matched_containers() - {CONTAINER, *(sidecar.name for sidecar in self.sidecars)}:
            raise refuse(_NO_SUCH_CONTAINER)
        return self

    def _matched_containers(self) -> set[str]:
        matches = [route.match for route in self.logging.routes if route.match is not None]
        return {match.container for match in matches if match.container is not None}

    rules = (
        ONCE_RULE,
        {"rule": "!has(self.autoscaling) || !has(self.replicas)", "message": _TWO_COUNTS},
        {
            "rule": "!has(self.autoscaling) || !has(self.autoscaling.requestsPerReplica)"
            " || self.rollout.strategy == 'ROLLING'",
            "message": _REQUESTS_MOVE,
        },
        {
            "rule": "!has(self.logging.routes) || self.logging.routes.all(r, !has(r.match) || !has(r.match.container)"
            f" || r.match.container == '{CONTAINER}'"
            " || (has(self.sidecars) && self.sidecars.exists(s, s.name == r.match.container)))",
            "message": _NO_SUCH_CONTAINER,
        },
        {
            "rule": "!has(self.capacity) || self.capacity.size() == 0"
            " || self.capacity.exists(c, has(c.weight) && c.weight > 0)",
            "message": _NO_WEIGHT,
        },
        {
            "rule": "!has(self.capacity) || self.capacity.filter(c, has(c.base) && c.base > 0).size() < 2",
            "message": _TWO_BASES,
        },
        {
            "rule": "!has(self.availabilityZoneRebalancing) || !self.availabilityZoneRebalancing"
            " || self.rollout.maximumPercent > 100",
            "message": _NO_ROOM_TO_REBALANCE,
        },
        {
            "rule": "!self.exec.enabled || !has(self.readOnlyRootFilesystem) || !self.readOnlyRootFilesystem",
            "message": _EXEC_WRITES,
        },
        {
            "rule": "!has(self.health.successCodes) || (self.ingress.protocolVersion == 'GRPC'"
            f" ? self.health.successCodes.matches(r'^(?:{_GRPC_CODES})$')"
            f" : self.health.successCodes.matches(r'^(?:{_HTTP_CODES})$'))",
            "message": _WRONG_CODES,
        },
        fargate.rule("self.cpu", "self.memory"),
        room_rule(),
        immutable("environment", "what was made stays where it is; make another object instead"),
    )
