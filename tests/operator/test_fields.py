"""Every field of the spec, from the object to AWS and back: what it changes, how, and that it goes again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from inference_operator.api.schema import structural_schema
from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceDeploymentStatus, Resources
from inference_operator.engine.plan import Absent, Create, Keep, Replace, StepResult, Trouble, Update
from inference_operator.engine.reconcile import Memory, reconcile
from inference_operator.resources import KINDS
from inference_operator.resources.base import Fact
from tests.api.samples import changed
from tests.operator.builders import deployment_document
from tests.operator.test_strategies import prepare
from tests.operator.world import World

Paths = tuple[str, ...]
Steps = Mapping[str, Paths]
"""By kind, the members of its update's input that change."""

REPLACED = ("AccessPoint", "TaskDefinition")
"""AWS can't change these in place."""

NEW_REVISION: Steps = {"TaskDefinition": ("revision",), "Service": ("taskDefinition",)}
TAGGED = ("LogGroup", "AccessPoint", "TargetGroup", "ListenerRule", "TaskDefinition", "Service")
EVERYWHERE: Steps = dict.fromkeys(TAGGED, ("tags",))
SCALED: Mapping[str, Any] = {"minReplicas": 2, "maxReplicas": 4, "cpuPercent": 60}
NIGHT: Mapping[str, Any] = {"name": "night", "schedule": "cron(0 20 * * ? *)", "minReplicas": 0, "maxReplicas": 1}
CONFIGURED: Steps = {"Service": ("deploymentConfiguration",)}
MINIMAL: Mapping[str, Any] = deployment_document()["spec"]
SIDECAR = {"name": "proxy", "image": "registry.example.com/proxy:1"}
SECRET = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:shop-Ab12Cd"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One field alone is given a value. `base` is what else is set, before and after."""

    path: str
    value: Any
    steps: Steps
    base: Mapping[str, Any] = field(default_factory=dict)
    back: Steps | None = None
    """What changes when the value is taken away again, where that is something else."""
    shifting: bool = False
    """The environment can shift requests."""

    def __str__(self) -> str:
        return self.path

    def before(self) -> dict[str, Any]:
        return changed(dict(MINIMAL), dict(self.base))

    def after(self) -> dict[str, Any]:
        return changed(self.before(), {self.path: self.value})


def row(path: str, value: Any, steps: Steps = NEW_REVISION, back: Steps | None = None, **base: Any) -> Row:
    others = {key.replace("__", "."): v for key, v in base.items()}
    return Row(path=path, value=value, steps=steps, back=back, base=others)


def first_router(value: Any, path: str = "logging.routes") -> Row:
    """Log groups that were made stay when they are no longer asked for."""
    return row(path, value, {**NEW_REVISION, "LogGroup": ("logGroupName",)}, NEW_REVISION)


def sidecar(**members: Any) -> list[dict[str, Any]]:
    return [{**SIDECAR, **members}]


END = {"to": ["archive"]}
TO_ERRORS = {"match": {"levels": ["CRITICAL"]}, "to": ["errors"]}

ROWS = [
    row("image", "registry.example.com/inference-server:1.4.1"),
    row("replicas", 3, {"Service": ("desiredCount",)}),
    row("suspend", True, {"Service": ("desiredCount",)}, replicas=3),
    row("driftPolicy", "Report", {}),
    row("deletionPolicy", "Retain", {}),
    row(
        "suspend",
        True,
        {"Service": ("desiredCount",), "ScalableTarget": ("MinCapacity", "SuspendedState", "tags")},
        autoscaling=SCALED,
    ),
    *(
        row("autoscaling", {**SCALED, member: value}, {kind: (path,)}, autoscaling=SCALED)
        for member, value, kind, path in (
            ("cpuPercent", 70, "ScalingPolicies", "policies.cpu"),
            ("memoryPercent", 70, "ScalingPolicies", "policies.memory"),
            ("requestsPerReplica", 600, "ScalingPolicies", "policies.requests"),
            ("scaleOutCooldown", "2m", "ScalingPolicies", "policies.cpu"),
            ("scaleInCooldown", "10m", "ScalingPolicies", "policies.cpu"),
            ("schedules", [NIGHT], "ScalingPolicies", "schedules.night"),
        )
    ),
    *(
        row(
            "autoscaling",
            {**SCALED, "schedules": [{**NIGHT, member: value}]},
            {"ScalingPolicies": ("schedules.night",)},
            autoscaling={**SCALED, "schedules": [NIGHT]},
        )
        for member, value in (
            ("schedule", "cron(0 21 ? * MON-FRI *)"),
            ("timezone", "Asia/Tokyo"),
            ("minReplicas", 1),
            ("maxReplicas", 2),
        )
    ),
    row("autoscaling", {**SCALED, "maxReplicas": 6}, {"ScalableTarget": ("MaxCapacity", "tags")}, autoscaling=SCALED),
    row(
        "tags",
        [{"key": "team", "value": "search"}],
        {**EVERYWHERE, "ScalableTarget": ("tags",)},
        autoscaling=SCALED,
    ),
    row("cpu", "2", memory="4Gi"),
    row("memory", "4Gi"),
    row("architecture", "ARM64"),
    row("ephemeralStorage", "40Gi"),
    row("capacity", [{"provider": "FARGATE_SPOT", "weight": 1}], {"Service": ("capacityProviderStrategy",)}),
    row(
        "capacity",
        [{"provider": "FARGATE", "base": 1}, {"provider": "FARGATE_SPOT", "weight": 1}],
        {"Service": ("capacityProviderStrategy",)},
        capacity=[{"provider": "FARGATE", "weight": 1}],
    ),
    row("platformVersion", "1.4.0", {"Service": ("platformVersion",)}),
    row("models.path", "/recommender/2", {"AccessPoint": ("rootDirectory.path",), **NEW_REVISION}),
    row("models.mountPath", "/elsewhere"),
    row("port", 9000, {"TaskDefinition": ("revision",), "Service": ("taskDefinition", "loadBalancers")}),
    row("taskRoleArn", "arn:aws:iam::222222222222:role/search"),
    row("command", ["serve", "--verbose"]),
    row("user", "10001:10001"),
    row("env", [{"name": "LOG_LEVEL", "value": "DEBUG"}]),
    row("secrets", [{"name": "TOKEN", "valueFrom": SECRET}]),
    row("secrets", [{"name": "TOKEN", "valueFrom": f"{SECRET}:token:AWSPREVIOUS:"}]),
    row("secrets", [{"name": "TOKEN", "valueFrom": "/shop/token"}]),
    row("stopTimeout", "2m", {**NEW_REVISION, "TargetGroup": ("deregistration_delay.timeout_seconds",)}),
    row("stopTimeout", "2m", ingress__deregistrationDelay="1m"),
    row("readOnlyRootFilesystem", False),
    row("sidecars", sidecar()),
    *(
        row("sidecars", sidecar(**{member: value}), sidecars=sidecar())
        for member, value in {
            "image": "registry.example.com/proxy:2",
            "essential": True,
            "command": ["--port", "9901"],
            "user": "nobody",
            "env": [{"name": "LEVEL", "value": "info"}],
            "secrets": [{"name": "TOKEN", "valueFrom": SECRET}],
            "cpu": "0.25",
            "memory": "256Mi",
            "readOnlyRootFilesystem": False,
        }.items()
    ),
    row("health.path", "/v2/health/ready", {"TargetGroup": ("HealthCheckPath",)}),
    row("health.startup", "10m", {"Service": ("healthCheckGracePeriodSeconds",)}),
    row("health.command", ["python", "-m", "check"]),
    row("health.interval", "20s", {"TargetGroup": ("HealthCheckIntervalSeconds",)}),
    row("health.timeout", "8s", {"TargetGroup": ("HealthCheckTimeoutSeconds",)}),
    row("health.healthyThreshold", 4, {"TargetGroup": ("HealthyThresholdCount",)}),
    row("health.unhealthyThreshold", 5, {"TargetGroup": ("UnhealthyThresholdCount",)}),
    row(
        "health.interval",
        "20s",
        {"TargetGroup": ("HealthCheckIntervalSeconds",), **NEW_REVISION},
        health__command=["true"],
    ),
    *(first_router(routes) for routes in ([END], [{"drop": True}], [{"to": ["errors", "shared", "archive"]}])),
    *(
        row("logging.routes", [{**TO_ERRORS, **route}, END], logging__routes=[TO_ERRORS, END])
        for route in (
            {"match": {"levels": ["ERROR"]}},
            {"match": {"fields": [{"name": "status", "values": ["500"]}]}},
            {"match": {"fields": [{"name": "user.id", "regex": "^a"}]}},
            {"match": {"source": "stderr"}},
            {"match": {"path": "/v2/*"}},
            {"match": {"regex": "slow"}},
            {"match": {"container": "app"}},
            {"samplePercent": 10},
        )
    ),
    row("logging.redact", ["authorization"], logging__routes=[END]),
    row("logging.remove", ["authorization"], logging__routes=[END]),
    row("logging.debugUntil", "2099-01-01T00:00:00Z", logging__routes=[END]),
    *(
        first_router(custom, "logging.custom")
        for custom in (
            {"configuration": "[OUTPUT]\n    Name null", "parsers": "[PARSER]\n    Name x"},
            {"file": "/etc/router.conf", "image": "registry.example.com/router:1"},
            {"configuration": "[OUTPUT]\n    Name null", "secrets": [{"name": "TOKEN", "valueFrom": SECRET}]},
        )
    ),
    row("ingress.paths", ["/films/*"], {"ListenerRule": ("Conditions", "Transforms")}),
    row("ingress.paths", ["/films/*", "/series/*"], {"ListenerRule": ("Conditions", "Transforms")}),
    row("ingress.hosts", ["films.example.com"], {"ListenerRule": ("Conditions",)}),
    row(
        "ingress.deregistrationDelay",
        "2m",
        {"TargetGroup": ("deregistration_delay.timeout_seconds",)},
    ),
    row(
        "ingress.slowStart",
        "1m",
        {"TargetGroup": ("slow_start.duration_seconds", "load_balancing.algorithm.type")},
    ),
    row(
        "ingress.stickiness",
        {"duration": "1h"},
        {"TargetGroup": ("stickiness.enabled", "stickiness.lb_cookie.duration_seconds")},
    ),
    replace(
        row(
            "ingress.stickiness.cookieName",
            "session",
            {
                "TargetGroup": (
                    "stickiness.type",
                    "stickiness.app_cookie.cookie_name",
                    "stickiness.app_cookie.duration_seconds",
                )
            },
            ingress__stickiness={"duration": "1h"},
        ),
        back={"TargetGroup": ("stickiness.type",)},
    ),
    row("health.successCodes", "200-299", {"TargetGroup": ("Matcher",)}),
    row("rollout.minimumHealthyPercent", 50, {"Service": ("deploymentConfiguration",)}),
    row("rollout.maximumPercent", 150, {"Service": ("deploymentConfiguration",)}, replicas=2),
    row("rollout.circuitBreaker.enabled", False, {"Service": ("deploymentConfiguration",)}),
    row("rollout.circuitBreaker.rollback", False, {"Service": ("deploymentConfiguration",)}),
    *(
        row("rollout.circuitBreaker.threshold", {"type": kind, "value": 7}, {"Service": ("deploymentConfiguration",)})
        for kind in ("COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT")
    ),
    row("rollout.circuitBreaker.resetOnHealthyTask", False, {"Service": ("deploymentConfiguration",)}),
    row("rollout.alarms", {"names": ["errors", "latency"]}, {"Service": ("deploymentConfiguration",)}),
    row(
        "rollout.alarms.rollback",
        False,
        {"Service": ("deploymentConfiguration",)},
        rollout__alarms__names=["errors"],
    ),
    *(
        replace(each, shifting=True)
        for each in (
            *(row("rollout.strategy", strategy, CONFIGURED) for strategy in ("BLUE_GREEN", "LINEAR", "CANARY")),
            row("rollout.bakeTime", "20m", CONFIGURED, rollout__strategy="BLUE_GREEN"),
            row("rollout.canary", {"percent": 20, "bakeTime": "1h"}, CONFIGURED, rollout__strategy="CANARY"),
            row("rollout.linear", {"stepPercent": 20, "stepBakeTime": "1h"}, CONFIGURED, rollout__strategy="LINEAR"),
            row("rollout.pauses", [{"stage": "POST_SCALE_UP"}], CONFIGURED, rollout__strategy="BLUE_GREEN"),
            row(
                "rollout.pauses",
                [{"stage": "PRE_SCALE_UP", "timeout": "1h", "onTimeout": "CONTINUE"}],
                CONFIGURED,
                rollout__strategy="BLUE_GREEN",
                rollout__pauses=[{"stage": "PRE_SCALE_UP"}],
            ),
        )
    ),
    row("rollout.progressDeadline", "1h", {}),
    row("availabilityZoneRebalancing", False, {"Service": ("availabilityZoneRebalancing",)}),
    row(
        "exec.enabled",
        True,
        {"TaskDefinition": ("revision",), "Service": ("taskDefinition", "enableExecuteCommand")},
    ),
    row("tags", [{"key": "team", "value": "search"}], EVERYWHERE),
]

NEVER_CHANGED = {"environment", "ingress.protocolVersion", "sidecars[].name", "autoscaling.schedules[].name"}
"""The first two are immutable; the others say which one is meant."""


def leaves(path: str, node: Mapping[str, Any]) -> Iterator[str]:
    children = node.get("properties") or node.get("items", {}).get("properties")
    if not children:
        yield path
        return
    prefix = f"{path}[]." if "items" in node else f"{path}." if path else ""
    for name, child in children.items():
        yield from leaves(f"{prefix}{name}", child)


def given(path: str, value: Any) -> Iterator[str]:
    """The leaves that a value sets, named as `leaves` names them."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from given(f"{path}.{name}".removeprefix("."), part)
    elif isinstance(value, list) and value and isinstance(value[0], Mapping):
        for part in value:
            yield from given(f"{path}[]", part)
    else:
        yield path


def test_every_field_of_the_spec_has_its_row() -> None:
    tried = {path for each in ROWS for path in given(each.path, each.value)}
    assert set(leaves("", structural_schema(InferenceDeploymentSpec))) - tried <= NEVER_CHANGED


class Keeper:
    def __init__(self, world: World) -> None:
        self.world = world
        self.status = InferenceDeploymentStatus()

    def brought_to(self, spec: Mapping[str, Any]) -> list[StepResult]:
        """A pass of a process that has just started."""
        self.world.restart()
        ctx = replace(self.world.context(**spec), previous=self.status)
        results = list(reconcile(KINDS, ctx, Memory()).results)
        for result in results:
            assert not isinstance(result.outcome, Trouble), result
        self.status = InferenceDeploymentStatus(resources=Resources(access_point=ctx.facts[Fact.ACCESS_POINT]))
        return results


def done(results: list[StepResult]) -> dict[str, Paths]:
    """What was changed, by kind; anything else than a change must be a `Keep`."""
    found = {}
    for result in results:
        match result.step:
            case Update(change):
                assert result.kind not in REPLACED or change.paths == ("tags",), "it can't be changed in place"
                found[result.kind] = tuple(sorted(change.paths))
            case Replace(change):
                assert result.kind in REPLACED, "it could be changed in place"
                found[result.kind] = tuple(sorted(change.paths))
            case step:
                assert isinstance(step, Keep | Absent), result
    return found


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_a_field_reaches_aws_alone_and_goes_again(row: Row, world: World) -> None:
    if row.shifting:
        prepare(world)
    keeper = Keeper(world)
    back = row.steps if row.back is None else row.back
    keeper.brought_to(row.before())
    for spec, steps in ((row.after(), row.steps), (row.before(), back)):
        assert done(keeper.brought_to(spec)) == {kind: tuple(sorted(paths)) for kind, paths in steps.items()}
        assert done(keeper.brought_to(spec)) == {}, "what AWS answers reads as a difference"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_what_is_created_with_a_field_is_as_asked_at_once(row: Row, world: World) -> None:
    if row.shifting:
        prepare(world)
    keeper = Keeper(world)
    created = keeper.brought_to(row.after())
    assert {type(result.step) for result in created} <= {Create, Absent}
    assert done(keeper.brought_to(row.after())) == {}
