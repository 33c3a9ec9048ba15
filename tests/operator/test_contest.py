"""How often something is put back before it is waited for, how long, and when that is forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from inference_operator.engine.contest import FIRST, LONGEST, OFTEN, WITHIN, Contest
from tests.operator.builders import NOW

COUNT = "Service desiredCount"
OTHER = "Service tags"


def put_back(times: int, *, what: str = COUNT, every: timedelta = timedelta(seconds=5)) -> tuple[Contest, datetime]:
    """A contest, and when the last of so many put-backs was."""
    contest = Contest()
    for number in range(times):
        contest.note([what], NOW + number * every)
    return contest, NOW + (times - 1) * every


@pytest.mark.parametrize("times", range(OFTEN))
def test_the_first_three_are_put_back_at_once(times: int) -> None:
    contest, now = put_back(times)
    assert contest.due([COUNT], now) is None
    assert contest.told(now) is None


@pytest.mark.parametrize(
    ("times", "wait"), [(OFTEN, FIRST), (OFTEN + 1, 2 * FIRST), (OFTEN + 2, 4 * FIRST), (OFTEN + 3, LONGEST)]
)
def test_from_then_on_each_waits_twice_as_long_as_the_one_before_up_to_an_hour(times: int, wait: timedelta) -> None:
    contest, last = put_back(times)
    assert contest.due([COUNT], last) == last + wait
    assert contest.due([COUNT], last + wait) is None
    assert f"put back {times} times" in (contest.told(last) or "")


def test_what_nobody_fights_for_does_not_wait_alone_and_waits_with_what_is_fought_for() -> None:
    contest, last = put_back(OFTEN)
    assert contest.due([OTHER], last) is None
    assert contest.due([OTHER, COUNT], last) == last + FIRST


def test_after_a_day_it_is_forgotten() -> None:
    contest, last = put_back(OFTEN + 5)
    assert contest.told(last + WITHIN - timedelta(minutes=1)) is not None
    assert contest.told(last + WITHIN) is None
    contest.note([COUNT], last + WITHIN)
    assert contest.times[COUNT] == [last + WITHIN]
