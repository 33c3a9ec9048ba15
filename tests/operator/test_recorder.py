from __future__ import annotations

from inference_operator.engine.events import Event
from inference_operator.runtime.kube import Kube
from inference_operator.runtime.recorder import BURST, REFILL, REPEAT_AFTER, SERIES_ENDS_AFTER, Recorder
from tests.operator.live import Stage

READY = Event("Normal", "Ready", "1 of 1 tasks run", "Ready")
ROLLING = Event("Normal", "RollingOut", "0 of 1 tasks run", "Ready")


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


def counts(recorder: Recorder, *events: Event, uid: str = "u") -> list[int]:
    """How often each had happened when it was posted; 0: it was not."""
    postings = [recorder.posting(uid, event, "recommender") for event in events]
    return [posting.count if posting is not None else 0 for posting in postings]


def test_the_same_event_is_posted_once_in_ten_minutes_and_then_with_how_often_it_happened() -> None:
    clock = Clock()
    recorder = Recorder(clock)
    assert counts(recorder, READY) == [1]
    clock.time += REPEAT_AFTER - 1
    assert counts(recorder, READY, READY) == [0, 0]
    assert counts(recorder, READY, uid="another") == [1]
    clock.time += 1
    assert counts(recorder, READY) == [4]


def test_an_object_that_flaps_counts_on_two_events() -> None:
    recorder = Recorder(Clock())
    assert counts(recorder, READY, ROLLING, READY, ROLLING, READY, READY) == [1, 1, 2, 2, 3, 0]
    names = {told.posting.name for told in recorder._told.values()}
    assert len(names) == 2
    assert all(name.startswith("recommender.") for name in names)


def test_an_event_that_the_api_server_has_forgotten_is_a_new_one() -> None:
    clock = Clock()
    recorder = Recorder(clock)
    first = recorder.posting("u", READY, "recommender")
    clock.time += SERIES_ENDS_AFTER
    again = recorder.posting("u", READY, "recommender")
    assert first is not None
    assert again is not None
    assert again.count == 1
    assert again.name != first.name


def test_an_object_that_always_tells_something_else_has_a_budget_of_its_own() -> None:
    clock = Clock()
    recorder = Recorder(clock)
    posted = counts(recorder, *(Event("Warning", "Ready", str(number), "Ready") for number in range(100)))
    assert sum(posted) == BURST
    assert counts(recorder, READY, uid="quiet") == [1]
    clock.time += REFILL
    later, at_once = (Event("Warning", "Ready", text, "Ready") for text in ("later", "at once"))
    assert counts(recorder, later, at_once) == [1, 0]


def test_the_api_server_shows_the_series(stage: Stage) -> None:
    kube = object.__new__(Kube)  # its connection is the process's, not the stage's
    kube._events, kube._instance, kube._before_write = stage.posted, "test", lambda: None
    document = stage.apply("recommender")
    for count in (1, 2, 7):
        kube.publish(document, READY, "recommender.0123", count)
    kube.publish(document, ROLLING, "recommender.4567", 3)  # forgotten meanwhile: it is posted anew
    events = {event.metadata.name: event for event in stage.posted.list_namespaced_event(stage.namespace).items}
    assert events["recommender.0123"].series.count == 7
    assert events["recommender.0123"].note == READY.message
    assert events["recommender.4567"].series is None
    assert len(events) == 2
