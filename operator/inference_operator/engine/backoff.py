"""How long to wait before the next pass."""

from __future__ import annotations

from datetime import timedelta

RESYNC = timedelta(minutes=5)
"""An object at rest: its service is looked at this often, whatever happens."""

AUDIT = timedelta(hours=1)
"""What changes only by other people's hands is looked at this often."""

AUDITS = {"LogGroup": timedelta(hours=6), "SecurityGroupRules": RESYNC}
"""By kind, where it is not that: each of a service's log groups costs a call for its tags alone; and a rule of a
security group is missed at once, if another environment that used it too takes it away."""

ROLLING = timedelta(seconds=5)
"""While tasks come up, drain or go."""

PUSHED = 3
"""Where events come, RESYNC and ROLLING are so many times as long: a safety net."""

FIRST = timedelta(seconds=2)
LONGEST = timedelta(minutes=5)


def after_failures(count: int) -> timedelta:
    """2 s, 4 s, 8 s, … to 5 min for the `count`-th failure in a row. The caller adds jitter."""
    doublings = max(0, min(count - 1, 10))
    return min(LONGEST, FIRST * (1 << doublings))
