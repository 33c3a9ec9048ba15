"""Whether a service's tasks are spread evenly over its availability zones (developer guide, "Balancing an Amazon ECS
service across Availability Zones").

Pure functions of counts by zone; this module must not know tasks, nor how one is moved.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def by_zone(zones: Iterable[str], tasks: Iterable[str]) -> dict[str, int]:
    """`zones`: all that the service may use. `tasks`: the zone of each of its tasks."""
    counts = dict.fromkeys(sorted(zones), 0)
    for zone in tasks:
        counts[zone] = counts.get(zone, 0) + 1
    return counts


def moves(counts: Mapping[str, int]) -> int:
    """How many tasks have to move until no zone has two more than another."""
    least, extra = divmod(sum(counts.values()), len(counts))
    fullest_first = sorted(counts.values(), reverse=True)
    return (
        sum(max(0, least + (place < extra) - count) for place, count in enumerate(fullest_first))
        if is_uneven(counts)
        else 0
    )


def is_uneven(counts: Mapping[str, int]) -> bool:
    return bool(counts) and max(counts.values()) - min(counts.values()) > 1
