"""Prepares an empty account as a platform team would hand it over: network, ECS cluster, EFS, load balancer, roles.

Done over the public API, in two steps, of which the first is the same for every sandbox. What runs behind the API is
not known here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_sandbox.details import Account

CLUSTER = "inference"
EXECUTION_ROLE = "inference-execution"
TASK_ROLE = "inference-task"

Client = Callable[[str], Any]
"""Gives a boto3 client of a service, by its name there."""

_SERVER_PORT = 8080
_NFS_PORT = 2049

_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"},
    ],
}
_EXECUTION_ACTIONS = (
    # What the AWS managed policy AmazonECSTaskExecutionRolePolicy allows.
    "ecr:GetAuthorizationToken",
    "ecr:BatchCheckLayerAvailability",
    "ecr:GetDownloadUrlForLayer",
    "ecr:BatchGetImage",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    # Secrets in a container definition are fetched with this role.
    "secretsmanager:GetSecretValue",
    "ssm:GetParameters",
)
_TASK_ACTIONS = (
    "elasticfilesystem:ClientMount",
    # What a log router delivers to.
    "firehose:PutRecordBatch",
    "logs:CreateLogStream",
    "logs:PutLogEvents",
    "s3:PutObject",
    # ECS Exec.
    "ssmmessages:CreateControlChannel",
    "ssmmessages:CreateDataChannel",
    "ssmmessages:OpenControlChannel",
    "ssmmessages:OpenDataChannel",
)


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What does not depend on where the load balancer listens."""

    account_id: str
    vpc_id: str
    subnets: list[str]
    security_groups: Mapping[str, str]
    """By whose they are: `load-balancer`, `tasks` or `file-system`."""
    file_system_id: str
    execution_role_arn: str
    task_role_arn: str


def lay_ground(client: Client) -> Ground:
    vpc, subnets, account = _network(client("ec2"))
    groups = _security_groups(client("ec2"), vpc)
    return Ground(
        account_id=account,
        vpc_id=vpc,
        subnets=subnets,
        security_groups=groups,
        file_system_id=_file_system(client("efs"), subnets=subnets, group=groups["file-system"]),
        execution_role_arn=_role(client("iam"), EXECUTION_ROLE, _EXECUTION_ACTIONS),
        task_role_arn=_role(client("iam"), TASK_ROLE, _TASK_ACTIONS),
    )


def build_on(ground: Ground, client: Client, *, listener_port: int) -> Account:
    """`listener_port`: where the application load balancer listens for HTTP."""
    group = ground.security_groups["load-balancer"]
    _let_in(client("ec2"), group, port=listener_port, source={"IpRanges": [{"CidrIp": "0.0.0.0/0"}]})
    load_balancer, listener = _load_balancer(client("elbv2"), subnets=ground.subnets, group=group, port=listener_port)
    return Account(
        account_id=ground.account_id,
        cluster=_cluster(client("ecs")),
        vpc_id=ground.vpc_id,
        subnets=ground.subnets,
        security_groups=[ground.security_groups["tasks"]],
        file_system_id=ground.file_system_id,
        load_balancer_arn=load_balancer,
        listener_arn=listener,
        execution_role_arn=ground.execution_role_arn,
        task_role_arn=ground.task_role_arn,
    )


def _network(ec2: Any) -> tuple[str, list[str], str]:
    """The VPC, its subnets, and the account that owns them."""
    made = ec2.create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=_name("vpc", "inference"))["Vpc"]
    vpc: str = made["VpcId"]
    for attribute in ("EnableDnsSupport", "EnableDnsHostnames"):  # Mount targets are found by name.
        ec2.modify_vpc_attribute(VpcId=vpc, **{attribute: {"Value": True}})
    zones = [zone["ZoneName"] for zone in ec2.describe_availability_zones()["AvailabilityZones"]][:2]
    subnets = [
        ec2.create_subnet(
            VpcId=vpc,
            CidrBlock=f"10.0.{number}.0/24",
            AvailabilityZone=zone,
            TagSpecifications=_name("subnet", f"inference-{zone}"),
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate(zones)
    ]
    return vpc, subnets, made["OwnerId"]


def _name(kind: str, name: str) -> list[dict[str, Any]]:
    return [{"ResourceType": kind, "Tags": [{"Key": "Name", "Value": name}]}]


def _security_groups(ec2: Any, vpc: str) -> Mapping[str, str]:
    groups = {
        name: ec2.create_security_group(GroupName=f"inference-{name}", Description=description, VpcId=vpc)["GroupId"]
        for name, description in (
            ("load-balancer", "The load balancer of inference services"),
            ("tasks", "Tasks of inference services"),
            ("file-system", "Mount targets of the model file system"),
        )
    }
    for group, port, source in (
        ("tasks", _SERVER_PORT, "load-balancer"),
        ("file-system", _NFS_PORT, "tasks"),
    ):
        _let_in(ec2, groups[group], port=port, source={"UserIdGroupPairs": [{"GroupId": groups[source]}]})
    return groups


def _let_in(ec2: Any, group: str, *, port: int, source: Mapping[str, Any]) -> None:
    ec2.authorize_security_group_ingress(
        GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}]
    )


def _cluster(ecs: Any) -> str:
    ecs.create_cluster(clusterName=CLUSTER, capacityProviders=["FARGATE", "FARGATE_SPOT"])
    return CLUSTER


def _file_system(efs: Any, *, subnets: Sequence[str], group: str) -> str:
    identifier: str = efs.create_file_system(
        CreationToken="inference-models", Encrypted=True, Tags=[{"Key": "Name", "Value": "inference-models"}]
    )["FileSystemId"]
    for subnet in subnets:
        efs.create_mount_target(FileSystemId=identifier, SubnetId=subnet, SecurityGroups=[group])
    return identifier


def _load_balancer(elb: Any, *, subnets: Sequence[str], group: str, port: int) -> tuple[str, str]:
    load_balancer: str = elb.create_load_balancer(
        Name="inference", Type="application", Scheme="internet-facing", Subnets=subnets, SecurityGroups=[group]
    )["LoadBalancers"][0]["LoadBalancerArn"]
    nothing_here = {
        "StatusCode": "404",
        "ContentType": "text/plain",
        "MessageBody": "no inference service has this path\n",
    }
    listener: str = elb.create_listener(
        LoadBalancerArn=load_balancer,
        Protocol="HTTP",
        Port=port,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": nothing_here}],
    )["Listeners"][0]["ListenerArn"]
    return load_balancer, listener


def _role(iam: Any, name: str, actions: Sequence[str]) -> str:
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]["Arn"]
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": list(actions), "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName=name, PolicyDocument=json.dumps(policy))
    return arn
