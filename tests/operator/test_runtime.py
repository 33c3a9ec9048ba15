"""The operator as it runs: a process between a real API server and the sandbox's AWS."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import pytest
from kubernetes.client.exceptions import ApiException

from inference_operator.api.meta import FINALIZER, PAUSED, RECONCILE_AT
from inference_sandbox.aws.faults import Fault
from inference_sandbox.control_plane import Cluster
from tests.eventually import eventually
from tests.operator.conftest import CRDS
from tests.operator.live import DEPLOYMENTS, ENVIRONMENTS, MERGE, OBJECT, PROGRAM, Stage, seconds

BETTER = "registry.example.com/inference-server:1.5.0"


ONE_OF_EACH = dict.fromkeys(["LogGroup", "AccessPoint", "TargetGroup", "ListenerRule", "TaskDefinition", "Service"], 1)


def metrics(stage: Stage) -> dict[str, float]:
    """Prometheus samples without labels' help, by name and labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{stage.operator.metrics_port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}


def passes(stage: Stage) -> float:
    return metrics(stage)["inference_operator_reconcile_seconds_count"]


def managers(document: Mapping[str, Any]) -> dict[str, Any]:
    """What each writer of the object's main resource owns of it, but for the author of the spec."""
    entries = [e for e in document["metadata"]["managedFields"] if e.get("subresource") != "status"]
    return {e["manager"]: e["fieldsV1"] for e in entries if "f:spec" not in e["fieldsV1"]}


def test_from_apply_to_ready_to_another_spec_to_gone(stage: Stage) -> None:
    stage.operator.program = PROGRAM  # with its waits as they are
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        first = stage.get("recommender")
        assert first["status"]["readyReplicas"] == 1
        assert stage.live.holdings() == ONE_OF_EACH

        stage.patch("recommender", {"spec": {"image": BETTER, "models": {"path": "/recommender/2"}}})
        stage.until_ready("recommender")
        second = stage.get("recommender")
        assert second["status"]["running"]["image"] == BETTER
        assert second["status"]["running"]["model"] == "/recommender/2"
        assert stage.live.holdings() == ONE_OF_EACH | {"TaskDefinition": 2}

        stage.delete("recommender")
        stage.until_gone("recommender")
        assert stage.live.holdings() == {}


def test_the_operator_writes_the_finalizer_and_the_status_and_nothing_else(stage: Stage) -> None:
    with stage.operator:
        made = stage.apply("recommender")
        stage.until_ready("recommender")
        stage.patch("recommender", {"spec": {"replicas": 2}})
        stage.until_ready("recommender")
        found = stage.get("recommender")
    assert found["metadata"]["finalizers"] == [FINALIZER]
    assert "annotations" not in found["metadata"]
    assert "labels" not in found["metadata"]
    assert found["spec"] == {**made["spec"], "replicas": 2}
    (fields,) = managers(found).values()
    assert set(fields) == {"f:metadata"}
    assert set(fields["f:metadata"]) == {"f:finalizers"}
    assert set(fields["f:metadata"]["f:finalizers"]) <= {".", f'v:"{FINALIZER}"'}


def patches(cluster: Cluster) -> float:
    """How often objects were patched, with or without effect, as the API server counts."""
    lines = cluster.kubectl("get", "--raw", "/metrics").splitlines()
    about = [line for line in lines if line.startswith("apiserver_request_total{")]
    ours = [line for line in about if f'resource="{DEPLOYMENTS}"' in line and 'verb="PATCH"' in line]
    return sum(float(line.rpartition(" ")[2]) for line in ours)


def test_an_object_that_is_full_of_annotations_is_let_go(stage: Stage) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        notes = {"example.com/notes": "x" * 200_000}  # of 262144 bytes
        stage.patch("recommender", {"metadata": {"annotations": notes}})
        stage.delete("recommender")
        stage.until_gone("recommender")


NOT_OURS = "the status is not as written"


def test_a_status_that_somebody_has_written_is_put_right_and_told(stage: Stage) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        before = stage.get("recommender")["status"]
        assert NOT_OURS not in stage.operator.log.read_text()
        lie = {"status": {"readyReplicas": 7, "url": "https://elsewhere.example.com", "conditions": []}}
        where = (*OBJECT, stage.namespace, DEPLOYMENTS, "recommender")
        stage.custom.patch_namespaced_custom_object_status(*where, lie, _content_type=MERGE)
        stage.until(lambda: stage.get("recommender")["status"].get("url") == before["url"])
        after = stage.get("recommender")["status"]
        assert after["readyReplicas"] == before["readyReplicas"]
        assert {c["type"] for c in after["conditions"]} == {c["type"] for c in before["conditions"]}
        assert NOT_OURS in stage.operator.log.read_text()


def test_a_status_that_is_taken_away_after_a_restart_is_put_right(stage: Stage) -> None:
    """The process has written none: it found the one of the process before it as it should be."""
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        assert stage.operator.stop() == 0
        mark = stage.live.mark
        stage.operator.start()
        stage.until(lambda: "ecs:DescribeServices" in stage.live.calls(since=mark))
        where = (*OBJECT, stage.namespace, DEPLOYMENTS, "recommender")
        stage.custom.patch_namespaced_custom_object_status(*where, {"status": None}, _content_type=MERGE)
        stage.until_ready("recommender")


def test_passes_that_find_nothing_new_write_nothing_to_the_object(stage: Stage, own_cluster: Cluster) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        version = stage.get("recommender")["metadata"]["resourceVersion"]
        before, asked = passes(stage), patches(own_cluster)
        assert asked > 0
        stage.change_environment(policy={"maximum": {"replicas": 30}})  # which wakes its objects
        stage.until(lambda: passes(stage) > before)
        assert stage.operator.stop() == 0  # it ends what it is about
        assert patches(own_cluster) == asked
        assert stage.get("recommender")["metadata"]["resourceVersion"] == version


def test_a_restart_of_the_operator_writes_nothing_to_the_object_nor_to_aws(stage: Stage) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        assert stage.operator.stop() == 0
        version, mark = stage.get("recommender")["metadata"]["resourceVersion"], stage.live.mark
        stage.operator.start()
        stage.until(lambda: passes(stage) >= 1 and stage.live.calls(since=mark))  # the first may be the environment's
        assert stage.operator.stop() == 0
        assert stage.live.writes(since=mark) == []
        assert stage.get("recommender")["metadata"]["resourceVersion"] == version
        assert len(set(stage.events("recommender"))) == len(stage.events("recommender"))


def test_what_is_deleted_while_the_operator_is_down_is_taken_away_when_it_is_back(stage: Stage) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.apply("classifier")
        stage.until_ready("recommender", "classifier")
        assert stage.operator.stop() == 0
        stage.delete("recommender")
        assert stage.names() == {"recommender", "classifier"}, "its finalizer holds it"
        stage.operator.start()
        stage.until_gone("recommender")
        assert stage.live.holdings() == ONE_OF_EACH
        assert stage.stands("classifier") == ("True", "Ready")


def test_what_is_deleted_during_its_rollout_leaves_nothing(stage: Stage) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until(lambda: "ecs:CreateService" in stage.live.calls())
        stage.delete("recommender")
        stage.until_gone("recommender")
        assert stage.live.holdings() == {}


@pytest.mark.parametrize(
    ("edit", "left"),
    [({"metadata": {"annotations": {PAUSED: None}}}, {}), ({"spec": {"deletionPolicy": "Retain"}}, ONE_OF_EACH)],
    ids=["it is no longer paused", "all is to be left"],
)
def test_a_deletion_that_waits_heeds_what_is_edited(stage: Stage, edit: Any, left: Any) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        stage.patch("recommender", {"metadata": {"annotations": {PAUSED: "true"}}})
        stage.delete("recommender")
        stage.until(lambda: stage.stands("recommender") == ("False", "Paused"))
        stage.patch("recommender", edit)
        stage.until_gone("recommender")
        assert stage.live.holdings() == left


def test_each_transition_and_each_thing_made_is_one_event(stage: Stage) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        stage.patch("recommender", {"metadata": {"annotations": {RECONCILE_AT: "again"}}})
        stage.until(lambda: stage.get("recommender")["status"].get("lastReconcileAt") == "again")
        events = stage.events("recommender")
    reasons = [reason for _, reason, _ in events]
    assert len(events) == len(set(events))
    for kind in ONE_OF_EACH:
        assert reasons.count(f"{kind}Created") == 1
    assert reasons.count("Ready") == 1
    assert reasons.index("ServiceCreated") < reasons.index("RollingOut") < reasons.index("Ready")
    assert {type_ for type_, _, _ in events} == {"Normal"}


def test_an_object_that_is_refused_does_not_hold_up_the_others(stage: Stage) -> None:
    with stage.operator:
        stage.apply("lost")
        stage.patch("lost", {"spec": {"ingress": {"paths": ["/lost/*"]}}})
        stage.until_ready("lost")
        mark = stage.live.mark
        stage.change_environment(policy={"images": ["registry.example.com/inference-server:1.4.0"]})
        stage.patch("lost", {"spec": {"image": BETTER}})
        stage.apply("recommender")
        stage.until_ready("recommender")
        stage.until(lambda: stage.stands("lost") == ("False", "ForbiddenByPolicy"))
        assert BETTER in next(
            c["message"] for c in stage.get("lost")["status"]["conditions"] if c["type"] == "Accepted"
        )
        assert ("Warning", "ForbiddenByPolicy") in [event[:2] for event in stage.events("lost")]
        assert stage.live.writes(since=mark).count("ecs:CreateService") == 1
        assert "ecs:UpdateService" not in stage.live.writes(since=mark)


def test_a_stored_object_that_no_longer_validates_says_so_and_can_be_deleted(
    stage: Stage, own_cluster: Cluster
) -> None:
    name = f"{DEPLOYMENTS}.{OBJECT[0]}"
    loosen = (
        '[{"op": "remove", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/x-kubernetes-validations"}]'
    )
    try:
        own_cluster.kubectl("patch", "crd", name, "--type=json", "-p", loosen)
        eventually(lambda: taken(stage, "wrong", cpu="4", memory="2Gi"), 10)  # the server takes a moment to follow
    finally:
        own_cluster.apply_crds(CRDS)
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        stage.until(lambda: stage.stands("wrong") == ("False", "InvalidSpec"))
        message = next(c["message"] for c in stage.get("wrong")["status"]["conditions"] if c["type"] == "Ready")
        assert "memory" in message
        assert "Next: " in message
        stage.delete("wrong")
        stage.until_gone("wrong")
        assert stage.live.holdings() == ONE_OF_EACH


def taken(stage: Stage, name: str, **spec: Any) -> bool:
    """Whether the API server takes the object by now."""
    try:
        stage.apply(name, **spec)
    except ApiException as error:
        if error.status != HTTPStatus.UNPROCESSABLE_ENTITY:
            raise
        return False
    return True


def test_an_environment_that_is_made_after_the_object_wakes_it(stage: Stage) -> None:
    environment = stage.custom.get_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.namespace)
    stage.custom.delete_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.namespace)
    with stage.operator:
        stage.apply("recommender")
        stage.until(lambda: stage.stands("recommender") == ("False", "EnvironmentNotFound"))
        assert stage.live.calls() == []
        environment["metadata"] = {"name": stage.namespace}
        stage.custom.create_cluster_custom_object(*OBJECT, ENVIRONMENTS, environment)
        stage.until_ready("recommender")
        told = stage.custom.get_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.namespace)["status"]
        assert {c["type"]: c["status"] for c in told["conditions"]}["Ready"] == "True"


def test_an_environment_whose_finalizer_was_taken_away_while_in_use_is_gone_for_its_objects_too(stage: Stage) -> None:
    def refused() -> bool:
        return stage.stands("one", "Accepted") == ("False", "EnvironmentNotFound")

    with stage.operator:
        stage.apply("one")
        stage.until_ready("one")
        stage.custom.delete_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.namespace)
        stage.until(lambda: stage.environment_stands()[1] == "InUse")
        stage.patch_environment({"metadata": {"finalizers": None}})
        stage.apply("two")  # which has the environment looked at
        stage.until(refused)
        again = stage.live.account.environment(stage.namespace)
        again["metadata"] = {"name": stage.namespace}
        stage.custom.create_cluster_custom_object(*OBJECT, ENVIRONMENTS, again)
        stage.until_ready("one", "two")


def test_an_environment_in_use_stays_until_its_last_service_is_gone_says_which_are_left_and_is_edited(
    stage: Stage,
) -> None:
    with stage.operator:
        stage.apply("one")
        stage.apply("two")
        stage.until_ready("one", "two")
        stage.until(lambda: (stage.environment() or {})["status"]["services"] == 2)
        stage.custom.delete_cluster_custom_object(*OBJECT, ENVIRONMENTS, stage.namespace)
        stage.until(lambda: stage.environment_stands()[1] == "InUse")
        assert f"{stage.namespace}/one, {stage.namespace}/two" in stage.environment_stands()[2]
        stage.change_environment(policy={"maximum": {"replicas": 0}})
        stage.until(lambda: stage.stands("two") == ("False", "ForbiddenByPolicy"))
        stage.change_environment(policy=None)
        stage.until_ready("two")
        stage.delete("one")
        stage.until_gone("one")
        stage.until(lambda: f"there is {stage.namespace}/two." in stage.environment_stands()[2])
        stage.patch("two", {"spec": {"replicas": 2}})
        stage.until_ready("two")
        stage.delete("two")
        stage.until_gone("two")
        stage.until(lambda: stage.environment() is None)
        assert stage.live.holdings() == {}
        again = stage.live.account.environment(stage.namespace)
        again["metadata"] = {"name": stage.namespace}
        stage.custom.create_cluster_custom_object(*OBJECT, ENVIRONMENTS, again)


def test_a_policy_on_namespaces_is_kept_at_once_when_it_changes(stage: Stage) -> None:
    with stage.operator:
        stage.apply("one")
        stage.until_ready("one")
        stage.change_environment(policy={"namespaces": {"matchLabels": {"inference": "true"}}})
        stage.until(lambda: stage.stands("one", "Accepted") == ("False", "ForbiddenByPolicy"))
        name = {"kubernetes.io/metadata.name": stage.namespace}
        stage.change_environment(policy={"namespaces": {"matchLabels": {"inference": None, **name}}})
        stage.until_ready("one")


def test_throttles_errors_and_lost_answers_on_the_way_delay_it_and_change_nothing(stage: Stage) -> None:
    for fault in ("throttle", "error", "lost"):
        stage.live.cloud.faults.add(Fault(kind=fault, probability=0.1, times=4))
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender", within=60)
        stage.live.cloud.faults.clear()
        assert stage.live.holdings() == ONE_OF_EACH
        assert len({call.fault for call in stage.live.cloud.calls.find()} - {None}) >= 2


@pytest.mark.parametrize("busy", [False, True], ids=["at rest", "in a pass"])
def test_sigterm_ends_it_with_0_in_less_than_ten_seconds(stage: Stage, busy: bool) -> None:
    if busy:
        stage.live.cloud.faults.add(Fault(kind="latency", seconds=0.2))
    with stage.operator:
        stage.apply("recommender")
        stage.until(lambda: stage.live.calls() if busy else stage.stands("recommender") == ("True", "Ready"))
        codes: list[int] = []
        assert seconds(lambda: codes.append(stage.operator.stop(within=30))) < 10
        assert codes == [0]


def test_the_metrics_tell_of_passes_and_of_calls_to_aws(stage: Stage) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        samples = metrics(stage)
    assert samples['inference_operator_reconciles_total{result="Ready"}'] >= 1
    assert samples['inference_operator_aws_calls_total{code="OK",operation="ecs:CreateService"}'] == 1
    assert samples["inference_operator_reconcile_seconds_count"] >= 2


def test_the_log_is_one_json_object_a_line_and_names_the_object(stage: Stage) -> None:
    with stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        assert stage.operator.stop() == 0
        lines = [json.loads(line) for line in stage.operator.log.read_text().splitlines()]
    steps = [line for line in lines if line["message"] == "step"]
    assert {line["kind"] for line in steps} == set(ONE_OF_EACH)
    assert all((line["name"], line["namespace"]) == ("recommender", stage.namespace) for line in steps)
    assert not [line for line in lines if line["level"] in ("error", "critical")]
