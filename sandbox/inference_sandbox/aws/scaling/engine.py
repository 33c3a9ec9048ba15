"""What scalable targets do to their services: at a scheduled time, or when the alarm of a policy is in ALARM.

Sources: Application Auto Scaling user guide, "How target tracking scaling works", "How step scaling works", "Cooldown
period"; ECS developer guide, "Automatically scale your Amazon ECS service". Nobody measures a sandbox's tasks: whoever
wants a service scaled by its load tells what its metric is. This module must not know the API's requests.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from inference_sandbox.aws.cloudwatch import MINUTE, CloudWatch, Fired, Metric
from inference_sandbox.aws.scaling import adjustments, metrics, schedules
from inference_sandbox.aws.scaling.records import Activity, Cooldown, Name, Policy, ScheduledAction, Target
from inference_sandbox.ecs.ids import Ids
from inference_sandbox.ports import Clock

COOLDOWN = 300
"""Seconds: the default for ECS services, out and in, and for step scaling."""


@dataclass(frozen=True)
class _Wish:
    """How many tasks a policy wants, and which alarm says so."""

    count: int
    policy: Policy
    alarm: str

    @property
    def cause(self) -> str:
        return f"monitor alarm {self.alarm} in state ALARM triggered policy {self.policy.name}"


@dataclass(kw_only=True)
class Scaling:
    """`desired` tells the count of an ACTIVE service, or None; `scale` sets it."""

    clock: Clock
    cloudwatch: CloudWatch
    desired: Callable[[Name], int | None]
    scale: Callable[[Name, int], None]
    ids: Ids = field(default_factory=Ids)
    targets: dict[Name, Target] = field(default_factory=dict)
    _given: dict[tuple[str, str], dict[str, float]] = field(default_factory=lambda: defaultdict(dict))

    # -- metrics that are given

    def give(self, cluster: str, service: str, metric: str, value: float) -> None:
        """The metric is this from now on: ECSServiceAverageCPUUtilization, ECSServiceAverageMemoryUtilization,
        ALBRequestCountPerTarget, or the name of a customized one."""
        self._given[cluster, service][metric] = value

    def publish(self) -> None:
        """Put what is given to CloudWatch, as datapoints of the minute that has ended."""
        at = self.clock.now() - MINUTE
        for target in self.targets.values():
            for metric, value in self._known(target).items():
                self.cloudwatch.put(target.name.account, target.name.region, metric, value, at)

    def _known(self, target: Target) -> Mapping[Metric, float]:
        given = self._given.get((target.name.cluster, target.name.service), {})
        found = {metrics.of_service(kind, target.name): given[kind] for kind in metrics.OF_ECS if kind in given}
        for policy in target.policies.values():
            if _is_tracking(policy):
                followed = metrics.followed(policy.configuration, target.name)
                if followed.given_as in given:
                    found[followed.metric] = given[followed.given_as]
        return found

    # -- time

    def next_due(self) -> datetime | None:
        return min((action.due for _, action in self._actions() if action.due is not None), default=None)

    def tick(self) -> None:
        now = self.clock.now()
        for target, action in self._actions():
            if action.due is not None and action.due <= now:
                self.plan(action)
                if not target.suspended["ScheduledScalingSuspended"]:
                    self._run(target, action)

    def _actions(self) -> Iterable[tuple[Target, ScheduledAction]]:
        return [(target, action) for target in self.targets.values() for action in target.actions.values()]

    def plan(self, action: ScheduledAction) -> None:
        """Set when it is due next: after now and its start, before its end. ValueError: no such expression."""
        after = max(self.clock.now(), action.start - timedelta(microseconds=1) if action.start else self.clock.now())
        anchor = action.start or action.created_at
        due = schedules.next_due(action.schedule, action.timezone, after, anchor)
        action.due = due if due is not None and (action.end is None or due <= action.end) else None

    def _run(self, target: Target, action: ScheduledAction) -> None:
        low = action.action.get("MinCapacity", target.minimum)
        high = action.action.get("MaxCapacity", target.maximum)
        if low > high:
            return
        target.minimum, target.maximum = low, high
        cause = f"scheduled action name {action.name} was triggered"
        said = f"min capacity to {low} and max capacity to {high}"
        self._note(target, f"Setting {said}", cause, message=f"Successfully set {said}")
        self.fit(target)

    def fit(self, target: Target) -> None:
        """Bring the count of an ACTIVE service within the limits (RegisterScalableTarget; ScalableTargetAction)."""
        current = self.desired(target.name)
        if current is not None and current < target.minimum:
            self._set(target, target.minimum, f"minimum capacity was set to {target.minimum}")
        elif current is not None and current > target.maximum:
            self._set(target, target.maximum, f"maximum capacity was set to {target.maximum}")

    # -- policies

    def react(self, fired: Sequence[Fired]) -> None:
        """Alarms are in ALARM: each service follows the policy that wants the most."""
        by_target: dict[Name, list[tuple[Policy, Fired]]] = defaultdict(list)
        policies = {policy.arn: (target.name, policy) for target in self.targets.values() for policy in _all(target)}
        for each in fired:
            if each.policy in policies:
                name, policy = policies[each.policy]
                by_target[name].append((policy, each))
        for name, triggered in by_target.items():
            self._follow(self.targets[name], triggered)

    def _follow(self, target: Target, triggered: Sequence[tuple[Policy, Fired]]) -> None:
        current = self.desired(target.name)
        if current is None:
            return
        outs = [wish for policy, alarm in triggered if (wish := self._wish_out(target, current, policy, alarm))]
        ins = [wish for policy, alarm in triggered if (wish := self._wish_in(target, current, policy, alarm))]
        if outs:
            self._scale_out(target, current, max(outs, key=lambda wish: wish.count))
        elif ins and self._all_ready(target, [wish.policy for wish in ins]):
            self._scale_in(target, current, max(ins, key=lambda wish: wish.count))

    def _wish_out(self, target: Target, current: int, policy: Policy, alarm: Fired) -> _Wish | None:
        """While a cooldown lasts, what it was begun with counts: only what goes beyond that is added."""
        if target.suspended["DynamicScalingOutSuspended"] or (_is_tracking(policy) and not alarm.above):
            return None
        cooldown = self._lasting(target.scaled_out)
        wanted = _wanted(policy, cooldown.before if cooldown else max(current, target.minimum), alarm)
        return _Wish(wanted, policy, alarm.alarm) if wanted is not None and wanted > current else None

    def _wish_in(self, target: Target, current: int, policy: Policy, alarm: Fired) -> _Wish | None:
        """While a cooldown lasts, nothing more is taken away."""
        if target.suspended["DynamicScalingInSuspended"] or (_is_tracking(policy) and alarm.above):
            return None
        wanted = None if self._lasting(target.scaled_in) else _wanted(policy, min(current, target.maximum), alarm)
        return _Wish(wanted, policy, alarm.alarm) if wanted is not None and wanted < current else None

    def _lasting(self, cooldown: Cooldown | None) -> Cooldown | None:
        return cooldown if cooldown is not None and self.clock.now() < cooldown.until else None

    def _all_ready(self, target: Target, ready: Sequence[Policy]) -> bool:
        """Target tracking policies take tasks away only if all of those that may are ready to."""
        tracking = [each for each in _all(target) if _is_tracking(each)]
        if not any(each in tracking for each in ready):
            return True
        return all(each in ready for each in tracking if not each.configuration.get("DisableScaleIn"))

    def _scale_out(self, target: Target, current: int, wish: _Wish) -> None:
        count = min(target.maximum, max(target.minimum, wish.count))
        if count <= current:
            self._not_scaled(target, wish, {"Code": "AlreadyAtMaxCapacity", "MaxCapacity": target.maximum})
            return
        lasting = self._lasting(target.scaled_out)
        until = self.clock.now() + _cooldown(wish.policy, "ScaleOutCooldown")
        target.scaled_out = Cooldown(until=until, before=lasting.before if lasting else current)
        target.scaled_in = None  # "the scale-in cooldown period stops and doesn't complete"
        self._set(target, count, wish.cause)

    def _scale_in(self, target: Target, current: int, wish: _Wish) -> None:
        count = max(target.minimum, wish.count)
        if count >= current:
            self._not_scaled(target, wish, {"Code": "AlreadyAtMinCapacity", "MinCapacity": target.minimum})
            return
        target.scaled_in = Cooldown(until=self.clock.now() + _cooldown(wish.policy, "ScaleInCooldown"), before=current)
        self._set(target, count, wish.cause)

    # -- what is told

    def _set(self, target: Target, count: int, cause: str) -> None:
        self.scale(target.name, count)
        message = f"Successfully set desired count to {count}. Change successfully fulfilled by ecs."
        self._note(target, f"Setting desired count to {count}.", cause, message=message)

    def _note(self, target: Target, description: str, cause: str, *, message: str) -> None:
        target.activities.appendleft(
            Activity(id=self.ids.uuid(), at=self.clock.now(), description=description, cause=cause, message=message)
        )

    def _not_scaled(self, target: Target, wish: _Wish, reason: dict[str, Any]) -> None:
        latest = target.activities[0] if target.activities else None
        if latest is None or latest.reasons != (reason,):  # the alarm fires each minute: told once
            activity = Activity(
                id=self.ids.uuid(),
                at=self.clock.now(),
                description="Attempting to scale due to alarm triggered",
                cause=wish.cause,
                status="NotScaled",
                reasons=(reason,),
            )
            target.activities.appendleft(activity)


def _all(target: Target) -> Iterable[Policy]:
    return target.policies.values()


def _is_tracking(policy: Policy) -> bool:
    return policy.kind == "TargetTrackingScaling"


def _wanted(policy: Policy, count: int, alarm: Fired) -> int | None:
    if _is_tracking(policy):
        wanted = adjustments.tracked(policy.configuration, count, alarm.value)
        return max(wanted, count + 1) if alarm.above else wanted
    return adjustments.stepped(policy.configuration, count, alarm.value - alarm.threshold, above=alarm.above)


def _cooldown(policy: Policy, member: str) -> timedelta:
    name = member if _is_tracking(policy) else "Cooldown"
    return timedelta(seconds=int(policy.configuration.get(name, COOLDOWN)))
