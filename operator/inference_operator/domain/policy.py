"""Whether an environment's guardrails allow what a spec asks for. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase

from inference_operator.api.v1alpha1 import (
    InferenceDeploymentSpec,
    InferenceEnvironmentSpec,
    Maximum,
    NamespaceSelector,
)

Labels = Mapping[str, str]


def refusals(
    spec: InferenceDeploymentSpec, environment: InferenceEnvironmentSpec, *, namespace: str, labels: Labels | None
) -> list[str]:
    """One sentence for each thing that is not allowed: the field, its value, the limit. Empty if all is.

    `labels` are the namespace's; None if they are not known.
    """
    policy = environment.policy
    found = list(_role(spec, environment))
    if policy is None:
        return found
    if policy.namespaces is not None:
        found += _namespace(policy.namespaces, namespace, labels)
    if policy.images is not None:
        found += _images(spec, policy.images)
    if policy.maximum is not None:
        found += _sizes(spec, policy.maximum)
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
    for field, image in images:
        if not any(fnmatchcase(image, pattern) for pattern in allowed):
            yield f"{field} '{image}' matches none of the allowed images ({', '.join(allowed)})"


def _sizes(spec: InferenceDeploymentSpec, most: Maximum) -> Iterator[str]:
    if most.cpu is not None and spec.cpu > most.cpu:
        yield f"spec.cpu {spec.cpu} is more than the allowed {most.cpu}"
    if most.memory is not None and spec.memory > most.memory:
        yield f"spec.memory {spec.memory} is more than the allowed {most.memory}"
    if most.replicas is not None and spec.replicas > most.replicas:
        yield f"spec.replicas {spec.replicas} is more than the allowed {most.replicas}"
