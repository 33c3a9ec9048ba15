"""An AWS where nothing exists yet and every create succeeds: it keeps the calls and sends none. For plans and tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from inference_operator.aws.errors import AwsError
from inference_operator.aws.ports import Answer, Aws
from inference_operator.aws.reading import BatchedServices, SharedListings

ACCOUNT = "123456789012"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
READS = ("describe_", "list_", "get_", "batch_get_", "filter_", "head_", "simulate_")
SERVICES = {
    "ecs": "ecs",
    "efs": "efs",
    "elb": "elbv2",
    "logs": "logs",
    "sqs": "sqs",
    "events": "events",
    "scaling": "application-autoscaling",
    "discovery": "servicediscovery",
    "ec2": "ec2",
    "iam": "iam",
    "s3": "s3",
    "firehose": "firehose",
    "ecr": "ecr",
    "secrets": "secretsmanager",
    "ssm": "ssm",
    "sns": "sns",
}
"""By field of `Aws`, boto3's name."""


@dataclass
class Offline:
    """Stands in for the clients of all services: `calls` holds `(operation, members)` of what would have been
    written."""

    region: str
    calls: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def aws(self) -> Aws:
        clients: dict[str, Any] = {field: self.client(field, service) for field, service in SERVICES.items()}
        reads = (clients["efs"], clients["elb"], clients["scaling"], clients["discovery"])
        return Aws(
            region=self.region,
            **clients,
            services=BatchedServices(clients["ecs"], self.now),
            listings=SharedListings(*reads, self.now),
        )

    def client(self, _field: str, service: str) -> Any:
        return Client(service, self)

    def now(self) -> datetime:
        return EPOCH

    def arn(self, service: str, rest: str) -> str:
        return f"arn:aws:{service}:{self.region}:{ACCOUNT}:{rest}"


class Client:
    """What a service answers is a method `_<operation>`, or `_<service>_<operation>` where two have one of that name;
    {} if there is none."""

    def __init__(self, service: str, world: Offline) -> None:
        self._service = service
        self._world = world

    def __getattr__(self, method: str) -> Any:
        if method.startswith("_"):
            raise AttributeError(method)

        def call(**members: Any) -> Answer:
            if not method.startswith(READS):
                self._world.calls.append((f"{self._service}.{method}", members))
            own = getattr(self, f"_{self._service}_{method}", None)
            answer = own or getattr(self, f"_{method}", None)
            found: Answer = answer(members) if answer is not None else {}
            return found

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

    def _describe_target_groups(self, _members: Mapping[str, Any]) -> Answer:
        return {"TargetGroups": []}

    def _list_services(self, _members: Mapping[str, Any]) -> Answer:
        return {"Services": []}

    def _get_namespace(self, members: Mapping[str, Any]) -> Answer:
        return {"Namespace": {**members, "Name": "the-namespace"}}

    def _servicediscovery_create_service(self, members: Mapping[str, Any]) -> Answer:
        identifier = "srv-made-by-this-plan"
        return {
            "Service": {
                **members,
                "Id": identifier,
                "Arn": self._world.arn("servicediscovery", f"service/{identifier}"),
            }
        }

    def _create_access_point(self, members: Mapping[str, Any]) -> Answer:
        return {**members, "AccessPointId": "fsap-made-by-this-plan", "LifeCycleState": "available"}

    def _create_target_group(self, members: Mapping[str, Any]) -> Answer:
        arn = self._world.arn("elasticloadbalancing", f"targetgroup/{members['Name']}/made-by-this-plan")
        return {"TargetGroups": [{**members, "TargetGroupArn": arn, "TargetGroupName": members["Name"]}]}

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
