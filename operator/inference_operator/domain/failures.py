"""What stopped tasks and service events say, as the status tells it: ECS's own texts, and their cause. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from inference_operator.api.status import EVENTS_LIMIT
from inference_operator.api.v1alpha1 import Failure, ServiceEvent, StoppedTask
from inference_operator.domain import causes
from inference_operator.domain.causes import Cause, Severity
from inference_operator.domain.diagnosis import Fact, classify

ROUTINE = ("Scaling activity initiated by", "Availability-zone rebalancing initiated by")
"""Begins `stoppedReason` when the scheduler stops a task that it no longer needs, or moves to another zone."""

STARTED = re.compile(r"\bhas started (\d+) tasks: ")
"""Of an event. For tasks that move to another zone it has other words."""

SERVICE = re.compile(r"^\(service [^)]*\) ")
"""What every event begins with."""

ROUTER = "log_router"
"""Name of the container that routes logs."""

NO_MORE_THAN_THAT = (causes.BREAKER, causes.ROLLBACK, causes.UNKNOWN)
"""Causes of a verdict that say no more than that tasks failed."""

UNEXPLAINED_FOR = timedelta(minutes=2)
"""After its verdict ECS needs some time until the tasks that it has counted are stopped, and tell why."""

ADDED_BY_AWS = ("aws-guardduty-agent", "ecs-service-connect")
"""Begin the names of containers that AWS adds to a task by itself: in no task definition, and not what a task runs for.
GuardDuty's may fail to start or be killed last of all, "designed to not prevent the tasks from running" (GuardDuty user
guide, "How Runtime Monitoring works with Fargate")."""

NOTHING_KNOWN = "Look at status.events and status.stoppedTasks, and at the containers' log."


def stopped_task(task: Mapping[str, Any]) -> StoppedTask:
    """From one of DescribeTasks' tasks. The container told of is the one with a reason, else the one whose exit code
    says most.
    """
    guilty: Mapping[str, Any] = min(_of_the_task_definition(task.get("containers", ())), key=_innocence, default={})
    reasons = [r for r in (task.get("stoppedReason"), guilty.get("reason")) if r]
    text = "; ".join(dict.fromkeys(reasons))
    stopped = StoppedTask(
        task=task["taskArn"].rpartition("/")[2],
        at=task.get("stoppedAt"),
        stop_code=task.get("stopCode"),
        reason=text or None,
        exit_code=guilty.get("exitCode"),
        container=guilty.get("name"),
    )
    return stopped.model_copy(update={"cause": cause_of(stopped).name})


def _of_the_task_definition(containers: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    return [c for c in containers if not c.get("name", "").startswith(ADDED_BY_AWS)]


def _innocence(container: Mapping[str, Any]) -> int:
    """Of containers, the one for which it is least has most to do with why the task stopped. ECS tells of none when it
    ended; but when one has ended, it sends the others SIGTERM (143), and kills (137) those that don't heed it.
    """
    if container.get("reason"):
        return 0
    return {None: 4, 0: 4, 143: 3, 137: 2}.get(container.get("exitCode"), 1)


def cause_of(task: StoppedTask) -> Cause:
    return classify(
        Fact(
            text=task.reason or "",
            stop_code=task.stop_code,
            exit_code=task.exit_code,
            router=task.container == ROUTER,
        )
    )


def service_event(event: Mapping[str, Any]) -> ServiceEvent:
    message = event["message"]
    severity = classify(Fact(text=message)).severity
    return ServiceEvent(id=event["id"], at=event["createdAt"], message=message, severity=severity.value)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What there is to go by, of one deployment."""

    tasks: Sequence[Mapping[str, Any]]
    """The service's stopped tasks as DescribeTasks shows them, newest first."""
    events: Sequence[ServiceEvent]
    """The service's events, newest first."""
    revision: str
    deployment: str | None
    """Its id; None if it is not known any more."""
    since: datetime | None
    """When it began."""
    known: Sequence[StoppedTask] = ()
    """Stopped tasks that were told of before, newest first; they are older than those of `tasks`."""

    def stopped(self) -> list[StoppedTask]:
        """Its tasks that did not stop as a matter of routine, newest first."""
        mine = (
            stopped_task(task)
            for task in self.tasks
            if task.get("taskDefinitionArn") == self.revision and self.deployment in (None, task.get("startedBy"))
        )
        told = {task.task: task for task in (*mine, *self.known)}
        return [task for task in told.values() if not (task.reason or "").startswith(ROUTINE)]

    def told(self) -> list[tuple[Cause, str]]:
        """Events since it began, newest first, with their causes."""
        recent = [e for e in self.events if self.since is None or e.at >= self.since.replace(microsecond=0)]
        return [(classify(Fact(text=e.message)), SERVICE.sub("", e.message)) for e in recent]

    def complaints(self) -> list[tuple[Cause, str]]:
        """Those that tell of trouble."""
        return [(cause, text) for cause, text in self.told() if cause.severity is not Severity.INFO]

    def verdict(self) -> str | None:
        """What the events say of its end."""
        mine = f"(deployment {self.deployment}) deployment failed: "
        return next((e.message for e in self.events if self.deployment and mine in e.message), None)


@dataclass(frozen=True, kw_only=True)
class Trouble:
    """Why tasks of a deployment do not come up."""

    cause: Cause
    text: str | None
    tasks: Sequence[StoppedTask] = ()


def trouble(evidence: Evidence) -> Trouble | None:
    """What the newest stopped task says to which something happened; else what the newest event says that names a
    cause, such as why nothing takes the place of tasks that ended in the normal course; None if nothing does.
    """
    named = [each for each in evidence.complaints() if each[0] not in (*NO_MORE_THAN_THAT, causes.BACKOFF)]
    told = evidence.stopped()
    bad = next((task for task in told if cause_of(task).severity is not Severity.INFO), None)
    if told and (bad is not None or not named):
        worst = bad or told[0]
        cause, text = cause_of(worst), worst.reason
        if cause is causes.TARGET_UNHEALTHY:  # the load balancer's reason is in an event about the task alone
            cause, text = next((each for each in named if f"(task {worst.task})" in each[1]), (cause, text))
        return Trouble(cause=cause, text=text, tasks=[worst, *(task for task in told if task is not worst)])
    return Trouble(cause=named[0][0], text=named[0][1]) if named else None


def waits_longer(evidence: Evidence) -> bool:
    """Whether ECS has begun to wait between tries."""
    return any(cause is causes.BACKOFF for cause, _ in evidence.complaints())


def failure(evidence: Evidence, *, generation: int, verdict: str | None, at: datetime) -> Failure:
    """Why a deployment failed. `verdict` is ECS's reason for its end: if that says no more than that tasks failed, what
    they say counts.
    """
    if verdict is None or classify(Fact(text=verdict)) is causes.PROGRESS:  # as it was when it was last seen
        verdict = evidence.verdict()
    judged = Trouble(cause=classify(Fact(text=verdict or "")), text=verdict)
    found = trouble(evidence)
    told = judged
    if found is not None and judged.cause in NO_MORE_THAN_THAT:
        told = found
    elif found is not None and judged.cause is causes.ROLLBACK_REQUESTED:
        also = f"{(verdict or '').rstrip('.')}; its tasks: {found.cause.name} ({(found.text or '').rstrip('.')})"
        return _failure(evidence, replace(judged, text=also), found.cause.next_step, generation=generation, at=at)
    step = told.cause.next_step if told.text else NOTHING_KNOWN
    return _failure(evidence, told, step, generation=generation, at=at)


def unexplained(told: Failure | None, now: datetime) -> bool:
    """Whether ECS has said no more than that tasks failed, and these may still tell why."""
    if told is None or told.tasks or told.at is None or now - told.at >= UNEXPLAINED_FOR:
        return False
    return told.cause in {cause.name for cause in NO_MORE_THAN_THAT}


def _failure(evidence: Evidence, told: Trouble, step: str, *, generation: int, at: datetime) -> Failure:
    newest = told.tasks[0] if told.tasks else None
    return Failure(
        deployment=evidence.deployment,
        generation=generation,
        revision=evidence.revision,
        cause=told.cause.name,
        message=told.text,
        next_step=step,
        exit_code=newest.exit_code if newest is not None else None,
        container=newest.container if newest is not None else None,
        tasks=tuple(task.task for task in told.tasks),
        at=at,
    )


def tells_of_a_loss(events: Iterable[ServiceEvent], *, before: int, now: int, desired: int) -> bool:
    """Whether tasks have ended that were still wanted, between two looks at a service that had `before` tasks, running
    or coming up, and has `now`. `events` are those that have come since the first of the two.

    A service that was scaled in and out again between the two looks the same as one that has lost tasks.
    """
    started = 0
    for event in events:
        if event.severity != Severity.INFO.value:
            return True
        started += sum(map(int, STARTED.findall(event.message)))
    return before + started > now and (started > 0 or now < desired)


def steady_at(events: Iterable[ServiceEvent]) -> datetime | None:
    """When the service last was steady; `events` are newest first."""
    return next((event.at for event in events if classify(Fact(text=event.message)) is causes.STEADY), None)


def merged(known: Iterable[ServiceEvent], shown: Iterable[Mapping[str, Any]]) -> tuple[ServiceEvent, ...]:
    """Each event once, newest first."""
    by_id = {event.id: event for event in known}
    by_id |= {event["id"]: service_event(event) for event in islice(shown, EVENTS_LIMIT) if event["id"] not in by_id}
    return tuple(sorted(by_id.values(), key=lambda event: event.at, reverse=True))
