"""How a script in another environment says which points of the protocol hold with its client.

Imported where nothing of this project is installed: the standard library alone.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable

Check = Callable[[str], None]
_checks: list[Check] = []


def point(check: Check) -> Check:
    """A function that is given the server's URL and raises if its name is not true."""
    _checks.append(check)
    return check


def expect(actual: object, wanted: object) -> None:
    if actual != wanted:
        raise AssertionError(f"{actual!r} is not {wanted!r}")


def run() -> None:
    """Print a JSON object: each point, and null or how it failed."""
    outcome: dict[str, str | None] = {}
    for check in _checks:
        try:
            check(sys.argv[1])
        except Exception:  # noqa: BLE001  (any failure is a finding, and the next point is still of interest)
            outcome[check.__name__] = traceback.format_exc()
        else:
            outcome[check.__name__] = None
    print(json.dumps(outcome))  # noqa: T201  (how it tells)
