"""Throttling by the token buckets that Amazon ECS publishes ("Request throttling for the Amazon ECS API").

Each account and region has a bucket for each group of actions. This module must not know what an action does.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from inference_sandbox.ports import Clock


@dataclass(frozen=True)
class Quota:
    burst: int
    """How many tokens the bucket holds."""
    rate: int
    """How many it gets back each second."""


GROUPS: Mapping[str, tuple[Quota, frozenset[str]]] = {
    "service modify": (Quota(50, 5), frozenset({"CreateService", "UpdateService", "DeleteService"})),
    "service read": (Quota(100, 20), frozenset({"DescribeServices", "ListServices"})),
    "cluster resource modify": (Quota(100, 40), frozenset({"RunTask", "StopTask", "ExecuteCommand"})),
    "cluster resource read": (Quota(100, 20), frozenset({"DescribeTasks", "ListTasks"})),
    "task definition modify": (Quota(20, 1), frozenset({"RegisterTaskDefinition", "DeregisterTaskDefinition"})),
    "task definition read": (
        Quota(50, 20),
        frozenset({"DescribeTaskDefinition", "ListTaskDefinitions", "ListTaskDefinitionFamilies"}),
    ),
    "task definition delete": (Quota(5, 1), frozenset({"DeleteTaskDefinitions"})),
    "cluster modify": (
        Quota(20, 1),
        frozenset({"CreateCluster", "DeleteCluster", "UpdateCluster", "UpdateClusterSettings"}),
    ),
    "cluster read": (Quota(50, 20), frozenset({"DescribeClusters", "ListClusters"})),
    "capacity provider read": (Quota(50, 20), frozenset({"DescribeCapacityProviders"})),
    "settings modify": (
        Quota(10, 1),
        frozenset({"PutAccountSetting", "PutAccountSettingDefault", "DeleteAccountSetting"}),
    ),
    "settings read": (Quota(50, 20), frozenset({"ListAccountSettings"})),
    "tag modify": (Quota(20, 10), frozenset({"TagResource", "UntagResource"})),
    "tag read": (Quota(50, 20), frozenset({"ListTagsForResource"})),
    "service deployments": (Quota(50, 20), frozenset({"ListServiceDeployments", "DescribeServiceDeployments"})),
    "service revisions": (Quota(50, 20), frozenset({"DescribeServiceRevisions"})),
}
GROUP_OF = {operation: name for name, (_, operations) in GROUPS.items() for operation in operations}


class Quotas:
    """Off until `on` is set. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._buckets: dict[tuple[str, str, str], tuple[float, datetime]] = {}
        self._lock = threading.Lock()
        self.on = False

    def take(self, account: str, region: str, operation: str) -> bool:
        """Whether a call of ECS may go on; it uses up a token if so."""
        group = GROUP_OF.get(operation)
        if not self.on or group is None:
            return True
        quota, key, now = GROUPS[group][0], (account, region, group), self._clock.now()
        with self._lock:
            tokens, since = self._buckets.get(key, (float(quota.burst), now))
            tokens = min(quota.burst, tokens + quota.rate * (now - since).total_seconds())
            self._buckets[key] = (tokens - 1 if tokens >= 1 else tokens, now)
            return tokens >= 1
