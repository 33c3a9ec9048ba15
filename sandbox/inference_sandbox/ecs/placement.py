"""Where the next task of a revision goes, and the record of it: capacity provider, subnet, zone, network interface.

This module must not know when a task is wanted (`scheduler` does) nor what becomes of it (`fleet` does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from inference_sandbox.ecs import views
from inference_sandbox.ecs.fleet import new_containers
from inference_sandbox.ecs.ids import Ids
from inference_sandbox.ecs.state import Cluster, Deployment, Revision, Service, Target, Task, TaskDefinition
from inference_sandbox.ecs.surroundings import Surroundings
from inference_sandbox.ports import Clock

Zones = Mapping[str, str]
"""Availability zone by subnet."""


class Placement:
    def __init__(self, *, clock: Clock, ids: Ids, surroundings: Surroundings) -> None:
        self._clock = clock
        self._ids = ids
        self._surroundings = surroundings
        self._known: dict[tuple[str, str, str], str] = {}
        """Zones of subnets, which never change, by account, region and id."""

    def zones(self, cluster: Cluster, document: Mapping[str, Any]) -> Zones:
        network = (document.get("networkConfiguration") or {}).get("awsvpcConfiguration") or {}
        return {subnet: self._zone(cluster, subnet) for subnet in network.get("subnets") or ["subnet-unknown"]}

    def _zone(self, cluster: Cluster, subnet: str) -> str:
        key = (cluster.account, cluster.region, subnet)
        found = self._known.get(key) or self._surroundings.zone(*key)
        if found is None:
            return f"{cluster.region}a"
        self._known[key] = found
        return found

    def new_task(
        self,
        cluster: Cluster,
        revision: Revision,
        zones: Zones,
        provider: str | None,
        deployment: Deployment | None = None,
    ) -> Task:
        identifier = self._ids.hex(32)
        document, definition = revision.document, revision.task_definition
        service = deployment.service if deployment else None
        subnet = _subnet(zones, deployment)
        return Task(
            arn=f"arn:aws:ecs:{cluster.region}:{cluster.account}:task/{cluster.name}/{identifier}",
            id=identifier,
            cluster=cluster,
            task_definition=definition,
            group=f"service:{service.name}" if service else f"family:{definition.family}",
            started_by=deployment.id if deployment else "",
            created_at=self._clock.now(),
            containers=new_containers(definition, cluster, identifier, self._ids),
            network=document.get("networkConfiguration") or {},
            zone=zones[subnet],
            subnet=subnet,
            eni=f"eni-{self._ids.hex(17)}",
            mac=self._ids.mac(),
            attachment=self._ids.uuid(),
            launch_type="FARGATE",
            capacity_provider=provider,
            platform_version=views.platform(document.get("platformVersion")),
            service=service,
            deployment=deployment,
            targets=_targets(document, revision.side),
            registries=document.get("serviceRegistries") or [],
            enable_execute_command=bool(service and service.document.get("enableExecuteCommand")),
            tags=_propagated(service, definition),
        )


def _subnet(zones: Zones, deployment: Deployment | None) -> str:
    """The subnet in the zone with the fewest tasks of the deployment: the scheduler spreads over zones."""
    if deployment is None or len(zones) == 1:
        return next(iter(zones))
    used = dict.fromkeys(zones.values(), 0)
    for task in deployment.tasks.values():
        if task.active and task.zone in used:
            used[task.zone] += 1
    return min(zones, key=lambda subnet: used[zones[subnet]])


def provider(document: Mapping[str, Any], deployment: Deployment | None) -> str | None:
    """Which capacity provider the next task goes to: bases first, then by weight (API reference,
    CapacityProviderStrategyItem); None for a service with a launch type."""
    strategy = document.get("capacityProviderStrategy") or []
    if not strategy:
        return None
    tasks = deployment.tasks.values() if deployment else []
    used = Counter(task.capacity_provider for task in tasks if task.active)
    for item in strategy:
        if used[item["capacityProvider"]] < item.get("base", 0):
            return str(item["capacityProvider"])
    weighted = [item for item in strategy if item.get("weight", 0) > 0] or strategy

    def load(item: Mapping[str, Any]) -> float:
        beyond = used[item["capacityProvider"]] - item.get("base", 0)
        return float((beyond + 1) / (item.get("weight") or 1))

    return str(min(weighted, key=load)["capacityProvider"])


def _targets(document: Mapping[str, Any], side: int) -> list[Target]:
    return [
        Target(group_arn=_group(each, side), container=each["containerName"], port=each["containerPort"])
        for each in document.get("loadBalancers") or []
        if each.get("targetGroupArn")
    ]


def _group(balancer: Mapping[str, Any], side: int) -> str:
    alternate = (balancer.get("advancedConfiguration") or {}).get("alternateTargetGroupArn")
    return str(alternate if side and alternate else balancer["targetGroupArn"])


def _propagated(service: Service | None, definition: TaskDefinition) -> dict[str, str]:
    if service is None:
        return {}
    source = service.document.get("propagateTags")
    tags = dict(service.tags) if source == "SERVICE" else dict(definition.tags) if source == "TASK_DEFINITION" else {}
    if service.document.get("enableECSManagedTags"):
        tags |= {"aws:ecs:clusterName": service.cluster.name, "aws:ecs:serviceName": service.name}
    return tags
