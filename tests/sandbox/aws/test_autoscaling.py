"""Target tracking of services (Application Auto Scaling user guide, "Target tracking scaling policies")."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout
from tests.sandbox.aws.world import refusal

GUIDE = "Application Auto Scaling user guide, “How target tracking scaling works”"
TARGET = {
    "ServiceNamespace": "ecs",
    "ResourceId": "service/inference/web",
    "ScalableDimension": "ecs:service:DesiredCount",
}
CPU = "ECSServiceAverageCPUUtilization"


def track(rollout: Rollout, low: int = 1, high: int = 10, **policy: Any) -> Any:
    scaling = rollout.aws.client("application-autoscaling")
    scaling.register_scalable_target(**TARGET, MinCapacity=low, MaxCapacity=high)
    given = {"TargetValue": 50.0, "PredefinedMetricSpecification": {"PredefinedMetricType": CPU}} | policy
    scaling.put_scaling_policy(
        **TARGET,
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={name: value for name, value in given.items() if value is not None},
    )
    return scaling


@follows(GUIDE)
@differs("Nobody measures the sandbox's tasks: the metric is what it is told to be.")
def test_a_service_above_its_target_grows_in_proportion_after_three_minutes(rollout: Rollout) -> None:
    rollout.create(2)
    track(rollout)
    rollout.aws.give_metric("inference", "web", CPU, 100.0)
    rollout.advance(150)
    assert rollout.describe()["desiredCount"] == 2
    rollout.advance(60)
    assert rollout.describe()["desiredCount"] == 4


@follows(GUIDE)
def test_a_service_below_its_target_shrinks_only_after_fifteen_minutes(rollout: Rollout) -> None:
    rollout.create(4)
    track(rollout)
    rollout.aws.give_metric("inference", "web", CPU, 20.0)
    rollout.advance(800)
    assert rollout.describe()["desiredCount"] == 4
    rollout.advance(200)
    assert rollout.describe()["desiredCount"] == 2


@follows(GUIDE)
def test_it_never_leaves_minimum_and_maximum(rollout: Rollout) -> None:
    rollout.create(2)
    track(rollout, low=2, high=3)
    rollout.aws.give_metric("inference", "web", CPU, 500.0)
    rollout.advance(600)
    assert rollout.describe()["desiredCount"] == 3
    rollout.aws.give_metric("inference", "web", CPU, 1.0)
    rollout.advance(3600)
    assert rollout.describe()["desiredCount"] == 2


@follows(GUIDE)
def test_it_waits_for_its_cooldown_before_it_grows_again(rollout: Rollout) -> None:
    rollout.create(1)
    track(rollout, ScaleOutCooldown=600)
    rollout.aws.give_metric("inference", "web", CPU, 75.0)
    rollout.advance(250)
    assert rollout.describe()["desiredCount"] == 2
    rollout.advance(400)
    assert rollout.describe()["desiredCount"] == 2
    rollout.advance(400)
    assert rollout.describe()["desiredCount"] == 3


@follows("Application Auto Scaling API reference, TargetTrackingScalingPolicyConfiguration")
def test_scaling_in_can_be_disabled(rollout: Rollout) -> None:
    rollout.create(4)
    track(rollout, DisableScaleIn=True)
    rollout.aws.give_metric("inference", "web", CPU, 1.0)
    rollout.advance(3600)
    assert rollout.describe()["desiredCount"] == 4


@follows(GUIDE)
def test_several_policies_scale_out_if_one_wants_to_and_in_only_if_all_do(rollout: Rollout) -> None:
    rollout.create(4)
    scaling = track(rollout)
    memory = {
        "TargetValue": 50.0,
        "PredefinedMetricSpecification": {"PredefinedMetricType": "ECSServiceAverageMemoryUtilization"},
    }
    scaling.put_scaling_policy(
        **TARGET,
        PolicyName="memory",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=memory,
    )
    rollout.aws.give_metric("inference", "web", CPU, 10.0)
    rollout.aws.give_metric("inference", "web", "ECSServiceAverageMemoryUtilization", 48.0)
    rollout.advance(1800)
    assert rollout.describe()["desiredCount"] == 4
    rollout.aws.give_metric("inference", "web", "ECSServiceAverageMemoryUtilization", 60.0)
    rollout.advance(300)
    assert rollout.describe()["desiredCount"] == 5


@follows(GUIDE)
def test_target_tracking_keeps_two_alarms_and_takes_them_away_with_its_policy(rollout: Rollout) -> None:
    rollout.create(2)
    scaling = track(rollout)
    [policy] = scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"]
    cloudwatch = rollout.aws.client("cloudwatch")
    alarms = cloudwatch.describe_alarms(AlarmNames=[each["AlarmName"] for each in policy["Alarms"]])["MetricAlarms"]
    assert sorted(alarm["ComparisonOperator"] for alarm in alarms) == ["GreaterThanThreshold", "LessThanThreshold"]
    for alarm in alarms:
        assert alarm["AlarmName"].startswith("TargetTracking-service/inference/web-Alarm")
        assert alarm["AlarmActions"] == [policy["PolicyARN"]]
        assert (alarm["Namespace"], alarm["MetricName"], alarm["Statistic"]) == ("AWS/ECS", "CPUUtilization", "Average")
    track(rollout, TargetValue=60.0)
    assert len(cloudwatch.describe_alarms()["MetricAlarms"]) == 2
    scaling.delete_scaling_policy(**TARGET, PolicyName="cpu")
    assert cloudwatch.describe_alarms()["MetricAlarms"] == []


@follows(GUIDE)
def test_without_data_nothing_is_scaled(rollout: Rollout) -> None:
    rollout.create(4)
    scaling = track(rollout)
    rollout.advance(3600)
    assert rollout.describe()["desiredCount"] == 4
    names = [
        each["AlarmName"]
        for each in scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"][0]["Alarms"]
    ]
    alarms = rollout.aws.client("cloudwatch").describe_alarms(AlarmNames=names)["MetricAlarms"]
    assert {alarm["StateValue"] for alarm in alarms} == {"INSUFFICIENT_DATA"}


@follows("Application Auto Scaling API reference, PredefinedMetricSpecification.ResourceLabel")
def test_requests_per_target_need_the_label_of_a_target_group_of_the_service(rollout: Rollout) -> None:
    rollout.create(2, **rollout.balanced())
    scaling = rollout.aws.client("application-autoscaling")
    scaling.register_scalable_target(**TARGET, MinCapacity=1, MaxCapacity=10)
    balancer = rollout.elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"].split(":loadbalancer/")[1]
    group = rollout.group.rsplit(":", 1)[1]
    other = rollout.target_group("other").rsplit(":", 1)[1]

    def put(kind: str, label: str | None) -> dict[str, Any]:
        metric = {"PredefinedMetricType": kind} | ({"ResourceLabel": label} if label else {})
        configuration = {"TargetValue": 100.0, "PredefinedMetricSpecification": metric}
        return {
            **TARGET,
            "PolicyName": "requests",
            "PolicyType": "TargetTrackingScaling",
            "TargetTrackingScalingPolicyConfiguration": configuration,
        }

    requests = "ALBRequestCountPerTarget"
    for kind, label in (
        (requests, None),
        (requests, group),
        (requests, f"{balancer}/{other}"),
        (CPU, f"{balancer}/{group}"),
    ):
        assert refusal(scaling.put_scaling_policy, **put(kind, label))[::2] == ("ValidationException", 400)
    scaling.put_scaling_policy(**put(requests, f"{balancer}/{group}"))
    rollout.aws.give_metric("inference", "web", requests, 250.0)
    rollout.advance(200)
    assert rollout.describe()["desiredCount"] == 5


@follows("Application Auto Scaling API reference, CustomizedMetricSpecification")
def test_a_customized_metric_is_read_from_cloudwatch(rollout: Rollout) -> None:
    rollout.create(2)
    specification = {
        "MetricName": "Backlog",
        "Namespace": "App",
        "Statistic": "Average",
        "Dimensions": [{"Name": "Queue", "Value": "jobs"}],
    }
    track(rollout, PredefinedMetricSpecification=None, CustomizedMetricSpecification=specification)
    cloudwatch = rollout.aws.client("cloudwatch")
    for _ in range(4):
        datum = {"MetricName": "Backlog", "Value": 75.0, "Dimensions": specification["Dimensions"]}
        cloudwatch.put_metric_data(Namespace="App", MetricData=[datum])
        rollout.advance(60)
    assert rollout.describe()["desiredCount"] == 3


@follows("Developer guide, “Automatically scale your Amazon ECS service”")
def test_a_count_set_below_the_minimum_stays_until_an_alarm_scales_out(rollout: Rollout) -> None:
    rollout.create(4)
    track(rollout, low=3)
    rollout.update(desiredCount=1)
    rollout.aws.give_metric("inference", "web", CPU, 1.0)
    rollout.advance(1800)
    assert rollout.describe()["desiredCount"] == 1
    rollout.aws.give_metric("inference", "web", CPU, 60.0)
    rollout.advance(300)
    assert rollout.describe()["desiredCount"] == 4


@follows("Developer guide, “Automatically scale your Amazon ECS service”")
def test_a_count_set_above_the_maximum_stays_until_an_alarm_scales_in(rollout: Rollout) -> None:
    rollout.create(4)
    track(rollout, high=5)
    rollout.update(desiredCount=8)
    rollout.aws.give_metric("inference", "web", CPU, 90.0)
    rollout.advance(600)
    assert rollout.describe()["desiredCount"] == 8
    rollout.aws.give_metric("inference", "web", CPU, 44.0)
    rollout.advance(1200)
    assert rollout.describe()["desiredCount"] == 5


@follows("Application Auto Scaling API reference, SuspendedState")
def test_suspended_scaling_in_and_out_do_nothing(rollout: Rollout) -> None:
    rollout.create(2)
    scaling = track(rollout)
    scaling.register_scalable_target(**TARGET, SuspendedState={"DynamicScalingOutSuspended": True})
    rollout.aws.give_metric("inference", "web", CPU, 100.0)
    rollout.advance(600)
    assert rollout.describe()["desiredCount"] == 2
    scaling.register_scalable_target(**TARGET, SuspendedState={"DynamicScalingOutSuspended": False})
    rollout.advance(60)
    assert rollout.describe()["desiredCount"] == 4
    scaling.register_scalable_target(**TARGET, SuspendedState={"DynamicScalingInSuspended": True})
    rollout.aws.give_metric("inference", "web", CPU, 1.0)
    rollout.advance(3600)
    assert rollout.describe()["desiredCount"] == 4


@follows("Application Auto Scaling API reference, TargetTrackingScalingPolicyConfiguration")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"TargetValue": 0.0}, "TargetValue 0"),
        ({"PredefinedMetricSpecification": {"PredefinedMetricType": "Moods"}}, "Value 'Moods' at"),
        ({"PredefinedMetricSpecification": None}, "either a PredefinedMetricSpecification or"),
        ({"CustomizedMetricSpecification": {"MetricName": "a"}}, "either a PredefinedMetricSpecification or"),
        ({"ScaleInCooldown": -1}, "ScaleInCooldown -1"),
    ],
)
def test_a_tracking_policy_that_cannot_be_is_refused(rollout: Rollout, change: dict[str, Any], message: str) -> None:
    rollout.create(1)
    assert message in refusal(lambda **policy: track(rollout, **policy), **change)[1]


@follows("Application Auto Scaling user guide, “Target tracking scaling policies”: one policy for each metric")
def test_a_metric_is_tracked_by_one_policy(rollout: Rollout) -> None:
    rollout.create(1)
    scaling = track(rollout)
    configuration = {"TargetValue": 70.0, "PredefinedMetricSpecification": {"PredefinedMetricType": CPU}}
    again = {"PolicyName": "again", "PolicyType": "TargetTrackingScaling"}
    answer = refusal(
        scaling.put_scaling_policy, **TARGET, **again, TargetTrackingScalingPolicyConfiguration=configuration
    )
    assert answer[0] == "ValidationException"
    assert "cpu has it" in answer[1]


@follows("Application Auto Scaling user guide, “Scaling activities for Application Auto Scaling”")
def test_what_was_scaled_is_told(rollout: Rollout) -> None:
    rollout.create(1)
    scaling = track(rollout, high=2)
    rollout.aws.give_metric("inference", "web", CPU, 100.0)
    rollout.advance(1200)
    [activity] = scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"]
    assert activity["Description"] == "Setting desired count to 2."
    assert activity["Cause"].endswith("in state ALARM triggered policy cpu")
    assert activity["StatusMessage"] == "Successfully set desired count to 2. Change successfully fulfilled by ecs."
    assert (activity["StatusCode"], activity["ResourceId"]) == ("Successful", "service/inference/web")
    told = scaling.describe_scaling_activities(ServiceNamespace="ecs", IncludeNotScaledActivities=True)
    newest = told["ScalingActivities"][0]
    assert newest["StatusCode"] == "NotScaled"
    assert newest["NotScaledReasons"] == [{"Code": "AlreadyAtMaxCapacity", "MaxCapacity": 2}]
    assert "EndTime" not in newest
