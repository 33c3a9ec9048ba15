"""How the number of tasks follows the load and the clock. Knows no AWS call."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from inference_operator.api.constraints import Unique, refuse, text, whole
from inference_operator.api.model import SpecModel
from inference_operator.api.policy import MAXIMUM_REPLICAS
from inference_operator.api.quantities import DurationRange

_UPSIDE_DOWN: Final = "minReplicas must not be above maxReplicas; lower minReplicas or raise maxReplicas"
_NO_REASON: Final = "nothing says when to scale; set one of cpuPercent, memoryPercent, requestsPerReplica or schedules"
_ORDER: Final = {"rule": "self.minReplicas <= self.maxReplicas", "message": _UPSIDE_DOWN}
_PART: Final = "[A-Z0-9*/,#-]+"
_Cooldown = Annotated[timedelta, DurationRange(timedelta(0), timedelta(hours=1))]


def _check_order(lowest: int, highest: int) -> None:
    if lowest > highest:
        raise refuse(_UPSIDE_DOWN)


class Schedule(SpecModel):
    """Other limits from a moment on, until the next schedule."""

    name: Annotated[str, *text(40, "[a-z0-9]([a-z0-9-]*[a-z0-9])?", "lower-case letters, digits and -, such as night")]
    """Name of the schedule."""

    schedule: Annotated[
        str,
        *text(
            100,
            rf"cron\({_PART} {_PART} (\? {_PART} {_PART}|{_PART} {_PART} \?) {_PART}\)",
            "cron(minute hour day-of-month month day-of-week year) with a ? for one of the two days, "
            "such as cron(0 20 ? * MON-FRI *)",
        ),
    ]
    """When: a cron expression of Application Auto Scaling."""

    timezone: Annotated[str, *text(64, "[A-Za-z0-9+_/-]+", "the name of a time zone, such as Asia/Tokyo")] | None = None
    """Time zone of `schedule`. UTC if absent."""

    min_replicas: Annotated[int, whole(0, MAXIMUM_REPLICAS)]
    """Fewest tasks from then on."""

    max_replicas: Annotated[int, whole(0, MAXIMUM_REPLICAS)]
    """Most tasks from then on."""

    @model_validator(mode="after")
    def _is_in_order(self) -> Self:
        _check_order(self.min_replicas, self.max_replicas)
        return self

    rules = (_ORDER,)


class Autoscaling(SpecModel):
    """The number of tasks, left to Application Auto Scaling. With several measures the one that asks for most wins."""

    min_replicas: Annotated[int, whole(1, MAXIMUM_REPLICAS)] = 1
    """Fewest tasks."""

    max_replicas: Annotated[int, whole(1, MAXIMUM_REPLICAS)]
    """Most tasks."""

    cpu_percent: Annotated[int, whole(1, 100)] | None = None
    """Average use of the tasks' cpu to aim at, in percent."""

    memory_percent: Annotated[int, whole(1, 100)] | None = None
    """Average use of the tasks' memory to aim at, in percent."""

    requests_per_replica: Annotated[int, whole(1, 10_000_000)] | None = None
    """Requests a minute and task to aim at. Needs an environment with a load balancer, and the rollout strategy
    ROLLING."""

    scale_out_cooldown: _Cooldown = timedelta(minutes=1)
    """How long after tasks were added before more are: about the time that a task takes to load its models."""

    scale_in_cooldown: _Cooldown = timedelta(minutes=5)
    """How long after tasks were taken away before more are."""

    schedules: Annotated[tuple[Schedule, ...], Field(max_length=20), Unique("name")] = ()
    """Other limits at certain times, by name. From the first one on, `minReplicas` and `maxReplicas` above hold no
    longer, until they are changed."""

    @property
    def bounds(self) -> tuple[int, int]:
        """The fewest and the most tasks that any limit allows."""
        limits = [(self.min_replicas, self.max_replicas), *((s.min_replicas, s.max_replicas) for s in self.schedules)]
        return min(low for low, _ in limits), max(high for _, high in limits)

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        _check_order(self.min_replicas, self.max_replicas)
        if not (self.cpu_percent or self.memory_percent or self.requests_per_replica or self.schedules):
            raise refuse(_NO_REASON)
        return self

    rules = (
        _ORDER,
        {
            "rule": "has(self.cpuPercent) || has(self.memoryPercent) || has(self.requestsPerReplica)"
            " || (has(self.schedules) && self.schedules.size() > 0)",
            "message": _NO_REASON,
        },
    )
