"""Task definitions through the raw API (RegisterTaskDefinition and what it contains; "Task definition differences for
Fargate")."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.world import World, refusal

PORTS = [{"containerPort": 8080}]
EXECUTION_ROLE = "arn:aws:iam::123456789012:role/execution"


@follows("Developer guide, “Amazon ECS task definition differences for Fargate”")
@pytest.mark.parametrize(
    ("cpu", "memory"),
    [
        ("256", "512"),
        ("256", "2048"),
        ("512", "4096"),
        ("1024", "8192"),
        ("2048", "16384"),
        ("4096", "30720"),
        ("8192", "20480"),
        ("16384", "122880"),
    ],
)
def test_fargate_pairs_of_cpu_and_memory_are_accepted(world: World, cpu: str, memory: str) -> None:
    assert world.register(cpu=cpu, memory=memory).endswith("app:1")


@follows("Developer guide, “Amazon ECS task definition differences for Fargate”")
@pytest.mark.parametrize(
    ("cpu", "memory"),
    [("256", "3072"), ("512", "512"), ("1024", "9216"), ("8192", "17408"), ("300", "512"), ("4096", "4096")],
)
def test_other_pairs_of_cpu_and_memory_are_refused(world: World, cpu: str, memory: str) -> None:
    code, message, status = refusal(world.register, cpu=cpu, memory=memory)
    assert (code, status) == ("ClientException", 400)
    assert message.startswith(f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory.")


@follows("API reference, RegisterTaskDefinition")
def test_cpu_and_memory_with_units_are_normalised(world: World) -> None:
    arn = world.register(cpu="1 vCPU", memory="2 GB")
    shown = world.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    assert (shown["cpu"], shown["memory"]) == ("1024", "2048")


@follows("API reference, RegisterTaskDefinition")
def test_describe_shows_the_defaults_that_the_server_fills_in(world: World) -> None:
    shown = world.ecs.describe_task_definition(taskDefinition=world.register())["taskDefinition"]
    [container] = shown["containerDefinitions"]
    assert container["cpu"] == 0
    assert container["essential"] is True
    assert container["portMappings"] == [{"containerPort": 8080, "hostPort": 8080, "protocol": "tcp"}]
    assert container["environment"] == container["mountPoints"] == container["volumesFrom"] == []
    assert container["systemControls"] == []
    assert shown["status"] == "ACTIVE"
    assert shown["compatibilities"] == ["EC2", "FARGATE"]
    assert shown["volumes"] == shown["placementConstraints"] == []


@follows("API reference, HealthCheck")
def test_a_health_check_shows_its_defaults(world: World) -> None:
    arn = world.register(container={"healthCheck": {"command": ["CMD-SHELL", "true"]}})
    shown = world.ecs.describe_task_definition(taskDefinition=arn)["taskDefinition"]
    check = shown["containerDefinitions"][0]["healthCheck"]
    assert check == {"command": ["CMD-SHELL", "true"], "interval": 30, "timeout": 5, "retries": 3}


@follows("Developer guide, “Amazon ECS task definition differences for Fargate”")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"networkMode": "bridge"}, "Fargate only supports network mode"),
        ({"networkMode": None}, "Fargate only supports network mode"),
        ({"cpu": None}, "Fargate requires that 'cpu' be defined at the task level."),
        ({"memory": None}, "Fargate requires that 'memory' be defined at the task level."),
        ({"ephemeralStorage": {"sizeInGiB": 500}}, "between 21 and 200"),
        ({"ephemeralStorage": {"sizeInGiB": 20}}, "between 21 and 200"),
        ({"family": "not a family"}, "Family contains invalid characters"),
        ({"containerDefinitions": []}, "Container list cannot be empty."),
        ({"placementConstraints": [{"type": "memberOf"}]}, "does not support 'placementConstraints'"),
        ({"ipcMode": "host"}, "IPC mode is not supported"),
        ({"taskRoleArn": "no role"}, "Role is not valid"),
        ({"executionRoleArn": "arn:aws:s3:::bucket"}, "Role is not valid"),
        ({"volumes": [{"name": "v", "host": {"sourcePath": "/v"}}]}, "host.sourcePath should not be set"),
    ],
)
def test_a_task_that_fargate_cannot_run_is_refused(world: World, change: dict[str, Any], message: str) -> None:
    code, said, _ = refusal(world.register, **change)
    assert code == "ClientException"
    assert message in said


@follows("Developer guide, “Amazon ECS task definition differences for Fargate”")
@differs("The wording of some refusals is not documented.")
@pytest.mark.parametrize(
    ("container", "message"),
    [
        ({"name": ""}, "Container.name should not be null or empty."),
        ({"image": ""}, "Container.image should not be null or blank."),
        ({"essential": False}, "At least one container"),
        ({"privileged": True}, "do not support privileged"),
        ({"links": ["other"]}, "do not support links"),
        ({"hostname": "h"}, "do not support hostname"),
        ({"linuxParameters": {"tmpfs": [{"containerPath": "/t", "size": 1}]}}, "do not support tmpfs"),
        ({"linuxParameters": {"capabilities": {"add": ["NET_ADMIN"]}}}, "only SYS_PTRACE"),
        ({"ulimits": [{"name": "core", "softLimit": 1, "hardLimit": 1}]}, "do not support ulimit 'core'"),
        ({"resourceRequirements": [{"type": "GPU", "value": "1"}]}, "do not support GPU"),
        ({"logConfiguration": {"logDriver": "json-file"}}, "do not support log driver 'json-file'"),
        ({"logConfiguration": {"logDriver": "awslogs"}}, "execution role ARN to support log driver awslogs"),
        ({"image": "123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1"}, "execution role ARN to support ECR images"),
        ({"secrets": [{"name": "A", "valueFrom": "a"}]}, "executionRoleArn"),
        ({"portMappings": [{"containerPort": 80, "hostPort": 81}]}, "host ports and container ports"),
        ({"portMappings": [{"containerPort": 65536}]}, "Invalid 'containerPort' setting"),
        (
            {"environment": [{"name": "A", "value": "a"}], "secrets": [{"name": "A", "valueFrom": "a"}]},
            "The secret name must be unique and not shared with any new or existing environment variables",
        ),
        ({"healthCheck": {"command": ["curl"]}}, "must begin with CMD"),
        ({"healthCheck": {"command": ["CMD", "x"], "interval": 4}}, "between 5 and 300"),
        ({"healthCheck": {"command": ["CMD", "x"], "timeout": 61}}, "between 2 and 60"),
        ({"healthCheck": {"command": ["CMD", "x"], "retries": 11}}, "between 1 and 10"),
        ({"healthCheck": {"command": ["CMD", "x"], "startPeriod": 301}}, "between 0 and 300"),
        ({"stopTimeout": 121}, "between 2 and 120"),
        ({"startTimeout": 1}, "between 2 and 120"),
        ({"memory": 1024}, "containers need 1024 MiB"),
        ({"memory": 128, "memoryReservation": 256}, "'memory' should be greater than 'memoryReservation'"),
        ({"cpu": 512}, "containers need 512 units"),
        ({"dependsOn": [{"containerName": "x", "condition": "START"}]}, "which does not exist"),
        ({"dependsOn": [{"containerName": "app", "condition": "HEALTHY"}]}, "has no healthCheck"),
        ({"mountPoints": [{"sourceVolume": "none", "containerPath": "/m"}]}, "Unknown volume 'none'."),
        ({"logConfiguration": {"logDriver": "awsfirelens"}}, "one container must have"),
    ],
)
def test_a_container_that_fargate_cannot_run_is_refused(world: World, container: dict[str, Any], message: str) -> None:
    code, said, _ = refusal(world.register, container=container)
    assert code == "ClientException"
    assert message in said


@follows("API reference, ContainerDefinition.name")
def test_containers_need_names_of_their_own(world: World) -> None:
    twice = [{"name": "app", "image": "a"}, {"name": "app", "image": "b"}]
    assert "must be unique" in refusal(world.register, containerDefinitions=twice)[1]


@follows("Developer guide, “Amazon ECS service quotas”")
def test_a_task_takes_ten_containers(world: World) -> None:
    containers = [{"name": f"c{number}", "image": "a"} for number in range(11)]
    assert "Too many containers" in refusal(world.register, containerDefinitions=containers)[1]
    assert world.register(containerDefinitions=containers[:10])


@follows("Developer guide, “Amazon ECS service quotas”")
def test_a_task_definition_takes_sixty_four_kibibytes(world: World) -> None:
    environment = [{"name": "A", "value": "x" * 66_000}]
    assert "64 KiB" in refusal(world.register, container={"environment": environment})[1]


@follows("API reference, ContainerDependency")
def test_dependencies_may_not_form_a_cycle(world: World) -> None:
    first = {"name": "a", "image": "a", "dependsOn": [{"containerName": "b", "condition": "START"}]}
    second = {"name": "b", "image": "b", "dependsOn": [{"containerName": "a", "condition": "START"}]}
    assert "cycle" in refusal(world.register, containerDefinitions=[first, second])[1]


ROUTER = {
    "name": "log_router",
    "image": "fluent-bit",
    "firelensConfiguration": {"type": "fluentbit"},
}
SENDER = {"name": "app", "image": "a", "logConfiguration": {"logDriver": "awsfirelens", "options": {"Name": "s3"}}}


@follows("API reference, FirelensConfiguration")
def test_firelens_takes_one_router_that_does_not_log_through_itself(world: World) -> None:
    assert world.register(containerDefinitions=[ROUTER, SENDER])
    other = ROUTER | {"name": "second"}
    assert "only have one container" in refusal(world.register, containerDefinitions=[ROUTER, other, SENDER])[1]
    itself = ROUTER | {"logConfiguration": {"logDriver": "awsfirelens"}}
    assert "is the log router" in refusal(world.register, containerDefinitions=[itself, SENDER])[1]


@follows("API reference, FirelensConfiguration")
def test_firelens_on_fargate_reads_its_configuration_from_a_file_only(world: World) -> None:
    def router(**options: str) -> list[dict[str, Any]]:
        return [ROUTER | {"firelensConfiguration": {"type": "fluentbit", "options": options}}, SENDER]

    stored = {"config-file-type": "s3", "config-file-value": "arn:aws:s3:::bucket/fluent.conf"}
    assert "only support the 'file'" in refusal(world.register, containerDefinitions=router(**stored))[1]
    reserved = {"config-file-type": "file", "config-file-value": "/fluent-bit/etc/fluent-bit.conf"}
    assert "reserved" in refusal(world.register, containerDefinitions=router(**reserved))[1]
    half = {"config-file-type": "file"}
    assert "must be specified" in refusal(world.register, containerDefinitions=router(**half))[1]
    good = {"config-file-type": "file", "config-file-value": "/models/fluent.conf"}
    assert world.register(containerDefinitions=router(**good))


@follows("API reference, EFSVolumeConfiguration, EFSAuthorizationConfig")
@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"authorizationConfig": {"accessPointId": "fsap-1"}}, "require transit encryption"),
        ({"authorizationConfig": {"iam": "ENABLED"}}, "requires transit encryption"),
        (
            {
                "authorizationConfig": {"accessPointId": "fsap-1"},
                "transitEncryption": "ENABLED",
                "rootDirectory": "/models",
            },
            "can't be used with a root directory",
        ),
        ({"fileSystemId": "models"}, "Invalid EFS file system ID"),
    ],
)
def test_an_efs_volume_that_cannot_be_mounted_is_refused(world: World, volume: dict[str, Any], message: str) -> None:
    efs = {"fileSystemId": "fs-12345678"} | volume
    volumes = [{"name": "models", "efsVolumeConfiguration": efs}]
    assert message in refusal(world.register, volumes=volumes)[1]


@follows("API reference, EFSVolumeConfiguration, EFSAuthorizationConfig")
def test_an_efs_volume_shows_its_root_directory(world: World) -> None:
    volumes = [{"name": "models", "efsVolumeConfiguration": {"fileSystemId": "fs-12345678"}}]
    shown = world.ecs.describe_task_definition(taskDefinition=world.register(volumes=volumes))["taskDefinition"]
    assert shown["volumes"][0]["efsVolumeConfiguration"]["rootDirectory"] == "/"


@follows("API reference, DescribeTaskDefinition")
def test_revisions_count_up_and_a_family_means_its_latest_active_one(world: World) -> None:
    first, second = world.register(), world.register()
    assert (first[-5:], second[-5:]) == ("app:1", "app:2")
    assert world.ecs.describe_task_definition(taskDefinition="app")["taskDefinition"]["revision"] == 2
    gone = world.ecs.deregister_task_definition(taskDefinition=second)["taskDefinition"]
    assert gone["status"] == "INACTIVE"
    assert "deregisteredAt" in gone
    assert world.ecs.describe_task_definition(taskDefinition="app")["taskDefinition"]["revision"] == 1
    assert world.ecs.describe_task_definition(taskDefinition=second)["taskDefinition"]["status"] == "INACTIVE"
    assert world.register().endswith("app:3")


@follows("API reference, DescribeTaskDefinition")
def test_a_missing_task_definition_cannot_be_described(world: World) -> None:
    for name in ("none", "none:1", "arn:aws:ecs:us-east-1:123456789012:task-definition/none:1"):
        assert refusal(world.ecs.describe_task_definition, taskDefinition=name) == (
            "ClientException",
            "Unable to describe task definition.",
            400,
        )


@follows("API reference, DeregisterTaskDefinition")
def test_deregistering_needs_a_revision_that_exists(world: World) -> None:
    world.register()
    assert refusal(world.ecs.deregister_task_definition, taskDefinition="app")[1] == "Revision is missing."
    assert "does not exist" in refusal(world.ecs.deregister_task_definition, taskDefinition="app:9")[1]


@follows("API reference, ListTaskDefinitions")
def test_task_definitions_are_listed_by_whole_family_in_either_order(world: World) -> None:
    arns = [world.register() for _ in range(3)]
    world.register(family="apple")
    assert world.ecs.list_task_definitions(familyPrefix="app")["taskDefinitionArns"] == arns
    assert world.ecs.list_task_definitions(familyPrefix="app", sort="DESC")["taskDefinitionArns"] == arns[::-1]
    world.ecs.deregister_task_definition(taskDefinition=arns[0])
    assert world.ecs.list_task_definitions(familyPrefix="app", status="INACTIVE")["taskDefinitionArns"] == arns[:1]
    first = world.ecs.list_task_definitions(maxResults=2)
    assert len(first["taskDefinitionArns"]) == 2
    assert len(world.ecs.list_task_definitions(nextToken=first["nextToken"])["taskDefinitionArns"]) == 1


@follows("API reference, DeregisterTaskDefinition")
def test_a_deregistered_definition_keeps_its_service_running_and_scaling(world: World) -> None:
    arn = world.register()
    world.create(taskDefinition=arn)
    world.advance(120)
    world.ecs.deregister_task_definition(taskDefinition=arn)
    world.ecs.update_service(cluster="inference", service="web", desiredCount=3)
    world.advance(120)
    assert world.describe()["runningCount"] == 3
    refused = refusal(world.ecs.update_service, cluster="inference", service="web", taskDefinition=arn)
    assert refused[1] == "TaskDefinition is inactive"


@follows("API reference, DeleteTaskDefinitions")
def test_only_deregistered_definitions_are_deleted(world: World) -> None:
    arn = world.register()
    answer = world.ecs.delete_task_definitions(taskDefinitions=[arn, "none:1"])
    assert [each["reason"] for each in answer["failures"]] == ["TASK_DEFINITION_IN_USE", "MISSING"]
    world.ecs.deregister_task_definition(taskDefinition=arn)
    answer = world.ecs.delete_task_definitions(taskDefinitions=[arn])
    assert answer["taskDefinitions"][0]["status"] == "DELETE_IN_PROGRESS"


@follows("API reference, DescribeTaskDefinition")
def test_tags_of_a_task_definition_are_shown_beside_it(world: World) -> None:
    arn = world.register(tags=[{"key": "hash", "value": "1"}])
    assert "tags" not in world.ecs.describe_task_definition(taskDefinition=arn)
    answer = world.ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"])
    assert answer["tags"] == [{"key": "hash", "value": "1"}]


@follows("API reference, Tag")
def test_a_definition_takes_fifty_tags(world: World) -> None:
    tags = [{"key": f"k{number}", "value": ""} for number in range(51)]
    assert refusal(world.register, tags=tags)[0] == "InvalidParameterException"
