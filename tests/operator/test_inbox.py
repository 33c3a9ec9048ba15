"""The reader of the queue of events, beside a queue that forgets nothing and gives everything twice."""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any
from unittest import mock

import pytest
from prometheus_client import REGISTRY

from inference_operator.api.v1alpha1 import InferenceDeploymentStatus
from inference_operator.aws.errors import NotFound
from inference_operator.domain.ecs_events import News
from inference_operator.engine.objects import Outcome
from inference_operator.engine.plan import Keep, StepResult
from inference_operator.resources.base import Settled
from inference_operator.runtime import loop, metrics
from inference_operator.runtime.inbox import AT_ONCE, BATCH, Heard, Inbox
from inference_operator.runtime.inboxes import Inboxes
from inference_operator.runtime.loop import Keeper
from inference_operator.runtime.slot import Slot
from tests.operator.builders import deployment_document
from tests.operator.test_ecs_events import STOPPED, event, task_event


@dataclass
class Queue:
    """SQS, as far as an inbox asks: what is received is invisible until `reappear`."""

    messages: list[str] = field(default_factory=list)
    in_flight: dict[str, str] = field(default_factory=dict)
    deleted: int = 0
    error: NotFound | None = None
    together: threading.Barrier | None = None
    """Where there is one, a message is given only to so many who ask at the same time."""
    _receipts: int = 0
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def receive_message(self, *, MaxNumberOfMessages: int, **_: Any) -> Mapping[str, Any]:  # noqa: N803 boto3's name
        if self.together is not None and self._receipts:
            self.together.wait(30)
        with self._lock:
            return self._give(MaxNumberOfMessages)

    def _give(self, count: int) -> Mapping[str, Any]:
        if self.error is not None:
            raise self.error
        taken, self.messages = self.messages[:count], self.messages[count:]
        told = []
        for body in taken:
            self._receipts += 1
            self.in_flight[str(self._receipts)] = body
            told.append({"MessageId": "m", "ReceiptHandle": str(self._receipts), "Body": body})
        return {"Messages": told} if told else {}

    def delete_message_batch(self, *, Entries: Sequence[Mapping[str, str]], **_: Any) -> Mapping[str, Any]:  # noqa: N803
        assert 1 <= len(Entries) <= BATCH
        assert len({entry["Id"] for entry in Entries}) == len(Entries)
        with self._lock:
            for entry in Entries:
                self.deleted += self.in_flight.pop(entry["ReceiptHandle"], None) is not None
        return {}

    def reappear(self) -> None:
        """The visibility timeout of everything that is in flight is over."""
        self.messages += self.in_flight.values()
        self.in_flight.clear()


@dataclass
class Listener:
    answer: Heard = "mine"
    heard: list[News] = field(default_factory=list)
    kept: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self, news: Sequence[tuple[News, Callable[[], None]]], /) -> list[Heard]:
        self.heard += [it for it, _ in news]
        self.kept += [kept for _, kept in news]
        return [self.answer] * len(news)


def inbox(queue: Queue, hear: Callable[..., Any], lost: Callable[[], None] = lambda: None) -> Inbox:
    return Inbox(environment="default", sqs=queue, queue_url="q", hear=hear, lost=lost)  # type: ignore[arg-type]  # the two operations that it asks for


def action(number: int, service: str = "shop_recommender") -> str:
    return event("ECS Service Action", f"service/inference/{service}", {}, id=f"e{number}")


def drain(it: Inbox, queue: Queue) -> None:
    while queue.messages:
        it.turn()
    it.turn()


def test_what_only_says_look_is_deleted_at_once() -> None:
    queue, listener = Queue([action(1), action(2)]), Listener()
    inbox(queue, listener).turn()
    assert [it.service for it in listener.heard] == ["shop_recommender"] * 2
    assert queue.deleted == 2


def test_why_a_task_stopped_is_deleted_only_once_it_is_kept() -> None:
    queue, listener = Queue([task_event(**STOPPED)]), Listener("later")
    it = inbox(queue, listener)
    it.turn()
    assert queue.deleted == 0
    queue.reappear()
    it.turn()
    assert len(listener.heard) == 1, "it is not told again meanwhile"
    assert queue.deleted == 0
    listener.kept[0]()
    it.turn()
    assert queue.deleted == 1
    assert not queue.in_flight
    assert not it._pending


def test_what_was_not_kept_is_told_to_the_next_process() -> None:
    queue = Queue([task_event(**STOPPED)])
    inbox(queue, Listener("later")).turn()  # and this one dies
    queue.reappear()
    listener = Listener("later")
    inbox(queue, listener).turn()
    assert [it.stopped is not None for it in listener.heard] == [True]


def test_repeated_events_are_told_once() -> None:
    bodies = [action(n) for n in range(50)] * 2
    random.Random(7).shuffle(bodies)  # noqa: S311 an order
    queue, listener = Queue(bodies), Listener()
    drain(inbox(queue, listener), queue)
    assert len(listener.heard) == 50
    assert queue.deleted == 100


def test_junk_is_deleted_and_stops_nothing() -> None:
    queue, listener = Queue(["}{", "", json.dumps({"hello": 1}), action(1), "\x00" * 1000]), Listener()
    drain(inbox(queue, listener), queue)
    assert [it.id for it in listener.heard] == ["e1"]
    assert queue.deleted == 5


def test_what_has_piled_up_is_fetched_several_batches_at_once_and_heard_in_one_thread() -> None:
    queue, heard = Queue([action(n) for n in range(BATCH * (1 + AT_ONCE))]), list[str]()
    queue.together = threading.Barrier(AT_ONCE)

    def hear(news: Sequence[tuple[News, Callable[[], None]]], /) -> list[Heard]:
        heard.append(threading.current_thread().name)
        return ["mine"] * len(news)

    inbox(queue, hear).turn()
    assert heard == [threading.current_thread().name] * (1 + AT_ONCE)
    assert queue.deleted == BATCH * (1 + AT_ONCE)


def test_a_pile_that_cannot_be_read_to_its_end_loses_nothing() -> None:
    queue, listener = Queue([action(n) for n in range(100)]), Listener()
    it = inbox(queue, listener)

    def hear(news: Sequence[tuple[News, Callable[[], None]]], /) -> list[Heard]:
        queue.error = (
            NotFound(code="Unavailable", message="", operation="sqs:ReceiveMessage") if listener.heard else None
        )
        return listener(news)

    it.hear = hear
    with pytest.raises(NotFound):
        it.turn()
    assert len(listener.heard) < 100
    queue.error, it.hear = None, listener
    queue.reappear()
    drain(it, queue)
    assert {told.id for told in listener.heard} == {f"e{n}" for n in range(100)}
    assert (len(listener.heard), queue.deleted) == (100, 100)


def test_a_queue_that_is_gone_is_told_and_is_not_heard() -> None:
    told: list[str] = []
    queue = Queue(error=NotFound(code="QueueDoesNotExist", message="", operation="sqs:ReceiveMessage"))
    it = inbox(queue, Listener())

    def lost() -> None:
        told.append("lost")
        it.stop()

    it.lost = lost
    it._run()
    assert told == ["lost"]
    assert not it.hears


def heard(environment: str) -> float | None:
    return REGISTRY.get_sample_value("inference_operator_events_heard", {"environment": environment})


def test_whether_events_are_heard_is_told_of_environments_that_ask_for_them_alone() -> None:
    queue = Queue()
    it = replace(inbox(queue, Listener()), environment="told")
    before = heard("told")
    metrics.events_asked_for("told", asked=True)
    asked = heard("told")
    it.turn()
    read = heard("told")
    it.stop()
    stopped = heard("told")
    metrics.events_asked_for("told", asked=False)
    it.turn()  # that was under way when it was stopped
    assert [before, asked, read, stopped, heard("told")] == [None, 0, 1, 0, None]


def test_an_inbox_that_has_read_nothing_for_a_minute_does_not_hear() -> None:
    times = [datetime(2026, 11, 24, tzinfo=UTC)]
    it = inbox(Queue(), Listener())
    it.clock = lambda: times[-1]
    heard = [it.hears]
    it.turn()
    heard.append(it.hears)
    times.append(times[0] + timedelta(seconds=61))
    assert [*heard, it.hears] == [False, True, False]


def test_a_burst_of_ten_thousand_is_drained_with_little_in_memory() -> None:
    """1 % ours, 1 % junk, and of ours one in two twice."""
    mine = [action(n, "shop_mine") for n in range(100)]
    foreign = [action(1000 + n, "shop_foreign") for n in range(9750)]
    bodies = [*mine, *mine[:50], *(["}{"] * 100), *foreign]
    random.Random(7).shuffle(bodies)  # noqa: S311 an order
    queue, heard = Queue(bodies), list[str]()

    def hear(news: Sequence[tuple[News, Callable[[], None]]], /) -> list[Heard]:
        assert len(news) <= BATCH
        heard.extend(it.service for it, _ in news if it.service == "shop_mine")
        return ["mine" if it.service == "shop_mine" else "foreign" for it, _ in news]

    it = inbox(queue, hear)
    tracemalloc.start()
    began = time.monotonic()
    drain(it, queue)
    took, (_, highest) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(heard) == 100
    assert queue.deleted == 10_000
    assert not it._pending
    assert took < 60, f"{took:.1f} s"
    assert highest < 16 * 2**20, f"{highest / 2**20:.1f} MiB"


# -- and the loop that it tells


def keeper() -> Keeper:
    return Keeper(kube=None, connect=None, gate=nullcontext())  # type: ignore[arg-type]  # it makes no pass here


def told(number: int, service: str = "shop_recommender", **members: Any) -> News:
    return News(id=str(number), at=datetime.now(UTC), service=service, **members)


def test_an_event_of_no_object_here_is_foreign() -> None:
    async def hear() -> list[str]:
        it = keeper()
        it.notice(deployment_document(environment="production"), Slot())
        return [
            it.hear("production", told(1), print),
            it.hear("production", told(2, "shop_another"), print),
            it.hear("staging", told(3), print),
        ]

    assert asyncio.run(hear()) == ["mine", "foreign", "foreign"]


def test_a_burst_wakes_an_object_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SPACING", 0.1)

    async def burst() -> list[float]:
        it, slot = keeper(), Slot()
        it.notice(deployment_document(environment="e"), slot)
        slot.wake.clear()
        clock = asyncio.get_running_loop()
        woken: list[float] = []
        while len(woken) < 4:
            it.hear("e", told(1), print)
            if slot.wake.is_set():
                slot.wake.clear()
                slot.began = clock.time()
                woken.append(slot.began)
            await asyncio.sleep(0.001)
        return woken

    woken = asyncio.run(asyncio.wait_for(burst(), 30))
    assert all(later - earlier >= 0.09 for earlier, later in pairwise(woken))


def test_no_more_stopped_tasks_are_held_for_an_object_than_its_status_can_hold() -> None:
    async def flood() -> tuple[int, int]:
        it, slot, kept = keeper(), Slot(), []
        it.notice(deployment_document(environment="e"), slot)
        for number in range(1000):
            it.hear("e", told(number, task=f"t{number}", stopped={"taskArn": f"t{number}"}), lambda: kept.append(1))
        return len(slot.stopped), len(kept)

    assert asyncio.run(flood()) == (20, 980)


def test_why_tasks_stopped_of_an_object_that_is_gone_by_then_is_no_longer_held() -> None:
    async def go() -> list[int]:
        it, slot, kept = keeper(), Slot(), []
        document = deployment_document(environment="e")
        it.notice(document, slot)
        for number in range(3):
            it.hear("e", told(number, task=f"t{number}", stopped={"taskArn": f"t{number}"}), lambda: kept.append(1))
        assert not kept
        it.gone(document, slot)
        return kept

    assert asyncio.run(go()) == [1, 1, 1]


async def passed(it: Keeper, slot: Slot, during: Callable[[], object]) -> None:
    """A pass during which something happens on the loop."""
    loop, happened = asyncio.get_running_loop(), threading.Event()

    def happen() -> None:
        during()
        happened.set()

    def work(*_: object) -> Outcome:
        loop.call_soon_threadsafe(happen)
        assert happened.wait(30)
        done = StepResult(kind="Service", step=Keep(), outcome=Settled())
        return Outcome(status=InferenceDeploymentStatus(), requeue_after=timedelta(), results=(done,))

    it.kube = mock.Mock()
    it.kube.write_status.return_value = None
    await it._pass(work, deployment_document(environment="e"), slot)


def test_an_event_that_comes_during_a_pass_is_looked_into_by_the_next_one() -> None:
    async def go() -> list[bool]:
        it, slot = keeper(), Slot()
        it.notice(deployment_document(environment="e"), slot)
        it.hear("e", told(1), print)
        heard = [slot.heard_at is not None]
        await passed(it, slot, lambda: it.hear("e", told(2), print))
        heard.append(slot.heard_at is not None)
        await passed(it, slot, lambda: None)
        return [*heard, slot.heard_at is not None]

    assert asyncio.run(go()) == [True, True, False]


def test_a_stopped_task_that_is_told_anew_is_held_until_a_status_has_it_and_what_was_told_before_is_not() -> None:
    """ECS tells of it again when its network interface is gone."""

    async def go() -> list[list[str]]:
        it, slot, kept = keeper(), Slot(), []

        def hear(number: int) -> None:
            stopped = {"taskArn": "t", "stoppedReason": str(number)}
            it.hear("e", told(number, task="t", version=number, stopped=stopped), lambda: kept.append(str(number)))

        it.notice(deployment_document(environment="e"), slot)
        hear(1)
        hear(2)
        after = [list(kept)]
        await passed(it, slot, lambda: hear(3))
        after.append(list(kept))
        assert [task.shown["stoppedReason"] for task in slot.stopped.values()] == ["3"]
        await passed(it, slot, lambda: None)
        assert not slot.stopped
        return [*after, kept]

    assert asyncio.run(go()) == [["1"], ["1", "2"], ["1", "2", "3"]]


@pytest.mark.parametrize("change", ["nothing", "role", "queue"])
def test_a_queue_is_read_with_the_role_that_its_environment_has_now(change: str) -> None:
    """With the former one it would be read until that role is gone, and by nobody after that."""
    queues: dict[str, Any] = {name: Queue() for name in ("first", "second")}

    async def follow() -> tuple[Inbox, Inbox]:
        it = Inboxes(hear=lambda *_: "mine", lost=print, complete=lambda: True)
        it.follow("e", "q", lambda: queues["first"])
        first = it._made["e"]
        it.follow("e", "p" if change == "queue" else "q", lambda: queues["second" if change == "role" else "first"])
        second = it._made["e"]
        it.stop()
        return first, second

    first, second = asyncio.run(follow())
    assert (second is first) == (change == "nothing")
    assert first._over.is_set()
    assert second.sqs is queues["second" if change == "role" else "first"]
