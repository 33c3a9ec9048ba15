"""The circuit breaker (developer guide, "How the Amazon ECS deployment circuit breaker detects failures")."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from inference_sandbox.ecs import breaker as arithmetic
from inference_sandbox.ports import TaskLaunch
from inference_sandbox.tasks.scripted import Script, failing
from tests.sandbox.ecs.simulation import GROUP, Simulation, balanced, breaker

NOT_FOUND = "CannotPullContainerError: pull image manifest has been retried 1 time(s): not found"


def broken(_launch: TaskLaunch) -> Script:
    return failing(NOT_FOUND)


@pytest.mark.parametrize(
    ("configured", "desired", "expected"),
    [
        (None, 1, 3),
        (None, 25, 13),
        (None, 400, 200),
        (None, 0, 3),
        ({"type": "BOUNDED_PERCENT", "value": 10}, 100, 10),
        ({"type": "UNBOUNDED_PERCENT", "value": 50}, 1, 1),
        ({"type": "UNBOUNDED_PERCENT", "value": 50}, 1000, 500),
        ({"type": "COUNT", "value": 7}, 1, 7),
    ],
)
def test_the_threshold_follows_its_type(configured: Any, desired: int, expected: int) -> None:
    settings = {"enable": True, "rollback": True} | ({"thresholdConfiguration": configured} if configured else {})
    assert arithmetic.threshold({"deploymentCircuitBreaker": settings}, desired) == expected


def test_a_failing_update_fails_and_rolls_back_to_the_old_deployment_under_its_old_id() -> None:
    world = Simulation()
    world.create(1, **breaker())
    world.advance(120)
    [good] = world.deployments()
    world.runner.script = broken
    world.update(taskDefinition=world.register())
    [bad] = [each for each in world.deployments() if each["status"] == "PRIMARY"]
    while world.deployments()[0]["id"] == bad["id"]:
        world.advance(1)
    primary, failed = world.deployments()
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
    assert world.describe()["taskDefinition"] == good["taskDefinition"]
    world.advance(120)
    [primary] = world.deployments()
    assert primary["rolloutState"] == "COMPLETED"
    assert world.messages()[-4:] == [
        f"(deployment {bad['id']}) deployment failed: tasks failed to start.",
        f"rolling back to deployment {good['id']}.",
        f"(deployment {good['id']}) deployment completed.",
        "has reached a steady state.",
    ]


def test_the_old_tasks_serve_through_a_failed_update() -> None:
    world = Simulation()
    world.create(2, **breaker())
    world.advance(120)
    before = {task["taskArn"] for task in world.tasks()}
    world.runner.script = broken
    world.update(taskDefinition=world.register())
    world.advance(300)
    assert {task["taskArn"] for task in world.tasks()} == before


def test_eventbridge_hears_of_the_failure_and_of_the_rollback() -> None:
    world = Simulation()
    world.create(1, **breaker())
    world.advance(120)
    good = world.deployments()[0]["id"]
    world.runner.script = broken
    world.update(taskDefinition=world.register())
    world.advance(200)
    told = [
        (detail["eventType"], detail["eventName"], detail["deploymentId"] == good)
        for detail in world.events("ECS Deployment State Change")
    ]
    assert told == [
        ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS", True),
        ("INFO", "SERVICE_DEPLOYMENT_COMPLETED", True),
        ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS", False),
        ("ERROR", "SERVICE_DEPLOYMENT_FAILED", False),
        ("INFO", "SERVICE_DEPLOYMENT_IN_PROGRESS", True),
        ("INFO", "SERVICE_DEPLOYMENT_COMPLETED", True),
    ]
    assert "rolling back to deploymentId" in world.events("ECS Deployment State Change")[4]["reason"]


def test_the_service_deployment_tells_of_threshold_count_and_rollback() -> None:
    world = Simulation()
    world.create(1, **breaker())
    world.advance(120)
    good = world.record()
    assert good["status"] == "SUCCESSFUL"
    assert good["deploymentCircuitBreaker"] == {"status": "MONITORING_COMPLETE", "failureCount": 0, "threshold": 3}
    world.runner.script = broken
    world.update(taskDefinition=world.register())
    world.advance(200)
    record = world.record()
    assert record["status"] == "ROLLBACK_SUCCESSFUL"
    assert record["deploymentCircuitBreaker"] == {"status": "TRIGGERED", "failureCount": 3, "threshold": 3}
    assert record["rollback"]["serviceRevisionArn"] == good["targetServiceRevision"]["arn"]
    assert record["finishedAt"] > record["startedAt"]


def test_a_failing_first_deployment_stalls_because_there_is_nothing_to_go_back_to() -> None:
    world = Simulation()
    world.runner.script = broken
    world.create(1, **breaker())
    world.advance(300)
    [deployment] = world.deployments()
    assert (deployment["status"], deployment["rolloutState"]) == ("PRIMARY", "FAILED")
    launched = len(world.runner.starts)
    world.advance(3600)
    assert len(world.runner.starts) == launched
    assert world.record()["status"] == "STOPPED"
    world.runner.script = lambda _launch: Script()
    world.update(taskDefinition=world.register())
    world.advance(200)
    assert world.deployments()[0]["rolloutState"] == "COMPLETED"


def test_without_rollback_a_failed_update_launches_nothing_more_and_old_tasks_go_on() -> None:
    world = Simulation()
    world.create(1, **breaker(rollback=False))
    world.advance(120)
    world.runner.script = broken
    world.update(taskDefinition=world.register())
    world.advance(300)
    assert [each["rolloutState"] for each in world.deployments()] == ["FAILED", "COMPLETED"]
    assert world.describe()["runningCount"] == 1
    assert "rolling back" not in " ".join(world.messages())


def test_without_the_breaker_a_failing_update_stays_in_progress() -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    world.runner.script = broken
    world.update(taskDefinition=world.register())
    world.advance(24 * 3600)
    assert [each["rolloutState"] for each in world.deployments()] == ["IN_PROGRESS", "COMPLETED"]


def test_failed_target_checks_count_once_tasks_run() -> None:
    world = Simulation()
    world.create(1, **breaker(), **balanced())
    world.advance(120)
    good = world.deployments()[0]["id"]
    world.balancer.verdict = "unhealthy"
    world.update(taskDefinition=world.register())
    world.advance(1200)
    [deployment] = world.deployments()
    assert deployment["id"] == good
    assert sum(f"is unhealthy in (target-group {GROUP})" in message for message in world.messages()) == 3


def test_failed_container_checks_count_once_tasks_run() -> None:
    world = Simulation()
    definition = world.register(healthCheck={"command": ["CMD", "true"]})
    world.create(1, taskDefinition=definition, **breaker())
    world.advance(120)
    world.runner.script = lambda _launch: Script(health="UNHEALTHY")
    world.update(taskDefinition=world.register(healthCheck={"command": ["CMD", "false"]}))
    world.advance(600)
    assert world.describe()["taskDefinition"] == definition
    assert world.record()["status"] == "ROLLBACK_SUCCESSFUL"


def test_a_task_that_crashes_after_running_is_not_counted_if_it_has_no_check() -> None:
    world = Simulation()
    world.create(1, **breaker())
    world.advance(120)
    world.runner.script = lambda _launch: Script(exits_after=timedelta(seconds=5))
    world.update(taskDefinition=world.register())
    world.advance(1800)
    primary = world.deployments()[0]
    assert (primary["rolloutState"], primary["failedTasks"]) == ("IN_PROGRESS", 0)


@pytest.mark.parametrize(("resets", "state", "failures"), [(True, "IN_PROGRESS", 1), (False, "FAILED", 3)])
def test_a_healthy_task_sets_the_count_back_unless_it_is_cumulative(resets: bool, state: str, failures: int) -> None:
    """Two tasks fail to start, a third gets healthy and is stopped by hand, a fourth fails; the threshold is 3."""
    never = Script(starts_after=timedelta(days=1))
    scripts = [failing(NOT_FOUND), failing(NOT_FOUND), Script(), never, failing(NOT_FOUND)]
    world = Simulation()
    world.runner.script = lambda _launch: scripts.pop(0) if scripts else never
    definition = world.register(healthCheck={"command": ["CMD", "true"]})
    world.create(2, taskDefinition=definition, **breaker(rollback=False, resetOnHealthyTask=resets))
    world.advance(60)
    [healthy] = [task for task in world.tasks() if task["healthStatus"] == "HEALTHY"]
    world.call("stop_task", cluster="inference", task=healthy["taskArn"])
    world.advance(60)
    assert world.deployments()[0]["rolloutState"] == state
    assert world.record()["deploymentCircuitBreaker"]["failureCount"] == failures


def test_the_threshold_is_taken_from_the_latest_desired_count() -> None:
    world = Simulation()
    world.runner.script = broken
    world.create(10, **breaker(rollback=False, thresholdConfiguration={"type": "UNBOUNDED_PERCENT", "value": 100}))
    world.update(desiredCount=20)
    world.advance(19)
    deployment = world.deployments()[0]
    assert deployment["failedTasks"] == 20
    assert deployment["rolloutState"] == "FAILED"
    assert world.record()["deploymentCircuitBreaker"]["threshold"] == 20


def test_lowering_the_desired_count_can_fail_a_deployment_at_once() -> None:
    world = Simulation()
    percent = {"type": "UNBOUNDED_PERCENT", "value": 100}
    world.runner.script = lambda _launch: broken(_launch) if len(world.runner.starts) <= 3 else Script(health=None)
    definition = world.register(healthCheck={"command": ["CMD", "true"]})
    world.create(8, taskDefinition=definition, **breaker(rollback=False, thresholdConfiguration=percent))
    world.advance(60)
    assert (world.deployments()[0]["failedTasks"], world.deployments()[0]["rolloutState"]) == (3, "IN_PROGRESS")
    world.update(desiredCount=3)
    world.advance(1)
    assert world.deployments()[0]["rolloutState"] == "FAILED"


def test_a_deployment_begun_during_a_rollback_has_nothing_to_go_back_to() -> None:
    world = Simulation()
    world.create(1, **breaker())
    world.advance(120)
    good = world.deployments()[0]["id"]
    world.runner.script = broken
    world.update(taskDefinition=world.register())
    while world.deployments()[0]["id"] != good:
        world.advance(1)
    assert world.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    world.update(taskDefinition=world.register())
    world.advance(300)
    primary = world.deployments()[0]
    assert (primary["rolloutState"], primary["taskDefinition"][-5:]) == ("FAILED", "app:3")
    launched = len(world.runner.starts)
    world.advance(3600)
    assert len(world.runner.starts) == launched


def test_stopping_a_service_deployment_rolls_back_without_the_breaker() -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    good = world.deployments()[0]["id"]
    world.update(taskDefinition=world.register())
    world.advance(10)
    world.call("stop_service_deployment", serviceDeploymentArn=world.record()["serviceDeploymentArn"])
    assert world.record()["status"] == "ROLLBACK_IN_PROGRESS"
    world.advance(200)
    assert [each["id"] for each in world.deployments()] == [good]
    assert world.record()["status"] == "ROLLBACK_SUCCESSFUL"
