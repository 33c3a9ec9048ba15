"""Availability zones: spreading, a zone without capacity, rebalancing (developer guide, "Balancing an Amazon ECS
service across Availability Zones")."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from inference_sandbox.ecs import rebalancing
from inference_sandbox.ecs.failures import Failure
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout

GUIDE = "Developer guide, “Balancing an Amazon ECS service across Availability Zones”"
TRACK = "Developer guide, “Track Amazon ECS Availability Zone rebalancing”"
A, B = "us-east-1a", "us-east-1b"


def zones(rollout: Rollout) -> dict[str, int]:
    return dict(Counter(task["availabilityZone"] for task in rollout.tasks()))


def uneven(rollout: Rollout, desired: int = 4, **members: Any) -> None:
    """A service that was made while one zone had no capacity, which has come back."""
    rollout.aws.fail(Failure(service="web", cause="capacity", zone=B))
    rollout.create(desired, **members)
    rollout.advance(120)
    assert zones(rollout) == {A: desired}
    rollout.aws.clear_failures()


@follows("Developer guide, “Amazon ECS service event messages”: capacity in another Availability Zone")
def test_a_zone_without_capacity_leaves_the_tasks_to_the_others(rollout: Rollout) -> None:
    rollout.create(4)
    rollout.advance(120)
    assert zones(rollout) == {A: 2, B: 2}
    rollout.aws.fail(Failure(service="*", cause="capacity", zone=B))
    rollout.update(forceNewDeployment=True)
    rollout.advance(300)
    assert zones(rollout) == {A: 4}
    rollout.aws.fail(Failure(service="*", cause="capacity", zone=A))
    rollout.update(desiredCount=5)
    rollout.advance(10)
    assert any("Capacity is unavailable at this time" in message for message in rollout.messages())
    assert zones(rollout) == {A: 4}


@follows(GUIDE)
def test_an_uneven_service_is_balanced_again_without_losing_a_task(rollout: Rollout) -> None:
    rollout.listen()
    uneven(rollout)
    lowest = 4
    for _ in range(60):
        rollout.advance(5)
        lowest = min(lowest, rollout.describe()["runningCount"])
    assert lowest == 4
    assert zones(rollout) == {A: 2, B: 2}
    assert len(rollout.deployments()) == 1
    messages = rollout.messages()
    began = messages.index(f"is not AZ balanced with 4 tasks in {A}, and 0 tasks in {B}. AZ Rebalancing in progress.")
    started, stopped, *_ = messages[began + 1 :]
    assert started.startswith(f"has started 2 tasks in {B} to AZ Rebalance: (task ")
    assert stopped.startswith(f"has stopped 2 running tasks in {A} due to AZ rebalancing: (task ")
    assert f"is AZ balanced with 2 tasks in {A}, and 2 tasks in {B}." in messages
    names = [detail["eventName"] for detail in rollout.events("ECS Service Action")]
    order = ["SERVICE_REBALANCING_STARTED", "TASKS_STARTED", "TASKS_STOPPED", "SERVICE_REBALANCING_COMPLETED"]
    assert [name for name in names if name in order] == order


@follows(TRACK)
@differs("How many tasks move at a time is not said; here as many as maximumPercent leaves room for.")
def test_rebalancing_keeps_within_the_maximum_percent(rollout: Rollout) -> None:
    uneven(rollout, 4, deploymentConfiguration={"maximumPercent": 125, "minimumHealthyPercent": 100})
    most = 0
    for _ in range(120):
        rollout.advance(5)
        shown = rollout.describe()
        most = max(most, shown["runningCount"] + shown["pendingCount"])
    assert most == 5
    assert zones(rollout) == {A: 2, B: 2}


@follows(GUIDE)
def test_a_service_that_is_not_to_be_rebalanced_stays_as_it_is(rollout: Rollout) -> None:
    uneven(rollout, availabilityZoneRebalancing="DISABLED")
    rollout.advance(600)
    assert zones(rollout) == {A: 4}
    rollout.update(availabilityZoneRebalancing="ENABLED")
    rollout.advance(300)
    assert zones(rollout) == {A: 2, B: 2}


@follows(GUIDE)
def test_a_difference_of_one_task_is_even(rollout: Rollout) -> None:
    rollout.create(3)
    rollout.advance(600)
    assert sorted(zones(rollout).values()) == [1, 2]
    assert not any("balanced" in message for message in rollout.messages())


@follows(GUIDE)
def test_a_deployment_comes_before_rebalancing(rollout: Rollout) -> None:
    uneven(rollout)
    rollout.advance(5)
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(300)
    [deployment] = rollout.deployments()
    assert (deployment["taskDefinition"][-5:], deployment["rolloutState"]) == ("app:2", "COMPLETED")
    assert zones(rollout) == {A: 2, B: 2}


@pytest.mark.parametrize(
    ("counts", "moves"),
    [
        ({"a": 4, "b": 0}, 2),
        ({"a": 5, "b": 0}, 2),
        ({"a": 3, "b": 2}, 0),
        ({"a": 3, "b": 3, "c": 0}, 2),
        ({"a": 7, "b": 0, "c": 1}, 4),
        ({"a": 1}, 0),
    ],
)
def test_as_few_tasks_move_as_need_to(counts: dict[str, int], moves: int) -> None:
    assert rebalancing.moves(counts) == moves
