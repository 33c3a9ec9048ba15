"""An AWS where nothing exists yet and every create succeeds: it keeps the calls and sends none. For plans and tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from inference_operator.aws.errors import AwsError, NotFound
from inference_operator.aws.ports import Answer, Aws
from inference_operator.aws.reading import BatchedServices, SharedListings

ACCOUNT = "123456789012"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
READS = ("describe_", "list_", "get_")


@dataclass
class Offline:
    """Stands in for the clients of all services: `calls` holds `(operation, members)` of what would have been
    written."""

    region: str
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def aws(self) -> Aws:
        ecs, efs, elb, scaling, discovery = (
            _Client(service, self) for service in ("ecs", "efs", "elbv2", "application-autoscaling", "servicediscovery")
        )
        return Aws(
            region=self.region,
            ecs=ecs,
            efs=efs,
            elb=elb,
            logs=_Client("logs", self),
            sqs=_Client("sqs", self),
            events=_Client("events", self),
            scaling=scaling,
            discovery=discovery,
            ec2=_Client("ec2", self),
            iam=_Client("iam", self),
            ecr=_Client("ecr", self),
            secrets=_Client("secretsmanager", self),
            ssm=_Client("ssm", self),
            sns=_Client("sns", self),
            services=BatchedServices(ecs, lambda: EPOCH),
            listings=SharedListings(efs, elb, scaling, discovery, lambda: EPOCH),
        )

    def arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{rest}"


class _Client:
    def __init__(self, service: str, world: Offline) -> None:
        self._service = service
        self._world = world

    def __getattr__(self, method: str) -> Any:
        def call(**members: Any) -> Answer:
            if not method.startswith(READS):
                self._world.calls.append((f"{self._service}.{method}", members))
            answer = getattr(self, f"_{method}", None) if method in _ANSWERED else None
            return answer(members) if answer is not None else {}

        return call

    def _describe_services(self, _members: Mapping[str, Any]) -> Answer:
        return {"services": []}

    def _describe_task_definition(self, _members: Mapping[str, Any]) -> Answer:
        raise AwsError(
            code="ClientException",
            message="Unable to describe task definition.",
            operation="ecs:DescribeTaskDefinition",
        )

    def _describe_access_points(self, _members: Mapping[str, Any]) -> Answer:
        return {"AccessPoints": []}

    def _describe_rules(self, _members: Mapping[str, Any]) -> Answer:
        return {"Rules": []}

    def _describe_scalable_targets(self, _members: Mapping[str, Any]) -> Answer:
        return {"ScalableTargets": []}

    def _register_scalable_target(self, _members: Mapping[str, Any]) -> Answer:
        return {"ScalableTargetARN": self._world.arn("application-autoscaling", "scalable-target/made-by-this-plan")}

    def _describe_log_groups(self, _members: Mapping[str, Any]) -> Answer:
        return {"logGroups": []}

    def _describe_load_balancers(self, _members: Mapping[str, Any]) -> Answer:
        return {"LoadBalancers": [{"VpcId": "vpc-of-the-listener"}]}

    def _describe_target_groups(self, members: Mapping[str, Any]) -> Answer:
        raise NotFound(
            code="TargetGroupNotFound",
            message=str(members["Names"]),
            operation="elasticloadbalancing:DescribeTargetGroups",
        )

    def _list_services(self, _members: Mapping[str, Any]) -> Answer:
        return {"Services": []}

    def _get_namespace(self, members: Mapping[str, Any]) -> Answer:
        return {"Namespace": {**members, "Name": "the-namespace"}}

    def _create_access_point(self, members: Mapping[str, Any]) -> Answer:
        return {**members, "AccessPointId": "fsap-made-by-this-plan", "LifeCycleState": "available"}

    def _create_target_group(self, members: Mapping[str, Any]) -> Answer:
        arn = self._world.arn("elasticloadbalancing", f"targetgroup/{members['Name']}/made-by-this-plan")
        return {"TargetGroups": [{**members, "TargetGroupArn": arn}]}

    def _create_rule(self, members: Mapping[str, Any]) -> Answer:
        arn = members["ListenerArn"].replace(":listener/", ":listener-rule/") + "/made-by-this-plan"
        return {"Rules": [{**members, "RuleArn": arn, "Priority": str(members["Priority"])}]}

    def _register_task_definition(self, members: Mapping[str, Any]) -> Answer:
        arn = self._world.arn("ecs", f"task-definition/{members['family']}:1")
        return {"taskDefinition": {**members, "taskDefinitionArn": arn}}

    def _create_service(self, members: Mapping[str, Any]) -> Answer:
        deployment = {
            "id": "ecs-svc/made-by-this-plan",
            "status": "PRIMARY",
            "taskDefinition": members["taskDefinition"],
            "desiredCount": members["desiredCount"],
            "runningCount": 0,
            "pendingCount": 0,
            "rolloutState": "IN_PROGRESS",
            "createdAt": EPOCH,
        }
        return {
            "service": {
                **members,
                "serviceArn": self._world.arn("ecs", f"service/{members['cluster']}/{members['serviceName']}"),
                "clusterArn": self._world.arn("ecs", f"cluster/{members['cluster']}"),
                "status": "ACTIVE",
                "runningCount": 0,
                "pendingCount": 0,
                "deployments": [deployment],
                "events": [],
            }
        }


_ANSWERED: Sequence[str] = [name[1:] for name in vars(_Client) if name.startswith("_") and not name.startswith("__")]
