"""What a rolling deployment does next, as a function of counts (API reference, DeploymentConfiguration).

`plan` decides how many tasks to start and how many of which kind to stop; the scheduler chooses which ones. This module
must not know tasks, time or AWS's words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


def lower_limit(desired: int, minimum_healthy_percent: int) -> int:
    """How many healthy tasks must remain: rounded up."""
    return math.ceil(desired * minimum_healthy_percent / 100)


def upper_limit(desired: int, maximum_percent: int) -> int:
    """How many tasks may be RUNNING or PENDING: rounded down."""
    return math.floor(desired * maximum_percent / 100)


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Tasks that are wanted (not on their way out), by deployment and health."""

    primary_healthy: int
    primary_pending: int
    """Neither healthy nor found unhealthy yet."""
    primary_unhealthy: int
    old_healthy: int
    old_other: int

    @property
    def total(self) -> int:
        return self.primary_healthy + self.primary_pending + self.primary_unhealthy + self.old_healthy + self.old_other


@dataclass(frozen=True, kw_only=True)
class Plan:
    start: int = 0
    stop_primary_unhealthy: int = 0
    stop_primary_extra: int = 0
    stop_old_other: int = 0
    stop_old_healthy: int = 0
    blocked: bool = False
    """It wants to start or stop a task and the percentages forbid both, for good."""

    @property
    def idle(self) -> bool:
        return not (
            self.start
            or self.stop_primary_unhealthy
            or self.stop_primary_extra
            or self.stop_old_other
            or self.stop_old_healthy
        )


def plan(desired: int, counts: Counts, *, lower: int, upper: int, may_start: bool, stalled: bool = False) -> Plan:
    """The next step of a rolling update, and of a service at rest, which is the same with nothing old.

    Replacements start first if `upper` leaves room. Otherwise unhealthy tasks stop to make room, then old ones, but
    never so many that fewer than `lower` healthy tasks remain. A stalled deployment replaces nothing more.
    """
    good = counts.primary_healthy + counts.primary_pending
    missing = max(0, desired - good) if may_start else 0
    start = max(0, min(missing, upper - counts.total))
    short = missing - start

    unhealthy = _unhealthy_to_stop(desired, counts, short)
    short = max(0, short - unhealthy)
    extra = max(0, good - desired)

    old = counts.old_healthy + counts.old_other
    unneeded = max(0, old - max(0, desired - counts.primary_healthy))
    wanted = 0 if stalled else min(old, max(unneeded, short))
    old_other = min(wanted, counts.old_other)
    spare = counts.primary_healthy + counts.old_healthy - lower
    # Extra primary tasks stop within the same allowance; those not yet healthy are chosen first.
    extra_healthy = max(0, extra - counts.primary_pending)
    extra = min(extra, counts.primary_pending + max(0, spare))
    old_healthy = max(0, min(wanted - old_other, counts.old_healthy, spare - min(extra_healthy, max(0, spare))))

    stops = unhealthy + extra + old_other + old_healthy
    waiting = counts.primary_pending + start > 0
    return Plan(
        start=start,
        stop_primary_unhealthy=unhealthy,
        stop_primary_extra=extra,
        stop_old_other=old_other,
        stop_old_healthy=old_healthy,
        blocked=missing > 0 and not start and not stops and not waiting,
    )


def _unhealthy_to_stop(desired: int, counts: Counts, short: int) -> int:
    """Each unhealthy task waits for its replacement's fate; where there is no room for one, it makes room.

    "The Amazon ECS scheduler uses this parameter to replace unhealthy tasks by starting replacement tasks first and
    then stopping the unhealthy tasks"; "if maximumPercent doesn't allow [it], the scheduler stops the unhealthy tasks
    one-by-one" (DeploymentConfiguration).
    """
    total = counts.primary_healthy + counts.primary_pending + counts.primary_unhealthy
    replaced = max(0, total - desired - counts.primary_pending)
    return min(counts.primary_unhealthy, max(replaced, short))
