"""How tasks are replaced when the spec changes: within which limits, and what gives a rollout up. Knows no AWS call."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from inference_operator.api.constraints import Flag, Unique, decimal, refuse, text, whole
from inference_operator.api.model import SpecModel
from inference_operator.api.quantities import DurationRange

MINUTE = timedelta(minutes=1)
DAY = timedelta(hours=24)

_TOO_MANY_PERCENT = "a percentage is at most 100; lower value, or set type to COUNT"
_NEEDS_BREAKER = "a circuit breaker that is off has no threshold; remove threshold, or set enabled to true"


class Threshold(SpecModel):
    """How many tasks may fail."""

    type: Literal["COUNT", "BOUNDED_PERCENT", "UNBOUNDED_PERCENT"] = "BOUNDED_PERCENT"
    """COUNT: `value` tasks. UNBOUNDED_PERCENT: that percentage of the replicas, rounded up. BOUNDED_PERCENT: the same,
    but at least 3 and at most 200."""

    value: Annotated[int, whole(1, 5000)]
    """Number of tasks, or percentage of the replicas."""

    @model_validator(mode="after")
    def _a_percentage_is_one(self) -> Self:
        if self.type != "COUNT" and self.value > 100:  # noqa: PLR2004 percent
            raise refuse(_TOO_MANY_PERCENT)
        return self

    rules = (
        {
            "rule": "(has(self.type) && self.type == 'COUNT') || self.value <= 100",
            "message": _TOO_MANY_PERCENT,
            "fieldPath": ".value",
        },
    )

    def tasks(self, replicas: int) -> int:
        """Failed tasks at which a rollout of so many replicas is given up (API reference, ThresholdConfiguration)."""
        if self.type == "COUNT":
            return self.value
        share = math.ceil(self.value * replicas / 100)
        return max(1, share) if self.type == "UNBOUNDED_PERCENT" else min(200, max(3, share))


DEFAULT_THRESHOLD: Final = Threshold(value=50)
"""ECS's own."""


class CircuitBreaker(SpecModel):
    """What ECS does with a rollout whose tasks do not come up."""

    enabled: Flag = True
    """Whether ECS gives up a rollout after too many tasks failed to come up."""

    rollback: Flag = True
    """Whether a rollout that was given up is rolled back to the last one that completed."""

    threshold: Threshold | None = None
    """How many tasks may fail. Half of the replicas, at least 3 and at most 200, if absent."""

    reset_on_healthy_task: Flag = True
    """Whether a task that comes up sets the count of failed tasks back to 0."""

    @model_validator(mode="after")
    def _a_threshold_is_heeded(self) -> Self:
        if self.threshold is not None and not self.enabled:
            raise refuse(_NEEDS_BREAKER)
        return self

    rules = ({"rule": "self.enabled || !has(self.threshold)", "message": _NEEDS_BREAKER},)


class Alarms(SpecModel):
    """CloudWatch alarms that fail a rollout. One that is in alarm already when the rollout begins is not heeded."""

    names: Annotated[
        tuple[Annotated[str, *text(255, "[ -~]+", "the name of a CloudWatch alarm, such as shop-errors")], ...],
        Field(max_length=10),
        Unique(),
    ] = ()
    """Names of the alarms, which exist in the environment's region."""

    rollback: Flag = True
    """Whether a rollout that an alarm failed is rolled back to the last one that completed."""


class Rollout(SpecModel):
    """How tasks are replaced when the spec changes."""

    minimum_healthy_percent: Annotated[int, whole(0, 100)] = 100
    """Percentage of replicas, rounded up, that stay healthy during a rollout."""

    maximum_percent: Annotated[int, whole(100, 200)] = 200
    """Percentage of replicas, rounded down, that may run during a rollout."""

    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """What ECS does with a rollout whose tasks do not come up."""

    alarms: Alarms | None = None
    """CloudWatch alarms that fail a rollout."""

    progress_deadline: Annotated[timedelta, DurationRange(MINUTE, DAY)] = timedelta(minutes=30)
    """How long a rollout may take before it is told as overdue, whatever ECS says."""


def rollout_refusal(replicas: int, minimum: int, maximum: int) -> str | None:
    """Why a rollout with these percentages could never replace a task, and what would work; None if it can.

    ECS rounds the minimum up and the maximum down, and needs room to start or to stop one task.
    """
    may_run = maximum * replicas // 100
    must_stay = -(-minimum * replicas // 100)
    if replicas == 0 or may_run > replicas or must_stay < replicas:
        return None
    shortfall = -(-100 // replicas)
    return (
        f"with {replicas} replicas, minimumHealthyPercent {minimum} and maximumPercent {maximum} "
        f"leave no room to replace a task; "
        f"set maximumPercent to at least {100 + shortfall} "
        f"or minimumHealthyPercent to at most {100 - shortfall}"
    )


def room_rule() -> dict[str, str]:
    """`rollout_refusal` in CEL, for the whole spec. Division of integers cuts there, as `//` does where nothing is
    negative."""
    replicas = "(has(self.autoscaling) ? self.autoscaling.minReplicas : has(self.replicas) ? self.replicas : 1)"
    minimum, maximum = "self.rollout.minimumHealthyPercent", "self.rollout.maximumPercent"
    shortfall = f"((100 + {replicas} - 1) / {replicas})"  # one task in percent of the replicas, rounded up
    return {
        "rule": f"{replicas} == 0 || {maximum} * {replicas} / 100 > {replicas}"
        f" || ({minimum} * {replicas} + 99) / 100 < {replicas}",
        "messageExpression": f"'with ' + {decimal(replicas, 4)} + ' replicas, minimumHealthyPercent '"
        f" + {decimal(minimum, 3)} + ' and maximumPercent ' + {decimal(maximum, 3)}"
        " + ' leave no room to replace a task; set maximumPercent to at least '"
        f" + {decimal(f'(100 + {shortfall})', 3)} + ' or minimumHealthyPercent to at most '"
        f" + {decimal(f'(100 - {shortfall})', 3)}",
    }
