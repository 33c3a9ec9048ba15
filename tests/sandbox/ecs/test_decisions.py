"""The decisions of the scheduler as functions of numbers (DeploymentConfiguration, ThresholdConfiguration)."""

from __future__ import annotations

from typing import Any

import pytest

from inference_sandbox.ecs import breaker, rolling
from tests.sandbox.ecs.simulation import Simulation


@pytest.mark.parametrize(
    ("desired", "low", "high", "lower", "upper"),
    [(4, 50, 200, 2, 8), (1, 50, 150, 1, 1), (3, 50, 150, 2, 4), (0, 100, 200, 0, 0), (5, 100, 125, 5, 6)],
)
def test_the_minimum_is_rounded_up_and_the_maximum_down(
    desired: int, low: int, high: int, lower: int, upper: int
) -> None:
    assert rolling.lower_limit(desired, low) == lower
    assert rolling.upper_limit(desired, high) == upper


@pytest.mark.parametrize(
    ("configured", "desired", "expected"),
    [
        (None, 1, 3),
        (None, 25, 13),
        (None, 400, 200),
        (None, 0, 3),
        ({"type": "BOUNDED_PERCENT", "value": 10}, 100, 10),
        ({"type": "UNBOUNDED_PERCENT", "value": 50}, 1, 1),
        ({"type": "UNBOUNDED_PERCENT", "value": 50}, 1000, 500),
        ({"type": "COUNT", "value": 7}, 1, 7),
    ],
)
def test_the_threshold_follows_its_type(configured: Any, desired: int, expected: int) -> None:
    settings = {"enable": True, "rollback": True} | ({"thresholdConfiguration": configured} if configured else {})
    assert breaker.threshold({"deploymentCircuitBreaker": settings}, desired) == expected


def test_a_service_at_rest_costs_a_tick_nothing() -> None:
    world = Simulation()
    world.create(3)
    world.advance(120)
    due = world.scheduler.next_due()
    assert due is not None
    assert (due - world.clock.now()).total_seconds() > 3000  # only to forget, or to say that it is steady
