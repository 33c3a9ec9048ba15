"""The circuit breaker (developer guide, "How the Amazon ECS deployment circuit breaker detects failures")."""

from __future__ import annotations

from datetime import timedelta

import pytest

from inference_sandbox.ports import TaskLaunch
from inference_sandbox.tasks.scripted import Script, failing
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout, breaker

NOT_FOUND = "CannotPullContainerError: pull image manifest has been retried 1 time(s): not found"


def broken(_launch: TaskLaunch) -> Script:
    return failing(NOT_FOUND)


@follows("Developer guide, “How the Amazon ECS deployment circuit breaker detects failures”")
def test_a_failing_update_fails_and_rolls_back_to_the_old_deployment_under_its_old_id(rollout: Rollout) -> None:
    rollout.create(1, **breaker())
    rollout.advance(120)
    [good] = rollout.deployments()
    rollout.runner.script = broken
    rollout.update(taskDefinition=rollout.register())
    [bad] = [each for each in rollout.deployments() if each["status"] == "PRIMARY"]
    while rollout.deployments()[0]["id"] == bad["id"]:
        rollout.advance(1)
    primary, failed = rollout.deployments()
    assert primary["id"] == good["id"]
    assert primary["taskDefinition"] == good["taskDefinition"]
    assert primary["rolloutState"] == "IN_PROGRESS"
    assert (
        primary["rolloutStateReason"] == f"ECS deployment circuit breaker: rolling back to deploymentId {good['id']}."
    )
    assert (failed["id"], failed["status"], failed["rolloutState"]) == (bad["id"], "ACTIVE", "FAILED")
    assert failed["rolloutStateReason"] == "ECS deployment circuit breaker: tasks failed to start."
    assert failed["failedTasks"] == 3
    assert failed["desiredCount"] == 0
    assert rollout.describe()["taskDefinition"] == good["taskDefinition"]
    rollout.advance(120)
    [primary] = rollout.deployments()
    assert primary["rolloutState"] == "COMPLETED"
    assert rollout.messages()[-4:] == [
        f"(deployment {bad['id']}) deployment failed: tasks failed to start.",
        f"rolling back to deployment {good['id']}.",
        f"(deployment {good['id']}) deployment completed.",
        "has reached a steady state.",
    ]


@follows("Developer guide, “How the Amazon ECS deployment circuit breaker detects failures”")
def test_the_old_tasks_serve_through_a_failed_update(rollout: Rollout) -> None:
    rollout.create(2, **breaker())
    rollout.advance(120)
    before = {task["taskArn"] for task in rollout.tasks()}
    rollout.runner.script = broken
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(300)
    assert {task["taskArn"] for task in rollout.tasks()} == before


@follows("Developer guide, “Amazon ECS service deployment state change events”")
def test_eventbridge_hears_of_the_failure_and_of_the_rollback(rollout: Rollout) -> None:
    rollout.listen()
    rollout.create(1, **breaker())
    rollout.advance(120)
    good = rollout.deployments()[0]["id"]
    rollout.runner.script = broken
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(200)
    told = [
        (detail["eventType"], detail["eventName"], detail["deploymentId"] == good)
        for detail in rollout.events("ECS Deployment State Change")
    ]
    assert told == [
        ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS", True),
        ("INFO", "SERVICE_DEPLOYMENT_COMPLETED", True),
        ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS", False),
        ("ERROR", "SERVICE_DEPLOYMENT_FAILED", False),
        ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS", True),
        ("INFO", "SERVICE_DEPLOYMENT_COMPLETED", True),
    ]
    assert "rolling back to deploymentId" in rollout.events("ECS Deployment State Change")[4]["reason"]


@follows("API reference, ServiceDeployment, ServiceDeploymentCircuitBreaker")
def test_the_service_deployment_tells_of_threshold_count_and_rollback(rollout: Rollout) -> None:
    rollout.create(1, **breaker())
    rollout.advance(120)
    good = rollout.record()
    assert good["status"] == "SUCCESSFUL"
    assert good["deploymentCircuitBreaker"] == {"status": "MONITORING_COMPLETE", "failureCount": 0, "threshold": 3}
    rollout.runner.script = broken
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(200)
    record = rollout.record()
    assert record["status"] == "ROLLBACK_SUCCESSFUL"
    assert record["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}
    assert record["rollback"]["serviceRevisionArn"] == good["targetServiceRevision"]["arn"]
    assert record["finishedAt"] > record["startedAt"]


@follows("Developer guide, “How the Amazon ECS deployment circuit breaker detects failures”")
def test_a_failing_first_deployment_stalls_because_there_is_nothing_to_go_back_to(rollout: Rollout) -> None:
    rollout.runner.script = broken
    rollout.create(1, **breaker())
    rollout.advance(300)
    [deployment] = rollout.deployments()
    assert (deployment["status"], deployment["rolloutState"]) == ("PRIMARY", "FAILED")
    launched = len(rollout.runner.starts)
    rollout.advance(3600)
    assert len(rollout.runner.starts) == launched
    assert rollout.record()["status"] == "STOPPED"
    rollout.runner.script = lambda _launch: Script()
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(200)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"


@follows("Developer guide, “How the Amazon ECS deployment circuit breaker detects failures”")
def test_without_rollback_a_failed_update_launches_nothing_more_and_old_tasks_go_on(rollout: Rollout) -> None:
    rollout.create(1, **breaker(rollback=False))
    rollout.advance(120)
    rollout.runner.script = broken
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(300)
    assert [each["rolloutState"] for each in rollout.deployments()] == ["FAILED", "COMPLETED"]
    assert rollout.describe()["runningCount"] == 1
    assert "rolling back" not in " ".join(rollout.messages())


@follows("API reference, Deployment.rolloutState")
def test_without_the_breaker_a_failing_update_stays_in_progress(rollout: Rollout) -> None:
    rollout.create(1)
    rollout.advance(120)
    rollout.runner.script = broken
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(24 * 3600)
    assert [each["rolloutState"] for each in rollout.deployments()] == ["IN_PROGRESS", "COMPLETED"]


@follows("Developer guide, “How the Amazon ECS deployment circuit breaker detects failures”")
def test_failed_target_checks_count_once_tasks_run(rollout: Rollout) -> None:
    rollout.create(1, **breaker(), **rollout.balanced())
    rollout.advance(120)
    good = rollout.deployments()[0]["id"]
    rollout.balancer.verdict = "unhealthy"
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(1200)
    [deployment] = rollout.deployments()
    assert deployment["id"] == good
    assert sum(f"is unhealthy in (target-group {rollout.group})" in message for message in rollout.messages()) == 3


@follows("Developer guide, “How the Amazon ECS deployment circuit breaker detects failures”")
def test_failed_container_checks_count_once_tasks_run(rollout: Rollout) -> None:
    definition = rollout.register(container={"healthCheck": {"command": ["CMD", "true"]}})
    rollout.create(1, taskDefinition=definition, **breaker())
    rollout.advance(120)
    rollout.runner.script = lambda _launch: Script(health="UNHEALTHY")
    rollout.update(taskDefinition=rollout.register(container={"healthCheck": {"command": ["CMD", "false"]}}))
    rollout.advance(600)
    assert rollout.describe()["taskDefinition"] == definition
    assert rollout.record()["status"] == "ROLLBACK_SUCCESSFUL"


@follows("API reference, Deployment.failedTasks")
@differs(
    "The documentation does not say whether a task that has a check and exits before it passed is counted; here it is."
)
def test_a_task_that_crashes_after_running_is_not_counted_if_it_has_no_check(rollout: Rollout) -> None:
    rollout.create(1, **breaker())
    rollout.advance(120)
    rollout.runner.script = lambda _launch: Script(exits_after=timedelta(seconds=5))
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(1800)
    primary = rollout.deployments()[0]
    assert (primary["rolloutState"], primary["failedTasks"]) == ("IN_PROGRESS", 0)


@follows("API reference, DeploymentCircuitBreaker.resetOnHealthyTask")
@pytest.mark.parametrize(("resets", "state", "failures"), [(True, "IN_PROGRESS", 1), (False, "FAILED", 3)])
def test_a_healthy_task_sets_the_count_back_unless_it_is_cumulative(
    rollout: Rollout, resets: bool, state: str, failures: int
) -> None:
    """Two tasks fail to start, a third gets healthy and is stopped by hand, a fourth fails; the threshold is 3."""
    never = Script(starts_after=timedelta(days=1))
    scripts = [failing(NOT_FOUND), failing(NOT_FOUND), Script(), never, failing(NOT_FOUND)]
    rollout.runner.script = lambda _launch: scripts.pop(0) if scripts else never
    definition = rollout.register(container={"healthCheck": {"command": ["CMD", "true"]}})
    rollout.create(2, taskDefinition=definition, **breaker(rollback=False, resetOnHealthyTask=resets))
    rollout.advance(60)
    [healthy] = [task for task in rollout.tasks() if task["healthStatus"] == "HEALTHY"]
    rollout.ecs.stop_task(cluster="inference", task=healthy["taskArn"])
    rollout.advance(60)
    assert rollout.deployments()[0]["rolloutState"] == state
    assert rollout.record()["deploymentCircuitBreaker"]["failureCount"] == failures


@follows("API reference, ThresholdConfiguration")
def test_the_threshold_is_taken_from_the_latest_desired_count(rollout: Rollout) -> None:
    rollout.runner.script = broken
    rollout.create(10, **breaker(rollback=False, thresholdConfiguration={"type": "UNBOUNDED_PERCENT", "value": 100}))
    rollout.update(desiredCount=20)
    rollout.advance(19)
    deployment = rollout.deployments()[0]
    assert deployment["failedTasks"] == 20
    assert deployment["rolloutState"] == "FAILED"
    assert rollout.record()["deploymentCircuitBreaker"]["threshold"] == 20


@follows("API reference, ThresholdConfiguration")
def test_lowering_the_desired_count_can_fail_a_deployment_at_once(rollout: Rollout) -> None:
    percent = {"type": "UNBOUNDED_PERCENT", "value": 100}
    rollout.runner.script = lambda _launch: broken(_launch) if len(rollout.runner.starts) <= 3 else Script(health=None)
    definition = rollout.register(container={"healthCheck": {"command": ["CMD", "true"]}})
    rollout.create(8, taskDefinition=definition, **breaker(rollback=False, thresholdConfiguration=percent))
    rollout.advance(60)
    assert (rollout.deployments()[0]["failedTasks"], rollout.deployments()[0]["rolloutState"]) == (3, "IN_PROGRESS")
    rollout.update(desiredCount=3)
    rollout.advance(1)
    assert rollout.deployments()[0]["rolloutState"] == "FAILED"


@follows("Developer guide, “How the Amazon ECS deployment circuit breaker detects failures”")
def test_a_deployment_begun_during_a_rollback_has_nothing_to_go_back_to(rollout: Rollout) -> None:
    rollout.create(1, **breaker())
    rollout.advance(120)
    good = rollout.deployments()[0]["id"]
    rollout.runner.script = broken
    rollout.update(taskDefinition=rollout.register())
    while rollout.deployments()[0]["id"] != good:
        rollout.advance(1)
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(300)
    primary = rollout.deployments()[0]
    assert (primary["rolloutState"], primary["taskDefinition"][-5:]) == ("FAILED", "app:3")
    launched = len(rollout.runner.starts)
    rollout.advance(3600)
    assert len(rollout.runner.starts) == launched


@follows("API reference, StopServiceDeployment")
def test_stopping_a_service_deployment_rolls_back_without_the_breaker(rollout: Rollout) -> None:
    rollout.create(1)
    rollout.advance(120)
    good = rollout.deployments()[0]["id"]
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(10)
    rollout.ecs.stop_service_deployment(serviceDeploymentArn=rollout.record()["serviceDeploymentArn"])
    assert rollout.record()["status"] == "ROLLBACK_IN_PROGRESS"
    rollout.advance(200)
    assert [each["id"] for each in rollout.deployments()] == [good]
    assert rollout.record()["status"] == "ROLLBACK_SUCCESSFUL"
