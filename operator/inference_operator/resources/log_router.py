"""The log router of a task: a container with Fluent Bit, through FireLens. Pure.

Fargate takes no configuration from S3 (FirelensConfiguration, config-file-type), so it travels in the task definition,
as text in two environment variables, and a rollback of the revision rolls it back as well. A shell writes the two files
before Fluent Bit starts, into a volume of the task's, so that the root can be read-only.
"""

from __future__ import annotations

from typing import Any, Final

from inference_operator.fluentbit import custom
from inference_operator.fluentbit.intent import intent
from inference_operator.fluentbit.rendering import FOLDER, MAIN_FILE, PARSERS_FILE, VARIABLES, Configuration, render
from inference_operator.resources.base import Context, stored

ROUTER: Final = "log_router"
"""Name of the container. No sidecar can have it: of theirs, none has an underscore."""

VOLUME: Final = "log-router"
STOP_TIMEOUT: Final = 60
"""Seconds: the router's own grace of 50, and some."""

DRIVER_BUFFER: Final = 8 * 2**20
"""Bytes of lines that a container's log driver keeps while the router is busy; beyond them the oldest are lost."""

REPORT_SECONDS: Final = 300
"""How often the router tells its counters."""

SCRIPT: Final = f"""\
set -eu
printf '%s\\n' "$ROUTER_CONF" > {MAIN_FILE}
printf '%s\\n' "$ROUTER_PARSERS" > {PARSERS_FILE}
unset ROUTER_CONF ROUTER_PARSERS
/bin/sh /entrypoint.sh &
router=$!
# Its counters, for the operator, in the router's own log.
while sleep {REPORT_SECONDS}; do curl -sf http://127.0.0.1:2020/api/v1/metrics && echo; done &
reports=$!
# Two seconds save the last lines of a traceback that is still awaited.
trap 'kill $reports; sleep 2; kill -TERM $router' TERM
wait $router || code=$?
while kill -0 $router 2>/dev/null; do code=0; wait $router || code=$?; done
exit ${{code:-0}}
"""


def configuration(ctx: Context) -> Configuration:
    """What the router of a spec with routes, or with a configuration of its own, is given."""
    if ctx.spec.logging.custom is not None:
        return custom.wrapped(ctx.spec.logging.custom)
    identity = ctx.identity
    asked = intent(
        ctx.spec,
        ctx.environment,
        namespace=identity.namespace,
        name=identity.name,
        log_group=identity.log_group,
        now=ctx.now,
    )
    return render(asked)


def router(ctx: Context) -> dict[str, Any]:
    settings = ctx.environment.logging.router
    own = ctx.spec.logging.custom
    given = configuration(ctx)
    return {
        "name": ROUTER,
        "image": own.image if own is not None and own.image else settings.image,
        "essential": settings.essential,
        "readonlyRootFilesystem": True,
        "memoryReservation": settings.memory.mib,
        **({"cpu": settings.cpu.units} if settings.cpu is not None else {}),
        "stopTimeout": STOP_TIMEOUT,
        "entryPoint": ["/bin/sh", "-c"],
        "command": [SCRIPT],
        "environment": [
            {"name": name, "value": value} for name, value in zip(VARIABLES, (given.main, given.parsers), strict=True)
        ],
        **({"secrets": stored(own.secrets)} if own is not None and own.secrets else {}),
        "mountPoints": [{"sourceVolume": VOLUME, "containerPath": FOLDER, "readOnly": False}],
        "firelensConfiguration": {
            "type": "fluentbit",
            "options": {
                "enable-ecs-log-metadata": "true",
                "config-file-type": "file",
                "config-file-value": MAIN_FILE,
            },
        },
        "logConfiguration": awslogs(ctx, ctx.identity.router_log_group, ROUTER),
    }


def awslogs(ctx: Context, group: str, prefix: str) -> dict[str, Any]:
    return {
        "logDriver": "awslogs",
        "options": {
            "awslogs-group": group,
            "awslogs-region": ctx.environment.region,
            "awslogs-stream-prefix": prefix,
        },
    }


def routed() -> dict[str, Any]:
    """What a container has whose lines go through the router. No output is named here: it would match the lines'
    first tag alone. ECS starts the router first and stops it last because of the dependency."""
    return {
        "logConfiguration": {
            "logDriver": "awsfirelens",
            "options": {"log-driver-buffer-limit": str(DRIVER_BUFFER)},
        },
        "dependsOn": [{"containerName": ROUTER, "condition": "START"}],
    }
