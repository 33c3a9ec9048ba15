"""Rolling deployments (developer guide, "Deploy Amazon ECS services by replacing tasks"; DeploymentConfiguration)."""

from __future__ import annotations

import pytest

from inference_sandbox.ecs import rolling
from inference_sandbox.tasks.scripted import Script, crashing, failing
from tests.sandbox.ecs.simulation import GROUP, SECOND, Simulation, balanced


@pytest.mark.parametrize(
    ("desired", "low", "high", "lower", "upper"),
    [(4, 50, 200, 2, 8), (1, 50, 150, 1, 1), (3, 50, 150, 2, 4), (0, 100, 200, 0, 0), (5, 100, 125, 5, 6)],
)
def test_the_minimum_is_rounded_up_and_the_maximum_down(
    desired: int, low: int, high: int, lower: int, upper: int
) -> None:
    assert rolling.lower_limit(desired, low) == lower
    assert rolling.upper_limit(desired, high) == upper


def test_a_new_service_starts_its_tasks_completes_its_deployment_and_reaches_a_steady_state() -> None:
    world = Simulation()
    world.create(2)
    world.advance(120)
    [deployment] = world.deployments()
    assert deployment["status"] == "PRIMARY"
    assert deployment["rolloutState"] == "COMPLETED"
    assert (deployment["runningCount"], deployment["pendingCount"], deployment["desiredCount"]) == (2, 0, 2)
    started, completed, steady = world.messages()
    assert started.startswith("has started 2 tasks: (task ")
    assert completed == f"(deployment {deployment['id']}) deployment completed."
    assert steady == "has reached a steady state."


def test_a_task_passes_through_the_documented_states_in_order() -> None:
    world = Simulation()
    world.create(1)
    world.advance(60)
    world.update(desiredCount=0)
    world.advance(60)
    seen = [detail["lastStatus"] for detail in world.events("ECS Task State Change")]
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
    versions = [detail["version"] for detail in world.events("ECS Task State Change")]
    assert versions == sorted(versions)


def test_without_any_health_check_a_task_counts_as_healthy_forty_seconds_after_running() -> None:
    world = Simulation()
    world.create(1)
    while not world.tasks() or world.tasks()[0]["lastStatus"] != "RUNNING":
        world.advance(1)
    world.advance(39)
    assert world.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    world.advance(1)
    assert world.deployments()[0]["rolloutState"] == "COMPLETED"


def test_with_a_container_health_check_a_task_counts_when_the_check_passes() -> None:
    world = Simulation()
    world.runner.script = lambda _launch: Script(health_after=90 * SECOND)
    definition = world.register(healthCheck={"command": ["CMD", "true"]})
    world.create(1, taskDefinition=definition)
    world.advance(100)
    assert world.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    world.advance(20)
    assert world.deployments()[0]["rolloutState"] == "COMPLETED"


def test_with_a_target_group_a_task_counts_when_its_target_is_healthy() -> None:
    world = Simulation()
    world.balancer.decides_after = 100 * SECOND
    world.create(1, **balanced())
    world.advance(90)
    assert world.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    world.advance(60)
    assert world.deployments()[0]["rolloutState"] == "COMPLETED"


def test_with_a_container_check_and_a_target_group_both_must_pass() -> None:
    world = Simulation()
    world.runner.script = lambda _launch: Script(health_after=200 * SECOND)
    definition = world.register(healthCheck={"command": ["CMD", "true"]})
    world.create(1, taskDefinition=definition, **balanced())
    world.advance(150)
    assert world.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    world.advance(100)
    assert world.deployments()[0]["rolloutState"] == "COMPLETED"


def test_an_update_starts_new_tasks_first_and_stops_old_ones_as_the_new_become_healthy() -> None:
    world = Simulation()
    world.create(2)
    world.advance(120)
    old = {task["taskArn"] for task in world.tasks()}
    world.update(taskDefinition=world.register())
    world.advance(30)
    assert len(world.tasks()) == 4
    assert [each["status"] for each in world.deployments()] == ["PRIMARY", "ACTIVE"]
    world.advance(120)
    assert len(world.tasks()) == 2
    assert not old & {task["taskArn"] for task in world.tasks()}
    [deployment] = world.deployments()
    assert deployment["taskDefinition"].endswith("app:2")
    assert deployment["rolloutState"] == "COMPLETED"


def test_at_fifty_to_hundred_percent_old_tasks_stop_before_new_ones_start() -> None:
    world = Simulation()
    limits = {"minimumHealthyPercent": 50, "maximumPercent": 100}
    world.create(4, deploymentConfiguration=limits, availabilityZoneRebalancing="DISABLED")
    world.advance(120)
    world.update(taskDefinition=world.register())
    most, fewest = 0, 4
    for _ in range(400):
        world.advance(1)
        tasks = world.tasks()
        most = max(most, len(tasks))
        fewest = min(fewest, sum(task["lastStatus"] == "RUNNING" for task in tasks))
    assert (most, fewest) == (4, 2)
    assert world.deployments()[0]["rolloutState"] == "COMPLETED"


def test_percentages_that_leave_no_room_are_said_once_and_nothing_moves() -> None:
    world = Simulation()
    world.create(1, deploymentConfiguration={"minimumHealthyPercent": 100, "maximumPercent": 150})
    world.advance(120)
    world.update(taskDefinition=world.register())
    world.advance(3600)
    blocked = [m for m in world.messages() if m.startswith("was unable to stop or start tasks during a deployment")]
    assert len(blocked) == 1
    assert len(world.tasks()) == 1
    assert world.deployments()[0]["rolloutState"] == "IN_PROGRESS"
    world.advance(6 * 3600)
    world.update(healthCheckGracePeriodSeconds=1)  # something to look at the service for
    assert sum(m.startswith("was unable to stop or start tasks") for m in world.messages()) == 2


def test_a_deployment_under_way_is_not_said_to_be_blocked() -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    world.update(taskDefinition=world.register())
    world.advance(120)
    assert not any(m.startswith("was unable to stop or start") for m in world.messages())


def test_a_stopping_task_drains_for_its_deregistration_delay_before_its_stop_signal() -> None:
    world = Simulation()
    world.drain_delay(30)
    world.create(1, **balanced())
    world.advance(120)
    world.update(desiredCount=0)
    world.advance(29)
    assert world.runner.stops == []
    [task] = world.tasks("STOPPED")
    assert task["lastStatus"] == "DEACTIVATING"
    assert world.messages()[-2:] == [
        "has begun draining connections on 1 tasks.",
        f"deregistered 1 targets in (target-group {GROUP})",
    ]
    world.advance(2)
    assert world.runner.stops == [task["taskArn"]]
    assert world.messages()[-1] == f"has stopped 1 running tasks: (task {task['taskArn'].rsplit('/')[-1]})."


def test_an_old_deployment_stays_listed_until_its_last_task_has_stopped() -> None:
    world = Simulation()
    world.drain_delay(300)
    world.create(1, **balanced())
    world.advance(120)
    world.update(taskDefinition=world.register())
    world.advance(120)
    assert [each["rolloutState"] for each in world.deployments()] == ["IN_PROGRESS", "COMPLETED"]
    world.advance(300)
    assert [each["rolloutState"] for each in world.deployments()] == ["COMPLETED"]


def test_force_new_deployment_replaces_tasks_of_the_same_task_definition() -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    [before] = world.tasks()
    assert len(world.update(taskDefinition="app:1")["deployments"]) == 1  # nothing changed, nothing to deploy
    assert len(world.update(forceNewDeployment=True)["deployments"]) == 2
    world.advance(120)
    [after] = world.tasks()
    assert before["taskArn"] != after["taskArn"]
    assert before["taskDefinitionArn"] == after["taskDefinitionArn"]


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
def test_a_change_that_needs_no_new_tasks_starts_no_deployment(change: dict[str, object]) -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    assert len(world.update(**change)["deployments"]) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-b"], "securityGroups": ["sg-1"]}}},
        {"platformVersion": "1.4.0"},
        balanced(),
    ],
)
def test_a_change_that_only_new_tasks_can_show_starts_a_deployment(change: dict[str, object]) -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    assert len(world.update(**change)["deployments"]) == 2


def test_scaling_out_starts_the_missing_tasks_and_scaling_in_stops_the_surplus() -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    world.update(desiredCount=4)
    world.advance(120)
    assert world.describe()["runningCount"] == 4
    world.update(desiredCount=2)
    world.advance(60)
    assert world.describe()["runningCount"] == 2
    identifier = world.deployments()[0]["id"]
    reasons = {task["stoppedReason"] for task in world.tasks("STOPPED")}
    assert reasons == {f"Scaling activity initiated by (deployment {identifier})"}
    assert {task["stopCode"] for task in world.tasks("STOPPED")} == {"ServiceSchedulerInitiated"}


def test_tasks_spread_over_the_availability_zones() -> None:
    world = Simulation()
    world.create(4)
    world.advance(60)
    zones = [task["availabilityZone"] for task in world.tasks()]
    assert sorted(zones) == ["eu-west-1a", "eu-west-1a", "eu-west-1b", "eu-west-1b"]
    world.update(desiredCount=2)
    world.advance(60)
    assert {task["availabilityZone"] for task in world.tasks()} == {"eu-west-1a", "eu-west-1b"}


def test_a_task_that_stops_is_replaced() -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    [task] = world.tasks()
    world.runner.exit(task["taskArn"], "app", 3)
    world.advance(120)
    [replacement] = world.tasks()
    assert replacement["lastStatus"] == "RUNNING"
    [stopped] = world.tasks("STOPPED")
    assert stopped["stopCode"] == "EssentialContainerExited"
    assert stopped["stoppedReason"] == "Essential container in task exited"
    assert stopped["containers"][0]["exitCode"] == 3
    assert world.messages()[-1] == "has reached a steady state."


def test_an_out_of_memory_kill_shows_on_the_container() -> None:
    world = Simulation()
    reason = "OutOfMemoryError: Container killed due to memory usage"
    world.runner.script = lambda _launch: crashing(after=5 * SECOND, code=137, reason=reason)
    world.create(1)
    world.advance(40)
    container = world.tasks("STOPPED")[0]["containers"][0]
    assert (container["exitCode"], container["reason"]) == (137, reason)


def test_a_container_that_is_not_essential_may_exit_without_stopping_its_task() -> None:
    world = Simulation()
    definition = world.call(
        "register_task_definition",
        family="two",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "app", "image": "a"}, {"name": "helper", "image": "b", "essential": False}],
    )["taskDefinition"]["taskDefinitionArn"]
    world.create(1, taskDefinition=definition)
    world.advance(60)
    [task] = world.tasks()
    world.runner.exit(task["taskArn"], "helper", 0)
    world.advance(60)
    [task] = world.tasks()
    assert task["lastStatus"] == "RUNNING"
    assert [container.get("exitCode") for container in task["containers"]] == [None, 0]


def test_a_failed_container_check_stops_the_task_and_is_said() -> None:
    world = Simulation()
    definition = world.register(healthCheck={"command": ["CMD", "true"]})
    world.create(1, taskDefinition=definition)
    world.advance(120)
    [task] = world.tasks()
    world.runner.report_health(task["taskArn"], "app", "UNHEALTHY", world.clock.now())
    world.advance(120)
    [stopped] = world.tasks("STOPPED")
    assert stopped["stoppedReason"] == "Task failed container health checks"
    assert stopped["stopCode"] == "ServiceSchedulerInitiated"
    identifier = task["taskArn"].rsplit("/")[-1]
    assert f"(task {identifier}) failed container health checks." in world.messages()
    assert world.messages()[-1] == "has reached a steady state."


def test_a_failed_target_check_stops_the_task_and_is_said_with_its_reason() -> None:
    world = Simulation()
    world.create(1, **balanced())
    world.advance(120)
    [task] = world.tasks()
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    world.balancer.set(GROUP, address, 8080, "unhealthy")
    world.advance(200)
    [stopped] = world.tasks("STOPPED")
    assert stopped["stoppedReason"] == f"Task failed ELB health checks in (target-group {GROUP})"
    identifier = task["taskArn"].rsplit("/")[-1]
    expected = (
        f"(task {identifier}) (port 8080) is unhealthy in (target-group {GROUP}) due to "
        "(reason Health checks failed with these codes: [503])"
    )
    assert expected in world.messages()


def test_the_replacement_of_an_unhealthy_task_starts_before_it_stops_if_there_is_room() -> None:
    world = Simulation()
    world.create(1, **balanced())
    world.advance(120)
    [task] = world.tasks()
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    world.balancer.set(GROUP, address, 8080, "unhealthy")
    world.advance(35)
    assert len(world.tasks()) == 2
    world.advance(120)
    assert [each["taskArn"] for each in world.tasks("STOPPED")] == [task["taskArn"]]


def test_the_grace_period_ignores_failed_checks_and_no_longer() -> None:
    world = Simulation()
    world.balancer.verdict = "unhealthy"
    world.create(1, healthCheckGracePeriodSeconds=300, **balanced())
    world.advance(300)
    assert world.tasks("STOPPED") == []
    world.advance(30)
    assert len(world.tasks()) + len(world.tasks("STOPPED")) == 2


def test_repeated_failures_to_start_are_delayed_up_to_fifteen_minutes_and_said() -> None:
    world = Simulation()
    world.runner.script = lambda _launch: failing("CannotPullContainerError: pull image manifest has been retried")
    world.create(1)
    world.advance(4 * 3600)
    starts = [launch.arn for launch in world.runner.starts]
    assert len(starts) < 30
    assert world.messages().count("is unable to consistently start tasks successfully.") == 1
    before = len(starts)
    world.advance(16 * 60)
    assert before < len(world.runner.starts) <= before + 2
    impaired = [d for d in world.events("ECS Service Action") if d["eventName"] == "SERVICE_TASK_START_IMPAIRED"]
    assert [detail["eventType"] for detail in impaired] == ["WARN"]
    assert world.deployments()[0]["rolloutState"] == "IN_PROGRESS"  # without the breaker, for ever


def test_a_new_task_definition_starts_at_once_after_a_delayed_one() -> None:
    world = Simulation()
    world.runner.script = lambda _launch: failing("CannotPullContainerError: not found")
    world.create(1)
    world.advance(3600)
    world.runner.script = lambda _launch: Script()
    world.update(taskDefinition=world.register())
    world.advance(120)
    assert world.deployments()[0]["rolloutState"] == "COMPLETED"


def test_tasks_that_reached_running_are_replaced_without_delay() -> None:
    world = Simulation()
    world.runner.script = lambda _launch: crashing(after=5 * SECOND)
    world.create(1)
    world.advance(600)
    assert len(world.runner.starts) > 20
    assert "is unable to consistently start tasks successfully." not in world.messages()
    assert world.deployments()[0]["failedTasks"] == 0  # it ran, and has no check that it could fail


def test_a_task_that_cannot_start_shows_why() -> None:
    world = Simulation()
    world.runner.script = lambda _launch: failing("CannotPullContainerError: pull access denied")
    world.create(1)
    world.advance(30)
    task = world.tasks("STOPPED")[0]
    assert task["stopCode"] == "TaskFailedToStart"
    assert task["stoppedReason"] == "CannotPullContainerError: pull access denied"
    assert "startedAt" not in task
    assert world.deployments()[0]["failedTasks"] >= 1


def test_stopped_tasks_stay_describable_for_an_hour() -> None:
    world = Simulation()
    world.create(1)
    world.advance(120)
    world.update(desiredCount=0)
    world.advance(3590)
    assert len(world.tasks("STOPPED")) == 1
    world.advance(60)
    assert world.tasks("STOPPED") == []


def test_events_are_the_latest_hundred_newest_first_with_ids_of_their_own() -> None:
    world = Simulation()
    world.create(1)
    for count in range(2, 80):
        world.update(desiredCount=1 + count % 2)
        world.advance(60)
    events = world.describe()["events"]
    assert len(events) == 100
    assert len({event["id"] for event in events}) == 100
    times = [event["createdAt"] for event in events]
    assert times == sorted(times, reverse=True)


def test_the_steady_state_is_said_again_every_six_hours() -> None:
    world = Simulation()
    world.create(1)
    world.advance(20 * 3600)
    assert world.messages().count("has reached a steady state.") == 4


def test_a_service_at_rest_costs_a_tick_nothing() -> None:
    world = Simulation()
    world.create(3)
    world.advance(120)
    due = world.scheduler.next_due()
    assert due is not None
    assert (due - world.clock.now()).total_seconds() > 3000  # only to forget, or to say that it is steady


def test_a_new_deployment_replaces_one_under_way() -> None:
    world = Simulation()
    world.create(2)
    world.advance(120)
    world.update(taskDefinition=world.register())
    world.advance(20)
    world.update(taskDefinition=world.register())
    assert [each["status"] for each in world.deployments()] == ["PRIMARY", "ACTIVE", "ACTIVE"]
    world.advance(300)
    [deployment] = world.deployments()
    assert deployment["taskDefinition"].endswith("app:3")
