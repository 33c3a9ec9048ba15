"""Whole objects, from `kubectl apply` to gone, over the sandbox's AWS on a virtual clock."""

from __future__ import annotations

import inspect
import os
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from inference_operator.api.meta import CONTINUE_AT, ROLLBACK_AT
from inference_operator.aws import ports
from inference_operator.engine.backoff import RESYNC
from inference_sandbox.aws.faults import Kind
from inference_sandbox.ecs.failures import Failure
from inference_sandbox.ecs.texts import OUT_OF_MEMORY
from inference_sandbox.ports import TaskLaunch
from inference_sandbox.tasks.scripted import Script, crashing, failing
from tests.api.samples import LISTENER
from tests.operator.builders import NOW, deployment_document
from tests.operator.normalising import normalised
from tests.operator.test_strategies import PAUSED, paused, prepare
from tests.operator.world import ACCOUNT, CLUSTER, READS, Object, World

if TYPE_CHECKING:
    from inference_sandbox.pytest_plugin import Kube

GOOD, BETTER, BAD = (f"registry.example.com/inference-server:{tag}" for tag in ("1.4.0", "1.5.0", "broken"))
NO_IMAGE = f"CannotPullContainerError: pull image manifest has been retried 1 time(s): {BAD}: not found"
EFS_REFUSES = "ResourceInitializationError: failed to invoke EFS utils commands: mount.nfs4: access denied by server"
EVERY_KIND = ("LogGroup", "AccessPoint", "TargetGroup", "ListenerRule", "TaskDefinition", "Service")


def tasks_by_image(launch: TaskLaunch) -> Script:
    """Tasks of the image `BAD` never start."""
    return failing(NO_IMAGE) if launch.containers[0].definition["image"] == BAD else Script()


@pytest.fixture
def it(world: World) -> Object:
    """An object that has just been applied."""
    world.runner.script = tasks_by_image
    return Object(world)


@pytest.fixture
def up(it: Object) -> Object:
    """An object that is Ready."""
    it.live(lambda: it.ready)
    return it


def revision(it: Object) -> str:
    """`family:revision` that the service's primary deployment brings."""
    services = it.world.holdings()["Service"]
    primary = next(d for d in services["shop_recommender"]["deployments"] if d["status"] == "PRIMARY")
    found: str = primary["taskDefinition"].rpartition("/")[2]
    return found


def rollouts(it: Object) -> int:
    """How many times the service was told which revision to run."""
    calls = it.world.calls()
    return sum(c.operation in ("CreateService", "UpdateService") and "taskDefinition" in c.parameters for c in calls)


# -- coming up, changing


def test_a_first_rollout_ends_ready_with_one_of_each(it: Object) -> None:
    it.look()
    assert it.stands("Ready") == ("False", "RollingOut")
    assert it.stands("Progressing")[0] == it.stands("Reconciling")[0] == "True"
    assert it.stands("Stalled")[0] == "Absent"
    outcome = it.live(lambda: it.ready)
    assert outcome.requeue_after == RESYNC
    assert all(it.stands(f"{kind}Ready") == ("True", "AsSpecified") for kind in EVERY_KIND)
    assert it.stands("Progressing")[0] == it.stands("Degraded")[0] == "False"
    assert {kind: len(things) for kind, things in it.world.holdings().items()} == dict.fromkeys(EVERY_KIND, 1)
    assert it.status["readyReplicas"] == it.status["replicas"] == 1
    assert it.status["running"]["revision"] == it.status["desired"]["revision"]
    assert it.status["history"][0]["outcome"] == "Completed"
    assert it.status["url"] == "https://inference.example.com/shop/recommender"


def test_without_a_load_balancer_there_is_no_url_and_nothing_of_it(world: World) -> None:
    world.change_environment(loadBalancer=None)
    it = Object(world)
    it.live(lambda: it.ready)
    assert "url" not in it.status
    holdings = world.holdings()
    assert not holdings["TargetGroup"]
    assert not holdings["ListenerRule"]
    assert len(holdings["Service"]) == 1


def test_a_change_is_rolled_out_once_and_the_old_revision_serves_until_then(up: Object) -> None:
    before = up.status["running"]["revision"]
    up.change(image=BETTER)
    mark = up.world.mark
    up.look()
    assert up.stands("Ready") == ("False", "RollingOut")
    assert up.stands("Degraded")[0] == "False"
    assert up.status["running"]["revision"] == before
    assert up.status["readyReplicas"] == 1
    up.live(lambda: up.ready)
    assert up.status["running"]["revision"] == up.status["desired"]["revision"] != before
    assert up.status["running"]["image"] == BETTER
    assert up.world.writes(since=mark) == ["ecs:RegisterTaskDefinition", "ecs:UpdateService"]
    assert [entry["generation"] for entry in up.status["history"]] == [2, 1]


def test_a_change_during_a_rollout_supersedes_it(it: Object) -> None:
    it.look()
    it.change(image=BETTER)
    it.live(lambda: it.ready)
    assert [(e["generation"], e["outcome"]) for e in it.status["history"]] == [(2, "Completed"), (1, "Superseded")]
    assert revision(it) == "shop_recommender:2"


def test_scaled_to_zero_it_is_ready_with_no_task_and_comes_back_with_what_is_asked(up: Object) -> None:
    up.change(replicas=0)
    up.live(lambda: up.ready)
    assert up.stands("Ready") == ("True", "ScaledToZero")
    assert up.status["readyReplicas"] == up.status["replicas"] == 0
    up.change(replicas=3)
    up.live(lambda: up.ready)
    assert up.stands("Ready") == ("True", "Ready")
    assert up.status["readyReplicas"] == 3
    assert rollouts(up) == 1, "a change of the count alone is no rollout"


def test_it_may_begin_at_zero_replicas(world: World) -> None:
    it = Object(world, deployment_document(replicas=0))
    it.live(lambda: it.ready)
    assert it.stands("Ready") == ("True", "ScaledToZero")
    assert world.runner.starts == []


def test_another_models_path_has_both_access_points_during_the_rollout_and_one_when_settled(up: Object) -> None:
    old = up.status["resources"]["accessPoint"]
    up.change(models={"path": "/recommender/2"})
    up.look()
    while not up.ready:
        assert old in up.world.holdings()["AccessPoint"], "tasks still need it"
        assert len(up.world.holdings()["AccessPoint"]) == 2
        up.world.advance(timedelta(seconds=5))
        up.look()
    points = up.world.holdings()["AccessPoint"]
    assert [point["RootDirectory"]["Path"] for point in points.values()] == ["/models/recommender/2"]
    assert up.status["resources"]["accessPoint"] in points


def test_another_models_path_ends_in_one_access_point_though_the_operator_restarts_at_each_pass(up: Object) -> None:
    up.change(models={"path": "/recommender/2"})
    while not up.ready:
        up.restart()
        up.look()
        up.world.advance(timedelta(seconds=5))
    assert [p["RootDirectory"]["Path"] for p in up.world.holdings()["AccessPoint"].values()] == [
        "/models/recommender/2"
    ]
    assert up.world.writes().count("ecs:RegisterTaskDefinition") == 2


def test_back_to_an_earlier_models_path_during_the_rollout_ends_in_its_access_point(up: Object) -> None:
    up.change(models={"path": "/recommender/2"})
    up.look()
    up.change(models={"path": "/recommender/1"})
    up.live(lambda: up.ready)
    points = up.world.holdings()["AccessPoint"]
    assert [point["RootDirectory"]["Path"] for point in points.values()] == ["/models/recommender/1"]
    assert up.status["resources"]["accessPoint"] in points


# -- failing


def rolled_back(it: Object) -> Object:
    it.change(image=BAD)
    it.live(lambda: it.stands("Ready")[1] == "RolledBack" and it.outcomes[-1].requeue_after == RESYNC)
    return it


def test_a_revision_that_fails_is_rolled_back_and_told_with_its_cause_and_the_next_step(up: Object) -> None:
    good = up.status["running"]["revision"]
    rolled_back(up)
    assert up.stands("Ready") == ("False", "RolledBack")
    assert up.stands("Degraded") == ("True", "RolledBack")
    assert up.stands("Stalled") == ("True", "RolledBack")
    assert up.stands("Progressing")[0] == "False"
    message = up.condition("Ready")["message"]
    assert "CannotPullContainerError" in message
    assert "shop_recommender:1 serves again" in message
    assert "Next: " in message
    assert up.status["running"]["revision"] == good
    assert up.status["desired"]["revision"] != good
    assert up.status["lastFailure"]["revision"] == up.status["desired"]["revision"]
    assert up.status["lastFailure"]["generation"] == 2
    assert up.status["lastFailure"]["tasks"]
    assert up.status["readyReplicas"] == 1
    assert (up.status["history"][0]["generation"], up.status["history"][0]["outcome"]) == (2, "RolledBack")


def test_a_revision_that_failed_is_not_sent_again_in_later_passes(up: Object) -> None:
    rolled_back(up)
    mark, before = up.world.mark, up.status
    up.live_on(timedelta(hours=3))
    assert up.world.writes(since=mark) == []
    assert up.stands("Ready") == ("False", "RolledBack")
    assert up.status["lastFailure"] == before["lastFailure"]
    assert len(up.status["history"]) == 2


@pytest.mark.parametrize("after", [timedelta(), timedelta(hours=2)], ids=["at once", "when AWS has forgotten"])
def test_a_revision_that_failed_is_not_sent_again_after_a_restart_of_the_operator(up: Object, after: timedelta) -> None:
    rolled_back(up)
    up.world.advance(after)
    mark, before = up.world.mark, up.status
    up.restart()
    up.live_on(timedelta(hours=1))
    assert up.world.writes(since=mark) == []
    assert up.stands("Ready") == ("False", "RolledBack")
    assert up.status["lastFailure"] == before["lastFailure"]


def test_a_restart_during_the_rollback_changes_nothing(up: Object) -> None:
    up.change(image=BAD)
    while up.outcomes[-1].requeue_after != RESYNC or up.stands("Ready")[1] != "RolledBack":
        up.restart()
        outcome = up.look()
        up.world.advance(outcome.requeue_after)
    assert rollouts(up) == 2
    assert revision(up) == "shop_recommender:1"


@pytest.mark.parametrize(
    ("down_for", "cause"),
    [(timedelta(minutes=20), "CannotPullContainerError"), (timedelta(hours=3), "circuit breaker: tasks failed")],
    ids=["tasks still known", "tasks forgotten"],
)
def test_a_rollback_that_came_and_went_while_the_operator_was_down_is_seen(
    up: Object, down_for: timedelta, cause: str
) -> None:
    up.change(image=BAD)
    up.look()
    up.world.advance(down_for)
    mark = up.world.mark
    up.restart()
    up.look()
    assert up.stands("Ready") == ("False", "RolledBack")
    assert cause in up.condition("Ready")["message"]
    up.live_on(timedelta(hours=1))
    assert up.world.writes(since=mark) == []


def test_a_revision_that_failed_is_sent_again_when_reconcile_at_changes(up: Object) -> None:
    rolled_back(up)
    up.world.runner.script = lambda _launch: Script()  # the image is there now
    up.reconcile_at("2026-11-24T13:00:00Z")
    up.live(lambda: up.ready)
    assert up.status["running"]["image"] == BAD
    assert up.status["lastReconcileAt"] == "2026-11-24T13:00:00Z"
    assert "lastFailure" not in up.status
    assert up.stands("Stalled")[0] == "Absent"
    assert up.world.writes().count("ecs:RegisterTaskDefinition") == 2


def test_reconcile_at_is_honoured_once(up: Object) -> None:
    rolled_back(up)
    up.reconcile_at("again")
    sent = rollouts(up)
    up.live(lambda: rollouts(up) == sent + 1)
    rolled_back_again = up.live(
        lambda: up.stands("Ready")[1] == "RolledBack" and up.outcomes[-1].requeue_after == RESYNC
    )
    assert rolled_back_again.status.document()["lastReconcileAt"] == "again"
    up.restart()
    up.live_on(timedelta(hours=1))
    assert rollouts(up) == sent + 1


def test_an_object_that_comes_back_without_its_status_does_again_nothing_that_it_was_once_asked_for(up: Object) -> None:
    """From a backup, or from Git in another cluster: the annotations come along."""
    up.reconcile_at("before")
    up.live(lambda: up.status.get("lastReconcileAt") == "before" and up.ready)
    mark = up.world.mark
    del up.document["status"]
    up.restart()
    up.live_on(timedelta(hours=1))
    assert up.ready
    assert up.world.writes(since=mark) == []
    up.reconcile_at("after")
    up.live_on(timedelta(minutes=10))
    assert up.world.writes(since=mark) == ["ecs:UpdateService"]


def test_a_mended_spec_is_sent_after_a_rollback(up: Object) -> None:
    rolled_back(up)
    up.change(image=BETTER)
    up.live(lambda: up.ready)
    assert up.status["running"]["image"] == BETTER
    assert up.stands("Degraded")[0] == "False"


def test_the_spec_that_serves_again_after_a_rollback_is_ready_without_a_rollout(up: Object) -> None:
    rolled_back(up)
    up.change(image=GOOD)
    up.live(lambda: up.ready)
    assert up.status["running"]["image"] == GOOD


def test_replicas_are_still_scaled_while_a_revision_is_held(up: Object) -> None:
    rolled_back(up)
    up.change(replicas=3)
    up.live(lambda: up.status["readyReplicas"] == 3)
    assert up.stands("Ready") == ("False", "RolledBack")
    assert revision(up) == "shop_recommender:1"


def test_a_first_rollout_that_fails_has_nothing_to_go_back_to_and_says_so(world: World) -> None:
    world.runner.script = lambda _launch: crashing(after=timedelta(seconds=1), code=3)
    it = Object(world)
    it.live(lambda: it.stands("Ready")[1] == "RolloutFailed" and it.outcomes[-1].requeue_after == RESYNC)
    assert it.stands("Stalled") == ("True", "RolloutFailed")
    assert it.stands("Degraded")[0] == "False", "nothing serves"
    assert "running" not in it.status
    assert it.status["lastFailure"]["exitCode"] == 3
    assert it.status["lastFailure"]["container"] == "app"
    assert "Nothing was rolled back" in it.condition("Ready")["message"]
    mark = world.mark
    it.restart()
    it.live_on(timedelta(hours=2))
    assert world.writes(since=mark) == []
    world.runner.script = lambda _launch: Script()
    it.change(image=BETTER)
    it.live(lambda: it.ready)


def test_a_rollout_that_is_overdue_says_so_and_goes_on(world: World) -> None:
    world.runner.script = tasks_by_image
    it = Object(world, deployment_document(image=BAD, rollout={"circuitBreaker": {"enabled": False}}))
    it.live(lambda: it.stands("Ready")[1] == "ProgressDeadlineExceeded")
    assert it.stands("Stalled")[0] == "True"
    world.runner.script = lambda _launch: Script()
    it.live(lambda: it.ready)


def test_tasks_that_cannot_be_started_after_a_rollout_are_told_with_their_cause_and_the_next_step(up: Object) -> None:
    up.change(suspend=True)
    up.live(lambda: up.ready)
    up.change(image=BAD)
    up.live(lambda: up.ready)
    assert up.stands("Ready") == ("True", "ScaledToZero"), "without tasks nothing of it shows"
    up.change(suspend=False)
    up.live_on(timedelta(minutes=10))
    message = up.condition("Ready")["message"]
    assert up.stands("Ready") == ("False", "ReplicasUnavailable")
    assert "0 of 1 tasks run; the latest: ImageNotFound" in message
    assert "Next: Push the image" in message
    up.change(image=BETTER)
    up.live(lambda: up.ready)


def test_a_task_that_dies_makes_it_not_ready_until_ecs_has_replaced_it(up: Object) -> None:
    up.world.runner.exit(up.world.runner.starts[0].arn, "app", code=1)
    up.world.advance(timedelta(seconds=1))
    up.restart()
    up.look()
    assert up.stands("Ready") == ("False", "ReplicasUnavailable")
    up.live(lambda: up.ready)
    assert rollouts(up) == 1


TASKS_LOOKED_AT = {"ListTasks": 1, "DescribeTasks": 1}


def looks_at_tasks(it: Object, since: int) -> dict[str, int]:
    """By operation, how often the operator has asked for tasks."""
    return dict(Counter(c.operation for c in it.world.calls(since=since) if c.operation in TASKS_LOOKED_AT))


def killed(it: Object) -> str:
    """The id of a task of its that runs out of memory now."""
    launch = it.world.runner.starts[-1]
    it.world.runner.exit(launch.arn, "app", code=137, reason=OUT_OF_MEMORY)
    return launch.arn.rpartition("/")[2]


def causes_told(it: Object) -> list[tuple[str, str]]:
    return [(task["task"], task["cause"]) for task in it.status.get("stoppedTasks", ())]


def test_a_task_that_was_killed_and_replaced_between_two_looks_is_told_with_its_cause_at_the_next(up: Object) -> None:
    up.world.advance(RESYNC)
    up.look()
    mark, task = up.world.mark, killed(up)
    up.world.advance(RESYNC)
    up.look()
    assert up.ready
    assert causes_told(up) == [(task, "OutOfMemory")]
    assert up.status["stoppedTasks"][0]["exitCode"] == 137
    assert looks_at_tasks(up, mark) == TASKS_LOOKED_AT
    mark = up.world.mark
    up.live_on(timedelta(minutes=30))
    assert looks_at_tasks(up, mark) == {}, "what is told is not asked for again"
    assert causes_told(up) == [(task, "OutOfMemory")]


def test_a_task_that_was_killed_while_no_operator_ran_is_told_by_the_next_one(up: Object) -> None:
    task = killed(up)
    up.world.advance(timedelta(minutes=30))
    up.restart()
    up.look()
    assert causes_told(up) == [(task, "OutOfMemory")]


@pytest.mark.parametrize("call", ["DescribeServices", "ListTasks", "DescribeTasks"])
def test_a_loss_is_told_though_aws_did_not_answer_at_first(up: Object, call: str) -> None:
    task = killed(up)
    up.world.fault("throttle", f"ecs:{call}", times=1)
    up.world.advance(RESYNC)
    up.look()
    assert causes_told(up) == []
    assert up.status["replicas"] == up.status["readyReplicas"] == 1, (
        "what could not be looked at is not known to be gone"
    )
    up.live_on(timedelta(minutes=1))
    assert up.ready
    assert causes_told(up) == [(task, "OutOfMemory")]


def test_where_the_operator_may_not_look_at_tasks_a_loss_makes_nothing_else_fail(up: Object) -> None:
    killed(up)
    up.world.fault("deny", "ecs:ListTasks")
    up.world.advance(RESYNC)
    up.look()
    assert up.ready
    assert causes_told(up) == []


def test_what_serves_with_too_few_tasks_after_a_rollout_is_degraded_with_the_cause_and_the_next_step(
    it: Object,
) -> None:
    it.change(replicas=2)
    it.live(lambda: it.ready)
    it.world.runner.script = lambda _launch: crashing(after=timedelta(seconds=20), code=137, reason=OUT_OF_MEMORY)
    killed(it)
    it.live(lambda: it.stands("Degraded")[0] == "True")
    it.live_on(timedelta(minutes=4))
    it.live(lambda: it.stands("Degraded")[0] == "True")
    message = it.condition("Degraded")["message"]
    assert "1 of 2 tasks run; the latest: OutOfMemory" in message
    assert "Next: Raise spec.memory" in message
    assert it.condition("Ready")["message"] == message
    told = causes_told(it)
    assert len({task for task, _ in told}) == len(told) > 2
    assert {cause for _, cause in told} == {"OutOfMemory"}


def test_a_task_that_is_still_stopping_at_the_look_is_told_whole_once_it_has_stopped(it: Object) -> None:
    it.change(replicas=2)
    it.live(lambda: it.ready)
    it.world.advance(RESYNC)
    mark, task = it.world.mark, killed(it)
    it.world.advance(timedelta(seconds=1))
    it.look()
    assert causes_told(it) == [(task, "OutOfMemory")]
    assert "at" not in it.status["stoppedTasks"][0], "it has not stopped yet"
    assert "1 of 2 tasks run; the latest: OutOfMemory" in it.condition("Degraded")["message"]
    it.live(lambda: it.ready)
    it.live_on(RESYNC)
    assert causes_told(it) == [(task, "OutOfMemory")]
    assert "at" in it.status["stoppedTasks"][0]
    asked = looks_at_tasks(it, mark)
    it.live_on(timedelta(hours=2))
    assert looks_at_tasks(it, mark) == asked


def test_a_count_that_is_changed_is_no_loss_and_nobody_asks_for_tasks(up: Object) -> None:
    mark = up.world.mark
    for count in (3, 1, 2, 0, 1):
        up.change(replicas=count)
        up.live(lambda: up.ready)
        up.live_on(timedelta(minutes=20))
    assert looks_at_tasks(up, mark) == {}
    assert causes_told(up) == []


# -- refused


def unknown_environment(it: Object) -> None:
    it.change(environment="elsewhere", image=BETTER)


def no_environment_any_more(it: Object) -> None:
    it.world.environments.clear()
    it.change(image=BETTER)


def invalid_environment(it: Object) -> None:
    it.world.change_environment(network={"subnets": [], "securityGroups": []})
    it.change(image=BETTER)


def policy_that_forbids(it: Object) -> None:
    it.world.change_environment(policy={"images": ["other.example.com/*"], "maximum": {"replicas": 0}})
    it.change(image=BETTER)


def role_that_no_policy_names(it: Object) -> None:
    it.change(image=BETTER, taskRoleArn="arn:aws:iam::222222222222:role/admin")


def namespace_without_the_labels(it: Object) -> None:
    it.world.labels = {"inference": "false"}
    it.world.change_environment(policy={"namespaces": {"matchLabels": {"inference": "true"}}})
    it.change(image=BETTER)


def spec_of_an_older_version(it: Object) -> None:
    it.change(image=BETTER, cpu="3", memory="1Gi", colour="blue")


@pytest.mark.parametrize(
    ("cause", "reason", "words"),
    [
        (unknown_environment, "EnvironmentNotFound", ["'elsewhere'", "there is: default"]),
        (no_environment_any_more, "EnvironmentNotFound", ["'default'", "there is: none"]),
        (
            invalid_environment,
            "EnvironmentInvalid",
            ["'default'", "network.subnets: must have at least 1 items. spec.network.sec"],
        ),
        (policy_that_forbids, "ForbiddenByPolicy", ["spec.image", BETTER, "other.example.com/*", "spec.replicas 1"]),
        (role_that_no_policy_names, "ForbiddenByPolicy", ["spec.taskRoleArn", "role/admin", "policy.taskRoleArns"]),
        (namespace_without_the_labels, "ForbiddenByPolicy", ["metadata.namespace 'shop'", "inference=true"]),
        (
            spec_of_an_older_version,
            "InvalidSpec",
            ["spec.colour: is not known; did you mean rollout? What runs goes"],
        ),
    ],
)
def test_what_cannot_be_accepted_is_refused_with_what_to_do_and_the_running_service_is_untouched(
    up: Object, cause: Callable[[Object], None], reason: str, words: list[str]
) -> None:
    before, mark = up.world.holdings(), up.world.mark
    serving, resources = up.status["running"], up.status["resources"]
    cause(up)
    up.live_on(timedelta(hours=1))
    for condition, status in (("Accepted", "False"), ("Ready", "False"), ("Stalled", "True"), ("Degraded", "True")):
        assert up.stands(condition) == (status, reason)
    message = up.condition("Accepted")["message"]
    assert all(word in message for word in [*words, "Next: "]), message
    assert up.status["observedGeneration"] == up.generation
    assert up.world.writes(since=mark) == []
    assert up.world.holdings() == before
    assert (up.status["running"], up.status["resources"], up.status["readyReplicas"]) == (serving, resources, 1)


def test_of_what_is_refused_it_is_still_told_how_much_of_it_runs(up: Object) -> None:
    policy_that_forbids(up)
    up.live_on(timedelta(minutes=20))
    mark = up.world.mark
    up.world.cloud.fail(Failure(service="*", cause="capacity"))
    up.world.runner.exit(up.world.runner.starts[0].arn, "app", code=1)
    up.live_on(timedelta(minutes=10))
    assert up.stands("Ready") == ("False", "ForbiddenByPolicy")
    assert up.status["readyReplicas"] == 0
    assert up.stands("Degraded") == ("False", "ForbiddenByPolicy"), "nothing serves"
    assert "is unable to consistently start tasks" in up.status["events"][0]["message"]
    reads = {call.operation for call in up.world.calls(since=mark) if call.operation.startswith(READS)}
    assert reads == {"DescribeServices"}


def test_of_what_is_refused_what_was_known_stays_while_aws_does_not_answer(up: Object) -> None:
    policy_that_forbids(up)
    up.world.fault("error", "ecs:DescribeServices")
    up.live_on(timedelta(minutes=20))
    assert up.stands("Ready") == ("False", "ForbiddenByPolicy")
    assert up.status["readyReplicas"] == 1


def test_what_was_refused_goes_on_when_the_cause_is_mended(up: Object) -> None:
    policy_that_forbids(up)
    up.live_on(timedelta(minutes=20))
    up.world.change_environment(policy=None)
    up.live(lambda: up.ready)
    assert up.status["running"]["image"] == BETTER
    assert up.stands("Stalled")[0] == "Absent"


def test_an_environment_that_is_being_deleted_takes_nothing_new_and_keeps_what_it_has(up: Object) -> None:
    environment = up.world.environments["default"]
    going = {**environment["metadata"], "deletionTimestamp": "2026-11-24T12:00:00Z"}
    up.world.environments["default"] = {**environment, "metadata": going}
    new = Object(up.world, deployment_document(name="classifier"))
    new.look()
    assert new.stands("Accepted") == ("False", "EnvironmentNotFound")
    assert "is being deleted" in new.condition("Accepted")["message"]
    assert new.take_away().done
    up.change(image=BETTER)
    up.live(lambda: up.ready)


def test_what_never_was_accepted_makes_nothing_and_goes_at_once(world: World) -> None:
    it = Object(world, deployment_document(environment="elsewhere"))
    it.look()
    assert it.stands("Accepted") == ("False", "EnvironmentNotFound")
    assert it.stands("Degraded")[0] == "False"
    assert it.take_away().done
    assert world.calls() == []


# -- AWS says no


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """When an operation is called, and of which kind the condition tells of it."""

    kind: str
    change: Mapping[str, Any] | None = None
    """None: when the object is made."""
    first: Mapping[str, Any] = field(default_factory=dict)
    """What the object has been before the change."""
    when_deleted: bool = False
    annotation: str | None = None
    """When this one is set during a rollout."""


TAGGED = {"tags": [{"key": "team", "value": "search"}]}
SCALED = {"autoscaling": {"maxReplicas": 4, "cpuPercent": 60}}
NIGHT = {"name": "night", "schedule": "cron(0 20 * * ? *)", "minReplicas": 0, "maxReplicas": 1}
SCHEDULED = {"autoscaling": {"maxReplicas": 4, "schedules": [NIGHT]}}
OCCASIONS: Mapping[str, Occasion] = {
    "logs:CreateLogGroup": Occasion(kind="LogGroup"),
    "logs:PutRetentionPolicy": Occasion(kind="LogGroup"),
    "elasticfilesystem:CreateAccessPoint": Occasion(kind="AccessPoint"),
    "elasticloadbalancing:CreateTargetGroup": Occasion(kind="TargetGroup"),
    "elasticloadbalancing:ModifyTargetGroupAttributes": Occasion(kind="TargetGroup"),
    "elasticloadbalancing:ModifyTargetGroup": Occasion(kind="TargetGroup", change={"health": {"path": "/other"}}),
    "elasticloadbalancing:CreateRule": Occasion(kind="ListenerRule"),
    "elasticloadbalancing:ModifyRule": Occasion(kind="ListenerRule", change={"ingress": {"paths": ["/films/*"]}}),
    "elasticloadbalancing:SetRulePriorities": Occasion(
        kind="ListenerRule", change={"ingress": {"paths": ["/films/*"]}}
    ),
    "ecs:RegisterTaskDefinition": Occasion(kind="TaskDefinition"),
    "ecs:CreateService": Occasion(kind="Service"),
    "ecs:UpdateService": Occasion(kind="Service", change={"replicas": 2}),
    "ecs:StopServiceDeployment": Occasion(kind="Service", annotation=ROLLBACK_AT),
    "ecs:ContinueServiceDeployment": Occasion(kind="Service", annotation=CONTINUE_AT),
    "logs:TagResource": Occasion(kind="LogGroup", change=TAGGED),
    "elasticfilesystem:TagResource": Occasion(kind="AccessPoint", change=TAGGED),
    "elasticloadbalancing:AddTags": Occasion(kind="TargetGroup", change=TAGGED),
    "ecs:TagResource": Occasion(kind="TaskDefinition", change=TAGGED),
    "logs:UntagResource": Occasion(kind="LogGroup", first=TAGGED, change={"tags": []}),
    "elasticfilesystem:UntagResource": Occasion(kind="AccessPoint", first=TAGGED, change={"tags": []}),
    "elasticloadbalancing:RemoveTags": Occasion(kind="TargetGroup", first=TAGGED, change={"tags": []}),
    "ecs:UntagResource": Occasion(kind="TaskDefinition", first=TAGGED, change={"tags": []}),
    "application-autoscaling:RegisterScalableTarget": Occasion(kind="ScalableTarget", change=SCALED),
    "application-autoscaling:PutScalingPolicy": Occasion(kind="ScalingPolicies", change=SCALED),
    "application-autoscaling:PutScheduledAction": Occasion(kind="ScalingPolicies", change=SCHEDULED),
    "application-autoscaling:DeleteScalingPolicy": Occasion(kind="ScalingPolicies", first=SCALED, change=SCHEDULED),
    "application-autoscaling:DeleteScheduledAction": Occasion(kind="ScalingPolicies", first=SCHEDULED, change=SCALED),
    "application-autoscaling:TagResource": Occasion(kind="ScalableTarget", first=SCALED, change=TAGGED),
    "application-autoscaling:UntagResource": Occasion(
        kind="ScalableTarget", first=SCALED | TAGGED, change={"tags": []}
    ),
    "application-autoscaling:DeregisterScalableTarget": Occasion(
        kind="ScalableTarget", first=SCALED, when_deleted=True
    ),
    "ecs:DeleteService": Occasion(kind="Service", when_deleted=True),
    "ecs:DeregisterTaskDefinition": Occasion(kind="TaskDefinition", when_deleted=True),
    "elasticloadbalancing:DeleteRule": Occasion(kind="ListenerRule", when_deleted=True),
    "elasticloadbalancing:DeleteTargetGroup": Occasion(kind="TargetGroup", when_deleted=True),
    "elasticfilesystem:DeleteAccessPoint": Occasion(kind="AccessPoint", when_deleted=True),
    "logs:DeleteLogGroup": Occasion(kind="LogGroup", when_deleted=True),
}
NEEDED_BY = {
    "LogGroup": {"TaskDefinition", "Service"},
    "AccessPoint": {"TaskDefinition", "Service"},
    "TargetGroup": {"ListenerRule", "Service"},
    "ListenerRule": {"Service"},
    "TaskDefinition": {"Service"},
    "Service": set[str](),
    "ScalableTarget": set[str](),
    "ScalingPolicies": set[str](),
}


def test_every_write_that_the_operator_may_ask_for_has_its_occasion_here() -> None:
    writes = {
        f"{service}:{''.join(word.capitalize() for word in name.split('_'))}"
        for port, service in (
            (ports.Ecs, "ecs"),
            (ports.Efs, "elasticfilesystem"),
            (ports.Elb, "elasticloadbalancing"),
            (ports.Logs, "logs"),
            (ports.Scaling, "application-autoscaling"),
        )
        for name, _ in inspect.getmembers(port, inspect.isfunction)
        if not name.startswith(("_", "describe_", "list_", "get_", "batch_get_", "filter_"))
    }
    assert writes == set(OCCASIONS)


@pytest.mark.parametrize(
    ("fault", "reason", "words"),
    [
        ("deny", "AccessDenied", ["is not authorized to perform", "iam-policy"]),
        ("throttle", "Throttled", ["Rate exceeded", "waits and tries again"]),
        ("error", "AwsUnavailable", ["Please try again later", "tries again"]),
    ],
)
@pytest.mark.parametrize("operation", OCCASIONS)
def test_an_operation_that_aws_refuses_is_told_the_other_kinds_go_on_and_it_ends_well_once_aws_lets_it(
    operation: str, fault: Kind, reason: str, words: list[str], it: Object
) -> None:
    occasion = OCCASIONS[operation]
    it.change(**occasion.first)
    if occasion.change is not None or occasion.when_deleted:
        it.live(lambda: it.ready)
        it.change(**(occasion.change or {}))
    if occasion.annotation is not None:
        prepare(it.world)
        it.live(lambda: it.ready)
        it.change(rollout=PAUSED)
        it.live(lambda: it.ready)
        paused(it)
        it.annotate(occasion.annotation, "now")
    it.world.fault(fault, operation)

    if occasion.when_deleted:
        while it.stands("Ready")[1] != reason:
            outcome = it.take_away()
            it.world.advance(outcome.requeue_after)
        told = it.condition("Ready")
        assert not it.outcomes[-1].done
    else:
        it.look()
        told = it.condition(f"{occasion.kind}Ready")
        assert told["status"] == "False"
        assert told["reason"] == reason
        assert it.stands("Ready")[0] == "False"
        for other in set(EVERY_KIND) - {occasion.kind} - NEEDED_BY[occasion.kind]:
            assert it.stands(f"{other}Ready")[1] in ("AsSpecified", "RollingOut"), f"{other} did not go on"
    assert all(word in told["message"] for word in [operation, "Next: ", *words]), told["message"]
    assert (it.stands("Stalled")[0] == "True") == (fault == "deny")

    once = it.world.mark
    waits = [it.outcomes[-1].requeue_after]
    for _ in range(3):
        it.world.advance(waits[-1])
        waits.append((it.take_away() if occasion.when_deleted else it.look()).requeue_after)
    assert waits == sorted(set(waits)), "it waits longer each time"
    struck = [kind for kind in EVERY_KIND if operation in it.condition(f"{kind}Ready").get("message", "")]
    assert it.world.writes(since=once).count(operation) <= 3 * max(1, len(struck)), "once for each kind, at each look"

    it.world.cloud.faults.clear()
    if occasion.when_deleted:
        it.vanish()
        assert not any(it.world.holdings().values())
    else:
        if occasion.annotation is not None:
            it.live(lambda: it.stands("Ready")[1] in ("RolledBack", "Ready"))
            return
        it.live(lambda: it.ready)
        held = {kind: len(things) for kind, things in it.world.holdings().items()}
        assert held == dict.fromkeys({*EVERY_KIND, *held}, 1)
        assert it.stands("Stalled")[0] == "Absent"


def test_a_failed_delete_soon_after_the_creation_does_not_make_anything_forgotten(it: Object) -> None:
    it.change(replicas=0)
    it.look()
    for operation in ("elasticfilesystem:DeleteAccessPoint", "elasticloadbalancing:DeleteRule"):
        it.world.fault("throttle", operation, times=1)
    it.vanish(at_most=timedelta(seconds=20))
    assert not any(it.world.holdings().values())


# -- at rest


def test_an_unchanged_object_costs_no_write_and_its_status_stays_to_the_letter(up: Object) -> None:
    mark, before = up.world.mark, up.status
    up.live_on(timedelta(hours=5))
    assert up.world.writes(since=mark) == []
    assert up.status == before
    assert not any(outcome.events for outcome in up.outcomes[-10:])


def test_ten_unchanged_objects_cost_one_describe_services_an_interval(world: World) -> None:
    objects = [Object(world, deployment_document(name=f"service-{number}")) for number in range(10)]
    for each in objects:
        each.live(lambda each=each: each.ready)  # type: ignore[misc]  # mypy infers no lambda defaults
    due = {id(each): world.clock.now() for each in objects}

    def round_of_looks() -> None:
        for each in objects:
            moment = due[id(each)]
            if moment > world.clock.now():
                world.advance(moment - world.clock.now())
            due[id(each)] = world.clock.now() + each.look().requeue_after

    for _ in range(3):
        round_of_looks()
    mark = world.mark
    rounds = 6  # half an hour: no audit is due yet
    for _ in range(rounds):
        round_of_looks()
        world.advance(timedelta(seconds=1))
    calls = [f"{call.service}:{call.operation}" for call in world.calls(since=mark)]
    assert calls == ["ecs:DescribeServices"] * rounds


def test_what_another_object_s_look_showed_is_not_believed_for_longer_than_an_interval(world: World) -> None:
    first, second = (Object(world, deployment_document(name=name)) for name in ("first", "second"))
    for each in (first, second):
        each.live(lambda each=each: each.ready)  # type: ignore[misc]  # mypy infers no lambda defaults
    world.advance(RESYNC)
    first.look()  # shows the second one too
    later = RESYNC * 0.9
    world.advance(later)
    mark = world.mark
    again_in = second.look().requeue_after
    assert not world.calls(since=mark)  # it is the same round of looks
    assert again_in == RESYNC - later
    world.advance(again_in)
    second.look()
    assert [call.operation for call in world.calls(since=mark)] == ["DescribeServices"]


@pytest.mark.parametrize(
    ("what", "mended_by"),
    [
        (lambda w: w.client("elbv2").delete_rule(RuleArn=next(iter(w.holdings()["ListenerRule"]))), "CreateRule"),
        (
            lambda w: w.client("logs").put_retention_policy(
                logGroupName="/inference/shop/recommender", retentionInDays=1
            ),
            "PutRetentionPolicy",
        ),
        (
            lambda w: w.client("ecs").update_service(cluster="inference", service="shop_recommender", desiredCount=4),
            "UpdateService",
        ),
    ],
    ids=["rule deleted", "retention changed", "service scaled"],
)
def test_what_somebody_changed_by_hand_is_mended_at_the_next_audit(
    up: Object, what: Callable[[World], object], mended_by: str
) -> None:
    what(up.world)
    mark = up.world.mark
    up.live(lambda: any(w.endswith(mended_by) for w in up.world.writes(since=mark)), at_most=timedelta(hours=7))
    up.live(lambda: up.ready)
    assert {kind: len(things) for kind, things in up.world.holdings().items()} == dict.fromkeys(EVERY_KIND, 1)


TAKEN_AWAY: Mapping[str, Callable[[World], object]] = {
    "log group": lambda w: w.client("logs").delete_log_group(logGroupName="/inference/shop/recommender"),
    "access point": lambda w: w.client("efs").delete_access_point(
        AccessPointId=next(iter(w.holdings()["AccessPoint"]))
    ),
    "rule": lambda w: w.client("elbv2").delete_rule(RuleArn=next(iter(w.holdings()["ListenerRule"]))),
}
"""What new tasks need and those that run do not miss."""


@pytest.mark.parametrize("what", TAKEN_AWAY)
def test_what_somebody_has_taken_away_is_there_again_before_new_tasks_need_it(up: Object, what: str) -> None:
    up.live_on(timedelta(minutes=10))
    TAKEN_AWAY[what](up.world)
    up.change(image=BETTER)
    up.live(lambda: up.ready, at_most=timedelta(minutes=10))
    assert {entry["outcome"] for entry in up.status["history"]} == {"Completed"}
    assert "lastFailure" not in up.status
    assert "RejectedByAws" not in {event.reason for outcome in up.outcomes for event in outcome.events}


def test_a_log_group_that_somebody_has_taken_away_is_there_again_once_a_task_has_missed_it(up: Object) -> None:
    up.live_on(timedelta(minutes=10))
    TAKEN_AWAY["log group"](up.world)
    up.world.runner.exit(up.world.runner.starts[0].arn, "app", code=1)
    up.live_on(timedelta(minutes=10))
    assert "LogGroupMissing" in {task["cause"] for task in up.status["stoppedTasks"]}
    assert up.ready


def test_tasks_that_a_policy_keeps_from_their_models_cost_looks_at_the_access_point_alone(up: Object) -> None:
    up.world.runner.script = lambda _: failing(EFS_REFUSES)
    up.world.runner.exit(up.world.runner.starts[0].arn, "app", code=1)
    mark = up.world.mark
    up.live_on(timedelta(minutes=30))
    calls = Counter(call.operation for call in up.world.calls(since=mark))
    assert 0 < calls.pop("DescribeAccessPoints") <= len(up.world.runner.starts)
    assert set(calls) == {"DescribeServices", "ListTasks", "DescribeTasks"}
    assert "EfsAccessDenied" in up.condition("Ready")["message"]


def test_a_change_of_the_count_alone_does_not_have_everything_looked_at_again(up: Object) -> None:
    up.live_on(timedelta(minutes=10))
    mark = up.world.mark
    up.change(replicas=2)
    up.live(lambda: up.ready)
    # The second: a count that is not the spec's may be that of somebody else's scaling.
    operations = {call.operation for call in up.world.calls(since=mark)}
    assert operations == {"DescribeServices", "DescribeScalableTargets", "UpdateService"}


# -- going


def test_a_deleted_object_leaves_nothing_and_what_is_not_its_own_stays(up: Object) -> None:
    other = Object(up.world, deployment_document(name="classifier"))
    other.live(lambda: other.ready)
    theirs = {kind: {k for k in things if "classifier" in k} for kind, things in up.world.holdings().items()}
    up.vanish()
    assert up.take_away().done, "again is harmless"
    left = up.world.holdings()
    assert {kind: len(things) for kind, things in left.items()} == dict.fromkeys(EVERY_KIND, 1)
    for kind in ("LogGroup", "TargetGroup", "TaskDefinition", "Service"):
        assert set(left[kind]) == theirs[kind]
    mark = up.world.mark
    other.restart()
    other.live_on(timedelta(minutes=30))
    assert other.ready
    assert up.world.writes(since=mark) == []


@pytest.mark.parametrize("passes", range(4))
def test_an_object_deleted_while_it_rolls_out_leaves_nothing(it: Object, passes: int) -> None:
    for _ in range(passes):
        it.world.advance(it.look().requeue_after)
    it.change(models={"path": "/recommender/2"})
    it.look()
    it.vanish()
    assert not any(it.world.holdings().values())


def test_a_deletion_ends_though_the_operator_restarts_at_each_pass_and_the_spec_is_invalid(up: Object) -> None:
    spec_of_an_older_version(up)
    while True:
        up.restart()
        outcome = up.take_away()
        if outcome.done:
            break
        assert up.stands("Ready") == ("False", "Deleting")
        up.world.advance(outcome.requeue_after)
    assert not any(up.world.holdings().values())


def test_a_deletion_without_its_environment_waits_for_it_and_says_so(up: Object) -> None:
    environments = dict(up.world.environments)
    before = up.world.holdings()
    up.world.environments.clear()
    outcome = up.take_away()
    assert not outcome.done
    assert up.stands("Ready") == ("False", "EnvironmentNotFound")
    assert up.stands("Stalled")[0] == "True"
    assert "finalizer" in up.condition("Ready")["message"]
    assert up.world.holdings() == before
    up.world.environments.update(environments)
    up.vanish()
    assert not any(up.world.holdings().values())


TORN_DOWN = ["cluster", "listener", "balancer", "models"]


def tear_down(world: World, what: str) -> None:
    """By the hands of those who have prepared the account, who do not wait for the objects to go first."""
    ecs, elb, efs = world.client("ecs"), world.client("elbv2"), world.client("efs")
    match what:
        case "cluster":
            ecs.delete_service(cluster=CLUSTER, service="shop_recommender", force=True)
            world.advance(timedelta(minutes=15))
            ecs.delete_cluster(cluster=CLUSTER)
        case "listener":
            elb.delete_listener(ListenerArn=world.account.listener)
        case "balancer":
            elb.delete_load_balancer(LoadBalancerArn=world.account.balancer)
        case _:
            for point in efs.describe_access_points()["AccessPoints"]:
                efs.delete_access_point(AccessPointId=point["AccessPointId"])
            for target in efs.describe_mount_targets(FileSystemId=world.account.file_system)["MountTargets"]:
                efs.delete_mount_target(MountTargetId=target["MountTargetId"])
            efs.delete_file_system(FileSystemId=world.account.file_system)


@pytest.mark.parametrize("retain", [False, True], ids=["deleted", "retained"])
@pytest.mark.parametrize("gone", [*([each] for each in TORN_DOWN), TORN_DOWN], ids="-".join)
def test_a_deletion_ends_though_what_the_things_were_in_is_gone(up: Object, gone: list[str], *, retain: bool) -> None:
    if retain:
        up.change(deletionPolicy="Retain")
    for what in gone:
        tear_down(up.world, what)
    up.restart()
    up.vanish()
    if not retain:
        left = up.world.client("logs").describe_log_groups()["logGroups"]
        assert (left, up.world.client("ecs").list_task_definitions(status="ACTIVE")["taskDefinitionArns"]) == ([], [])


@pytest.mark.parametrize("gone", TORN_DOWN)
def test_while_an_object_is_there_what_it_should_be_in_is_told_as_missing(up: Object, gone: str) -> None:
    tear_down(up.world, gone)
    up.restart()
    up.live_on(timedelta(minutes=10))
    assert up.stands("Ready")[0] == "False"
    assert "Next: check the identifiers in the InferenceEnvironment" in up.condition("Ready")["message"]


@pytest.mark.parametrize(
    "misspelt",
    [
        {"cluster": "inferenc"},
        {"models": {"fileSystemId": "fs-0123456789abcdef0", "posixUser": {"uid": 1, "gid": 1}}},
        {"loadBalancer": {"listenerArn": f"{LISTENER}0", "url": "https://inference.example.com"}},
    ],
    ids=lambda spec: next(iter(spec)),
)
def test_an_object_whose_environment_names_what_does_not_exist_can_be_deleted(
    it: Object, misspelt: dict[str, Any]
) -> None:
    """The environment can't be mended then: these members can't be changed, and while the object is there it stays."""
    it.world.change_environment(**misspelt)
    for _ in range(3):
        it.look()
    assert not it.ready
    it.vanish(at_most=timedelta(minutes=10))
    assert not any(it.world.holdings().values())


def test_what_was_made_in_another_account_is_not_taken_for_gone_because_its_cluster_is_not_found(up: Object) -> None:
    """The operator's credentials have become those of another one."""
    tear_down(up.world, "cluster")
    made = up.document["status"]["resources"]
    made["taskDefinition"] = made["taskDefinition"].replace(ACCOUNT, "999999999999")
    up.restart()
    assert not up.take_away().done
    assert "ClusterNotFoundException" in up.condition("Ready")["message"]


def test_the_same_name_made_anew_after_a_deletion_gets_things_of_its_own(up: Object) -> None:
    place = up.world.client("elbv2").describe_rules(RuleArns=[up.status["resources"]["listenerRule"]])["Rules"][0]
    up.restart()
    up.vanish()
    again = Object(up.world)
    again.document["metadata"]["uid"] = "u-another"
    again.look()
    assert again.stands("Ready") == ("False", "RollingOut")
    again.live(lambda: again.ready)
    [(rule, _tags)] = up.world.holdings()["ListenerRule"].values()
    assert rule["Priority"] == place["Priority"]
    tags = {t["key"]: t["value"] for t in up.world.holdings()["Service"]["shop_recommender"]["tags"]}
    assert tags["ecs-inference.dev/uid"] == "u-another"
    up.restart()
    assert up.take_away().done, "the dead object's deletion is done again"
    again.live_on(timedelta(hours=2))
    assert again.ready


# -- the status as a whole


def rolling_out(it: Object) -> None:
    it.live(lambda: it.ready)
    it.change(image=BETTER, models={"path": "/recommender/2"}, replicas=2)
    it.look()
    it.world.advance(timedelta(seconds=20))
    it.look()


def ready(it: Object) -> None:
    it.live(lambda: it.ready)


def back_on_the_old_revision(it: Object) -> None:
    it.live(lambda: it.ready)
    rolled_back(it)


def failed(it: Object) -> None:
    it.change(image=BAD)
    it.live(lambda: it.stands("Ready")[1] == "RolloutFailed" and it.outcomes[-1].requeue_after == RESYNC)


def refused(it: Object) -> None:
    it.live(lambda: it.ready)
    policy_that_forbids(it)
    it.look()


def deleting(it: Object) -> None:
    it.live(lambda: it.ready)
    it.take_away()


@pytest.mark.parametrize("state", [rolling_out, ready, back_on_the_old_revision, failed, refused, deleting])
def test_the_whole_status_is_as_it_was_last_approved(state: Callable[[Object], None], it: Object) -> None:
    """`UPDATE_GOLDEN=1` writes the files anew; the difference is then for a reviewer to read."""
    state(it)
    told = normalised(it.status, since=NOW)
    file = Path(__file__).with_name("golden") / f"{state.__name__}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(told)
    assert told == file.read_text()


@pytest.mark.parametrize("state", [rolling_out, ready, back_on_the_old_revision, failed, refused, deleting])
def test_the_status_is_one_that_the_api_server_takes(
    state: Callable[[Object], None], it: Object, kube: Kube, crds: None
) -> None:
    state(it)
    name, namespace = it.document["metadata"]["name"], kube.namespace
    kind = ("ecs-inference.dev", "v1alpha1", namespace, "inferencedeployments")
    asked = deployment_document(namespace=namespace)
    del asked["metadata"]["uid"], asked["metadata"]["generation"]
    kube.custom.create_namespaced_custom_object(*kind, asked)
    stored = kube.custom.patch_namespaced_custom_object_status(
        *kind, name, {"status": it.status}, _content_type="application/merge-patch+json"
    )
    assert stored["status"] == it.status


def test_while_ecs_waits_between_its_tries_tasks_are_not_asked_for(it: Object) -> None:
    it.change(image=BAD, rollout={"circuitBreaker": {"enabled": False}})
    it.live_on(timedelta(minutes=15))
    calls = Counter(call.operation for call in it.world.calls())
    assert calls["DescribeServices"] > 150
    assert 5 < calls["ListTasks"] < calls["DescribeServices"] / 2
    assert "ImageNotFound" in it.condition("Ready")["message"], "also while nothing is asked"
    assert len(it.status["stoppedTasks"]) == min(20, len(it.world.runner.starts)), "each failure is told"


def test_a_rollback_to_what_can_not_start_any_more_says_so_and_why(up: Object) -> None:
    efs, ecs = up.world.client("efs"), up.world.client("ecs")
    efs.delete_access_point(AccessPointId=up.status["resources"]["accessPoint"].rpartition("/")[2])
    up.change(image=BAD, replicas=2)
    up.live(lambda: up.stands("Ready")[1] == "RolledBack")
    for task in ecs.list_tasks(cluster=CLUSTER, serviceName="shop_recommender")["taskArns"]:
        ecs.stop_task(cluster=CLUSTER, task=task, reason="its host is gone")
    up.live(lambda: "do not come up either" in up.condition("Ready")["message"], at_most=timedelta(minutes=10))
    message = up.condition("Ready")["message"]
    assert "shop_recommender:2 failed: ImageNotFound" in message
    assert "shop_recommender:1, whose tasks do not come up either: EfsAccessDenied" in message
    assert up.condition("Stalled")["message"] == message
