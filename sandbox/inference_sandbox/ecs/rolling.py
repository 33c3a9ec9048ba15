"""What a rolling deployment does next, as a function of counts (API reference, DeploymentConfiguration).

`plan` decides how many tasks to start and how many of which kind to stop; the scheduler chooses which ones. This module
must not know tasks, time or AWS's words.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


def lower_limit(desired: int, minimum_healthy_percent: int) -> int:
    """How many healthy tasks must remain: rounded up."""
    return math.ceil(desired * minimum_healthy_percent / 100)


def upper_limit(desired: int, maximum_percent: int) -> int:
    """How many tasks may be RUNNING or PENDING: rounded down."""
    return math.floor(desired * maximum_percent / 100)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Tasks of the deployment that completed last, while a newer one replaces it: what still serves."""

    desired: int = 0
    """How many of it the update has left so far."""
    healthy: int = 0
    pending: int = 0
    unhealthy: int = 0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Tasks that are wanted (not on their way out), by deployment and health."""

    primary_healthy: int
    primary_pending: int
    """Neither healthy nor found unhealthy yet."""
    primary_unhealthy: int
    old_healthy: int
    """Of all deployments before the PRIMARY, the source among them."""
    old_other: int
    """Not healthy, and not to be replaced if they end: neither healthy nor found unhealthy yet."""
    source: Source = field(default_factory=Source)

    @property
    def total(self) -> int:
        primary = self.primary_healthy + self.primary_pending + self.primary_unhealthy
        return primary + self.old_healthy + self.old_other + self.source.pending + self.source.unhealthy


@dataclass(frozen=True, kw_only=True)
class Plan:
    start: int = 0
    start_source: int = 0
    stop_primary_unhealthy: int = 0
    stop_primary_extra: int = 0
    stop_source_unhealthy: int = 0
    stop_source_pending: int = 0
    stop_old_other: int = 0
    stop_old_healthy: int = 0
    blocked: bool = False
    """It wants to start or stop a task and the percentages forbid both, for good."""


def plan(
    desired: int,
    counts: Counts,
    *,
    lower: int,
    upper: int,
    may_start: bool,
    may_start_source: bool = False,
    stalled: bool = False,
) -> Plan:
    """The next step of a rolling update, and of a service at rest, which is the same with nothing old.

    What the source lost by itself is replaced first, then what the PRIMARY lacks is started, both if `upper` leaves
    room. Otherwise unhealthy tasks stop to make room, then old ones, but never so many that fewer than `lower` healthy
    tasks remain. A stalled deployment replaces nothing more.
    """
    source, good = counts.source, counts.primary_healthy + counts.primary_pending
    lost = _lost(desired, counts)
    start_source = max(0, min(lost, upper - counts.total)) if may_start_source else 0
    missing = max(0, desired - good) if may_start else 0
    start = max(0, min(missing, upper - counts.total - start_source))
    short = missing - start

    unhealthy = _unhealthy_to_stop(desired, counts.primary_healthy, counts.primary_unhealthy, short)
    short = max(0, short - unhealthy)
    extra = max(0, good - desired)

    old = counts.old_healthy + counts.old_other + source.pending
    unneeded = max(0, old - max(0, desired - counts.primary_healthy))
    wanted = 0 if stalled else min(old, max(unneeded, short))
    old_other = min(wanted, counts.old_other)
    spare = counts.primary_healthy + counts.old_healthy - lower
    # A replacement in the source is to be as available as what it replaces: it stops only where a healthy one might.
    source_pending = max(0, min(wanted - old_other, source.pending, spare + source.pending))
    # Extra primary tasks stop within the same allowance; those not yet healthy are chosen first.
    extra_healthy = max(0, extra - counts.primary_pending)
    extra = min(extra, counts.primary_pending + max(0, spare))
    old_healthy = max(
        0, min(wanted - old_other - source_pending, counts.old_healthy, spare - min(extra_healthy, max(0, spare)))
    )

    left = max(0, min(source.desired, desired - counts.primary_healthy))
    source_unhealthy = _unhealthy_to_stop(left, source.healthy, source.unhealthy, lost - start_source)

    stops = unhealthy + extra + old_other + source_pending + old_healthy + source_unhealthy
    waiting = counts.primary_pending + start + source.pending + start_source > 0
    return Plan(
        start=start,
        start_source=start_source,
        stop_primary_unhealthy=unhealthy,
        stop_primary_extra=extra,
        stop_source_unhealthy=source_unhealthy,
        stop_source_pending=source_pending,
        stop_old_other=old_other,
        stop_old_healthy=old_healthy,
        blocked=missing > 0 and not start and not stops and not waiting,
    )


def _lost(desired: int, counts: Counts) -> int:
    """How many tasks of the source have ended by themselves and are still needed.

    "ECS now replaces unhealthy or terminated tasks using the same service revision they belong to" (What's New of
    November 2025, "Amazon ECS improves Service Availability during Rolling deployments").
    """
    source = counts.source
    needed = desired - counts.primary_healthy - counts.old_healthy - source.pending
    return max(0, min(source.desired - source.healthy - source.pending, needed))


def left_of_source(desired: int, counts: Counts, stopped: int) -> int:
    """How many tasks the source is to keep, now that the update has stopped so many of it."""
    source = counts.source
    remaining = max(source.healthy + source.pending - stopped, source.desired - stopped)
    return max(0, min(source.desired, remaining, desired - counts.primary_healthy))


def _unhealthy_to_stop(desired: int, healthy: int, unhealthy: int, short: int) -> int:
    """Each unhealthy task waits for its replacement's fate; where there is no room for one, it makes room.

    "The Amazon ECS scheduler uses this parameter to replace unhealthy tasks by starting replacement tasks first and
    then stopping the unhealthy tasks"; "if maximumPercent doesn't allow [it], the scheduler stops the unhealthy tasks
    one-by-one" (DeploymentConfiguration).
    """
    replaced = max(0, healthy + unhealthy - desired)
    return min(unhealthy, max(replaced, short))
