"""What a task needs to start, and the words of its failure without it ("Stopped tasks error messages"; "Pass sensitive
data to a container"; CloudWatch Logs and Application Auto Scaling API references)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.aws.fidelity import follows
from tests.sandbox.aws.world import World, refusal

ROLE = "arn:aws:iam::123456789012:role/execution"


def start(world: World, container: dict[str, Any]) -> None:
    world.create(taskDefinition=world.register(container=container, executionRoleArn=ROLE))
    world.advance(60)


def environment(world: World) -> dict[str, str]:
    return dict(world.runner.starts[0].containers[0].environment)


def reason(world: World) -> str:
    return str(world.tasks("STOPPED")[0]["stoppedReason"])


@follows("Developer guide, “Amazon ECS environment variables for Fargate tasks”")
def test_environment_and_fargates_own_variables_reach_the_container(world: World) -> None:
    start(world, {"environment": [{"name": "LEVEL", "value": "INFO"}]})
    assert environment(world) == {
        "LEVEL": "INFO",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
    }


@follows("Developer guide, “Pass sensitive data to an Amazon ECS container”")
@pytest.mark.parametrize("by_arn", [True, False])
def test_a_parameter_is_injected_by_name_or_arn(world: World, by_arn: bool) -> None:
    world.aws.client("ssm").put_parameter(Name="/app/token", Value="s3cret", Type="SecureString")
    source = "arn:aws:ssm:us-east-1:123456789012:parameter/app/token" if by_arn else "/app/token"
    start(world, {"secrets": [{"name": "TOKEN", "valueFrom": source}]})
    assert environment(world)["TOKEN"] == "s3cret"


@follows("Developer guide, “Stopped tasks error messages”: ResourceInitializationError")
def test_a_missing_parameter_stops_the_task(world: World) -> None:
    start(world, {"secrets": [{"name": "TOKEN", "valueFrom": "/app/none"}]})
    assert reason(world).startswith("ResourceInitializationError: unable to pull secrets or registry auth")
    assert "/app/none" in reason(world)
    assert world.tasks("STOPPED")[0]["stopCode"] == "TaskFailedToStart"


@follows("Developer guide, “Pass sensitive data to an Amazon ECS container”")
def test_a_secret_is_injected_whole_or_by_json_key(world: World) -> None:
    value = json.dumps({"password": "pw"})
    arn = world.aws.client("secretsmanager").create_secret(Name="db", SecretString=value)["ARN"]
    start(world, {"secrets": [{"name": "ALL", "valueFrom": arn}, {"name": "PW", "valueFrom": f"{arn}:password::"}]})
    assert environment(world)["ALL"] == value
    assert environment(world)["PW"] == "pw"


@follows("Developer guide, “Stopped tasks error messages”: ResourceInitializationError")
def test_a_missing_secret_or_json_key_stops_the_task_with_its_name(world: World) -> None:
    arn = world.aws.client("secretsmanager").create_secret(Name="db", SecretString="{}")["ARN"]
    start(world, {"secrets": [{"name": "PW", "valueFrom": f"{arn}:password::"}]})
    assert "did not contain json key password" in reason(world)
    missing = "arn:aws:secretsmanager:us-east-1:123456789012:secret:none-AbCdEf"
    definition = world.register(container={"secrets": [{"name": "A", "valueFrom": missing}]}, executionRoleArn=ROLE)
    world.create(serviceName="other", taskDefinition=definition)
    world.advance(60)
    arns = world.ecs.list_tasks(cluster="inference", serviceName="other", desiredStatus="STOPPED")["taskArns"]
    stopped = world.ecs.describe_tasks(cluster="inference", tasks=arns)["tasks"][0]
    assert "ResourceNotFoundException" in stopped["stoppedReason"]


def awslogs(**options: str) -> dict[str, Any]:
    return {
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {"awslogs-group": "/app", "awslogs-region": "us-east-1", "awslogs-stream-prefix": "ecs"}
            | options,
        }
    }


@follows("Developer guide, “Stopped tasks error messages”: ResourceInitializationError")
def test_awslogs_needs_its_group(world: World) -> None:
    start(world, awslogs())
    assert reason(world).startswith("ResourceInitializationError: failed to validate logger args")
    assert "The specified log group does not exist" in reason(world)


@follows("Developer guide, “Send Amazon ECS logs to CloudWatch”")
def test_awslogs_makes_its_stream_and_on_request_its_group(world: World) -> None:
    start(world, awslogs(**{"awslogs-create-group": "true"}))
    streams = world.logs.describe_log_streams(logGroupName="/app")["logStreams"]
    identifier = world.tasks()[0]["taskArn"].rsplit("/")[-1]
    assert [stream["logStreamName"] for stream in streams] == [f"ecs/app/{identifier}"]


@follows("CloudWatch Logs API reference, PutRetentionPolicy")
@pytest.mark.parametrize("days", [2, 15, 100, 3654])
def test_only_the_documented_retentions_are_accepted(world: World, days: int) -> None:
    world.logs.create_log_group(logGroupName="/app")
    refused = refusal(world.logs.put_retention_policy, logGroupName="/app", retentionInDays=days)
    assert refused[::2] == ("InvalidParameterException", 400)
    world.logs.put_retention_policy(logGroupName="/app", retentionInDays=90)
    assert world.logs.describe_log_groups()["logGroups"][0]["retentionInDays"] == 90


def retention(world: World) -> tuple[int | None, str | None]:
    [group] = world.logs.describe_log_groups(logGroupNamePrefix="/app")["logGroups"]
    return group.get("retentionInDays"), group.get("retentionPolicyName")


def put_retention(world: World, name: str, days: int | str, mode: str = "RETROACTIVE") -> None:
    document = json.dumps({"retentionInDays": days, "enforcementMode": mode})
    world.logs.put_account_policy(policyName=name, policyType="RETENTION_POLICY", policyDocument=document)


@follows("CloudWatch Logs API reference, PutAccountPolicy: Retention policy")
def test_retention_that_an_account_sets_is_shown_in_place_of_a_log_group_s_own_after_a_day(world: World) -> None:
    world.logs.create_log_group(logGroupName="/app")
    world.logs.put_retention_policy(logGroupName="/app", retentionInDays=7)
    put_retention(world, "baseline", 30)
    put_retention(world, "new groups", "NEVER_EXPIRE", mode="NEW_ONLY")
    assert retention(world) == (7, None)
    world.advance(24 * 3600)
    assert retention(world) == (30, "baseline")
    world.logs.put_retention_policy(logGroupName="/app", retentionInDays=14)
    assert retention(world) == (30, "baseline")
    world.logs.create_log_group(logGroupName="/app/later")
    later = world.logs.describe_log_groups(logGroupNamePrefix="/app/later")["logGroups"][0]
    assert (later["retentionPolicyName"], "retentionInDays" in later) == ("new groups", False)
    world.logs.delete_log_group(logGroupName="/app/later")
    world.logs.delete_account_policy(policyName="baseline", policyType="RETENTION_POLICY")
    assert retention(world) == (14, None)
    refused = refusal(lambda: put_retention(world, "short", 7))
    assert refused[::2] == ("InvalidParameterException", 400)


@follows("CloudWatch Logs user guide, “Protecting log groups from deletion”")
def test_a_log_group_that_is_protected_can_not_be_deleted(world: World) -> None:
    world.logs.create_log_group(logGroupName="/app", deletionProtectionEnabled=True)
    [group] = world.logs.describe_log_groups()["logGroups"]
    assert group["deletionProtectionEnabled"]
    assert refusal(world.logs.delete_log_group, logGroupName="/app")[::2] == ("ValidationException", 400)
    for identifier, on in ((group["logGroupArn"], False), ("/app", True), ("/app", False)):
        world.logs.put_log_group_deletion_protection(logGroupIdentifier=identifier, deletionProtectionEnabled=on)
    world.logs.delete_log_group(logGroupName="/app")


@follows("CloudWatch Logs API reference, TagResource, UntagResource, ListTagsForResource: Errors")
def test_tags_are_those_of_a_log_group_that_is_there(world: World) -> None:
    world.logs.create_log_group(logGroupName="/app", tags={"team": "a"})
    [group] = world.logs.describe_log_groups(logGroupNamePrefix="/app")["logGroups"]
    arn = group["logGroupArn"]
    assert world.logs.list_tags_for_resource(resourceArn=arn)["tags"] == {"team": "a"}
    many = {f"k{number}": "" for number in range(50)}
    assert refusal(world.logs.tag_resource, resourceArn=arn, tags=many)[::2] == ("TooManyTagsException", 400)
    gone = arn + "-of-old"
    for call, members in (
        (world.logs.list_tags_for_resource, {}),
        (world.logs.tag_resource, {"tags": {"team": "b"}}),
        (world.logs.untag_resource, {"tagKeys": ["team"]}),
    ):
        assert refusal(call, resourceArn=gone, **members)[::2] == ("ResourceNotFoundException", 400)


@follows("Application Auto Scaling API reference, RegisterScalableTarget, DeregisterScalableTarget")
def test_a_scalable_target_needs_a_service_that_exists(world: World) -> None:
    scaling = world.aws.client("application-autoscaling")
    target = {
        "ServiceNamespace": "ecs",
        "ResourceId": "service/inference/web",
        "ScalableDimension": "ecs:service:DesiredCount",
    }
    refused = refusal(scaling.register_scalable_target, **target, MinCapacity=1, MaxCapacity=3)
    assert refused[0] == "ValidationException"
    assert refusal(scaling.deregister_scalable_target, **target)[0] == "ObjectNotFoundException"
    world.create()
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=3)
    assert len(scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]) == 1
    scaling.deregister_scalable_target(**target)
