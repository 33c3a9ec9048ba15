"""What state a CloudWatch alarm is in, as a function of its settings and of its metric's datapoints.

Source: CloudWatch user guide, "Alarm evaluation" and "Configuring how CloudWatch alarms treat missing data". This
module must not know where datapoints come from, nor what follows from a state.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

State = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
EXTRA_DATAPOINTS = 2
"""CloudWatch looks further back than the evaluation periods before it counts a datapoint as missing, and does not say
how far; the guide's examples look at 5 for 3."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    missing: str = "missing"
    """TreatMissingData: missing, ignore, breaching or notBreaching."""

    @property
    def looks_at(self) -> int:
        """How many of the latest datapoints `state` takes."""
        return self.evaluation_periods + EXTRA_DATAPOINTS

    def breached_by(self, value: float) -> bool:
        return COMPARISONS[self.comparison](value, self.threshold)


def state(rule: Rule, datapoints: Sequence[float | None], current: State) -> State:
    """`datapoints`: the `rule.looks_at` latest ones, the newest first, None for one that is missing."""
    known = [rule.breached_by(value) for value in datapoints if value is not None][: rule.evaluation_periods]
    breaching, filled = sum(known), rule.evaluation_periods - len(known)
    if breaching >= rule.datapoints_to_alarm:
        return "ALARM"
    match rule.missing:
        case "breaching":
            return "ALARM" if breaching + filled >= rule.datapoints_to_alarm else "OK"
        case "notBreaching":
            return "OK"
    if not known:
        return "INSUFFICIENT_DATA" if rule.missing == "missing" else current
    if not filled or not all(known):
        return "OK"
    # Fewer than needed, and all of them breach: "premature" once the oldest of them is old enough.
    oldest = max(age for age, value in enumerate(datapoints, 1) if value is not None)
    return "ALARM" if rule.missing == "missing" and oldest >= rule.datapoints_to_alarm else current
