"""Tasks through the raw API (RunTask, DescribeTasks, ListTasks, StopTask, task protection)."""

from __future__ import annotations

from typing import Literal

import pytest

from inference_sandbox.tasks.scripted import Script
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.world import World, refusal


@follows("API reference, DescribeTasks")
def test_a_task_shows_its_network_interface_its_containers_and_its_deployment(world: World) -> None:
    shown = world.create()
    world.advance(60)
    [task] = world.tasks()
    assert task["group"] == "service:web"
    assert task["startedBy"] == shown["deployments"][0]["id"]
    assert task["launchType"] == "FARGATE"
    assert task["platformVersion"] == "1.4.0"
    assert (task["cpu"], task["memory"]) == ("256", "512")
    assert task["availabilityZone"].startswith("us-east-1")
    details = {each["name"]: each["value"] for each in task["attachments"][0]["details"]}
    assert details["subnetId"] in world.subnets
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert details["privateIPv4Address"] == address
    assert task["containers"][0]["lastStatus"] == "RUNNING"
    assert task["createdAt"] < task["pullStartedAt"] < task["pullStoppedAt"] < task["startedAt"]


@follows("API reference, DescribeTasks")
def test_describe_takes_a_hundred_tasks_and_tells_of_missing_ones(world: World) -> None:
    answer = world.ecs.describe_tasks(cluster="inference", tasks=["none"])
    assert answer["failures"] == [
        {"arn": "arn:aws:ecs:us-east-1:123456789012:task/inference/none", "reason": "MISSING"}
    ]
    many = [f"{number:032x}" for number in range(101)]
    assert refusal(world.ecs.describe_tasks, cluster="inference", tasks=many)[0] == "InvalidParameterException"
    assert len(world.ecs.describe_tasks(cluster="inference", tasks=many[:100])["failures"]) == 100


@follows(
    "Elastic Load Balancing user guide, “Register targets”: an address is free again after the deregistration delay"
)
@differs("ECS's documentation is silent: github.com/aws/containers-roadmap, issue 251, tells of it.")
def test_a_target_that_somebody_deregisters_is_registered_again_and_its_task_stays(world: World) -> None:
    group = world.target_group()
    world.rule(world.listener(), group)
    balanced = {"targetGroupArn": group, "containerName": "app", "containerPort": 8080}
    world.create(desiredCount=2, loadBalancers=[balanced])
    world.advance(120)
    tasks = {task["taskArn"] for task in world.tasks()}

    def states() -> list[str]:
        found = world.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        return sorted(each["TargetHealth"]["State"] for each in found)

    assert states() == ["healthy", "healthy"]
    [gone, _] = world.elb.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
    world.elb.deregister_targets(TargetGroupArn=group, Targets=[gone["Target"]])
    world.advance(60)
    assert states() == ["draining", "healthy"]
    world.advance(300)
    assert states() == ["healthy", "healthy"]
    assert {task["taskArn"] for task in world.tasks()} == tasks
    said = [event["message"] for event in world.describe()["events"]]
    assert f"(service web) registered 1 targets in (target-group {group})" in said


@follows("API reference, ListTasks")
def test_stopped_tasks_are_listed_by_desired_status(world: World) -> None:
    world.create()
    world.advance(60)
    [task] = world.tasks()
    world.ecs.stop_task(cluster="inference", task=task["taskArn"], reason="a drill")
    world.advance(60)
    assert task["taskArn"] not in [each["taskArn"] for each in world.tasks()]
    [stopped] = world.tasks("STOPPED")
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "a drill")
    assert stopped["containers"][0]["exitCode"] == 0
    assert stopped["stoppingAt"] <= stopped["executionStoppedAt"] <= stopped["stoppedAt"]


@follows("API reference, StopTask")
def test_a_task_stopped_without_a_reason_says_that_a_user_did_it(world: World) -> None:
    world.create()
    world.advance(60)
    world.ecs.stop_task(cluster="inference", task=world.tasks()[0]["taskArn"])
    assert world.tasks("STOPPED")[0]["stoppedReason"] == "Task stopped by user"


@follows("API reference, StopTask")
def test_a_missing_task_cannot_be_stopped(world: World) -> None:
    assert refusal(world.ecs.stop_task, cluster="inference", task="0" * 32) == (
        "InvalidParameterException",
        "The referenced task was not found.",
        400,
    )


@follows("API reference, RunTask")
def test_a_task_run_by_itself_is_not_replaced(world: World) -> None:
    network = world.service_request(taskDefinition="x")["networkConfiguration"]
    answer = world.ecs.run_task(
        cluster="inference",
        taskDefinition=world.register(),
        count=2,
        launchType="FARGATE",
        startedBy="me",
        networkConfiguration=network,
    )
    assert [task["lastStatus"] for task in answer["tasks"]] == ["PROVISIONING"] * 2
    assert answer["tasks"][0]["group"] == "family:app"
    world.advance(60)
    arns = world.ecs.list_tasks(cluster="inference", startedBy="me")["taskArns"]
    assert len(arns) == 2
    world.runner.exit(arns[0], "app", 0)
    world.advance(60)
    assert world.ecs.list_tasks(cluster="inference", startedBy="me")["taskArns"] == arns[1:]
    stopped = world.ecs.describe_tasks(cluster="inference", tasks=arns[:1])["tasks"][0]
    assert stopped["stopCode"] == "EssentialContainerExited"


@follows("API reference, RunTask")
def test_run_task_starts_at_most_ten(world: World) -> None:
    network = world.service_request(taskDefinition="x")["networkConfiguration"]
    request = {"cluster": "inference", "taskDefinition": world.register(), "launchType": "FARGATE"}
    assert refusal(world.ecs.run_task, **request, networkConfiguration=network, count=11)[0] == (
        "InvalidParameterException"
    )


@follows("API reference, UpdateTaskProtection")
def test_a_protected_task_outlives_scaling_in_until_its_protection_ends(world: World) -> None:
    world.create(desiredCount=2)
    world.advance(120)
    arns = [task["taskArn"] for task in world.tasks()]
    answer = world.ecs.update_task_protection(
        cluster="inference", tasks=arns, protectionEnabled=True, expiresInMinutes=10
    )
    assert [each["protectionEnabled"] for each in answer["protectedTasks"]] == [True, True]
    world.ecs.update_service(cluster="inference", service="web", desiredCount=1)
    world.advance(300)
    assert len(world.tasks()) == 2
    messages = [event["message"] for event in world.describe()["events"]]
    assert any("was unable to scale in. Reason: The number of protected tasks" in message for message in messages)
    world.advance(310)
    assert len(world.tasks()) == 1


@follows("API reference, UpdateTaskProtection")
def test_protection_lasts_two_hours_unless_told_otherwise_and_two_days_at_most(world: World) -> None:
    world.create()
    world.advance(60)
    arns = [task["taskArn"] for task in world.tasks()]
    answer = world.ecs.update_task_protection(cluster="inference", tasks=arns, protectionEnabled=True)
    expires = answer["protectedTasks"][0]["expirationDate"]
    assert (expires - world.clock.now()).total_seconds() == 7200
    too_long = {"cluster": "inference", "tasks": arns, "protectionEnabled": True, "expiresInMinutes": 2881}
    assert refusal(world.ecs.update_task_protection, **too_long)[0] == "InvalidParameterException"
    assert world.ecs.get_task_protection(cluster="inference")["protectedTasks"][0]["protectionEnabled"] is True
    world.advance(7300)
    assert world.ecs.get_task_protection(cluster="inference")["protectedTasks"][0]["protectionEnabled"] is False


@follows("API reference, HealthCheck")
@differs("For minimumHealthyPercent an essential container without a check does not hold up one that has a check.")
def test_the_health_of_a_task_is_the_worst_of_its_essential_containers(world: World) -> None:
    check = {"command": ["CMD", "true"]}
    containers = [
        {"name": "app", "image": "a", "healthCheck": check},
        {"name": "side", "image": "b", "healthCheck": check},
        {"name": "helper", "image": "c", "essential": False},
    ]
    world.runner.script = lambda _launch: Script(health=None)
    world.create(taskDefinition=world.register(containerDefinitions=containers), healthCheckGracePeriodSeconds=9999)
    world.advance(60)
    [task] = world.tasks()
    seen = [task["healthStatus"]]
    verdicts: list[tuple[str, Literal["HEALTHY", "UNHEALTHY"]]]
    verdicts = [("app", "HEALTHY"), ("side", "HEALTHY"), ("side", "UNHEALTHY")]
    for name, verdict in verdicts:
        world.runner.report_health(task["taskArn"], name, verdict, world.clock.now())
        world.advance(1)
        seen.append(world.tasks()[0]["healthStatus"])
    assert seen == ["UNKNOWN", "UNKNOWN", "HEALTHY", "UNHEALTHY"]


@follows("Developer guide, “Tag Amazon ECS resources”")
@pytest.mark.parametrize("source", ["SERVICE", "TASK_DEFINITION", "NONE"])
def test_tags_propagate_to_tasks_as_asked(world: World, source: str) -> None:
    arn = world.register(tags=[{"key": "from", "value": "definition"}])
    world.create(taskDefinition=arn, tags=[{"key": "from", "value": "service"}], propagateTags=source)
    world.advance(60)
    arns = world.ecs.list_tasks(cluster="inference")["taskArns"]
    tags = world.ecs.describe_tasks(cluster="inference", tasks=arns, include=["TAGS"])["tasks"][0]["tags"]
    expected = {"SERVICE": ["service"], "TASK_DEFINITION": ["definition"], "NONE": []}[source]
    assert [tag["value"] for tag in tags] == expected


@follows("Developer guide, “Tag Amazon ECS resources”")
def test_managed_tags_name_cluster_and_service(world: World) -> None:
    world.create(enableECSManagedTags=True)
    world.advance(60)
    arns = world.ecs.list_tasks(cluster="inference")["taskArns"]
    tags = world.ecs.describe_tasks(cluster="inference", tasks=arns, include=["TAGS"])["tasks"][0]["tags"]
    assert {tag["key"]: tag["value"] for tag in tags} == {
        "aws:ecs:clusterName": "inference",
        "aws:ecs:serviceName": "web",
    }
