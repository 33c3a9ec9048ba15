"""The containers of a task, as RegisterTaskDefinition wants them. Pure, and the same in every pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from inference_operator.api.meta import CONTAINER
from inference_operator.api.v1alpha1 import EnvVar, Health, Secret, Sidecar
from inference_operator.resources import log_router
from inference_operator.resources.base import Context, Fact, stored

MODELS = "models"
SCRATCH = "scratch"
SCRATCH_PATH = "/tmp"  # noqa: S108 where a container with a read-only root may write
LONGEST_START_PERIOD = timedelta(seconds=300)  # HealthCheck: startPeriod, 0 to 300
LONGEST_DRAIN = 10


def containers(ctx: Context) -> list[dict[str, Any]]:
    """The server first, then the sidecars, and the log router where there are routes."""
    router = [log_router.router(ctx)] if ctx.spec.logging.routed else []
    return [server(ctx), *(sidecar(ctx, asked) for asked in ctx.spec.sidecars), *router]


def server(ctx: Context) -> dict[str, Any]:
    spec = ctx.spec
    ours = {"INFERENCE_MODELS_DIR": spec.models.mount_path, "INFERENCE_PORT": str(spec.port)}
    variables = {**drain(spec.stop_timeout), **_given(spec.env), **ours}
    models = {"sourceVolume": MODELS, "containerPath": spec.models.mount_path, "readOnly": True}
    return {
        "name": CONTAINER,
        "image": spec.image,
        "essential": True,
        "readonlyRootFilesystem": spec.root_is_read_only,
        "stopTimeout": int(spec.stop_timeout.total_seconds()),
        "portMappings": [{"containerPort": spec.port, "protocol": "tcp"}],
        "environment": _listed(variables),
        "mountPoints": [models, _SCRATCH_MOUNT],
        **_logs(ctx, CONTAINER),
        **_optional(spec.command, spec.user, spec.secrets),
        **({"healthCheck": _health_check(spec.health)} if spec.health.command else {}),
        # An init process reaps what the sessions of ECS Exec leave (developer guide, "Using ECS Exec").
        **({"linuxParameters": {"initProcessEnabled": True}} if spec.exec.enabled else {}),
    }


def sidecar(ctx: Context, asked: Sidecar) -> dict[str, Any]:
    return {
        "name": asked.name,
        "image": asked.image,
        "essential": asked.essential,
        "readonlyRootFilesystem": asked.read_only_root_filesystem,
        "environment": _listed(_given(asked.env)),
        "mountPoints": [_SCRATCH_MOUNT],
        **_logs(ctx, asked.name),
        **_optional(asked.command, asked.user, asked.secrets),
        **({"cpu": asked.cpu.units} if asked.cpu is not None else {}),
        **({"memory": asked.memory.mib} if asked.memory is not None else {}),
    }


_SCRATCH_MOUNT = {"sourceVolume": SCRATCH, "containerPath": SCRATCH_PATH, "readOnly": False}


def _given(env: Iterable[EnvVar]) -> dict[str, str]:
    return {variable.name: variable.value for variable in env}


def _listed(variables: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in sorted(variables.items())]


def _optional(command: Iterable[str], user: str | None, secrets: Iterable[Secret]) -> dict[str, Any]:
    found = {
        "command": list(command),
        "user": user,
        "secrets": stored(secrets),
    }
    return {member: value for member, value in found.items() if value}


def drain(stop_timeout: timedelta) -> dict[str, str]:
    """How the server shares the time that it has: it serves on, then finishes what is under way, then is killed.

    ECS takes a task out of its target group before it sends the signal, so serving on needs some seconds at most; a
    second or a tenth is left for the exit.
    """
    seconds = int(stop_timeout.total_seconds())
    drain = min(LONGEST_DRAIN, seconds // 3)
    return {
        "INFERENCE_DRAIN_SECONDS": str(drain),
        "INFERENCE_GRACE_SECONDS": str(seconds - drain - max(1, seconds // 10)),
    }


def _logs(ctx: Context, container: str) -> dict[str, Any]:
    """Where the lines of a container go."""
    if ctx.spec.logging.routed:
        return log_router.routed()
    return {"logConfiguration": log_router.awslogs(ctx, ctx.facts[Fact.LOG_GROUP], container)}


def _health_check(health: Health) -> dict[str, Any]:
    """A start-up longer than ECS's longest start period is covered by the service's grace period, which counts for
    container checks too (API_UpdateService, healthCheckGracePeriodSeconds)."""
    return {
        "command": ["CMD", *health.command],
        "interval": int(health.interval.total_seconds()),
        "timeout": int(health.timeout.total_seconds()),
        "retries": health.unhealthy_threshold,
        "startPeriod": int(min(health.startup, LONGEST_START_PERIOD).total_seconds()),
    }
