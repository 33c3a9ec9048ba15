from __future__ import annotations

import os
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_sandbox.control_plane import Cluster, ControlPlane, why_unavailable

CHART = Path(__file__).parents[2] / "charts" / "inference-operator"


@dataclass(frozen=True)
class Helm:
    program: str
    home: Path
    cluster: Cluster | None = None

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        home = {f"HELM_{what}_HOME": str(self.home / what.lower()) for what in ("CACHE", "CONFIG", "DATA")}
        connected = {"KUBECONFIG": str(self.cluster.kubeconfig) if self.cluster is not None else os.devnull}
        return subprocess.run(
            [self.program, *arguments],
            env={**os.environ, **home, **connected},
            capture_output=True,
            text=True,
            check=False,
        )

    def __call__(self, *arguments: str) -> str:
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """What the chart makes with such values."""
        rendered = self("template", "release", str(CHART), "--namespace", "operators", *arguments)
        return [document for document in yaml.safe_load_all(rendered) if document]


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    beside_python = Path(sys.executable).parent / "helm"
    program = str(beside_python) if beside_python.exists() else shutil.which("helm")
    if program is None:
        pytest.skip("Helm is neither on PATH nor built (`make test` builds it)")
    return Helm(program, tmp_path_factory.mktemp("helm"))


@pytest.fixture(scope="session")
def bare_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server that knows nothing of us."""
    if (reason := why_unavailable()) is not None:
        pytest.skip(reason)
    with ControlPlane(tmp_path_factory.mktemp("chart-control-plane")) as own:
        yield own.ready()


@pytest.fixture
def namespace(bare_cluster: Cluster) -> str:
    name = f"operators-{uuid.uuid4().hex[:8]}"
    bare_cluster.kubectl("create", "namespace", name)
    return name


@pytest.fixture
def connected(helm: Helm, bare_cluster: Cluster) -> Helm:
    return Helm(helm.program, helm.home, bare_cluster)


Install = Callable[..., str]
