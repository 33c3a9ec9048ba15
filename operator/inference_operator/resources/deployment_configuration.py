"""The `deploymentConfiguration` of CreateService and UpdateService: what is sent for a spec, and what is there. Pure.

Source of the defaults: API reference, DeploymentConfiguration and the structures that it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_operator.api.rollout import DEFAULT_THRESHOLD, Alarms, CircuitBreaker, Rollout, Threshold

_NO_ALARMS = {"alarmNames": [], "enable": False, "rollback": False}


def wanted(asked: Rollout) -> dict[str, Any]:
    """All that a spec can change is named, so that what it no longer asks for goes."""
    return {
        "minimumHealthyPercent": asked.minimum_healthy_percent,
        "maximumPercent": asked.maximum_percent,
        "deploymentCircuitBreaker": _breaker(asked.circuit_breaker),
        "alarms": _alarms(asked.alarms),
    }


def filled(have: Mapping[str, Any]) -> dict[str, Any]:
    """As DescribeServices shows it, with what it may leave out where that is the default."""
    breaker = {
        "resetOnHealthyTask": True,
        "thresholdConfiguration": _threshold(DEFAULT_THRESHOLD),
        **(have.get("deploymentCircuitBreaker") or {}),
    }
    return {**have, "deploymentCircuitBreaker": breaker, "alarms": have.get("alarms") or _NO_ALARMS}


def _breaker(asked: CircuitBreaker) -> dict[str, Any]:
    if not asked.enabled:
        return {"enable": False, "rollback": False}
    return {
        "enable": True,
        "rollback": asked.rollback,
        "resetOnHealthyTask": asked.reset_on_healthy_task,
        "thresholdConfiguration": _threshold(asked.threshold or DEFAULT_THRESHOLD),
    }


def _threshold(asked: Threshold) -> dict[str, Any]:
    return {"type": asked.type, "value": asked.value}


def _alarms(asked: Alarms | None) -> dict[str, Any]:
    if asked is None or not asked.names:
        return _NO_ALARMS
    return {"alarmNames": list(asked.names), "enable": True, "rollback": asked.rollback}
