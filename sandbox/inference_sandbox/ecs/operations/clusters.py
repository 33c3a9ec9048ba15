"""Clusters, and what capacity providers they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inference_sandbox.ecs import requests, views
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import AwsError, invalid_parameter
from inference_sandbox.ecs.operations import Operation, Request, Response
from inference_sandbox.ecs.paging import page
from inference_sandbox.ecs.state import Cluster
from inference_sandbox.ecs.task_definitions import tags_from


class Clusters:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateCluster": self.create_cluster,
            "DescribeClusters": self.describe_clusters,
            "ListClusters": self.list_clusters,
            "UpdateCluster": self.update_cluster,
            "UpdateClusterSettings": self.update_cluster_settings,
            "PutClusterCapacityProviders": self.put_cluster_capacity_providers,
            "DeleteCluster": self.delete_cluster,
            "DescribeCapacityProviders": self.describe_capacity_providers,
        }

    def create_cluster(self, caller: Caller, request: Request) -> Response:
        name = request.get("clusterName") or "default"
        record = self._accounts.find_cluster(caller, name)
        if record is None or record.status == "INACTIVE":
            _check_providers(request.get("capacityProviders") or [])
            insights = self._accounts.settings(caller).effective(caller.arn, "containerInsights")
            record = Cluster(
                arn=f"{caller.prefix}cluster/{name}",
                name=name,
                account=caller.account,
                region=caller.region,
                settings=request.get("settings") or [{"name": "containerInsights", "value": insights}],
                configuration=request.get("configuration"),
                capacity_providers=request.get("capacityProviders") or [],
                default_strategy=request.get("defaultCapacityProviderStrategy") or [],
                service_connect_defaults=request.get("serviceConnectDefaults"),
                tags=tags_from(request.get("tags")),
            )
            self._accounts.add(record)
        return {"cluster": views.cluster(record) | {"tags": views.tag_list(record.tags)}}

    def describe_clusters(self, caller: Caller, request: Request) -> Response:
        names = request.get("clusters") or ["default"]
        if len(names) > 100:  # noqa: PLR2004 - "up to 100 cluster names"
            raise invalid_parameter("clusters can have at most 100 items.")
        found, failures = [], []
        for name in names:
            record = self._accounts.find_cluster(caller, name)
            if record is None:
                failures.append({"arn": caller.arn_of("cluster", name), "reason": "MISSING"})
                continue
            shown = views.cluster(record)
            if "TAGS" in (request.get("include") or []):
                shown["tags"] = views.tag_list(record.tags)
            found.append(shown)
        return {"clusters": found, "failures": failures}

    def list_clusters(self, caller: Caller, request: Request) -> Response:
        arns = [
            each.arn
            for each in self._accounts.clusters()
            if (each.account, each.region) == (caller.account, caller.region) and each.status == "ACTIVE"
        ]
        return page(arns, request, "clusterArns", 100)

    def update_cluster(self, caller: Caller, request: Request) -> Response:
        record = self._accounts.cluster(caller, request.get("cluster"))
        record.settings = request.get("settings") or record.settings
        record.configuration = request.get("configuration") or record.configuration
        record.service_connect_defaults = request.get("serviceConnectDefaults") or record.service_connect_defaults
        return {"cluster": views.cluster(record)}

    def update_cluster_settings(self, caller: Caller, request: Request) -> Response:
        record = self._accounts.cluster(caller, request.get("cluster"))
        record.settings = request["settings"]
        return {"cluster": views.cluster(record)}

    def put_cluster_capacity_providers(self, caller: Caller, request: Request) -> Response:
        record = self._accounts.cluster(caller, request.get("cluster"))
        providers, strategy = request["capacityProviders"], request["defaultCapacityProviderStrategy"]
        for item in strategy:
            if item["capacityProvider"] not in providers:
                raise invalid_parameter(
                    f"The specified capacity provider {item['capacityProvider']} is not associated with the cluster."
                )
        _check_providers(providers)
        used = {task.capacity_provider for task in record.tasks.values() if task.last_status != "STOPPED"}
        for name in record.capacity_providers:
            if name not in providers and name in used:
                raise AwsError(
                    "ResourceInUseException", "The specified capacity provider is in use and cannot be removed."
                )
        record.capacity_providers, record.default_strategy = providers, strategy
        return {"cluster": views.cluster(record)}

    def delete_cluster(self, caller: Caller, request: Request) -> Response:
        record = self._accounts.cluster(caller, request.get("cluster"))
        if any(service.status != "INACTIVE" for service in record.services.values()):
            raise AwsError(
                "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."
            )
        if any(task.last_status != "STOPPED" for task in record.tasks.values()):
            raise AwsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        record.status = "INACTIVE"
        return {"cluster": views.cluster(record)}

    def describe_capacity_providers(self, caller: Caller, request: Request) -> Response:
        """Those of Fargate, which every account has; with `cluster`, those associated with it."""
        known: Iterable[str] = requests.FARGATE_PROVIDERS
        if request.get("cluster"):
            known = self._accounts.cluster(caller, request["cluster"]).capacity_providers
        asked = [name.rsplit("/", 1)[-1] for name in request.get("capacityProviders") or known]
        found = [views.capacity_provider(caller.prefix, name) for name in asked if name in known]
        missing = [name for name in asked if name not in known]
        failures = [{"arn": f"{caller.prefix}capacity-provider/{name}", "reason": "MISSING"} for name in missing]
        return page(found, request, "capacityProviders", 10) | {"failures": failures}


def _check_providers(names: Iterable[str]) -> None:
    for name in names:
        if name not in requests.FARGATE_PROVIDERS:
            raise invalid_parameter(f"The specified capacity provider {name} does not exist or is not ACTIVE.")
