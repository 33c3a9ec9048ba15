"""CloudWatch alarms that fail a deployment (developer guide, "How CloudWatch alarms detect Amazon ECS deployment
failures").

The states come from outside; this module must not know CloudWatch, nor what follows when an alarm goes off.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from inference_sandbox.ecs.state import Deployment
from inference_sandbox.ecs.surroundings import AlarmFacts


def settings(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    return configuration.get("alarms") or {}


def are_on(configuration: Mapping[str, Any]) -> bool:
    return bool(settings(configuration).get("enable"))


def roll_back(configuration: Mapping[str, Any]) -> bool:
    return bool(settings(configuration).get("rollback"))


def shown(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """As ServiceDeployment.alarms begins."""
    if not settings(configuration):
        return {"status": "DISABLED"}
    names = list(settings(configuration).get("alarmNames") or [])
    status = "MONITORING" if are_on(configuration) else "DISABLED"
    return {"status": status, "alarmNames": names, "triggeredAlarmNames": []}


@dataclass(frozen=True)
class Watch:
    triggered: tuple[str, ...]
    bake: timedelta
    """How long to go on watching after everything has settled: AWS computes it from the alarms, and does not say how;
    here it is the longest time over which one of them looks."""


def watch(deployment: Deployment, facts: Mapping[str, AlarmFacts]) -> Watch:
    """What the alarms say of a deployment. An alarm that was in ALARM when it began is ignored for all of it."""
    if deployment.ignored_alarms is None:
        deployment.ignored_alarms = {name for name, fact in facts.items() if fact.state == "ALARM"}
    heard = {name: fact for name, fact in facts.items() if name not in deployment.ignored_alarms}
    triggered = tuple(name for name, fact in heard.items() if fact.state == "ALARM")
    return Watch(triggered, max((fact.window for fact in heard.values()), default=timedelta()))
