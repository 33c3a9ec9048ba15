from __future__ import annotations

from typing import Any

import pytest

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.domain.policy import refusals
from tests.operator.builders import deployment_document, environment_document


def refused(policy: dict[str, Any] | None, **spec: Any) -> list[str]:
    environment = {**environment_document()["spec"], "policy": policy}
    return refusals(
        InferenceDeploymentSpec.model_validate(deployment_document(**spec)["spec"]),
        InferenceEnvironmentSpec.model_validate(environment),
    )


@pytest.mark.parametrize(
    ("policy", "spec"),
    [
        (None, {}),
        ({"images": ["registry.example.com/*"]}, {}),
        ({"images": ["other/*", "registry.example.com/inference-server:1.?.0"]}, {}),
        ({"maximum": {"cpu": "1", "memory": "2Gi", "replicas": 3}}, {"cpu": 1, "memory": "2048Mi", "replicas": 3}),
    ],
)
def test_what_the_policy_allows_is_not_refused(policy: dict[str, Any] | None, spec: dict[str, Any]) -> None:
    assert refused(policy, **spec) == []


def test_a_refusal_names_the_field_the_value_and_the_limit() -> None:
    told = refused(
        {"images": ["ours.example.com/*"], "maximum": {"cpu": "1", "memory": "2Gi", "replicas": 2}},
        cpu="2",
        memory="4Gi",
        replicas=3,
    )
    assert told == [
        (
            "spec.image 'registry.example.com/inference-server:1.4.0' matches none of the allowed images "
            "(ours.example.com/*)"
        ),
        "spec.cpu 2 is more than the allowed 1",
        "spec.memory 4Gi is more than the allowed 2Gi",
        "spec.replicas 3 is more than the allowed 2",
    ]


def test_an_image_pattern_does_not_match_in_the_middle_of_a_name() -> None:
    assert refused({"images": ["example.com/*"]})


def test_sidecars_have_allowed_images_too() -> None:
    told = refused({"images": ["registry.example.com/*"]}, sidecars=[{"name": "proxy", "image": "elsewhere/proxy:1"}])
    assert told == [
        "spec.sidecars[0].image 'elsewhere/proxy:1' matches none of the allowed images (registry.example.com/*)"
    ]
