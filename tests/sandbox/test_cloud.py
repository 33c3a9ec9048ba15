"""The cloud that other tests stand on, in their own process: fresh for each of them, and complete."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from inference_sandbox.cloud import LiveCloud
    from inference_sandbox.pytest_plugin import Sandbox


@pytest.mark.parametrize("turn", ["first", "second"])
def test_each_test_has_an_account_that_nobody_has_built_in(cloud: LiveCloud, turn: str) -> None:
    """In either turn, whatever the other has left."""
    ecs = cloud.aws.client("ecs", cloud.details.region)
    assert ecs.list_task_definitions()["taskDefinitionArns"] == []
    assert list(Path(cloud.details.models_dir).iterdir()) == []
    (Path(cloud.details.models_dir) / turn).mkdir()
    ecs.register_task_definition(
        family=turn,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "app", "image": "registry.example.com/app:1"}],
    )


def test_the_sandbox_of_a_test_has_what_a_running_one_has(sandbox: Sandbox) -> None:
    environment = sandbox.details.environment(os.environ)
    assert environment["AWS_ENDPOINT_URL"].startswith("http://127.0.0.1:")
    assert environment["KUBECONFIG"] == str(sandbox.kube.cluster.kubeconfig)
    before = len(sandbox.aws.calls.find(operation="DescribeClusters"))
    sandbox.aws.client("ecs", sandbox.details.region).describe_clusters(clusters=[sandbox.details.cluster])
    assert len(sandbox.aws.calls.find(operation="DescribeClusters")) == before + 1


def test_the_server_of_this_project_is_known_by_whatever_registry_and_tag() -> None:
    cloud = pytest.importorskip("inference_sandbox.cloud")
    images = pytest.importorskip("inference_sandbox.tasks.images")
    for reference in ("a.example.com/inference-server", "a/b/inference-server:1.4.0", "a/inference-server@sha256:0"):
        found = images.find_image(cloud.SERVER_IMAGES, reference)
        assert found.argv(entrypoint=(), command=())[1:] == ["-m", "inference_server", "run"]
    for reference in ("a/not-inference-server:1", "a/inference-server/other:1"):
        assert images.find_image(cloud.SERVER_IMAGES, reference) is None
