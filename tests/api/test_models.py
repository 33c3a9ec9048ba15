from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from inference_operator.api.model import MESSAGE_LENGTH
from inference_operator.api.quantities import Cpu, Memory
from inference_operator.api.rollout import rollout_refusal
from inference_operator.api.status import HISTORY_LIMIT
from inference_operator.api.v1alpha1 import (
    Condition,
    Failure,
    HistoryEntry,
    InferenceDeployment,
    InferenceDeploymentSpec,
    InferenceDeploymentStatus,
    InferenceEnvironmentSpec,
)
from tests.api.samples import (
    BAD_DEPLOYMENTS,
    BAD_ENVIRONMENTS,
    DEPLOYMENT,
    ENVIRONMENT,
    GOOD_DEPLOYMENTS,
    GOOD_ENVIRONMENTS,
    Change,
    changed,
    label,
)


@pytest.mark.parametrize("change", GOOD_DEPLOYMENTS, ids=label)
def test_a_good_deployment_is_accepted(change: Change) -> None:
    InferenceDeploymentSpec.model_validate(changed(DEPLOYMENT, change))


@pytest.mark.parametrize("change", BAD_DEPLOYMENTS, ids=label)
def test_a_bad_deployment_is_refused(change: Change) -> None:
    with pytest.raises(ValidationError):
        InferenceDeploymentSpec.model_validate(changed(DEPLOYMENT, change))


@pytest.mark.parametrize("change", GOOD_ENVIRONMENTS, ids=label)
def test_a_good_environment_is_accepted(change: Change) -> None:
    InferenceEnvironmentSpec.model_validate(changed(ENVIRONMENT, change))


@pytest.mark.parametrize("change", BAD_ENVIRONMENTS, ids=label)
def test_a_bad_environment_is_refused(change: Change) -> None:
    with pytest.raises(ValidationError):
        InferenceEnvironmentSpec.model_validate(changed(ENVIRONMENT, change))


def test_the_smallest_deployment_has_the_documented_defaults() -> None:
    spec = InferenceDeploymentSpec.model_validate(DEPLOYMENT)
    assert spec.environment == "default"
    assert (spec.replicas, spec.bounds, spec.suspend) == (None, (1, 1), False)
    assert (spec.cpu, spec.memory) == (Cpu.parse("1"), Memory.parse("2Gi"))
    assert spec.models.mount_path == "/models"
    assert spec.port == 8080
    assert (spec.health.path, spec.health.startup) == ("/readyz", timedelta(minutes=5))
    assert (spec.ingress.paths, spec.ingress.hosts) == ((), ())
    assert (spec.rollout.minimum_healthy_percent, spec.rollout.maximum_percent) == (100, 200)
    assert spec.rollout.circuit_breaker.enabled
    assert spec.rollout.circuit_breaker.rollback
    assert spec.rollout.progress_deadline == timedelta(minutes=30)


def test_the_smallest_environment_has_the_documented_defaults() -> None:
    spec = InferenceEnvironmentSpec.model_validate(ENVIRONMENT)
    assert spec.network.assign_public_ip is False
    assert spec.models.root_directory == "/"
    assert spec.logging.retention_days == 90
    assert spec.load_balancer is None
    assert spec.policy is None


def test_a_spec_is_a_value() -> None:
    spec = InferenceDeploymentSpec.model_validate(DEPLOYMENT)
    assert spec == InferenceDeploymentSpec.model_validate(DEPLOYMENT)
    assert hash(spec) == hash(InferenceDeploymentSpec.model_validate(DEPLOYMENT))
    with pytest.raises(ValidationError, match="frozen"):
        setattr(spec, "replicas", 2)  # noqa: B010  # written plainly, mypy sees it too


def test_a_spec_that_is_written_out_reads_back_as_the_same() -> None:
    spec = InferenceDeploymentSpec.model_validate(
        changed(DEPLOYMENT, {"health.startup": "90m", "cpu": 2, "memory": "4Gi"})
    )
    written = spec.model_dump(mode="json", by_alias=True)
    assert written["health"]["startup"] == "1h30m"
    assert InferenceDeploymentSpec.model_validate(written) == spec


@pytest.mark.parametrize("name", ["a" * 41, "Shop", "a.b", "-a", "a-", "a_b"])
def test_a_name_that_aws_has_no_room_for_is_refused(name: str) -> None:
    document = {
        "apiVersion": "ecs-inference.dev/v1alpha1",
        "kind": "InferenceDeployment",
        "metadata": {"name": name},
        "spec": DEPLOYMENT,
    }
    with pytest.raises(ValidationError, match="at most 40 lower-case letters"):
        InferenceDeployment.model_validate(document)


@pytest.mark.parametrize("replicas", [1, 2, 3, 7, 10, 99, 100, 101, 5000])
def test_what_a_percent_refusal_proposes_works_and_nothing_nearer_does(replicas: int) -> None:
    refusal = rollout_refusal(replicas, 100, 100)
    assert refusal is not None
    words = refusal.replace(";", "").split()
    maximum, minimum = (
        int(words[index + 3]) for index, word in enumerate(words) if word == "to" and words[index + 1] == "at"
    )
    assert rollout_refusal(replicas, 100, maximum) is None
    assert rollout_refusal(replicas, 100, maximum - 1) is not None
    assert rollout_refusal(replicas, minimum, 100) is None
    assert rollout_refusal(replicas, minimum + 1, 100) is not None


def test_no_replicas_need_no_room() -> None:
    assert rollout_refusal(0, 100, 100) is None


def condition(**changes: Any) -> Condition:
    values: dict[str, Any] = {
        "type": "Ready",
        "status": "False",
        "reason": "RolledBack",
        "message": "why",
        "last_transition_time": datetime(2026, 11, 24, 9, 30, tzinfo=UTC),
    }
    return Condition(**(values | changes))


def test_a_status_is_written_as_kubernetes_shows_it() -> None:
    status = InferenceDeploymentStatus(
        observed_generation=7,
        conditions=(condition(observed_generation=7),),
        ready_replicas=3,
        last_failure=Failure(cause="EfsAccessDenied", exit_code=1, next_step="Fix it."),
    )
    assert status.document() == {
        "observedGeneration": 7,
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "RolledBack",
                "message": "why",
                "lastTransitionTime": "2026-11-24T09:30:00Z",
                "observedGeneration": 7,
            }
        ],
        "replicas": 0,
        "readyReplicas": 3,
        "lastFailure": {"cause": "EfsAccessDenied", "exitCode": 1, "nextStep": "Fix it.", "tasks": []},
        "history": [],
        "events": [],
        "stoppedTasks": [],
        "drift": [],
        "notified": [],
    }


def test_a_status_reads_back_as_the_same() -> None:
    status = InferenceDeploymentStatus(conditions=(condition(),), history=(HistoryEntry(outcome="Completed"),))
    assert InferenceDeploymentStatus.model_validate(status.document()) == status


def test_a_status_of_another_version_can_be_read() -> None:
    status = InferenceDeploymentStatus.model_validate({"replicas": 2, "phase": "Fine", "desired": {"colour": "green"}})
    assert status.replicas == 2


def test_what_is_too_long_for_a_status_is_cut_and_not_refused() -> None:
    status = InferenceDeploymentStatus(
        conditions=(condition(message="x" * 2 * MESSAGE_LENGTH),),
        history=tuple(HistoryEntry(generation=number) for number in range(HISTORY_LIMIT + 5)),
    )
    assert len(status.conditions[0].message) == MESSAGE_LENGTH
    assert status.conditions[0].message.endswith("…")
    assert [entry.generation for entry in status.history] == list(range(HISTORY_LIMIT))


def test_one_condition_of_each_type() -> None:
    with pytest.raises(ValidationError, match="has 'Ready' twice"):
        InferenceDeploymentStatus(conditions=(condition(), condition(status="True")))
