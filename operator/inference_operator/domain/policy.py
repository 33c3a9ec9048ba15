"""Whether an environment's guardrails allow what a spec asks for. Pure."""

from __future__ import annotations

from fnmatch import fnmatchcase

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec


def refusals(spec: InferenceDeploymentSpec, environment: InferenceEnvironmentSpec) -> list[str]:
    """One sentence for each thing that is not allowed: the field, its value, the limit. Empty if all is."""
    policy = environment.policy
    if policy is None:
        return []
    found = []
    if policy.images is not None:
        images = [("spec.image", spec.image)]
        images += [(f"spec.sidecars[{number}].image", sidecar.image) for number, sidecar in enumerate(spec.sidecars)]
        for field, image in images:
            if not any(fnmatchcase(image, pattern) for pattern in policy.images):
                found.append(f"{field} '{image}' matches none of the allowed images ({', '.join(policy.images)})")
    most = policy.maximum
    if most is not None:
        if most.cpu is not None and spec.cpu > most.cpu:
            found.append(f"spec.cpu {spec.cpu} is more than the allowed {most.cpu}")
        if most.memory is not None and spec.memory > most.memory:
            found.append(f"spec.memory {spec.memory} is more than the allowed {most.memory}")
        if most.replicas is not None and spec.replicas > most.replicas:
            found.append(f"spec.replicas {spec.replicas} is more than the allowed {most.replicas}")
    return found
