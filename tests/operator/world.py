"""A cloud for the engine: the sandbox's AWS in this process on a virtual clock, and objects to look after in it.

The operator's own clients reach it, without a socket: what crosses is what would cross to AWS. Tasks are scripted.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config

from inference_operator.api.meta import RECONCILE_AT
from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.aws import clients
from inference_operator.aws.ports import Aws
from inference_operator.aws.reading import BatchedServices, SharedListings
from inference_operator.domain.names import Identity
from inference_operator.engine import environments, objects
from inference_operator.engine.objects import Document, Outcome, Work
from inference_operator.engine.objects import World as Surroundings
from inference_operator.engine.reconcile import Memory
from inference_operator.resources.base import Context
from inference_sandbox.aws import Aws as Sandbox
from inference_sandbox.aws import in_process
from inference_sandbox.aws.calls import Call
from inference_sandbox.aws.faults import Fault, Kind
from inference_sandbox.ecs.clock import VirtualClock
from inference_sandbox.ecs.surroundings import Settings
from inference_sandbox.load_balancer.scripted import ScriptedLoadBalancer
from inference_sandbox.tasks.scripted import ScriptedRunner
from tests.operator.builders import NOW, deployment_document, environment_document

REGION = "eu-west-1"
ACCOUNT = "123456789012"
CLUSTER = "inference"
OPERATOR = "operator"
"""The user whose policy the operator has in a world that confines it."""
READS = ("Describe", "List", "Get", "BatchGet", "Filter", "Head", "Simulate")
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
LONG = timedelta(hours=2)

# Nothing listens there: a request that the sandbox did not answer fails, and goes nowhere.
NOWHERE = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_ACCESS_KEY_ID": "AKIASANDBOXSANDBOX00",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
}
_ONE_TRY = Config(retries={"mode": "standard", "total_max_attempts": 1})


@cache
def connected(*, patient: bool = False) -> Aws:
    """The operator's clients, as the account's root; slow to make, so each process makes them once."""
    return _connect(patient=patient)


def _connect(*, patient: bool = False, **credentials: str) -> Aws:
    """Clients that are not `patient` leave the second try to the engine, whose waits are on the virtual clock;
    botocore's would be real.
    """
    configs: dict[str, Any] = {"CONFIG": clients.CONFIG, "ONCE": clients.ONCE}
    if not patient:
        configs = {name: config.merge(_ONE_TRY) for name, config in configs.items()}
    with mock.patch.dict(os.environ, {**NOWHERE, **credentials}), mock.patch.multiple(clients, **configs):
        made = clients.connect(REGION)
        for client in vars(made).values():
            if isinstance(client, clients.Translating):
                for one in (client.client, client.once):
                    one.meta.events.register_first("before-send", _send)
    return made


Send = Callable[[AWSPreparedRequest], AWSResponse]


def _send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
    """Answered in this process, by whoever is asked now."""
    return _answering[-1](request)


_answering: list[Send] = [in_process.send]


DESTINATIONS = {
    "errors": {"cloudWatchLogs": {"logGroup": "/inference/{namespace}/{name}/errors"}},
    "elsewhere": {"cloudWatchLogs": {"logGroup": "/logs/{name}.{namespace}", "retentionDays": 7}},
    "shared": {"cloudWatchLogs": {"logGroup": "/inference/shared"}},
    "archive": {"s3": {"bucket": "inference-logs"}},
}


class Account:
    """What a platform team has prepared in an account, reached by its own clients."""

    def __init__(self, client: Callable[[str], Any]) -> None:
        self.client = client
        ecs, elb, efs, ec2 = (client(service) for service in ("ecs", "elbv2", "efs", "ec2"))
        ecs.create_cluster(clusterName=CLUSTER, capacityProviders=["FARGATE", "FARGATE_SPOT"])
        subnets = ec2.describe_subnets()["Subnets"][:2]
        self.subnets = [subnet["SubnetId"] for subnet in subnets]
        self.vpc: str = subnets[0]["VpcId"]
        self.balancer_group, tasks, self.models_group = (
            ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)["GroupId"]
            for name in ("balancer", "tasks", "models")
        )
        self.security_groups = [tasks]
        self.let_in(tasks, self.balancer_group, 1, 65535)
        self.let_in(self.models_group, tasks, 2049, 2049)
        self.file_system: str = efs.create_file_system(CreationToken="models")["FileSystemId"]
        for subnet in self.subnets:
            efs.create_mount_target(FileSystemId=self.file_system, SubnetId=subnet, SecurityGroups=[self.models_group])
        self.balancer: str = elb.create_load_balancer(
            Name="shared", Subnets=self.subnets, SecurityGroups=[self.balancer_group]
        )["LoadBalancers"][0]["LoadBalancerArn"]
        self.listener: str = elb.create_listener(
            LoadBalancerArn=self.balancer,
            Protocol="HTTP",
            Port=80,
            DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
        )["Listeners"][0]["ListenerArn"]

        self.roles = {
            f"{use}RoleArn": client("iam").create_role(
                RoleName=f"inference-{role}", AssumeRolePolicyDocument=json.dumps(TRUST)
            )["Role"]["Arn"]
            for use, role in (("execution", "execution"), ("task", "task"))
        }

    def let_in(self, group: str, source: str, first: int, last: int) -> None:
        """What has one security group may reach what has another on some TCP ports."""
        pair = {"IpProtocol": "tcp", "FromPort": first, "ToPort": last, "UserIdGroupPairs": [{"GroupId": source}]}
        self.client("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=[pair])

    def environment(self, name: str = "default") -> dict[str, Any]:
        return environment_document(
            name,
            **self.roles,
            cluster=CLUSTER,
            region=REGION,
            network={"subnets": self.subnets, "securityGroups": self.security_groups},
            models={
                "fileSystemId": self.file_system,
                "rootDirectory": "/models",
                "posixUser": {"uid": 10001, "gid": 10001},
            },
            loadBalancer={"listenerArn": self.listener, "url": "https://inference.example.com"},
            logging={"destinations": DESTINATIONS},
        )

    def holdings(self) -> dict[str, dict[str, Any]]:
        """All that the operator's kinds are made of and the account holds, whoever made it: by kind and name, with
        settings and tags.
        """
        ecs, elb, efs, logs = (self.client(service) for service in ("ecs", "elbv2", "efs", "logs"))
        groups = logs.get_paginator("describe_log_groups").paginate().build_full_result()["logGroups"]
        points = efs.describe_access_points(FileSystemId=self.file_system)["AccessPoints"]
        targets = elb.describe_target_groups()["TargetGroups"]
        listeners = elb.describe_listeners(LoadBalancerArn=self.balancer)["Listeners"]
        rules = [r for each in listeners for r in elb.describe_rules(ListenerArn=each["ListenerArn"])["Rules"]]
        revisions = ecs.list_task_definitions(status="ACTIVE")["taskDefinitionArns"]

        def tags(arn: str) -> Any:
            return elb.describe_tags(ResourceArns=[arn])["TagDescriptions"]

        return {
            "LogGroup": {
                g["logGroupName"]: (
                    g.get("retentionInDays"),
                    logs.list_tags_for_resource(resourceArn=g["arn"].removesuffix(":*"))["tags"],
                )
                for g in groups
            },
            "AccessPoint": {p["AccessPointId"]: p for p in points},
            "TargetGroup": {
                t["TargetGroupName"]: (
                    t,
                    elb.describe_target_group_attributes(TargetGroupArn=t["TargetGroupArn"])["Attributes"],
                    tags(t["TargetGroupArn"]),
                )
                for t in targets
            },
            "ListenerRule": {r["RuleArn"]: (r, tags(r["RuleArn"])) for r in rules if not r["IsDefault"]},
            "TaskDefinition": {
                arn.rpartition("/")[2]: ecs.describe_task_definition(taskDefinition=arn, include=["TAGS"]).get("tags")
                for arn in revisions
            },
            "Service": dict(_services(ecs)),
            **self._scaling(),
            **self._discovery(),
        }

    def _discovery(self) -> dict[str, dict[str, Any]]:
        """The services of Cloud Map, if there are any."""
        cloud_map = self.client("servicediscovery")
        found = {
            each["Name"]: (
                cloud_map.get_service(Id=each["Id"])["Service"],
                cloud_map.list_tags_for_resource(ResourceARN=each["Arn"])["Tags"],
            )
            for each in cloud_map.list_services()["Services"]
        }
        return {"DiscoveryService": found} if found else {}

    def _scaling(self) -> dict[str, dict[str, Any]]:
        """The two kinds of Application Auto Scaling, if there are any."""
        scaling = self.client("application-autoscaling")
        targets = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]

        def rules(target: Mapping[str, Any]) -> list[Any]:
            where = {name: target[name] for name in ("ServiceNamespace", "ResourceId", "ScalableDimension")}
            policies = scaling.describe_scaling_policies(**where)["ScalingPolicies"]
            return [*policies, *scaling.describe_scheduled_actions(**where)["ScheduledActions"]]

        found: dict[str, dict[str, Any]] = {
            "ScalableTarget": {
                t["ResourceId"]: (t, scaling.list_tags_for_resource(ResourceARN=t["ScalableTargetARN"])["Tags"])
                for t in targets
            },
            "ScalingPolicies": {t["ResourceId"]: rules(t) for t in targets if rules(t)},
        }
        return {kind: things for kind, things in found.items() if things}


def _services(ecs: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The ACTIVE ones: ListServices leaves out those that drain."""
    names = [arn.rpartition("/")[2] for arn in ecs.list_services(cluster=CLUSTER, maxResults=100)["serviceArns"]]
    for some in (names[i : i + 10] for i in range(0, len(names), 10)):
        for found in ecs.describe_services(cluster=CLUSTER, services=some, include=["TAGS"])["services"]:
            yield found["serviceName"], found


class World:
    """An account in which a platform team has prepared an environment, on a clock that only tests move."""

    def __init__(self, folder: Path, *, patient: bool = False, settings: Settings | None = None) -> None:
        self.clock = VirtualClock(NOW)
        self.runner = ScriptedRunner(self.clock)
        self.balancer = ScriptedLoadBalancer(self.clock)
        self.cloud = Sandbox(
            clock=self.clock,
            runner=self.runner,
            load_balancer=self.balancer,
            efs_root=folder / "efs",
            settings=settings,
        )
        self.answer_with(in_process.send)
        self._clients = connected(patient=patient)
        self.account = Account(self.client)
        self.environments: dict[str, Mapping[str, Any]] = {"default": self.account.environment()}
        self.labels: Mapping[str, str] | None = {}
        """Of every namespace."""
        self.aws = self._fresh()
        self.cloud.calls.clear()

    def _fresh(self) -> Aws:
        """The clients, with nothing kept of what they have read."""
        made, now = self._clients, self.clock.now
        listings = SharedListings(made.efs, made.elb, made.scaling, made.discovery, now)
        return replace(made, services=BatchedServices(made.ecs, now), listings=listings)

    def answer_with(self, send: Send) -> None:
        """The operator's calls, and nobody else's, go to `send` from now on."""
        _answering[:] = [send]

    def restart(self) -> None:
        """Another process of the operator: what the last one had read is forgotten."""
        self.aws = self._fresh()

    def confine(self, policy: Mapping[str, Any]) -> None:
        """From now on the operator may do what the policy allows, and nothing else."""
        iam = self.client("iam")
        iam.create_user(UserName=OPERATOR)
        self.allow(policy)
        key = iam.create_access_key(UserName=OPERATOR)["AccessKey"]
        self.credentials = {
            "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"],
        }
        self._clients = _connect(**self.credentials)
        self.cloud.enforce_iam()
        self.restart()

    def allow(self, policy: Mapping[str, Any]) -> None:
        """Another policy for the operator that is confined."""
        document = json.dumps(policy)
        self.client("iam").put_user_policy(UserName=OPERATOR, PolicyName="operator", PolicyDocument=document)

    @property
    def surroundings(self) -> Surroundings:
        return Surroundings(environments=self.environments, connect=lambda _environment: self.aws, labels=self.labels)

    def client(self, service: str) -> Any:
        """A boto3 client, for the hands of somebody else than the operator."""
        return self.cloud.client(service, REGION)

    def advance(self, duration: timedelta) -> None:
        self.cloud.advance(duration)

    def discover(self) -> None:
        """The environment has a Cloud Map namespace from now on."""
        cloud_map = self.client("servicediscovery")
        if not cloud_map.list_namespaces()["Namespaces"]:
            cloud_map.create_private_dns_namespace(Name="inference.local", Vpc=self.account.vpc)
        [namespace] = cloud_map.list_namespaces()["Namespaces"]
        self.change_environment(serviceDiscovery={"namespaceId": namespace["Id"]})

    def change_environment(self, **spec: Any) -> None:
        before = self.environments["default"]
        self.environments["default"] = {**before, "spec": {**before["spec"], **spec}}

    def context(self, **spec: Any) -> Context:
        """For single kinds, without the engine: always looks freshly."""
        document = deployment_document(**spec)
        meta = document["metadata"]
        return Context(
            identity=Identity(namespace=meta["namespace"], name=meta["name"], uid=meta["uid"]),
            environment=InferenceEnvironmentSpec.model_validate(self.environments["default"]["spec"]),
            aws=self.aws,
            now=self.clock.now(),
            freshness=timedelta(seconds=-1),
            spec=InferenceDeploymentSpec.model_validate(document["spec"]),
            generation=1,
        )

    # -- looking into it

    def own_calls(self, *, since: int = 0) -> list[Call]:
        """Those of the operator, in a world that confines it."""
        return [call for call in self.calls(since=since) if call.principal.endswith(f":user/{OPERATOR}")]

    def calls(self, *, since: int = 0) -> list[Call]:
        """All calls after the `since`-th."""
        return self.cloud.calls.find(since=since)

    @property
    def mark(self) -> int:
        """The number of the latest call."""
        calls = self.cloud.calls
        return calls[-1].number if len(calls) else 0

    def writes(self, *, since: int = 0) -> list[str]:
        """The operations that were asked for and change something, in order, as `service:Operation`."""
        return [f"{c.service}:{c.operation}" for c in self.calls(since=since) if not c.operation.startswith(READS)]

    def fault(self, kind: Kind, operation: str, times: int | None = None) -> None:
        """The operation, as `service:Operation`, fails so from now on."""
        service, _, name = operation.partition(":")
        self.cloud.faults.add(Fault(kind=kind, service=service, operation=name, times=times))

    def holdings(self) -> dict[str, dict[str, Any]]:
        """All that is in the account and was not prepared: by kind and name, with settings and tags."""
        return self.account.holdings()


@dataclass
class Object:
    """An InferenceDeployment as the API server has it, and what the operator keeps of it between passes."""

    world: World
    document: dict[str, Any] = field(default_factory=deployment_document)
    memory: Memory = field(default_factory=Memory)
    outcomes: list[Outcome] = field(default_factory=list)

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.document.get("status", {})
        return status

    def condition(self, name: str) -> dict[str, Any]:
        """Its condition of that type; one that is not there has status "Absent"."""
        found = (c for c in self.status.get("conditions", ()) if c["type"] == name)
        return next(found, {"type": name, "status": "Absent", "reason": "", "message": ""})

    def stands(self, name: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        condition = self.condition(name)
        return condition["status"], condition["reason"]

    @property
    def ready(self) -> bool:
        return self.stands("Ready")[0] == "True" and self.status["observedGeneration"] == self.generation

    @property
    def generation(self) -> int:
        generation: int = self.document["metadata"]["generation"]
        return generation

    # -- what its owner does

    def change(self, **spec: Any) -> None:
        self.document["spec"] = {**self.document["spec"], **spec}
        self.document["metadata"]["generation"] += 1

    def annotate(self, annotation: str, value: str) -> None:
        self.document["metadata"].setdefault("annotations", {})[annotation] = value

    def reconcile_at(self, value: str) -> None:
        self.annotate(RECONCILE_AT, value)

    # -- what the operator does

    def restart(self) -> None:
        """Another process of the operator: only what is in the object and in AWS is known."""
        self.world.restart()
        self.memory = Memory()

    def look(self) -> Outcome:
        """One pass, now."""
        return self._told(objects.look_after(deepcopy(self.document), *self._in()))

    def take_away(self) -> Outcome:
        """One pass of the deletion, now."""
        return self._told(objects.take_away(deepcopy(self.document), *self._in()))

    def _in(self) -> tuple[Surroundings, Memory, Any]:
        return self.world.surroundings, self.memory, self.world.clock.now()

    def _told(self, outcome: Outcome) -> Outcome:
        self.document["status"] = outcome.status.document()
        self.outcomes.append(outcome)
        return outcome

    def live(self, until: Callable[[], bool], *, at_most: timedelta = LONG) -> Outcome:
        """Pass after pass, each when the one before asked for it, until it is so after one."""
        end = self.world.clock.now() + at_most
        while True:
            outcome = self.look()
            if until():
                return outcome
            self._wait(outcome, end)

    def live_on(self, duration: timedelta) -> None:
        """Pass after pass, for so long."""
        end = self.world.clock.now() + duration
        self.live(lambda: self.world.clock.now() >= end, at_most=duration + timedelta(hours=1))

    def vanish(self, *, at_most: timedelta = LONG) -> Outcome:
        """It is deleted, and taken away to the end."""
        end = self.world.clock.now() + at_most
        while not (outcome := self.take_away()).done:
            self._wait(outcome, end)
        return outcome

    def _wait(self, outcome: Outcome, end: Any) -> None:
        assert self.world.clock.now() < end, f"not so in time; the conditions are {self.status.get('conditions')}"
        assert outcome.requeue_after > timedelta(), "the next pass would follow at once, for ever"
        self.world.advance(outcome.requeue_after)


@dataclass
class Environment:
    """An InferenceEnvironment as the API server has it, and what the operator keeps of it between passes."""

    world: World
    objects: Sequence[Document] | None = ()
    """What runs in it; None if that can't be listed."""
    memory: Memory = field(default_factory=Memory)
    document: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = deepcopy(dict(self.world.environments["default"]))

    @property
    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.document.get("status", {})
        return status

    def change(self, **spec: Any) -> None:
        """And look at everything anew."""
        self.edit(**spec)
        self.memory.forget()

    def edit(self, **spec: Any) -> None:
        self.document["spec"] = {**self.document["spec"], **spec}
        self.document["metadata"]["generation"] += 1

    def stands(self, name: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        found = (c for c in self.status.get("conditions", ()) if c["type"] == name)
        return next(((c["status"], c["reason"]) for c in found), ("Absent", ""))

    def restart(self) -> None:
        """Another process of the operator."""
        self.world.restart()
        self.memory = Memory()

    def look(self) -> Outcome:
        """One pass, now."""
        return self._pass(environments.look_after)

    def take_away(self) -> Outcome:
        """One pass of the deletion, now."""
        return self._pass(environments.take_away)

    def _pass(self, work: Work) -> Outcome:
        around = Surroundings(environments={}, connect=lambda _: self.world.aws, objects=self.objects)
        outcome = work(deepcopy(self.document), around, self.memory, self.world.clock.now())
        self.document["status"] = outcome.status.document()
        return outcome
