"""Fixtures for tests against the sandbox, in this project and in others: pytest finds them by itself.

- `cloud`: an AWS of the test's own, in its own process, whose ECS services really run
- `control_plane`: a Kubernetes API server for the whole run, shared by all workers
- `kube`: a namespace of the test's own on it, and clients
- `sandbox`: both, as `inference-sandbox up` has them

Nothing is imported before a test asks for it: the plugin is loaded in every test run of an environment that has it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from inference_sandbox.cloud import LiveCloud
    from inference_sandbox.control_plane import Cluster
    from inference_sandbox.details import Details
    from inference_sandbox.live import LiveAws

_EXTRA = "install ecs-inference[sandbox] to use it"


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
    aws: LiveAws
    details: Details


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """One API server for the whole run: the first worker that needs it starts it, the last one ends it."""
    module = pytest.importorskip("inference_sandbox.control_plane", reason=_EXTRA)
    if (reason := module.why_unavailable()) is not None:
        pytest.skip(reason)
    own = tmp_path_factory.getbasetemp()
    whole_run = own.parent if hasattr(request.config, "workerinput") else own  # one folder, whichever worker asks
    with module.ControlPlane(whole_run / "control-plane") as shared:
        yield shared.ready()


@pytest.fixture
def kube(control_plane: Cluster) -> Iterator[Kube]:
    """Skips where the package `kubernetes` is not installed."""
    kubernetes = pytest.importorskip("kubernetes", reason="install the package kubernetes to use it")
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


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    """A fresh account, prepared as `inference-sandbox up` prepares it.

    `cloud.aws` has `client(service, region)`, `calls`, `faults`, `fail`, `advance`, `reset` and `status`;
    `cloud.details` the account's ids and the endpoint for other processes. To run an image of your own, make a fixture
    over `inference_sandbox.cloud.run_cloud`.
    """
    module = pytest.importorskip("inference_sandbox.cloud", reason=_EXTRA)
    with module.run_cloud(tmp_path / "cloud", images={}) as live:
        yield live


@pytest.fixture
def sandbox(kube: Kube, cloud: LiveCloud, tmp_path: Path) -> Sandbox:
    """What `inference-sandbox up` gives, but for the API server, which other tests use at the same time."""
    from inference_sandbox.details import Details  # noqa: PLC0415 - as the module's docstring says

    details = Details(
        **asdict(cloud.details),
        pid=os.getpid(),
        workdir=str(tmp_path),
        kubeconfig=str(kube.cluster.kubeconfig),
        kubectl=str(kube.cluster.kubectl_program),
    )
    return Sandbox(kube=kube, aws=cloud.aws, details=details)
