"""Who else changes what is kept: how often something was put back, how long to wait before it is again, and the words
for it. Pure, and only in memory: a new process counts anew.

One change by hand is put back at the next look. Somebody who changes it again each time is another controller. Two that
never yield would begin a rollout each for ever; so this one waits longer and longer, and says what goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from inference_operator.api import meta
from inference_operator.engine.plan import Create, Delete, Replace, Step, Update
from inference_operator.resources import service_input

WITHIN = timedelta(days=1)
"""Put-backs count for so long."""
OFTEN = 3
"""So many put-backs are no accident any more."""
FIRST, LONGEST = timedelta(minutes=10), timedelta(hours=1)
"""How long to wait after the third put-back, and at most. What is looked at once an hour never waits."""
ASKED_FOR = frozenset({service_input.FORCE, service_input.CONTINUE, service_input.ROLL_BACK})
"""Done because somebody asks for it in the object."""


@dataclass
class Contest:
    """Of one object."""

    kept: dict[str, object] = field(default_factory=dict)
    """By kind: what was asked for when it last was as asked."""
    times: dict[str, list[datetime]] = field(default_factory=dict)
    """By kind and field, such as `Service desiredCount`: when it was put back."""

    def keeps(self, kind: str, asked: object) -> None:
        """It is as asked now."""
        if asked is not None:
            self.kept[kind] = asked

    def puts_back(self, kind: str, step: Step, asked: object) -> Sequence[str]:
        """What a step would put back: nobody asks for anything else, and yet it differs."""
        if asked is None or self.kept.get(kind) != asked:
            return ()
        return [f"{kind} {what}" for what in _changed(step)]

    def note(self, what: Sequence[str], now: datetime) -> None:
        for each in what:
            self.times[each] = [*self._recent(each, now), now]

    def due(self, what: Sequence[str], now: datetime) -> datetime | None:
        """When all of it may be put back again, if not now."""
        latest = max((self._due(each, now) for each in what), default=now)
        return latest if latest > now else None

    def told(self, now: datetime, ways_out: str = "") -> str | None:
        """What somebody else keeps changing; None if nothing."""
        often = {each: times for each in sorted(self.times) if len(times := self._recent(each, now)) >= OFTEN}
        if not often:
            return None
        counts = "; ".join(
            f"{each} (put back {len(times)} times since {_text(times[0])}, last at {_text(times[-1])})"
            for each, times in often.items()
        )
        return f"somebody else keeps changing {counts}. Next: {NEXT}{ways_out}"

    def _due(self, each: str, now: datetime) -> datetime:
        times = self._recent(each, now)
        if len(times) < OFTEN:
            return now
        return times[-1] + min(LONGEST, FIRST * (1 << min(len(times) - OFTEN, 10)))

    def _recent(self, each: str, now: datetime) -> list[datetime]:
        return [at for at in self.times.get(each, ()) if now - at < WITHIN]


NEXT = "see in AWS CloudTrail who calls for it, and let one of the two be responsible"
WAYS_OUT = (
    ": take it out of the other, put its value into the spec, or set spec.driftPolicy to Report; a new value of "
    f"{meta.RECONCILE_AT} puts it back at once"
)
"""Of an InferenceDeployment."""


def waiting(told: str, due: datetime) -> str:
    """In a condition of the kind."""
    return f"{told}; somebody else keeps changing it, so it is put back again at {_text(due)}. Next: {NEXT}"


def values(step: Step) -> str:
    """In an Event: what it was, and what it is again."""
    if isinstance(step, Create):
        return "it was gone"
    if not isinstance(step, Update | Replace):
        return "it was there"
    shown: Mapping[str, tuple[object, object]] = step.change.values
    parts = [f"{path} (was {str(shown[path][1])[:80]})" if path in shown else path for path in step.change.paths]
    return ", ".join(parts)


def _changed(step: Step) -> Sequence[str]:
    match step:
        case Create():
            return ["(deleted)"]
        case Delete():
            return ["(made)"]
        case Update(change) | Replace(change):
            return [path for path in change.paths if path not in ASKED_FOR]
        case _:
            return ()


def _text(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"
