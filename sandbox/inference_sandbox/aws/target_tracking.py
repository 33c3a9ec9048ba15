"""Application Auto Scaling for ECS services: target tracking on metrics that it is given.

moto keeps the scalable targets and policies; acting on them is here. Nobody measures a sandbox's tasks: whoever wants
a service scaled tells what its metric is. Sources: Application Auto Scaling user guide, "Target tracking scaling
policies" and "How target tracking scaling works". This module must not know how a service changes its count.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from moto.applicationautoscaling.models import applicationautoscaling_backends

from inference_sandbox.ports import Clock

DIMENSION = "ecs:service:DesiredCount"
PERIOD = timedelta(minutes=1)
DATAPOINTS_OUT, DATAPOINTS_IN = 3, 15
"""The alarms that target tracking makes look at 3 minutes above the target, and at 15 below nine tenths of it."""
SLACK = 0.9
COOLDOWN = timedelta(seconds=300)
"""The default for ECS services, out and in."""

Name = tuple[str, str, str, str]
"""Account, region, cluster, service."""


@dataclass
class _Watched:
    above: int = 0
    below: int = 0
    scaled_out: datetime | None = None
    scaled_in: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Activity:
    identifier: str
    resource: str
    description: str
    cause: str
    at: datetime


@dataclass(kw_only=True)
class TargetTracking:
    """`desired` tells the count of an ACTIVE service, or None; `scale` sets it."""

    clock: Clock
    desired: Callable[[Name], int | None]
    scale: Callable[[Name, int], None]
    activities: dict[tuple[str, str], list[Activity]] = field(default_factory=dict)
    """By account and region, newest first."""
    _metrics: dict[tuple[str, str, str], float] = field(default_factory=dict)
    _watched: dict[tuple[Name, str], _Watched] = field(default_factory=dict)
    _next: datetime | None = None

    def give(self, cluster: str, service: str, metric: str, value: float) -> None:
        """The metric is this from now on: ECSServiceAverageCPUUtilization, ECSServiceAverageMemoryUtilization,
        ALBRequestCountPerTarget, or the name of a customized one."""
        self._metrics[cluster, service, metric] = value

    def next_due(self) -> datetime | None:
        """Once a minute, while there is anything to scale."""
        if not any(True for _ in self._targets()):
            self._next = None
        elif self._next is None:
            self._next = self.clock.now() + PERIOD
        return self._next

    def tick(self) -> None:
        due = self.next_due()
        if due is None or self.clock.now() < due:
            return
        self._next = self.clock.now() + PERIOD
        for name, target, policies in self._targets():
            self._evaluate(name, target, policies)

    def _targets(self) -> Iterator[tuple[Name, Any, list[Any]]]:
        for account, regions in list(applicationautoscaling_backends.items()):
            for region, backend in list(regions.items()):
                for resource, target in backend.targets.get(DIMENSION, {}).items():
                    _, cluster, service = resource.split("/")
                    policies = [
                        policy
                        for policy in backend.policies.values()
                        if policy.resource_id == resource and policy.policy_type == "TargetTrackingScaling"
                    ]
                    yield (account, region, cluster, service), target, policies

    def _evaluate(self, name: Name, target: Any, policies: list[Any]) -> None:
        current = self.desired(name)
        if current is None:
            return
        low, high = int(target.min_capacity), int(target.max_capacity)
        if not low <= current <= high:
            self._set(name, current, min(high, max(low, current)), "the count was outside its minimum and maximum")
            return
        wanted = [(self._wanted(name, policy, current), policy) for policy in policies]
        outs = [(count, policy) for count, policy in wanted if count > current]
        suspended = target.suspended_state or {}
        if outs and not suspended.get("DynamicScalingOutSuspended"):
            count, policy = max(outs, key=lambda each: each[0])
            self._watched[name, policy.policy_name].scaled_out = self.clock.now()
            self._set(name, current, min(high, count), f"policy {policy.policy_name} is above its target")
        elif wanted and all(count < current for count, _ in wanted) and not suspended.get("DynamicScalingInSuspended"):
            count, policy = max(wanted, key=lambda each: each[0])  # the policy that wants to keep the most decides
            self._watched[name, policy.policy_name].scaled_in = self.clock.now()
            self._set(name, current, max(low, count), f"policy {policy.policy_name} is below its target")

    def _wanted(self, name: Name, policy: Any, current: int) -> int:
        """How many tasks the policy wants, after its alarms have looked long enough and its cooldown is over."""
        body = policy.target_tracking_scaling_policy_configuration
        value = self._metrics.get((name[2], name[3], _metric(body)))
        watched = self._watched.setdefault((name, policy.policy_name), _Watched())
        if value is None:
            return current
        goal = float(body["TargetValue"])
        watched.above = watched.above + 1 if value > goal else 0
        watched.below = watched.below + 1 if value < SLACK * goal else 0
        proportional = math.ceil(current * value / goal)
        if watched.above >= DATAPOINTS_OUT and self._cool(watched.scaled_out, body.get("ScaleOutCooldown")):
            return max(current + 1, proportional)
        may_shrink = not body.get("DisableScaleIn") and self._cool(watched.scaled_in, body.get("ScaleInCooldown"))
        if watched.below >= DATAPOINTS_IN and may_shrink:
            return min(current - 1, proportional)
        return current

    def _cool(self, since: datetime | None, seconds: int | None) -> bool:
        wait = COOLDOWN if seconds is None else timedelta(seconds=seconds)
        return since is None or self.clock.now() >= since + wait

    def _set(self, name: Name, current: int, count: int, cause: str) -> None:
        if count == current:
            return
        self.scale(name, count)
        account, region, cluster, service = name
        activity = Activity(
            identifier=str(uuid.uuid4()),
            resource=f"service/{cluster}/{service}",
            description=f"Setting desired count to {count}.",
            cause=cause,
            at=self.clock.now(),
        )
        self.activities.setdefault((account, region), []).insert(0, activity)


def _metric(body: dict[str, Any]) -> str:
    predefined = body.get("PredefinedMetricSpecification") or {}
    customized = body.get("CustomizedMetricSpecification") or {}
    return str(predefined.get("PredefinedMetricType") or customized.get("MetricName"))
