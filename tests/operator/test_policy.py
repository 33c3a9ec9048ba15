from __future__ import annotations

from typing import Any

import pytest

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.domain.names import Identity
from inference_operator.domain.policy import refusals
from tests.operator.builders import deployment_document, environment_document


def refused(policy: dict[str, Any] | None, *, labels: dict[str, str] | None = None, **spec: Any) -> list[str]:
    environment = {**environment_document()["spec"], "policy": policy}
    return refusals(
        InferenceDeploymentSpec.model_validate(deployment_document(**spec)["spec"]),
        InferenceEnvironmentSpec.model_validate(environment),
        identity=Identity(namespace="shop", name="recommender", uid="1"),
        labels=labels,
    )


@pytest.mark.parametrize(
    ("policy", "spec"),
    [
        (None, {}),
        ({"images": ["registry.example.com/*"]}, {}),
        ({"images": ["other/*", "registry.example.com/inference-server:1.?.0"]}, {}),
        ({"maximum": {"cpu": "1", "memory": "2Gi", "replicas": 3}}, {"cpu": 1, "memory": "2048Mi", "replicas": 3}),
        ({"maximum": {"replicas": 1}}, {}),
        ({"maximum": {"cpu": "1"}}, {"replicas": 20}),
        ({"maximum": {"memory": "8Gi"}}, {"autoscaling": {"maxReplicas": 20, "cpuPercent": 60}}),
        ({"ingress": {"paths": ["/ours/*"]}}, {"ingress": {"paths": ["/ours/a/*"]}}),
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


def test_an_autoscaler_and_each_of_its_schedules_are_held_to_the_most_replicas() -> None:
    schedule = {"name": "night", "schedule": "cron(0 20 * * ? *)", "minReplicas": 1, "maxReplicas": 4}
    told = refused(
        {"maximum": {"replicas": 3}}, autoscaling={"maxReplicas": 5, "cpuPercent": 60, "schedules": [schedule]}
    )
    assert told == [
        "spec.autoscaling.maxReplicas 5 is more than the allowed 3",
        "spec.autoscaling.schedules[0].maxReplicas 4 is more than the allowed 3",
    ]


def test_an_image_pattern_does_not_match_in_the_middle_of_a_name() -> None:
    assert refused({"images": ["example.com/*"]})


def test_sidecars_have_allowed_images_too() -> None:
    told = refused({"images": ["registry.example.com/*"]}, sidecars=[{"name": "proxy", "image": "elsewhere/proxy:1"}])
    assert told == [
        "spec.sidecars[0].image 'elsewhere/proxy:1' matches none of the allowed images (registry.example.com/*)"
    ]


LABELS = {"namespaces": {"matchLabels": {"inference": "true", "stage": "production"}}}


def test_a_namespace_must_have_all_labels_with_their_values() -> None:
    assert refused(LABELS, labels={"inference": "true", "stage": "production", "team": "search"}) == []
    asked = "(inference=true, stage=production)"
    for labels in ({}, {"inference": "true"}, {"inference": "true", "stage": "test"}):
        [told] = refused(LABELS, labels=labels)
        assert told == f"metadata.namespace 'shop' does not have the labels that namespaces must have here {asked}"


def test_a_namespace_whose_labels_cannot_be_read_is_refused_and_the_missing_right_told() -> None:
    [told] = refused(LABELS, labels=None)
    assert "needs the right to get namespaces" in told


ROLE = "arn:aws:iam::222222222222:role/team/search"


@pytest.mark.parametrize(
    ("policy", "role"),
    [
        (None, None),
        (None, "arn:aws:iam::222222222222:role/inference-task"),
        ({"taskRoleArns": ["arn:aws:iam::222222222222:role/other", "arn:aws:iam::222222222222:role/team/*"]}, ROLE),
        ({"taskRoleArns": ["arn:aws:iam::222222222222:role/team/*"]}, None),
    ],
)
def test_the_environments_own_role_and_those_that_match_are_allowed(
    policy: dict[str, Any] | None, role: str | None
) -> None:
    assert refused(policy, taskRoleArn=role) == []


def test_a_role_that_no_pattern_names_is_refused() -> None:
    patterns = {"taskRoleArns": ["arn:aws:iam::222222222222:role/inference-*"]}
    told = f"spec.taskRoleArn '{ROLE}' matches none of the allowed roles (arn:aws:iam::222222222222:role/inference-*)"
    assert refused(patterns, taskRoleArn=ROLE) == [told]
    for silent in (None, {"images": ["*"]}):
        [told] = refused(silent, taskRoleArn=ROLE)
        assert "policy.taskRoleArns is absent" in told


OWN = {
    "modelPaths": ["/{namespace}/*"],
    "ingress": {"paths": ["/{namespace}/*"], "hosts": ["*.{namespace}.example.com"]},
}
HOST = "api.shop.example.com"


@pytest.mark.parametrize(
    "ingress",
    [
        {"hosts": [HOST]},
        {"hosts": [HOST, "*.shop.example.com"], "paths": ["/shop/*"]},
        {"hosts": [HOST], "paths": ["/shop/a/b/*", "/shop/c/*"]},
    ],
)
def test_a_namespace_may_have_what_a_pattern_names_as_its_own(ingress: dict[str, Any]) -> None:
    assert refused(OWN, models={"path": "/shop/v1"}, ingress=ingress) == []


@pytest.mark.parametrize(
    ("ingress", "told"),
    [
        ({"paths": ["/shop2/*"]}, "spec.ingress.paths[0] '/shop2/*' matches none of the allowed paths (/shop/*)"),
        ({"paths": ["/*"]}, "spec.ingress.paths[0] '/*' matches none of the allowed paths (/shop/*)"),
        (
            {"hosts": [HOST, "*.example.com"]},
            "spec.ingress.hosts[1] '*.example.com' matches none of the allowed hosts (*.shop.example.com)",
        ),
        (
            {"hosts": []},
            "spec.ingress.hosts is absent, which means every host; name some of the allowed hosts (*.shop.example.com)",
        ),
    ],
)
def test_paths_and_hosts_of_others_are_refused(ingress: dict[str, Any], told: str) -> None:
    assert refused(OWN, models={"path": "/shop/v1"}, ingress={"hosts": [HOST], **ingress}) == [told]


def test_models_of_others_are_refused() -> None:
    for path in ("/shop", "/shop2/v1", "/models/shop/v1"):
        [told] = refused({"modelPaths": ["/{namespace}/*"]}, models={"path": path})
        assert told == f"spec.models.path '{path}' matches none of the allowed folders (/shop/*)"


def test_the_path_that_a_service_has_by_default_must_be_allowed_too() -> None:
    [told] = refused({"ingress": {"paths": ["/models/{namespace}/*"]}})
    assert told == (
        "spec.ingress.paths is absent; the default '/shop/recommender/*' matches none of the allowed paths "
        "(/models/shop/*)"
    )
