"""ECS as one object: its operations by their names in the API reference, and what other services ask of it directly.

This module must not know HTTP, nor how a deployment proceeds (`scheduler` does).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inference_sandbox.ecs import views
from inference_sandbox.ecs.account_settings import AccountSettings
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import AwsError
from inference_sandbox.ecs.failures import Failure
from inference_sandbox.ecs.operations import Operation
from inference_sandbox.ecs.operations.account_settings import Settings
from inference_sandbox.ecs.operations.clusters import Clusters
from inference_sandbox.ecs.operations.service_deployments import ServiceDeployments
from inference_sandbox.ecs.operations.services import Services
from inference_sandbox.ecs.operations.tags import Tags
from inference_sandbox.ecs.operations.task_definitions import TaskDefinitions
from inference_sandbox.ecs.operations.task_protection import TaskProtection
from inference_sandbox.ecs.operations.tasks import Tasks
from inference_sandbox.ecs.scheduler import Scheduler
from inference_sandbox.ecs.state import Cluster, Service
from inference_sandbox.ecs.surroundings import Surroundings

Name = tuple[str, str, str, str]
"""Account, region, cluster and service."""


class Ecs:
    def __init__(self, scheduler: Scheduler, surroundings: Surroundings) -> None:
        self.scheduler = scheduler
        self._accounts = Accounts()
        self._services = Services(self._accounts, scheduler, surroundings)
        self._tags = Tags(self._accounts)
        self.operations: Mapping[str, Operation] = {
            **Clusters(self._accounts).operations(),
            **Settings(self._accounts).operations(),
            **TaskDefinitions(self._accounts, scheduler.clock).operations(),
            **self._services.operations(),
            **ServiceDeployments(self._accounts, scheduler).operations(),
            **Tasks(self._accounts, scheduler, surroundings).operations(),
            **TaskProtection(self._accounts, scheduler).operations(),
            **self._tags.operations(),
        }

    def clusters(self) -> Iterable[Cluster]:
        return self._accounts.clusters()

    def settings(self, caller: Caller) -> AccountSettings:
        return self._accounts.settings(caller)

    def fail(self, failure: Failure) -> None:
        """Rehearse a failure with every service that its pattern matches."""
        self.scheduler.inject(failure, [each for cluster in self.clusters() for each in cluster.services.values()])

    def shown(self, caller: Caller, cluster: str, name: str) -> dict[str, Any] | None:
        """A service as DescribeServices shows it now, without its tags."""
        found = self._accounts.find_cluster(caller, cluster)
        service = found.services.get(name) if found else None
        return views.service(service) if service is not None else None

    def tags_or_none(self, caller: Caller, arn: str) -> dict[str, str]:
        """The tags of a resource; none if there is no such resource."""
        try:
            return self._tags.of(caller, arn)
        except AwsError:
            return {}

    def desired(self, name: Name) -> int | None:
        """The desired count of an ACTIVE service."""
        service = self._service(name)
        return service.desired_count if service is not None and service.status == "ACTIVE" else None

    def scale(self, name: Name, count: int) -> None:
        """Set it, as Application Auto Scaling does with its service-linked role."""
        account, region, cluster, service = name
        role = f"arn:aws:sts::{account}:assumed-role/AWSServiceRoleForApplicationAutoScaling_ECSService/autoscaling"
        caller = Caller(account, region, role)
        self._services.update_service(caller, {"cluster": cluster, "service": service, "desiredCount": count})

    def target_groups(self, name: Name) -> list[str]:
        """ARNs of the target groups that a service registers its tasks with."""
        service = self._service(name)
        balancers = service.document["loadBalancers"] if service is not None else []
        return [each["targetGroupArn"] for each in balancers if each.get("targetGroupArn")]

    def _service(self, name: Name) -> Service | None:
        account, region, cluster, service = name
        found = self._accounts.find_cluster(Caller(account, region, ""), cluster)
        return found.services.get(service) if found else None
