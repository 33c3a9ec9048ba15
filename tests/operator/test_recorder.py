from __future__ import annotations

from inference_operator.engine.events import Event
from inference_operator.runtime.recorder import BURST, REFILL, REPEAT_AFTER, Recorder

READY = Event("Normal", "Ready", "1 of 1 tasks run", "Ready")
ROLLING = Event("Normal", "RollingOut", "0 of 1 tasks run", "Ready")


class Clock:
    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_the_same_event_is_posted_once_in_ten_minutes() -> None:
    clock = Clock()
    recorder = Recorder(clock)
    assert recorder.admits("u", READY)
    clock.time += REPEAT_AFTER - 1
    assert not recorder.admits("u", READY)
    assert recorder.admits("another", READY)
    clock.time += 1
    assert recorder.admits("u", READY)


def test_an_object_that_flaps_has_a_budget_of_its_own() -> None:
    clock = Clock()
    recorder = Recorder(clock)
    posted = sum(recorder.admits("u", Event("Warning", "Ready", str(i), "Ready")) for i in range(100))
    assert posted == BURST
    assert recorder.admits("quiet", READY)
    clock.time += REFILL
    assert recorder.admits("u", Event("Warning", "Ready", "later", "Ready"))
    assert not recorder.admits("u", Event("Warning", "Ready", "at once", "Ready"))


def test_an_event_is_news_again_once_something_else_was_told_in_between() -> None:
    recorder = Recorder(Clock())
    assert [recorder.admits("u", event) for event in (READY, ROLLING, READY, READY)] == [True, True, True, False]
