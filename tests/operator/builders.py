"""Small makers of the values that the operator's tests share."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)

LISTENER = (
    "arn:aws:elasticloadbalancing:eu-west-1:222222222222:listener/app/inference/0123456789abcdef/0123456789abcdef"
)


def environment_document(name: str = "default", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ecs-inference.dev/v1alpha1",
        "kind": "InferenceEnvironment",
        "metadata": {"name": name, "uid": "e-1", "generation": 1},
        "spec": {
            "region": "eu-west-1",
            "cluster": "inference",
            "network": {"subnets": ["subnet-0123456789abcdef0"], "securityGroups": ["sg-0123456789abcdef0"]},
            "executionRoleArn": "arn:aws:iam::222222222222:role/inference-execution",
            "taskRoleArn": "arn:aws:iam::222222222222:role/inference-task",
            "models": {
                "fileSystemId": "fs-0123456789abcdef0",
                "rootDirectory": "/models",
                "posixUser": {"uid": 10001, "gid": 10001},
            },
            "loadBalancer": {"listenerArn": LISTENER, "url": "https://inference.example.com"},
            **spec,
        },
    }


def deployment_document(name: str = "recommender", namespace: str = "shop", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "ecs-inference.dev/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": name, "namespace": namespace, "uid": f"u-{name}", "generation": 1},
        "spec": {
            "image": "registry.example.com/inference-server:1.4.0",
            "models": {"path": "/recommender/1"},
            **spec,
        },
    }


def ecs_deployment(
    revision: str, *, name: str = "ecs-svc/1", status: str = "PRIMARY", state: str = "IN_PROGRESS", **members: Any
) -> dict[str, Any]:
    """One of DescribeServices' deployments."""
    return {
        "id": name,
        "status": status,
        "taskDefinition": revision,
        "rolloutState": state,
        "rolloutStateReason": f"ECS deployment {name} {state}.",
        "desiredCount": 1,
        "runningCount": 1,
        "pendingCount": 0,
        "failedTasks": 0,
        "createdAt": NOW - timedelta(minutes=5),
        "updatedAt": NOW - timedelta(minutes=1),
        **members,
    }


def ecs_service(name: str, *deployments: dict[str, Any], **members: Any) -> dict[str, Any]:
    return {
        "serviceArn": f"arn:aws:ecs:eu-west-1:222222222222:service/inference/{name}",
        "clusterArn": "arn:aws:ecs:eu-west-1:222222222222:cluster/inference",
        "serviceName": name,
        "status": "ACTIVE",
        "desiredCount": 1,
        "runningCount": 1,
        "pendingCount": 0,
        "deployments": list(deployments),
        "events": [],
        **members,
    }
