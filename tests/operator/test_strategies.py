"""Strategies that shift requests from old tasks to new ones: what they need, how far they are, and their pauses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from inference_operator.api.meta import CONTINUE_AT, ROLLBACK_AT
from inference_operator.domain.reasons import Reason
from inference_operator.engine.backoff import RESYNC
from inference_operator.resources.base import Fact, Wait
from inference_operator.resources.service import Services
from inference_sandbox.tasks.scripted import Script, failing
from tests.operator.builders import deployment_document
from tests.operator.world import Object, World

ROLE = "arn:aws:iam::222222222222:role/inference-infrastructure"
BETTER = "registry.example.com/inference-server:1.5.0"
QUICK: dict[str, Any] = {"bakeTime": "2m"}
BLUE_GREEN = {"strategy": "BLUE_GREEN", **QUICK}
CANARY = {"strategy": "CANARY", "canary": {"percent": 10, "bakeTime": "5m"}, **QUICK}
LINEAR = {"strategy": "LINEAR", "linear": {"stepPercent": 50, "stepBakeTime": "3m"}, **QUICK}
PAUSED = {**BLUE_GREEN, "pauses": [{"stage": "POST_SCALE_UP", "timeout": "1h"}]}


@pytest.fixture
def shifting(world: World) -> World:
    """A world whose environment can shift requests."""
    prepare(world)
    return world


def prepare(world: World, **more: Any) -> None:
    before = world.environments["default"]["spec"]["loadBalancer"]
    world.change_environment(loadBalancer={**before, "infrastructureRoleArn": ROLE, **more})


def up(world: World, **rollout: Any) -> Object:
    """An object that is Ready. Its first rollout is not paused: nobody would be there to continue it."""
    pauses = rollout.pop("pauses", None)
    it = Object(world, deployment_document(rollout=rollout))
    it.live(lambda: it.ready)
    if pauses is not None:
        it.change(rollout={**rollout, "pauses": pauses})
        it.live(lambda: it.ready)
    return it


def weights(world: World, listener: str | None = None) -> dict[str, int]:
    """Of the rule on the listener: by target group "a" or "b", how much of the requests each gets."""
    rules = world.client("elbv2").describe_rules(ListenerArn=listener or world.account.listener)["Rules"]
    rule = next(r for r in rules if not r["IsDefault"])
    groups = rule["Actions"][0]["ForwardConfig"]["TargetGroups"]
    return {"b" if "-b/" in g["TargetGroupArn"] else "a": g["Weight"] for g in groups}


def serving(it: Object) -> str:
    """Which target group the healthy targets are in."""
    balancer = it.world.balancer
    full = [arn for arn in balancer.target_groups if any(t.state == "healthy" for t in balancer.targets(arn))]
    return "".join("b" if "-b/" in arn else "a" for arn in full)


@pytest.mark.parametrize("rollout", [BLUE_GREEN, CANARY, LINEAR], ids=lambda r: r["strategy"])
def test_a_release_is_shifted_to_and_the_next_one_is_shifted_back(rollout: dict[str, Any], shifting: World) -> None:
    it = up(shifting, **rollout)
    assert it.status["deployment"]["strategy"] == rollout["strategy"]
    assert (weights(shifting), serving(it)) == ({"a": 100, "b": 0}, "a")
    it.change(image=BETTER)
    it.live(lambda: it.ready)
    assert (weights(shifting), serving(it)) == ({"a": 0, "b": 100}, "b")
    assert it.status["running"]["image"] == BETTER
    it.change(image="registry.example.com/inference-server:1.6.0")
    it.live(lambda: it.ready)
    assert (weights(shifting), serving(it)) == ({"a": 100, "b": 0}, "a")
    assert [e["outcome"] for e in it.status["history"]] == ["Completed"] * 3


def test_how_far_it_is_can_be_read(shifting: World) -> None:
    it = up(shifting, **CANARY)
    it.change(image=BETTER)
    it.live(lambda: it.status["deployment"].get("trafficPercent") == 10)
    assert weights(shifting) == {"a": 90, "b": 10}
    assert "get 10 % of the requests" in it.condition("Ready")["message"]
    assert it.stands("Ready") == ("False", "RollingOut")
    it.live(lambda: it.status["deployment"].get("stage") == "BAKE_TIME")
    assert weights(shifting) == {"a": 0, "b": 100}
    it.live(lambda: it.ready)
    assert "stage" not in it.status["deployment"]
    assert "trafficPercent" not in it.status["deployment"]


def test_what_ecs_has_shifted_is_no_drift(shifting: World) -> None:
    it = up(shifting, **CANARY)
    it.change(image=BETTER)
    it.live(lambda: it.status["deployment"].get("trafficPercent") == 10)
    mark = shifting.mark
    it.restart()
    it.look()
    it.change(ingress={"paths": ["/films/*"]})
    it.look()
    assert weights(shifting) == {"a": 90, "b": 10}
    assert "elasticloadbalancing:ModifyRule" in shifting.writes(since=mark)


def paused(it: Object) -> None:
    it.change(image=BETTER)
    it.live(lambda: it.stands("Ready")[1] == "RolloutPaused")


def test_a_pause_says_what_it_waits_for_and_goes_on_by_annotation(shifting: World) -> None:
    it = up(shifting, **PAUSED)
    paused(it)
    message = it.condition("Ready")["message"]
    assert CONTINUE_AT in message
    assert ROLLBACK_AT in message
    assert it.status["deployment"]["pausedUntil"] in message
    assert (it.status["deployment"]["state"], it.status["deployment"]["stage"]) == ("Paused", "POST_SCALE_UP")
    assert it.stands("Progressing") == ("True", "RolloutPaused")
    assert it.stands("Stalled")[0] == "Absent"
    it.live_on(timedelta(minutes=20))
    assert it.stands("Ready") == ("False", "RolloutPaused")
    it.restart()
    it.annotate(CONTINUE_AT, "now")
    it.live(lambda: it.ready)
    assert it.status["lastContinueAt"] == "now"
    assert it.status["running"]["image"] == BETTER


def test_a_pause_can_be_answered_with_a_rollback(shifting: World) -> None:
    it = up(shifting, **PAUSED)
    paused(it)
    it.annotate(ROLLBACK_AT, "now")
    it.live(lambda: it.stands("Ready")[1] == "RolledBack" and it.outcomes[-1].requeue_after == RESYNC)
    assert it.status["lastFailure"]["cause"] == "RollbackRequested"
    assert (weights(shifting), serving(it)) == ({"a": 100, "b": 0}, "a")


def test_a_pause_that_nobody_answers_ends_as_its_timeout_says(shifting: World) -> None:
    it = up(shifting, **PAUSED)
    paused(it)
    it.live(lambda: it.stands("Ready")[1] == "RolledBack" and it.outcomes[-1].requeue_after == RESYNC)
    assert it.status["lastFailure"]["cause"] == "LifecycleHookFailed"


def test_continue_at_counts_for_the_pause_that_there_is_and_not_for_the_next_one(shifting: World) -> None:
    it = up(shifting, **PAUSED)
    it.annotate(CONTINUE_AT, "too early")
    it.look()
    assert [event.message for event in it.outcomes[-1].events if event.reason == "NothingToContinue"] == [
        f"{CONTINUE_AT}=too early continued nothing: no rollout is paused (the latest is Completed)"
    ]
    paused(it)
    it.live_on(timedelta(minutes=10))
    assert it.stands("Ready") == ("False", "RolloutPaused")


def test_bake_times_and_pauses_do_not_count_as_overdue(shifting: World) -> None:
    slow = {"strategy": "LINEAR", "linear": {"stepPercent": 25, "stepBakeTime": "20m"}, "progressDeadline": "5m"}
    it = up(shifting, **slow)
    it.change(image=BETTER)
    it.live(lambda: it.ready, at_most=timedelta(hours=3))
    assert "ProgressDeadlineExceeded" not in {
        c.reason for outcome in it.outcomes for c in outcome.status.conditions if c.type == "Ready"
    }


def test_new_tasks_that_never_come_up_are_overdue_since_no_circuit_breaker_counts_them(shifting: World) -> None:
    it = up(shifting, **BLUE_GREEN)
    shifting.runner.script = lambda _launch: failing("CannotPullContainerError: pull: not found")
    it.change(image=BETTER)
    it.live(lambda: it.stands("Ready")[1] == "ProgressDeadlineExceeded")
    assert ROLLBACK_AT in it.condition("Ready")["message"]
    assert "threshold" not in it.status["deployment"]
    it.annotate(ROLLBACK_AT, "now")
    it.live(lambda: it.stands("Ready")[1] == "RolledBack" and it.outcomes[-1].requeue_after == RESYNC)
    assert (weights(shifting), serving(it)) == ({"a": 100, "b": 0}, "a")


def test_new_tasks_can_be_tried_at_the_test_listener(world: World) -> None:
    elb = world.client("elbv2")
    balancer = elb.describe_load_balancers()["LoadBalancers"][0]["LoadBalancerArn"]
    trial = elb.create_listener(
        LoadBalancerArn=balancer,
        Protocol="HTTP",
        Port=9000,
        DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )["Listeners"][0]["ListenerArn"]
    prepare(world, testListenerArn=trial)
    it = up(world, **BLUE_GREEN, pauses=[{"stage": "POST_TEST_TRAFFIC_SHIFT"}])
    paused(it)
    assert weights(world, trial).get("b") == 100
    assert weights(world) == {"a": 100, "b": 0}
    mark = world.mark
    it.restart()
    it.look()
    assert world.writes(since=mark) == [], "what ECS has left of the rule is no drift"
    it.annotate(CONTINUE_AT, "now")
    it.live(lambda: it.ready)
    it.vanish()
    assert not any(world.holdings().values())


def test_a_service_waits_for_its_rule_on_the_test_listener_as_naming_it_later_would_be_another_deployment(
    world: World,
) -> None:
    prepare(world, testListenerArn=world.account.listener)
    facts = [Fact.TASK_DEFINITION, Fact.TARGET_GROUP, Fact.ALTERNATE_TARGET_GROUP, Fact.LISTENER_RULE]
    ctx = world.context()
    ctx.facts.update(dict.fromkeys(facts, "arn:…"))
    assert Services().desire(ctx) == Wait("not there yet: testListenerRule", Reason.DEPENDENCY_NOT_READY)


def test_a_strategy_that_the_environment_can_not_do_is_refused_and_named(world: World) -> None:
    it = Object(world, deployment_document(rollout=BLUE_GREEN))
    it.look()
    assert it.stands("Accepted") == ("False", "InvalidSpec")
    assert "loadBalancer.infrastructureRoleArn" in it.condition("Accepted")["message"]
    prepare(world)
    it.live(lambda: it.ready)


def test_an_environment_that_learns_to_shift_rolls_its_services_out_once_and_they_may_then_change_strategy(
    world: World,
) -> None:
    it = Object(world)
    it.live(lambda: it.ready)
    prepare(world)
    it.restart()
    it.live(lambda: it.ready and len(it.status["history"]) == 2)
    assert it.status["deployment"]["strategy"] == "ROLLING"
    it.change(rollout=BLUE_GREEN)
    it.live(lambda: it.ready)
    assert len(it.status["history"]) == 2, "another strategy alone is no rollout"
    it.change(image=BETTER)
    it.live(lambda: it.ready)
    assert (weights(world), serving(it)) == ({"a": 0, "b": 100}, "b")
    it.change(rollout={"strategy": "ROLLING"}, image="registry.example.com/inference-server:1.6.0")
    it.live(lambda: it.ready)
    assert (weights(world), serving(it)) == ({"a": 0, "b": 100}, "b"), "it goes on where it serves"


def test_an_object_with_two_target_groups_leaves_nothing(shifting: World) -> None:
    it = up(shifting, **BLUE_GREEN)
    shifting.runner.script = lambda _launch: Script()
    it.vanish()
    assert not any(shifting.holdings().values())


def test_an_environment_that_may_no_longer_shift_leaves_no_second_target_group_whatever_process_looks(
    shifting: World,
) -> None:
    it = up(shifting, **BLUE_GREEN)
    assert len(shifting.holdings()["TargetGroup"]) == 2
    before = shifting.environments["default"]["spec"]["loadBalancer"]
    shifting.change_environment(loadBalancer={**before, "infrastructureRoleArn": None})
    it.change(rollout={})
    it.restart()
    it.live(lambda: it.ready and len(shifting.holdings()["TargetGroup"]) == 1)
    assert serving(it) == "a"
