"""How often something is put back before it is waited for, how long, and when that is forgotten."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from inference_operator.engine.contest import Contest, values
from inference_operator.engine.plan import Create, Delete, Keep, Step, Update
from inference_operator.resources import service_input
from inference_operator.resources.base import Change
from tests.operator.builders import NOW

COUNT = "Service desiredCount"
OTHER = "Service tags"
DAY = timedelta(days=1)


def put_back(times: int, *, what: str = COUNT, every: timedelta = timedelta(seconds=5)) -> tuple[Contest, datetime]:
    """A contest, and when the last of so many put-backs was."""
    contest = Contest()
    for number in range(times):
        contest.note([what], NOW + number * every)
    return contest, NOW + (times - 1) * every


@pytest.mark.parametrize("times", [0, 1, 2])
def test_the_first_three_are_put_back_at_once(times: int) -> None:
    contest, now = put_back(times)
    assert contest.due([COUNT], now) is None
    assert contest.told(now) is None


@pytest.mark.parametrize(("times", "minutes"), [(3, 10), (4, 20), (5, 40), (6, 60), (7, 60), (1000, 60)])
def test_from_then_on_each_waits_twice_as_long_as_the_one_before_up_to_an_hour(times: int, minutes: int) -> None:
    contest, last = put_back(times)
    wait = timedelta(minutes=minutes)
    assert contest.due([COUNT], last) == last + wait
    assert contest.due([COUNT], last + wait) is None
    assert f"put back {times} times" in (contest.told(last) or "")


def test_what_nobody_fights_for_does_not_wait_alone_and_waits_with_what_is_fought_for() -> None:
    contest, last = put_back(3)
    assert contest.due([OTHER], last) is None
    assert contest.due([OTHER, COUNT], last) == last + timedelta(minutes=10)


def test_after_a_day_it_is_forgotten() -> None:
    contest, last = put_back(8)
    assert contest.told(last + DAY - timedelta(minutes=1)) is not None
    assert contest.told(last + DAY) is None
    contest.note([COUNT], last + DAY)
    assert contest.times[COUNT] == [last + DAY]


def test_only_what_was_as_asked_and_differs_though_nothing_else_is_asked_for_is_put_back() -> None:
    contest, step = Contest(), Update(Change(("desiredCount",)))
    assert contest.puts_back("Service", step, "this") == ()
    contest.keeps("Service", "this")
    assert contest.puts_back("Service", step, "this") == [COUNT]
    assert contest.puts_back("Service", step, "that") == ()
    assert contest.puts_back("LogGroup", step, "this") == ()
    assert contest.puts_back("Service", Create(), "this") == ["Service (deleted)"]
    assert contest.puts_back("Service", Delete(), "this") == ["Service (made)"]
    assert contest.puts_back("Service", Keep(), "this") == []


def test_where_nothing_can_be_asked_for_nothing_is_put_back() -> None:
    """An object that goes: it is only taken away."""
    contest = Contest()
    contest.keeps("Service", None)
    assert contest.puts_back("Service", Create(), None) == ()
    assert not contest.kept


@pytest.mark.parametrize("path", [service_input.FORCE, service_input.CONTINUE, service_input.ROLL_BACK])
def test_what_the_object_asks_for_once_is_nobody_elses_change(path: str) -> None:
    contest = Contest()
    contest.keeps("Service", "this")
    assert contest.puts_back("Service", Update(Change((path, "desiredCount"))), "this") == [COUNT]


def test_what_is_told_of_it_has_the_count_the_first_time_and_the_last() -> None:
    contest, last = put_back(3, every=timedelta(minutes=1))
    first = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    told = f"{COUNT} (put back 3 times since {first}, last at {NOW + timedelta(minutes=2):%Y-%m-%dT%H:%M:%SZ})"
    assert told in (contest.told(last) or "")


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Create(), "it was gone"),
        (Delete(), "it was there"),
        (Update(Change(("desiredCount", "tags"), values={"desiredCount": (1, 2)})), "desiredCount (was 2), tags"),
    ],
)
def test_an_event_tells_what_it_was(step: Step, told: str) -> None:
    assert values(step) == told
