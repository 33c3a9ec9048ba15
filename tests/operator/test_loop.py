"""The loop around passes: what wakes an object, what a pass leaves behind, how one ends where kopf does not end it."""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Awaitable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from inference_operator.api.meta import FINALIZER
from inference_operator.api.v1alpha1 import InferenceDeploymentStatus, InferenceEnvironmentStatus
from inference_operator.engine.events import Event
from inference_operator.engine.notifications import Kind, Notice
from inference_operator.engine.objects import Outcome, World
from inference_operator.engine.reconcile import Memory
from inference_operator.runtime import loop
from inference_operator.runtime.kube import GoneError
from inference_operator.runtime.loop import STUCK, Duty, Keeper
from inference_operator.runtime.slot import Slot
from tests.operator.builders import NOW, deployment_document, environment_document

GOES_OFF = 10.0  # seconds
STATUS: dict[str, Any] = {"replicas": 1}
NOTICE = Notice(id="n", type=Kind.FAILED, at=NOW, message={})
DONE = Outcome(status=InferenceDeploymentStatus(), requeue_after=timedelta())


class Never:
    """A stopper that nobody sets."""

    def __bool__(self) -> bool:
        return False

    def wait(self) -> Awaitable[object]:
        return asyncio.Event().wait()


class Daemon:
    """An object's, whose first pass lasts until the watch has told of the object's end."""

    def __init__(self, *, finalizers: list[str]) -> None:
        self.document = {**deployment_document()}
        self.document["metadata"]["finalizers"] = finalizers
        self.slot = Slot()
        self.did: list[str] = []
        self.under_way, self.told = threading.Event(), threading.Event()
        kube = mock.Mock()
        kube.write_status.side_effect = GoneError("recommender")
        kube.latest.return_value = None
        self.keeper = Keeper(kube=kube, connect=mock.Mock(), gate=asyncio.Semaphore(1))

    def look_after(self, _document: object, world: World, *_: object) -> Outcome:
        self.under_way.set()
        assert self.told.wait(GOES_OFF)
        self.did.append("stop" if world.stopping() else "go on")
        return Outcome(status=InferenceDeploymentStatus(replicas=3), requeue_after=timedelta(hours=1))

    def take_away(self, *_: object) -> Outcome:
        self.did.append("take away")
        done = self.did.count("take away") == 2
        return Outcome(status=InferenceDeploymentStatus(), requeue_after=timedelta(), done=done)

    async def until_the_end(self, last: dict[str, Any]) -> None:
        """The watch tells that the object is gone, and what it was last. The daemon has to end by itself."""
        self.keeper.notice(self.document, self.slot)
        duty = Duty(self.look_after, self.take_away)
        daemon = asyncio.create_task(self.keeper.keep(self.document, self.slot, Never(), duty))
        if FINALIZER in self.document["metadata"]["finalizers"]:
            assert await asyncio.to_thread(self.under_way.wait, GOES_OFF)
        else:
            await asyncio.sleep(0)
        self.document |= last  # kopf's body is alive
        self.keeper.gone(self.document, self.slot)
        self.told.set()
        await asyncio.wait_for(daemon, GOES_OFF)


def last(*, finalizers: list[str], status: dict[str, Any] | None = None, deleting: bool = False) -> dict[str, Any]:
    metadata = {**deployment_document()["metadata"], "finalizers": finalizers}
    if deleting:
        metadata["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    return {"metadata": metadata, "status": status or {}}


def life(daemon: Daemon, end: dict[str, Any]) -> list[str]:
    asyncio.run(daemon.until_the_end(end))
    assert not daemon.keeper.slots
    return daemon.did


def test_a_pass_over_an_object_that_went_behind_its_finalizer_makes_no_more_and_what_it_made_is_taken_away() -> None:
    assert life(Daemon(finalizers=[FINALIZER]), last(finalizers=[FINALIZER])) == ["stop", "take away", "take away"]


def test_an_object_that_went_behind_its_finalizer_before_its_first_pass_is_not_looked_after() -> None:
    """The watch brings the finalizer with the end."""
    assert life(Daemon(finalizers=[]), last(finalizers=[FINALIZER])) == ["take away", "take away"]


def test_the_daemon_of_an_object_that_went_before_it_had_its_finalizer_ends() -> None:
    assert life(Daemon(finalizers=[]), last(finalizers=[])) == []


@pytest.mark.parametrize(
    "end",
    [
        last(finalizers=[FINALIZER], status=STATUS),
        last(finalizers=[], status=STATUS),
        last(finalizers=[FINALIZER], deleting=True),
    ],
    ids=["it was told of", "somebody took the finalizer away", "its deletion was seen"],
)
def test_what_was_made_for_an_object_that_went_otherwise_stays(end: dict[str, Any]) -> None:
    assert life(Daemon(finalizers=[FINALIZER]), end) == ["stop"]


def held() -> dict[str, Any]:
    document = {**deployment_document(), "status": STATUS}
    document["metadata"]["finalizers"] = [FINALIZER]
    return document


class Deletion:
    """Of an object and its environment, which are gone from the second pass on: somebody took their finalizers away."""

    def __init__(self, *, wait: timedelta) -> None:
        self.passes: list[str] = []
        self.wait = wait
        kube = mock.Mock()
        kube.latest.side_effect = lambda document: document if len(self.passes) < 2 else None
        self.keeper = Keeper(kube=kube, connect=mock.Mock(), gate=asyncio.Semaphore(1))
        self.object, self.environment, self.slot = deployment_document(), environment_document(), Slot()
        self.keeper.notice(self.object, self.slot)
        self.keeper.environment_noticed(self.environment, self.slot)

    def take_away(self, *_: object) -> Outcome:
        self.passes.append("take away")
        self.slot.wake.set()
        return replace(DONE, done=len(self.passes) == 4, requeue_after=self.wait)

    async def finish(self, document: dict[str, Any]) -> int:
        await asyncio.wait_for(self.keeper.finish(document, self.slot, Duty(mock.Mock(), self.take_away)), GOES_OFF)
        return len(self.passes)


def test_a_deletion_that_is_stuck_ends_when_somebody_has_taken_the_finalizer_away() -> None:
    deletion = Deletion(wait=STUCK)
    assert asyncio.run(deletion.finish(deletion.object)) == 2
    assert [document["metadata"]["uid"] for document in deletion.keeper.documents()] == [
        deletion.environment["metadata"]["uid"]
    ]


def test_an_environment_whose_deletion_is_stuck_is_no_more_when_somebody_has_taken_the_finalizer_away() -> None:
    deletion = Deletion(wait=STUCK)
    deletion.keeper._objects_in = mock.Mock(return_value=[])  # type: ignore[method-assign]
    assert asyncio.run(deletion.finish(deletion.environment)) == 2
    assert deletion.keeper.environments == {}


def test_a_deletion_that_makes_headway_goes_on_though_somebody_has_taken_the_finalizer_away() -> None:
    deletion = Deletion(wait=timedelta(seconds=5))
    assert asyncio.run(deletion.finish(deletion.object)) == 4


def test_an_environment_is_looked_at_once_an_object_s_end_is_over_and_once_more_when_it_is_to_be_seen_no_more() -> None:
    deletion, place = Deletion(wait=timedelta(0)), Slot()
    deletion.keeper.environment_noticed(deletion.environment, place)
    place.wake.clear()
    asyncio.run(deletion.finish(deletion.object))
    assert place.wake.is_set()
    place.wake.clear()  # its pass lists what is in it, before kopf has let the object go
    deletion.keeper.gone(deletion.object, deletion.slot)
    assert place.wake.is_set()


def test_the_next_environment_of_a_name_wakes_those_that_the_one_before_did_not_take() -> None:
    keeper, slot = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1)), Slot()
    before, after = environment_document(), environment_document()
    before["metadata"]["deletionTimestamp"] = "2026-11-24T12:00:00Z"
    after["metadata"]["uid"] = "e-2"
    keeper.environment_noticed(before, Slot())
    keeper.notice(deployment_document(), slot)
    slot.wake.clear()
    keeper.environment_noticed(after, Slot())  # the watch may not tell of the other's end before this one's beginning
    assert slot.wake.is_set()


def test_an_object_that_asks_for_another_port_has_its_environment_looked_at_which_opens_it() -> None:
    keeper, place, slot = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1)), Slot(), Slot()
    keeper.environment_noticed(environment_document(), place)
    woken = []
    specs: list[dict[str, Any]] = [{}, {"replicas": 2}, {"replicas": 2, "port": 9000}]
    for spec in specs:
        place.wake.clear()
        keeper.notice(deployment_document(**spec), slot)
        woken.append(place.wake.is_set())
    assert woken == [True, False, True]


def test_a_wake_starts_one_pass_and_then_it_rests() -> None:
    it, document, slot = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1)), held(), Slot()
    passes: list[float] = []

    async def live() -> None:
        running = asyncio.get_running_loop()

        def look_after(*_: object) -> Outcome:
            passes.append(time.monotonic())
            if len(passes) == 3:
                running.call_soon_threadsafe(it.gone, document, slot)
            return Outcome(status=InferenceDeploymentStatus(replicas=1), requeue_after=timedelta(seconds=0.3))

        it.notice(document, slot)  # which wakes
        await asyncio.wait_for(it.keep(document, slot, Never(), Duty(look_after, look_after)), GOES_OFF)

    asyncio.run(live())
    assert len(passes) == 3
    assert all(later - earlier >= 0.25 for earlier, later in itertools.pairwise(passes))


def test_a_status_that_could_not_be_written_is_written_soon_and_ever_less_soon() -> None:
    it, document, slot = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1)), held(), Slot()
    write = it.kube.write_status = mock.Mock(side_effect=TimeoutError)  # type: ignore[method-assign]

    def look_after(*_: object) -> Outcome:
        return Outcome(status=InferenceDeploymentStatus(replicas=3), requeue_after=timedelta(minutes=1))

    async def live() -> list[float]:
        waits = [(await it._pass(look_after, document, slot)).requeue_after for _ in range(7)]
        write.side_effect = None
        waits.append((await it._pass(look_after, document, slot)).requeue_after)
        write.side_effect = TimeoutError
        slot.status = None
        waits.append((await it._pass(look_after, document, slot)).requeue_after)
        return [wait.total_seconds() for wait in waits]

    assert asyncio.run(live()) == [2, 4, 8, 16, 32, 60, 60, 60, 2]


def test_an_environment_that_goes_during_a_pass_does_not_end_the_daemon_of_who_has_something_to_tell() -> None:
    it = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1))
    it.environments["default"] = environment_document()
    document, slot = held(), Slot()

    def look_after(*_: object) -> Outcome:
        it.environments.clear()
        slot.gone = True
        status = InferenceDeploymentStatus(replicas=3)
        return Outcome(status=status, requeue_after=timedelta(), notices=(NOTICE,))

    notifier = it.notifier = mock.Mock()

    async def keep() -> None:
        it.notice(document, slot)
        await it.keep(document, slot, Never(), Duty(look_after, look_after))

    asyncio.run(keep())
    [(_, environment, notice, _)] = [call.args for call in notifier.offer.call_args_list]
    assert (environment.cluster, notice) == ("inference", NOTICE)


def test_a_pass_under_way_goes_on_with_what_it_has_seen_when_its_environment_changes_and_the_next_looks_anew() -> None:
    keeper = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1))
    before, after = environment_document(), environment_document(cluster="another")
    document, slot = held(), Slot()
    seen: list[list[str]] = []

    async def live() -> None:
        running = asyncio.get_running_loop()

        async def change() -> None:
            keeper.environment_noticed(after, Slot())

        def look_after(_document: object, _world: World, memory: Memory, *_: object) -> Outcome:
            seen.append([*memory.seen])
            memory.seen["LogGroup"] = (NOW, "as it is")
            asyncio.run_coroutine_threadsafe(change(), running).result(GOES_OFF)
            seen.append([*memory.seen])
            return Outcome(status=InferenceDeploymentStatus(replicas=1), requeue_after=timedelta(hours=1))

        keeper.environment_noticed(before, Slot())
        keeper.notice(document, slot)
        for _ in range(3):
            slot.begin()
            await keeper._pass(look_after, document, slot)

    asyncio.run(live())
    assert seen == [[], ["LogGroup"], [], ["LogGroup"], ["LogGroup"], ["LogGroup"]]


def test_a_status_that_somebody_writes_while_events_of_the_pass_are_posted_is_put_right(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "CONTESTED", 0.0)
    keeper = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1))
    keeper.kube.write_status.return_value = "10"  # type: ignore[attr-defined]
    document, slot = held(), Slot()
    theirs = {**document, "metadata": {**document["metadata"], "resourceVersion": "11"}, "status": STATUS}
    event = Event(type="Normal", reason="Ready", message="it is up", about="Ready")

    async def live() -> None:
        running = asyncio.get_running_loop()

        async def bring() -> None:
            keeper.notice(theirs, slot)

        def post(*_: object) -> None:
            asyncio.run_coroutine_threadsafe(bring(), running).result(GOES_OFF)

        keeper.kube.publish.side_effect = post  # type: ignore[attr-defined]
        told = Outcome(status=InferenceDeploymentStatus(replicas=3), requeue_after=timedelta(hours=1), events=(event,))
        keeper.notice(document, slot)
        slot.wake.clear()
        await keeper._pass(lambda *_: told, document, slot)
        await asyncio.wait_for(slot.wake.wait(), GOES_OFF)

    asyncio.run(live())


IN_ORDER = InferenceEnvironmentStatus.model_validate(
    {
        "events": {"queue": "q", "url": "https://sqs.example.com/q"},
        "conditions": [
            {"type": type_, "status": "True", "reason": "AsSpecified", "message": "", "lastTransitionTime": NOW}
            for type_ in ("EventQueueReady", "EventRuleReady")
        ],
    }
)


@pytest.mark.parametrize(
    ("what", "followed"), [("nothing", True), ("gone", False), ("replaced", False), ("wrong", True)]
)
def test_events_are_read_as_the_pass_over_an_environment_saw_it_unless_it_is_gone_by_its_end(
    what: str, followed: bool
) -> None:
    keeper = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1))
    keeper.inboxes = mock.Mock()
    document, slot = environment_document(events={"queue": "q"}), Slot()
    after = environment_document(events={"queue": "q"})
    if what == "replaced":
        after["metadata"]["uid"] = "e-2"
    if what == "wrong":
        after["spec"] = {}

    def look_after(*_: object) -> Outcome:
        if what == "gone":
            keeper.gone(document, slot)
        elif what != "nothing":
            keeper.environment_noticed(after, slot if what == "wrong" else Slot())
        return Outcome(status=IN_ORDER, requeue_after=timedelta(hours=1))

    async def live() -> None:
        keeper.environment_noticed(document, slot)
        keeper.inboxes.reset_mock()  # type: ignore[attr-defined]
        await keeper._pass(look_after, document, slot)

    asyncio.run(live())
    calls = [call.args for call in keeper.inboxes.follow.call_args_list]
    connecting = [connect for _, url, connect in calls if url is not None]
    assert len(connecting) == followed
    for connect in connecting:
        connect()  # though the spec does not validate any more
