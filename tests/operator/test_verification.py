"""What checks keep back, what they let through, and when they are made."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

import pytest

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec, VerificationState
from inference_operator.checks.base import Case, Check, Finding, Result
from inference_operator.domain.names import Identity
from inference_operator.engine import verification
from inference_operator.engine.verification import GOOD_FOR, Gate
from tests.operator.builders import NOW, deployment_document, environment_document
from tests.operator.test_checks import allow_tasks, dns, secret, with_places, without_rules
from tests.operator.world import REGION, Object, World

BETTER = "registry.example.com/inference-server:1.5.0"
CHECKED = ("ec2:DescribeSubnets", "ecs:DescribeClusters", "elasticfilesystem:DescribeMountTargets")


@pytest.fixture
def up(world: World) -> Object:
    it = Object(world)
    it.live(lambda: it.ready)
    return it


def checks(it: Object, since: int) -> int:
    """How many rounds of them there were."""
    calls = [f"{call.service}:{call.operation}" for call in it.world.calls(since=since)]
    return max(map(calls.count, CHECKED))


def test_a_first_rollout_that_would_fail_is_not_begun_and_says_why(world: World) -> None:
    dns("EnableDnsSupport")(world)
    it = Object(world)
    it.look()
    assert it.stands("Verified") == ("False", "VerificationFailed")
    assert it.stands("Ready") == ("False", "VerificationFailed")
    assert it.stands("Stalled")[0] == "True"
    message = it.condition("Ready")["message"]
    assert "enableDnsSupport" in message
    assert "Next: Turn it on" in message
    assert not world.holdings()["TaskDefinition"]
    assert not world.holdings()["Service"]
    world.client("ec2").modify_vpc_attribute(VpcId=world.account.vpc, EnableDnsSupport={"Value": True})
    it.live(lambda: it.ready)
    assert it.stands("Verified") == ("True", "Verified")


def test_a_change_that_would_fail_is_kept_back_and_what_runs_goes_on(up: Object) -> None:
    running = up.status["running"]
    up.change(image=BETTER, secrets=[{"name": "TOKEN", "valueFrom": "/shop/token"}])
    up.live_on(timedelta(minutes=20))
    assert up.stands("Ready") == ("False", "VerificationFailed")
    assert up.stands("Degraded")[0] == "True"
    assert up.status["running"] == running
    assert len(up.world.holdings()["TaskDefinition"]) == 1
    up.world.client("ssm").put_parameter(Name="/shop/token", Value="x", Type="String")
    up.live(lambda: up.ready)
    assert up.status["running"]["image"] == BETTER


def test_routes_that_lead_nowhere_keep_the_rollout_back_and_what_may_be_well_does_not(up: Object) -> None:
    with_places(up.world)
    allow_tasks(up.world)
    up.change(image=BETTER, logging={"routes": [{"to": ["archive"]}]})
    up.world.client("s3").delete_bucket(Bucket="inference-logs")
    up.live_on(timedelta(minutes=5))
    assert up.stands("Verified") == ("False", "VerificationFailed")
    assert "there is no bucket inference-logs" in up.condition("Ready")["message"]
    assert up.status["running"]["image"] != BETTER
    where = {"LocationConstraint": REGION}
    up.world.client("s3").create_bucket(Bucket="inference-logs", CreateBucketConfiguration=where)
    up.live(lambda: up.ready)
    told = {(f["check"], f["result"]) for f in up.status["verification"]["findings"]}
    assert ("LogAccess", "Warning") in told


def test_what_starts_no_task_is_not_kept_back(up: Object) -> None:
    without_rules("models")(up.world)
    up.world.advance(timedelta(hours=1))
    mark = up.world.mark
    up.change(replicas=3, health={"path": "/other"}, tags=[{"key": "team", "value": "search"}])
    up.live(lambda: up.status["readyReplicas"] == 3)
    assert checks(up, mark) == 0 or up.stands("Verified")[0] == "True"


def test_another_network_is_checked_before_tasks_are_started_in_it(up: Object) -> None:
    network = up.world.environments["default"]["spec"]["network"]
    up.world.change_environment(network={**network, "subnets": ["subnet-00000000"]})
    mark = up.world.mark
    up.live_on(timedelta(minutes=10))
    assert up.stands("Verified") == ("False", "VerificationFailed")
    assert "does not exist" in up.condition("ServiceReady")["message"]
    assert up.world.writes(since=mark) == []


def test_a_spec_that_is_taken_back_leaves_no_failure_behind(up: Object) -> None:
    up.change(secrets=[{"name": "TOKEN", "valueFrom": "/shop/token"}])
    up.look()
    assert up.stands("Verified")[0] == "False"
    up.change(secrets=[])
    up.look()
    assert up.stands("Verified")[0] in ("Absent", "True")
    up.live(lambda: up.ready)


def test_an_object_at_rest_is_not_checked_not_even_by_another_process(up: Object) -> None:
    mark = up.world.mark
    up.restart()
    up.live_on(timedelta(hours=5))
    assert checks(up, mark) == 0


def test_a_rollout_of_several_passes_is_checked_once(world: World) -> None:
    it = Object(world)
    world.fault("throttle", "ecs:CreateService", times=3)
    it.live(lambda: it.ready)
    assert max(map([f"{c.service}:{c.operation}" for c in world.calls()].count, CHECKED)) == 1


def test_it_is_checked_again_when_that_is_asked_for(up: Object) -> None:
    without_rules("models")(up.world)
    up.reconcile_at("now")
    up.change(image=BETTER)
    up.look()
    assert up.stands("Verified") == ("False", "VerificationFailed")


def test_an_operator_that_may_not_look_rolls_out_and_says_what_it_does_not_know(world: World) -> None:
    for service in ("iam", "ec2"):
        world.fault("deny", f"{service}:*")
    it = Object(world)
    it.live(lambda: it.ready)
    assert it.stands("Verified") == ("True", "Verified")
    told = {finding["check"]: finding for finding in it.status["verification"]["findings"]}
    assert {finding["result"] for finding in told.values()} == {"Unknown"}
    assert {"Roles", "Subnets", "LoadBalancerAccess", "Models"} <= set(told)
    assert "allow iam:GetRole" in told["Roles"]["nextStep"].replace("Allow", "allow")


def test_a_failing_check_is_repeated_less_and_less_often_and_the_status_stays_to_the_letter(world: World) -> None:
    dns("EnableDnsHostnames")(world)
    it = Object(world)
    it.live_on(timedelta(minutes=5))
    before, mark = it.status, world.mark
    it.live_on(timedelta(hours=1))
    assert it.status == before
    assert checks(it, mark) <= 13


def test_a_bug_in_a_check_keeps_nothing_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_rules: Any, **_: Any) -> bool:
        raise KeyError("odd")

    monkeypatch.setattr("inference_operator.checks.network.admits", broken)
    it = Object(world, deployment_document())
    it.live(lambda: it.ready)
    [told] = [f for f in it.status["verification"]["findings"] if f["check"] == "LoadBalancerAccess"]
    assert (told["result"], told["message"]) == ("Unknown", "the check failed (KeyError)")


def test_no_value_of_a_secret_is_asked_for(world: World) -> None:
    arn = secret(world)
    world.client("ssm").put_parameter(Name="/shop/token", Value="x", Type="String")
    mark = world.mark
    asked = [{"name": "A", "valueFrom": arn}, {"name": "B", "valueFrom": "/shop/token"}]
    it = Object(world, deployment_document(secrets=asked))
    it.live(lambda: it.ready)
    assert not {c.operation for c in world.calls(since=mark)} & {"GetSecretValue", "GetParameter", "GetParameters"}


# -- when what is known is good enough


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The services that were looked at, by the only check that there is. Those whose image is BETTER fail."""
    looked: list[str] = []

    def look(case: Case) -> Iterator[Finding]:
        looked.append(case.identity.key)
        if case.spec.image == BETTER:
            yield Finding(result=Result.FAILED, message="no", next_step="Wait")

    monkeypatch.setattr(verification, "CHECKS", (Check(name="Only", about="", look=look),))
    return looked


def gate(known: VerificationState | None = None, *, now: datetime = NOW, again: bool = False, **spec: Any) -> Gate:
    case = Case(
        identity=Identity(namespace="shop", name="recommender", uid="u"),
        spec=InferenceDeploymentSpec.model_validate(deployment_document(**spec)["spec"]),
        environment=InferenceEnvironmentSpec.model_validate(environment_document()["spec"]),
        aws=mock.Mock(),
    )
    return Gate(case=case, known=known, now=now, again=again)


@pytest.mark.parametrize(
    ("later", "checked"),
    [
        ({"now": NOW + GOOD_FOR - timedelta(seconds=1)}, False),
        ({"now": NOW + GOOD_FOR}, True),
        ({"again": True}, True),
        ({"replicas": 3}, True),
    ],
    ids=["soon", "ten minutes later", "asked for", "another spec"],
)
def test_what_was_found_well_holds_for_ten_minutes_unless_something_changes_or_somebody_asks(
    looks: list[str], later: dict[str, Any], checked: bool
) -> None:
    first = gate()
    assert first() is None
    assert (looks, first.told and first.told.at) == (["shop/recommender"], NOW)
    second = gate(first.told, **later)
    assert [second(), second()] == [None, None]
    assert len(looks) == 1 + checked


def test_what_was_found_wanting_is_looked_at_in_each_pass_that_would_roll_out(looks: list[str]) -> None:
    first = gate(image=BETTER)
    assert first() is not None
    second = gate(first.told, now=NOW + timedelta(seconds=5), image=BETTER)
    assert second() is not None
    assert len(looks) == 2
    assert second.told == first.told, "nothing new: its time stays, so that the status does"
    assert gate(first.told, image=BETTER).told is None, "it keeps nothing back where nothing would be rolled out"
