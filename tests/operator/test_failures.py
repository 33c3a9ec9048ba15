"""Which of a service's stopped tasks counts when a rollout failed."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inference_operator.api.v1alpha1 import ServiceEvent
from inference_operator.domain import failures
from inference_operator.domain.failures import Evidence

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def stopped(reason: str, *, age: int, stop_code: str = "ServiceSchedulerInitiated") -> dict[str, Any]:
    return {
        "taskArn": f"arn:aws:ecs:eu-west-1:111122223333:task/c/{age}",
        "taskDefinitionArn": "revision",
        "startedBy": "deployment",
        "stoppedAt": NOW - timedelta(minutes=age),
        "stoppedReason": reason,
        "stopCode": stop_code,
        "containers": [{"name": "app"}],
    }


def evidence(*tasks: dict[str, Any]) -> Evidence:
    return Evidence(tasks=tasks, events=(), revision="revision", deployment="deployment", since=NOW)


FAILED = "Task failed container health checks"


def test_a_task_that_ecs_moves_or_no_longer_needs_is_no_failure() -> None:
    scaled = stopped("Scaling activity initiated by (deployment ecs-svc/1)", age=1)
    moved = stopped("Availability-zone rebalancing initiated by (deployment ecs-svc/1)", age=2)
    assert evidence(scaled, moved).stopped() == []
    assert failures.trouble(evidence(scaled, moved)) is None


def test_a_task_that_nothing_happened_to_does_not_hide_the_one_that_failed() -> None:
    user = stopped("Task stopped by user", age=1, stop_code="UserInitiated")
    found = failures.trouble(evidence(user, stopped(FAILED, age=2), stopped("Flux capacitor misaligned", age=3)))
    assert found is not None
    assert (found.cause.name, found.text) == ("ContainerHealthCheckFailed", FAILED)
    assert [task.task for task in found.tasks] == ["2", "1", "3"]


def test_if_nothing_happened_to_any_the_newest_counts() -> None:
    user = stopped("Task stopped by user", age=1, stop_code="UserInitiated")
    old = stopped("maintenance on the underlying infrastructure", age=2)
    found = failures.trouble(evidence(user, old))
    assert found is not None
    assert found.cause.name == "StoppedByUser"


def test_why_none_comes_up_counts_for_more_than_a_task_that_nothing_happened_to() -> None:
    retired = stopped("maintenance on the underlying infrastructure", age=1)
    event = failures.service_event(
        {
            "id": "1",
            "createdAt": NOW,
            "message": "(service s) was unable to place a task. Reason: Capacity is unavailable",
        }
    )
    found = failures.trouble(replace(evidence(retired), events=[event]))
    assert found is not None
    assert found.cause.name == "CapacityUnavailable"
    found = failures.trouble(replace(evidence(retired, stopped(FAILED, age=2)), events=[event]))
    assert found is not None
    assert found.cause.name == "ContainerHealthCheckFailed"


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ({"app": 143, "log_router": 1}, ("log_router", 1, "LogRouterExited")),
        ({"app": 137, "log_router": 1}, ("log_router", 1, "LogRouterExited")),
        ({"log_router": 143, "app": 1}, ("app", 1, "ContainerExited")),
        ({"log_router": 137, "app": 139}, ("app", 139, "ContainerCrashed")),
        ({"log_router": 143, "app": 137}, ("app", 137, "ContainerKilled")),
        ({"tokenizer": 0, "app": 143}, ("app", 143, "ContainerTerminated")),
        ({"app": 0, "log_router": 0}, ("app", 0, "ContainerFinished")),
    ],
    ids=str,
)
def test_a_container_that_ecs_stopped_because_another_one_ended_is_not_why_the_task_stopped(
    ended: dict[str, int], told: tuple[str, int, str]
) -> None:
    task = stopped("Essential container in task exited", age=1, stop_code="EssentialContainerExited")
    found = failures.stopped_task(task | {"containers": [{"name": n, "exitCode": code} for n, code in ended.items()]})
    assert (found.container, found.exit_code, found.cause) == told


STARTED = "has started {} tasks: (task a) (task b)."
STOPPED = "has stopped 1 running tasks: (task c)."
UNHEALTHY = "(task c) (port 8080) is unhealthy in (target-group g) due to (reason Request timed out)"
MOVED = (
    "has started 1 tasks in eu-west-1a to AZ Rebalance: (task a).",
    "has stopped 1 running tasks in eu-west-1b due to AZ rebalancing: (task c).",
)


def said(*messages: str) -> list[ServiceEvent]:
    told = [{"id": str(n), "createdAt": NOW, "message": f"(service s) {text}"} for n, text in enumerate(messages)]
    return [failures.service_event(event) for event in told]


@pytest.mark.parametrize(
    ("what", "before", "now", "desired", "lost"),
    [
        ((), 2, 2, 2, False),
        ((), 2, 1, 2, True),
        ((), 1, 1, 2, False),
        ((STARTED.format(1), "has reached a steady state."), 2, 2, 2, True),
        ((STARTED.format(12),), 1, 1, 1, True),
        ((STARTED.format(2),), 1, 3, 3, False),
        ((STARTED.format(1), STARTED.format(2)), 1, 3, 3, True),
        ((STOPPED,), 3, 2, 2, False),
        ((STOPPED, UNHEALTHY), 2, 2, 2, True),
        (MOVED, 2, 2, 2, False),
    ],
    ids=["rest", "fewer", "too few", "replaced", "crash loop", "out", "out and replaced", "in", "unhealthy", "moved"],
)
def test_tasks_are_lost_if_wanted_ones_are_missing_or_were_replaced(
    what: tuple[str, ...], before: int, now: int, desired: int, lost: bool
) -> None:
    assert failures.tells_of_a_loss(said(*what), before=before, now=now, desired=desired) is lost


def test_tasks_of_another_revision_or_of_another_deployment_of_the_same_are_no_evidence() -> None:
    mine, older = stopped(FAILED, age=1), stopped(FAILED, age=4)
    others = {**stopped(FAILED, age=2), "startedBy": "another"}, {**stopped(FAILED, age=3), "taskDefinitionArn": "r:1"}
    assert [task.task for task in evidence(*others, mine).stopped()] == ["1"]
    unknown = replace(evidence(*others, mine, older), deployment=None)
    assert [task.task for task in unknown.stopped()] == ["2", "1", "4"]


@pytest.mark.parametrize(
    ("containers", "told"),
    [
        ([{"name": "a", "exitCode": 0}, {"name": "b", "exitCode": 3}], ("b", 3)),
        ([{"name": "a", "exitCode": 3}, {"name": "b", "reason": "CannotPullContainerError"}], ("b", None)),
        ([{"name": "a", "exitCode": 0}, {"name": "b"}], ("a", 0)),
        ([{"name": "aws-guardduty-agent-1", "exitCode": 137}, {"name": "b", "exitCode": 1}], ("b", 1)),
        ([], (None, None)),
    ],
)
def test_the_container_that_a_task_stopped_for_is_told(containers: list[dict[str, Any]], told: tuple[Any, Any]) -> None:
    found = failures.stopped_task({**stopped("Essential container in task exited", age=1), "containers": containers})
    assert (found.container, found.exit_code) == told


def at(minutes: int, text: str) -> ServiceEvent:
    message = {
        "id": f"{minutes} {text}",
        "createdAt": NOW + timedelta(minutes=minutes),
        "message": f"(service s) {text}",
    }
    return failures.service_event(message)


def test_what_an_event_says_counts_where_no_task_says_more_if_it_came_since_the_deployment_began() -> None:
    before = replace(evidence(), events=[at(-1, UNHEALTHY)])
    assert failures.trouble(before) is None
    since = replace(evidence(), events=[at(2, "has reached a steady state."), at(1, UNHEALTHY), at(0, UNHEALTHY)])
    found = failures.trouble(since)
    assert found is not None
    assert (found.cause.name, found.text) == ("TargetHealthCheckTimeout", UNHEALTHY)


def test_of_a_task_that_failed_the_load_balancers_checks_its_own_event_tells_why() -> None:
    task = stopped("Task failed ELB health checks in (target-group g)", age=1)
    other, mine = UNHEALTHY.replace("task c", "task x"), UNHEALTHY.replace("task c", "task 1")
    found = failures.trouble(replace(evidence(task), events=[at(2, other), at(1, mine)]))
    assert found is not None
    assert found.text == mine


BREAKER = "ECS deployment circuit breaker: tasks failed to start."
ALARM = "alarm detected."


@pytest.mark.parametrize(
    ("verdict", "tasks", "cause", "message"),
    [
        (BREAKER, [stopped(FAILED, age=1)], "ContainerHealthCheckFailed", FAILED),
        (ALARM, [stopped(FAILED, age=1)], "DeploymentAlarm", ALARM),
        (ALARM, [], "DeploymentAlarm", ALARM),
        ("ECS deployment ecs-svc/1 in progress.", [stopped(FAILED, age=1)], "ContainerHealthCheckFailed", FAILED),
        (None, [], "Unknown", None),
    ],
)
def test_a_verdict_counts_unless_it_says_no_more_than_that_tasks_failed(
    verdict: str | None, tasks: list[dict[str, Any]], cause: str, message: str | None
) -> None:
    told = failures.failure(evidence(*tasks), generation=1, verdict=verdict, at=NOW)
    assert (told.cause, told.message) == (cause, message)


def test_without_a_verdict_the_event_of_the_deployments_end_is_one() -> None:
    ended = [
        at(n, f"(deployment {whose}) deployment failed: {ALARM}") for n, whose in ((2, "another"), (1, "deployment"))
    ]
    told = failures.failure(replace(evidence(), events=ended), generation=1, verdict=None, at=NOW)
    assert (told.cause, told.message) == ("DeploymentAlarm", ended[1].message)


def test_a_failure_is_unexplained_for_a_while_if_no_task_has_told_yet() -> None:
    told = failures.failure(evidence(), generation=1, verdict=BREAKER, at=NOW)
    assert failures.unexplained(told, NOW + timedelta(seconds=119))
    assert not failures.unexplained(told, NOW + timedelta(seconds=120))
    assert not failures.unexplained(None, NOW)
    explained = failures.failure(evidence(stopped(FAILED, age=1)), generation=1, verdict=BREAKER, at=NOW)
    assert not failures.unexplained(explained, NOW)
    alarm = failures.failure(evidence(), generation=1, verdict=ALARM, at=NOW)
    assert not failures.unexplained(alarm, NOW)


def test_events_are_kept_once_and_newest_first() -> None:
    shown = [{"id": str(n), "createdAt": NOW + timedelta(minutes=n), "message": "m"} for n in (2, 1)]
    known = [at(0, "old").model_copy(update={"id": "0"}), at(1, "kept as it was").model_copy(update={"id": "1"})]
    told = failures.merged(known, shown)
    assert [(event.id, event.message) for event in told] == [
        ("2", "m"),
        ("1", "(service s) kept as it was"),
        ("0", "(service s) old"),
    ]
