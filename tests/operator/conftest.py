from __future__ import annotations

from pathlib import Path

import pytest

from inference_sandbox.control_plane import Cluster
from tests.operator.world import World

CRDS = Path(__file__).parents[2] / "crds"


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="session")
def crds(control_plane: Cluster) -> None:
    """The API server that all tests share serves the two kinds."""
    control_plane.apply_crds(CRDS)
