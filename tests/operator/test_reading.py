"""Reads that objects share: how many calls they cost, and what a lagging answer does."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from inference_operator.api.status import EVENTS_LIMIT
from inference_operator.aws.errors import Throttled
from inference_operator.aws.ports import Answer
from inference_operator.aws.reading import SHARED_FOR, BatchedServices, SharedListings
from tests.operator.builders import NOW, ecs_deployment, ecs_service

FIVE_MINUTES = timedelta(minutes=5)


@dataclass
class FakeEcs:
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Sequence[str]] = field(default_factory=list)

    def describe_services(self, *, services: Sequence[str], **_: Any) -> Answer:
        self.asked.append(services)
        return {"services": [self.services[name] for name in services if name in self.services], "failures": []}


@dataclass
class Clock:
    time: datetime = NOW
    read: int = 0
    """How often."""

    def __call__(self) -> datetime:
        self.read += 1
        return self.time

    def advance(self, by: timedelta) -> None:
        self.time += by


def reader(*names: str) -> tuple[BatchedServices, FakeEcs, Clock, list[str]]:
    ecs, clock, changed = FakeEcs({n: ecs_service(n, ecs_deployment("r:1")) for n in names}), Clock(), list[str]()
    return BatchedServices(ecs, clock, lambda _cluster, name: changed.append(name)), ecs, clock, changed  # type: ignore[arg-type]  # the fake answers the one call that is made


def test_ten_objects_that_look_once_an_interval_cost_one_call_an_interval() -> None:
    names = [f"s{i}" for i in range(10)]
    services, ecs, clock, _ = reader(*names)
    for name in names:  # the first looks, at start
        services.get("c", name, max_age=FIVE_MINUTES * 0.95)
    ecs.asked.clear()
    for _ in range(3):
        for name in names:
            clock.advance(FIVE_MINUTES / 10)
            services.get("c", name, max_age=FIVE_MINUTES * 0.95)
    assert [len(asked) for asked in ecs.asked] == [10, 10, 10]


def test_services_at_rest_do_not_crowd_out_of_a_call_those_that_are_due_soon() -> None:
    moving, resting = [f"moving-{i}" for i in range(10)], [f"resting-{i}" for i in range(50)]
    services, ecs, clock, _ = reader(*moving, *resting)
    for name in resting:
        services.get("c", name, max_age=FIVE_MINUTES)
    clock.advance(timedelta(minutes=1))
    for name in moving:
        services.get("c", name, max_age=timedelta(seconds=5))
    ecs.asked.clear()
    for _ in range(3):
        clock.advance(timedelta(seconds=6))
        for name in moving:
            services.get("c", name, max_age=timedelta(seconds=5))
    assert [sorted(asked) for asked in ecs.asked] == [moving] * 3


def test_services_that_have_come_to_rest_are_no_longer_looked_at_often() -> None:
    moving, resting = [f"moving-{i}" for i in range(10)], [f"resting-{i}" for i in range(50)]
    services, ecs, clock, _ = reader(*moving, *resting)
    for name in resting:  # the last looks before they rest
        services.get("c", name, max_age=timedelta(seconds=5))
    for _ in range(4):
        ecs.asked.clear()
        clock.advance(timedelta(seconds=6))
        for name in moving:
            services.get("c", name, max_age=timedelta(seconds=5))
    assert [sorted(asked) for asked in ecs.asked] == [moving]


def test_what_was_just_written_is_looked_at_with_what_moves() -> None:
    resting = [f"resting-{i}" for i in range(50)]
    services, ecs, clock, _ = reader("asker", "written", *resting)
    for name in resting:
        services.get("c", name, max_age=FIVE_MINUTES)
    services.record("c", "written", ecs.services["written"])
    clock.advance(timedelta(seconds=5))
    services.get("c", "asker", max_age=timedelta(seconds=5))
    assert ecs.asked[-1][:2] == ["asker", "written"]


def test_those_that_wait_for_a_call_share_the_next_one_though_nothing_is_there() -> None:
    services, ecs, _, _ = reader()
    first, rest = threading.Event(), threading.Event()
    waiting = [f"s{i}" for i in range(10)]

    def slow(*, services: Sequence[str], **_: Any) -> Answer:
        ecs.asked.append(services)
        first.set()
        rest.wait(30)
        return {"services": [], "failures": []}

    ecs.describe_services = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(11) as pool:
        pool.submit(services.get, "c", "first", max_age=FIVE_MINUTES)
        first.wait(30)
        asked = [pool.submit(services.get, "c", name, max_age=FIVE_MINUTES) for name in waiting]
        while len(services._entries) < 11:  # all wait
            pass
        rest.set()
    assert [task.result() for task in asked] == [None] * 10
    assert [sorted(names) for names in ecs.asked] == [["first"], waiting]


@pytest.mark.parametrize(("max_age", "calls"), [(FIVE_MINUTES, 1), (timedelta(seconds=-1), 2)])
def test_who_comes_while_a_call_asks_for_his_service_too_takes_its_answer_if_that_is_new_enough(
    max_age: timedelta, calls: int
) -> None:
    services, ecs, clock, _ = reader("a", "b")
    for name in ("a", "b"):
        services.get("c", name, max_age=FIVE_MINUTES)
    clock.advance(FIVE_MINUTES * 1.01)
    ecs.asked.clear()
    asks, waits, describe = threading.Event(), threading.Event(), ecs.describe_services

    def slow(**members: Any) -> Answer:
        answer: Answer = describe(**members)
        asks.set()
        waits.wait(30)
        return answer

    ecs.describe_services = slow  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(services.get, "c", "a", max_age=FIVE_MINUTES)
        asks.wait(30)
        clock.advance(timedelta(seconds=1))
        second = pool.submit(services.get, "c", "b", max_age=max_age)
        while services._entries["c", "b"].asked != clock.time:
            pass
        waits.set()
    assert first.result() is not None
    assert second.result() is not None
    assert [sorted(names) for names in ecs.asked] == [["a", "b"]] * calls


def test_of_a_services_events_as_many_are_kept_as_a_status_shows() -> None:
    services, ecs, _, _ = reader("a")
    ecs.services["a"]["events"] = [{"id": str(n)} for n in range(100)]
    kept = services.get("c", "a", max_age=FIVE_MINUTES)
    assert kept is not None
    assert kept["events"] == ecs.services["a"]["events"][:EVENTS_LIMIT]


def test_no_call_asks_for_more_than_ten() -> None:
    names = [f"s{i}" for i in range(25)]
    services, ecs, _, _ = reader(*names)
    for name in names:
        services.get("c", name, max_age=timedelta())
    assert max(len(asked) for asked in ecs.asked) == 10


def test_a_service_that_is_gone_or_inactive_is_none() -> None:
    services, ecs, clock, _ = reader("a", "b")
    ecs.services["b"]["status"] = "INACTIVE"
    assert services.get("c", "missing", max_age=FIVE_MINUTES) is None
    assert services.get("c", "b", max_age=FIVE_MINUTES) is None
    assert services.get("c", "a", max_age=FIVE_MINUTES) is not None
    del ecs.services["a"]
    clock.advance(FIVE_MINUTES * 2)
    assert services.get("c", "a", max_age=FIVE_MINUTES) is None


def test_a_describe_that_lags_behind_our_write_is_not_believed_for_half_a_minute() -> None:
    services, ecs, clock, _ = reader("a")
    sent = ecs_deployment("r:2", name="ecs-svc/2", createdAt=NOW, updatedAt=NOW)
    written = ecs_service("a", sent, ecs_deployment("r:1", status="ACTIVE"))
    services.record("c", "a", written)
    clock.advance(timedelta(seconds=10))
    assert services.get("c", "a", max_age=timedelta()) == written
    clock.advance(timedelta(seconds=30))
    assert services.get("c", "a", max_age=timedelta()) == ecs.services["a"]


def test_a_describe_that_shows_something_newer_than_our_write_is_believed_at_once() -> None:
    services, ecs, clock, _ = reader("a")
    sent = ecs_deployment("r:2", name="ecs-svc/2", createdAt=NOW, updatedAt=NOW)
    services.record("c", "a", ecs_service("a", sent, ecs_deployment("r:1", status="ACTIVE")))
    clock.advance(timedelta(seconds=10))
    ecs.services["a"] = ecs_service("a", ecs_deployment("r:1", updatedAt=clock()))  # rolled back, and forgotten
    assert services.get("c", "a", max_age=timedelta()) == ecs.services["a"]


def test_a_describe_that_knows_our_deployment_is_believed_at_once() -> None:
    services, ecs, clock, _ = reader("a")
    services.record("c", "a", ecs_service("a", ecs_deployment("r:1")))
    ecs.services["a"] = ecs_service("a", ecs_deployment("r:1", state="COMPLETED"))
    clock.advance(timedelta(seconds=1))
    assert services.get("c", "a", max_age=timedelta()) == ecs.services["a"]


def test_a_describe_that_shows_what_was_before_a_write_that_began_no_deployment_is_not_believed() -> None:
    services, ecs, clock, _ = reader("a")
    before = services.get("c", "a", max_age=timedelta())
    assert before is not None
    services.record("c", "a", {**before, "desiredCount": 3, "tags": [{"Key": "team", "Value": "search"}]})
    ecs.services["a"] = {**before, "pendingCount": 1}
    clock.advance(timedelta(seconds=10))
    found = services.get("c", "a", max_age=timedelta())
    assert found is not None
    assert found["desiredCount"] == 3
    clock.advance(timedelta(seconds=1))
    ecs.services["a"] = {**before, "desiredCount": 4, "tags": [{"key": "team", "value": "search"}]}
    assert services.get("c", "a", max_age=timedelta()) == ecs.services["a"], "somebody else's, and newer"
    services.record("c", "a", {**ecs.services["a"], "desiredCount": 3})
    clock.advance(timedelta(seconds=31))
    assert services.get("c", "a", max_age=timedelta()) == ecs.services["a"], "it is true by now"


def test_a_service_just_created_is_not_missing_because_describe_does_not_show_it_yet() -> None:
    services, _, clock, _ = reader()
    services.record("c", "a", ecs_service("a", ecs_deployment("r:1")))
    clock.advance(timedelta(seconds=5))
    assert services.get("c", "a", max_age=timedelta()) is not None


def test_a_service_that_we_deleted_is_gone_as_soon_as_describe_says_so() -> None:
    services, ecs, clock, _ = reader("a")
    services.record("c", "a", ecs_service("a", ecs_deployment("r:1"), status="DRAINING"))
    ecs.services["a"]["status"] = "INACTIVE"
    clock.advance(timedelta(seconds=5))
    assert services.get("c", "a", max_age=timedelta()) is None


def test_another_objects_call_tells_of_a_change() -> None:
    services, ecs, clock, changed = reader("a", "b")
    for name in ("a", "b"):
        services.get("c", name, max_age=FIVE_MINUTES)
    changed.clear()
    ecs.services["b"] = ecs_service("b", ecs_deployment("r:1"), runningCount=0)
    clock.advance(FIVE_MINUTES * 2)
    services.get("c", "a", max_age=FIVE_MINUTES)
    assert changed == ["b"]


def test_what_is_gone_is_not_asked_for_again_in_others_calls() -> None:
    services, ecs, clock, _ = reader("a", "b")
    for name in ("a", "b", "missing"):
        services.get("c", name, max_age=FIVE_MINUTES)
    del ecs.services["b"]
    clock.advance(FIVE_MINUTES * 2)
    assert services.get("c", "b", max_age=FIVE_MINUTES) is None
    ecs.asked.clear()
    clock.advance(FIVE_MINUTES * 2)
    services.get("c", "a", max_age=FIVE_MINUTES)
    assert ecs.asked == [["a"]]


@dataclass
class FakeElb:
    """A load balancer's target groups, shown two to a page."""

    names: list[str]
    calls: int = 0

    def describe_target_groups(self, *, PageSize: int, Marker: str = "0") -> Answer:  # noqa: N803 boto3's names
        assert PageSize == 400
        self.calls += 1
        after = int(Marker) + 2
        more = {"NextMarker": str(after)} if after < len(self.names) else {}
        return {"TargetGroups": [group(name) for name in self.names[int(Marker) : after]], **more}


def group(name: str) -> Answer:
    return {"TargetGroupName": name}


def listings(*names: str) -> tuple[SharedListings, FakeElb, Clock]:
    elb, clock, nobody = FakeElb(list(names)), Clock(), FakeEcs()
    return SharedListings(nobody, elb, nobody, nobody, clock), elb, clock  # type: ignore[arg-type]  # as above


def named(found: Sequence[Answer]) -> list[str]:
    return [each["TargetGroupName"] for each in found]


def test_a_list_is_read_to_its_last_page_and_shared_for_some_seconds() -> None:
    shared, elb, clock = listings("a", "b", "c")
    for _ in range(20):
        assert named(shared.target_groups()) == ["a", "b", "c"]
    assert elb.calls == 2
    clock.advance(SHARED_FOR + timedelta(seconds=1))
    shared.target_groups()
    assert elb.calls == 4


def test_what_is_made_is_in_the_list_without_another_call() -> None:
    shared, elb, _ = listings("a")
    shared.add("target groups", group("too early"))
    shared.target_groups()
    for number in range(50):
        shared.add("target groups", group(f"made-{number}"))
        assert named(shared.target_groups())[-1] == f"made-{number}"
    assert "too early" not in named(shared.target_groups()), "nothing was kept that it could belong to"
    assert elb.calls == 1


def test_a_list_is_forgotten_alone_or_with_all_others() -> None:
    shared, elb, _ = listings("a")
    shared.target_groups()
    shared.forget("rules")
    shared.target_groups()
    assert elb.calls == 1
    shared.forget("target groups")
    shared.target_groups()
    shared.forget()
    shared.target_groups()
    assert elb.calls == 3


def test_an_answer_is_shared_for_some_seconds_and_then_takes_no_memory() -> None:
    shared, _, clock = listings()
    asked = []

    def images(tag: str) -> Answer:
        asked.append(tag)
        return {"tag": tag}

    for number in range(100):
        tag = f"1.{number}"
        assert [shared.shared(("image", tag), partial(images, tag)) for _ in range(3)] == [{"tag": tag}] * 3
        clock.advance(SHARED_FOR / 2)
    assert asked == [f"1.{number}" for number in range(100)]
    assert len(shared._answers.kept) <= 3
    clock.advance(SHARED_FOR)
    shared.shared(("image", "1.99"), partial(images, "1.99"))
    assert asked[-2:] == ["1.99"] * 2


@dataclass
class Silent:
    """A call that AWS answers only when it is let."""

    answer: Answer
    asked: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    answers: threading.Event = field(default_factory=threading.Event)
    calls: int = 0

    def __call__(self, **_: Any) -> Answer:
        self.calls += 1
        self.asked.release()
        assert self.answers.wait(30)
        return self.answer


def test_who_asks_something_else_does_not_wait_for_an_endpoint_that_is_silent() -> None:
    shared, elb, _ = listings("a")
    shared.efs = silent = SimpleNamespace(describe_access_points=Silent({"AccessPoints": []}))
    image = Silent({"tag": "1.0"})
    with ThreadPoolExecutor(4) as pool:
        points = pool.submit(shared.access_points, "fs-1")
        shown = pool.submit(shared.shared, ("image", "1.0"), image)
        assert silent.describe_access_points.asked.acquire(timeout=30)
        assert image.asked.acquire(timeout=30)

        def others() -> list[str]:
            shared.forget("rules")
            shared.forget()
            shared.shared(("image", "2.0"), lambda: {"tag": "2.0"})
            found = named(shared.target_groups())
            shared.add("target groups", group("b"))
            return found

        try:
            assert pool.submit(others).result(timeout=10) == ["a"]
            assert not points.done()
            assert not shown.done()
        finally:
            silent.describe_access_points.answers.set()
            image.answers.set()
        assert (points.result(30), shown.result(30)) == ([], {"tag": "1.0"})
    assert elb.calls == 1


@pytest.mark.parametrize("fails", [False, True])
def test_what_many_ask_at_once_is_asked_of_aws_once(fails: bool) -> None:
    shared, elb, clock = listings()
    elb.describe_target_groups = silent = Silent({"TargetGroups": [group("a")]})  # type: ignore[method-assign]
    if fails:
        silent.answer = {}
    with ThreadPoolExecutor(10) as pool:
        tasks = [pool.submit(shared.target_groups) for _ in range(10)]
        while clock.read < 10:  # each has begun
            pass
        with shared._lists._lock:  # and waits
            clock.advance(SHARED_FOR * 2)  # it is their answer however long it has taken
        silent.answers.set()
        failed = [isinstance(task.exception(30), KeyError) for task in tasks]
    assert failed == [fails] * 10
    assert silent.calls == 1


def test_a_list_that_was_forgotten_while_it_was_read_is_read_anew_by_the_next() -> None:
    shared, elb, _ = listings()
    elb.describe_target_groups = silent = Silent({"TargetGroups": [group("before")]})  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(shared.target_groups)
        assert silent.asked.acquire(timeout=30)
        shared.forget("target groups")
        second = pool.submit(shared.target_groups)
        assert silent.asked.acquire(timeout=30), "the answer that is on its way may be of the time before"
        silent.answers.set()
        assert named(first.result(30)) == named(second.result(30)) == ["before"]
    shared.target_groups()
    assert silent.calls == 2


def test_what_is_made_while_the_list_is_read_is_in_it() -> None:
    shared, elb, _ = listings()
    elb.describe_target_groups = silent = Silent({"TargetGroups": [group("a")]})  # type: ignore[method-assign]
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(shared.target_groups)
        assert silent.asked.acquire(timeout=30)
        made = pool.submit(shared.add, "target groups", group("b"))
        silent.answers.set()
        before = made.result(30)
        assert before is not None
        assert named(before) == named(first.result(30)) == ["a"], "one of two who add at once knows of the other"
    assert named(shared.target_groups()) == ["a", "b"]
    assert silent.calls == 1


def test_what_is_read_beside_a_service_is_read_anew_when_it_changes_and_ever_more_seldom_while_it_does_not() -> None:
    services, ecs, clock, _ = reader("a")
    read: list[float] = []

    def tasks() -> list[Answer]:
        read.append((clock.time - NOW).total_seconds())
        return []

    for second in range(0, 3600, 5):
        if second == 1800:
            ecs.services["a"] = {**ecs.services["a"], "pendingCount": 1}
        services.get("c", "a", max_age=timedelta(seconds=4))
        services.beside("c", "a", ("tasks",), tasks)
        clock.advance(timedelta(seconds=5))
    doubling = [0, 5, 10, 20, 40, 80, 160, 320, 620, 920, 1220, 1520]
    assert read == [*doubling, *(1800 + second for second in doubling)]


def test_what_moves_by_itself_is_read_each_time() -> None:
    services, _, clock, _ = reader("a")
    services.get("c", "a", max_age=FIVE_MINUTES)
    answers: list[list[Answer]] = [[{"read": number}] for number in range(20)]
    for answer in answers:
        clock.advance(timedelta(seconds=5))
        assert services.beside("c", "a", ("tasks",), answer.copy, moves=lambda _: True) == answer


def test_where_aws_lets_nobody_ask_what_was_read_before_may_do() -> None:
    services, ecs, clock, _ = reader("a")

    def refused() -> list[Answer]:
        raise Throttled(code="ThrottlingException", message="Rate exceeded", operation="ecs:ListTasks")

    services.get("c", "a", max_age=FIVE_MINUTES)
    with pytest.raises(Throttled):
        services.beside("c", "a", ("tasks",), refused, old_will_do=True)
    before: list[Answer] = [{"taskArn": "t"}]
    services.beside("c", "a", ("tasks",), lambda: before)
    ecs.services["a"] = {**ecs.services["a"], "pendingCount": 1}
    clock.advance(timedelta(minutes=1))
    services.get("c", "a", max_age=timedelta())
    assert services.beside("c", "a", ("tasks",), refused, old_will_do=True) == before
    with pytest.raises(Throttled):
        services.beside("c", "a", ("tasks",), refused)
