"""The pace of calls of ECS, held against the buckets that the sandbox refuses by."""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from inference_operator.aws.clients import Translating, ignore
from inference_operator.aws.errors import Throttled
from inference_operator.aws.quotas import QUOTAS, Pace
from inference_sandbox.aws.quotas import GROUP_OF, GROUPS, Quotas
from tests.operator.world import CLUSTER, World, connected

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
REGISTER = "RegisterTaskDefinition"


class Clock:
    """Seconds for the operator, a time for the sandbox."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


def sent(pace: Pace, clock: Clock, operation: str, arrivals: Iterator[float]) -> Iterator[float]:
    """When the calls go out that should be made at `arrivals`, each of which comes back when it is told to."""
    waiting = list(arrivals)
    heapq.heapify(waiting)
    while waiting:
        clock.seconds = heapq.heappop(waiting)
        wait = pace.wait(operation)
        if wait == 0:
            yield clock.seconds
        else:
            heapq.heappush(waiting, clock.seconds + wait)


def test_the_figures_are_those_that_the_sandbox_refuses_by() -> None:
    for operations, quota in QUOTAS.items():
        for operation in operations:
            published = GROUPS[GROUP_OF[operation]][0]
            assert (quota.burst, quota.rate) == (published.burst, published.rate)


@pytest.mark.parametrize("operation", ["RegisterTaskDefinition", "CreateService", "DescribeServices"])
def test_a_fleet_that_comes_at_once_is_never_refused_and_loses_no_time(operation: str) -> None:
    clock = Clock()
    quotas = Quotas(clock)
    quotas.on = True
    quota = GROUPS[GROUP_OF[operation]][0]
    times = []
    for at in sent(Pace(clock), clock, operation, iter([0.0] * 500)):
        assert quotas.take("123456789012", "eu-west-1", operation)
        times.append(at)
    floor = (500 - quota.burst) / quota.rate
    assert floor <= times[-1] <= floor + 2 / quota.rate


def test_who_comes_while_others_wait_for_their_turn_does_not_make_them_wait_longer_than_one_turn() -> None:
    clock = Clock()
    fleet = [0.0] * 100
    stragglers = [30.5, 45.5, 60.5]
    times = list(sent(Pace(clock), clock, REGISTER, iter([*fleet, *stragglers])))
    assert len(times) == 103
    assert times[-1] <= (103 - 19) / 1 + 1


def test_turns_that_nobody_comes_for_do_not_add_up_to_a_burst_that_aws_refuses() -> None:
    clock = Clock()
    pace, quotas = Pace(clock), Quotas(clock)
    quotas.on = True
    for _ in range(200):
        if pace.wait(REGISTER) == 0:
            assert quotas.take("123456789012", "eu-west-1", REGISTER)
    clock.seconds = 1000.0
    for _ in sent(pace, clock, REGISTER, iter([1000.0] * 60)):
        assert quotas.take("123456789012", "eu-west-1", REGISTER)


def test_calls_that_nobody_publishes_a_quota_for_never_wait() -> None:
    pace = Pace(Clock())
    assert {pace.wait("DescribeClusters") for _ in range(1000)} == {0.0}


def test_an_operation_whose_quota_others_have_used_up_gets_turns_and_the_others_go_on() -> None:
    clock = Clock()
    pace = Pace(clock)
    assert pace.wait("UpdateService") == 0
    pace.refused("UpdateService")
    waits = [pace.wait("UpdateService") for _ in range(5)]
    assert waits == [pytest.approx(n / 5) for n in range(1, 6)], "five a second, as AWS refills it"
    assert pace.wait("DescribeServices") == pace.wait(REGISTER) == 0
    pace.refused("DescribeClusters")
    assert pace.wait("DescribeClusters") == 0


def test_an_operation_that_aws_throttles_slows_no_other_one_down(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Botocore's adaptive mode would: its limiter is that of all operations of a client."""
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)  # between its own tries
    aws = connected(patient=True).ecs
    world.fault("throttle", "ecs:UpdateService")
    for _ in range(8):
        with pytest.raises(Throttled):
            aws.update_service(cluster=CLUSTER, service="any")
    began = time.perf_counter()
    for _ in range(20):
        aws.describe_clusters(clusters=[CLUSTER])
    assert time.perf_counter() - began < 5


def test_what_aws_throttles_is_told_to_the_pace(world: World) -> None:
    refused: list[str] = []

    class Noting(Pace):
        def refused(self, operation: str) -> None:
            refused.append(operation)

    client = world.cloud.client("ecs", "eu-west-1")
    world.fault("throttle", "ecs:UpdateService")
    ecs: Any = Translating(lambda _config: client, ignore, Noting(Clock()))
    with pytest.raises(Throttled):
        ecs.update_service(cluster=CLUSTER, service="any")
    ecs.describe_clusters(clusters=[CLUSTER])
    assert refused == ["UpdateService"]
