"""What is told of targets that are not well, and how seldom it is asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from botocore.session import Session

from inference_operator.domain.targets import sentence, summary
from tests.operator.builders import deployment_document
from tests.operator.world import Object, World


def documented(name: str) -> list[str]:
    """The values of an enumeration in the API's own model."""
    shape: Any = Session().get_service_model("elbv2").shape_for(name)
    return list(shape.enum)


REASONS = [
    ("unhealthy", "Target.ResponseCodeMismatch", "health.startup"),
    ("unhealthy", "Target.Timeout", "security group"),
    ("unhealthy", "Target.FailedHealthChecks", "spec.port"),
    ("unused", "Target.NotInUse", "availability zone"),
    ("unused", "Target.NotInUse", "ListenerRuleReady"),
    ("unused", "Target.NotRegistered", "status.events"),
    ("unused", "Target.InvalidState", "replaces"),
    ("unused", "Target.IpUnusable", "replaces"),
    ("unhealthy.draining", "Target.DeregistrationInProgress", "being stopped"),
    ("unavailable", "Target.HealthCheckDisabled", "next audit"),
    ("unavailable", "Elb.InternalError", "ask AWS"),
]


def described(address: str, state: str, reason: str | None = None) -> dict[str, Any]:
    health = {"State": state, **({"Reason": reason, "Description": f"because of {reason}."} if reason else {})}
    return {"Target": {"Id": address, "Port": 8080}, "TargetHealth": health}


@pytest.mark.parametrize(("state", "reason", "step"), REASONS)
def test_each_reason_has_its_next_step(state: str, reason: str, step: str) -> None:
    [problem] = summary([described("10.0.0.1", state, reason)]).problems
    assert (problem.target, problem.state, problem.reason) == ("10.0.0.1:8080", state, reason)
    assert problem.message == f"because of {reason}."
    assert step in (problem.next_step or "")


@pytest.mark.parametrize("reason", documented("TargetHealthReasonEnum"))
@pytest.mark.parametrize("state", sorted({"unhealthy", "unhealthy.draining", "unused", "unavailable"}))
def test_whatever_reason_the_api_knows_for_a_target_that_is_not_well_there_is_a_next_step(
    state: str, reason: str
) -> None:
    assert state in documented("TargetHealthStateEnum")
    [problem] = summary([described("10.0.0.1", state, reason)]).problems
    assert problem.next_step


def test_targets_on_their_way_are_no_trouble() -> None:
    told = summary(
        [
            described("10.0.0.1", "initial", "Elb.InitialHealthChecking"),
            described("10.0.0.2", "healthy"),
            described("10.0.0.3", "draining", "Target.DeregistrationInProgress"),
        ]
    )
    assert (told.registered, told.healthy, told.problems) == (2, 1, ())
    assert sentence(told) == ""


def test_very_many_are_counted_and_some_are_named() -> None:
    told = summary([described(f"10.0.0.{number}", "unhealthy", "Target.Timeout") for number in range(200)])
    assert len(told.problems) == 10
    assert told.registered == 200


def asked(world: World, since: int) -> int:
    return sum(call.operation == "DescribeTargetHealth" for call in world.calls(since=since))


def test_a_rollout_whose_targets_are_unhealthy_says_why_in_the_status_and_in_the_message(world: World) -> None:
    world.balancer.verdict = "unhealthy"
    it = Object(world, deployment_document(replicas=2, health={"startup": "10m"}))
    it.live(lambda: "targets" in it.status)
    told = it.status["targets"]
    assert (told["registered"], told.get("healthy", 0), len(told["problems"])) == (2, 0, 2)
    assert told["problems"][0]["reason"] == "Target.ResponseCodeMismatch"
    assert "health.startup" in told["problems"][0]["nextStep"]
    message = it.condition("Ready")["message"]
    assert (
        "2 of 2 targets are unhealthy (Health checks failed with these codes: [503]). Next: See in the log" in message
    )
    assert it.status["replicas"] == 2
    assert it.status["readyReplicas"] == 0, "nobody is sent to them"


def test_of_a_release_whose_targets_are_unhealthy_the_old_tasks_alone_are_ready(world: World) -> None:
    it = Object(world, deployment_document(replicas=2, health={"startup": "10m"}))
    it.live(lambda: it.ready)
    world.balancer.verdict = "unhealthy"
    it.change(models={"path": "/recommender/2"})
    it.live(lambda: "targets" in it.status)
    assert (it.status["replicas"], it.status["readyReplicas"]) == (4, 2)


def test_a_deadline_that_passes_while_targets_are_unhealthy_says_what_to_do_about_them(world: World) -> None:
    world.balancer.verdict = "unhealthy"
    it = Object(world, deployment_document(health={"startup": "1h"}, rollout={"progressDeadline": "5m"}))
    it.live(lambda: it.stands("Ready")[1] == "ProgressDeadlineExceeded")
    message = it.condition("Ready")["message"]
    assert message.count("Next: ") == 1
    assert "raise health.startup" in message
    assert it.stands("Degraded") == ("False", "ProgressDeadlineExceeded")


def test_once_all_targets_are_well_nothing_is_told_and_nobody_asks_any_more(world: World) -> None:
    world.balancer.verdict = "unhealthy"
    it = Object(world, deployment_document(health={"startup": "1h"}))
    it.live(lambda: "targets" in it.status)
    world.balancer.verdict = "healthy"
    [group] = world.holdings()["TargetGroup"].values()
    for state in world.balancer.targets(group[0]["TargetGroupArn"]):
        world.balancer.set(group[0]["TargetGroupArn"], state.address, state.port, "healthy")
    it.live(lambda: it.ready)
    assert "targets" not in it.status
    mark = world.mark
    it.live_on(timedelta(hours=3))
    assert asked(world, mark) == 0


def test_a_rollout_that_goes_well_asks_little(world: World) -> None:
    it = Object(world)
    mark = world.mark
    it.live(lambda: it.ready)
    assert asked(world, mark) <= 3
