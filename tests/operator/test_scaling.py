"""Who decides how many tasks run: the spec, the autoscaler between its limits, or nobody while it is suspended."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.operator import test_strategies as strategies
from tests.operator.builders import deployment_document
from tests.operator.test_kinds import SCALABLE, SERVICE
from tests.operator.world import CLUSTER, Object, World

SCALED = {"minReplicas": 2, "maxReplicas": 10, "cpuPercent": 60, "memoryPercent": 70, "requestsPerReplica": 600}
LABEL = "app/shared/"


@pytest.fixture
def it(world: World) -> Object:
    """Up, with two to ten tasks."""
    it = Object(world, deployment_document(autoscaling=SCALED))
    it.live(lambda: it.ready)
    return it


def count(it: Object) -> int:
    found: int = it.world.holdings()["Service"][SERVICE]["desiredCount"]
    return found


def scaled_to(it: Object, desired: int) -> None:
    """As the autoscaler does it."""
    it.world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=desired)
    it.world.advance(timedelta(minutes=1))


def target(it: Object) -> dict[str, Any]:
    found: dict[str, Any]
    (found,) = it.world.client("application-autoscaling").describe_scalable_targets(ServiceNamespace="ecs")[
        "ScalableTargets"
    ]
    return found


def policies(it: Object) -> dict[str, Any]:
    found = it.world.client("application-autoscaling").describe_scaling_policies(**SCALABLE)["ScalingPolicies"]
    return {policy["PolicyName"]: policy["TargetTrackingScalingPolicyConfiguration"] for policy in found}


def test_it_begins_with_the_fewest_and_aws_is_told_the_limits_and_the_measures(it: Object) -> None:
    assert count(it) == 2
    assert (target(it)["MinCapacity"], target(it)["MaxCapacity"]) == (2, 10)
    assert {name: policy["TargetValue"] for name, policy in policies(it).items()} == {
        "ecs-inference-cpu": 60,
        "ecs-inference-memory": 70,
        "ecs-inference-requests": 600,
    }
    assert it.stands("ScalableTargetReady") == it.stands("ScalingPoliciesReady") == ("True", "AsSpecified")
    assert it.status["resources"]["scalableTarget"] == f"service/{CLUSTER}/{SERVICE}"


def test_events_about_the_policies_which_have_no_name_of_their_own_say_what_they_are(it: Object) -> None:
    told = [event for outcome in it.outcomes for event in outcome.events if event.about == "ScalingPolicies"]
    assert [(event.reason, event.message) for event in told] == [("ScalingPoliciesCreated", "by cpu, memory, requests")]


def test_requests_are_counted_for_the_service_s_own_target_group(it: Object) -> None:
    label = policies(it)["ecs-inference-requests"]["PredefinedMetricSpecification"]["ResourceLabel"]
    balancers = it.world.client("elbv2").describe_load_balancers()["LoadBalancers"]
    balancer = next(b["LoadBalancerArn"] for b in balancers if b["LoadBalancerName"] == "shared")
    group = it.status["resources"]["targetGroup"]
    assert label == f"{balancer.partition(':loadbalancer/')[2]}/{group.rpartition(':')[2]}"


def test_fifty_changes_of_the_spec_never_move_what_the_autoscaler_decided(it: Object) -> None:
    scaled_to(it, 7)
    mark = it.world.mark
    for number in range(50):
        it.change(**({"image": f"registry.example.com/inference-server:{number}"} if number % 2 else {}))
        it.change(health={"startup": f"{number + 1}m"}, tags=[{"key": "change", "value": str(number)}])
        it.world.advance(it.look().requeue_after)
        assert count(it) == 7
    it.live(lambda: it.ready)
    updates = [call for call in it.world.calls(since=mark) if call.operation == "UpdateService"]
    assert len(updates) >= 50
    assert not any("desiredCount" in call.parameters for call in updates)
    assert (count(it), it.status["readyReplicas"]) == (7, 7)


def test_it_is_ready_while_the_autoscaler_adds_tasks_and_takes_them_away(it: Object) -> None:
    it.world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=9)
    it.restart()
    it.look()
    assert it.ready
    assert "of 9 tasks run" in it.condition("Ready")["message"]
    it.world.advance(timedelta(minutes=2))
    it.world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=3)
    it.restart()
    it.look()
    assert it.ready


def test_with_fewer_tasks_than_the_fewest_allowed_it_is_not_ready(it: Object) -> None:
    for start in it.world.runner.starts:
        it.world.runner.exit(start.arn, "app", code=1)
    it.world.advance(timedelta(seconds=1))
    it.restart()
    it.look()
    assert it.stands("Ready") == ("False", "ReplicasUnavailable")
    it.live(lambda: it.ready)


@pytest.mark.parametrize(
    ("limits", "becomes"),
    [((2, 5), 5), ((8, 10), 8), ((2, 7), 7), ((7, 10), 7), ((1, 3), 3), ((12, 12), 12)],
)
def test_limits_that_leave_the_count_outside_bring_it_to_the_nearest_one(
    it: Object, limits: tuple[int, int], becomes: int
) -> None:
    scaled_to(it, 7)
    it.restart()
    it.change(autoscaling={**SCALED, "minReplicas": limits[0], "maxReplicas": limits[1]})
    it.live(lambda: it.ready)
    assert count(it) == becomes
    assert (target(it)["MinCapacity"], target(it)["MaxCapacity"]) == limits


def test_without_autoscaling_the_replicas_of_the_spec_hold_again_and_nothing_scales_any_more(it: Object) -> None:
    scaled_to(it, 7)
    it.change(autoscaling=None, replicas=4)
    it.live(lambda: it.ready)
    assert count(it) == 4
    assert "ScalableTarget" not in it.world.holdings()
    assert "scalableTarget" not in it.status["resources"]


def test_from_fixed_replicas_to_autoscaling_the_count_stays_within_the_limits(world: World) -> None:
    it = Object(world, deployment_document(replicas=6))
    it.live(lambda: it.ready)
    it.change(replicas=None, autoscaling=SCALED)
    it.live(lambda: it.ready)
    assert count(it) == 6


def test_suspended_it_has_no_task_and_nothing_wakes_it_and_afterwards_all_is_as_before(it: Object) -> None:
    scaled_to(it, 7)
    before, settings = it.world.holdings(), policies(it)
    it.change(suspend=True)
    it.live(lambda: it.ready)
    assert it.stands("Ready") == ("True", "ScaledToZero")
    assert "suspended" in it.condition("Ready")["message"]
    assert count(it) == 0
    assert all(target(it)["SuspendedState"].values())
    assert target(it)["MinCapacity"] == 0, "a call that registers it would bring the count up to the fewest"
    assert policies(it) == settings
    it.live_on(timedelta(hours=2))
    assert count(it) == it.status["replicas"] == 0
    assert it.status["url"]
    assert {kind: set(things) for kind, things in it.world.holdings().items()} == {
        kind: set(things) for kind, things in before.items()
    }
    it.change(suspend=False)
    it.live(lambda: it.ready)
    assert count(it) == 2
    assert not any(target(it)["SuspendedState"].values())
    assert (target(it)["MinCapacity"], target(it)["MaxCapacity"]) == (2, 10)


def test_suspended_with_fixed_replicas_it_comes_back_with_them(world: World) -> None:
    it = Object(world, deployment_document(replicas=3, suspend=True))
    it.live(lambda: it.ready)
    assert it.stands("Ready") == ("True", "ScaledToZero")
    assert world.runner.starts == []
    it.change(suspend=False)
    it.live(lambda: it.ready)
    assert it.status["readyReplicas"] == 3


def test_limits_that_a_schedule_has_set_are_no_drift_until_the_spec_changes_them(world: World) -> None:
    night = {"name": "night", "schedule": "cron(0 20 * * ? *)", "minReplicas": 0, "maxReplicas": 1}
    it = Object(world, deployment_document(autoscaling={**SCALED, "schedules": [night]}))
    it.live(lambda: it.ready)
    scaling = world.client("application-autoscaling")
    scaling.register_scalable_target(**SCALABLE, MinCapacity=0, MaxCapacity=1)  # as at eight in the evening
    scaled_to(it, 0)
    it.restart()
    mark = world.mark
    it.live_on(timedelta(hours=3))
    assert it.stands("Ready") == ("True", "ScaledToZero")
    assert world.writes(since=mark) == []
    it.change(autoscaling={**SCALED, "minReplicas": 3, "schedules": [night]})
    it.look()
    assert (target(it)["MinCapacity"], target(it)["MaxCapacity"]) == (3, 10)


def test_policies_of_somebody_else_s_on_the_same_target_are_left_alone(it: Object) -> None:
    it.world.client("application-autoscaling").put_scaling_policy(
        **SCALABLE,
        PolicyName="theirs",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 10.0,
            "CustomizedMetricSpecification": {"MetricName": "Queue", "Namespace": "Theirs", "Statistic": "Average"},
        },
    )
    it.restart()
    it.change(autoscaling={**SCALED, "cpuPercent": 50})
    it.live(lambda: it.ready)
    assert policies(it)["theirs"]["TargetValue"] == 10, "no field asks for such a measure"
    assert policies(it)["ecs-inference-cpu"]["TargetValue"] == 50


def test_requests_as_a_measure_need_a_load_balancer_and_it_is_said(world: World) -> None:
    world.change_environment(loadBalancer=None)
    it = Object(world, deployment_document(autoscaling={"maxReplicas": 4, "requestsPerReplica": 600}))
    it.look()
    assert it.stands("Accepted") == ("False", "InvalidSpec")
    assert "spec.autoscaling.requestsPerReplica needs a load balancer" in it.condition("Accepted")["message"]


def test_the_environment_limits_what_may_be_scaled_to(it: Object) -> None:
    it.world.change_environment(policy={"maximum": {"replicas": 9}})
    it.look()
    assert it.stands("Accepted") == ("False", "ForbiddenByPolicy")
    assert "spec.autoscaling.maxReplicas 10 is more than the allowed 9" in it.condition("Accepted")["message"]


def test_a_deleted_object_leaves_nothing_that_scales(it: Object) -> None:
    it.vanish()
    assert not any(it.world.holdings().values())


def test_requests_are_no_measure_while_rollouts_that_shifted_them_have_left_them_where_aws_does_not_count(
    world: World,
) -> None:
    strategies.prepare(world)
    it = Object(world, deployment_document(rollout=strategies.BLUE_GREEN))
    it.live(lambda: it.ready)
    it.change(image=strategies.BETTER)
    it.live(lambda: it.ready)
    it.change(rollout={"strategy": "ROLLING"}, autoscaling=SCALED)
    it.live_on(timedelta(minutes=10))
    assert it.stands("ScalingPoliciesReady") == it.stands("Ready") == ("False", "Unsuitable")
    assert "release once more with a strategy that shifts" in it.condition("Ready")["message"]
    it.change(rollout=strategies.BLUE_GREEN, autoscaling=None, image="registry.example.com/inference-server:1.6.0")
    it.live(lambda: it.ready)
    it.change(rollout={"strategy": "ROLLING"}, autoscaling=SCALED)
    it.live(lambda: it.ready)
    assert "ecs-inference-requests" in policies(it)
