"""Scalable targets, step scaling and schedules (Application Auto Scaling API reference and user guide)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from inference_sandbox.aws.scaling import schedules
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout
from tests.sandbox.aws.world import refusal

STEPS = "Application Auto Scaling user guide, “How step scaling works”"


def target(name: str = "web") -> dict[str, str]:
    return {
        "ServiceNamespace": "ecs",
        "ResourceId": f"service/inference/{name}",
        "ScalableDimension": "ecs:service:DesiredCount",
    }


def client(rollout: Rollout) -> Any:
    return rollout.aws.client("application-autoscaling")


def registered(rollout: Rollout, desired: int = 2, low: int = 1, high: int = 10, **members: Any) -> Any:
    rollout.create(desired)
    scaling = client(rollout)
    scaling.register_scalable_target(**target(), MinCapacity=low, MaxCapacity=high, **members)
    return scaling


def count(rollout: Rollout) -> int:
    return int(rollout.describe()["desiredCount"])


# -- registering


@follows("Application Auto Scaling API reference, RegisterScalableTarget: it changes the current capacity to be inside")
@pytest.mark.parametrize(("low", "high", "expected"), [(1, 3, 3), (6, 9, 6), (1, 9, 4)])
def test_registering_brings_the_count_within_minimum_and_maximum(
    rollout: Rollout, low: int, high: int, expected: int
) -> None:
    scaling = registered(rollout, 4, low, high)
    assert count(rollout) == expected
    causes = [
        each["Cause"] for each in scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"]
    ]
    assert causes == {3: ["maximum capacity was set to 3"], 6: ["minimum capacity was set to 6"], 4: []}[expected]


@follows("Application Auto Scaling API reference, RegisterScalableTarget: what is not specified is not changed")
@differs("Whether an update brings the count within new limits at once is said of new targets only; here it does.")
def test_an_update_of_a_target_keeps_what_it_does_not_name(rollout: Rollout) -> None:
    scaling = registered(rollout, 2, 1, 10, SuspendedState={"ScheduledScalingSuspended": True})
    [first] = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    scaling.register_scalable_target(**target(), MinCapacity=3)
    scaling.register_scalable_target(**target(), SuspendedState={"DynamicScalingInSuspended": True})
    [shown] = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert (shown["MinCapacity"], shown["MaxCapacity"]) == (3, 10)
    assert shown["SuspendedState"] == {
        "DynamicScalingInSuspended": True,
        "DynamicScalingOutSuspended": False,
        "ScheduledScalingSuspended": True,
    }
    assert shown["ScalableTargetARN"] == first["ScalableTargetARN"]
    assert count(rollout) == 3


@follows("Application Auto Scaling API reference, RegisterScalableTarget")
@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"MinCapacity": 1}, "MinCapacity and MaxCapacity are required"),
        ({"MinCapacity": 5, "MaxCapacity": 4}, "4 is less than 5"),
        ({"MinCapacity": -1, "MaxCapacity": 4}, "at least 0"),
        ({"MinCapacity": 1, "MaxCapacity": 4, "ResourceId": "service/inference/absent"}, "doesn't exist"),
        ({"MinCapacity": 1, "MaxCapacity": 4, "ResourceId": "table/t"}, "Unsupported service namespace"),
        (
            {"MinCapacity": 1, "MaxCapacity": 4, "ScalableDimension": "ecs:service:Mood"},
            "Value 'ecs:service:Mood' at 'scalableDimension'",
        ),
    ],
)
def test_a_target_that_cannot_be_is_refused(rollout: Rollout, members: dict[str, Any], message: str) -> None:
    rollout.create(1)
    code, text, status = refusal(client(rollout).register_scalable_target, **target() | members)
    assert (code, status) == ("ValidationException", 400)
    assert message in text


@follows(
    "Application Auto Scaling API reference, RegisterScalableTarget, TagResource, UntagResource, ListTagsForResource"
)
def test_a_target_is_tagged_when_it_is_made_and_later_through_its_arn(rollout: Rollout) -> None:
    scaling = registered(rollout, Tags={"a": "1", "b": "2"})
    arn = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"][0]["ScalableTargetARN"]
    scaling.tag_resource(ResourceARN=arn, Tags={"b": "3", "c": "4"})
    scaling.untag_resource(ResourceARN=arn, TagKeys=["a", "never"])
    assert scaling.list_tags_for_resource(ResourceARN=arn)["Tags"] == {"b": "3", "c": "4"}
    many = {str(number): "x" for number in range(60)}
    assert refusal(scaling.tag_resource, ResourceARN=arn, Tags=many)[0] == "TooManyTagsException"


@follows("Application Auto Scaling API reference, RegisterScalableTarget.Tags")
def test_a_target_that_exists_is_not_tagged_by_registering_it_again(rollout: Rollout) -> None:
    scaling = registered(rollout)
    request = {**target(), "MaxCapacity": 3, "Tags": {"a": "1"}}
    assert refusal(scaling.register_scalable_target, **request)[::2] == ("ValidationException", 400)


@follows("Application Auto Scaling API reference, ListTagsForResource, TagResource, UntagResource: Errors")
def test_tags_of_what_is_not_there_are_not_found(rollout: Rollout) -> None:
    arn = "arn:aws:application-autoscaling:us-east-1:123456789012:scalable-target/0"
    scaling = client(rollout)
    for call, request in (
        (scaling.list_tags_for_resource, {}),
        (scaling.tag_resource, {"Tags": {"a": "1"}}),
        (scaling.untag_resource, {"TagKeys": ["a"]}),
    ):
        assert refusal(call, ResourceARN=arn, **request)[::2] == ("ResourceNotFoundException", 400)


@follows("Application Auto Scaling API reference, DescribeScalableTargets")
def test_targets_are_listed_page_by_page_each_once(rollout: Rollout) -> None:
    names, definition, scaling = [f"s{number}" for number in range(7)], rollout.register(), client(rollout)
    for name in names:
        rollout.create(0, serviceName=name, taskDefinition=definition)
        scaling.register_scalable_target(**target(name), MinCapacity=0, MaxCapacity=1)
    seen: list[str] = []
    page: dict[str, str] = {}
    while True:
        answer = scaling.describe_scalable_targets(ServiceNamespace="ecs", MaxResults=3, **page)
        seen += [each["ResourceId"].rpartition("/")[2] for each in answer["ScalableTargets"]]
        if "NextToken" not in answer:
            break
        page = {"NextToken": answer["NextToken"]}
    assert seen == names
    wanted = ["service/inference/s3", "service/inference/never"]
    found = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=wanted)["ScalableTargets"]
    assert [each["ResourceId"] for each in found] == wanted[:1]
    for members, code in (
        ({"MaxResults": 51}, "ValidationException"),
        ({"NextToken": "x"}, "InvalidNextTokenException"),
    ):
        assert refusal(scaling.describe_scalable_targets, ServiceNamespace="ecs", **members)[0] == code


@follows("Application Auto Scaling API reference, ObjectNotFoundException")
def test_what_is_not_there_is_neither_changed_nor_deleted(rollout: Rollout) -> None:
    scaling = registered(rollout)
    policy = {"PolicyType": "StepScaling", "StepScalingPolicyConfiguration": steps((0, None, 1))}
    action = {"Schedule": "rate(1 day)", "ScalableTargetAction": {"MinCapacity": 1}}
    for call, request in (
        (scaling.delete_scaling_policy, {**target(), "PolicyName": "never"}),
        (scaling.delete_scheduled_action, {**target(), "ScheduledActionName": "never"}),
        (scaling.deregister_scalable_target, target("absent")),
        (scaling.put_scaling_policy, {**target("absent"), "PolicyName": "p", **policy}),
        (scaling.put_scheduled_action, {**target("absent"), "ScheduledActionName": "a", **action}),
    ):
        assert refusal(call, **request)[::2] == ("ObjectNotFoundException", 400)


@follows("Application Auto Scaling API reference, DeregisterScalableTarget")
def test_policies_and_scheduled_actions_go_with_their_target(rollout: Rollout) -> None:
    scaling = registered(rollout)
    put_steps(rollout, (0, None, 1))
    metric = {"PredefinedMetricType": "ECSServiceAverageCPUUtilization"}
    scaling.put_scaling_policy(
        **target(),
        PolicyName="cpu",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={"TargetValue": 50.0, "PredefinedMetricSpecification": metric},
    )
    schedule(rollout, "rate(1 day)", MinCapacity=0)
    scaling.deregister_scalable_target(**target())
    scaling.register_scalable_target(**target(), MinCapacity=1, MaxCapacity=2)
    assert scaling.describe_scaling_policies(ServiceNamespace="ecs")["ScalingPolicies"] == []
    assert scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"] == []
    left = [each["AlarmName"] for each in rollout.aws.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    assert left == ["load"]  # a step policy's alarm is its owner's


# -- step scaling


def steps(*bounds: tuple[float | None, float | None, int], **members: Any) -> dict[str, Any]:
    found = []
    for low, high, adjustment in bounds:
        step: dict[str, Any] = {"ScalingAdjustment": adjustment}
        step |= {} if low is None else {"MetricIntervalLowerBound": low}
        step |= {} if high is None else {"MetricIntervalUpperBound": high}
        found.append(step)
    return {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": found, "Cooldown": 0} | members


def put_steps(rollout: Rollout, *bounds: tuple[float | None, float | None, int], **members: Any) -> None:
    """A policy, and an alarm on the service's CPU above 50 that invokes it."""
    answer = client(rollout).put_scaling_policy(
        **target(),
        PolicyName="steps",
        PolicyType="StepScaling",
        StepScalingPolicyConfiguration=steps(*bounds, **members),
    )
    rollout.aws.client("cloudwatch").put_metric_alarm(
        AlarmName="load",
        Namespace="AWS/ECS",
        MetricName="CPUUtilization",
        Dimensions=[{"Name": "ClusterName", "Value": "inference"}, {"Name": "ServiceName", "Value": "web"}],
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=50,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        AlarmActions=[answer["PolicyARN"]],
    )


def load(rollout: Rollout, value: float, seconds: int = 61) -> None:
    rollout.aws.give_metric("inference", "web", "ECSServiceAverageCPUUtilization", value)
    rollout.advance(seconds)


@follows(STEPS)
@pytest.mark.parametrize(("value", "expected"), [(49.0, 2), (50.0, 3), (59.9, 3), (60.0, 5), (99.0, 5)])
def test_the_size_of_the_breach_chooses_the_step(rollout: Rollout, value: float, expected: int) -> None:
    registered(rollout)
    put_steps(rollout, (0, 10, 1), (10, None, 3))
    load(rollout, value)
    assert count(rollout) == expected


@follows(STEPS)
@pytest.mark.parametrize(
    ("kind", "adjustment", "least", "expected"),
    [
        ("ExactCapacity", 7, None, 7),
        ("PercentChangeInCapacity", 60, None, 6),  # 2.4 are added as 2
        ("PercentChangeInCapacity", 10, None, 5),  # 0.4 as 1
        ("PercentChangeInCapacity", 25, 2, 6),
        ("PercentChangeInCapacity", -30, None, 3),  # 1.2 are taken away as 1
        ("ChangeInCapacity", -9, None, 1),
        ("ChangeInCapacity", 90, None, 10),
    ],
)
def test_an_adjustment_is_a_change_a_percentage_or_exact_and_stays_within_the_limits(
    rollout: Rollout, kind: str, adjustment: int, least: int | None, expected: int
) -> None:
    registered(rollout, 4)
    more = {"MinAdjustmentMagnitude": least} if least else {}
    put_steps(rollout, (0, None, adjustment), AdjustmentType=kind, Cooldown=3600, **more)
    load(rollout, 80.0)
    assert count(rollout) == expected


@follows("Application Auto Scaling user guide, “Cooldown period”: what was added counts for the next scaling out")
def test_within_the_cooldown_only_a_larger_step_adds_more(rollout: Rollout) -> None:
    registered(rollout)
    put_steps(rollout, (0, 20, 1), (20, None, 3), Cooldown=600)
    load(rollout, 55.0, 240)
    assert count(rollout) == 3
    load(rollout, 80.0)
    assert count(rollout) == 5
    load(rollout, 80.0, 400)
    assert count(rollout) == 5


@follows("CloudWatch user guide, “Alarm actions”: a scaling action is invoked for as long as the alarm lasts")
def test_an_alarm_that_lasts_scales_again_after_each_cooldown(rollout: Rollout) -> None:
    registered(rollout)
    put_steps(rollout, (0, None, 1), Cooldown=120)
    load(rollout, 80.0, 420)
    assert count(rollout) == 6


@follows("Application Auto Scaling API reference, StepAdjustment")
@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([], "At least one step adjustment"),
        ([(0, 10, 1), (20, None, 2)], "overlap or have a gap"),
        ([(0, 20, 1), (10, None, 2)], "overlap or have a gap"),
        ([(None, None, 1)], "can't both be unspecified"),
        ([(10, 0, 1)], "must be greater than its lower bound"),
        ([(0, 10, 1)], "unspecified upper bound"),
        ([(-10, 0, 1)], "unspecified lower bound"),
    ],
)
def test_steps_that_cannot_be_are_refused(
    rollout: Rollout, bounds: list[tuple[float | None, float | None, int]], message: str
) -> None:
    registered(rollout)
    assert message in refusal(lambda **_nothing: put_steps(rollout, *bounds))[1]


@follows("Application Auto Scaling API reference, PutScalingPolicy")
def test_a_policy_keeps_its_type_and_what_is_not_named(rollout: Rollout) -> None:
    scaling = registered(rollout)
    put_steps(rollout, (0, None, 1))
    assert scaling.put_scaling_policy(**target(), PolicyName="steps")["Alarms"][0]["AlarmName"] == "load"
    [shown] = scaling.describe_scaling_policies(ServiceNamespace="ecs", PolicyNames=["steps"])["ScalingPolicies"]
    assert shown["StepScalingPolicyConfiguration"]["StepAdjustments"][0]["ScalingAdjustment"] == 1
    change = {"PolicyName": "steps", "PolicyType": "TargetTrackingScaling"}
    assert refusal(scaling.put_scaling_policy, **target(), **change)[0] == "ValidationException"


# -- schedules


def schedule(rollout: Rollout, expression: str, name: str = "night", **members: Any) -> None:
    limits = {each: members.pop(each) for each in ("MinCapacity", "MaxCapacity") if each in members}
    client(rollout).put_scheduled_action(
        **target(), ScheduledActionName=name, Schedule=expression, ScalableTargetAction=limits, **members
    )


@follows("Application Auto Scaling API reference, PutScheduledAction, ScalableTargetAction")
def test_a_scheduled_action_sets_the_limits_and_brings_the_count_within_them(rollout: Rollout) -> None:
    scaling = registered(rollout, 2, 1, 10)
    schedule(rollout, "at(2026-01-01T01:00:00)", MinCapacity=4)
    rollout.advance(3599)
    assert count(rollout) == 2
    rollout.advance(1)
    assert count(rollout) == 4
    [shown] = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert (shown["MinCapacity"], shown["MaxCapacity"]) == (4, 10)
    told = scaling.describe_scaling_activities(ServiceNamespace="ecs")["ScalingActivities"]
    assert {(each["Description"], each["Cause"]) for each in told} == {
        ("Setting desired count to 4.", "minimum capacity was set to 4"),
        ("Setting min capacity to 4 and max capacity to 10", "scheduled action name night was triggered"),
    }


@follows("Application Auto Scaling user guide, “Schedule recurring scaling actions using cron expressions”")
def test_day_and_night_come_by_cron_in_a_time_zone(rollout: Rollout) -> None:
    registered(rollout, 5, 1, 10)
    schedule(rollout, "cron(0 20 * * ? *)", "night", MinCapacity=0, MaxCapacity=1, Timezone="Asia/Tokyo")
    schedule(rollout, "cron(0 8 * * ? *)", "day", MinCapacity=5, MaxCapacity=10, Timezone="Asia/Tokyo")
    rollout.advance(10 * 3600)  # 19:00 in Tokyo
    assert count(rollout) == 5
    rollout.advance(3600)
    assert count(rollout) == 1
    rollout.advance(12 * 3600)
    assert count(rollout) == 5


@follows("Application Auto Scaling API reference, PutScheduledAction: the new start and end are the boundaries")
def test_a_rate_counts_from_its_start_and_ends_with_its_end(rollout: Rollout) -> None:
    registered(rollout, 1, 1, 10)
    start, end = datetime(2026, 1, 1, 0, 10, tzinfo=UTC), datetime(2026, 1, 1, 0, 30, tzinfo=UTC)
    schedule(rollout, "rate(5 minutes)", MinCapacity=3, StartTime=start, EndTime=end)
    rollout.advance(599)
    assert count(rollout) == 1
    rollout.advance(2)
    assert count(rollout) == 3
    rollout.update(desiredCount=1)
    rollout.advance(299)
    assert count(rollout) == 3
    rollout.advance(1200)
    rollout.update(desiredCount=1)
    rollout.advance(3600)
    assert count(rollout) == 1


@follows("Application Auto Scaling API reference, PutScheduledAction: start and end not given again are deleted")
def test_an_update_of_a_scheduled_action_forgets_its_times_and_keeps_the_rest(rollout: Rollout) -> None:
    scaling = registered(rollout)
    start = datetime(2026, 2, 1, tzinfo=UTC)
    schedule(rollout, "cron(0 8 * * ? *)", MinCapacity=2, Timezone="Asia/Tokyo", StartTime=start)
    scaling.put_scheduled_action(**target(), ScheduledActionName="night", ScalableTargetAction={"MaxCapacity": 4})
    [shown] = scaling.describe_scheduled_actions(ServiceNamespace="ecs")["ScheduledActions"]
    assert (shown["Schedule"], shown["Timezone"]) == ("cron(0 8 * * ? *)", "Asia/Tokyo")
    assert shown["ScalableTargetAction"] == {"MaxCapacity": 4}
    assert "StartTime" not in shown


@follows("Application Auto Scaling API reference, SuspendedState.ScheduledScalingSuspended")
def test_suspended_schedules_do_nothing(rollout: Rollout) -> None:
    registered(rollout, SuspendedState={"ScheduledScalingSuspended": True})
    schedule(rollout, "rate(1 minute)", MinCapacity=4)
    rollout.advance(300)
    assert count(rollout) == 2


@follows("Application Auto Scaling API reference, PutScheduledAction.Schedule, Timezone")
@pytest.mark.parametrize(
    ("expression", "zone"),
    [
        ("every day", "UTC"),
        ("rate(0 minutes)", "UTC"),
        ("rate(1 week)", "UTC"),
        ("cron(0 8 * * ?)", "UTC"),
        ("cron(0 25 * * ? *)", "UTC"),
        ("cron(0 8 32 * ? *)", "UTC"),
        ("cron(0 8 1 * MON *)", "UTC"),
        ("at(tomorrow)", "UTC"),
        ("rate(1 day)", "Mars/Olympus"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(rollout: Rollout, expression: str, zone: str) -> None:
    registered(rollout)
    action = {"ScheduledActionName": "a", "Schedule": expression, "Timezone": zone}
    request = {**target(), **action, "ScalableTargetAction": {"MinCapacity": 1}}
    assert refusal(client(rollout).put_scheduled_action, **request)[0] == "ValidationException"


@pytest.mark.parametrize(
    ("expression", "zone", "expected"),
    [
        ("cron(15 10 * * ? *)", "UTC", "2026-01-01T10:15"),
        ("cron(0/20 * * * ? *)", "UTC", "2026-01-01T00:20"),
        ("cron(0 18 ? * MON-FRI *)", "UTC", "2026-01-01T18:00"),  # a Thursday
        ("cron(0 18 ? * 7,1 *)", "UTC", "2026-01-03T18:00"),  # Saturday, Sunday
        ("cron(0 8 L * ? *)", "UTC", "2026-01-31T08:00"),
        ("cron(0 8 ? FEB L *)", "UTC", "2026-02-07T08:00"),  # Saturdays
        ("cron(0 8 ? * 6L *)", "UTC", "2026-01-30T08:00"),  # the last Friday
        ("cron(0 8 ? * MON#2 *)", "UTC", "2026-01-12T08:00"),
        ("cron(0 8 3W * ? *)", "UTC", "2026-01-02T08:00"),  # the 3rd is a Saturday
        ("cron(0 8 LW 5 ? *)", "UTC", "2026-05-29T08:00"),
        ("cron(0 0 29 2 ? *)", "UTC", "2028-02-29T00:00"),
        ("cron(30 2 8 3 ? 2026)", "America/New_York", None),  # skipped by the change to summer time
        ("cron(30 1 1 11 ? 2026)", "America/New_York", "2026-11-01T05:30"),
        ("cron(0 22-2/2 * * ? *)", "UTC", "2026-01-01T02:00"),
        ("cron(0 8 * * ? 2025)", "UTC", None),
        ("at(2026-03-01T09:00:00)", "Asia/Tokyo", "2026-03-01T00:00"),
    ],
)
def test_cron_and_at_expressions_are_read_as_documented(expression: str, zone: str, expected: str | None) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    due = schedules.next_due(expression, zone, now, now)
    assert (due.strftime("%Y-%m-%dT%H:%M") if due else None) == expected
