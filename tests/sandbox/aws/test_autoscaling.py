"""Application Auto Scaling of services (user guide, "Target tracking scaling policies")."""

from __future__ import annotations

from typing import Any

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout

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
    scaling.put_scaling_policy(
        **TARGET,
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 50.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": CPU},
        }
        | policy,
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
    rollout.update(desiredCount=1)
    rollout.aws.give_metric("inference", "web", CPU, 50.0)
    rollout.advance(61)
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


@follows("Application Auto Scaling API reference, DescribeScalingActivities")
def test_what_was_scaled_is_told(rollout: Rollout) -> None:
    rollout.create(1)
    scaling = track(rollout)
    rollout.aws.give_metric("inference", "web", CPU, 100.0)
    rollout.advance(240)
    [activity] = scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"]
    assert activity["Description"] == "Setting desired count to 2."
    assert activity["StatusCode"] == "Successful"
    assert activity["ResourceId"] == "service/inference/web"
