"""An API server that serves the two kinds from `crds/`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inference_sandbox.control_plane import Cluster

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def contract(control_plane: Cluster) -> Cluster:
    control_plane.apply_crds(ROOT / "crds")
    return control_plane


@pytest.fixture(scope="session")
def api_client(contract: Cluster) -> Any:
    kubernetes = pytest.importorskip("kubernetes", reason="the extra `operator` is not installed")
    return kubernetes.config.new_client_from_config(str(contract.kubeconfig))
