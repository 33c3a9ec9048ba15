"""Thresholds and the choice of a target, without a network."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_sandbox.load_balancer.targets import (
    CHECKING,
    DRAINING,
    FAILED,
    HEALTHY,
    REGISTERING,
    CheckSettings,
    Health,
    Target,
    TargetGroup,
    WeightedTurn,
    wrong_code,
)
from tests.sandbox.load_balancer.conftest import group

NOW = datetime(2026, 11, 24, 10, tzinfo=UTC)
SETTINGS = CheckSettings(healthy_threshold=3, unhealthy_threshold=2)


def after(*results: Health, settings: CheckSettings = SETTINGS) -> list[str]:
    """The states that a new target goes through."""
    target = Target("127.0.0.1", 80, REGISTERING)
    states: list[str] = []
    for result in results:
        target.observe(result, settings)
        states.append(target.health.state)
    return states


def test_one_pass_makes_a_new_target_healthy() -> None:
    assert after(HEALTHY) == ["healthy"]


def test_a_new_target_that_fails_is_initial_until_the_unhealthy_threshold() -> None:
    assert after(FAILED, FAILED) == ["initial", "unhealthy"]


def test_a_failed_check_is_forgotten_after_a_passed_one() -> None:
    assert after(HEALTHY, FAILED, HEALTHY, FAILED, FAILED) == ["healthy"] * 4 + ["unhealthy"]


def test_an_unhealthy_target_needs_the_healthy_threshold_in_a_row() -> None:
    states = after(FAILED, FAILED, HEALTHY, HEALTHY, FAILED, HEALTHY, HEALTHY, HEALTHY)

    assert states == ["initial", *["unhealthy"] * 6, "healthy"]


def test_the_reason_of_an_initial_target_changes_once_it_has_been_checked() -> None:
    target = Target("127.0.0.1", 80, REGISTERING)

    target.observe(FAILED, SETTINGS)

    assert target.health == CHECKING


def test_the_reason_of_an_unhealthy_target_is_that_of_its_last_check() -> None:
    target = Target("127.0.0.1", 80, REGISTERING)

    for result in (FAILED, FAILED, wrong_code(500)):
        target.observe(result, SETTINGS)

    assert target.told().description == "Health checks failed with these codes: [500]"


def test_a_draining_target_stays_so_whatever_its_checks_say() -> None:
    target = Target("127.0.0.1", 80, DRAINING)

    target.observe(HEALTHY, SETTINGS)

    assert target.health == DRAINING


@pytest.mark.parametrize(
    ("matcher", "accepted", "refused"),
    [("200", [200], [201, 404]), ("200,404", [200, 404], [201]), ("200-299,301", [200, 250, 299, 301], [300, 302])],
)
def test_a_matcher_is_a_list_of_codes_and_ranges(matcher: str, accepted: list[int], refused: list[int]) -> None:
    check = CheckSettings.of(group(Matcher={"HttpCode": matcher}))

    assert all(check.accepts(status) for status in accepted)
    assert not any(check.accepts(status) for status in refused)


def test_absent_settings_are_those_of_an_alb() -> None:
    check = CheckSettings.of(type(group())(arn="x", settings={}))

    assert (check.path, check.port, check.interval, check.timeout) == ("/", None, 30, 5)
    assert (check.healthy_threshold, check.unhealthy_threshold) == (5, 2)


def test_a_draining_target_gets_nothing_even_if_it_is_alone() -> None:
    alone = TargetGroup(group())
    alone.targets = (Target("127.0.0.1", 80, DRAINING),)

    assert alone.choose(NOW) is None


def test_targets_that_are_not_healthy_yet_get_nothing_while_one_is() -> None:
    mixed = TargetGroup(group())
    mixed.targets = tuple(
        Target("127.0.0.1", port, health) for port, health in enumerate((REGISTERING, HEALTHY, FAILED))
    )

    assert {target.port for _ in range(6) if (target := mixed.choose(NOW))} == {1}


@given(st.dictionaries(st.sampled_from("abcde"), st.integers(0, 999), min_size=1))
def test_every_run_of_requests_as_long_as_the_weights_sum_has_just_their_shares(weights: dict[str, int]) -> None:
    turn = WeightedTurn()

    dealt = Counter(turn.choose(weights) for _ in range(sum(weights.values())))

    assert dealt == {arn: weight for arn, weight in weights.items() if weight}


def test_weights_of_nought_alone_reach_no_group() -> None:
    assert WeightedTurn().choose({"a": 0, "b": 0}) is None


def slow(seconds: int) -> TargetGroup:
    return TargetGroup(group(attributes={"slow_start.duration_seconds": str(seconds)}))


def dealt(of: TargetGroup, now: datetime, count: int) -> Counter[int]:
    return Counter(target.port for _ in range(count) if (target := of.choose(now)))


def test_a_new_target_gets_a_share_that_rises_through_its_slow_start() -> None:
    warming = slow(100)
    old, new = (Target("127.0.0.1", port, REGISTERING) for port in (1, 2))
    warming.targets = (old,)
    warming.observe(old, HEALTHY, NOW)
    warming.targets = (old, new)
    warming.observe(new, HEALTHY, NOW)

    assert dealt(warming, NOW, 100)[2] <= 2
    assert dealt(warming, NOW + timedelta(seconds=25), 100) == {1: 80, 2: 20}
    assert dealt(warming, NOW + timedelta(seconds=50), 90) == {1: 60, 2: 30}
    assert dealt(warming, NOW + timedelta(seconds=100), 100) == {1: 50, 2: 50}


def test_the_first_targets_of_a_group_start_at_once_and_one_that_failed_starts_slowly_again() -> None:
    warming = slow(100)
    first, second = (Target("127.0.0.1", port, REGISTERING) for port in (1, 2))
    warming.targets = (first, second)
    warming.observe(first, HEALTHY, NOW)
    assert dealt(warming, NOW, 10) == {1: 10}

    for result in (FAILED, FAILED, FAILED):
        warming.observe(first, result, NOW)
    warming.observe(second, HEALTHY, NOW)
    for _ in range(5):
        warming.observe(first, HEALTHY, NOW + timedelta(seconds=200))

    assert dealt(warming, NOW + timedelta(seconds=220), 120) == {1: 20, 2: 100}


def test_without_a_slow_start_a_new_target_gets_its_full_share() -> None:
    quick = TargetGroup(group())
    quick.targets = tuple(Target("127.0.0.1", port, REGISTERING) for port in (1, 2))
    for target in quick.targets:
        quick.observe(target, HEALTHY, NOW)
    assert dealt(quick, NOW, 10) == {1: 5, 2: 5}
