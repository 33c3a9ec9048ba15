"""Deployment alarms and early success."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from inference_sandbox.tasks.scripted import Script
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout
from tests.sandbox.aws.world import refusal

GUIDE = "Developer guide, “How CloudWatch alarms detect Amazon ECS deployment failures”"


def alarmed(rollout: Rollout, *, rollback: bool = True, state: str = "OK") -> dict[str, Any]:
    """A deploymentConfiguration with one alarm, which looks over five minutes."""
    rollout.aws.client("cloudwatch").put_metric_alarm(
        AlarmName="errors",
        MetricName="HTTPCode_Target_5XX_Count",
        Namespace="AWS/ApplicationELB",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=5,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    sound(rollout, state)
    return {"deploymentConfiguration": {"alarms": {"alarmNames": ["errors"], "enable": True, "rollback": rollback}}}


def sound(rollout: Rollout, state: str) -> None:
    rollout.aws.client("cloudwatch").set_alarm_state(AlarmName="errors", StateValue=state, StateReason="a test")


@follows(GUIDE)
def test_an_alarm_fails_the_deployment_and_rolls_it_back(rollout: Rollout) -> None:
    rollout.create(1, **alarmed(rollout))
    rollout.advance(600)
    good = rollout.deployments()[0]["id"]
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(30)
    bad = rollout.deployments()[0]["id"]
    sound(rollout, "ALARM")
    rollout.advance(15)
    assert f"(deployment {bad}) deployment failed: alarm detected." in rollout.messages()
    assert rollout.deployments()[0]["id"] == good
    record = rollout.record()
    assert record["alarms"] == {"status": "TRIGGERED", "alarmNames": ["errors"], "triggeredAlarmNames": ["errors"]}
    sound(rollout, "OK")
    rollout.advance(600)
    assert rollout.record()["status"] == "ROLLBACK_SUCCESSFUL"


@follows(GUIDE)
def test_a_metric_that_breaches_during_a_deployment_rolls_it_back(rollout: Rollout) -> None:
    rollout.create(1, **alarmed(rollout))
    rollout.advance(600)
    good = rollout.deployments()[0]["id"]
    rollout.update(taskDefinition=rollout.register())
    for _ in range(6):
        datum = {"MetricName": "HTTPCode_Target_5XX_Count", "Value": 9.0}
        rollout.aws.client("cloudwatch").put_metric_data(Namespace="AWS/ApplicationELB", MetricData=[datum])
        rollout.advance(60)
    assert rollout.deployments()[0]["id"] == good
    record = rollout.record()
    assert record["alarms"]["triggeredAlarmNames"] == ["errors"]
    assert record["status"].startswith("ROLLBACK_")


@follows(GUIDE)
def test_without_rollback_an_alarm_stalls_the_deployment(rollout: Rollout) -> None:
    rollout.create(1, **alarmed(rollout, rollback=False))
    rollout.advance(600)
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(10)
    sound(rollout, "ALARM")
    rollout.advance(60)
    assert [each["rolloutState"] for each in rollout.deployments()] == ["FAILED", "COMPLETED"]


@follows(GUIDE)
def test_an_alarm_that_is_on_when_a_deployment_begins_is_ignored_for_all_of_it(rollout: Rollout) -> None:
    rollout.create(1, **alarmed(rollout, state="ALARM"))
    rollout.advance(60)
    sound(rollout, "OK")
    rollout.advance(5)
    sound(rollout, "ALARM")
    rollout.advance(900)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"


@follows(GUIDE)
@differs("AWS computes the bake time from the alarms and does not say how; here it is the longest time one looks over.")
def test_alarms_are_watched_for_a_bake_time_after_everything_has_settled(rollout: Rollout) -> None:
    rollout.create(1, **alarmed(rollout))
    rollout.advance(120)
    assert rollout.describe()["runningCount"] == 1
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    rollout.advance(300)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"
    assert rollout.record()["alarms"]["status"] == "MONITORING_COMPLETE"


@follows("API reference, DeploymentEarlySuccessCriteria")
def test_early_success_completes_with_a_part_of_the_tasks_and_goes_on_scaling(rollout: Rollout) -> None:
    early = {"enable": True, "healthyPercent": 50, "sourceServiceRevisionCleanup": "DEFERRED"}
    scripts = [
        Script(),
        Script(),
        Script(starts_after=timedelta(minutes=10)),
        Script(starts_after=timedelta(minutes=10)),
    ]
    rollout.runner.script = lambda _launch: scripts.pop(0) if scripts else Script()
    low = {"minimumHealthyPercent": 50, "maximumPercent": 200, "earlySuccessCriteria": early}
    rollout.create(4, deploymentConfiguration=low)
    rollout.advance(120)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"
    assert rollout.describe()["runningCount"] == 2
    assert rollout.messages()[-1] != "has reached a steady state."
    rollout.advance(700)
    assert rollout.describe()["runningCount"] == 4
    assert rollout.messages()[-1] == "has reached a steady state."


@follows("API reference, DeploymentEarlySuccessCriteria")
def test_early_success_waits_for_the_old_tasks_only_if_told_to(rollout: Rollout) -> None:
    rollout.drain_delay(300)
    for cleanup, left in (("DEFERRED", 2), ("BLOCKING", 1)):
        early = {"enable": True, "healthyPercent": 100, "sourceServiceRevisionCleanup": cleanup}
        configuration = {"deploymentConfiguration": {"earlySuccessCriteria": early}}
        request = rollout.service_request(serviceName=cleanup.lower(), **configuration, **rollout.balanced())
        rollout.ecs.create_service(**request)
        rollout.advance(120)
        rollout.ecs.update_service(cluster="inference", service=cleanup.lower(), forceNewDeployment=True)
        while rollout.describe(cleanup.lower())["deployments"][0]["rolloutState"] != "COMPLETED":
            rollout.advance(5)
        assert len(rollout.describe(cleanup.lower())["deployments"]) == left


@follows("API reference, DeploymentEarlySuccessCriteria, DeploymentAlarms")
def test_criteria_and_alarms_that_cannot_be_are_refused(rollout: Rollout) -> None:
    early = {"enable": True, "healthyPercent": 40, "sourceServiceRevisionCleanup": "BLOCKING"}
    for configuration, message in (
        ({"minimumHealthyPercent": 50, "earlySuccessCriteria": early}, "Invalid healthyPercent 40"),
        ({"earlySuccessCriteria": {"enable": True}}, "needs healthyPercent"),
        ({"alarms": {"enable": True, "rollback": True, "alarmNames": []}}, "alarmNames can't be empty"),
    ):
        request = rollout.service_request(deploymentConfiguration=configuration)
        assert message in refusal(rollout.ecs.create_service, **request)[1]
