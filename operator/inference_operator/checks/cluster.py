"""The cluster takes tasks, and has the capacity providers that are asked for."""

from __future__ import annotations

from collections.abc import Iterator

from inference_operator.aws.ports import Answer
from inference_operator.checks.base import Case, Check, Finding, Place, failed


def found_in(place: Place) -> Answer | None:
    name = place.environment.cluster
    answer = place.ask(place.aws.ecs.describe_clusters, "ecs:DescribeClusters", clusters=[name])
    return next(iter(answer["clusters"]), None)


def look_at_activity(place: Place) -> Iterator[Finding]:
    name, found = place.environment.cluster, found_in(place)
    if found is None or found["status"] != "ACTIVE":
        status = f"is {found['status']}" if found is not None else f"does not exist in {place.environment.region}"
        yield failed(f"the cluster {name} {status}", "Make it, or name another one in an InferenceEnvironment.")


def look(case: Case) -> Iterator[Finding]:
    name, found = case.environment.cluster, found_in(case)
    if found is None or found["status"] != "ACTIVE":
        yield from look_at_activity(case)
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
OF_ENVIRONMENT = Check(name="Cluster", about="`cluster` is active.", member="cluster", look=look_at_activity)
