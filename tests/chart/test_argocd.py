"""Argo CD's health checks, run by a Lua of the version that Argo CD has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.argo import CHECKS, health


def cases() -> list[tuple[Path, dict[str, Any]]]:
    files = sorted(CHECKS.glob("*/*/health_test.yaml"))
    return [(file.parent, case) for file in files for case in yaml.safe_load(file.read_text())["tests"]]


@pytest.mark.parametrize(
    ("folder", "case"), cases(), ids=[f"{folder.name}-{Path(case['inputPath']).stem}" for folder, case in cases()]
)
def test_health_is_what_the_case_says(folder: Path, case: dict[str, Any]) -> None:
    document = yaml.safe_load((folder / case["inputPath"]).read_text())
    assert health(folder / "health.lua", document) == case["healthStatus"]


def test_each_case_that_is_there_is_one_that_is_tried() -> None:
    tried = {folder / case["inputPath"] for folder, case in cases()}
    assert tried == set(CHECKS.glob("*/*/testdata/*.yaml"))
