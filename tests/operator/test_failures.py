"""Which of a service's stopped tasks counts when a rollout failed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

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
