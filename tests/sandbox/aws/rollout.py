"""A world with a service named `web` to roll out, in few words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.sandbox.aws.world import World


class Rollout(World):
    """`describe`, `messages` and `tasks` look; everything else acts. Time passes only in `advance`."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.group = self.target_group()
        self.rule(self.listener(), self.group)
        self.drain_delay(30)
        self._events: list[dict[str, Any]] = []

    def listen(self) -> None:
        """Have every event of ECS from now on, for `events`."""
        sqs, events = self.aws.client("sqs"), self.aws.client("events")
        self._queue = sqs.create_queue(QueueName="rollout")["QueueUrl"]
        events.put_rule(Name="rollout", EventPattern=json.dumps({"source": ["aws.ecs"]}))
        arn = "arn:aws:sqs:us-east-1:123456789012:rollout"
        events.put_targets(Rule="rollout", Targets=[{"Id": "1", "Arn": arn}])

    def create(self, desired: int = 1, **members: Any) -> dict[str, Any]:
        return super().create(desiredCount=desired, **members)

    def update(self, **members: Any) -> dict[str, Any]:
        shown = dict(self.ecs.update_service(cluster="inference", service="web", **members)["service"])
        self.aws.tick()
        return shown

    def deployments(self) -> list[dict[str, Any]]:
        return list(self.describe()["deployments"])

    def messages(self) -> list[str]:
        """Oldest first, without the prefix that names the service."""
        return [event["message"].removeprefix("(service web) ") for event in reversed(self.describe()["events"])]

    def record(self) -> dict[str, Any]:
        """The newest service deployment."""
        briefs = self.ecs.list_service_deployments(cluster="inference", service="web")["serviceDeployments"]
        arns = [briefs[0]["serviceDeploymentArn"]]
        return dict(self.ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"][0])

    def events(self, detail_type: str) -> list[dict[str, Any]]:
        """Details of the EventBridge events so far, as a queue received them."""
        sqs = self.aws.client("sqs")
        while messages := sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10).get("Messages"):
            for message in messages:
                self._events.append(json.loads(message["Body"]))
                sqs.delete_message(QueueUrl=self._queue, ReceiptHandle=message["ReceiptHandle"])
        return [event["detail"] for event in self._events if event["detail-type"] == detail_type]

    def balanced(self) -> dict[str, Any]:
        return {"loadBalancers": [{"targetGroupArn": self.group, "containerName": "app", "containerPort": 8080}]}

    def drain_delay(self, seconds: int) -> None:
        attributes = [{"Key": "deregistration_delay.timeout_seconds", "Value": str(seconds)}]
        self.elb.modify_target_group_attributes(TargetGroupArn=self.group, Attributes=attributes)


def breaker(**settings: Any) -> dict[str, Any]:
    """A deploymentConfiguration with the circuit breaker on."""
    return {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True} | settings}}
