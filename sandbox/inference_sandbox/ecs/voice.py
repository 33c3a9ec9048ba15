"""What ECS says: lines among a service's events, and events for EventBridge.

This module must not know why something is said.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any, Literal, NamedTuple

from inference_sandbox.ecs import texts
from inference_sandbox.ecs.ids import Ids
from inference_sandbox.ecs.state import Deployment, RolloutState, Service, ServiceEvent
from inference_sandbox.ecs.surroundings import Event, Settings, Surroundings
from inference_sandbox.ports import Clock


class Note(NamedTuple):
    """Something to be said of a service in one line for all tasks that it happened to."""

    kind: Literal["registered", "deregistered", "stopped"]
    group: str = ""


class Voice:
    def __init__(self, *, clock: Clock, ids: Ids, surroundings: Surroundings, settings: Settings) -> None:
        self._clock = clock
        self._ids = ids
        self._surroundings = surroundings
        self._settings = settings
        self._notes: dict[str, dict[Note, list[str]]] = defaultdict(lambda: defaultdict(list))

    # -- among the service's events

    def say(self, service: Service, message: str) -> None:
        text = f"(service {service.name}) {message}"
        service.events.appendleft(ServiceEvent(id=self._ids.uuid(), at=self._clock.now(), message=text))

    def warn(self, service: Service, message: str) -> bool:
        """Say it unless it was said within six hours and its cause still holds; whether it was said."""
        now = self._clock.now()
        last = service.said.get(message)
        if last is not None and now < last + self._settings.said_again:
            return False
        service.said[message] = now
        self.say(service, message)
        return True

    def note(self, service: Service, note: Note, subject: str) -> None:
        """To be said at the next `flush`, together with its like."""
        self._notes[service.arn][note].append(subject)

    def flush(self, service: Service) -> None:
        for note, subjects in self._notes.pop(service.arn, {}).items():
            if note.kind == "stopped":
                self.say(service, texts.stopped(subjects))
            else:
                said = texts.registered if note.kind == "registered" else texts.deregistered
                self.say(service, said(len(subjects), note.group))

    # -- to EventBridge

    def action(self, service: Service, kind: str, name: str, **more: Any) -> None:
        """An ECS Service Action."""
        detail = {
            "eventType": kind,
            "eventName": name,
            "clusterArn": service.cluster.arn,
            "createdAt": self._clock.now(),
        }
        self._publish(service, "ECS Service Action", detail | more)

    def rolled(self, deployment: Deployment, state: RolloutState, reason: str) -> None:
        """Set the rollout state and tell of it: an ECS Deployment State Change."""
        now = self._clock.now()
        deployment.rollout_state, deployment.rollout_reason, deployment.updated_at = state, reason, now
        detail = {
            "eventType": "ERROR" if state == "FAILED" else "INFO",
            "eventName": f"SERVICE_DEPLOYMENT_{state}",
            "deploymentId": deployment.id,
            "updatedAt": now,
            "reason": reason,
        }
        self._publish(deployment.service, "ECS Deployment State Change", detail)

    def _publish(self, service: Service, detail_type: str, detail: dict[str, Any]) -> None:
        self._surroundings.publish(
            Event(
                account=service.cluster.account,
                region=service.cluster.region,
                detail_type=detail_type,
                resources=[service.arn],
                detail=detail,
                at=self._clock.now(),
            )
        )
