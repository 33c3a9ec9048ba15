"""Which operation of ECS is which method of `ecs.api`. It must not know what an operation means."""

from __future__ import annotations

from typing import Any

from inference_sandbox.aws import json_protocol
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
    "DescribeCapacityProviders": Ecs.describe_capacity_providers,
    "PutAccountSetting": Ecs.put_account_setting,
    "PutAccountSettingDefault": Ecs.put_account_setting_default,
    "DeleteAccountSetting": Ecs.delete_account_setting,
    "ListAccountSettings": Ecs.list_account_settings,
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


def perform(ecs: Ecs, caller: Caller, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    """The answer; AwsError if AWS would refuse."""
    method = METHODS.get(operation)
    if method is None:
        raise AwsError("UnsupportedFeatureException", f"The sandbox does not perform {operation}.")
    missing = json_protocol.missing_member("ecs", operation, request)
    if missing is not None:
        raise invalid_parameter(f"{missing} can not be blank.")
    return method(ecs, caller, request)
