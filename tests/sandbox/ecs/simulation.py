"""The scheduler alone, on a virtual clock, with everything around it scripted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from inference_sandbox.ecs.accounts import Caller
from inference_sandbox.ecs.api import Ecs
from inference_sandbox.ecs.clock import VirtualClock
from inference_sandbox.ecs.scheduler import Scheduler
from inference_sandbox.ecs.state import Task
from inference_sandbox.ecs.surroundings import AlarmFacts, Event, NotLaunched, Settings, TargetGroupFacts
from inference_sandbox.load_balancer.scripted import ScriptedLoadBalancer
from inference_sandbox.ports import ContainerLaunch, TargetGroupSettings, TaskLaunch
from inference_sandbox.tasks.scripted import ScriptedRunner

CALLER = Caller(account="123456789012", region="eu-west-1", arn="arn:aws:iam::123456789012:user/tester")
GROUP = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/app/0123456789abcdef"
ALTERNATE = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/green/0123456789abcdef"
RULE = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:listener-rule/app/shared/0123456789abcdef/0/1"
ROLE = "arn:aws:iam::123456789012:role/load-balancers"
SECOND = timedelta(seconds=1)


class ScriptedSurroundings:
    def __init__(self) -> None:
        self.events: list[Event] = []
        facts = TargetGroupFacts(target_type="ip", port=8080, attached=True)
        self.groups = {GROUP: facts, ALTERNATE: facts}
        self.shares: dict[str, float] = {GROUP: 100.0, ALTERNATE: 0.0}
        """Percent of production traffic by target group."""
        self.unprepared: NotLaunched | None = None
        self.zones = {"subnet-a": "eu-west-1a", "subnet-b": "eu-west-1b"}

    def zone(self, account: str, region: str, subnet: str) -> str | None:
        return self.zones.get(subnet)

    def missing_security_group(self, account: str, region: str, groups: Sequence[str]) -> str | None:
        return next((group for group in groups if group != "sg-1"), None)

    def target_group(self, arn: str) -> TargetGroupFacts | None:
        return self.groups.get(arn)

    def prepare(self, task: Task) -> TaskLaunch | NotLaunched:
        if self.unprepared is not None:
            return self.unprepared
        definition = task.task_definition.document
        containers = [ContainerLaunch(definition=each, environment={}) for each in definition["containerDefinitions"]]
        return TaskLaunch(arn=task.arn, task_definition=definition, containers=containers)

    def listening(self, account: str, region: str) -> bool:
        return True

    def publish(self, event: Event) -> None:
        self.events.append(event)

    def alarms(self, account: str, region: str, names: Sequence[str]) -> Mapping[str, AlarmFacts]:
        return {}

    def record_types(self, registry: str) -> Sequence[str] | None:
        return ["A"]

    def register(self, registry: str, instance: str, attributes: Mapping[str, str]) -> None: ...

    def deregister(self, registry: str, instance: str) -> None: ...

    def set_health(self, registry: str, instance: str, *, healthy: bool) -> None: ...

    def rule(self, arn: str) -> bool:
        return True

    def shift(self, rule: str, shares: Mapping[str, float]) -> None:
        self.shares = dict(shares)

    def invoke(self, function: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        return {"hookStatus": "SUCCEEDED"}


class Simulation:
    """`describe`, `messages` and `tasks` look; everything else acts. Time passes only in `advance`."""

    def __init__(self, settings: Settings | None = None) -> None:
        self.clock = VirtualClock()
        self.runner = ScriptedRunner(self.clock)
        self.balancer = ScriptedLoadBalancer(self.clock)
        self.drain_delay(30)
        self.around = ScriptedSurroundings()
        self.scheduler = Scheduler(
            clock=self.clock,
            runner=self.runner,
            load_balancer=self.balancer,
            surroundings=self.around,
            settings=settings,
        )
        self.ecs = Ecs(self.scheduler, self.around)
        self.call("CreateCluster", clusterName="inference", capacityProviders=["FARGATE", "FARGATE_SPOT"])

    def call(self, operation: str, **request: Any) -> dict[str, Any]:
        answer = self.ecs.operations[operation](CALLER, request)
        self.scheduler.tick()
        return dict(answer)

    def register(self, family: str = "app", **container: Any) -> str:
        answer = self.call(
            "RegisterTaskDefinition",
            family=family,
            networkMode="awsvpc",
            requiresCompatibilities=["FARGATE"],
            cpu="256",
            memory="512",
            containerDefinitions=[
                {"name": "app", "image": "app:1", "portMappings": [{"containerPort": 8080}], **container}
            ],
        )
        return str(answer["taskDefinition"]["taskDefinitionArn"])

    def create(self, desired: int = 2, **request: Any) -> dict[str, Any]:
        """A service named `web`, of the latest revision of `app`, which is registered if there is none."""
        if "taskDefinition" not in request:
            request["taskDefinition"] = self.register()
        given = {
            "cluster": "inference",
            "serviceName": "web",
            "desiredCount": desired,
            "launchType": "FARGATE",
            "networkConfiguration": {
                "awsvpcConfiguration": {"subnets": ["subnet-a", "subnet-b"], "securityGroups": ["sg-1"]}
            },
        } | request
        request = {name: value for name, value in given.items() if value is not None}
        return dict(self.call("CreateService", **request)["service"])

    def update(self, **request: Any) -> dict[str, Any]:
        return dict(self.call("UpdateService", cluster="inference", service="web", **request)["service"])

    def describe(self, name: str = "web") -> dict[str, Any]:
        return dict(self.call("DescribeServices", cluster="inference", services=[name])["services"][0])

    def deployments(self) -> list[dict[str, Any]]:
        return list(self.describe()["deployments"])

    def messages(self) -> list[str]:
        """Oldest first, without the prefix that names the service."""
        return [event["message"].removeprefix("(service web) ") for event in reversed(self.describe()["events"])]

    def tasks(self, status: str = "RUNNING") -> list[dict[str, Any]]:
        arns = self.call("ListTasks", cluster="inference", serviceName="web", desiredStatus=status)["taskArns"]
        found: list[dict[str, Any]] = []
        for start in range(0, len(arns), 100):
            answer = self.call("DescribeTasks", cluster="inference", tasks=arns[start : start + 100])
            found += answer["tasks"]
        return found

    def record(self) -> dict[str, Any]:
        """The newest service deployment."""
        briefs = self.call("ListServiceDeployments", cluster="inference", service="web")["serviceDeployments"]
        arns = [briefs[0]["serviceDeploymentArn"]]
        return dict(self.call("DescribeServiceDeployments", serviceDeploymentArns=arns)["serviceDeployments"][0])

    def advance(self, seconds: float) -> None:
        """Let time pass, stopping at every moment at which something is due."""
        end = self.clock.now() + timedelta(seconds=seconds)
        while (due := self.next_due()) is not None and due <= end:
            self.clock.set(due)
            self.scheduler.tick()
        self.clock.set(end)
        self.scheduler.tick()

    def events(self, detail_type: str) -> list[Mapping[str, Any]]:
        return [event.detail for event in self.around.events if event.detail_type == detail_type]

    def drain_delay(self, seconds: int) -> None:
        self.balancer.configure((), [_group(GROUP, seconds), _group(ALTERNATE, seconds)])

    def next_due(self) -> Any:
        return min((due for due in (self.scheduler.next_due(), self.runner.next_due()) if due), default=None)


def _group(arn: str, delay: int) -> TargetGroupSettings:
    attributes = {"deregistration_delay.timeout_seconds": str(delay)}
    return TargetGroupSettings(arn=arn, settings={"TargetGroupArn": arn}, attributes=attributes)


def balanced(port: int = 8080) -> dict[str, Any]:
    return {"loadBalancers": [{"targetGroupArn": GROUP, "containerName": "app", "containerPort": port}]}


def shifting() -> dict[str, Any]:
    """Behind two target groups, for every strategy."""
    [balancer] = balanced()["loadBalancers"]
    advanced = {"alternateTargetGroupArn": ALTERNATE, "productionListenerRule": RULE, "roleArn": ROLE}
    return {"loadBalancers": [balancer | {"advancedConfiguration": advanced}]}


def breaker(**settings: Any) -> dict[str, Any]:
    """A deploymentConfiguration with the circuit breaker on."""
    return {"deploymentConfiguration": {"deploymentCircuitBreaker": {"enable": True, "rollback": True} | settings}}


def fast(**changes: Any) -> Settings:
    return replace(Settings(), **changes)
