"""A deployment that failed is held: what holds it, what does not, and what lets it go."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from inference_operator.api.meta import PAUSED, ROLLBACK_AT
from inference_operator.engine.backoff import RESYNC
from inference_operator.runtime.slot import fingerprint
from inference_sandbox.tasks.scripted import Script, failing
from tests.operator.builders import deployment_document
from tests.operator.test_kinds import SERVICE, strange_task_definition
from tests.operator.world import CLUSTER, Object, World

BAD = "registry.example.com/inference-server:broken"
NO_ROUTE = "CannotPullContainerError: pull image manifest has been retried 1 time(s): dial tcp: i/o timeout"
RECORDS = ("ListServiceDeployments", "DescribeServiceDeployments", "DescribeServiceRevisions")


@pytest.fixture
def up(world: World) -> Object:
    """An object that is Ready."""
    it = Object(world)
    it.live(lambda: it.ready)
    return it


@pytest.fixture(params=[True, False], ids=["with records", "without records"])
def records(request: pytest.FixtureRequest, world: World) -> bool:
    """Whether the operator may read ECS's records of deployments."""
    if not request.param:
        for operation in RECORDS:
            world.fault("deny", f"ecs:{operation}")
    return bool(request.param)


def tasks_fail(it: Object) -> None:
    it.world.runner.script = lambda _launch: failing(NO_ROUTE)


def tasks_of_the_bad_image_fail(it: Object) -> None:
    it.world.runner.script = lambda launch: (
        failing(NO_ROUTE) if launch.containers[0].definition["image"] == BAD else Script()
    )


def tasks_come_up(it: Object) -> None:
    it.world.runner.script = lambda _launch: Script()


def subnets(world: World, chosen: list[str]) -> None:
    world.change_environment(network={"subnets": chosen, "securityGroups": world.account.security_groups})


def settled(it: Object, reason: str) -> None:
    it.live(lambda: it.stands("Ready")[1] == reason and it.outcomes[-1].requeue_after == RESYNC)


def sent(it: Object) -> list[dict[str, Any]]:
    """The calls that began a deployment."""
    members = {"taskDefinition", "networkConfiguration", "loadBalancers", "forceNewDeployment"}
    calls = [c for c in it.world.calls() if c.operation in ("CreateService", "UpdateService")]
    return [dict(c.parameters) for c in calls if members & set(c.parameters)]


def to_other_subnets_and_back(it: Object) -> None:
    """A deployment of the same revision fails, and is rolled back."""
    tasks_fail(it)
    subnets(it.world, it.world.account.subnets[1:])
    settled(it, "RolledBack")


def test_a_deployment_of_the_same_revision_that_failed_is_held(up: Object, records: bool) -> None:
    to_other_subnets_and_back(up)
    assert len(sent(up)) == 2
    assert "The deployment before it serves again" in up.condition("Ready")["message"]
    assert up.status["lastFailure"]["cause"] == "ImageRegistryUnreachable"
    up.live_on(timedelta(hours=1))
    up.restart()
    up.live_on(timedelta(hours=1))
    assert len(sent(up)) == 2
    assert up.stands("Ready") == ("False", "RolledBack")


@pytest.mark.parametrize("who", ["reconcile-at", "somebody by hand"])
def test_what_was_begun_anew_and_failed_is_told_though_the_same_revision_serves(
    up: Object, records: bool, who: str
) -> None:
    tasks_fail(up)
    if who == "reconcile-at":
        up.reconcile_at("the tag was moved")
    else:
        up.world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, forceNewDeployment=True)
        up.restart()
    up.look()
    begun = len(sent(up))
    settled(up, "RolledBack")
    assert "ECS goes back to the deployment before it" in "".join(e.message for o in up.outcomes for e in o.events)
    assert "The deployment before it serves again" in up.condition("Ready")["message"]
    assert up.status["lastFailure"]["cause"] == "ImageRegistryUnreachable"
    assert [entry["outcome"] for entry in up.status["history"]] == ["RolledBack", "Completed"]
    up.restart()
    up.live_on(timedelta(hours=1))
    assert up.stands("Ready") == ("False", "RolledBack")
    assert len(sent(up)) == begun
    tasks_come_up(up)
    up.reconcile_at("the tag is as it was")
    up.live(lambda: up.ready)
    assert len(sent(up)) == begun + 1


def test_what_serves_while_it_is_held_is_told_as_it_is_now(up: Object) -> None:
    tasks_of_the_bad_image_fail(up)
    up.change(image=BAD)
    settled(up, "RolledBack")
    assert "shop_recommender:1 serves again" in up.condition("Ready")["message"]
    up.change(suspend=True)
    up.live_on(timedelta(minutes=10))
    assert "shop_recommender:1 is back, and no task runs" in up.condition("Ready")["message"]
    up.change(suspend=False)
    up.live_on(timedelta(minutes=10))
    theirs = strange_task_definition(up.world, family="theirs")
    up.world.client("ecs").update_service(cluster=CLUSTER, service=SERVICE, taskDefinition=theirs)
    up.live_on(timedelta(minutes=10))
    assert "theirs:1 serves, which somebody else has deployed since" in up.condition("Ready")["message"]


def test_it_goes_when_the_environment_asks_for_something_else(up: Object, records: bool) -> None:
    to_other_subnets_and_back(up)
    tasks_come_up(up)
    subnets(up.world, up.world.account.subnets[::-1])
    up.live(lambda: up.ready)
    assert up.stands("Degraded")[0] == "False"


def test_it_goes_when_reconcile_at_changes(up: Object, records: bool) -> None:
    to_other_subnets_and_back(up)
    tasks_come_up(up)
    up.reconcile_at("now")
    up.live(lambda: up.ready)
    assert [d["networkConfiguration"]["awsvpcConfiguration"]["subnets"] for d in sent(up)[1:]] == [
        up.world.account.subnets[1:]
    ] * 2


@pytest.mark.parametrize(
    "change",
    [
        {"health": {"path": "/v2/health/ready"}},
        {"health": {"startup": "20m"}},
        {"rollout": {"progressDeadline": "1h"}},
    ],
    ids=["in the target group", "in the service, without a deployment", "nowhere in AWS"],
)
@pytest.mark.parametrize("first", [True, False], ids=["a first deployment", "a later one"])
def test_any_change_of_the_spec_lets_it_be_tried_again(
    change: dict[str, Any], first: bool, records: bool, world: World
) -> None:
    it = Object(world)
    if not first:
        it.live(lambda: it.ready)
        it.change(image=BAD)
    tasks_fail(it)
    settled(it, "RolloutFailed" if first else "RolledBack")
    before = len(sent(it))
    tasks_come_up(it)
    it.change(**change)
    it.live(lambda: it.ready)
    assert len(sent(it)) == before + 1


def test_another_number_of_replicas_is_no_reason_to_try_again(up: Object, records: bool) -> None:
    up.change(image=BAD)
    tasks_fail(up)
    settled(up, "RolledBack")
    tasks_come_up(up)
    up.change(replicas=2)
    up.live(lambda: up.status["readyReplicas"] == 2)
    up.live_on(timedelta(hours=1))
    assert up.stands("Ready") == ("False", "RolledBack")
    assert len(sent(up)) == 2


def test_what_was_asked_for_again_after_something_else_is_tried_again(up: Object, records: bool) -> None:
    good = up.document["spec"]["image"]
    tasks_of_the_bad_image_fail(up)
    up.change(image=BAD)
    settled(up, "RolledBack")
    up.change(image=good)
    up.live(lambda: up.ready)
    tasks_come_up(up)
    up.change(image=BAD)
    up.live(lambda: up.ready)
    assert up.status["running"]["image"] == BAD


def before_the_status_was_written(it: Object) -> None:
    """A pass whose status is lost: the operator dies between the call and the write."""
    document = deepcopy(it.document)
    it.look()
    it.document = document
    it.restart()


def new_image(it: Object) -> None:
    it.change(image=BAD)


def new_subnets(it: Object) -> None:
    subnets(it.world, it.world.account.subnets[1:])


@pytest.mark.parametrize("change", [new_image, new_subnets])
def test_a_rollback_while_the_operator_was_down_is_seen_though_it_died_before_it_told_what_it_had_sent(
    change: Callable[[Object], None], up: Object
) -> None:
    tasks_fail(up)
    change(up)
    before_the_status_was_written(up)
    up.world.advance(timedelta(hours=1))
    up.look()
    assert up.stands("Ready") == ("False", "RolledBack")
    assert up.status["deployment"]["reason"] == "ECS deployment circuit breaker: tasks failed to start."
    up.live_on(timedelta(hours=2))
    assert len(sent(up)) == 2
    assert [e["outcome"] for e in up.status["history"]] == ["RolledBack", "Completed"]


def test_a_failed_deployment_that_is_still_draining_is_seen_without_records_though_the_operator_died(
    up: Object,
) -> None:
    for operation in RECORDS:
        up.world.fault("deny", f"ecs:{operation}")
    tasks_of_the_bad_image_fail(up)
    up.change(image=BAD, replicas=4)
    before_the_status_was_written(up)
    service = up.world.client("ecs")

    def failed() -> bool:
        found = service.describe_services(cluster="inference", services=["shop_recommender"])["services"][0]
        return any(d["rolloutState"] == "FAILED" for d in found["deployments"])

    while not failed():
        up.world.advance(timedelta(seconds=1))
    settled(up, "RolledBack")
    up.live_on(timedelta(hours=1))
    assert len(sent(up)) == 2


def test_a_first_deployment_that_failed_is_held_though_the_operator_died_before_it_told(world: World) -> None:
    it = Object(world)
    tasks_fail(it)
    before_the_status_was_written(it)
    world.advance(timedelta(hours=1))
    settled(it, "RolloutFailed")
    it.live_on(timedelta(hours=1))
    assert len(sent(it)) == 1


def test_an_object_at_rest_asks_for_no_records(up: Object, world: World) -> None:
    held = Object(world, deployment_document("held"))
    held.live(lambda: held.ready)
    tasks_fail(held)
    held.change(image=BAD)
    settled(held, "RolledBack")
    mark = world.mark
    up.live_on(timedelta(hours=2))
    held.live_on(timedelta(hours=2))
    assert not {c.operation for c in world.calls(since=mark)} & set(RECORDS)


def tasks_of_the_bad_image_end(it: Object) -> None:
    ends = Script(exits_after=timedelta(seconds=1), exit_code=3, stops_after=timedelta(seconds=3))
    it.world.runner.script = lambda launch: ends if launch.containers[0].definition["image"] == BAD else Script()


def explained(it: Object) -> tuple[str, int]:
    failure = it.status["lastFailure"]
    return failure["container"], failure["exitCode"]


def test_why_tasks_failed_is_told_even_if_ecs_gave_the_rollout_up_before_it_showed_them_as_stopped(up: Object) -> None:
    tasks_of_the_bad_image_end(up)
    up.change(image=BAD, rollout={"circuitBreaker": {"threshold": {"type": "COUNT", "value": 1}}})
    up.look()
    ecs = up.world.client("ecs")
    service = up.status["resources"]["service"]

    def given_up() -> bool:
        [shown] = ecs.describe_services(cluster="inference", services=[service])["services"]
        return any("deployment failed" in event["message"] for event in shown["events"])

    while not given_up():
        up.world.advance(timedelta(milliseconds=100))
    up.restart()
    up.look()
    assert up.stands("Ready") == ("False", "RolledBack")
    assert "exitCode" not in up.status["lastFailure"], "ECS does not tell yet"
    up.world.advance(timedelta(minutes=1))  # the next look comes late
    settled(up, "RolledBack")
    assert explained(up) == ("app", 3)


def test_why_tasks_failed_is_told_even_if_many_others_have_stopped_within_the_hour(up: Object) -> None:
    for replicas in (120, 1):
        up.change(replicas=replicas)
        up.live(lambda: up.ready)
    tasks_of_the_bad_image_end(up)
    up.change(image=BAD)
    settled(up, "RolledBack")
    assert explained(up) == ("app", 3)


# -- rolled back on request


def under_way(it: Object) -> None:
    """A rollout whose tasks run but are not healthy yet."""
    it.change(image="registry.example.com/inference-server:1.5.0")
    it.look()


def test_rollback_at_is_honoured_once(up: Object, records: bool) -> None:
    under_way(up)
    up.annotate(ROLLBACK_AT, "now")
    settled(up, "RolledBack")
    assert up.status["lastRollbackAt"] == "now"
    assert up.status["lastFailure"]["cause"] == "RollbackRequested"
    up.reconcile_at("again")
    up.live(lambda: up.ready)
    stops = [c for c in up.world.calls() if c.operation == "StopServiceDeployment"]
    assert len(stops) == 1


def test_a_rollback_asked_for_survives_a_crash_before_the_status_was_written(up: Object, records: bool) -> None:
    under_way(up)
    up.annotate(ROLLBACK_AT, "now")
    before_the_status_was_written(up)
    settled(up, "RolledBack")
    assert up.status["lastRollbackAt"] == "now"
    up.live_on(timedelta(hours=1))
    assert len(sent(up)) == 2


def told_of(it: Object, reason: str) -> list[str]:
    return [event.message for outcome in it.outcomes for event in outcome.events if event.reason == reason]


def test_a_rollback_that_finds_no_rollout_is_answered_once_for_each_value(up: Object) -> None:
    up.annotate(ROLLBACK_AT, "now")
    up.live_on(timedelta(minutes=20))
    [message] = told_of(up, "NothingToRollBack")
    assert message.startswith(f"{ROLLBACK_AT}=now stopped nothing: no rollout is under way (the latest is Completed). ")
    assert message.endswith("Next: to go back to what was served before, put its values into the spec.")
    up.restart()
    up.live_on(timedelta(minutes=20))
    up.annotate(ROLLBACK_AT, "again")
    up.look()
    assert len(told_of(up, "NothingToRollBack")) == 2
    assert up.status["lastRollbackAt"] == "again"


def test_a_rollback_that_finds_a_rollout_is_not_called_vain(up: Object, records: bool) -> None:
    under_way(up)
    up.annotate(ROLLBACK_AT, "now")
    settled(up, "RolledBack")
    assert told_of(up, "NothingToRollBack") == []


@pytest.mark.parametrize(
    ("annotation", "value", "told"),
    [
        ("ecs-inference.dev/reconcile_at", "now", "does nothing; did you mean ecs-inference.dev/reconcile-at?"),
        ("ecs-inference.dev/pause", "true", "does nothing; did you mean ecs-inference.dev/paused?"),
        ("ecs-inference.dev/team", "x", "does nothing; there is ecs-inference.dev/reconcile-at, "),
        (PAUSED, "yes", '=yes does nothing. Next: set it to "true", or remove it'),
    ],
)
def test_an_annotation_that_does_nothing_is_told_whether_the_object_is_accepted_or_not(
    up: Object, annotation: str, value: str, told: str
) -> None:
    up.annotate(annotation, value)
    up.look()
    up.change(environment="elsewhere")
    up.look()
    messages = told_of(up, "AnnotationIgnored")
    assert len(messages) == 2
    assert all(message.startswith(f"the annotation {annotation}") and told in message for message in messages)


def test_annotations_that_do_something_or_are_somebody_elses_are_passed_over(up: Object) -> None:
    up.annotate(PAUSED, "False")
    up.annotate(ROLLBACK_AT, "anything")
    up.annotate("argocd.argoproj.io/paused", "yes")
    up.look()
    assert told_of(up, "AnnotationIgnored") == []


@pytest.mark.parametrize("annotation", ["ecs-inference.dev/pasued", PAUSED])
def test_an_annotation_of_ours_wakes_the_object_and_no_other_does(annotation: str) -> None:
    metadata = {"generation": 1}
    assert fingerprint({**metadata, "annotations": {annotation: "true"}}) != fingerprint(metadata)
    assert fingerprint({**metadata, "annotations": {"kubectl.kubernetes.io/x": "true"}}) == fingerprint(metadata)


def test_a_rollback_asked_for_while_the_object_is_paused_waits_until_it_may_be_done(up: Object) -> None:
    under_way(up)
    up.annotate(PAUSED, "true")
    up.annotate(ROLLBACK_AT, "now")
    up.look()
    assert "lastRollbackAt" not in up.status
    up.annotate(PAUSED, "false")
    settled(up, "RolledBack")
    assert up.status["lastRollbackAt"] == "now"


def test_of_a_value_longer_than_a_status_holds_the_beginning_counts(up: Object) -> None:
    under_way(up)
    up.annotate(ROLLBACK_AT, "x" * 5000)
    settled(up, "RolledBack")
    up.change(image="registry.example.com/inference-server:1.6.0")
    up.live(lambda: up.ready)
    assert up.status["lastRollbackAt"] == "x" * 253


def test_a_first_rollout_can_not_be_rolled_back_and_says_so(world: World) -> None:
    it = Object(world)
    it.look()
    it.annotate(ROLLBACK_AT, "now")
    it.look()
    assert it.stands("Ready") == ("False", "RejectedByAws")
    assert "nothing was deployed before this" in it.condition("Ready")["message"]
    it.live(lambda: it.ready)
    assert it.status["lastRollbackAt"] == "now"
