"""The fixtures as another project has them: found by pytest by themselves, in tests that know nothing of ours."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TESTS = """
import pytest

@pytest.mark.parametrize("turn", ["first", "second"])
def test_a_cloud_is_fresh(cloud, turn):
    ecs = cloud.aws.client("ecs", cloud.details.region)
    assert ecs.list_clusters()["clusterArns"] == [f"arn:aws:ecs:{cloud.details.region}:123456789012:cluster/inference"]
    ecs.create_cluster(clusterName=turn)

def test_a_sandbox_has_both_worlds(sandbox):
    assert sandbox.kube.core.list_namespaced_secret(sandbox.kube.namespace).items == []
    assert sandbox.aws.status()["services"] == []
"""


def pytest_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--rootdir", str(folder), *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


def test_another_projects_tests_have_the_fixtures(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(TESTS)
    done = pytest_in(tmp_path, "-rs")
    assert done.returncode == 0, done.stdout
    passed = "3 passed" in done.stdout
    assert passed or ("2 passed, 1 skipped" in done.stdout and "KUBEBUILDER_ASSETS" in done.stdout), done.stdout


def test_a_run_that_asks_for_none_of_them_imports_no_moto(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text("import sys\n\ndef test_light():\n    assert 'moto' not in sys.modules\n")
    done = pytest_in(tmp_path)
    assert done.returncode == 0, done.stdout


def test_each_fixture_is_described(tmp_path: Path) -> None:
    listed = pytest_in(tmp_path, "--fixtures").stdout
    for name in ("cloud", "control_plane", "kube", "sandbox"):
        (line,) = (index for index, line in enumerate(listed.splitlines()) if line.split(" ")[0] == name)
        assert "no docstring available" not in listed.splitlines()[line + 1]
