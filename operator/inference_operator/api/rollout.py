"""How tasks are replaced when the spec changes: ECS's strategies, and what gives a rollout up. Knows no AWS call."""

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
DEFAULT_BAKE_TIME: Final = timedelta(minutes=5)

_TOO_MANY_PERCENT = "a percentage is at most 100; lower value, or set type to COUNT"
_NEEDS_BREAKER = "a circuit breaker that is off has no threshold; remove threshold, or set enabled to true"
_ONLY_CANARY = "canary is for the strategy CANARY; remove it, or set strategy to CANARY"
_ONLY_LINEAR = "linear is for the strategy LINEAR; remove it, or set strategy to LINEAR"
_ONLY_SHIFTING = (
    "bakeTime and pauses are for strategies that shift traffic; "
    "remove them, or set strategy to BLUE_GREEN, LINEAR or CANARY"
)

Minutes = Annotated[timedelta, DurationRange(timedelta(0), DAY, unit=MINUTE)]


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
    """What ECS does with a rollout whose tasks do not come up. For the strategy ROLLING; the others have none."""

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


class Canary(SpecModel):
    """A part of the requests goes to the new tasks first, and all of them later."""

    percent: Annotated[int, whole(1, 99)] = 5
    """Percentage of the requests that the new tasks get first."""

    bake_time: Minutes = timedelta(minutes=10)
    """How long they get only that many, in whole minutes."""


class Linear(SpecModel):
    """The new tasks get more of the requests step by step."""

    step_percent: Annotated[int, whole(3, 100)] = 10
    """Percentage of the requests that each step adds."""

    step_bake_time: Minutes = timedelta(minutes=6)
    """Time between two steps, in whole minutes."""

    @property
    def waits(self) -> timedelta:
        """Of all steps; there is none after the last."""
        return self.step_bake_time * (-(-100 // self.step_percent) - 1)


class Pause(SpecModel):
    """A place where the rollout waits for somebody."""

    stage: Literal[
        "PRE_SCALE_UP",
        "POST_SCALE_UP",
        "POST_TEST_TRAFFIC_SHIFT",
        "PRE_PRODUCTION_TRAFFIC_SHIFT",
        "POST_PRODUCTION_TRAFFIC_SHIFT",
    ]
    """Where: before or after the new tasks start, after the test listener's requests go to them, before each step of
    LINEAR and CANARY in which requests are shifted, or when all requests are."""

    timeout: Annotated[timedelta, DurationRange(MINUTE, timedelta(hours=336), unit=MINUTE)] = DAY
    """How long it waits, in whole minutes."""

    on_timeout: Literal["ROLLBACK", "CONTINUE"] = "ROLLBACK"
    """What ECS does when nobody has decided by then."""


class Rollout(SpecModel):
    """How tasks are replaced when the spec changes."""

    strategy: Literal["ROLLING", "BLUE_GREEN", "LINEAR", "CANARY"] = "ROLLING"
    """ROLLING: tasks are replaced bit by bit, and new ones serve as soon as they are healthy. The others start all new
    tasks beside the old ones and then shift the requests: BLUE_GREEN all at once, LINEAR in equal steps, CANARY a few
    first. They need the environment's `loadBalancer.infrastructureRoleArn`."""

    bake_time: Minutes | None = None
    """How long the old tasks are kept after all requests were shifted, in whole minutes. 5m if absent."""

    canary: Canary | None = None
    """How CANARY shifts: 5 percent for 10m if absent."""

    linear: Linear | None = None
    """How LINEAR shifts: 10 percent each 6m if absent."""

    pauses: Annotated[tuple[Pause, ...], Field(max_length=5), Unique("stage")] = ()
    """Where the rollout waits for the annotation `ecs-inference.dev/continue-at` or `rollback-at`."""

    minimum_healthy_percent: Annotated[int, whole(0, 100)] = 100
    """Percentage of replicas, rounded up, that stay healthy during a rollout."""

    maximum_percent: Annotated[int, whole(100, 200)] = 200
    """Percentage of replicas, rounded down, that may run during a rollout."""

    circuit_breaker: CircuitBreaker = CircuitBreaker()
    """What ECS does with a rollout whose tasks do not come up."""

    alarms: Alarms | None = None
    """CloudWatch alarms that fail a rollout."""

    progress_deadline: Annotated[timedelta, DurationRange(MINUTE, DAY)] = timedelta(minutes=30)
    """How long a rollout may take before it is told as overdue, whatever ECS says; bake times and pauses of the
    strategy come on top."""

    @property
    def shifts(self) -> bool:
        """Whether requests are shifted from the old tasks to the new ones."""
        return self.strategy != "ROLLING"

    @property
    def deadline(self) -> timedelta:
        """`progress_deadline` with the waits that the strategy has on purpose."""
        if not self.shifts:
            return self.progress_deadline
        steps = {
            "CANARY": (self.canary or Canary()).bake_time,
            "LINEAR": (self.linear or Linear()).waits,
        }.get(self.strategy, timedelta())
        bake = DEFAULT_BAKE_TIME if self.bake_time is None else self.bake_time
        return self.progress_deadline + bake + steps + sum((p.timeout for p in self.pauses), timedelta())

    @model_validator(mode="after")
    def _its_parts_fit_the_strategy(self) -> Self:
        if self.canary is not None and self.strategy != "CANARY":
            raise refuse(_ONLY_CANARY)
        if self.linear is not None and self.strategy != "LINEAR":
            raise refuse(_ONLY_LINEAR)
        if not self.shifts and (self.bake_time is not None or self.pauses):
            raise refuse(_ONLY_SHIFTING)
        return self

    rules = (
        {"rule": "!has(self.canary) || self.strategy == 'CANARY'", "message": _ONLY_CANARY},
        {"rule": "!has(self.linear) || self.strategy == 'LINEAR'", "message": _ONLY_LINEAR},
        {
            "rule": "self.strategy != 'ROLLING' || (!has(self.bakeTime)"
            " && (!has(self.pauses) || self.pauses.size() == 0))",
            "message": _ONLY_SHIFTING,
        },
    )


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
        "rule": f"{replicas} <= 0 || {maximum} * {replicas} / 100 > {replicas}"
        f" || ({minimum} * {replicas} + 99) / 100 < {replicas}",
        "messageExpression": f"'with ' + {decimal(replicas, 4)} + ' replicas, minimumHealthyPercent '"
        f" + {decimal(minimum, 3)} + ' and maximumPercent ' + {decimal(maximum, 3)}"
        " + ' leave no room to replace a task; set maximumPercent to at least '"
        f" + {decimal(f'(100 + {shortfall})', 3)} + ' or minimumHealthyPercent to at most '"
        f" + {decimal(f'(100 - {shortfall})', 3)}",
    }
