"""ECS over HTTP: the JSON protocol around `ecs.api`. It must not know what an operation means."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from botocore.model import OperationModel, ServiceModel

from inference_sandbox.ecs.api import Caller, Ecs
from inference_sandbox.ecs.errors import AwsError, invalid_parameter

METHODS = {
    "CreateCluster": Ecs.create_cluster,
    "DescribeClusters": Ecs.describe_clusters,
    "ListClusters": Ecs.list_clusters,
    "UpdateCluster": Ecs.update_cluster,
    "UpdateClusterSettings": Ecs.update_cluster_settings,
    "PutClusterCapacityProviders": Ecs.put_cluster_capacity_providers,
    "DeleteCluster": Ecs.delete_cluster,
    "RegisterTaskDefinition": Ecs.register_task_definition,
    "DescribeTaskDefinition": Ecs.describe_task_definition,
    "DeregisterTaskDefinition": Ecs.deregister_task_definition,
    "DeleteTaskDefinitions": Ecs.delete_task_definitions,
    "ListTaskDefinitions": Ecs.list_task_definitions,
    "ListTaskDefinitionFamilies": Ecs.list_task_definition_families,
    "CreateService": Ecs.create_service,
    "UpdateService": Ecs.update_service,
    "DeleteService": Ecs.delete_service,
    "DescribeServices": Ecs.describe_services,
    "ListServices": Ecs.list_services,
    "ListServiceDeployments": Ecs.list_service_deployments,
    "DescribeServiceDeployments": Ecs.describe_service_deployments,
    "DescribeServiceRevisions": Ecs.describe_service_revisions,
    "StopServiceDeployment": Ecs.stop_service_deployment,
    "ContinueServiceDeployment": Ecs.continue_service_deployment,
    "RunTask": Ecs.run_task,
    "DescribeTasks": Ecs.describe_tasks,
    "ListTasks": Ecs.list_tasks,
    "StopTask": Ecs.stop_task,
    "ExecuteCommand": Ecs.execute_command,
    "UpdateTaskProtection": Ecs.update_task_protection,
    "GetTaskProtection": Ecs.get_task_protection,
    "TagResource": Ecs.tag_resource,
    "UntagResource": Ecs.untag_resource,
    "ListTagsForResource": Ecs.list_tags_for_resource,
}


def perform(ecs: Ecs, model: ServiceModel, caller: Caller, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """The answer; AwsError if AWS would refuse."""
    method = METHODS.get(operation)
    if method is None:
        raise AwsError("UnsupportedFeatureException", f"The sandbox does not perform {operation}.")
    _check_required(model.operation_model(operation), request)
    return method(ecs, caller, request)


def body(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, default=_timestamp).encode()


def error_body(error: AwsError) -> bytes:
    return json.dumps({"__type": error.code, "message": error.message, **error.members}).encode()


def _check_required(model: OperationModel, request: dict[str, Any]) -> None:
    """boto3 checks this before it sends; another client may not."""
    shape = model.input_shape
    for name in shape.required_members if shape is not None else ():
        if request.get(name) is None:
            raise invalid_parameter(f"{name} can not be blank.")


def _timestamp(value: object) -> float:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is not a value of the API")
    return round(value.timestamp(), 3)
