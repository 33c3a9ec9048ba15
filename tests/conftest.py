"""Fixtures that tests of several parts share: a real Kubernetes API server, and an AWS that runs what it is told to."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from inference_sandbox.control_plane import Cluster, ControlPlane, why_unavailable
from inference_sandbox.details import Details

if TYPE_CHECKING:
    from inference_sandbox.aws import Aws
    from inference_sandbox.cloud import LiveCloud


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


@dataclass(frozen=True, kw_only=True)
class Sandbox:
    kube: Kube
    aws: Aws
    details: Details


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


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    """A fresh account on the wall clock, prepared as `inference-sandbox up` prepares it, in this process."""
    module = pytest.importorskip("inference_sandbox.cloud", reason="the extra `sandbox` is not installed")
    with module.run_cloud(tmp_path / "cloud", images={}) as live:
        yield live


@pytest.fixture
def sandbox(kube: Kube, cloud: LiveCloud, tmp_path: Path) -> Sandbox:
    """What `inference-sandbox up` gives, but for the API server, which other tests use at the same time."""
    details = Details(
        **asdict(cloud.details),
        pid=os.getpid(),
        workdir=str(tmp_path),
        kubeconfig=str(kube.cluster.kubeconfig),
        kubectl=str(kube.cluster.kubectl_program),
    )
    return Sandbox(kube=kube, aws=cloud.aws, details=details)
