"""Whether an environment's guardrails allow what a spec asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from inference_operator.api.ingress import Ingress
from inference_operator.api.policy import NAMESPACE, IngressPolicy
from inference_operator.api.v1alpha1 import (
    InferenceDeploymentSpec,
    InferenceEnvironmentSpec,
    Logging,
    LoggingPolicy,
    Maximum,
    NamespaceSelector,
)
from inference_operator.domain.names import Identity
from inference_operator.fluentbit import custom, rendering

Labels = Mapping[str, str]


def refusals(
    spec: InferenceDeploymentSpec, environment: InferenceEnvironmentSpec, *, identity: Identity, labels: Labels | None
) -> list[str]:
    """One sentence for each thing that is not allowed: the field, its value, the limit. Empty if all is.

    `labels` are those of the object's namespace; None if they are not known.
    """
    policy = environment.policy
    found = list(_role(spec, environment))
    if policy is None:
        return found
    if policy.namespaces is not None:
        found += _namespace(policy.namespaces, identity.namespace, labels)
    if policy.images is not None:
        found += _images(spec, policy.images)
    if policy.model_paths is not None:
        found += _unmatched("spec.models.path", spec.models.path, "folders", _own(policy.model_paths, identity))
    if policy.ingress is not None and environment.load_balancer is not None:
        found += _ingress(spec.ingress, policy.ingress, identity)
    if policy.maximum is not None:
        found += _sizes(spec, policy.maximum)
    if policy.logging is not None:
        found += _logging(spec.logging, policy.logging)
    return found


def unmet(spec: InferenceDeploymentSpec, environment: InferenceEnvironmentSpec) -> list[str]:
    """One sentence for each thing that the environment does not have, or that can't be. Empty if all is well."""
    known = environment.logging.destinations
    found = [
        f"{field} '{name}' is no destination of the environment (it has: {', '.join(sorted(known)) or 'none'})"
        for field, name in _destinations(spec.logging)
        if name not in known
    ]
    if environment.load_balancer is None and spec.autoscaling and spec.autoscaling.requests_per_replica:
        found.append("spec.autoscaling.requestsPerReplica needs a load balancer, and the environment has none")
    load_balancer = environment.load_balancer
    if spec.rollout.shifts and (load_balancer is None or load_balancer.infrastructure_role_arn is None):
        found.append(
            f"spec.rollout.strategy {spec.rollout.strategy} needs loadBalancer.infrastructureRoleArn of the "
            f"environment, with which ECS shifts requests"
        )
    if spec.logging.routed and str(spec.port) in rendering.PORTS:
        why = rendering.PORTS[str(spec.port)]
        found.append(f"spec.port {spec.port} is taken in a task with a log router: there {why}; take another")
    if spec.logging.custom is not None:
        found += custom.refusals(spec.logging.custom)
    elif spec.logging.routes and not found:
        found += rendering.refusals(spec, environment)
    return found


def _role(spec: InferenceDeploymentSpec, environment: InferenceEnvironmentSpec) -> Iterator[str]:
    """A role is a right: without a word on roles in the policy the environment's own is the only one."""
    role = spec.task_role_arn
    allowed = (environment.policy.task_role_arns if environment.policy is not None else None) or ()
    if role is None or role == environment.task_role_arn or any(fnmatchcase(role, pattern) for pattern in allowed):
        return
    told = (
        f"none of the allowed roles ({', '.join(allowed)})" if allowed else "no pattern: policy.taskRoleArns is absent"
    )
    yield f"spec.taskRoleArn '{role}' matches {told}"


def _namespace(selector: NamespaceSelector, namespace: str, labels: Labels | None) -> Iterator[str]:
    asked = ", ".join(f"{key}={value}" for key, value in sorted(selector.match_labels.items()))
    if labels is None:
        yield (
            f"metadata.namespace '{namespace}' must have the labels {asked}, and what labels it has can't be read: "
            f"the operator needs the right to get namespaces"
        )
    elif any(labels.get(key) != value for key, value in selector.match_labels.items()):
        yield f"metadata.namespace '{namespace}' does not have the labels that namespaces must have here ({asked})"


def _images(spec: InferenceDeploymentSpec, allowed: Sequence[str]) -> Iterator[str]:
    images = [("spec.image", spec.image)]
    images += [(f"spec.sidecars[{number}].image", sidecar.image) for number, sidecar in enumerate(spec.sidecars)]
    if spec.logging.custom is not None and spec.logging.custom.image is not None:
        images.append(("spec.logging.custom.image", spec.logging.custom.image))
    for field, image in images:
        yield from _unmatched(field, image, "images", allowed)


def _ingress(asked: Ingress, allowed: IngressPolicy, identity: Identity) -> Iterator[str]:
    if allowed.paths is not None:
        paths = _own(allowed.paths, identity)
        for number, path in enumerate(asked.paths):
            yield from _unmatched(f"spec.ingress.paths[{number}]", path, "paths", paths)
        if not asked.paths:
            yield from _unmatched("spec.ingress.paths is absent; the default", identity.path, "paths", paths)
    if allowed.hosts is not None:
        hosts = _own(allowed.hosts, identity)
        for number, host in enumerate(asked.hosts):
            yield from _unmatched(f"spec.ingress.hosts[{number}]", host, "hosts", hosts)
        if not asked.hosts:
            shown = ", ".join(hosts)
            yield f"spec.ingress.hosts is absent, which means every host; name some of the allowed hosts ({shown})"


def _own(patterns: Sequence[str], identity: Identity) -> list[str]:
    """The patterns as they are for the services of one namespace."""
    return [pattern.replace(NAMESPACE, identity.namespace) for pattern in patterns]


def _unmatched(field: str, value: str, what: str, allowed: Sequence[str]) -> Iterator[str]:
    """What a service asks for may hold a `*` itself. It is matched like any other character, by a `*` alone: what the
    asked one stands for is then within what the allowed one stands for."""
    if not any(fnmatchcase(value, pattern) for pattern in allowed):
        yield f"{field} '{value}' matches none of the allowed {what} ({', '.join(allowed)})"


def _sizes(spec: InferenceDeploymentSpec, most: Maximum) -> Iterator[str]:
    if most.cpu is not None and spec.cpu > most.cpu:
        yield f"spec.cpu {spec.cpu} is more than the allowed {most.cpu}"
    if most.memory is not None and spec.memory > most.memory:
        yield f"spec.memory {spec.memory} is more than the allowed {most.memory}"
    for field, asked in _counts(spec):
        if most.replicas is not None and asked > most.replicas:
            yield f"{field} {asked} is more than the allowed {most.replicas}"


def _counts(spec: InferenceDeploymentSpec) -> Iterator[tuple[str, int]]:
    """The fields that say how many tasks there may be."""
    if spec.autoscaling is None:
        yield "spec.replicas", 1 if spec.replicas is None else spec.replicas
        return
    yield "spec.autoscaling.maxReplicas", spec.autoscaling.max_replicas
    for number, schedule in enumerate(spec.autoscaling.schedules):
        yield f"spec.autoscaling.schedules[{number}].maxReplicas", schedule.max_replicas


def _logging(asked: Logging, allowed: LoggingPolicy) -> Iterator[str]:
    if asked.custom is not None and not allowed.custom:
        yield "spec.logging.custom is not allowed; use routes"
    for field, name in _destinations(asked):
        if allowed.destinations is not None and name not in allowed.destinations:
            yield f"{field} '{name}' is none of the allowed destinations ({', '.join(allowed.destinations) or 'none'})"


def _destinations(asked: Logging) -> Iterator[tuple[str, str]]:
    """The fields that name a destination, and its name."""
    for number, route in enumerate(asked.routes):
        for place, name in enumerate(route.to):
            yield f"spec.logging.routes[{number}].to[{place}]", name
