from __future__ import annotations

import pytest
from pydantic import ValidationError

from inference_operator.api.errors import explain
from inference_operator.api.v1alpha1 import InferenceDeployment, InferenceDeploymentSpec, InferenceEnvironmentSpec
from tests.api.samples import ABSENT, DEPLOYMENT, ENVIRONMENT, Change, changed


def explained(change: Change) -> str:
    with pytest.raises(ValidationError) as caught:
        InferenceDeploymentSpec.model_validate(changed(DEPLOYMENT, change))
    return explain(caught.value)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"replicas": 6000}, "spec.replicas: must be at most 5000; got 6000"),
        ({"replicas": "3"}, "spec.replicas: must be a whole number, written without quotes; got '3'"),
        ({"image": ABSENT}, "spec.image: is required; add it"),
        (
            {"cpu": 0.5},
            'spec.cpu: must be a number of vCPUs, not of their 1024th parts, such as 500m, "0.5" or 2; got 0.5',
        ),
        ({"replica": 3}, "spec.replica: is not known; did you mean replicas?"),
        (
            {"rollout.maximumPercentage": 3},
            "spec.rollout.maximumPercentage: is not known; did you mean maximumPercent?",
        ),
        ({"zzz": 3}, "spec.zzz: is not known; remove it or correct its name"),
        ({"models": "/a"}, "spec.models: must be an object with members; got '/a'"),
        ({"env": "A=1"}, "spec.env: must be a list; got 'A=1'"),
        (
            {"ingress.hosts": [f"h{number}.example.com" for number in range(5)]},
            "spec.ingress.hosts: must have at most 4 items and has 5",
        ),
        (
            {"models.path": "/a/b/c/d/e"},
            (
                "spec.models.path: must be an absolute folder at most 4 deep, such as /recommender/2026-11-24; "
                "got '/a/b/c/d/e'"
            ),
        ),
        (
            {"rollout.circuitBreaker.enabled": "yes"},
            "spec.rollout.circuitBreaker.enabled: must be true or false, written without quotes; got 'yes'",
        ),
        (
            {"health.startup": "7h"},
            "spec.health.startup: must be a duration such as 90s, 10m or 1h30m, between 0s and 6h; got '7h'",
        ),
        (
            {"env": [{"name": "ECS_X", "value": "1"}]},
            "spec.env[0]: name ECS_X is set by the operator or by Fargate; remove it from env",
        ),
    ],
)
def test_a_problem_is_told_with_field_value_limit_and_fix(change: Change, line: str) -> None:
    assert explained(change) == line


def test_every_problem_has_a_line() -> None:
    assert explained({"replicas": -1, "port": 0, "image": ABSENT}).splitlines() == [
        "spec.image: is required; add it",
        "spec.replicas: must be at least 0; got -1",
        "spec.port: must be at least 1; got 0",
    ]


def test_a_value_that_may_be_a_secret_is_not_told() -> None:
    told = explained({"env": [{"name": "TOKEN", "value": "hunter2" * 1000}, {"name": "PIN", "value": 4711}]})
    assert told.splitlines() == [
        "spec.env[0].value: must have at most 4096 characters",
        "spec.env[1].value: must be a text; put it in quotes",
    ]


def test_neither_an_error_nor_a_spec_shows_the_value_of_a_variable() -> None:
    secret = [{"name": "TOKEN", "value": "hunter2"}]
    with pytest.raises(ValidationError) as caught:
        InferenceDeploymentSpec.model_validate(changed(DEPLOYMENT, {"env": [*secret, *secret]}))
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(InferenceDeploymentSpec.model_validate(changed(DEPLOYMENT, {"env": secret})))


def test_a_long_value_is_cut() -> None:
    told = explained({"image": "x " * 100})
    assert told.endswith("…")
    assert len(told) < 200


def test_an_enum_is_told_with_its_values() -> None:
    with pytest.raises(ValidationError) as caught:
        InferenceEnvironmentSpec.model_validate(changed(ENVIRONMENT, {"logging.retentionDays": 15}))
    told = explain(caught.value)
    assert told.startswith("spec.logging.retentionDays: must be one of 1, 3, 5, 7, 14, 30")
    assert told.endswith("; got 15")


def test_a_whole_object_is_told_from_its_root() -> None:
    with pytest.raises(ValidationError) as caught:
        InferenceDeployment.model_validate(
            {"apiVersion": "v1", "kind": "InferenceDeployment", "metadata": {"name": "a"}, "spec": {"image": "a"}}
        )
    assert explain(caught.value).splitlines() == [
        "apiVersion: must be one of 'ecs-inference.dev/v1alpha1'; got 'v1'",
        "spec.models: is required; add it",
    ]
