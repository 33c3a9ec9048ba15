"""Eventual consistency on request: for a while after a change, reads of a service tell what was before.

"The Amazon ECS API follows an eventual consistency model" (API reference, CreateService's relatives; guide, "Eventual
consistency"). This module must not know how long a while is good for.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from inference_sandbox.ecs.accounts import Caller
from inference_sandbox.ecs.api import Ecs
from inference_sandbox.ports import Clock

WRITES = {"CreateService": "serviceName", "UpdateService": "service", "DeleteService": "service"}
Key = tuple[str, str]
"""The caller's prefix and the service's ARN."""


class StaleReads:
    """`delay` zero (the default): reads tell the truth."""

    def __init__(self, clock: Clock, ecs: Ecs) -> None:
        self._clock = clock
        self._ecs = ecs
        self.delay = timedelta()
        self._before: dict[str, tuple[datetime, dict[str, Any] | None]] = {}

    def remember(self, caller: Caller, operation: str, request: dict[str, Any]) -> None:
        """Before a change: keep what there is."""
        if not self.delay or operation not in WRITES:
            return
        name = str(request.get(WRITES[operation]) or "").rsplit("/", 1)[-1]
        cluster = str(request.get("cluster") or "default").rsplit("/", 1)[-1]
        arn = f"{caller.prefix}service/{cluster}/{name}"
        kept = self._before.get(arn)
        if kept is None or kept[0] <= self._clock.now():
            self._before[arn] = (self._clock.now() + self.delay, self._ecs.shown(caller, cluster, name))

    def apply(self, operation: str, answer: dict[str, Any]) -> dict[str, Any]:
        """After a read: tell the old story where it is still told."""
        if not self._before or operation not in ("DescribeServices", "ListServices"):
            return answer
        now = self._clock.now()
        self._before = {arn: kept for arn, kept in self._before.items() if kept[0] > now}
        if operation == "ListServices":
            hidden = {arn for arn, (_, shown) in self._before.items() if shown is None}
            return answer | {"serviceArns": [arn for arn in answer["serviceArns"] if arn not in hidden]}
        services, failures = [], list(answer["failures"])
        for service in answer["services"]:
            kept = self._before.get(service["serviceArn"])
            if kept is None:
                services.append(service)
            elif kept[1] is None:
                failures.append({"arn": service["serviceArn"], "reason": "MISSING"})
            else:
                services.append(kept[1] | ({"tags": service["tags"]} if "tags" in service else {}))
        return answer | {"services": services, "failures": failures}
