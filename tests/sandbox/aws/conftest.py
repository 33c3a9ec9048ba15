from __future__ import annotations

from pathlib import Path

import pytest

from tests.sandbox.aws.rollout import Rollout
from tests.sandbox.aws.world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def rollout(tmp_path: Path) -> Rollout:
    return Rollout(tmp_path)
