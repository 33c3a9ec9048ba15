"""Failures on request, in AWS's words (developer guide, "Stopped tasks error messages", "Amazon ECS service event
messages", "Amazon ECS clusters for Fargate": Spot)."""

from __future__ import annotations

import pytest

from inference_sandbox.ecs.failures import CAUSES, UNSTARTED, Failure
from inference_sandbox.tasks.scripted import Script
from tests.sandbox.aws.fidelity import follows
from tests.sandbox.aws.world import World


def messages(world: World) -> list[str]:
    return [event["message"].removeprefix("(service web) ") for event in reversed(world.describe()["events"])]


@follows("Developer guide, “Stopped tasks error messages”")
@pytest.mark.parametrize("cause", sorted(UNSTARTED))
def test_a_task_that_cannot_start_stops_with_the_words_of_its_cause(world: World, cause: str) -> None:
    world.aws.fail(Failure(service="w*", cause=cause, times=1))
    world.create()
    world.advance(60)
    [stopped] = world.tasks("STOPPED")
    assert stopped["stopCode"] == "TaskFailedToStart"
    assert stopped["stoppedReason"] == UNSTARTED[cause].format(image="app:1")
    assert world.describe()["runningCount"] == 1  # the next one starts


@follows("Developer guide, “Amazon ECS service event messages”")
def test_without_capacity_no_task_is_made_and_the_service_says_so_once(world: World) -> None:
    world.aws.fail(Failure(service="web", cause="capacity"))
    world.create()
    world.advance(600)
    text = (
        "was unable to place a task. Reason: Capacity is unavailable at this time. Please try again later or in a "
        "different availability zone."
    )
    assert messages(world).count(text) == 1
    assert world.tasks() == world.tasks("STOPPED") == []
    assert world.describe()["deployments"][0]["failedTasks"] > 1
    world.aws.scheduler.failures.waiting.clear()
    world.advance(1200)
    assert world.describe()["runningCount"] == 1


@follows("API reference, Deployment.failedTasks")
def test_a_launch_that_finds_no_capacity_counts_for_the_circuit_breaker(world: World) -> None:
    world.create(deploymentConfiguration={"deploymentCircuitBreaker": {"enable": True, "rollback": True}})
    world.advance(120)
    world.aws.fail(Failure(service="web", cause="vcpu-limit"))
    world.ecs.update_service(cluster="inference", service="web", forceNewDeployment=True)
    world.advance(600)
    assert world.describe()["deployments"][0]["rolloutState"] == "COMPLETED"
    assert any("rolling back to deployment" in message for message in messages(world))


@follows("Developer guide, “Stopped tasks error messages”")
def test_an_out_of_memory_kill_ends_the_task_with_137(world: World) -> None:
    world.create()
    world.advance(120)
    world.aws.fail(Failure(service="web", cause="oom", times=1))
    world.advance(120)
    [stopped] = world.tasks("STOPPED")
    container = stopped["containers"][0]
    assert (container["exitCode"], container["reason"]) == (
        137,
        "OutOfMemoryError: Container killed due to memory usage",
    )
    assert stopped["stopCode"] == "EssentialContainerExited"
    assert world.describe()["runningCount"] == 1


@follows("Developer guide, “Amazon ECS clusters for Fargate”: Fargate Spot termination notices")
def test_spot_capacity_is_taken_back_two_minutes_after_its_warning(world: World) -> None:
    request = world.service_request(capacityProviderStrategy=[{"capacityProvider": "FARGATE_SPOT", "weight": 1}])
    del request["launchType"]
    world.ecs.create_service(**request)
    world.advance(120)
    [task] = world.tasks()
    world.aws.fail(Failure(service="web", cause="spot"))
    world.advance(1)
    [warned] = [each for each in world.tasks("STOPPED") if each["taskArn"] == task["taskArn"]]
    assert (warned["lastStatus"], warned["desiredStatus"], warned["stopCode"]) == (
        "RUNNING",
        "STOPPED",
        "TerminationNotice",
    )
    world.advance(118)
    assert world.runner.stops == []
    assert world.describe()["runningCount"] == 2  # the replacement runs beside it
    world.advance(30)
    [stopped] = world.tasks("STOPPED")
    assert stopped["stopCode"] == "SpotInterruption"
    assert stopped["stoppedReason"] == "Your Spot Task was interrupted."


@follows("Developer guide, “Task retirement and maintenance for AWS Fargate”")
def test_a_retired_host_stops_its_task(world: World) -> None:
    world.create()
    world.advance(120)
    world.aws.fail(Failure(service="web", cause="maintenance", times=1))
    world.advance(60)
    [stopped] = world.tasks("STOPPED")
    assert stopped["stopCode"] == "InfrastructureHealth"
    assert "performing maintenance on the underlying infrastructure" in stopped["stoppedReason"]


@follows("Developer guide, “Determine Amazon ECS task health using container health checks”")
def test_a_failed_container_check_on_request(world: World) -> None:
    world.runner.script = lambda _launch: Script()
    world.create(taskDefinition=world.register(container={"healthCheck": {"command": ["CMD", "true"]}}))
    world.advance(120)
    world.aws.fail(Failure(service="web", cause="container-health", times=1))
    world.advance(120)
    assert world.tasks("STOPPED")[0]["stoppedReason"] == "Task failed container health checks"


@follows("API reference, TargetHealth (Elastic Load Balancing); developer guide, “Amazon ECS service event messages”")
def test_a_failed_target_check_on_request(world: World) -> None:
    group = world.target_group()
    world.rule(world.listener(), group)
    world.create(loadBalancers=[{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}])
    world.advance(120)
    [target] = world.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    world.aws.fail(Failure(service="web", cause="target-health", times=1))
    [failed] = world.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    assert failed["Target"] == target["Target"]
    assert (failed["TargetHealth"]["State"], failed["TargetHealth"]["Reason"]) == (
        "unhealthy",
        "Target.ResponseCodeMismatch",
    )
    world.advance(300)
    stopped = world.tasks("STOPPED")[0]
    assert stopped["stoppedReason"] == f"Task failed ELB health checks in (target-group {group})"
    targets = world.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    healthy = [each["Target"] for each in targets if each["TargetHealth"]["State"] == "healthy"]
    assert len(healthy) == 1
    assert healthy != [target["Target"]]


def test_a_failure_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of capacity"):
        Failure(service="web", cause="gremlins")
    with pytest.raises(ValueError, match="must be at least 1"):
        Failure(service="web", cause="oom", times=0)
    assert len(set(CAUSES)) == len(CAUSES)
