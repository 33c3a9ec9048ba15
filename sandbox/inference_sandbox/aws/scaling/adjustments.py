"""How many tasks a scaling policy wants, as a function of its configuration, a metric and the count as it is.

Sources: Application Auto Scaling user guide, "How target tracking scaling works" and "How step scaling works". This
module must not know alarms, cooldowns or limits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

HUNDRED = 100


def tracked(configuration: Mapping[str, Any], count: int, value: float) -> int:
    """In proportion, so that the metric would come to its target; rounded up."""
    return math.ceil(count * value / float(configuration["TargetValue"]))


def stepped(configuration: Mapping[str, Any], count: int, breach: float, *, above: bool) -> int | None:
    """What the step for this breach (the metric less the alarm's threshold) makes of `count`; None if no step fits."""
    step = next((each for each in configuration["StepAdjustments"] if _fits(each, breach, above=above)), None)
    if step is None:
        return None
    adjustment = int(step["ScalingAdjustment"])
    match configuration["AdjustmentType"]:
        case "ExactCapacity":
            return adjustment
        case "PercentChangeInCapacity":
            change = _rounded(count * adjustment / HUNDRED)
            least = int(configuration.get("MinAdjustmentMagnitude") or 0)
            return count + int(math.copysign(max(abs(change), least), adjustment))
    return count + adjustment


def _fits(step: Mapping[str, Any], breach: float, *, above: bool) -> bool:
    """Above the threshold the lower bound is inclusive, below it the upper one is (StepAdjustment)."""
    low, high = step.get("MetricIntervalLowerBound"), step.get("MetricIntervalUpperBound")
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return low <= breach < high if above else low < breach <= high


def _rounded(change: float) -> int:
    """Values between 0 and 1 are rounded to 1, greater ones down; likewise below nought (user guide)."""
    if 0 < abs(change) < 1:
        return int(math.copysign(1, change))
    return math.trunc(change)
