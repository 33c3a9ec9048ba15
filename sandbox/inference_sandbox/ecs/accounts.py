"""Whose call it is, and where what the accounts have is found: clusters and their services, families of task
definitions, settings. This module must not know an operation.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from inference_sandbox.ecs.account_settings import AccountSettings
from inference_sandbox.ecs.errors import AwsError, invalid_parameter
from inference_sandbox.ecs.state import Cluster, Service
from inference_sandbox.ecs.task_definitions import Registry


@dataclass(frozen=True)
class Caller:
    account: str
    region: str
    arn: str

    @property
    def prefix(self) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:"

    def arn_of(self, kind: str, name: str) -> str:
        """The ARN of what was asked for by its name, or by its ARN."""
        return name if name.startswith("arn:") else f"{self.prefix}{kind}/{name}"


class Accounts:
    """All accounts and regions; a cluster's ARN says which it belongs to."""

    def __init__(self) -> None:
        self._clusters: dict[tuple[str, str, str], Cluster] = {}
        self._registries: dict[tuple[str, str], Registry] = {}
        self._settings: dict[tuple[str, str], AccountSettings] = {}

    def clusters(self) -> Iterable[Cluster]:
        return self._clusters.values()

    def add(self, cluster: Cluster) -> None:
        self._clusters[cluster.account, cluster.region, cluster.name] = cluster

    def find_cluster(self, caller: Caller, name: str | None) -> Cluster | None:
        short = (name or "default").rsplit("/", 1)[-1]
        return self._clusters.get((caller.account, caller.region, short))

    def cluster(self, caller: Caller, name: str | None) -> Cluster:
        found = self.find_cluster(caller, name)
        if found is None or found.status != "ACTIVE":
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return found

    def service(self, caller: Caller, cluster: str | None, name: str | None) -> Service:
        found = self.cluster(caller, cluster).services.get((name or "").rsplit("/", 1)[-1])
        if found is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        return found

    def service_of(self, caller: Caller, arn: str) -> Service | None:
        """The service in `…:service-deployment/CLUSTER/SERVICE/ID` and `…:service-revision/CLUSTER/SERVICE/ID`."""
        parts = arn.split("/")
        if len(parts) != 4:  # noqa: PLR2004 - the four parts above
            raise invalid_parameter(f"Invalid identifier: {arn}")
        cluster = self.find_cluster(caller, parts[1])
        return cluster.services.get(parts[2]) if cluster else None

    def registry(self, caller: Caller) -> Registry:
        key = (caller.account, caller.region)
        if key not in self._registries:
            self._registries[key] = Registry(*key)
        return self._registries[key]

    def settings(self, caller: Caller) -> AccountSettings:
        key = (caller.account, caller.region)
        if key not in self._settings:
            self._settings[key] = AccountSettings(f"arn:aws:iam::{caller.account}:root")
        return self._settings[key]
