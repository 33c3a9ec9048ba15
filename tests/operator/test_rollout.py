"""What became of a deployment: the cases that ECS's own tools get wrong."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from inference_operator.domain.rollout import ROLLBACK_ASKED, Asked, Known, Rollout, Stand, State, follow
from inference_operator.domain.service_deployment import Pause, Record, read
from tests.operator.builders import NOW, ecs_deployment

OLD, NEW = "arn:…:task-definition/f:1", "arn:…:task-definition/f:2"
ASKED = Asked(revision=NEW, hash="new", deadline=timedelta(minutes=30))
BEFORE = Known(id="ecs-svc/1", record="arn:…/1", asked="old", state="Completed", started_at=NOW - timedelta(hours=1))
SENT = Known(id="ecs-svc/2", record="arn:…/2", asked="new", state="InProgress", started_at=NOW - timedelta(minutes=5))
HELD = replace(SENT, state="RolledBack")
RELEASED = replace(HELD, asked="what was asked for before")
WENT_DOWN = Record(arn="arn:…/2", status="ROLLBACK_SUCCESSFUL", target="r", created_at=NOW - timedelta(minutes=5))

PAUSED = replace(
    WENT_DOWN, status="IN_PROGRESS", pause=Pause(id="h", stage="POST_SCALE_UP", expires_at=None, then="ROLLBACK")
)


def old(**members: Any) -> dict[str, Any]:
    return ecs_deployment(OLD, name="ecs-svc/1", createdAt=NOW - timedelta(hours=1), **members)


def new(**members: Any) -> dict[str, Any]:
    return ecs_deployment(NEW, name="ecs-svc/2", **members)


def of_somebody_else(at: datetime = NOW) -> dict[str, Any]:
    return ecs_deployment("arn:…:task-definition/f:9", name="ecs-svc/9", createdAt=at)


def followed(
    *deployments: dict[str, Any],
    known: Known = BEFORE,
    current: bool | None = None,
    record: Record | None = None,
    minutes: int = 30,
) -> Rollout:
    stand = Stand(
        deployments=deployments,
        current=any(d["taskDefinition"] == NEW for d in deployments[:1]) if current is None else current,
        left=next((d for d in deployments[1:] if d["taskDefinition"] == NEW), None),
        record=record,
    )
    return follow(replace(ASKED, deadline=timedelta(minutes=minutes)), stand, known, now=NOW)


@pytest.mark.parametrize(
    ("case", "rollout", "state"),
    [
        ("never sent", followed(old(state="COMPLETED")), State.NOT_SENT),
        ("sent", followed(new(), old(status="ACTIVE"), known=SENT), State.IN_PROGRESS),
        ("sent, and the operator died before it told", followed(new(), old(status="ACTIVE")), State.IN_PROGRESS),
        ("completed", followed(new(state="COMPLETED"), known=SENT), State.COMPLETED),
        ("failed, nothing to go back to", followed(new(state="FAILED"), known=SENT), State.FAILED),
        (
            "failed before the operator told that it was sent",
            followed(new(state="FAILED"), known=Known()),
            State.FAILED,
        ),
        (
            "rolled back, the failed deployment is still draining",
            followed(old(), new(status="ACTIVE", state="FAILED"), known=SENT),
            State.ROLLED_BACK,
        ),
        (
            "so, and the operator died before it told that it was sent",
            followed(old(), new(status="ACTIVE", state="FAILED")),
            State.ROLLED_BACK,
        ),
        (
            "rolled back and forgotten by ECS while nobody looked",
            followed(old(state="COMPLETED"), known=SENT),
            State.ROLLED_BACK,
        ),
        (
            "so, and the operator died before it told that it was sent",
            followed(old(state="COMPLETED"), record=WENT_DOWN),
            State.ROLLED_BACK,
        ),
        (
            "sent a moment ago by another process, and not shown yet",
            followed(old(state="COMPLETED"), known=replace(SENT, started_at=NOW - timedelta(seconds=20))),
            State.IN_PROGRESS,
        ),
        (
            "so, and it has ended already",
            followed(
                old(state="COMPLETED"),
                known=replace(SENT, started_at=NOW - timedelta(seconds=20)),
                record=replace(WENT_DOWN, created_at=NOW - timedelta(seconds=20)),
            ),
            State.ROLLED_BACK,
        ),
        (
            "not shown yet, and ECS has it on record",
            followed(old(state="COMPLETED"), known=SENT, record=replace(WENT_DOWN, status="IN_PROGRESS")),
            State.IN_PROGRESS,
        ),
        ("rolled back long ago", followed(old(state="COMPLETED"), known=HELD), State.ROLLED_BACK),
        (
            "a deployment of the same revision, to other subnets, was rolled back",
            followed(ecs_deployment(NEW, name="ecs-svc/1", state="COMPLETED"), known=HELD, current=False),
            State.ROLLED_BACK,
        ),
        (
            "one of the same revision, begun anew, was rolled back",
            followed(ecs_deployment(NEW, name="ecs-svc/1", createdAt=NOW - timedelta(hours=1)), known=SENT),
            State.ROLLED_BACK,
        ),
        (
            "so long ago",
            followed(ecs_deployment(NEW, name="ecs-svc/1", createdAt=NOW - timedelta(hours=1)), known=HELD),
            State.ROLLED_BACK,
        ),
        (
            "so, and somebody has begun it once more since",
            followed(ecs_deployment(NEW, name="ecs-svc/3", state="COMPLETED", createdAt=NOW), known=HELD),
            State.COMPLETED,
        ),
        (
            "so, and something else is asked for by now that the same deployment brings",
            followed(
                ecs_deployment(NEW, name="ecs-svc/1", state="COMPLETED", createdAt=NOW - timedelta(hours=1)),
                known=RELEASED,
            ),
            State.COMPLETED,
        ),
        (
            "begun anew a moment ago by another process, and not shown yet",
            followed(
                ecs_deployment(NEW, name="ecs-svc/1", state="COMPLETED", createdAt=NOW - timedelta(hours=1)),
                known=replace(SENT, started_at=NOW - timedelta(seconds=20)),
            ),
            State.IN_PROGRESS,
        ),
        (
            "what is asked for has changed since, in a way that shows in the service",
            followed(old(state="COMPLETED"), known=RELEASED),
            State.NOT_SENT,
        ),
        (
            "so, while the failed deployment is still draining",
            followed(old(), new(status="ACTIVE", state="FAILED"), known=RELEASED, record=WENT_DOWN),
            State.NOT_SENT,
        ),
        (
            "it failed and stands, and what is asked for has changed elsewhere",
            followed(new(state="FAILED"), known=RELEASED),
            State.NOT_SENT,
        ),
        (
            "completed, then set back by hand: that is drift",
            followed(old(state="COMPLETED"), known=replace(SENT, state="Completed")),
            State.NOT_SENT,
        ),
        (
            "replaced half-way by somebody else's: that is drift too",
            followed(of_somebody_else(), new(status="ACTIVE"), known=SENT),
            State.NOT_SENT,
        ),
        (
            "so, within a second, and ECS has forgotten ours already",
            followed(of_somebody_else(NOW - timedelta(minutes=5)), known=SENT),
            State.NOT_SENT,
        ),
        (
            "the latest that ECS knows of is the one before",
            followed(
                old(state="COMPLETED"), record=replace(WENT_DOWN, arn="arn:…/1", created_at=NOW - timedelta(hours=1))
            ),
            State.NOT_SENT,
        ),
        (
            "sent a moment ago, and ECS goes back from it already",
            followed(
                old(),
                new(status="ACTIVE", state="FAILED"),
                known=replace(SENT, started_at=NOW - timedelta(seconds=20)),
            ),
            State.ROLLED_BACK,
        ),
        (
            "rolled back, and the status is lost",
            followed(old(state="COMPLETED"), known=Known(), record=WENT_DOWN),
            State.ROLLED_BACK,
        ),
        (
            "what was under way is rolled back, and something else is asked for by now",
            followed(old(state="COMPLETED"), known=replace(SENT, asked="what was asked for before")),
            State.NOT_SENT,
        ),
        (
            "brought once, and on its way out for somebody else's",
            followed(of_somebody_else(), new(status="ACTIVE", state="IN_PROGRESS")),
            State.NOT_SENT,
        ),
        ("at a hook that waits for somebody", followed(new(), known=SENT, record=PAUSED), State.PAUSED),
        ("up, and ECS's record is late", followed(new(state="COMPLETED"), known=SENT, record=PAUSED), State.COMPLETED),
        ("past the hook", followed(new(), known=SENT, record=replace(PAUSED, pause=None)), State.IN_PROGRESS),
        ("failed before, tried again, and up", followed(new(state="COMPLETED"), known=HELD), State.COMPLETED),
        ("a service without deployments", followed(), State.NOT_SENT),
    ],
)
def test_the_state_of_a_rollout_is_that_of_the_deployment_asked_for(case: str, rollout: Rollout, state: State) -> None:
    assert rollout.state is state, case


def test_a_rollout_that_takes_longer_than_its_deadline_is_overdue_and_one_that_completed_is_not() -> None:
    assert followed(new(), minutes=4).overdue
    assert not followed(new(), minutes=6).overdue
    assert not followed(new(state="COMPLETED"), minutes=4).overdue


def test_only_a_deployment_that_failed_is_held_and_only_one_that_goes_on_is_under_way() -> None:
    assert followed(new(state="FAILED")).held
    assert followed(new()).under_way
    assert followed(new(), record=PAUSED).under_way
    assert not followed(new(state="COMPLETED")).under_way
    assert not followed(new()).held
    assert not followed(old(state="COMPLETED")).held


@pytest.mark.parametrize(
    ("seconds", "state"), [(0, State.NOT_SENT), (5, State.NOT_SENT), (6, State.ROLLED_BACK), (600, State.ROLLED_BACK)]
)
def test_a_record_that_ended_badly_is_of_the_deployment_before_if_it_began_with_it(seconds: int, state: State) -> None:
    """Whose record it is was not known when that deployment was followed; ECS writes one a moment after it begins."""
    before = replace(BEFORE, record=None, state="Failed")
    began = NOW - timedelta(hours=1)
    record = replace(WENT_DOWN, created_at=began + timedelta(seconds=seconds))
    assert followed(old(state="COMPLETED"), known=before, record=record).state is state


def test_a_deployment_rolled_back_is_told_with_what_ecs_has_on_record_of_it() -> None:
    answer = {
        "serviceDeploymentArn": "arn:…/2",
        "status": "ROLLBACK_IN_PROGRESS",
        "createdAt": NOW - timedelta(minutes=5),
        "targetServiceRevision": {"arn": "arn:…/revision/2"},
        "rollback": {"reason": "alarm detected.", "startedAt": NOW - timedelta(minutes=2)},
        "deploymentCircuitBreaker": {"status": "MONITORING", "failureCount": 2, "threshold": 7},
        "alarms": {"status": "TRIGGERED", "alarmNames": ["a", "b"], "triggeredAlarmNames": ["b"]},
    }
    told = followed(old(), record=read(answer))
    assert (told.state, told.reason, told.failed_tasks) == (State.ROLLED_BACK, "alarm detected.", 2)
    assert told.updated_at == NOW - timedelta(minutes=2)
    assert told.record is not None
    assert (told.record.threshold, told.record.alarms) == (7, ("b",))


def test_a_deployment_that_was_given_up_is_not_told_with_what_ecs_said_of_its_progress() -> None:
    assert followed(old(), new(status="ACTIVE", state="IN_PROGRESS"), known=HELD).reason is None
    told = followed(old(), new(status="ACTIVE", state="FAILED", rolloutStateReason="tasks failed"), known=HELD)
    assert told.reason == "tasks failed"


def test_a_rollback_that_was_asked_for_is_told_as_such_whatever_ecs_says_of_it() -> None:
    asked, theirs = replace(SENT, reason=ROLLBACK_ASKED), {"rolloutStateReason": "stopped by a user"}
    assert followed(new(state="FAILED", **theirs), known=asked).reason == ROLLBACK_ASKED
    assert followed(new(state="FAILED", **theirs), known=replace(asked, id="ecs-svc/1")).reason == "stopped by a user"
    assert followed(new(state="FAILED", **theirs), known=replace(SENT, reason="before")).reason == "stopped by a user"
    gone = replace(asked, state="RolledBack")
    assert followed(old(), record=replace(WENT_DOWN, reason="stopped by a user"), known=gone).reason == ROLLBACK_ASKED


def test_failed_tasks_are_as_many_as_either_list_or_record_tells() -> None:
    record = replace(WENT_DOWN, status="IN_PROGRESS", failed_tasks=2)
    assert followed(new(failedTasks=1), record=record).failed_tasks == 2
    assert followed(new(failedTasks=3), record=record).failed_tasks == 3
    assert followed(new(failedTasks=3)).failed_tasks == 3


def test_what_was_given_up_is_told_as_ecs_shows_it_and_else_as_it_was_followed() -> None:
    went = new(status="ACTIVE", state="FAILED", createdAt=NOW - timedelta(minutes=4), updatedAt=NOW)
    shown = followed(old(), went, known=replace(HELD, id="ecs-svc/0"))
    assert (shown.deployment, shown.started_at, shown.updated_at) == ("ecs-svc/2", NOW - timedelta(minutes=4), NOW)
    forgotten = followed(old(), known=HELD)
    assert (forgotten.deployment, forgotten.started_at) == (HELD.id, HELD.started_at)
    never_followed = followed(old(), known=BEFORE, record=replace(WENT_DOWN, created_at=NOW))
    assert (never_followed.deployment, never_followed.started_at) == (None, NOW)


def record(**members: Any) -> Record:
    return read({"serviceDeploymentArn": "arn:…/2", "status": "IN_PROGRESS", **members})


@pytest.mark.parametrize(
    ("status", "badly"),
    [
        ("PENDING", False),
        ("IN_PROGRESS", False),
        ("SUCCESSFUL", False),
        ("STOPPED", True),
        ("STOP_REQUESTED", True),
        ("ROLLBACK_REQUESTED", True),
        ("ROLLBACK_IN_PROGRESS", True),
        ("ROLLBACK_SUCCESSFUL", True),
        ("ROLLBACK_FAILED", True),
    ],
)
def test_all_that_does_not_go_on_or_succeed_has_ended_badly(status: str, badly: bool) -> None:
    assert record(status=status).ended_badly is badly


def test_a_deployment_that_was_stopped_is_told_with_the_reason_of_its_end() -> None:
    told = record(status="STOPPED", statusReason="stopped by a user", stoppedAt=NOW)
    assert (told.reason, told.given_up_at, told.failed_tasks, told.threshold, told.alarms) == (
        "stopped by a user",
        NOW,
        0,
        None,
        (),
    )


def test_a_breaker_that_is_off_has_no_threshold() -> None:
    assert record(deploymentCircuitBreaker={"status": "DISABLED", "threshold": 3}).threshold is None


def test_only_a_hook_that_pauses_and_still_waits_is_a_pause() -> None:
    hook = {"hookId": "h", "targetType": "PAUSE", "status": "AWAITING_ACTION"}
    told = record(lifecycleHookDetails=[{**hook, "hookId": "l", "targetType": "AWS_LAMBDA"}, hook])
    assert told.pause == Pause(id="h", stage=None, expires_at=None, then="ROLLBACK")
    goes_on = record(lifecycleHookDetails=[{**hook, "timeoutAction": "CONTINUE"}])
    assert goes_on.pause is not None
    assert goes_on.pause.then == "CONTINUE"
    assert record(lifecycleHookDetails=[{**hook, "status": "SUCCEEDED"}]).pause is None
