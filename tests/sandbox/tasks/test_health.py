"""Settings and verdicts of container health checks, without a container."""

from __future__ import annotations

from typing import Any

import pytest

from inference_sandbox.tasks.health import HealthCheck, HealthVerdict


def check(*command: str, **settings: Any) -> HealthCheck | None:
    return HealthCheck.of({"name": "app", "healthCheck": {"command": list(command), **settings}})


def statuses(check: HealthCheck, *probes: tuple[float, bool]) -> list[str | None]:
    """What each probe, of an age and a result, changes the status to."""
    verdict = HealthVerdict(check)
    return [verdict.observe(passed=passed, age=age) for age, passed in probes]


def test_absent_settings_are_those_that_ecs_documents() -> None:
    assert check("CMD", "true") == HealthCheck(argv=("true",), interval=30, timeout=5, retries=3, start_period=0)


def test_a_shell_command_is_run_by_a_shell() -> None:
    assert check("CMD-SHELL", "exit 0", startPeriod=7) == HealthCheck(argv=("/bin/sh", "-c", "exit 0"), start_period=7)


@pytest.mark.parametrize("definition", [{}, {"healthCheck": {}}, {"healthCheck": {"command": ["NONE"]}}])
def test_a_container_may_be_without_a_check(definition: dict[str, Any]) -> None:
    assert HealthCheck.of(definition) is None


def test_a_command_that_is_neither_words_nor_shell_is_refused_with_its_container() -> None:
    with pytest.raises(ValueError, match=r"healthCheck\.command of container app is \['curl'\]"):
        check("curl")


def test_it_is_unhealthy_after_so_many_failures_in_a_row() -> None:
    three = HealthCheck(argv=("x",), retries=3)

    assert statuses(three, *((age, False) for age in range(4))) == [None, None, "UNHEALTHY", None]


def test_a_success_forgets_the_failures_before_it() -> None:
    two = HealthCheck(argv=("x",), retries=2)

    assert statuses(two, (1, False), (2, True), (3, False), (4, True), (5, False), (6, False)) == [
        None,
        "HEALTHY",
        None,
        None,
        None,
        "UNHEALTHY",
    ]


def test_an_unhealthy_container_is_healthy_again_after_one_success() -> None:
    one = HealthCheck(argv=("x",), retries=1)

    assert statuses(one, (1, False), (2, True)) == ["UNHEALTHY", "HEALTHY"]


def test_failures_within_the_start_period_do_not_count() -> None:
    patient = HealthCheck(argv=("x",), retries=1, start_period=10)

    assert statuses(patient, (0, False), (9, False), (10, False)) == [None, None, "UNHEALTHY"]


def test_failures_within_the_start_period_count_once_a_probe_has_passed() -> None:
    patient = HealthCheck(argv=("x",), retries=1, start_period=10)

    assert statuses(patient, (1, True), (2, False)) == ["HEALTHY", "UNHEALTHY"]
