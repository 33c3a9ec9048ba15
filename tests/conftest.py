"""Fixtures that tests of several parts share: a real Kubernetes API server, and a namespace of one's own in it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from inference_sandbox.control_plane import Cluster, ControlPlane, why_unavailable


@dataclass(frozen=True, kw_only=True)
class Kube:
    """A fresh namespace and clients of the package `kubernetes`, as an administrator."""

    cluster: Cluster
    namespace: str
    api: Any
    """ApiClient, to make further clients with."""
    core: Any
    """CoreV1Api."""
    custom: Any
    """CustomObjectsApi."""


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """One folder for the whole run, whichever worker asks."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if hasattr(request.config, "workerinput") else own


@pytest.fixture(scope="session")
def control_plane(shared_folder: Path) -> Iterator[Cluster]:
    """One API server for the whole run: the first worker that needs it starts it, the last one ends it."""
    if (reason := why_unavailable()) is not None:
        pytest.skip(reason)
    with ControlPlane(shared_folder / "control-plane") as shared:
        yield shared.ready()


@pytest.fixture
def kube(control_plane: Cluster) -> Iterator[Kube]:
    kubernetes = pytest.importorskip("kubernetes", reason="the extra `operator` is not installed")
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    with kubernetes.config.new_client_from_config(str(control_plane.kubeconfig)) as api:
        core = kubernetes.client.CoreV1Api(api)
        core.create_namespace({"metadata": {"name": namespace}})
        yield Kube(
            cluster=control_plane,
            namespace=namespace,
            api=api,
            core=core,
            custom=kubernetes.client.CustomObjectsApi(api),
        )


# A machine under load draws examples slowly. What these tests test is not time.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")
