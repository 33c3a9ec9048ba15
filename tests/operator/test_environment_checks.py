"""Whether what an InferenceEnvironment names is there: what its own conditions say of it, before any service does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from inference_operator.api.meta import RECONCILE_AT
from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_operator.aws.errors import Denied
from inference_operator.checks import OF_ENVIRONMENTS
from inference_operator.checks.base import Place, Result
from inference_operator.engine import verification
from inference_operator.engine.backoff import RESYNC
from inference_operator.runtime.loop import Keeper
from inference_operator.runtime.slot import Slot
from tests.operator.builders import deployment_document
from tests.operator.lives import INFRASTRUCTURE, shifting
from tests.operator.test_checks import (
    OTHER_SERVICE,
    dns,
    elsewhere,
    in_other_vpcs,
    trusting,
    with_places,
    without_mount_target,
    without_rules,
)
from tests.operator.world import CLUSTER, REGION, Environment, Object, World

NOWHERE = "sg-00000000"
ARN = f"arn:aws:iam::123456789012:role/{CLUSTER}-operator"


@pytest.fixture
def prepared(world: World) -> World:
    """All is there that the environment names."""
    with_places(world)
    return world


def place(world: World) -> Place:
    spec = InferenceEnvironmentSpec.model_validate(world.environments["default"]["spec"])
    return Place(environment=spec, aws=world.aws)


def message(it: Environment, condition: str) -> str:
    return next(str(c["message"]) for c in it.status["conditions"] if c["type"] == condition)


def in_network(**members: Any) -> Callable[[World], object]:
    return lambda w: w.change_environment(network={**w.environments["default"]["spec"]["network"], **members})


def without_namespace(world: World) -> None:
    world.discover()
    [namespace] = world.client("servicediscovery").list_namespaces()["Namespaces"]
    world.client("servicediscovery").delete_namespace(Id=namespace["Id"])


def without_test_listener(world: World) -> None:
    shifting(world)
    arn = world.environments["default"]["spec"]["loadBalancer"]["testListenerArn"]
    world.client("elbv2").delete_listener(ListenerArn=arn)


@dataclass(frozen=True)
class Flaw:
    check: str
    words: tuple[str, ...]
    wreck: Callable[[World], object]

    def __str__(self) -> str:
        return f"{self.check}-{self.words[0]}"


FLAWS = [
    Flaw("Cluster", ("spec.cluster: the cluster elsewhere",), lambda w: w.change_environment(cluster="elsewhere")),
    Flaw("Cluster", ("is INACTIVE",), lambda w: w.client("ecs").delete_cluster(cluster=CLUSTER)),
    Flaw(
        "Roles",
        ("spec.executionRoleArn", "role/inference-execution does not exist"),
        lambda w: w.client("iam").delete_role(RoleName="inference-execution"),
    ),
    Flaw("Roles", ("does not trust ecs-tasks.amazonaws.com",), trusting(OTHER_SERVICE)),
    Flaw("Roles", (f"spec.loadBalancer.infrastructureRoleArn {INFRASTRUCTURE} does not exist",), shifting),
    Flaw("Subnets", ("spec.network.subnets:", "subnet-00000000"), in_network(subnets=["subnet-00000000"])),
    Flaw("Subnets", ("several VPCs",), in_other_vpcs),
    Flaw(
        "SecurityGroups",
        (f"spec.network.securityGroups: there is no rule of {NOWHERE}",),
        in_network(securityGroups=[NOWHERE]),
    ),
    Flaw(
        "Listener",
        ("spec.loadBalancer: the listener arn:", "does not exist"),
        lambda w: w.client("elbv2").delete_listener(ListenerArn=w.account.listener),
    ),
    Flaw("Listener", ("does not exist",), without_test_listener),
    Flaw("ServiceDiscovery", ("spec.serviceDiscovery.namespaceId: the Cloud Map namespace ns-",), without_namespace),
    Flaw(
        "Models",
        ("spec.models.fileSystemId: the file system fs-00000000 does not exist",),
        lambda w: w.change_environment(
            models={**w.environments["default"]["spec"]["models"], "fileSystemId": "fs-00000000"}
        ),
    ),
    Flaw("Models", ("no available mount target",), without_mount_target),
    Flaw("Models", ("tcp 2049",), without_rules("models")),
    Flaw("Models", ("enableDnsSupport",), dns("EnableDnsSupport")),
    Flaw(
        "LogDestinations",
        ("spec.logging.destinations: the log destination archive: there is no bucket inference-logs",),
        lambda w: w.client("s3").delete_bucket(Bucket="inference-logs"),
    ),
    Flaw("LogDestinations", ("the bucket far-away is in us-west-2",), elsewhere),
    Flaw("LogDestinations", ("the domain", "is in us-west-2"), elsewhere),
    Flaw(
        "LogDestinations",
        ("there is no log group /inference/shared",),
        lambda w: w.client("logs").delete_log_group(logGroupName="/inference/shared"),
    ),
    Flaw(
        "LogDestinations",
        ("there is no delivery stream",),
        lambda w: w.client("firehose").delete_delivery_stream(DeliveryStreamName="inference-logs"),
    ),
]


@pytest.mark.parametrize("flaw", FLAWS, ids=str)
def test_what_is_missing_is_told_by_the_field_that_names_it_with_what_to_do(flaw: Flaw, prepared: World) -> None:
    flaw.wreck(prepared)
    it, mark = Environment(prepared), prepared.mark
    it.look()
    assert it.stands("Verified") == ("False", "VerificationFailed")
    found = [f for f in it.status["verification"]["findings"] if (f["check"], f["result"]) == (flaw.check, "Failed")]
    assert any(all(word in f["message"] for word in flaw.words) for f in found), it.status["verification"]
    assert all(f["message"].startswith("spec.") and f["nextStep"].endswith(".") for f in found)
    assert "Next: " in message(it, "Verified")
    assert prepared.writes(since=mark) == []


def test_every_check_of_an_environment_finds_something_here() -> None:
    assert {flaw.check for flaw in FLAWS} | {"AssumedRole"} == {check.name for check in OF_ENVIRONMENTS}


def test_a_role_that_the_operator_cannot_take_on_is_told_as_that(prepared: World) -> None:
    denied = Denied(code="AccessDenied", message="no", operation="sts:AssumeRole")
    ecs = mock.Mock(describe_clusters=mock.Mock(side_effect=denied))
    prepared.change_environment(assumeRoleArn=ARN)
    found = verification.verify_place(replace(place(prepared), aws=replace(prepared.aws, ecs=ecs)))
    assert (found[0].check, found[0].finding.result) == ("AssumedRole", Result.FAILED)
    assert f"spec.assumeRoleArn {ARN} can't be taken on" in found[0].finding.message
    assert "trust policy" in found[0].finding.next_step


def test_an_environment_that_names_what_is_there_is_verified_and_ready(prepared: World) -> None:
    prepared.discover()
    shifting(prepared)
    trust = json.dumps(OTHER_SERVICE).replace("ec2.amazonaws.com", "ecs.amazonaws.com")
    prepared.client("iam").create_role(RoleName="inference-infrastructure", AssumeRolePolicyDocument=trust)
    it = Environment(prepared)
    it.look()
    assert it.stands("Verified") == ("True", "Verified")
    assert it.stands("Ready") == ("True", "Accepted")
    assert it.status["verification"]["findings"] == []


def test_without_what_every_service_needs_it_is_not_ready_and_its_message_says_why(prepared: World) -> None:
    prepared.client("ecs").delete_cluster(cluster=CLUSTER)
    it = Environment(prepared)
    it.look()
    assert it.stands("Ready") == ("False", "VerificationFailed")
    assert message(it, "Ready") == message(it, "Verified")
    assert message(it, "Ready").startswith(f"spec.cluster: the cluster {CLUSTER} is INACTIVE. Next: Make it")


def test_without_what_some_services_ask_for_it_is_ready_for_the_others(prepared: World) -> None:
    prepared.client("s3").delete_bucket(Bucket="inference-logs")
    it, service = Environment(prepared), Object(prepared)
    it.look()
    assert it.stands("Verified")[0] == "False"
    assert it.stands("Ready") == ("True", "Accepted")
    assert "as Verified tells" in message(it, "Ready")
    service.live(lambda: service.ready)


def test_a_log_group_of_each_namespace_is_not_looked_for_before_there_is_a_service(prepared: World) -> None:
    with_one = {"team": {"cloudWatchLogs": {"logGroup": "/inference/{namespace}"}}}
    prepared.change_environment(logging={"destinations": with_one})
    it = Environment(prepared)
    it.look()
    assert it.stands("Verified")[0] == "True"


def test_a_security_group_without_rules_may_be_there_and_one_of_several_stops_nobody(prepared: World) -> None:
    in_network(securityGroups=[*prepared.account.security_groups, NOWHERE])(prepared)
    it = Environment(prepared)
    it.look()
    assert it.stands("Verified") == ("Unknown", "NotVerified")
    assert message(it, "Verified").startswith(f"spec.network.securityGroups: there is no rule of {NOWHERE} in {REGION}")
    assert it.stands("Ready")[0] == "True"


def test_rules_that_the_operator_has_just_made_are_not_missed(prepared: World) -> None:
    without_rules("models")(prepared)
    in_network(manageSecurityGroupRules=True)(prepared)
    it = Environment(prepared, [deployment_document()])
    it.look()
    assert it.stands("Verified") == ("True", "Verified")


@pytest.mark.parametrize("fault", ["deny", "throttle", "error"])
def test_what_cannot_be_looked_at_is_unknown_and_not_missing(fault: Any, prepared: World) -> None:
    prepared.discover()
    services = ("ecs", "iam", "ec2", "elasticloadbalancing", "elasticfilesystem", "s3", "firehose", "servicediscovery")
    for service in services:
        prepared.fault(fault, f"{service}:*")
    it = Environment(prepared)
    it.look()
    assert it.stands("Verified") == ("Unknown", "NotVerified")
    assert it.stands("Ready") == ("True", "Accepted")
    found = it.status["verification"]["findings"]
    assert {f["check"] for f in found} | {"AssumedRole"} == {check.name for check in OF_ENVIRONMENTS}
    assert {f["result"] for f in found} == {"Unknown"}


# -- when it is looked


def live(it: Environment, duration: timedelta) -> None:
    """Pass after pass, each when the one before asked for it."""
    end = it.world.clock.now() + duration
    while it.world.clock.now() < end:
        it.world.advance(it.look().requeue_after)


def rounds(world: World, since: int) -> int:
    return [call.operation for call in world.calls(since=since)].count("DescribeClusters")


def test_one_at_rest_is_looked_at_once_an_hour(prepared: World) -> None:
    it, mark = Environment(prepared), prepared.mark
    live(it, timedelta(hours=6))
    assert rounds(prepared, mark) == 6
    it.look()
    it.objects = [deployment_document()]
    it.look()
    assert rounds(prepared, mark) == 7, "and not when a service comes"


def test_what_vanishes_later_is_told_within_the_hour_and_what_is_mended_within_minutes(prepared: World) -> None:
    it = Environment(prepared)
    live(it, timedelta(minutes=1))
    prepared.client("logs").delete_log_group(logGroupName="/inference/shared")
    live(it, timedelta(minutes=1))
    assert it.stands("Verified")[0] == "False"
    prepared.client("logs").create_log_group(logGroupName="/inference/shared")
    live(it, RESYNC + timedelta(minutes=1))
    assert it.stands("Verified")[0] == "True"
    assert rounds(prepared, 0) == 3


def test_another_spec_is_looked_at_at_once(prepared: World) -> None:
    it = Environment(prepared)
    it.look()
    it.edit(cluster="elsewhere")
    it.look()
    assert it.stands("Verified")[0] == "False"
    it.edit(cluster=CLUSTER)
    it.look()
    assert it.stands("Verified")[0] == "True"


def test_it_is_looked_at_again_when_that_is_asked_for(prepared: World) -> None:
    it = Environment(prepared)
    meta, slot = it.document["metadata"], Slot(memory=it.memory)
    keeper = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1))
    keeper.environment_noticed(it.document, slot)
    it.look()
    prepared.client("iam").delete_role(RoleName="inference-execution")
    prepared.advance(timedelta(minutes=1))
    it.look()
    assert it.stands("Verified")[0] == "True", "it is not yet known"
    keeper.environment_noticed({**it.document, "metadata": {**meta, "annotations": {RECONCILE_AT: "now"}}}, slot)
    slot.begin()
    it.look()
    assert it.stands("Verified")[0] == "False"


def test_one_that_is_invalid_or_goes_is_not_looked_at(prepared: World) -> None:
    it, mark = Environment(prepared), prepared.mark
    it.change(region="?")
    it.look()
    assert it.stands("Verified") == ("Absent", "")
    it.take_away()
    assert rounds(prepared, mark) == 0
