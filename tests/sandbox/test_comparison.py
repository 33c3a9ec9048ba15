"""The sandbox's half of docs/sandbox-comparison.md: one long walk over the raw API, each step as AWS documents it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

pytest.importorskip("moto", reason="the extra `sandbox` is not installed")

from tools.sandbox_comparison.stand_ins import sandbox, walk_through
from tools.sandbox_comparison.walk import STEPS, Step


@pytest.fixture(scope="module")
def seen() -> Mapping[str, str]:
    with sandbox() as world:
        return walk_through(world)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.title)
def test_the_walk_sees_what_aws_documents(seen: Mapping[str, str], step: Step) -> None:
    if seen[step.title] == "UnsupportedFeatureException":
        pytest.skip("the sandbox does not perform this operation, and says so")
    assert step.is_as_documented(seen[step.title]), f"seen: {seen[step.title]}; documented: {step.documented}"
