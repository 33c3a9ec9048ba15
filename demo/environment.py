"""Fills in the InferenceEnvironment of `examples/environment.yaml` for the account that the sandbox has. Pure."""

from __future__ import annotations

import copy
from typing import Any

from inference_sandbox.details import Details


def environment_document(example: dict[str, Any], details: Details) -> dict[str, Any]:
    """The example with every id of it replaced, as one does by hand for an account of one's own."""
    document = copy.deepcopy(example)
    spec = document["spec"]
    spec["region"] = details.region
    spec["cluster"] = details.cluster
    spec["network"] |= {"subnets": details.subnets, "securityGroups": details.security_groups}
    spec["executionRoleArn"] = details.execution_role_arn
    spec["taskRoleArn"] = details.task_role_arn
    spec["models"]["fileSystemId"] = details.file_system_id
    spec["loadBalancer"] = {"listenerArn": details.listener_arn, "url": details.load_balancer_url}
    return document
