"""Application Auto Scaling: moto's, looking at the live ECS, and with the error for a missing target that AWS gives.

This module must not know how a deployment proceeds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from moto.applicationautoscaling.exceptions import AWSValidationException
from moto.applicationautoscaling.responses import ApplicationAutoScalingResponse
from moto.core.exceptions import JsonRESTError

from inference_sandbox.aws.target_tracking import DIMENSION, Activity, TargetTracking


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


def responses(
    exists: Callable[[str, str, str, str], bool], tracking: TargetTracking
) -> type[ApplicationAutoScalingResponse]:
    """`exists(account, region, cluster, service)`: whether a service is ACTIVE; `tracking` knows what was scaled."""

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

        def describe_scaling_activities(self) -> Any:
            asked = json.loads(self.body)
            known = tracking.activities.get((self.current_account, self.region), [])
            found = [_activity(each) for each in known if asked.get("ResourceId") in (None, each.resource)]
            return json.dumps({"ScalingActivities": found})

    return Response


def _activity(activity: Activity) -> dict[str, Any]:
    return {
        "ActivityId": activity.identifier,
        "ServiceNamespace": "ecs",
        "ResourceId": activity.resource,
        "ScalableDimension": DIMENSION,
        "Description": activity.description,
        "Cause": activity.cause,
        "StartTime": activity.at.timestamp(),
        "EndTime": activity.at.timestamp(),
        "StatusCode": "Successful",
    }
