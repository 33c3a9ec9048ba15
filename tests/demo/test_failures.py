"""What the second demo is made of: releases that the operator accepts, and what is shown of `kubectl describe`."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from inference_operator.api.v1alpha1 import InferenceDeployment, InferenceEnvironment
from inference_operator.domain import diagnosis
from inference_operator.domain.names import Identity
from inference_operator.domain.policy import refusals
from tests.demo.test_examples import load

failures: Any = pytest.importorskip("demo.failures", reason="the dependency group `demo` is not installed")

DESCRIBED = """\
Name:         digits
Status:
  Last Failure:
    Cause:      OutOfMemory
    Tasks:
      3f2a
    Next Step:  Raise spec.memory.
  Verification:
    Checks:  8
"""


def merged(document: Any, patch: Any) -> Any:
    """As a merge patch is applied (RFC 7396)."""
    if not isinstance(document, dict) or not isinstance(patch, dict):
        return patch
    return {**document, **{name: merged(document.get(name), value) for name, value in patch.items()}}


def test_every_release_is_valid_after_the_ones_before_it_and_allowed_in_the_environment() -> None:
    environment = InferenceEnvironment.model_validate(load("environment.yaml")).spec
    document = load("digits.yaml")
    for patch in (failures.QUICK, *(release.spec for release in failures.RELEASES), failures.MENDED):
        document = merged(document, {"spec": patch})
        spec = InferenceDeployment.model_validate(document).spec
        assert (
            refusals(spec, environment, identity=Identity(namespace="shop", name="digits", uid="1"), labels={}) == []
        ), yaml.safe_dump(document)


def test_every_release_asks_for_something_that_no_other_does() -> None:
    asked = [yaml.safe_dump(release.spec) for release in failures.RELEASES]
    assert len(set(asked)) == len(asked)


def test_every_cause_that_is_promised_is_one_of_the_table() -> None:
    promised = {release.cause for release in failures.RELEASES}
    assert promised <= {cause.name for cause in diagnosis.known()} | {None}


def test_a_block_of_what_kubectl_describes_is_found_by_its_heading() -> None:
    assert failures.told(DESCRIBED, "Last Failure:").splitlines() == [
        "  Last Failure:",
        "    Cause:      OutOfMemory",
        "    Tasks:",
        "      3f2a",
        "    Next Step:  Raise spec.memory.",
    ]
    assert failures.told(DESCRIBED, "Verification:").splitlines() == ["  Verification:", "    Checks:  8"]


def test_a_block_that_is_not_there_is_empty() -> None:
    assert failures.told(DESCRIBED, "History:") == ""
