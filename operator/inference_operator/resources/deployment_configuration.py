"""The `deploymentConfiguration` of CreateService and UpdateService: what is sent for a spec, and what is there. Pure.

Source of the defaults: API reference, DeploymentConfiguration and the structures that it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from inference_operator.api.rollout import (
    DEFAULT_BAKE_TIME,
    DEFAULT_THRESHOLD,
    MINUTE,
    Alarms,
    Canary,
    CircuitBreaker,
    Linear,
    Pause,
    Rollout,
    Threshold,
)
from inference_operator.domain import members
from inference_operator.domain.members import Member

_NO_ALARMS = {"alarmNames": [], "enable": False, "rollback": False}


def wanted(asked: Rollout, lacking: Collection[Member] = ()) -> dict[str, Any]:
    """All that a spec can change is named, so that what it no longer asks for goes; but for what can't be sent."""
    found: dict[str, Any] = {
        "minimumHealthyPercent": asked.minimum_healthy_percent,
        "maximumPercent": asked.maximum_percent,
        "deploymentCircuitBreaker": _breaker(asked.circuit_breaker, lacking),
        "alarms": _alarms(asked.alarms),
    }
    if members.BLUE_GREEN not in lacking:
        found["strategy"] = asked.strategy
        found["lifecycleHooks"] = [_hook(pause) for pause in asked.pauses]
    return {**found, **_shifting(asked)}


def filled(have: Mapping[str, Any]) -> dict[str, Any]:
    """As DescribeServices shows it, with what it may leave out where that is the default."""
    breaker = {
        "resetOnHealthyTask": True,
        "thresholdConfiguration": _threshold(DEFAULT_THRESHOLD),
        **(have.get("deploymentCircuitBreaker") or {}),
    }
    return {
        "strategy": "ROLLING",
        "lifecycleHooks": [],
        **have,
        "deploymentCircuitBreaker": breaker,
        "alarms": have.get("alarms") or _NO_ALARMS,
    }


def is_default(threshold: Mapping[str, Any]) -> bool:
    return threshold == _threshold(DEFAULT_THRESHOLD)


def _shifting(asked: Rollout) -> dict[str, Any]:
    """What the strategy knows beside the others; what is left of another strategy does no harm."""
    if not asked.shifts:
        return {}
    bake = DEFAULT_BAKE_TIME if asked.bake_time is None else asked.bake_time
    canary, linear = asked.canary or Canary(), asked.linear or Linear()
    own: dict[str, Any] = {
        "CANARY": {
            "canaryConfiguration": {
                "canaryPercent": float(canary.percent),
                "canaryBakeTimeInMinutes": canary.bake_time // MINUTE,
            }
        },
        "LINEAR": {
            "linearConfiguration": {
                "stepPercent": float(linear.step_percent),
                "stepBakeTimeInMinutes": linear.step_bake_time // MINUTE,
            }
        },
    }.get(asked.strategy, {})
    return {"bakeTimeInMinutes": bake // MINUTE, **own}


def _hook(pause: Pause) -> dict[str, Any]:
    return {
        "targetType": "PAUSE",
        "lifecycleStages": [pause.stage],
        "timeoutConfiguration": {"timeoutInMinutes": pause.timeout // MINUTE, "action": pause.on_timeout},
    }


def _breaker(asked: CircuitBreaker, lacking: Collection[Member]) -> dict[str, Any]:
    if not asked.enabled:
        return {"enable": False, "rollback": False}
    found: dict[str, Any] = {"enable": True, "rollback": asked.rollback}
    if members.RESET not in lacking:
        found["resetOnHealthyTask"] = asked.reset_on_healthy_task
    if members.THRESHOLD not in lacking:
        found["thresholdConfiguration"] = _threshold(asked.threshold or DEFAULT_THRESHOLD)
    return found


def _threshold(asked: Threshold) -> dict[str, Any]:
    return {"type": asked.type, "value": asked.value}


def _alarms(asked: Alarms | None) -> dict[str, Any]:
    if asked is None or not asked.names:
        return _NO_ALARMS
    return {"alarmNames": list(asked.names), "enable": True, "rollback": asked.rollback}
