"""A service and its scaling -> what a spec says of how many tasks there are and how they are replaced. Pure; the
reverse of `resources.service_input`, `deployment_configuration`, `scalable_target` and `scaling_policies`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

from inference_operator.api.meta import TAG_PREFIX
from inference_operator.api.quantities import format_duration
from inference_operator.api.rollout import DEFAULT_BAKE_TIME, MINUTE, Canary, Linear
from inference_operator.aws.ports import Answer
from inference_operator.engine.importing.live import Live, Scaled
from inference_operator.engine.importing.tasks import Members
from inference_operator.resources import deployment_configuration
from inference_operator.resources.scalable_target import PREFIX, SWITCHES
from inference_operator.resources.scaling_policies import TRACKING, measure_of

COOLDOWN = 300
"""Seconds, where a policy on an ECS service has none (API_TargetTrackingScalingPolicyConfiguration)."""
MEASURES = {"cpu": "cpuPercent", "memory": "memoryPercent", "requests": "requestsPerReplica"}


def members(live: Live) -> Members:
    service = live.service
    rollout = _rollout(service.get("deploymentConfiguration") or {})
    balances, rebalanced = rollout["maximumPercent"] > 100, service.get("availabilityZoneRebalancing") == "ENABLED"  # noqa: PLR2004 percent
    return {
        **_count(live),
        "capacity": [
            {"provider": one["capacityProvider"], "base": one.get("base") or None, "weight": one.get("weight") or None}
            for one in service.get("capacityProviderStrategy") or ()
        ],
        "platformVersion": service.get("platformVersion"),
        "availabilityZoneRebalancing": None if rebalanced == balances else rebalanced,
        "rollout": rollout,
        "tags": [
            {"key": key, "value": value}
            for key, value in sorted(live.tags.items())
            if not key.startswith(("aws:", TAG_PREFIX))
        ],
    }


def _count(live: Live) -> Members:
    desired = live.service["desiredCount"]
    scaling = autoscaling(live.scaled) if live.scaled is not None else None
    if scaling is not None:
        suspended = desired == 0 and all((live.scaled.target.get("SuspendedState") or {}).get(s) for s in SWITCHES)  # type: ignore[union-attr]  # it is not None
        return {"autoscaling": scaling, "suspend": suspended}
    return {"replicas": desired if desired != 1 else None}


def autoscaling(scaled: Scaled) -> Members | None:
    """None where nothing is scaled by what a spec can name."""
    tracked = {measure: p[TRACKING] for p in scaled.policies if (measure := measure_of(p)) is not None}
    schedules = [_schedule(action) for action in scaled.actions]
    if not tracked and not schedules:
        return None
    first: Mapping[str, Any] = next(iter(tracked.values()), {})
    cooldowns = {"scaleOutCooldown": "ScaleOutCooldown", "scaleInCooldown": "ScaleInCooldown"}
    return {
        "minReplicas": max(1, scaled.target["MinCapacity"]),
        "maxReplicas": max(1, scaled.target["MaxCapacity"]),
        **{MEASURES[measure]: int(settings["TargetValue"]) for measure, settings in tracked.items()},
        **({ours: _duration(first.get(theirs, COOLDOWN)) for ours, theirs in cooldowns.items()} if tracked else {}),
        "schedules": schedules,
    }


def _schedule(action: Answer) -> Members:
    limits = action.get("ScalableTargetAction") or {}
    return {
        "name": action["ScheduledActionName"].removeprefix(PREFIX),
        "schedule": action["Schedule"],
        "timezone": None if action.get("Timezone") == "UTC" else action.get("Timezone"),
        "minReplicas": limits.get("MinCapacity"),
        "maxReplicas": limits.get("MaxCapacity"),
    }


def _rollout(given: Mapping[str, Any]) -> Members:
    shown = deployment_configuration.filled(given)
    strategy, alarms = shown["strategy"], shown["alarms"]
    return {
        "strategy": strategy,
        "minimumHealthyPercent": shown.get("minimumHealthyPercent", 100),
        "maximumPercent": shown.get("maximumPercent", 200),
        "circuitBreaker": _breaker(shown["deploymentCircuitBreaker"]),
        "alarms": {"names": alarms["alarmNames"], "rollback": alarms["rollback"]} if alarms["enable"] else None,
        "pauses": list(_pauses(shown["lifecycleHooks"])),
        **_shifting(strategy, shown),
    }


def _breaker(shown: Mapping[str, Any]) -> Members:
    if not shown["enable"]:
        return {"enabled": False}
    threshold = shown["thresholdConfiguration"]
    return {
        "enabled": True,
        "rollback": shown["rollback"],
        "resetOnHealthyTask": shown["resetOnHealthyTask"],
        "threshold": None if deployment_configuration.is_default(threshold) else dict(threshold),
    }


def _shifting(strategy: str, shown: Mapping[str, Any]) -> Members:
    """What the strategy has beside the others; its defaults need not be said."""
    if strategy == "ROLLING":
        return {}
    bake = timedelta(minutes=shown.get("bakeTimeInMinutes", DEFAULT_BAKE_TIME // MINUTE))
    found: Members = {"bakeTime": None if bake == DEFAULT_BAKE_TIME else format_duration(bake)}
    if strategy == "CANARY":
        canary = shown["canaryConfiguration"]
        share = {"percent": int(canary["canaryPercent"]), "bakeTime": _minutes(canary["canaryBakeTimeInMinutes"])}
        found["canary"] = None if Canary.model_validate(share) == Canary() else share
    if strategy == "LINEAR":
        linear = shown["linearConfiguration"]
        step = {"stepPercent": int(linear["stepPercent"]), "stepBakeTime": _minutes(linear["stepBakeTimeInMinutes"])}
        found["linear"] = None if Linear.model_validate(step) == Linear() else step
    return found


def _pauses(hooks: Sequence[Mapping[str, Any]]) -> Iterator[Members]:
    """One for each stage: a spec has one stage to a pause."""
    for hook in hooks:
        if hook.get("targetType") == "PAUSE":
            waits = hook.get("timeoutConfiguration") or {}
            found = {"timeout": _minutes(waits.get("timeoutInMinutes")), "onTimeout": waits.get("action")}
            yield from ({"stage": stage, **found} for stage in hook["lifecycleStages"])


def _minutes(count: float | None) -> str | None:
    return None if count is None else format_duration(timedelta(minutes=count))


def _duration(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))
