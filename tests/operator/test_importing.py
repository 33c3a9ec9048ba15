"""Manifests made from live services: what the operator has made comes back as it was asked for; what somebody else has
made comes as near as a spec can, with all that it can't say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
import yaml

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.domain.names import Identity
from inference_operator.engine.importing import Imported, identity_of, imported
from inference_operator.engine.importing.live import Live, look
from inference_operator.engine.importing.printing import outcome, text
from inference_operator.engine.offline import ObjectPlan, plan_live
from tests.operator.test_fields import ROWS, Keeper, Row
from tests.operator.test_keeping import deployments
from tests.operator.test_kinds import SERVICE
from tests.operator.test_strategies import prepare
from tests.operator.world import CLUSTER, REGION, Object, World

NOT_AT_AWS = ("driftPolicy", "deletionPolicy", "rollout.progressDeadline")
"""Fields of which AWS knows nothing."""


def live(world: World, service: str = SERVICE) -> Live:
    found = look(world.aws, CLUSTER, service)
    assert found is not None
    return found


def environment(world: World) -> InferenceEnvironmentSpec:
    return InferenceEnvironmentSpec.model_validate(world.environments["default"]["spec"])


def brought_in(world: World, service: str = SERVICE, *, known: bool = True) -> Imported:
    found = live(world, service)
    return imported(found, identity_of(found, None, None), ("default", environment(world)) if known else None)


def spec_of(found: Imported) -> InferenceDeploymentSpec:
    return InferenceDeploymentSpec.model_validate(found.deployment["spec"])


def says_all(row: Row) -> bool:
    """Whether what AWS shows tells what was asked for."""
    suspended = row.path == "suspend"  # how many there were before is known to nobody
    return row.path not in NOT_AT_AWS and not row.path.startswith("logging.") and not suspended


@pytest.mark.parametrize("row", [each for each in ROWS if says_all(each)], ids=str)
def test_what_the_operator_has_made_is_imported_as_it_was_asked_for(row: Row, world: World) -> None:
    if row.shifting:
        prepare(world)
    Keeper(world).brought_to(row.after())
    found = brought_in(world)
    assert spec_of(found) == InferenceDeploymentSpec.model_validate(row.after())
    assert [each.says for each in found.remarks] == ["it is the InferenceDeployment shop/recommender's already"]
    assert found.added == []


# -- made by hand


ME = Identity(namespace="shop", name="recommender", uid="")
PATH = "/shop/recommender"
SCRATCH = {"sourceVolume": "scratch", "containerPath": "/tmp"}  # noqa: S108 what a read-only root leaves to write to


@dataclass(frozen=True)
class Handmade:
    """What somebody makes who has never heard of the operator, in the members of the APIs that take it. As it stands,
    it has the names and settings that the operator would give it."""

    name: str = SERVICE
    group_name: str = ME.target_group
    logs: str = ME.log_group
    container: Mapping[str, Any] = field(default_factory=dict)
    others: Sequence[Mapping[str, Any]] = ()
    task: Mapping[str, Any] = field(default_factory=dict)
    volumes: Sequence[Mapping[str, Any]] = ()
    conditions: Sequence[Mapping[str, Any]] = (
        {"Field": "path-pattern", "PathPatternConfig": {"Values": [PATH, f"{PATH}/*"]}},
    )
    rewrites: Sequence[Mapping[str, Any]] = ({"Regex": f"^{PATH}/?(.*)$", "Replace": "/$1"},)
    group: Mapping[str, Any] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)

    def made_in(self, world: World) -> None:
        logs = world.client("logs")
        logs.create_log_group(logGroupName=self.logs)
        logs.put_retention_policy(logGroupName=self.logs, retentionInDays=90)
        revision, target = self._task(world), self._target(world)
        container = self.container.get("name", "app")
        network = {"subnets": world.account.subnets, "securityGroups": world.account.security_groups}
        usual = {
            "desiredCount": 2,
            "launchType": "FARGATE",
            "networkConfiguration": {"awsvpcConfiguration": {**network, "assignPublicIp": "DISABLED"}},
            "enableECSManagedTags": True,
            "propagateTags": "SERVICE",
            "healthCheckGracePeriodSeconds": 120,
        }
        world.client("ecs").create_service(
            cluster=CLUSTER,
            serviceName=self.name,
            taskDefinition=revision,
            loadBalancers=[{"targetGroupArn": target, "containerName": container, "containerPort": 8080}],
            **{**usual, **self.service},
        )
        world.advance(timedelta(minutes=10))
        world.restart()

    def _task(self, world: World) -> str:
        roles, file_system = world.account.roles, world.account.file_system
        owner = {"OwnerUid": 10001, "OwnerGid": 10001, "Permissions": "0755"}
        point = world.client("efs").create_access_point(
            FileSystemId=file_system,
            PosixUser={"Uid": 10001, "Gid": 10001},
            RootDirectory={"Path": "/models/films/1", "CreationInfo": owner},
        )["AccessPointId"]
        access = {"accessPointId": point, "iam": "ENABLED"}
        efs = {"fileSystemId": file_system, "transitEncryption": "ENABLED", "authorizationConfig": access}
        variables = {"LEVEL": "INFO", "INFERENCE_MODELS_DIR": "/opt/models", "INFERENCE_PORT": "8080"}
        drains = {"INFERENCE_DRAIN_SECONDS": "5", "INFERENCE_GRACE_SECONDS": "50"}
        name = self.container.get("name", "app")
        written = {"awslogs-group": self.logs, "awslogs-region": REGION, "awslogs-stream-prefix": name}
        usual = {
            "name": "app",
            "image": "registry.example.com/films:7",
            "readonlyRootFilesystem": True,
            "stopTimeout": 60,
            "command": ["serve"],
            "portMappings": [{"containerPort": 8080}],
            "environment": [{"name": n, "value": v} for n, v in {**variables, **drains}.items()],
            "mountPoints": [SCRATCH, {"sourceVolume": "models", "containerPath": "/opt/models", "readOnly": True}],
            "logConfiguration": {"logDriver": "awslogs", "options": written},
        }
        arn: str = world.client("ecs").register_task_definition(
            family=self.name,
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            containerDefinitions=[{**usual, **self.container}, *self.others],
            volumes=[{"name": "models", "efsVolumeConfiguration": efs}, {"name": "scratch"}, *self.volumes],
            **{"cpu": "1024", "memory": "2048", **roles, **self.task},
        )["taskDefinition"]["taskDefinitionArn"]
        return arn

    def _target(self, world: World) -> str:
        elb = world.client("elbv2")
        usual = {"HealthCheckPath": "/healthz", "Matcher": {"HttpCode": "200-299"}}
        arn: str = elb.create_target_group(
            Name=self.group_name,
            Port=8080,
            VpcId=world.account.vpc,
            **{"Protocol": "HTTP", "TargetType": "ip", **usual, **self.group},
        )["TargetGroups"][0]["TargetGroupArn"]
        if self.attributes:
            listed = [{"Key": key, "Value": value} for key, value in self.attributes.items()]
            elb.modify_target_group_attributes(TargetGroupArn=arn, Attributes=listed)
        rewritten = [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": list(self.rewrites)}}]
        elb.create_rule(
            ListenerArn=world.account.listener,
            Priority=10,
            Conditions=self.conditions,
            Actions=[{"Type": "forward", "TargetGroupArn": arn}],
            **({"Transforms": rewritten} if self.rewrites else {}),
        )
        return arn


def planned(world: World, found: Imported) -> ObjectPlan:
    documents = [found.deployment, found.environment or world.environments["default"]]
    [plan] = plan_live(documents, lambda _: world.aws, None)
    return plan


def applied(world: World, found: Imported) -> Object:
    """It is looked after until it is Ready, in the environment that was made with it."""
    if found.environment is not None:
        world.environments[found.environment["metadata"]["name"]] = found.environment
    metadata = {**found.deployment["metadata"], "uid": "u-1", "generation": 1}
    it = Object(world, {**found.deployment, "metadata": metadata})
    it.live(lambda: it.ready)
    return it


@pytest.mark.parametrize("known", [True, False], ids=["known", "made"])
def test_what_is_as_the_operator_would_make_it_is_taken_over_without_a_deployment(world: World, *, known: bool) -> None:
    Handmade().made_in(world)
    found = brought_in(world, known=known)
    assert {**found.deployment["spec"], "models": {}, "environment": "default"} == {
        "environment": "default",
        "image": "registry.example.com/films:7",
        "replicas": 2,
        "models": {},
        "command": ["serve"],
        "env": [
            {"name": "INFERENCE_DRAIN_SECONDS", "value": "5"},
            {"name": "INFERENCE_GRACE_SECONDS", "value": "50"},
            {"name": "LEVEL", "value": "INFO"},
        ],
        "stopTimeout": "1m",
        "health": {
            "path": "/healthz",
            "successCodes": "200-299",
            "startup": "2m",
            "interval": "30s",
            "healthyThreshold": 5,
            "unhealthyThreshold": 2,
        },
        "ingress": {"deregistrationDelay": "5m"},
        "rollout": {"circuitBreaker": {"enabled": False}},
    }
    folder = "/films/1" if known else "/models/films/1"
    assert found.deployment["spec"]["models"] == {"path": folder, "mountPath": "/opt/models"}
    assert [each.where for each in found.remarks] == [
        *([] if known else ["loadBalancer.url"]),
        "targetGroup.load_balancing.algorithm.type",
    ]
    assert outcome(planned(world, found)) == "Applied, it takes the service over, and no deployment begins:"
    begun = deployments(world)
    applied(world, found)
    assert deployments(world) == begun
    assert {kind: len(things) for kind, things in world.holdings().items()} == dict.fromkeys(world.holdings(), 1)


def container(**members: Any) -> Handmade:
    return Handmade(container=members)


def beside(**members: Any) -> Handmade:
    """A second container."""
    usual = {"name": "proxy", "image": "registry.example.com/proxy:1", "essential": False}
    return Handmade(others=[{**usual, "readonlyRootFilesystem": True, "mountPoints": [SCRATCH], **members}])


FOREIGN = [
    ("containerDefinitions[app].entryPoint", container(entryPoint=["/bin/start"])),
    ("containerDefinitions[app].ulimits", container(ulimits=[{"name": "nofile", "softLimit": 9, "hardLimit": 9}])),
    ("containerDefinitions[app].dockerLabels", container(dockerLabels={"team": "search"})),
    ("containerDefinitions[app].workingDirectory", container(workingDirectory="/opt")),
    ("containerDefinitions[app].environment[log.level]", container(environment=[{"name": "log.level", "value": "x"}])),
    (
        "containerDefinitions[app].environmentFiles",
        container(environmentFiles=[{"type": "s3", "value": "arn:aws:s3:::b/f"}]),
    ),
    (
        "containerDefinitions[app].portMappings[9000]",
        container(portMappings=[{"containerPort": 8080}, {"containerPort": 9000}]),
    ),
    (
        "containerDefinitions[app].logConfiguration",
        container(logConfiguration={"logDriver": "splunk", "options": {"splunk-url": "x"}}),
    ),
    ("containerDefinitions[proxy].healthCheck", beside(healthCheck={"command": ["CMD", "true"]})),
    ("containerDefinitions[proxy].dependsOn", beside(dependsOn=[{"containerName": "app", "condition": "START"}])),
    ("containerDefinitions[proxy].portMappings", beside(portMappings=[{"containerPort": 9901}])),
    ("taskDefinition.pidMode", Handmade(task={"pidMode": "task"})),
    ("taskDefinition.volumes[cache]", Handmade(volumes=[{"name": "cache"}])),
    ("service.propagateTags", Handmade(service={"propagateTags": "TASK_DEFINITION"})),
    ("targetGroup.HealthCheckPort", Handmade(group={"HealthCheckPort": "9000"})),
    (
        "targetGroup.load_balancing.cross_zone.enabled",
        Handmade(attributes={"load_balancing.cross_zone.enabled": "true"}),
    ),
    ("listenerRule.Transforms", Handmade(rewrites=())),
    (
        "listenerRule.Conditions[http-header]",
        Handmade(
            conditions=[
                *Handmade().conditions,
                {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Team", "Values": ["search"]}},
            ]
        ),
    ),
    (
        "spec.ingress.paths[0]",
        Handmade(conditions=[{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/a*b"]}}]),
    ),
    ("spec.health.path", Handmade(group={"HealthCheckPath": "/health;v=1"})),
]


@pytest.mark.parametrize(("where", "made"), FOREIGN, ids=[where for where, _ in FOREIGN])
def test_what_a_spec_cannot_say_is_told_with_what_to_do(where: str, made: Handmade, world: World) -> None:
    made.made_in(world)
    found = brought_in(world)
    spec_of(found)
    told = [each for each in found.remarks if where in each.where]
    assert told, [str(each) for each in found.remarks]
    assert all(each.next_step.endswith(".") for each in told)
    assert "is required" not in " ".join(each.says for each in found.remarks)
    shown = text(live(world), found, planned(world, found))
    assert f"# - {told[0].where}: " in shown
    assert list(yaml.safe_load_all(shown)) == [found.deployment]


def test_a_variable_s_value_is_shown_nowhere_but_in_env(world: World) -> None:
    container(environment=[{"name": "db.password", "value": "hunter2"}]).made_in(world)
    found = brought_in(world)
    assert "hunter2" not in text(live(world), found, planned(world, found))


def test_of_a_service_that_is_called_otherwise_a_second_one_is_made_and_it_is_said_so(world: World) -> None:
    web = Handmade(name="web", group_name="web", logs="/ecs/web", container={"name": "web"})
    web.made_in(world)
    found = brought_in(world, "web")
    assert found.deployment["metadata"]["name"] == "web"
    assert found.deployment["metadata"]["namespace"] == "default"
    told = {each.where: each for each in found.remarks}
    assert "default_web" in told["the service"].says
    assert "makes a second service" in told["the service"].next_step
    assert "comes before the operator's" in told["the listener rule"].says
    assert {"the target group", "the container that serves"} <= set(told)
    assert not [where for where in told if "loadBalancers" in where], "what is called otherwise is told once"
    assert outcome(planned(world, found)).startswith("Applied, it makes a service of its own")
    before = world.holdings()["Service"]["web"]
    metadata = {**found.deployment["metadata"], "uid": "u-1", "generation": 1}
    it = Object(world, {**found.deployment, "metadata": metadata})
    it.live(lambda: it.status.get("readyReplicas") == 2)
    assert it.stands("ListenerRuleReady") == ("False", "PathTaken")
    assert world.holdings()["Service"]["web"]["deployments"] == before["deployments"]


def test_a_task_definition_that_differs_costs_one_deployment_and_it_is_said_so(world: World) -> None:
    container(dockerLabels={"team": "search"}).made_in(world)
    found = brought_in(world)
    assert outcome(planned(world, found)) == "Applied, it takes the service over and begins one deployment:"
    begun = deployments(world)
    applied(world, found)
    assert deployments(world) == begun + 1


def test_without_models_or_roles_there_is_a_manifest_to_be_filled_in(world: World) -> None:
    ecs, account = world.client("ecs"), world.account
    ecs.register_task_definition(
        family="bare",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "bare", "image": "registry.example.com/bare:1"}],
    )
    network = {"subnets": account.subnets, "securityGroups": account.security_groups, "assignPublicIp": "ENABLED"}
    ecs.create_service(
        cluster=CLUSTER,
        serviceName="bare",
        taskDefinition="bare",
        desiredCount=0,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    found = brought_in(world, "bare", known=False)
    assert found.environment is not None
    made = InferenceEnvironmentSpec.model_validate(found.environment["spec"])
    assert (made.cluster, made.load_balancer, made.network.assign_public_ip) == (CLUSTER, None, True)
    assert spec_of(found).models.path == "/fill-in"
    assert {"executionRoleArn", "taskRoleArn", "models", "spec.models.path"} <= {each.where for each in found.remarks}


def test_what_is_not_there_or_on_its_way_out_is_not_imported(world: World) -> None:
    assert look(world.aws, CLUSTER, "none") is None
    Handmade().made_in(world)
    world.client("ecs").delete_service(cluster=CLUSTER, service=SERVICE, force=True)
    assert look(world.aws, CLUSTER, SERVICE) is None
