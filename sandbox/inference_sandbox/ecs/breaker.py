"""The deployment circuit breaker's arithmetic (developer guide, "How the Amazon ECS deployment circuit breaker detects
failures"; API reference, DeploymentCircuitBreaker and ThresholdConfiguration).

Pure functions of a deployment configuration and counts; this module must not know tasks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

DEFAULT_THRESHOLD: Mapping[str, Any] = {"type": "BOUNDED_PERCENT", "value": 50}
BOUNDED_MINIMUM, BOUNDED_MAXIMUM = 3, 200


def settings(configuration: Mapping[str, Any]) -> Mapping[str, Any]:
    return configuration.get("deploymentCircuitBreaker") or {}


def is_on(configuration: Mapping[str, Any]) -> bool:
    return bool(settings(configuration).get("enable"))


def watches(configuration: Mapping[str, Any]) -> bool:
    """Whether it is on and heeded: "only for the rolling update deployment type"."""
    return is_on(configuration) and configuration["strategy"] == "ROLLING"


def rolls_back(configuration: Mapping[str, Any]) -> bool:
    return bool(settings(configuration).get("rollback"))


def resets(configuration: Mapping[str, Any]) -> bool:
    """Whether a healthy task sets the count back to 0 (the default) or the count is cumulative."""
    return bool(settings(configuration).get("resetOnHealthyTask", True))


def threshold(configuration: Mapping[str, Any], desired: int) -> int:
    """How many failures fail a deployment, for the desired count as it is now.

    A percentage of nothing would be zero, and a deployment that fails before it begins helps nobody: at least 1.
    """
    chosen = settings(configuration).get("thresholdConfiguration") or DEFAULT_THRESHOLD
    value = int(chosen["value"])
    if chosen["type"] == "COUNT":
        return value
    share = math.ceil(value * desired / 100)
    if chosen["type"] == "UNBOUNDED_PERCENT":
        return max(1, share)
    return min(BOUNDED_MAXIMUM, max(BOUNDED_MINIMUM, share))
