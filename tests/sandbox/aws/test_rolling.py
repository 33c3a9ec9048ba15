"""Rolling deployments (developer guide, "Deploy Amazon ECS services by replacing tasks"; DeploymentConfiguration)."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from inference_sandbox.ecs.failures import Failure
from inference_sandbox.tasks.scripted import Script, crashing, failing
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.rollout import Rollout, breaker


@follows("Developer guide, “Amazon ECS service event messages”")
def test_a_new_service_starts_its_tasks_completes_its_deployment_and_reaches_a_steady_state(rollout: Rollout) -> None:
    rollout.create(2)
    rollout.advance(120)
    [deployment] = rollout.deployments()
    assert deployment["status"] == "PRIMARY"
    assert deployment["rolloutState"] == "COMPLETED"
    assert (deployment["runningCount"], deployment["pendingCount"], deployment["desiredCount"]) == (2, 0, 2)
    started, completed, steady = rollout.messages()
    assert started.startswith("has started 2 tasks: (task ")
    assert completed == f"(deployment {deployment['id']}) deployment completed."
    assert steady == "has reached a steady state."


@follows("Developer guide, “Amazon ECS task lifecycle”")
def test_a_task_passes_through_the_documented_states_in_order(rollout: Rollout) -> None:
    rollout.listen()
    rollout.create(1)
    rollout.advance(60)
    rollout.update(desiredCount=0)
    rollout.advance(60)
    seen = [detail["lastStatus"] for detail in rollout.events("ECS Task State Change")]
    assert seen == [
        "PROVISIONING",
        "PENDING",
        "ACTIVATING",
        "RUNNING",
        "DEACTIVATING",
        "STOPPING",
        "STOPPING",  # its container has exited
        "DEPROVISIONING",
        "STOPPED",
    ]
    versions = [detail["version"] for detail in rollout.events("ECS Task State Change")]
    assert versions == sorted(versions)


@follows("API reference, DeploymentConfiguration")
def test_without_any_health_check_a_task_counts_as_healthy_forty_seconds_after_running(rollout: Rollout) -> None:
    rollout.create(1)
    while not rollout.tasks() or rollout.tasks()[0]["lastStatus"] != "RUNNING":
        rollout.advance(1)
    rollout.advance(39)
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    rollout.advance(1)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"


@follows("API reference, DeploymentConfiguration")
def test_with_a_container_health_check_a_task_counts_when_the_check_passes(rollout: Rollout) -> None:
    rollout.runner.script = lambda _launch: Script(health_after=timedelta(seconds=90))
    definition = rollout.register(container={"healthCheck": {"command": ["CMD", "true"]}})
    rollout.create(1, taskDefinition=definition)
    rollout.advance(100)
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    rollout.advance(20)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"


@follows("API reference, DeploymentConfiguration")
def test_with_a_target_group_a_task_counts_when_its_target_is_healthy(rollout: Rollout) -> None:
    rollout.balancer.decides_after = timedelta(seconds=100)
    rollout.create(1, **rollout.balanced())
    rollout.advance(90)
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    rollout.advance(60)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"


@follows("API reference, DeploymentConfiguration")
def test_with_a_container_check_and_a_target_group_both_must_pass(rollout: Rollout) -> None:
    rollout.runner.script = lambda _launch: Script(health_after=timedelta(seconds=200))
    definition = rollout.register(container={"healthCheck": {"command": ["CMD", "true"]}})
    rollout.create(1, taskDefinition=definition, **rollout.balanced())
    rollout.advance(150)
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    rollout.advance(100)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"


@follows("API reference, DeploymentConfiguration")
def test_an_update_starts_new_tasks_first_and_stops_old_ones_as_the_new_become_healthy(rollout: Rollout) -> None:
    rollout.create(2)
    rollout.advance(120)
    old = {task["taskArn"] for task in rollout.tasks()}
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(30)
    assert len(rollout.tasks()) == 4
    assert [each["status"] for each in rollout.deployments()] == ["PRIMARY", "ACTIVE"]
    rollout.advance(120)
    assert len(rollout.tasks()) == 2
    assert not old & {task["taskArn"] for task in rollout.tasks()}
    [deployment] = rollout.deployments()
    assert deployment["taskDefinition"].endswith("app:2")
    assert deployment["rolloutState"] == "COMPLETED"


@follows("API reference, DeploymentConfiguration")
def test_at_fifty_to_hundred_percent_old_tasks_stop_before_new_ones_start(rollout: Rollout) -> None:
    limits = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    rollout.create(4, deploymentConfiguration=limits, availabilityZoneRebalancing="DISABLED")
    rollout.advance(120)
    rollout.update(taskDefinition=rollout.register())
    most, fewest = 0, 4
    for _ in range(400):
        rollout.advance(1)
        tasks = rollout.tasks()
        most = max(most, len(tasks))
        fewest = min(fewest, sum(task["lastStatus"] == "RUNNING" for task in tasks))
    assert (most, fewest) == (4, 2)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"


@follows("Developer guide, “Amazon ECS service event messages”")
def test_percentages_that_leave_no_room_are_said_once_and_nothing_moves(rollout: Rollout) -> None:
    rollout.create(1, deploymentConfiguration={"minimumHealthyPercent": 100, "maximumPercent": 150})
    rollout.advance(120)
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(3600)
    blocked = [m for m in rollout.messages() if m.startswith("was unable to stop or start tasks during a deployment")]
    assert len(blocked) == 1
    assert len(rollout.tasks()) == 1
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    rollout.advance(6 * 3600)
    rollout.update(healthCheckGracePeriodSeconds=1)  # something to look at the service for
    assert sum(m.startswith("was unable to stop or start tasks") for m in rollout.messages()) == 2


@follows("Developer guide, “Amazon ECS service event messages”")
def test_a_deployment_under_way_is_not_said_to_be_blocked(rollout: Rollout) -> None:
    rollout.create(1)
    rollout.advance(120)
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(120)
    assert not any(m.startswith("was unable to stop or start") for m in rollout.messages())


@follows("Developer guide, “Amazon ECS task lifecycle”: DEACTIVATING")
def test_a_stopping_task_drains_for_its_deregistration_delay_before_its_stop_signal(rollout: Rollout) -> None:
    rollout.drain_delay(30)
    rollout.create(1, **rollout.balanced())
    rollout.advance(120)
    rollout.update(desiredCount=0)
    rollout.advance(29)
    assert rollout.runner.stops == []
    [task] = rollout.tasks("STOPPED")
    assert task["lastStatus"] == "DEACTIVATING"
    assert rollout.messages()[-2:] == [
        "has begun draining connections on 1 tasks.",
        f"deregistered 1 targets in (target-group {rollout.group})",
    ]
    rollout.advance(2)
    assert rollout.runner.stops == [task["taskArn"]]
    assert rollout.messages()[-1] == f"has stopped 1 running tasks: (task {task['taskArn'].rsplit('/')[-1]})."


@follows("API reference, Deployment.status")
def test_an_old_deployment_stays_listed_until_its_last_task_has_stopped(rollout: Rollout) -> None:
    rollout.drain_delay(300)
    rollout.create(1, **rollout.balanced())
    rollout.advance(120)
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(120)
    assert [each["rolloutState"] for each in rollout.deployments()] == ["IN_PROGRESS", "COMPLETED"]
    rollout.advance(300)
    assert [each["rolloutState"] for each in rollout.deployments()] == ["COMPLETED"]


SOURCE = "“Amazon ECS improves Service Availability during Rolling deployments”, announced in November 2025"


def broken_update(rollout: Rollout, desired: int, **members: Any) -> set[str]:
    """Update a settled service to a revision whose tasks do not start; the ARNs of the tasks that still serve."""
    rollout.create(desired, **members)
    rollout.advance(120)
    serving = {task["taskArn"] for task in rollout.tasks()}
    rollout.runner.script = lambda launch: (
        failing("CannotPullContainerError: not found") if launch.task_definition["revision"] == 2 else Script()
    )
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(60)
    return serving


def serving(rollout: Rollout) -> dict[str, int]:
    """How many tasks run, by the revision of their task definition."""
    running = [task for task in rollout.tasks() if task["lastStatus"] == "RUNNING"]
    return dict(Counter(task["taskDefinitionArn"].rsplit(":", 1)[-1] for task in running))


@follows(SOURCE)
@pytest.mark.parametrize("ended", ["stopped", "unhealthy"])
def test_a_task_that_is_lost_during_an_update_is_replaced_by_one_of_its_own_revision(
    rollout: Rollout, ended: str
) -> None:
    old = broken_update(rollout, 2, **rollout.balanced())
    if ended == "stopped":
        rollout.ecs.stop_task(cluster="inference", task=min(old))
    else:
        rollout.aws.fail(Failure(service="web", cause="target-health", times=1))
    rollout.advance(120)
    assert serving(rollout) == {"1": 2}
    assert len(old & {task["taskArn"] for task in rollout.tasks()}) == 1
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"


@follows(SOURCE)
def test_a_failed_update_without_rollback_leaves_the_old_revision_as_available_as_it_was(rollout: Rollout) -> None:
    old = broken_update(rollout, 2, **breaker(rollback=False))
    rollout.advance(600)
    assert rollout.deployments()[0]["rolloutState"] == "FAILED"
    for task in old:
        rollout.ecs.stop_task(cluster="inference", task=task)
    rollout.advance(120)
    assert serving(rollout) == {"1": 2}


@follows(SOURCE)
def test_scaling_out_during_an_update_starts_tasks_of_both_revisions(rollout: Rollout) -> None:
    broken_update(rollout, 2)
    rollout.update(desiredCount=5)
    rollout.advance(120)
    assert serving(rollout) == {"1": 5}
    new, old = rollout.deployments()
    assert (new["desiredCount"], old["desiredCount"]) == (5, 5)


@follows(SOURCE)
@differs("Whose task comes first where maximumPercent leaves room for one is not documented: here the old revision's.")
def test_what_replaces_a_lost_task_stays_within_the_maximum(rollout: Rollout) -> None:
    limits = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    old = broken_update(rollout, 4, deploymentConfiguration=limits, availabilityZoneRebalancing="DISABLED")
    assert serving(rollout) == {"1": 2}
    running = [task["taskArn"] for task in rollout.tasks() if task["taskArn"] in old]
    rollout.ecs.stop_task(cluster="inference", task=running[0])
    most = 0
    for _ in range(120):
        rollout.advance(1)
        most = max(most, len(rollout.tasks()))
    assert most == 4
    assert serving(rollout) == {"1": 2}


@follows("API reference, UpdateService")
def test_force_new_deployment_replaces_tasks_of_the_same_task_definition(rollout: Rollout) -> None:
    rollout.create(1)
    rollout.advance(120)
    [before] = rollout.tasks()
    assert len(rollout.update(taskDefinition="app:1")["deployments"]) == 1  # nothing changed, nothing to deploy
    assert len(rollout.update(forceNewDeployment=True)["deployments"]) == 2
    rollout.advance(120)
    [after] = rollout.tasks()
    assert before["taskArn"] != after["taskArn"]
    assert before["taskDefinitionArn"] == after["taskDefinitionArn"]


@follows("API reference, UpdateService")
@pytest.mark.parametrize(
    "change",
    [
        {"desiredCount": 3},
        {"healthCheckGracePeriodSeconds": 5},
        {"enableExecuteCommand": True},
        {"propagateTags": "SERVICE"},
        {"deploymentConfiguration": {"minimumHealthyPercent": 50}},
    ],
)
def test_a_change_that_needs_no_new_tasks_starts_no_deployment(rollout: Rollout, change: dict[str, object]) -> None:
    rollout.create(1)
    rollout.advance(120)
    assert len(rollout.update(**change)["deployments"]) == 1


@follows("API reference, UpdateService")
@pytest.mark.parametrize("member", ["networkConfiguration", "platformVersion", "loadBalancers"])
def test_a_change_that_only_new_tasks_can_show_starts_a_deployment(rollout: Rollout, member: str) -> None:
    network = {"subnets": rollout.subnets[:1], "securityGroups": [rollout.security_group]}
    changes: dict[str, Any] = {
        "networkConfiguration": {"awsvpcConfiguration": network},
        "platformVersion": "1.4.0",
    } | rollout.balanced()
    rollout.create(1)
    rollout.advance(120)
    assert len(rollout.update(**{member: changes[member]})["deployments"]) == 2


@follows("API reference, UpdateService")
def test_scaling_out_starts_the_missing_tasks_and_scaling_in_stops_the_surplus(rollout: Rollout) -> None:
    rollout.create(1)
    rollout.advance(120)
    rollout.update(desiredCount=4)
    rollout.advance(120)
    assert rollout.describe()["runningCount"] == 4
    rollout.update(desiredCount=2)
    rollout.advance(60)
    assert rollout.describe()["runningCount"] == 2
    identifier = rollout.deployments()[0]["id"]
    reasons = {task["stoppedReason"] for task in rollout.tasks("STOPPED")}
    assert reasons == {f"Scaling activity initiated by (deployment {identifier})"}
    assert {task["stopCode"] for task in rollout.tasks("STOPPED")} == {"ServiceSchedulerInitiated"}


@follows("API reference, UpdateService")
def test_tasks_spread_over_the_availability_zones(rollout: Rollout) -> None:
    rollout.create(4)
    rollout.advance(60)
    zones = [task["availabilityZone"] for task in rollout.tasks()]
    assert sorted(zones) == ["us-east-1a", "us-east-1a", "us-east-1b", "us-east-1b"]
    rollout.update(desiredCount=2)
    rollout.advance(60)
    assert {task["availabilityZone"] for task in rollout.tasks()} == {"us-east-1a", "us-east-1b"}


@follows("Developer guide, “Amazon ECS task lifecycle”")
def test_a_task_that_stops_is_replaced(rollout: Rollout) -> None:
    rollout.create(1)
    rollout.advance(120)
    [task] = rollout.tasks()
    rollout.runner.exit(task["taskArn"], "app", 3)
    rollout.advance(120)
    [replacement] = rollout.tasks()
    assert replacement["lastStatus"] == "RUNNING"
    [stopped] = rollout.tasks("STOPPED")
    assert stopped["stopCode"] == "EssentialContainerExited"
    assert stopped["stoppedReason"] == "Essential container in task exited"
    assert stopped["containers"][0]["exitCode"] == 3
    assert rollout.messages()[-1] == "has reached a steady state."


@follows("Developer guide, “Stopped tasks error messages”")
def test_an_out_of_memory_kill_shows_on_the_container(rollout: Rollout) -> None:
    reason = "OutOfMemoryError: Container killed due to memory usage"
    rollout.runner.script = lambda _launch: crashing(after=timedelta(seconds=5), code=137, reason=reason)
    rollout.create(1)
    rollout.advance(40)
    container = rollout.tasks("STOPPED")[0]["containers"][0]
    assert (container["exitCode"], container["reason"]) == (137, reason)


@follows("API reference, ContainerDefinition.essential")
def test_a_container_that_is_not_essential_may_exit_without_stopping_its_task(rollout: Rollout) -> None:
    definition = rollout.ecs.register_task_definition(
        family="two",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "app", "image": "a"}, {"name": "helper", "image": "b", "essential": False}],
    )["taskDefinition"]["taskDefinitionArn"]
    rollout.create(1, taskDefinition=definition)
    rollout.advance(60)
    [task] = rollout.tasks()
    rollout.runner.exit(task["taskArn"], "helper", 0)
    rollout.advance(60)
    [task] = rollout.tasks()
    assert task["lastStatus"] == "RUNNING"
    assert [container.get("exitCode") for container in task["containers"]] == [None, 0]


@follows("Developer guide, “Determine Amazon ECS task health using container health checks”")
def test_a_failed_container_check_stops_the_task_and_is_said(rollout: Rollout) -> None:
    definition = rollout.register(container={"healthCheck": {"command": ["CMD", "true"]}})
    rollout.create(1, taskDefinition=definition)
    rollout.advance(120)
    [task] = rollout.tasks()
    rollout.runner.report_health(task["taskArn"], "app", "UNHEALTHY", rollout.clock.now())
    rollout.advance(120)
    [stopped] = rollout.tasks("STOPPED")
    assert stopped["stoppedReason"] == "Task failed container health checks"
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    identifier = task["taskArn"].rsplit("/")[-1]
    assert f"(task {identifier}) failed container health checks." in rollout.messages()
    assert rollout.messages()[-1] == "has reached a steady state."


@follows("Developer guide, “Amazon ECS service event messages”")
def test_a_failed_target_check_stops_the_task_and_is_said_with_its_reason(rollout: Rollout) -> None:
    rollout.create(1, **rollout.balanced())
    rollout.advance(120)
    [task] = rollout.tasks()
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    rollout.balancer.set(rollout.group, address, 8080, "unhealthy")
    rollout.advance(200)
    [stopped] = rollout.tasks("STOPPED")
    assert stopped["stoppedReason"] == f"Task failed ELB health checks in (target-group {rollout.group})"
    identifier = task["taskArn"].rsplit("/")[-1]
    expected = (
        f"(task {identifier}) (port 8080) is unhealthy in (target-group {rollout.group}) due to "
        "(reason Health checks failed with these codes: [503])"
    )
    assert expected in rollout.messages()


@follows("API reference, DeploymentConfiguration")
def test_the_replacement_of_an_unhealthy_task_starts_before_it_stops_if_there_is_room(rollout: Rollout) -> None:
    rollout.create(1, **rollout.balanced())
    rollout.advance(120)
    [task] = rollout.tasks()
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    rollout.balancer.set(rollout.group, address, 8080, "unhealthy")
    rollout.advance(35)
    assert len(rollout.tasks()) == 2
    rollout.advance(120)
    assert [each["taskArn"] for each in rollout.tasks("STOPPED")] == [task["taskArn"]]


@follows("API reference, CreateService.healthCheckGracePeriodSeconds")
def test_the_grace_period_ignores_failed_checks_and_no_longer(rollout: Rollout) -> None:
    rollout.balancer.verdict = "unhealthy"
    rollout.create(1, healthCheckGracePeriodSeconds=300, **rollout.balanced())
    rollout.advance(300)
    assert rollout.tasks("STOPPED") == []
    rollout.advance(30)
    assert len(rollout.tasks()) + len(rollout.tasks("STOPPED")) == 2


@follows("Developer guide, “Amazon ECS service throttle logic”")
@differs("AWS does not publish when the delay begins and how it grows; editions before 2024 say up to 15 minutes.")
def test_repeated_failures_to_start_are_delayed_up_to_27_minutes_and_said(rollout: Rollout) -> None:
    rollout.listen()
    rollout.runner.script = lambda _launch: failing("CannotPullContainerError: pull image manifest has been retried")
    rollout.create(1)
    rollout.advance(4 * 3600)
    starts = [launch.arn for launch in rollout.runner.starts]
    assert len(starts) < 30
    assert rollout.messages().count("is unable to consistently start tasks successfully.") == 1
    before = len(starts)
    rollout.advance(28 * 60)
    assert before < len(rollout.runner.starts) <= before + 2
    impaired = [d for d in rollout.events("ECS Service Action") if d["eventName"] == "SERVICE_TASK_START_IMPAIRED"]
    assert [detail["eventType"] for detail in impaired] == ["WARN"]
    assert rollout.deployments()[0]["rolloutState"] == "IN_PROGRESS"  # without the breaker, for ever


@follows("Developer guide, “Amazon ECS service throttle logic”")
def test_a_new_task_definition_starts_at_once_after_a_delayed_one(rollout: Rollout) -> None:
    rollout.runner.script = lambda _launch: failing("CannotPullContainerError: not found")
    rollout.create(1)
    rollout.advance(3600)
    rollout.runner.script = lambda _launch: Script()
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(120)
    assert rollout.deployments()[0]["rolloutState"] == "COMPLETED"


@follows("Developer guide, “Amazon ECS service throttle logic”")
def test_tasks_that_reached_running_are_replaced_without_delay(rollout: Rollout) -> None:
    rollout.runner.script = lambda _launch: crashing(after=timedelta(seconds=5))
    rollout.create(1)
    rollout.advance(600)
    assert len(rollout.runner.starts) > 20
    assert "is unable to consistently start tasks successfully." not in rollout.messages()
    assert rollout.deployments()[0]["failedTasks"] == 0  # it ran, and has no check that it could fail


@follows("Developer guide, “Stopped tasks error messages”")
def test_a_task_that_cannot_start_shows_why(rollout: Rollout) -> None:
    rollout.runner.script = lambda _launch: failing("CannotPullContainerError: pull access denied")
    rollout.create(1)
    rollout.advance(30)
    task = rollout.tasks("STOPPED")[0]
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"] == "CannotPullContainerError: pull access denied"
    assert "startedAt" not in task
    assert rollout.deployments()[0]["failedTasks"] >= 1


@follows("Developer guide, “View Amazon ECS stopped task errors”")
@differs("AWS says “at least one hour”; here it is exactly one.")
def test_stopped_tasks_stay_describable_for_an_hour(rollout: Rollout) -> None:
    rollout.create(1)
    rollout.advance(120)
    rollout.update(desiredCount=0)
    rollout.advance(3590)
    assert len(rollout.tasks("STOPPED")) == 1
    rollout.advance(60)
    assert rollout.tasks("STOPPED") == []


@follows("API reference, Service.events")
def test_events_are_the_latest_hundred_newest_first_with_ids_of_their_own(rollout: Rollout) -> None:
    rollout.create(1)
    for count in range(2, 80):
        rollout.update(desiredCount=1 + count % 2)
        rollout.advance(60)
    events = rollout.describe()["events"]
    assert len(events) == 100
    assert len({event["id"] for event in events}) == 100
    times = [event["createdAt"] for event in events]
    assert times == sorted(times, reverse=True)


@follows("Developer guide, “Amazon ECS service event messages”")
def test_the_steady_state_is_said_again_every_six_hours(rollout: Rollout) -> None:
    rollout.create(1)
    rollout.advance(20 * 3600)
    assert rollout.messages().count("has reached a steady state.") == 4


@follows("API reference, Deployment.status")
@differs("The status of a superseded service deployment is not documented; here it is STOPPED.")
def test_a_new_deployment_replaces_one_under_way(rollout: Rollout) -> None:
    rollout.create(2)
    rollout.advance(120)
    rollout.update(taskDefinition=rollout.register())
    rollout.advance(20)
    rollout.update(taskDefinition=rollout.register())
    assert [each["status"] for each in rollout.deployments()] == ["PRIMARY", "ACTIVE", "ACTIVE"]
    rollout.advance(300)
    [deployment] = rollout.deployments()
    assert deployment["taskDefinition"].endswith("app:3")
