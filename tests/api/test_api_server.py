"""What kubectl and other clients get from the API server for the two kinds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from inference_operator.api.meta import API_VERSION, GROUP, VERSION
from inference_operator.api.schema import structural_schema
from inference_operator.api.status import DestinationFlow, LogsState, Notified
from inference_operator.api.v1alpha1 import (
    Applied,
    Condition,
    DeploymentState,
    DesiredRevision,
    Difference,
    ExecState,
    Failure,
    HistoryEntry,
    InferenceDeploymentStatus,
    Resources,
    RunningRevision,
    ServiceEvent,
    StoppedTask,
    TargetProblem,
    TargetsState,
    VerificationFinding,
    VerificationState,
)
from inference_sandbox.control_plane import Cluster, KubectlError
from inference_sandbox.pytest_plugin import Kube
from tests.api.samples import DEPLOYMENT, ENVIRONMENT, LISTENER
from tests.api.test_crd import nodes

AT = datetime(2026, 11, 24, 9, 30, tzinfo=UTC)
ARN = "arn:aws:ecs:eu-west-1:123456789012:task-definition/shop-recommender:12"


@pytest.fixture
def stored(contract: Cluster, kube: Kube) -> str:
    """A stored InferenceDeployment; gives its name."""
    body = {
        "apiVersion": API_VERSION,
        "kind": "InferenceDeployment",
        "metadata": {"name": "recommender"},
        "spec": DEPLOYMENT,
    }
    kube.custom.create_namespaced_custom_object(GROUP, VERSION, kube.namespace, "inferencedeployments", body)
    return "recommender"


def write_status(kube: Kube, name: str, status: InferenceDeploymentStatus) -> dict[str, Any]:
    written = kube.custom.patch_namespaced_custom_object_status(
        GROUP,
        VERSION,
        kube.namespace,
        "inferencedeployments",
        name,
        {"status": status.document()},
        field_validation="Strict",
        _content_type="application/merge-patch+json",
    )
    return dict(written)


def full_status() -> InferenceDeploymentStatus:
    """Every member set."""
    revision = {"revision": ARN, "image": "a/b:1", "model": "/recommender/2026-11-24"}
    return InferenceDeploymentStatus(
        observed_generation=7,
        conditions=(
            Condition(
                type="Ready",
                status="False",
                reason="RolledBack",
                message="Tasks failed to start.",
                last_transition_time=AT,
                observed_generation=7,
            ),
        ),
        url="https://inference.example.com/shop/recommender",
        replicas=3,
        ready_replicas=2,
        selector="app=recommender",
        desired=DesiredRevision(spec_hash="8f", **revision),
        running=RunningRevision(since=AT, **revision),
        deployment=DeploymentState(
            id="ecs-svc/1",
            service_deployment=ARN,
            asked_hash="8f",
            revision=ARN,
            generation=7,
            state="RolledBack",
            started_at=AT,
            reason="circuit breaker",
            failed_tasks=3,
            threshold=3,
            strategy="ROLLING",
            stage="BAKE_TIME",
            traffic_percent=100,
            paused_until=AT,
        ),
        last_failure=Failure(
            deployment="ecs-svc/1",
            generation=7,
            revision=ARN,
            cause="EfsAccessDenied",
            message="why",
            next_step="what",
            exit_code=1,
            container="app",
            tasks=("a",),
            at=AT,
        ),
        history=(
            HistoryEntry(
                deployment="ecs-svc/1",
                revision=ARN,
                generation=7,
                image="image",
                model="/model",
                outcome="RolledBack",
                cause="EfsAccessDenied",
                started_at=AT,
                finished_at=AT,
            ),
        ),
        events=(ServiceEvent(id="1", at=AT, message="(service x) has reached a steady state.", severity="Info"),),
        stopped_tasks=(
            StoppedTask(
                task="a",
                at=AT,
                cause="OutOfMemory",
                stop_code="EssentialContainerExited",
                reason="why",
                exit_code=137,
                container="app",
            ),
        ),
        resources=Resources(
            cluster="inference",
            service=ARN,
            task_definition=ARN,
            access_point="fsap-1",
            target_group=ARN,
            alternate_target_group=ARN,
            listener_rule=ARN,
            discovery_service=ARN,
            scalable_target="service/inference/shop_recommender",
            test_listener_rule=ARN,
            log_groups=("/inference/shop/recommender",),
        ),
        drift=(Difference(resource="Service", field="desiredCount", want="1", have="4"),),
        applied=Applied(generation=7, environment_generation=3),
        internal_host="recommender.shop.inference.local",
        targets=TargetsState(
            registered=2,
            healthy=1,
            problems=(
                TargetProblem(
                    target="10.0.0.1:8080",
                    state="unhealthy",
                    reason="Target.Timeout",
                    message="Request timed out",
                    next_step="what",
                ),
            ),
        ),
        verification=VerificationState(
            of="8f",
            at=AT,
            checks=8,
            findings=(VerificationFinding(check="Images", result="Unknown", message="why", next_step="what"),),
        ),
        logs=LogsState(
            routers=2,
            destinations=(
                DestinationFlow(name="archive", bytes_per_day=1000, records_per_day=10, dropped=1, usd_per_day="0.01"),
            ),
        ),
        notified=(Notified(id="n-1", type="RolledBack", at=AT),),
        exec=ExecState(ready_tasks=2, message="aws ecs execute-command"),
        last_reconcile_at="2026-11-24T09:30:00Z",
        last_rollback_at="2026-11-24T09:30:00Z",
        last_continue_at="2026-11-24T09:30:00Z",
    )


def test_the_server_fills_in_the_defaults(contract: Cluster, kube: Kube, stored: str) -> None:
    found = kube.custom.get_namespaced_custom_object(GROUP, VERSION, kube.namespace, "inferencedeployments", stored)
    assert found["spec"] == {
        **DEPLOYMENT,
        "environment": "default",
        "suspend": False,
        "driftPolicy": "Mend",
        "deletionPolicy": "Delete",
        "cpu": "1",
        "memory": "2Gi",
        "models": {**DEPLOYMENT["models"], "mountPath": "/models"},
        "port": 8080,
        "architecture": "X86_64",
        "platformVersion": "LATEST",
        "stopTimeout": "30s",
        "exec": {"enabled": False},
        "health": {
            "path": "/readyz",
            "startup": "5m",
            "interval": "10s",
            "timeout": "5s",
            "healthyThreshold": 2,
            "unhealthyThreshold": 3,
        },
        "ingress": {"protocolVersion": "HTTP1"},
        "logging": {},
        "rollout": {
            "strategy": "ROLLING",
            "minimumHealthyPercent": 100,
            "maximumPercent": 200,
            "circuitBreaker": {"enabled": True, "rollback": True, "resetOnHealthyTask": True},
            "progressDeadline": "30m",
        },
    }


def test_a_full_status_is_stored_as_it_was_written(contract: Cluster, kube: Kube, stored: str) -> None:
    status = full_status()
    assert write_status(kube, stored, status)["status"] == status.document()


def test_that_status_has_every_member_there_is() -> None:
    def absent(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
        for name, child in schema.get("properties", {}).items():
            if name not in value:
                yield f"{path}.{name}"
            else:
                part = value[name]
                yield from absent(child, part, f"{path}.{name}")
                yield from absent(child.get("items", {}), part[0] if isinstance(part, list) else {}, f"{path}.{name}[]")

    assert list(absent(structural_schema(InferenceDeploymentStatus), full_status().document(), "status")) == []


def test_a_status_write_leaves_the_spec_and_the_generation_alone(contract: Cluster, kube: Kube, stored: str) -> None:
    written = write_status(kube, stored, full_status())
    assert written["metadata"]["generation"] == 1
    assert written["spec"]["port"] == 8080


def test_kubectl_scale_changes_the_replicas(contract: Cluster, kube: Kube, stored: str) -> None:
    write_status(kube, stored, full_status())
    contract.kubectl("scale", "infdep", stored, "--replicas=4", "-n", kube.namespace)
    path = f"/apis/{API_VERSION}/namespaces/{kube.namespace}/inferencedeployments/{stored}/scale"
    scale = json.loads(contract.kubectl("get", "--raw", path))
    assert scale["spec"] == {"replicas": 4}
    assert scale["status"] == {"replicas": 3, "selector": "app=recommender"}


def test_kubectl_scale_to_what_no_rollout_has_room_for_is_refused(contract: Cluster, kube: Kube) -> None:
    spec = {**DEPLOYMENT, "replicas": 3, "rollout": {"maximumPercent": 150}}
    body = {"apiVersion": API_VERSION, "kind": "InferenceDeployment", "metadata": {"name": "tight"}, "spec": spec}
    kube.custom.create_namespaced_custom_object(GROUP, VERSION, kube.namespace, "inferencedeployments", body)
    with pytest.raises(KubectlError, match="set maximumPercent to at least 200 or minimumHealthyPercent to at most 0"):
        contract.kubectl("scale", "infdep", "tight", "--replicas=1", "-n", kube.namespace)


def test_kubectl_scale_of_what_is_scaled_automatically_is_refused_with_what_to_change(
    contract: Cluster, kube: Kube
) -> None:
    spec = {**DEPLOYMENT, "autoscaling": {"maxReplicas": 4, "cpuPercent": 60}}
    body = {"apiVersion": API_VERSION, "kind": "InferenceDeployment", "metadata": {"name": "scaled"}, "spec": spec}
    kube.custom.create_namespaced_custom_object(GROUP, VERSION, kube.namespace, "inferencedeployments", body)
    for count in (0, 3):
        with pytest.raises(KubectlError, match="minReplicas or maxReplicas instead, or set suspend"):
            contract.kubectl("scale", "infdep", "scaled", f"--replicas={count}", "-n", kube.namespace)


def test_kubectl_get_answers_is_it_up_which_model_and_where(contract: Cluster, kube: Kube, stored: str) -> None:
    write_status(kube, stored, full_status())
    head, row = contract.kubectl("get", "infdep", "-n", kube.namespace).splitlines()
    assert head.split() == ["NAME", "READY", "REASON", "REPLICAS", "MODEL", "URL", "AGE"]
    assert row.split()[:-1] == [
        "recommender",
        "False",
        "RolledBack",
        "2",
        "/recommender/2026-11-24",
        "https://inference.example.com/shop/recommender",
    ]


def test_kubectl_get_wide_adds_the_revision_and_the_message(contract: Cluster, kube: Kube, stored: str) -> None:
    write_status(kube, stored, full_status())
    head, row = contract.kubectl("get", "infdep", "-o", "wide", "-n", kube.namespace).splitlines()
    assert head.split()[-2:] == ["REVISION", "MESSAGE"]
    assert row.endswith(f"{ARN}   Tasks failed to start.")


def test_the_category_lists_the_services(contract: Cluster, kube: Kube, stored: str) -> None:
    assert "inferencedeployment.ecs-inference.dev/recommender" in contract.kubectl(
        "get", "inference", "-o", "name", "-n", kube.namespace
    )


def test_an_unknown_field_is_refused_by_kubectl(contract: Cluster, kube: Kube) -> None:
    body = {
        "apiVersion": API_VERSION,
        "kind": "InferenceDeployment",
        "metadata": {"name": "typo"},
        "spec": {**DEPLOYMENT, "replica": 3},
    }
    with pytest.raises(KubectlError, match=r'unknown field "spec.replica"'):
        contract.kubectl("apply", "-n", kube.namespace, "-f", "-", stdin=yaml.safe_dump(body))


def test_applying_the_same_manifest_again_changes_nothing(contract: Cluster, kube: Kube) -> None:
    spec = {**DEPLOYMENT, "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]}
    manifest = yaml.safe_dump(
        {"apiVersion": API_VERSION, "kind": "InferenceDeployment", "metadata": {"name": "same"}, "spec": spec}
    )
    apply = ("apply", "--server-side", "-n", kube.namespace, "-f", "-")
    contract.kubectl(*apply, stdin=manifest)
    before = kube.custom.get_namespaced_custom_object(GROUP, VERSION, kube.namespace, "inferencedeployments", "same")
    contract.kubectl(*apply, stdin=manifest)
    after = kube.custom.get_namespaced_custom_object(GROUP, VERSION, kube.namespace, "inferencedeployments", "same")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert contract.kubectl("diff", "--server-side", "-n", kube.namespace, "-f", "-", stdin=manifest) == ""


@pytest.mark.parametrize("kind", ["InferenceDeployment", "InferenceEnvironment"])
def test_kubectl_explains_every_field_at_every_level(contract: Cluster, kind: str) -> None:
    for path, node in nodes(kind):
        if "properties" in node and path:
            told = contract.kubectl("explain", f"{kind.lower()}.{path.replace('[]', '')}").partition("FIELDS:")[2]
            explained = set(re.findall(r"^  (\w+)\t<.*>.*\n(?:  enum: .*\n)?    \S", told, re.MULTILINE))
            assert explained == set(node["properties"]), path


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (
            "infdep.spec.cpu",
            'Limit: a number of vCPUs, not of their 1024th parts, such as 500m, "0.5" or 2. Default: 1',
        ),
        ("infdep.spec.port", "TCP port on which the container serves HTTP. Limit: 1 to 65535. Default: 8080"),
        ("infdep.spec.rollout.progressDeadline", "between 1m and 24h"),
        ("infdep.status.lastFailure.nextStep", "What to do about it."),
        ("infenv.spec.network.subnets", "Limit: 1 to 16 items"),
    ],
)
def test_kubectl_explain_tells_unit_limit_and_default(contract: Cluster, path: str, words: str) -> None:
    assert words in " ".join(contract.kubectl("explain", path).split())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"environment": "other"}, "environment can't be changed"),
    ],
)
def test_what_would_strand_resources_of_a_service_is_refused(
    contract: Cluster, kube: Kube, stored: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(KubectlError, match=message):
        contract.kubectl(
            "patch", "infdep", stored, "-n", kube.namespace, "--type=merge", "-p", json.dumps({"spec": change})
        )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region": "eu-west-2"}, "region can't be changed"),
        ({"cluster": "other"}, "cluster can't be changed"),
        ({"models": {"fileSystemId": "fs-00000000"}}, "fileSystemId can't be changed"),
        ({"loadBalancer": None}, "loadBalancer can neither be added nor removed"),
        ({"loadBalancer": {"listenerArn": LISTENER[:-1] + "0"}}, "listenerArn can't be changed"),
    ],
)
def test_what_would_strand_resources_of_an_environment_is_refused(
    contract: Cluster, kube: Kube, change: dict[str, Any], message: str
) -> None:
    body = {"apiVersion": API_VERSION, "kind": "InferenceEnvironment", "metadata": {"name": kube.namespace}}
    spec = {**ENVIRONMENT, "loadBalancer": {"listenerArn": LISTENER, "url": "https://inference.example.com"}}
    kube.custom.create_cluster_custom_object(GROUP, VERSION, "inferenceenvironments", {**body, "spec": spec})
    with pytest.raises(KubectlError, match=message):
        contract.kubectl("patch", "infenv", kube.namespace, "--type=merge", "-p", json.dumps({"spec": change}))
    contract.kubectl("patch", "infenv", kube.namespace, "--type=merge", "-p", json.dumps({"spec": _MAY_CHANGE}))


_MAY_CHANGE = {"loadBalancer": {"url": "https://models.example.com"}, "models": {"rootDirectory": "/elsewhere"}}
