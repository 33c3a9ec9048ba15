"""Plans and verifications against what there is: they say what would be done, and do nothing."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from inference_operator.engine.offline import ObjectPlan, plan_documents, plan_live
from inference_operator.engine.preflight import verify_documents
from tests.operator.builders import deployment_document
from tests.operator.test_checks import dns
from tests.operator.world import Object, World


class Cluster:
    """A cluster with the world's environment and one object."""

    def __init__(self, world: World, known: Object | None) -> None:
        self._world = world
        self._known = known

    def environments(self) -> Any:
        return self._world.environments

    def deployment(self, namespace: str, name: str) -> Any:
        if self._known is None:
            return None
        metadata = self._known.document["metadata"]
        return self._known.document if (metadata["namespace"], metadata["name"]) == (namespace, name) else None

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        return {"kubernetes.io/metadata.name": namespace}


def manifest(**spec: Any) -> dict[str, Any]:
    """As somebody would apply it: without what an API server adds."""
    document = deployment_document(**spec)
    document["metadata"] = {"name": "recommender", "namespace": "shop"}
    return document


def planned(world: World, known: Object | None, **spec: Any) -> ObjectPlan:
    before, mark = world.holdings(), world.mark
    world.restart()
    [plan] = plan_live([manifest(**spec)], lambda _: world.aws, Cluster(world, known))
    assert world.writes(since=mark) == []
    assert world.holdings() == before
    return plan


def operations(plan: ObjectPlan) -> list[str]:
    return [operation for operation, _ in plan.calls]


@pytest.fixture
def up(world: World) -> Object:
    it = Object(world)
    it.live(lambda: it.ready)
    return it


CHANGES: list[dict[str, Any]] = [
    {},
    {"image": "registry.example.com/inference-server:1.5.0"},
    {"replicas": 3},
    {"models": {"path": "/recommender/2"}},
    {"port": 9000, "health": {"path": "/other"}},
    {"ingress": {"paths": ["/films/*"], "stickiness": {"duration": "1h"}}},
    {"tags": [{"key": "team", "value": "search"}]},
    {"autoscaling": {"minReplicas": 2, "maxReplicas": 4, "cpuPercent": 60}},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: "-".join(change) or "nothing")
def test_what_is_planned_is_what_is_then_done(change: dict[str, Any], up: Object) -> None:
    plan = planned(up.world, up, **change)
    up.change(**change)
    up.restart()
    mark = up.world.mark
    up.look()
    done = [f"{c.service}:{c.operation}" for c in up.world.calls(since=mark)]
    done = [call for call in done if call in up.world.writes(since=mark)]
    assert [_words(operation) for operation in operations(plan)] == [_words(call) for call in done]
    assert {(r.kind, type(r.step)) for r in plan.results} == {(r.kind, type(r.step)) for r in up.outcomes[-1].results}


def _words(operation: str) -> str:
    """An operation without its service, spelt in one way."""
    name = operation.replace(":", ".").rpartition(".")[2]
    return name.replace("_", "").lower()


def test_a_service_that_is_new_is_planned_as_without_an_account(world: World) -> None:
    plan = planned(world, None)
    [alone] = plan_documents([manifest(), world.environments["default"]])
    assert operations(plan) == operations(alone)


def test_what_belongs_to_an_object_that_is_not_in_the_cluster_would_be_left_alone(up: Object) -> None:
    plan = planned(up.world, None)
    assert "is left alone" in plan.text()


def test_a_refusal_is_a_plan_too(up: Object) -> None:
    up.world.change_environment(policy={"namespaces": {"matchLabels": {"inference": "true"}}})
    plan = planned(up.world, up)
    assert plan.refusal is not None
    assert "ForbiddenByPolicy" in plan.refusal


def test_a_verification_reports_what_it_finds_and_fails_for_failures_only(world: World) -> None:
    cluster = Cluster(world, None)
    [report] = verify_documents([manifest()], lambda _: world.aws, cluster)
    assert not report.failed
    assert "Unknown  Images: " in report.text()
    dns("EnableDnsSupport")(world)
    world.restart()
    [report] = verify_documents([manifest()], lambda _: world.aws, cluster)
    assert report.failed
    assert "Failed   Models: enableDnsSupport" in report.text()
    [finding] = [f for f in report.document()["findings"] if f["result"] == "Failed"]
    assert finding["nextStep"].startswith("Turn it on")


def test_an_object_that_is_refused_is_not_looked_at_further(world: World) -> None:
    document = deepcopy(manifest(cpu="3", memory="1Gi"))
    mark = world.mark
    [report] = verify_documents([document], lambda _: world.aws, Cluster(world, None))
    assert report.failed
    assert "refused: InvalidSpec" in report.text()
    assert world.calls(since=mark) == []


def test_a_plan_with_a_namespace_of_cloud_map_needs_no_account(world: World) -> None:
    environment = deepcopy(dict(world.environments["default"]))
    environment["spec"]["serviceDiscovery"] = {"namespaceId": "ns-0123456789abcdef"}
    [plan] = plan_documents([manifest(), environment])
    assert "servicediscovery.create_service" in operations(plan)
    create = next(members for operation, members in plan.calls if operation == "ecs.create_service")
    assert create["serviceRegistries"][0]["registryArn"].endswith("made-by-this-plan")
