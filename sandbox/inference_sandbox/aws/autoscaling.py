"""Application Auto Scaling: moto's, looking at the live ECS, and with the error for a missing target that AWS gives.

This module must not know how a deployment proceeds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import JsonRESTError


class ObjectNotFoundException(JsonRESTError):
    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("ObjectNotFoundException", message)


class _LiveServices:
    """What moto asks of its own ECS: which of these services exist."""

    def __init__(self, exists: Callable[[str, str], bool]) -> None:
        self._exists = exists

    def describe_services(self, cluster: str, names: list[str]) -> tuple[list[str], list[str]]:
        return [name for name in names if self._exists(cluster, name)], []


def responses(exists: Callable[[str, str, str, str], bool]) -> type[ApplicationAutoScalingResponse]:
    """`exists(account, region, cluster, service)` says whether a service is ACTIVE."""

    class Response(ApplicationAutoScalingResponse):
        def register_scalable_target(self) -> Any:
            account, region = self.current_account, self.region
            backend: Any = self.applicationautoscaling_backend
            backend.ecs_backend = _LiveServices(lambda cluster, name: exists(account, region, cluster, name))
            return super().register_scalable_target()

        def deregister_scalable_target(self) -> Any:
            try:
                return super().deregister_scalable_target()
            except AWSValidationException as error:
                raise ObjectNotFoundException(str(error.message)) from error

    return Response
