"""CloudWatch alarms that follow their metrics (CloudWatch user guide, "Using Amazon CloudWatch alarms")."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.world import World

MISSING = "CloudWatch user guide, “Configuring how CloudWatch alarms treat missing data”"


class Alarm:
    """An alarm on the sum of Errors above 0, and what is put for it minute by minute."""

    def __init__(self, world: World, **members: Any) -> None:
        self.world = world
        self.cloudwatch = world.aws.client("cloudwatch")
        self.members = {
            "AlarmName": "errors",
            "Namespace": "App",
            "MetricName": "Errors",
            "Statistic": "Sum",
            "Period": 60,
            "EvaluationPeriods": 1,
            "Threshold": 0.0,
            "ComparisonOperator": "GreaterThanThreshold",
        } | members
        self.cloudwatch.put_metric_alarm(**self.members)

    def shown(self) -> dict[str, Any]:
        return dict(self.cloudwatch.describe_alarms(AlarmNames=["errors"])["MetricAlarms"][0])

    def state(self) -> str:
        return str(self.shown()["StateValue"])

    def minutes(self, values: str) -> str:
        """One minute for each of `values`: X breaches, 0 does not, - is missing. The state after them."""
        for value in values.replace(" ", ""):
            if value != "-":
                datum = {"MetricName": "Errors", "Value": 1.0 if value == "X" else 0.0}
                self.cloudwatch.put_metric_data(Namespace="App", MetricData=[datum])
            self.world.advance(60)
        return self.state()


@follows("CloudWatch API reference, PutMetricAlarm")
def test_a_new_alarm_has_insufficient_data_and_an_overwritten_one_keeps_its_state(world: World) -> None:
    alarm = Alarm(world)
    assert alarm.state() == "INSUFFICIENT_DATA"
    assert alarm.minutes("X") == "ALARM"
    alarm.cloudwatch.put_metric_alarm(**alarm.members | {"Threshold": 5.0})
    assert alarm.state() == "ALARM"
    assert alarm.minutes("X") == "OK"


@follows("CloudWatch user guide, “Evaluating an alarm”")
def test_an_alarm_needs_m_out_of_n_datapoints(world: World) -> None:
    alarm = Alarm(world, EvaluationPeriods=3, DatapointsToAlarm=2)
    assert alarm.minutes("0 0 X") == "OK"
    assert alarm.minutes("0") == "OK"
    assert alarm.minutes("X") == "ALARM"
    assert alarm.minutes("0 0") == "OK"
    assert "was not greater than the threshold (0.0)" in alarm.shown()["StateReason"]


@follows(MISSING)
@differs(
    "How much further back than its periods an alarm looks is not said; here it is two datapoints, as in the guide."
)
@pytest.mark.parametrize(
    ("needed", "values", "states"),
    [
        (3, "0-X-X", ("OK", "OK", "OK", "OK")),
        (3, "0----", ("OK", "OK", "OK", "OK")),
        (3, "-----", ("INSUFFICIENT_DATA", "before", "ALARM", "OK")),
        (3, "0XX-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (3, "--X--", ("ALARM", "before", "ALARM", "OK")),
        (2, "0-X-X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "00X0X", ("ALARM", "ALARM", "ALARM", "ALARM")),
        (2, "0-X--", ("OK", "OK", "ALARM", "OK")),
        (2, "----0", ("OK", "OK", "ALARM", "OK")),
        (2, "---X-", ("ALARM", "before", "ALARM", "OK")),
    ],
)
def test_missing_datapoints_are_treated_as_the_alarm_says(
    world: World, needed: int, values: str, states: tuple[str, ...]
) -> None:
    for treatment, expected in zip(("missing", "ignore", "breaching", "notBreaching"), states, strict=True):
        alarm = Alarm(world, EvaluationPeriods=3, DatapointsToAlarm=needed, TreatMissingData=treatment)
        world.advance(600)
        alarm.minutes(values[:-1])
        before = "OK"
        alarm.cloudwatch.set_alarm_state(AlarmName="errors", StateValue=before, StateReason="a test")
        assert alarm.minutes(values[-1]) == (before if expected == "before" else expected), treatment


@follows("CloudWatch API reference, PutMetricAlarm.Statistic, ExtendedStatistic")
@pytest.mark.parametrize(
    ("statistic", "expected"),
    [("Sum", 60), ("Average", 15), ("Minimum", 0), ("Maximum", 40), ("SampleCount", 4), ("p50", 5), ("p90", 40)],
)
def test_a_period_is_judged_by_its_statistic(world: World, statistic: str, expected: float) -> None:
    kind = "ExtendedStatistic" if statistic.startswith("p") else "Statistic"
    request = {name: value for name, value in Alarm(world).members.items() if name != "Statistic"} | {kind: statistic}
    cloudwatch = world.aws.client("cloudwatch")
    for threshold, state in ((expected - 0.5, "ALARM"), (expected, "OK")):
        cloudwatch.delete_alarms(AlarmNames=["errors"])
        cloudwatch.put_metric_alarm(**request | {"Threshold": float(threshold)})
        for value in (0.0, 5.0, 15.0, 40.0):
            cloudwatch.put_metric_data(Namespace="App", MetricData=[{"MetricName": "Errors", "Value": value}])
        world.advance(60)
        assert cloudwatch.describe_alarms()["MetricAlarms"][0]["StateValue"] == state


@follows("CloudWatch user guide, “Using Amazon CloudWatch alarms”: a metric is its namespace, name and dimensions")
def test_other_dimensions_are_another_metric(world: World) -> None:
    alarm = Alarm(world, Dimensions=[{"Name": "Service", "Value": "web"}])
    assert alarm.minutes("X") == "INSUFFICIENT_DATA"


@follows("CloudWatch API reference, SetAlarmState: the alarm returns to its actual state")
def test_a_state_that_is_set_lasts_until_the_next_evaluation(world: World) -> None:
    alarm = Alarm(world)
    assert alarm.minutes("0") == "OK"
    alarm.cloudwatch.set_alarm_state(AlarmName="errors", StateValue="ALARM", StateReason="a rehearsal")
    assert alarm.state() == "ALARM"
    assert alarm.minutes("0") == "OK"


@follows("CloudWatch user guide, “Alarm actions”: invoked when the state changes, and only then")
def test_a_change_of_state_tells_a_topic_once(world: World) -> None:
    sns, sqs = world.aws.client("sns"), world.aws.client("sqs")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    arn = "arn:aws:sqs:us-east-1:123456789012:alerts"
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})
    alarm = Alarm(world, AlarmActions=[topic])
    assert alarm.minutes("X X X") == "ALARM"
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10)["Messages"]
    [told] = [json.loads(message["Body"]) for message in messages]
    assert (told["AlarmName"], told["NewStateValue"], told["OldStateValue"]) == ("errors", "ALARM", "INSUFFICIENT_DATA")


@follows("CloudWatch API reference, DisableAlarmActions")
def test_disabled_actions_do_nothing(world: World) -> None:
    sns, sqs = world.aws.client("sns"), world.aws.client("sqs")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    queue = sqs.create_queue(QueueName="alerts")["QueueUrl"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint="arn:aws:sqs:us-east-1:123456789012:alerts")
    alarm = Alarm(world, AlarmActions=[topic])
    alarm.cloudwatch.disable_alarm_actions(AlarmNames=["errors"])
    assert alarm.minutes("X") == "ALARM"
    assert "Messages" not in sqs.receive_message(QueueUrl=queue)


@follows("CloudWatch user guide, “Alarm events and EventBridge”")
def test_a_change_of_state_is_an_event(world: World) -> None:
    events, sqs = world.aws.client("events"), world.aws.client("sqs")
    queue = sqs.create_queue(QueueName="events")["QueueUrl"]
    pattern = {"source": ["aws.cloudwatch"], "detail-type": ["CloudWatch Alarm State Change"]}
    events.put_rule(Name="alarms", EventPattern=json.dumps(pattern))
    events.put_targets(Rule="alarms", Targets=[{"Id": "1", "Arn": "arn:aws:sqs:us-east-1:123456789012:events"}])
    alarm = Alarm(world)
    alarm.minutes("X")
    [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
    event = json.loads(message["Body"])
    assert event["resources"] == [alarm.shown()["AlarmArn"]]
    assert (event["detail"]["alarmName"], event["detail"]["state"]["value"]) == ("errors", "ALARM")
