"""Modes in which AWS is harder to live with: throttling, IAM, eventual consistency."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import boto3
import pytest
from botocore.config import Config

from inference_sandbox.aws.policies import Access, allowed
from tests.sandbox.aws.fidelity import follows
from tests.sandbox.aws.world import World, refusal

THROTTLING = "API reference, “Request throttling for the Amazon ECS API”"
LOGIC = "IAM user guide, “Policy evaluation logic”"
CONDITIONS = "IAM user guide, “IAM JSON policy elements: Condition operators”"


@follows(THROTTLING)
@pytest.mark.parametrize(
    ("operation", "burst", "rate"),
    [("describe_services", 100, 20), ("describe_clusters", 50, 20), ("list_service_deployments", 50, 20)],
)
def test_a_bucket_empties_and_fills_again_at_its_rate(world: World, operation: str, burst: int, rate: int) -> None:
    world.create()
    world.aws.throttle()
    call = getattr(world.ecs, operation)
    requests: dict[str, dict[str, Any]] = {
        "describe_services": {"cluster": "inference", "services": ["web"]},
        "describe_clusters": {"clusters": ["inference"]},
        "list_service_deployments": {"cluster": "inference", "service": "web"},
    }
    request = requests[operation]
    for _ in range(burst):
        call(**request)
    assert refusal(call, **request) == ("ThrottlingException", "Rate exceeded", 400)
    world.advance(1)
    for _ in range(rate):
        call(**request)
    assert refusal(call, **request)[0] == "ThrottlingException"


@follows(THROTTLING)
def test_registering_and_deregistering_share_one_bucket_of_twenty(world: World) -> None:
    world.aws.throttle()
    arns = [world.register() for _ in range(15)]
    for arn in arns[:5]:
        world.ecs.deregister_task_definition(taskDefinition=arn)
    assert refusal(world.register)[0] == "ThrottlingException"
    world.advance(1)
    world.register()
    assert refusal(world.register)[0] == "ThrottlingException"


@follows(THROTTLING)
def test_groups_of_actions_have_buckets_of_their_own(world: World) -> None:
    world.aws.throttle()
    for _ in range(20):
        world.register()
    world.create(taskDefinition="app")
    world.describe()
    world.aws.throttle(on=False)
    for _ in range(30):
        world.register()


@follows("Developer guide, “Eventual consistency”")
def test_a_service_just_made_may_be_missing_for_a_while(world: World) -> None:
    world.aws.delay_reads(timedelta(seconds=5))
    world.create()
    answer = world.ecs.describe_services(cluster="inference", services=["web"])
    assert [failure["reason"] for failure in answer["failures"]] == ["MISSING"]
    assert world.ecs.list_services(cluster="inference")["serviceArns"] == []
    world.advance(5)
    assert world.describe()["status"] == "ACTIVE"
    assert len(world.ecs.list_services(cluster="inference")["serviceArns"]) == 1


@follows("Developer guide, “Eventual consistency”")
def test_an_update_may_not_be_seen_at_once(world: World) -> None:
    world.create()
    world.advance(120)
    world.aws.delay_reads(timedelta(seconds=5))
    shown = world.ecs.update_service(cluster="inference", service="web", taskDefinition=world.register())["service"]
    assert shown["taskDefinition"].endswith("app:2")
    assert world.describe()["taskDefinition"].endswith("app:1")
    assert len(world.describe()["deployments"]) == 1
    world.advance(5)
    assert world.describe()["taskDefinition"].endswith("app:2")


# -- IAM


class Role:
    """Clients of a role whose policy is given."""

    def __init__(self, world: World, *statements: dict[str, Any]) -> None:
        iam, sts = world.aws.client("iam"), world.aws.client("sts")
        arn = iam.create_role(RoleName="operator", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
        document = {"Version": "2012-10-17", "Statement": list(statements)}
        iam.put_role_policy(RoleName="operator", PolicyName="all", PolicyDocument=json.dumps(document))
        self._credentials = sts.assume_role(RoleArn=arn, RoleSessionName="test")["Credentials"]
        self._url = world.url
        self._world = world
        world.aws.enforce_iam()

    def client(self, service: str) -> Any:
        make: Any = boto3.client
        return make(
            service,
            region_name="us-east-1",
            endpoint_url=self._url,
            config=Config(retries={"total_max_attempts": 1}),
            aws_access_key_id=self._credentials["AccessKeyId"],
            aws_secret_access_key=self._credentials["SecretAccessKey"],
            aws_session_token=self._credentials["SessionToken"],
        )


def allow(*actions: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"} | more


@follows(LOGIC)
def test_what_no_policy_allows_is_denied_and_the_denial_names_it(world: World) -> None:
    role = Role(world, allow("ecs:ListClusters"))
    ecs = role.client("ecs")
    ecs.list_clusters()
    code, message, _ = refusal(ecs.describe_clusters, clusters=["inference"])
    assert code == "AccessDeniedException"
    assert "arn:aws:sts::123456789012:assumed-role/operator/test" in message
    assert "ecs:DescribeClusters" in message
    assert "cluster/inference" in message
    role.client("sts").get_caller_identity()


@follows(LOGIC)
def test_an_explicit_deny_wins(world: World) -> None:
    role = Role(world, allow("ecs:*"), {"Effect": "Deny", "Action": "ecs:DeleteCluster", "Resource": "*"})
    ecs = role.client("ecs")
    ecs.list_clusters()
    code, message, _ = refusal(ecs.delete_cluster, cluster="inference")
    assert code == "AccessDeniedException"
    assert message.endswith("with an explicit deny in an identity-based policy")


@follows("Service authorization reference, “Actions, resources, and condition keys for Amazon ECS”")
def test_services_are_allowed_by_their_name(world: World) -> None:
    arn = "arn:aws:ecs:*:*:service/inference/shop-*"
    ecs = Role(world, allow("ecs:CreateService", "ecs:DescribeServices", Resource=[arn])).client("ecs")
    request = world.service_request(serviceName="shop-web")
    ecs.create_service(**request)
    assert refusal(ecs.create_service, **request | {"serviceName": "other"})[0] == "AccessDeniedException"
    ecs.describe_services(cluster="inference", services=["shop-web"])
    mixed = {"cluster": "inference", "services": ["shop-web", "other"]}
    assert refusal(ecs.describe_services, **mixed)[0] == "AccessDeniedException"


@follows("Developer guide, “Grant permission to tag Amazon ECS resources on creation”")
def test_making_something_with_tags_needs_leave_to_tag_it(world: World) -> None:
    request = world.service_request(tags=[{"key": "team", "value": "shop"}])
    ecs = Role(world, allow("ecs:CreateService")).client("ecs")
    assert "ecs:TagResource" in refusal(ecs.create_service, **request)[1]


@follows("Developer guides of ECS, EFS, ELB and EC2, “Grant permission to tag resources on creation”: CreateAction")
def test_leave_to_tag_may_be_given_for_the_making_of_things_alone(world: World) -> None:
    system, targets = world.file_system(), world.target_group()
    group = world.aws.client("ec2").create_security_group(GroupName="g", Description="g")["GroupId"]
    role = Role(
        world,
        allow("ecs:CreateCluster", "elasticfilesystem:CreateAccessPoint", "ec2:AuthorizeSecurityGroupIngress"),
        allow("elasticloadbalancing:CreateTargetGroup"),
        allow("ecs:TagResource", Condition={"StringEquals": {"ecs:CreateAction": "CreateCluster"}}),
        allow("elasticfilesystem:TagResource", Condition={"Null": {"elasticfilesystem:CreateAction": "false"}}),
        allow("elasticloadbalancing:AddTags", Condition={"Null": {"elasticloadbalancing:CreateAction": "false"}}),
        allow("ec2:CreateTags", Condition={"StringEquals": {"ec2:CreateAction": "AuthorizeSecurityGroupIngress"}}),
    )
    tag = {"Key": "team", "Value": "shop"}
    ecs, efs, elb, ec2 = (role.client(service) for service in ("ecs", "efs", "elbv2", "ec2"))
    small = [{"key": "team", "value": "shop"}]
    cluster = ecs.create_cluster(clusterName="other", tags=small)["cluster"]["clusterArn"]
    point = efs.create_access_point(ClientToken="t", FileSystemId=system, Tags=[tag])["AccessPointId"]
    elb.create_target_group(Name="t", TargetType="lambda", Tags=[tag])
    ec2.authorize_security_group_ingress(
        GroupId=group,
        IpPermissions=[{"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}],
        TagSpecifications=[{"ResourceType": "security-group-rule", "Tags": [tag]}],
    )
    assert "ecs:TagResource" in refusal(ecs.tag_resource, resourceArn=cluster, tags=small)[1]
    assert "elasticfilesystem:TagResource" in refusal(efs.tag_resource, ResourceId=point, Tags=[tag])[1]
    assert "elasticloadbalancing:AddTags" in refusal(elb.add_tags, ResourceArns=[targets], Tags=[tag])[1]
    assert "ec2:CreateTags" in refusal(ec2.create_tags, Resources=[group], Tags=[tag])[1]


@follows("IAM user guide, “Grant a user permissions to pass a role to an AWS service”")
def test_handing_a_role_to_a_task_needs_leave_to_pass_it(world: World) -> None:
    roles = {"executionRoleArn": "arn:aws:iam::123456789012:role/inference-execution"}
    passing = {
        "Effect": "Allow",
        "Action": "iam:PassRole",
        "Resource": "arn:aws:iam::123456789012:role/inference-*",
        "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
    }
    ecs = Role(world, allow("ecs:RegisterTaskDefinition"), passing).client("ecs")
    request = {
        "family": "app",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "cpu": "256",
        "memory": "512",
        "containerDefinitions": [{"name": "app", "image": "a"}],
    }
    ecs.register_task_definition(**request, **roles)
    other = {"taskRoleArn": "arn:aws:iam::123456789012:role/admin"}
    refused = refusal(ecs.register_task_definition, **request, **roles, **other)
    assert refused[0] == "AccessDeniedException"
    assert "iam:PassRole on resource: arn:aws:iam::123456789012:role/admin" in refused[1]


@follows(
    "Service authorization reference, “Condition keys for Amazon ECS”: aws:ResourceTag, aws:RequestTag, ecs:cluster"
)
def test_tags_and_the_cluster_are_conditions(world: World) -> None:
    world.create(tags=[{"key": "owner", "value": "us"}])
    world.create(serviceName="theirs", taskDefinition="app")
    ours = {"StringEquals": {"aws:ResourceTag/owner": "us"}}
    here = {"ArnEquals": {"ecs:cluster": "arn:aws:ecs:us-east-1:123456789012:cluster/inference"}}
    ecs = Role(world, allow("ecs:UpdateService", Condition=ours), allow("ecs:ListTasks", Condition=here)).client("ecs")
    ecs.update_service(cluster="inference", service="web", desiredCount=2)
    refused = refusal(ecs.update_service, cluster="inference", service="theirs", desiredCount=2)
    assert refused[0] == "AccessDeniedException"
    ecs.list_tasks(cluster="inference")
    assert refusal(ecs.list_tasks, cluster="other")[0] == "AccessDeniedException"


@follows("Service authorization reference, “Actions, resources, and condition keys for Amazon Elastic File System”")
def test_access_points_are_allowed_by_file_system_and_tag(world: World) -> None:
    system = world.file_system()
    on = f"arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/{system}"
    tagged = {"StringEquals": {"aws:RequestTag/owner": "us"}}
    efs = Role(
        world,
        allow("elasticfilesystem:CreateAccessPoint", Resource=on, Condition=tagged),
        allow("elasticfilesystem:TagResource"),
    ).client("efs")
    request = {"ClientToken": "t", "FileSystemId": system}
    assert refusal(efs.create_access_point, **request)[::2] == ("AccessDeniedException", 403)
    efs.create_access_point(**request, Tags=[{"Key": "owner", "Value": "us"}])


@follows(LOGIC)
def test_the_root_user_may_do_everything(world: World) -> None:
    world.aws.enforce_iam()
    assert world.create()["status"] == "ACTIVE"


def verdict(condition: dict[str, Any], **context: str | list[str]) -> bool:
    values = {
        key.replace("__", ":").lower(): each if isinstance(each, list) else [each] for key, each in context.items()
    }
    access = Access(action="ecs:CreateService", resource="*", context=values)
    return allowed([{"Statement": [allow("ecs:*", Condition=condition)]}], access)


@follows(CONDITIONS)
def test_condition_operators_compare_as_documented() -> None:
    assert verdict({"StringLike": {"aws:x": "inference-*"}}, aws__x="inference-web")
    assert not verdict({"StringEquals": {"aws:x": ["a", "b"]}}, aws__x="c")
    assert verdict({"StringNotEquals": {"aws:x": "a"}}, aws__x="b")
    assert verdict({"StringNotEquals": {"aws:x": "a"}})
    assert not verdict({"StringEquals": {"aws:x": "a"}})
    assert verdict({"StringEqualsIfExists": {"aws:x": "a"}})
    assert verdict({"Null": {"aws:x": "true"}})
    assert not verdict({"Null": {"aws:x": "false"}})
    assert verdict({"Bool": {"aws:x": True}}, aws__x="true")
    assert verdict({"NumericLessThan": {"aws:x": "5"}}, aws__x="3")
    assert verdict({"ArnLike": {"aws:x": "arn:aws:ecs:*:cluster/a"}}, aws__x="arn:aws:ecs:r:1:cluster/a")


@follows(CONDITIONS)
def test_conditions_on_several_values_ask_for_all_or_for_any() -> None:
    keys: dict[str, Any] = {"aws:tagkeys": ["owner", "uid"]}
    assert verdict({"ForAllValues:StringEquals": keys}, aws__tagkeys=["owner"])
    assert verdict({"ForAllValues:StringEquals": keys})
    assert not verdict({"ForAllValues:StringEquals": keys}, aws__tagkeys=["owner", "other"])
    assert verdict({"ForAnyValue:StringEquals": keys}, aws__tagkeys=["owner", "other"])
    assert not verdict({"ForAnyValue:StringEquals": keys}, aws__tagkeys=["other"])
    with pytest.raises(ValueError, match="IpAddress is not known"):
        verdict({"IpAddress": {"aws:x": "10.0.0.0/8"}}, aws__x="10.1.1.1")
