"""Cloud Map registration, which an environment may ask for: where tasks are found, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_sandbox.aws.faults import Kind
from tests.operator.builders import deployment_document
from tests.operator.world import Object, World

TAGGED = {"tags": [{"key": "team", "value": "search"}]}
WRITES: Mapping[str, Mapping[str, Any] | None] = {
    "servicediscovery:CreateService": None,
    "servicediscovery:TagResource": TAGGED,
    "servicediscovery:UntagResource": {"tags": []},
}
"""What is changed for an operation to be called; None: it is made."""


@pytest.fixture
def it(world: World) -> Object:
    world.discover()
    return Object(world, deployment_document(replicas=2))


def instances(world: World) -> list[str]:
    cloud_map = world.client("servicediscovery")
    services = cloud_map.list_services()["Services"]
    listed = [cloud_map.list_instances(ServiceId=service["Id"])["Instances"] for service in services]
    return [instance["Attributes"]["AWS_INSTANCE_IPV4"] for some in listed for instance in some]


def rollouts(world: World, since: int) -> int:
    return sum(
        call.service == "ecs" and call.operation == "UpdateService" and "serviceRegistries" in call.parameters
        for call in world.calls(since=since)
    )


def test_tasks_are_registered_and_found_by_a_name_that_the_status_tells(it: Object) -> None:
    it.live(lambda: it.ready)
    assert it.stands("DiscoveryServiceReady") == ("True", "AsSpecified")
    assert it.status["internalHost"] == "recommender.shop.inference.local"
    assert len(instances(it.world)) == 2
    it.change(replicas=3)
    it.live(lambda: it.ready)
    it.live_on(timedelta(minutes=10))
    assert len(instances(it.world)) == 3


def test_with_a_deletion_all_of_it_goes_and_nothing_of_somebody_elses(it: Object) -> None:
    other = Object(it.world, deployment_document(name="classifier"))
    other.live(lambda: other.ready)
    it.live(lambda: it.ready)
    it.vanish()
    assert list(it.world.holdings()["DiscoveryService"]) == ["classifier.shop"]
    assert len(instances(it.world)) == 1


def test_a_namespace_that_comes_and_goes_replaces_the_tasks_once_each_time_and_leaves_nothing(world: World) -> None:
    it = Object(world)
    it.live(lambda: it.ready)
    assert "internalHost" not in it.status
    mark = world.mark
    world.discover()
    it.restart()
    it.live(lambda: it.ready and "internalHost" in it.status)
    assert rollouts(world, mark) == 1
    mark = world.mark
    world.change_environment(serviceDiscovery=None)
    it.restart()
    it.live(lambda: it.ready and "DiscoveryService" not in world.holdings())
    assert rollouts(world, mark) == 1
    assert "internalHost" not in it.status
    it.live_on(timedelta(minutes=30))
    assert "discoveryService" not in it.status["resources"]
    world.restart()
    it.restart()
    mark = world.mark
    it.live_on(timedelta(hours=2))
    assert world.writes(since=mark) == []


@pytest.mark.parametrize("operation", WRITES)
@pytest.mark.parametrize("fault", ["deny", "throttle", "error", "lost"])
def test_a_refused_or_lost_call_is_told_and_made_good(operation: str, fault: Kind, it: Object) -> None:
    change = WRITES[operation]
    if change is not None:
        it.change(**(TAGGED if change == {"tags": []} else {}))
        it.live(lambda: it.ready)
        it.change(**change)
    it.world.fault(fault, operation, times=1)
    it.look()
    if fault != "lost":
        assert it.stands("DiscoveryServiceReady")[0] == "False"
    it.live(lambda: it.ready)
    assert len(it.world.holdings()["DiscoveryService"]) == 1
    it.vanish()
    assert not any(it.world.holdings().values())


def test_a_deletion_that_is_refused_goes_on_later(it: Object) -> None:
    it.live(lambda: it.ready)
    it.world.fault("error", "servicediscovery:DeleteService", times=2)
    it.vanish()
    assert not any(it.world.holdings().values())


def test_the_namespace_is_named_by_its_id() -> None:
    with pytest.raises(ValueError, match="the id of a Cloud Map namespace"):
        InferenceEnvironmentSpec.model_validate({"serviceDiscovery": {"namespaceId": "inference.local"}})
