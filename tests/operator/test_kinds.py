"""What every kind promises the engine, whatever it is: one suite, run over each kind of the registry.

A new kind is tested by adding it to the registry, and its rows to `CHANGES` and `STRANGERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from inference_operator.domain.reasons import Reason
from inference_operator.engine.plan import Absent, Create, Delete, Hold, Keep, Replace, StepResult, Trouble, Update
from inference_operator.engine.reconcile import Memory, finalize, reconcile
from inference_operator.resources import KINDS
from inference_operator.resources.base import AnyKind, Context
from tests.operator.world import CLUSTER, World

SECOND = ("AlternateTargetGroup", "TestListenerRule")
"""What there are two of is tried once: the same code makes the second, and test_strategies.py has both."""

TRIED = [kind for kind in KINDS if kind.name not in SECOND]
NAMES = [kind.name for kind in TRIED]
every_kind = pytest.mark.parametrize("kind", TRIED, ids=NAMES)

SERVICE = "shop_recommender"
SCALABLE = {
    "ServiceNamespace": "ecs",
    "ResourceId": f"service/{CLUSTER}/{SERVICE}",
    "ScalableDimension": "ecs:service:DesiredCount",
}


@dataclass(frozen=True, kw_only=True)
class Alteration:
    """One way in which what is wanted, or what is there, can change; and what of the update's input then differs."""

    kind: str
    paths: tuple[str, ...]
    spec: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    by_hand: Callable[[World], object] | None = None
    """What somebody else does in the account."""
    replaces: bool = False

    def __str__(self) -> str:
        cause = [*self.spec, *self.environment] or ["by hand"]
        return f"{self.kind}-{'-'.join(cause)}-{'-'.join(self.paths)}"


def _alters(kind: str, *paths: str, **members: Any) -> Alteration:
    return Alteration(kind=kind, paths=paths, **members)


def _posix(uid: int, gid: int) -> Callable[[World], Mapping[str, Any]]:
    def models(world: World) -> Mapping[str, Any]:
        posix_user = {"uid": uid, "gid": gid}
        return {"fileSystemId": world.account.file_system, "rootDirectory": "/models", "posixUser": posix_user}

    return models


def _second_subnet_alone(world: World) -> Mapping[str, Any]:
    before: Mapping[str, Any] = world.environments["default"]["spec"]["network"]
    return {**before, "subnets": world.account.subnets[1:]}


def _group_arn(world: World) -> str:
    arn: str = world.client("elbv2").describe_target_groups()["TargetGroups"][0]["TargetGroupArn"]
    return arn


def _rule_arn(world: World) -> str:
    rules = world.client("elbv2").describe_rules(ListenerArn=world.account.listener)["Rules"]
    arn: str = next(rule["RuleArn"] for rule in rules if not rule["IsDefault"])
    return arn


# A value of `environment` that is a function is asked for the value: it depends on ids that the account gave.
CHANGES = [
    _alters("LogGroup", "retentionInDays", environment={"logging": {"retentionDays": 30}}),
    _alters(
        "LogGroup",
        "retentionInDays",
        by_hand=lambda w: w.client("logs").delete_retention_policy(logGroupName="/inference/shop/recommender"),
    ),
    _alters("AccessPoint", "rootDirectory.path", spec={"models": {"path": "/recommender/2"}}, replaces=True),
    _alters("AccessPoint", "posixUser.uid", environment={"models": _posix(10002, 10001)}, replaces=True),
    _alters("AccessPoint", "posixUser.gid", environment={"models": _posix(10001, 10002)}, replaces=True),
    _alters("TargetGroup", "HealthCheckPath", spec={"health": {"path": "/v2/health/ready"}}),
    _alters(
        "TargetGroup",
        "deregistration_delay.timeout_seconds",
        by_hand=lambda w: w.client("elbv2").modify_target_group_attributes(
            TargetGroupArn=_group_arn(w), Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}]
        ),
    ),
    _alters(
        "TargetGroup",
        "HealthyThresholdCount",
        by_hand=lambda w: w.client("elbv2").modify_target_group(TargetGroupArn=_group_arn(w), HealthyThresholdCount=9),
    ),
    _alters(
        "TargetGroup",
        "HealthCheckProtocol",
        "HealthCheckPort",
        by_hand=lambda w: w.client("elbv2").modify_target_group(
            TargetGroupArn=_group_arn(w), HealthCheckProtocol="HTTPS", HealthCheckPort="9443"
        ),
    ),
    _alters(  # which AWS takes back in one call only
        "TargetGroup",
        "load_balancing.algorithm.type",
        by_hand=lambda w: w.client("elbv2").modify_target_group_attributes(
            TargetGroupArn=_group_arn(w),
            Attributes=[
                {"Key": "load_balancing.algorithm.type", "Value": "weighted_random"},
                {"Key": "load_balancing.algorithm.anomaly_mitigation", "Value": "on"},
            ],
        ),
    ),
    _alters("ListenerRule", "Conditions", "Transforms", spec={"ingress": {"paths": ["/films/*"]}}),
    _alters("ListenerRule", "Conditions", spec={"ingress": {"hosts": ["films.example.com"]}}),
    _alters(
        "ListenerRule",
        "Conditions",
        "Transforms",
        spec={"ingress": {"paths": ["/*"], "hosts": ["films.example.com"]}},
    ),
    _alters(
        "ListenerRule",
        "Conditions",
        by_hand=lambda w: w.client("elbv2").modify_rule(
            RuleArn=_rule_arn(w), Conditions=[{"Field": "path-pattern", "Values": ["/elsewhere/*"]}]
        ),
    ),
    _alters(
        "DiscoveryService",
        "DnsConfig",
        by_hand=lambda w: w.client("servicediscovery").update_service(
            Id=w.client("servicediscovery").list_services()["Services"][0]["Id"],
            Service={"DnsConfig": {"DnsRecords": [{"Type": "A", "TTL": 300}]}},
        ),
    ),
    *(
        _alters("TaskDefinition", "revision", spec=spec, replaces=True)
        for spec in (
            {"image": "registry.example.com/inference-server:1.4.1"},
            {"cpu": "2", "memory": "4Gi"},
            {"env": [{"name": "LOG_LEVEL", "value": "DEBUG"}]},
            {"port": 9000},
            {"models": {"path": "/recommender/1", "mountPath": "/elsewhere"}},
        )
    ),
    _alters("Service", "desiredCount", spec={"replicas": 3}),
    _alters("Service", "desiredCount", spec={"replicas": 0}),
    _alters("Service", "deploymentConfiguration", spec={"rollout": {"minimumHealthyPercent": 50}}),
    _alters("Service", "deploymentConfiguration", spec={"rollout": {"circuitBreaker": {"enabled": False}}}),
    _alters(
        "Service",
        "deploymentConfiguration",
        "availabilityZoneRebalancing",
        spec={"rollout": {"minimumHealthyPercent": 0, "maximumPercent": 100}},
    ),
    _alters("Service", "networkConfiguration", environment={"network": _second_subnet_alone}),
    _alters("Service", "healthCheckGracePeriodSeconds", spec={"health": {"startup": "10m"}}),
    _alters(
        "Service",
        "desiredCount",
        by_hand=lambda w: w.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, desiredCount=5),
    ),
]


CHANGES += [
    _alters(
        "ScalableTarget",
        "MaxCapacity",
        by_hand=lambda w: w.client("application-autoscaling").register_scalable_target(**SCALABLE, MaxCapacity=50),
    ),
    _alters(
        "ScalableTarget",
        "SuspendedState",
        by_hand=lambda w: w.client("application-autoscaling").register_scalable_target(
            **SCALABLE,
            SuspendedState=dict.fromkeys(
                ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended"), True
            ),
        ),
    ),
    _alters(
        "ScalingPolicies",
        "policies.cpu",
        "policies.memory",
        spec={"autoscaling": {"minReplicas": 2, "maxReplicas": 4, "memoryPercent": 60}},
    ),
]


def _strange_log_group(world: World) -> None:
    world.client("logs").create_log_group(logGroupName="/inference/shop/recommender")


def _strange_access_point(world: World) -> None:
    world.client("efs").create_access_point(
        ClientToken="theirs",
        FileSystemId=world.account.file_system,
        RootDirectory={"Path": "/models/recommender/1"},
        PosixUser={"Uid": 10001, "Gid": 10001},
    )


def _strange_target_group(world: World) -> None:
    world.client("elbv2").create_target_group(
        Name=world.context().identity.target_group, Protocol="HTTP", Port=80, VpcId=world.account.vpc, TargetType="ip"
    )


def _strange_rule(world: World) -> None:
    world.client("elbv2").create_rule(
        ListenerArn=world.account.listener,
        Priority=7,
        Conditions=[
            {
                "Field": "path-pattern",
                "PathPatternConfig": {"Values": ["/shop/recommender", "/shop/recommender/*"]},
            }
        ],
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )


def _strange_discovery_service(world: World) -> None:
    cloud_map = world.client("servicediscovery")
    [namespace] = cloud_map.list_namespaces()["Namespaces"]
    cloud_map.create_service(
        Name=world.context().identity.discovery_name,
        NamespaceId=namespace["Id"],
        DnsConfig={"DnsRecords": [{"Type": "A", "TTL": 10}]},
    )


def strange_task_definition(world: World, family: str = SERVICE) -> str:
    made = world.client("ecs").register_task_definition(
        family=family,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "app", "image": "theirs:1", "portMappings": [{"containerPort": 8080}]}],
    )
    arn: str = made["taskDefinition"]["taskDefinitionArn"]
    return arn


def _strange_target(world: World) -> None:
    world.client("application-autoscaling").register_scalable_target(**SCALABLE, MinCapacity=1, MaxCapacity=9)


def _strange_policy(world: World) -> None:
    world.client("application-autoscaling").put_scaling_policy(
        **SCALABLE,
        PolicyName="theirs",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 10.0,
            "CustomizedMetricSpecification": {"MetricName": "Queue", "Namespace": "Theirs", "Statistic": "Average"},
        },
    )


def _strange_service(world: World) -> None:
    network: Mapping[str, Any] = world.environments["default"]["spec"]["network"]
    world.client("ecs").create_service(
        cluster=CLUSTER,
        serviceName=SERVICE,
        taskDefinition=strange_task_definition(world, family="theirs"),
        desiredCount=0,
        launchType="FARGATE",
        networkConfiguration={
            "awsvpcConfiguration": {"subnets": network["subnets"], "securityGroups": network["securityGroups"]}
        },
    )


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """A thing of somebody else's where ours would be."""

    make: Callable[[World], object]
    named_by_aws: bool = False
    """AWS names such things, so that ours is made beside it."""


STRANGERS: Mapping[str, Stranger] = {
    "LogGroup": Stranger(make=_strange_log_group),
    "AccessPoint": Stranger(make=_strange_access_point, named_by_aws=True),
    "TargetGroup": Stranger(make=_strange_target_group),
    "ListenerRule": Stranger(make=_strange_rule, named_by_aws=True),
    "DiscoveryService": Stranger(make=_strange_discovery_service),
    "TaskDefinition": Stranger(make=strange_task_definition),
    "Service": Stranger(make=_strange_service),
    "ScalableTarget": Stranger(make=_strange_target),
    "ScalingPolicies": Stranger(make=_strange_policy, named_by_aws=True),
}


def kind_of(name: str) -> AnyKind:
    return next(kind for kind in KINDS if kind.name == name)


SCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 4, "cpuPercent": 60}}
ASKED_FOR: Mapping[str, Mapping[str, Any]] = {"ScalableTarget": SCALED, "ScalingPolicies": SCALED}
"""What the spec must have for a kind to be wanted at all."""


def with_what_it_needs(world: World, kind: AnyKind, **spec: Any) -> Context:
    """A context in which everything before the kind is there."""
    if kind.name == "DiscoveryService":
        world.discover()
    ctx = world.context(**{**ASKED_FOR.get(kind.name, {}), **spec})
    for result in reconcile(KINDS[: KINDS.index(kind)], ctx, Memory()).results:
        assert not isinstance(result.outcome, Trouble), result
    return ctx


def one(kind: AnyKind, ctx: Context, memory: Memory | None = None) -> StepResult:
    """What a pass does about this kind alone; without a memory, as after a restart."""
    return reconcile([kind], ctx, memory or Memory()).results[0]


def gone(world: World, kind: AnyKind, ctx: Context) -> StepResult:
    """The kind is taken away, however many passes that takes."""
    for _ in range(100):
        result = finalize([kind], ctx, Memory())[0]
        if result.outcome is None:
            return result
        world.advance(timedelta(seconds=10))
    raise AssertionError("it never went")


def test_every_kind_has_its_rows_here() -> None:
    assert {alteration.kind for alteration in CHANGES} == set(NAMES)
    assert set(STRANGERS) == set(NAMES)


@every_kind
def test_applied_twice_it_is_made_once(kind: AnyKind, world: World) -> None:
    ctx, memory = with_what_it_needs(world, kind), Memory()
    first = one(kind, ctx, memory)
    assert first.step == Create()
    assert not isinstance(first.outcome, Trouble)
    before, mark = world.holdings(), world.mark
    assert len(before[kind.name]) == 1
    assert one(kind, ctx, memory).step == Keep()
    assert one(kind, ctx).step == Keep()
    assert world.writes(since=mark) == []
    assert world.holdings() == before


@every_kind
def test_what_is_observed_after_a_create_is_what_was_wanted(kind: AnyKind, world: World) -> None:
    ctx = with_what_it_needs(world, kind)
    want: Any = kind.desire(ctx)
    made = kind.create(ctx, want)
    world.restart()
    seen = kind.observe(world.context())
    assert seen is not None
    for have in (made, seen):
        assert not kind.diff(want, have)
        assert dict(have.tags) | dict(want.tags) == dict(have.tags)
    assert kind.facts(made) == kind.facts(seen)


@pytest.mark.parametrize("alteration", CHANGES, ids=str)
def test_a_change_of_what_is_wanted_or_there_is_made_good_once(alteration: Alteration, world: World) -> None:
    kind = kind_of(alteration.kind)
    one(kind, with_what_it_needs(world, kind))
    if alteration.by_hand is not None:
        alteration.by_hand(world)
    environment = {k: v(world) if callable(v) else v for k, v in alteration.environment.items()}
    world.change_environment(**environment)
    world.restart()
    ctx = with_what_it_needs(world, kind, **alteration.spec)
    memory = Memory()

    result = one(kind, ctx, memory)
    assert isinstance(result.step, Replace if alteration.replaces else Update)
    assert set(result.step.change.paths) == set(alteration.paths)
    assert not isinstance(result.outcome, Trouble)

    mark = world.mark
    assert one(kind, ctx, memory).step == Keep(), "what the update answered is not what was wanted"
    world.restart()
    again = one(kind, with_what_it_needs(world, kind, **alteration.spec))
    assert again.step == Keep(), "what AWS has is not what was wanted"
    assert world.writes(since=mark) == []
    assert len(world.holdings()[kind.name]) == (2 if kind.name == "TaskDefinition" else 1)


@every_kind
def test_taking_away_what_was_never_there_is_done_at_once_and_writes_nothing(kind: AnyKind, world: World) -> None:
    result = finalize([kind], world.context(), Memory())[0]
    assert (result.step, result.outcome) == (Absent(), None)
    assert world.writes() == []


@every_kind
def test_taking_away_removes_it_and_nothing_else_and_again_is_harmless(kind: AnyKind, world: World) -> None:
    ctx = with_what_it_needs(world, kind)
    before = world.holdings()
    one(kind, ctx)
    have = kind.observe(ctx)
    assert have is not None
    assert finalize([kind], ctx, Memory())[0].step == Delete()
    gone(world, kind, ctx)
    world.restart()
    assert world.holdings() == before
    assert kind.observe(world.context()) is None
    kind.delete(world.context(), have)  # by one who does not know it yet
    assert world.holdings() == before


@every_kind
def test_something_of_somebody_elses_in_its_place_is_left_untouched(kind: AnyKind, world: World) -> None:
    stranger = STRANGERS[kind.name]
    ctx = with_what_it_needs(world, kind)
    stranger.make(world)
    before, mark = world.holdings(), world.mark
    result = one(kind, ctx)
    if stranger.named_by_aws:
        assert result.step == Create()
        gone(world, kind, ctx)
    else:
        assert isinstance(result.step, Hold)
        assert result.step.reason is Reason.NOT_OWNED
        assert "ecs-inference.dev/owner" in result.step.message
        assert isinstance(result.outcome, Trouble)
        assert not result.outcome.retry_soon
        assert finalize([kind], ctx, Memory())[0].step == Absent()
        assert world.writes(since=mark) == []
    assert world.holdings() == before


def operations_of_a_create(kind: AnyKind, folder: Path) -> list[str]:
    world = World(folder)
    ctx = with_what_it_needs(world, kind)
    mark = world.mark
    one(kind, ctx)
    return world.writes(since=mark)


@every_kind
@pytest.mark.parametrize("who", ["the engine", "botocore", "another process"])
def test_a_create_whose_answer_was_lost_ends_in_one_thing_whoever_tries_again(
    kind: AnyKind, who: str, tmp_path: Path
) -> None:
    operations = operations_of_a_create(kind, tmp_path / "dry")
    assert operations
    for operation in operations:
        world = World(tmp_path / operation, patient=who == "botocore")
        ctx, memory = with_what_it_needs(world, kind), Memory()
        mark = world.mark
        world.fault("lost", operation, times=1)
        one(kind, ctx, memory)
        assert [call.fault for call in world.calls(since=mark)].count("lost") == 1
        if who == "another process":
            world.restart()
            ctx, memory = with_what_it_needs(world, kind), Memory()
        one(kind, ctx, memory)
        result = one(kind, ctx, memory)
        assert result.step == Keep(), f"after the answer to {operation} was lost"
        assert not isinstance(result.outcome, Trouble)
        assert len(world.holdings()[kind.name]) == 1
        assert not kind.diff(kind.desire(ctx), kind.observe(ctx))
