"""Looks at the services of a namespace, in Kubernetes and in ECS, until they are as they should be."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import kubernetes
from rich.console import Console

from demo import services
from demo.failure import DemoFailed
from demo.progress import progress
from demo.services import Service
from inference_sandbox.details import Details

_EVERY_SECONDS = 0.3
_PAGE = 100
"""Tasks that DescribeTasks takes at once."""


class Watch:
    """The services of a namespace. `last` is what was seen of them last, by name."""

    def __init__(self, details: Details, namespace: str, still_well: Callable[[], None]) -> None:
        """`still_well` is called while waiting; it raises what makes waiting pointless."""
        self.last: Mapping[str, Service] = {}
        self._namespace = namespace
        self._cluster = details.cluster
        self._still_well = still_well
        package: Any = kubernetes  # which has no types
        api = package.config.new_client_from_config(details.kubeconfig)
        self._objects = package.client.CustomObjectsApi(api)
        self._ecs = boto3.client(
            "ecs",
            endpoint_url=details.aws_endpoint_url,
            region_name=details.region,
            aws_access_key_id=details.aws_access_key_id,
            aws_secret_access_key=details.aws_secret_access_key,
        )

    def until_up(self, console: Console, *, seconds: float, note: Callable[[], str] = lambda: "") -> None:
        """Wait until every service is up, showing how it goes. Raises DemoFailed if one is stuck, or time is up."""

        def up() -> bool:
            stuck = [service.name for service in self.last.values() if service.is_stuck]
            if stuck:
                raise DemoFailed(f"{' and '.join(stuck)} can't go on")
            return all(service.is_up for service in self.last.values())

        if not self._until(up, console, seconds, note):
            late = [service.name for service in self.last.values() if not service.is_up]
            raise DemoFailed(f"{' and '.join(late)} did not come up within {seconds:.0f} s")

    def until_given_up(self, console: Console, name: str, *, seconds: float, note: Callable[[], str]) -> None:
        """Wait until what is asked of a service has failed and been rolled back, or was kept back. Raises DemoFailed
        if time is up."""
        if not self._until(lambda: self.last[name].is_given_up, console, seconds, note):
            raise DemoFailed(f"{name} neither failed nor was kept back within {seconds:.0f} s")

    def _until(self, so: Callable[[], bool], console: Console, seconds: float, note: Callable[[], str]) -> bool:
        """Look until it is so, showing how it goes; whether it was in time."""
        deadline = time.monotonic() + seconds
        with progress(console, self.last) as show:
            while time.monotonic() <= deadline:
                self._still_well()
                self.last = self._look()
                show(self.last, note())
                if so():
                    return True
                time.sleep(_EVERY_SECONDS)
        return False

    def conditions(self) -> Iterator[str]:
        """What was last known, a line for each condition."""
        for service in self.last.values():
            yield f"\nLast seen of {service.name}:"
            for name, condition in service.conditions.items():
                yield f"  {name:<20} {condition.status:<8} {condition.reason}: {condition.message}"

    def _look(self) -> dict[str, Service]:
        listed = self._objects.list_namespaced_custom_object(
            "ecs-inference.dev", "v1alpha1", self._namespace, "inferencedeployments"
        )
        tasks = self._tasks()
        found = (services.read(document, tasks) for document in listed["items"])
        return {service.name: service for service in found}

    def _tasks(self) -> list[Mapping[str, Any]]:
        arns = [
            arn
            for status in ("RUNNING", "STOPPED")
            for arn in self._ecs.list_tasks(cluster=self._cluster, desiredStatus=status)["taskArns"]
        ]
        if not arns:
            return []
        return [*self._ecs.describe_tasks(cluster=self._cluster, tasks=arns[:_PAGE])["tasks"]]
