"""The cluster takes tasks, and has the capacity providers that are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from inference_operator.checks.base import Case, Check, Finding, failed


def look(case: Case) -> Iterator[Finding]:
    name = case.environment.cluster
    answer = case.ask(case.aws.ecs.describe_clusters, "ecs:DescribeClusters", clusters=[name])
    found = next(iter(answer["clusters"]), None)
    if found is None or found["status"] != "ACTIVE":
        status = f"is {found['status']}" if found is not None else f"does not exist in {case.environment.region}"
        yield failed(f"the cluster {name} {status}", "Make it, or name another one in an InferenceEnvironment.")
        return
    lacking = [
        asked.provider for asked in case.spec.capacity if asked.provider not in found.get("capacityProviders", ())
    ]
    if lacking:
        yield failed(
            f"the cluster {name} is not associated with {', '.join(lacking)}, which spec.capacity asks for",
            "Associate it (aws ecs put-cluster-capacity-providers), or take the provider out of spec.capacity.",
        )


CLUSTER = Check(
    name="Cluster", about="The cluster is active and has the capacity providers that `capacity` asks for.", look=look
)
