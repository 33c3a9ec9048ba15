from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from inference_sandbox.control_plane import Cluster, ControlPlane, why_unavailable
from tests.operator import live
from tests.operator.live import Stage
from tests.operator.world import World

CRDS = Path(__file__).parents[2] / "crds"
FAILED = "calls that failed"
"""A property of tests: what they have let fail, as `story/phase/call/way`."""


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """Commands that are tried in this process set up logging for all of it."""
    yield
    structlog.reset_defaults()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How often AWS failed in test_every_call.py, whichever processes ran it."""
    passed = terminalreporter.stats.get("passed", ())
    tried = [each for report in passed for name, value in report.user_properties if name == FAILED for each in value]
    if tried:
        places = len({each.rpartition("/")[0] for each in tried})
        terminalreporter.write_line(
            f"AWS failed {len(tried)} times, at {places} calls; each time all ended as if nothing had happened."
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture(scope="session")
def crds(control_plane: Cluster) -> None:
    """The API server that all tests share serves the two kinds."""
    control_plane.apply_crds(CRDS)


@pytest.fixture(scope="session")
def own_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server for operators alone: each of them looks after all objects that there are."""
    pytest.importorskip("kubernetes", reason="the extra `operator` is not installed")
    if (reason := why_unavailable()) is not None:
        pytest.skip(reason)
    with ControlPlane(tmp_path_factory.mktemp("operator-control-plane")) as own:
        cluster = own.ready()
        cluster.apply_crds(CRDS)
        yield cluster


@pytest.fixture
def stage(own_cluster: Cluster, tmp_path: Path) -> Iterator[Stage]:
    with live.stage(own_cluster, tmp_path, f"test-{uuid.uuid4().hex[:12]}") as made:
        yield made
