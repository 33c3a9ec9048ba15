"""What became of a revision: the cases that ECS's own tools get wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from inference_operator.domain.rollout import Known, Rollout, State, follow
from tests.operator.builders import NOW, ecs_deployment

OLD, NEW = "arn:…:task-definition/f:1", "arn:…:task-definition/f:2"


def followed(deployments: list[dict[str, Any]], known: Known | None = None, minutes: int = 30) -> Rollout:
    return follow(deployments, wanted=NEW, known=known or Known(), deadline=timedelta(minutes=minutes), now=NOW)


@pytest.mark.parametrize(
    ("case", "deployments", "known", "state"),
    [
        ("never sent", [ecs_deployment(OLD, state="COMPLETED")], Known(), State.NOT_SENT),
        ("sent", [ecs_deployment(NEW), ecs_deployment(OLD, status="ACTIVE")], Known(), State.IN_PROGRESS),
        ("completed", [ecs_deployment(NEW, state="COMPLETED")], Known(), State.COMPLETED),
        ("failed, nothing to go back to", [ecs_deployment(NEW, state="FAILED")], Known(), State.FAILED),
        (
            "rolled back, the failed deployment is still draining",
            [ecs_deployment(OLD), ecs_deployment(NEW, status="ACTIVE", state="FAILED")],
            Known(),
            State.ROLLED_BACK,
        ),
        (
            "rolled back and forgotten by ECS while nobody looked",
            [ecs_deployment(OLD, state="COMPLETED")],
            Known(sent=NEW, sent_state="InProgress"),
            State.ROLLED_BACK,
        ),
        (
            "rolled back long ago",
            [ecs_deployment(OLD, state="COMPLETED")],
            Known(sent=NEW, sent_state="RolledBack", failed=NEW),
            State.ROLLED_BACK,
        ),
        (
            "completed, then set back by hand: that is drift",
            [ecs_deployment(OLD, state="COMPLETED")],
            Known(sent=NEW, sent_state="Completed"),
            State.NOT_SENT,
        ),
        (
            "an older revision failed: says nothing about this one",
            [ecs_deployment(OLD, state="COMPLETED")],
            Known(sent="other", sent_state="RolledBack", failed="other"),
            State.NOT_SENT,
        ),
        (
            "failed before, tried again, and up",
            [ecs_deployment(NEW, state="COMPLETED")],
            Known(sent=NEW, sent_state="InProgress", failed=NEW),
            State.COMPLETED,
        ),
        ("a service without deployments", [], Known(), State.NOT_SENT),
    ],
)
def test_the_state_of_a_rollout_is_that_of_the_revision_asked_for(
    case: str, deployments: list[dict[str, Any]], known: Known, state: State
) -> None:
    assert followed(deployments, known).state is state, case


def test_a_rollout_that_takes_longer_than_its_deadline_is_overdue_and_one_that_completed_is_not() -> None:
    assert followed([ecs_deployment(NEW)], minutes=4).overdue
    assert not followed([ecs_deployment(NEW)], minutes=6).overdue
    assert not followed([ecs_deployment(NEW, state="COMPLETED")], minutes=4).overdue


def test_only_a_revision_that_failed_is_held() -> None:
    assert followed([ecs_deployment(NEW, state="FAILED")]).held
    assert not followed([ecs_deployment(NEW)]).held
    assert not followed([ecs_deployment(OLD, state="COMPLETED")]).held
