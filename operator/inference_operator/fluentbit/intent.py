"""What is asked of a log router, whole: a service's routes, and the destinations that they name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from inference_operator.api.destinations import CloudWatchLogs, Destination
from inference_operator.api.logging import Route
from inference_operator.api.meta import CONTAINER
from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec


@dataclass(frozen=True, kw_only=True)
class Intent:
    namespace: str
    name: str
    region: str
    containers: Sequence[str]
    """Names of the containers whose lines come in."""
    routes: Sequence[Route]
    """The last one has no match."""
    destinations: Mapping[str, Destination]
    """By name; at least those that the routes name."""
    redact: Sequence[str] = ()
    remove: Sequence[str] = ()
    debug_group: str | None = None
    """Log group that every line goes to as well."""
    buffer_mib: int = 256

    @property
    def used(self) -> Mapping[str, Sequence[int]]:
        """The destinations that lines go to, in the order of their names: the numbers of the routes that lead there."""
        numbers: dict[str, list[int]] = {}
        for number, route in enumerate(self.routes):
            for name in route.to:
                numbers.setdefault(name, []).append(number)
        return dict(sorted(numbers.items()))

    def placed(self, template: str) -> str:
        """A name of the environment's, for this service."""
        return placed(template, self.namespace, self.name)


def placed(template: str, namespace: str, name: str) -> str:
    return template.replace("{namespace}", namespace).replace("{name}", name)


def is_own(group: CloudWatchLogs) -> bool:
    """Whether each service has such a log group of its own."""
    return "{namespace}" in group.log_group and "{name}" in group.log_group


def debugged(spec: InferenceDeploymentSpec, now: datetime) -> bool:
    until = spec.logging.debug_until
    return until is not None and now < until


def intent(
    spec: InferenceDeploymentSpec,
    environment: InferenceEnvironmentSpec,
    *,
    namespace: str,
    name: str,
    log_group: str,
    now: datetime,
) -> Intent:
    """Of a service that has routes. `log_group` is its own, which debugging writes to."""
    return Intent(
        namespace=namespace,
        name=name,
        region=environment.region,
        containers=(CONTAINER, *(sidecar.name for sidecar in spec.sidecars)),
        routes=spec.logging.routes,
        destinations=environment.logging.destinations,
        redact=spec.logging.redact,
        remove=spec.logging.remove,
        debug_group=log_group if debugged(spec, now) else None,
        buffer_mib=environment.logging.router.buffer.mib,
    )
