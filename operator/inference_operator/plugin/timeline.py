"""What happened to an object, as one story: rollouts, ECS's events, stopped tasks, conditions and Kubernetes Events.

Pure: from the object and its Events to entries, and from entries to lines. The oldest stands first, as one reads.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal

Severity = Literal["Info", "Warning", "Error"]
MARKS: Mapping[str, str] = {"Info": " ", "Warning": "!", "Error": "x"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    at: datetime
    source: Literal["rollout", "ecs", "task", "condition", "operator"]
    severity: Severity
    text: str

    def document(self) -> dict[str, Any]:
        return {**asdict(self), "at": self.at.isoformat()}


def timeline(document: Mapping[str, Any], events: Iterable[Mapping[str, Any]] = ()) -> list[Entry]:
    """`events` are Kubernetes Events about the object, as `events.k8s.io/v1` has them."""
    status = document.get("status") or {}
    found = [
        *_rollouts(status),
        *(_service_event(event) for event in status.get("events", ())),
        *_stopped(status.get("stoppedTasks", ())),
        *(_condition(condition) for condition in status.get("conditions", ()) if condition["type"] in _TOLD),
        *(_posted(event) for event in events),
    ]
    return sorted(found, key=lambda entry: (entry.at, _ORDER.index(entry.source)))


def lines(entries: Sequence[Entry]) -> list[str]:
    """For people: the day once, then the time of day in UTC, where it comes from, `!` or `x` if it is bad, and what."""
    told = []
    for day, of_day in groupby(entries, key=lambda entry: entry.at.date()):
        told.append(f"{day} UTC")
        told += [f"{e.at:%H:%M:%S}  {e.source:<9} {MARKS[e.severity]} {e.text}" for e in of_day]
    return told


def beside(document: Mapping[str, Any], entries: Sequence[Entry]) -> list[Entry]:
    """Those to be told beside the condition Ready: without the Event that says the same as its message."""
    conditions = (document.get("status") or {}).get("conditions", ())
    said = {
        f"{condition['reason']}: {condition['message']}" for condition in conditions if condition["type"] == "Ready"
    }
    return [entry for entry in entries if entry.source != "operator" or entry.text not in said]


def rollouts(status: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The one under way, if any, and those before it, newest first."""
    current, past = status.get("deployment") or {}, list(status.get("history", ()))
    if current.get("state") not in _UNDER_WAY:
        return past
    return [{**current, **(status.get("desired") or {}), "outcome": current["state"]}, *past]


def duration(start: str | None, end: str | None) -> str:
    """`4m10s`; a dash where it has no end."""
    if not start or not end:
        return "-"
    return brief(moment(end) - moment(start))


def brief(length: timedelta) -> str:
    seconds = max(0, int(length.total_seconds()))
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days}d{hours}h"
    if hours:
        return f"{hours}h{minutes}m"
    return f"{minutes}m{seconds % 60}s" if minutes else f"{seconds}s"


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def short(text: str) -> str:
    """An ARN's or an image's last part, which is what tells it from others."""
    return text.rpartition("/")[2]


_ORDER = ("rollout", "operator", "ecs", "task", "condition")
_TOLD = ("Ready", "Degraded", "Stalled")
_UNDER_WAY = ("InProgress", "Paused")
_BAD: Mapping[str, Severity] = {"Failed": "Error", "RolledBack": "Error", "Superseded": "Warning", "Stopped": "Warning"}


def _rollouts(status: Mapping[str, Any]) -> Iterator[Entry]:
    for rollout in rollouts(status):
        what = f"rollout of generation {rollout.get('generation', '?')}"
        brings = ", ".join(
            f"{name} {short(rollout[name]) if name == 'image' else rollout[name]}"
            for name in ("image", "model")
            if rollout.get(name)
        )
        if rollout.get("startedAt"):
            text = f"{what} began" + (f": {brings}" if brings else "")
            yield Entry(at=moment(rollout["startedAt"]), source="rollout", severity="Info", text=text)
        if rollout.get("finishedAt"):
            outcome, cause = rollout.get("outcome", "ended"), rollout.get("cause")
            took = duration(rollout.get("startedAt"), rollout["finishedAt"])
            text = f"{what}: {outcome} after {took}" + (f", {cause}" if cause else "")
            severity = _BAD.get(outcome, "Info")
            yield Entry(at=moment(rollout["finishedAt"]), source="rollout", severity=severity, text=text)


_SERVICE = re.compile(r"^\(?service \(?[^\s,)]+\)?[,:]? *")
_ARN = re.compile(r"arn:aws[\w-]*:[^\s'\",)]*/([^\s'\",)]+)")


def _service_event(event: Mapping[str, Any]) -> Entry:
    text = _ARN.sub(r"\1", _SERVICE.sub("", event["message"]))
    return Entry(at=moment(event["at"]), source="ecs", severity=event.get("severity") or "Info", text=text)


def _stopped(tasks: Iterable[Mapping[str, Any]]) -> Iterator[Entry]:
    """Those that stopped one after the other for the same reason are told together, at the time of the last."""
    timed = sorted((task for task in tasks if task.get("at")), key=lambda task: str(task["at"]))

    def alike(task: Mapping[str, Any]) -> tuple[Any, ...]:
        return task.get("cause"), task.get("reason"), task.get("container"), task.get("exitCode")

    for (cause, reason, container, code), group in groupby(timed, key=alike):
        some = list(group)
        who = f"task {short(some[0]['task'])}" if len(some) == 1 else f"{len(some)} tasks"
        where = f" in {container}" if container else ""
        ended = f" (exit code {code})" if code is not None else ""
        text = f"{who} stopped: {cause or 'Unknown'}{where}{ended}" + (f". {reason}" if reason else "")
        yield Entry(at=moment(some[-1]["at"]), source="task", severity="Error" if cause else "Warning", text=text)


def _condition(condition: Mapping[str, Any]) -> Entry:
    good = condition["status"] == ("True" if condition["type"] == "Ready" else "False")
    text = f"{condition['type']} became {condition['status']}: {condition['reason']}"
    severity: Severity = "Info" if good else "Warning"
    return Entry(at=moment(condition["lastTransitionTime"]), source="condition", severity=severity, text=text)


def _posted(event: Mapping[str, Any]) -> Entry:
    series = event.get("series") or {}
    at = series.get("lastObservedTime") or event.get("eventTime") or event["metadata"]["creationTimestamp"]
    often = f" ({series['count']} times)" if series.get("count", 1) > 1 else ""
    severity: Severity = "Warning" if event.get("type") == "Warning" else "Info"
    text = f"{event.get('reason', '')}: {event.get('note') or ''}{often}"
    return Entry(at=moment(at), source="operator", severity=severity, text=text)
