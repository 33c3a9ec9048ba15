"""InferenceDeployment: what an application team asks for. Knows no AWS call and no status."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Annotated, Self

from pydantic import Field, model_validator

from inference_operator.api import fargate
from inference_operator.api.constraints import Flag, Unique, decimal, immutable, refuse, text, whole
from inference_operator.api.environment import EFS_FOLDER, FOLDER_DEPTH, FOLDER_LENGTH, MAXIMUM_REPLICAS
from inference_operator.api.meta import RESERVED_ENV, RESERVED_ENV_PREFIXES
from inference_operator.api.model import NAME_LENGTH, NAME_REGEX, SpecModel
from inference_operator.api.quantities import Cpu, DurationRange, Memory

_SEGMENT = "[A-Za-z0-9_.~-]+"


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


class EnvVar(SpecModel):
    """One environment variable."""

    name: Annotated[
        str,
        *text(
            128,
            "[A-Za-z_][A-Za-z0-9_]*",
            "a name of letters, digits and _ that begins with no digit, such as LOG_LEVEL",
        ),
    ]
    """Name. Those that the operator or Fargate sets are refused."""

    value: Annotated[str, Field(max_length=4096, repr=False)]
    """Value. Not for secrets: whoever can read the object can read it."""

    @model_validator(mode="after")
    def _name_is_free(self) -> Self:
        if self.name in RESERVED_ENV or self.name.startswith(RESERVED_ENV_PREFIXES):
            raise refuse(f"name {self.name} is set by the operator or by Fargate; remove it from env")
        return self

    rules = (
        {
            "rule": f"!(self.name in {json.dumps(RESERVED_ENV)})"
            + "".join(f" && !self.name.startsWith('{prefix}')" for prefix in RESERVED_ENV_PREFIXES),
            "messageExpression": '"name " + self.name + " is set by the operator or by Fargate; remove it from env"',
        },
    )


class Health(SpecModel):
    """How it is known that a task can serve."""

    path: Annotated[str, *text(255, r"/[A-Za-z0-9_.~/%?=&+-]*", "an absolute URL path, such as /readyz")] = "/readyz"
    """URL path that answers 200 when the task can serve."""

    startup: Annotated[timedelta, DurationRange(timedelta(0), timedelta(hours=6))] = timedelta(minutes=5)
    """How long a new task may take to load its models before a failing check counts."""


class Ingress(SpecModel):
    """How the shared load balancer finds this service."""

    paths: Annotated[
        tuple[
            Annotated[
                str, *text(128, rf"(/{_SEGMENT})*/\*", "an absolute URL path that ends in /*, such as /recommender/*")
            ],
            ...,
        ],
        Field(max_length=1),
        Unique(),
    ] = ()
    """URL paths that are sent to this service. `/<namespace>/<name>/*` if absent. `/*`, every path, needs a host."""

    hosts: Annotated[
        tuple[
            Annotated[
                str,
                *text(
                    128,
                    r"([a-z0-9*]([a-z0-9*-]*[a-z0-9*])?\.)+[a-z]{2,}",
                    "a host name in lower case, in which * stands for any text, such as api.example.com",
                ),
            ],
            ...,
        ],
        Field(max_length=4),
        Unique(),
    ] = ()
    """Host names under which requests are sent to this service. Every host if absent."""

    @model_validator(mode="after")
    def _all_paths_need_a_host(self) -> Self:
        if "/*" in self.paths and not self.hosts:
            raise refuse("the path /* takes every request of the shared load balancer; add hosts or a path of its own")
        return self

    rules = (
        {
            "rule": "!has(self.paths) || !('/*' in self.paths) || (has(self.hosts) && self.hosts.size() > 0)",
            "message": "the path /* takes every request of the shared load balancer; add hosts or a path of its own",
        },
    )


class CircuitBreaker(SpecModel):
    """What ECS does with a rollout whose tasks do not come up."""

    enabled: Flag = True
    """Whether ECS gives up a rollout after too many tasks failed to come up."""

    rollback: Flag = True
    """Whether a rollout that was given up is rolled back to the last one that completed."""


class Rollout(SpecModel):
    """How tasks are replaced when the spec changes."""

    minimum_healthy_percent: Annotated[int, whole(0, 100)] = 100
    """Percentage of replicas, rounded up, that stay healthy during a rollout."""

    maximum_percent: Annotated[int, whole(100, 200)] = 200
    """Percentage of replicas, rounded down, that may run during a rollout."""

    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """What ECS does with a rollout whose tasks do not come up."""

    progress_deadline: Annotated[timedelta, DurationRange(timedelta(minutes=1), timedelta(hours=24))] = timedelta(
        minutes=30
    )
    """How long a rollout may take before it counts as failed, whatever ECS says."""


def rollout_refusal(replicas: int, minimum: int, maximum: int) -> str | None:
    """Why a rollout with these percentages could never replace a task, and what would work; None if it can.

    ECS rounds the minimum up and the maximum down, and needs room to start or to stop one task.
    """
    may_run = maximum * replicas // 100
    must_stay = -(-minimum * replicas // 100)
    if replicas == 0 or may_run > replicas or must_stay < replicas:
        return None
    shortfall = -(-100 // replicas)
    return (
        f"with {replicas} replicas, minimumHealthyPercent {minimum} and maximumPercent {maximum} "
        f"leave no room to replace a task; "
        f"set maximumPercent to at least {100 + shortfall} "
        f"or minimumHealthyPercent to at most {100 - shortfall}"
    )


def _room_rule() -> dict[str, str]:
    """`rollout_refusal` in CEL, whose division of integers cuts, as `//` does where nothing is negative."""
    replicas, minimum, maximum = "self.replicas", "self.rollout.minimumHealthyPercent", "self.rollout.maximumPercent"
    shortfall = f"((100 + {replicas} - 1) / {replicas})"  # one task in percent of the replicas, rounded up
    return {
        "rule": f"{replicas} == 0 || {maximum} * {replicas} / 100 > {replicas}"
        f" || ({minimum} * {replicas} + 99) / 100 < {replicas}",
        "messageExpression": f"'with ' + {decimal(replicas, 4)} + ' replicas, minimumHealthyPercent '"
        f" + {decimal(minimum, 3)} + ' and maximumPercent ' + {decimal(maximum, 3)}"
        " + ' leave no room to replace a task; set maximumPercent to at least '"
        f" + {decimal(f'(100 + {shortfall})', 3)} + ' or minimumHealthyPercent to at most '"
        f" + {decimal(f'(100 - {shortfall})', 3)}",
    }


class InferenceDeploymentSpec(SpecModel):
    """One inference service on ECS Fargate."""

    environment: Annotated[
        str, *text(NAME_LENGTH, NAME_REGEX, "the name of an InferenceEnvironment, such as production")
    ] = "default"
    """Name of the InferenceEnvironment to run in."""

    image: Annotated[
        str,
        *text(
            255,
            r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?/)?"
            r"[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*"
            r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?",
            "an image reference, such as registry.example.com/team/inference-server:1.4.0",
        ),
    ]
    """Container image, with a tag or a digest."""

    replicas: Annotated[int, whole(0, MAXIMUM_REPLICAS)] = 1
    """Number of tasks."""

    cpu: Cpu = Cpu.parse("1")
    """vCPUs of one task. With `memory` it must be a size that Fargate has."""

    memory: Memory = Memory.parse("2Gi")
    """Memory of one task. With `cpu` it must be a size that Fargate has."""

    models: Models
    """Which models are served, and where the container finds them."""

    port: Annotated[int, whole(1, 65535)] = 8080
    """TCP port on which the container serves HTTP."""

    env: Annotated[tuple[EnvVar, ...], Field(max_length=100), Unique("name")] = ()
    """Environment variables of the container, by name."""

    health: Health = Health()
    """How it is known that a task can serve."""

    ingress: Ingress = Ingress()
    """How the shared load balancer finds this service. Unused where the environment has no load balancer."""

    rollout: Rollout = Rollout()
    """How tasks are replaced when the spec changes."""

    @model_validator(mode="after")
    def _fargate_has_the_size(self) -> Self:
        if not fargate.is_valid(self.cpu, self.memory):
            raise refuse(fargate.refusal(self.cpu, self.memory))
        return self

    @model_validator(mode="after")
    def _a_rollout_has_room(self) -> Self:
        refusal = rollout_refusal(self.replicas, self.rollout.minimum_healthy_percent, self.rollout.maximum_percent)
        if refusal:
            raise refuse(refusal)
        return self

    rules = (
        fargate.rule("self.cpu", "self.memory"),
        _room_rule(),
        immutable("environment", "what was made stays where it is; make another object instead"),
    )
