"""The example manifests are valid, fit together, and fit the models that the demo writes."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from demo.environment import environment_document
from inference_operator.api.v1alpha1 import InferenceDeployment, InferenceEnvironment
from inference_operator.domain.names import Identity
from inference_operator.domain.policy import refusals
from inference_sandbox.details import Details

EXAMPLES = Path(__file__).parents[2] / "examples"
KINDS: dict[str, type[BaseModel]] = {
    "InferenceDeployment": InferenceDeployment,
    "InferenceEnvironment": InferenceEnvironment,
}

SANDBOX = Details(
    account_id="999999999999",
    cluster="other-cluster",
    vpc_id="vpc-99999999",
    subnets=["subnet-99999991", "subnet-99999992"],
    security_groups=["sg-99999999"],
    file_system_id="fs-99999999",
    execution_role_arn="arn:aws:iam::999999999999:role/other-execution",
    task_role_arn="arn:aws:iam::999999999999:role/other-task",
    load_balancer_arn="arn:aws:elasticloadbalancing:eu-west-1:999999999999:loadbalancer/app/other/99999999",
    listener_arn="arn:aws:elasticloadbalancing:eu-west-1:999999999999:listener/app/other/99999999/99999999",
    aws_endpoint_url="http://127.0.0.1:1",
    region="eu-west-1",
    aws_access_key_id="AKIA0000000000000000",
    aws_secret_access_key="sandbox",
    models_dir="/nowhere",
    load_balancer_url="http://127.0.0.1:2",
    tasks="processes",
    log_router="none",
    pid=1,
    workdir="/nowhere",
    kubeconfig="/nowhere/kubeconfig",
    kubectl="/nowhere/kubectl",
)


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((EXAMPLES / name).read_text())
    return document


def test_there_are_examples_of_both_kinds() -> None:
    assert {load(path.name)["kind"] for path in EXAMPLES.glob("*.yaml")} == set(KINDS)


@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.yaml")))
def test_an_example_is_valid(name: str) -> None:
    document = load(name)

    KINDS[document["kind"]].model_validate(document)


@pytest.mark.parametrize("name", ["recommender.yaml", "digits.yaml", "autoscaling.yaml", "logging.yaml"])
def test_the_example_environment_is_the_one_that_is_named_and_allows_the_service(name: str) -> None:
    environment = InferenceEnvironment.model_validate(load("environment.yaml"))
    service = InferenceDeployment.model_validate(load(name))

    assert service.spec.environment == environment.metadata.name
    assert (
        refusals(service.spec, environment.spec, identity=Identity(namespace="shop", name="digits", uid="1"), labels={})
        == []
    )


def test_the_environment_of_the_demo_is_the_example_with_every_id_replaced() -> None:
    example = load("environment.yaml")
    ids = _texts_of(example["spec"], ["cluster", "network", "executionRoleArn", "taskRoleArn", "loadBalancer"])
    ids |= {example["spec"]["models"]["fileSystemId"], example["spec"]["region"]}

    document = environment_document(example, SANDBOX)

    environment = InferenceEnvironment.model_validate(document)
    assert not ids & _texts_of(document["spec"], document["spec"])
    assert {
        environment.spec.region,
        environment.spec.cluster,
        *environment.spec.network.subnets,
        environment.spec.models.file_system_id,
    } <= _texts_of(asdict(SANDBOX), asdict(SANDBOX))
    assert document["spec"]["policy"] == example["spec"]["policy"]


def test_filling_in_the_example_leaves_it_as_it_was() -> None:
    example = load("environment.yaml")
    before = json.dumps(example)

    environment_document(example, SANDBOX)

    assert json.dumps(example) == before


def _texts_of(document: dict[str, Any], members: Any) -> set[str]:
    """Every text in these members, however deep."""

    def walk(value: Any) -> set[str]:
        if isinstance(value, dict):
            return set().union(*(walk(each) for each in value.values()))
        if isinstance(value, list):
            return set().union(*(walk(each) for each in value))
        return {value} if isinstance(value, str) else set()

    return set().union(*(walk(document[member]) for member in members))


def test_the_examples_name_folders_that_the_demo_fills() -> None:
    models = pytest.importorskip("demo.models", reason="the dependency group `demo` is not installed")

    assert load("recommender.yaml")["spec"]["models"]["path"] == f"/{models.RECOMMENDER}"
    assert load("digits.yaml")["spec"]["models"]["path"] == f"/{models.DIGITS[1]}"
