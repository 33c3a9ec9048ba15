"""What a new version of the operator must not change: for the same spec, what tasks are made of.

If it did, each service in each cluster would be rolled out at the operator's upgrade. A change that is worth that
changes the hashes here, and is told in the notes of its version.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.aws.offline import Offline
from inference_operator.domain.names import Identity
from inference_operator.resources import service_input
from inference_operator.resources.base import Context, Fact
from inference_operator.resources.task_definition import TaskDefinitions, Want
from tests.operator.builders import NOW, deployment_document, environment_document

LOGS: dict[str, Any] = {
    "destinations": {
        "errors": {"cloudWatchLogs": {"logGroup": "/errors/{namespace}"}},
        "archive": {"s3": {"bucket": "logs-of-inference"}},
    },
    "router": {"image": "222222222222.dkr.ecr.eu-west-1.amazonaws.com/router:1"},
}
PLAIN: dict[str, Any] = {}
ROUTED: dict[str, Any] = {
    "logging": {
        "routes": [{"match": {"levels": ["ERROR"]}, "to": ["errors"]}, {"to": ["archive"]}],
        "redact": ["authorization"],
    }
}
FULL: dict[str, Any] = {
    "cpu": "2",
    "memory": "8Gi",
    "architecture": "ARM64",
    "replicas": 3,
    "env": [{"name": "STAGE", "value": "production"}],
    "sidecars": [{"name": "proxy", "image": "registry.example.com/proxy:1"}],
    "rollout": {"circuitBreaker": {"threshold": {"type": "COUNT", "value": 3}}, "minimumHealthyPercent": 100},
    "health": {"startup": "2m"},
    "ephemeralStorage": "40Gi",
}


def context(environment: dict[str, Any], spec: dict[str, Any]) -> Context:
    return Context(
        identity=Identity(namespace="shop", name="recommender", uid="u-1"),
        environment=InferenceEnvironmentSpec.model_validate(environment_document(**environment)["spec"]),
        aws=Offline("eu-west-1").aws(),
        now=NOW,
        freshness=timedelta(),
        facts={fact: f"<{fact.value}>" for fact in Fact},
        spec=InferenceDeploymentSpec.model_validate(deployment_document(**spec)["spec"]),
        generation=1,
    )


def hashes(ctx: Context) -> tuple[str, str]:
    """Of the revision, and of what a deployment was asked for."""
    want = TaskDefinitions().desire(ctx)
    assert isinstance(want, Want)
    return want.hash[:12], service_input.asked_hash(ctx, service_input.settings(ctx))[:12]


@pytest.mark.parametrize(
    ("environment", "spec", "tasks", "deployment"),
    [
        pytest.param({}, PLAIN, "6320c51b1b87", "277bddf5da66", id="plain"),
        pytest.param({"logging": LOGS}, ROUTED, "fb2391b1020d", "2508b3a041ae", id="routed logs"),
        pytest.param({}, FULL, "5b5bb697ad6e", "0b11dd4351f0", id="full"),
    ],
)
def test_the_same_spec_is_the_same_revision_and_the_same_deployment(
    environment: dict[str, Any], spec: dict[str, Any], tasks: str, deployment: str
) -> None:
    assert hashes(context(environment, spec)) == (tasks, deployment)


def test_a_field_that_has_its_default_is_no_other_spec() -> None:
    silent = context({}, PLAIN)
    said = context({}, {"replicas": 1, "cpu": "1", "memory": "2Gi", "health": {"path": "/readyz"}})
    assert TaskDefinitions().desire(said) == TaskDefinitions().desire(silent)
    assert hashes(said) == hashes(silent)
