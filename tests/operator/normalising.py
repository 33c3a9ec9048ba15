"""A status as text that is the same in each run: ids that AWS chooses are numbered, times count from a moment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import yaml

# What AWS chooses, and what it is called here.
_CHOSEN = (
    ("task", r"\b[0-9a-f]{32}\b"),
    ("token", r"\b[0-9a-f]{36}\b"),
    ("event", r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b"),
    ("rule", r"(?<=/)[0-9]{15}\b"),
    ("load-balancer-part", r"\b[0-9a-f]{16}\b"),
    ("access-point", r"\bfsap-[0-9a-f]+\b"),
    ("file-system", r"\bfs-[0-9a-f]+\b"),
    ("mount-target", r"\bfsmt-[0-9a-f]+\b"),
    ("network", r"\bvpc-[0-9a-f]+\b"),
    ("subnet", r"\bsubnet-[0-9a-f]+\b"),
    ("security-group", r"\bsg-[0-9a-f]+\b"),
    ("security-group-rule", r"\bsgr-[0-9a-f]+\b"),
    ("namespace", r"\bns-[0-9a-z]{20}\b"),
    ("discovery-service", r"\bsrv-[0-9a-z]{8}\b"),
    ("deployment", r"\becs-svc/[0-9]+\b"),
    ("service-deployment", r"(?<=/)[\w-]{21}$"),
    ("hash", r"\b[0-9a-f]{64}\b"),
    ("hash-beginning", r"(?<=hash )[0-9a-f]{12}\b"),
)
_PATTERN = re.compile("|".join(f"(?P<{name.replace('-', '_')}>{pattern})" for name, pattern in _CHOSEN), re.MULTILINE)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")


def normalised(status: Mapping[str, Any], *, since: datetime) -> str:
    """YAML; a time is the time gone by since `since`."""
    numbers: dict[str, dict[str, int]] = {}

    def renamed(match: re.Match[str]) -> str:
        kind = str(match.lastgroup)
        known = numbers.setdefault(kind, {})
        return f"<{kind.replace('_', ' ')} {known.setdefault(match[0], len(known) + 1)}>"

    def gone_by(match: re.Match[str]) -> str:
        return f"T+{datetime.fromisoformat(match[0]) - since}"

    text = yaml.safe_dump(dict(status), sort_keys=False, width=1000, allow_unicode=True)
    return _TIME.sub(gone_by, _PATTERN.sub(renamed, text))
