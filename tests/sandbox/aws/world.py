"""The sandbox's AWS in this process, on a virtual clock, with a network, a load balancer and a file system made."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from inference_sandbox.aws import Aws
from inference_sandbox.aws.server import Server
from inference_sandbox.ecs.clock import VirtualClock
from inference_sandbox.load_balancer.scripted import ScriptedLoadBalancer
from inference_sandbox.tasks.scripted import ScriptedRunner


class World:
    def __init__(self, folder: Path) -> None:
        self.clock = VirtualClock()
        self.runner = ScriptedRunner(self.clock)
        self.balancer = ScriptedLoadBalancer(self.clock)
        self.efs_root = folder / "efs"
        self.aws = Aws(clock=self.clock, runner=self.runner, load_balancer=self.balancer, efs_root=self.efs_root)
        self._server: Server | None = None
        self.ecs = self.aws.client("ecs")
        self.elb = self.aws.client("elbv2")
        self.efs = self.aws.client("efs")
        self.logs = self.aws.client("logs")
        ec2 = self.aws.client("ec2")
        subnets = ec2.describe_subnets()["Subnets"]
        self.vpc: str = subnets[0]["VpcId"]
        self.subnets = [subnet["SubnetId"] for subnet in subnets[:2]]
        self.security_group: str = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
        self.ecs.create_cluster(clusterName="inference", capacityProviders=["FARGATE", "FARGATE_SPOT"])

    @cached_property
    def url(self) -> str:
        """Where it is served over HTTP until the world ends."""
        self._server = Server(self.aws)
        return self._server.url

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def advance(self, seconds: float) -> None:
        self.aws.advance(timedelta(seconds=seconds))

    def register(self, *, family: str = "app", **members: Any) -> str:
        container = {"name": "app", "image": "app:1", "portMappings": [{"containerPort": 8080}]}
        given = {
            "family": family,
            "networkMode": "awsvpc",
            "requiresCompatibilities": ["FARGATE"],
            "cpu": "256",
            "memory": "512",
            "containerDefinitions": [container | members.pop("container", {})],
        } | members
        request = {name: value for name, value in given.items() if value is not None}
        return str(self.ecs.register_task_definition(**request)["taskDefinition"]["taskDefinitionArn"])

    def service_request(self, **members: Any) -> dict[str, Any]:
        if "taskDefinition" not in members:
            members["taskDefinition"] = self.register()
        return {
            "cluster": "inference",
            "serviceName": "web",
            "desiredCount": 1,
            "launchType": "FARGATE",
            "networkConfiguration": {
                "awsvpcConfiguration": {"subnets": self.subnets, "securityGroups": [self.security_group]}
            },
        } | members

    def create(self, **members: Any) -> dict[str, Any]:
        return dict(self.ecs.create_service(**self.service_request(**members))["service"])

    def describe(self, name: str = "web") -> dict[str, Any]:
        return dict(self.ecs.describe_services(cluster="inference", services=[name])["services"][0])

    def tasks(self, status: str = "RUNNING") -> list[dict[str, Any]]:
        arns = self.ecs.list_tasks(cluster="inference", serviceName="web", desiredStatus=status)["taskArns"]
        return list(self.ecs.describe_tasks(cluster="inference", tasks=arns)["tasks"]) if arns else []

    def target_group(self, name: str = "app", **members: Any) -> str:
        given = {"Name": name, "Protocol": "HTTP", "Port": 8080, "VpcId": self.vpc, "TargetType": "ip"} | members
        return str(self.elb.create_target_group(**given)["TargetGroups"][0]["TargetGroupArn"])

    def listener(self) -> str:
        balancer = self.elb.create_load_balancer(Name="shared", Subnets=self.subnets)["LoadBalancers"][0]
        answer = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
        made = self.elb.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"], Protocol="HTTP", Port=80, DefaultActions=[answer]
        )
        return str(made["Listeners"][0]["ListenerArn"])

    def rule(self, listener: str, group: str, priority: int = 1, **members: Any) -> str:
        given = {
            "Conditions": [{"Field": "path-pattern", "Values": ["/app/*"]}],
            "Actions": [{"Type": "forward", "TargetGroupArn": group}],
        } | members
        made = self.elb.create_rule(ListenerArn=listener, Priority=priority, **given)
        return str(made["Rules"][0]["RuleArn"])

    def file_system(self) -> str:
        made: str = self.efs.create_file_system(CreationToken="models")["FileSystemId"]
        for subnet in self.subnets:
            self.efs.create_mount_target(FileSystemId=made, SubnetId=subnet)
        return made


def refusal(call: Callable[..., Any], **request: Any) -> tuple[str, str, int]:
    """Code, message and HTTP status of the error with which AWS refuses."""
    try:
        call(**request)
    except ClientError as error:
        answer: Any = error.response
        return answer["Error"]["Code"], answer["Error"]["Message"], answer["ResponseMetadata"]["HTTPStatusCode"]
    raise AssertionError("AWS accepted it")
