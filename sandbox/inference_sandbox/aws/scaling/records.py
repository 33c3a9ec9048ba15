"""What exists in Application Auto Scaling: scalable targets with their policies, scheduled actions and activities.

Configurations stay documents in the shape of the API. This module must not know how a record changes.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

NAMESPACE, DIMENSION = "ecs", "ecs:service:DesiredCount"
"""All that is scaled here."""
MAXIMUM_ACTIVITIES = 1000
"""AWS keeps activities for six weeks."""


class Name(NamedTuple):
    """Which service a scalable target is."""

    account: str
    region: str
    cluster: str
    service: str

    @property
    def resource(self) -> str:
        return f"service/{self.cluster}/{self.service}"


@dataclass(eq=False, kw_only=True)
class Policy:
    arn: str
    name: str
    kind: Literal["TargetTrackingScaling", "StepScaling"]
    configuration: dict[str, Any]
    created_at: datetime
    alarms: list[str] = field(default_factory=list)
    """Names of the alarms that were made for it; those of a step scaling policy are its owner's."""


@dataclass(eq=False, kw_only=True)
class ScheduledAction:
    arn: str
    name: str
    schedule: str
    timezone: str
    start: datetime | None
    end: datetime | None
    action: dict[str, Any]
    """MinCapacity, MaxCapacity, or both."""
    created_at: datetime
    due: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Activity:
    id: str
    at: datetime
    description: str
    cause: str
    status: Literal["Successful", "NotScaled"] = "Successful"
    message: str | None = None
    reasons: tuple[dict[str, Any], ...] = ()
    """NotScaledReasons."""


@dataclass(eq=False, kw_only=True)
class Cooldown:
    """What the latest scaling in one direction leaves behind."""

    until: datetime
    before: int
    """The count before it: what was added since is part of what the next one wants."""


@dataclass(eq=False, kw_only=True)
class Target:
    name: Name
    arn: str
    minimum: int
    maximum: int
    role: str
    created_at: datetime
    suspended: dict[str, bool]
    tags: dict[str, str] = field(default_factory=dict)
    policies: dict[str, Policy] = field(default_factory=dict)
    actions: dict[str, ScheduledAction] = field(default_factory=dict)
    activities: deque[Activity] = field(default_factory=lambda: deque(maxlen=MAXIMUM_ACTIVITIES))
    """The newest first."""
    scaled_out: Cooldown | None = None
    scaled_in: Cooldown | None = None

    def clamped(self, count: int) -> int:
        return min(self.maximum, max(self.minimum, count))
