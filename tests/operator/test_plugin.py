"""`kubectl inference`: what it tells, what it asks for, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from inference_operator.plugin.main import complete, main
from inference_operator.plugin.render import summary, tree
from inference_operator.plugin.timeline import beside, duration, lines, timeline
from inference_operator.plugin.verdict import judge
from inference_sandbox.control_plane import Cluster
from inference_sandbox.pytest_plugin import Kube
from tests.operator.builders import deployment_document, environment_document

ECS = "arn:aws:ecs:eu-west-1:222222222222"
MISSING = "CannotPullContainerError: registry.example.com/inference-server:broken: not found"


def condition(kind: str, status: str, reason: str, at: str, message: str = "so it is") -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastTransitionTime": f"2026-11-24T{at}Z",
        "observedGeneration": 2,
    }


def stopped(number: int, at: str) -> dict[str, Any]:
    return {
        "task": f"task-{number}",
        "at": f"2026-11-24T{at}Z",
        "cause": "ImageNotFound",
        "stopCode": "TaskFailedToStart",
        "reason": MISSING,
        "container": "app",
    }


STATUS: dict[str, Any] = {
    "observedGeneration": 2,
    "conditions": [
        condition("Ready", "False", "RolledBack", "12:10:48", "Service: shop_recommender:2 failed"),
        condition("Stalled", "True", "RolledBack", "12:10:50"),
        condition("LogGroupReady", "True", "AsSpecified", "12:00:00", "/inference/shop/recommender, kept 90 days"),
        condition("ServiceReady", "False", "RolledBack", "12:10:30", "shop_recommender:2 failed"),
    ],
    "url": "https://inference.example.com/shop/recommender",
    "replicas": 1,
    "readyReplicas": 1,
    "desired": {
        "revision": f"{ECS}:task-definition/shop_recommender:2",
        "image": "registry.example.com/inference-server:broken",
        "model": "/recommender/1",
    },
    "running": {
        "revision": f"{ECS}:task-definition/shop_recommender:1",
        "image": "registry.example.com/inference-server:1.4.0",
        "model": "/recommender/1",
    },
    "deployment": {"id": "ecs-svc/2", "state": "RolledBack", "failedTasks": 3, "threshold": 3, "strategy": "ROLLING"},
    "lastFailure": {
        "cause": "ImageNotFound",
        "message": MISSING,
        "nextStep": "Push the image, or set spec.image (or sidecars.image, logging.router.image) to one that exists.",
        "container": "app",
    },
    "history": [
        {
            "generation": 2,
            "outcome": "RolledBack",
            "cause": "ImageNotFound",
            "revision": f"{ECS}:task-definition/shop_recommender:2",
            "image": "registry.example.com/inference-server:broken",
            "model": "/recommender/1",
            "startedAt": "2026-11-24T12:10:00Z",
            "finishedAt": "2026-11-24T12:10:48Z",
        },
        {
            "generation": 1,
            "outcome": "Completed",
            "revision": f"{ECS}:task-definition/shop_recommender:1",
            "image": "registry.example.com/inference-server:1.4.0",
            "model": "/recommender/1",
            "startedAt": "2026-11-23T23:59:50Z",
            "finishedAt": "2026-11-24T00:00:17Z",
        },
    ],
    "events": [
        {
            "id": "e2",
            "at": "2026-11-24T12:10:48Z",
            "message": "(service shop_recommender) (deployment ecs-svc/2) deployment failed: tasks failed to start.",
            "severity": "Error",
        },
        {
            "id": "e1",
            "at": "2026-11-24T12:10:01Z",
            "message": f"(service shop_recommender) has started 1 tasks: (task {ECS}:task/inference/task-1).",
            "severity": "Info",
        },
    ],
    "stoppedTasks": [stopped(3, "12:10:46"), stopped(2, "12:10:31"), stopped(1, "12:10:16")],
    "exec": {
        "readyTasks": 1,
        "message": "aws ecs execute-command --region eu-west-1 --cluster inference "
        "--task 0123 --container app --interactive --command /bin/sh",
    },
    "resources": {
        "cluster": "inference",
        "service": f"{ECS}:service/inference/shop_recommender",
        "logGroups": ["/inference/shop/recommender"],
    },
}
POSTED = {
    "metadata": {"creationTimestamp": "2026-11-24T12:10:00Z"},
    "eventTime": "2026-11-24T12:10:00.100000Z",
    "type": "Normal",
    "reason": "ServiceUpdated",
    "note": "taskDefinition",
    "series": {"count": 2, "lastObservedTime": "2026-11-24T12:10:02.500000Z"},
}

AS_PEOPLE_READ_IT = """\
2026-11-23 UTC
23:59:50  rollout     rollout of generation 1 began: image inference-server:1.4.0, model /recommender/1
2026-11-24 UTC
00:00:17  rollout     rollout of generation 1: Completed after 27s
12:10:00  rollout     rollout of generation 2 began: image inference-server:broken, model /recommender/1
12:10:01  ecs         has started 1 tasks: (task task-1).
12:10:02  operator    ServiceUpdated: taskDefinition (2 times)
12:10:46  task      x 3 tasks stopped: ImageNotFound in app. \
CannotPullContainerError: registry.example.com/inference-server:broken: not found
12:10:48  rollout   x rollout of generation 2: RolledBack after 48s, ImageNotFound
12:10:48  ecs       x (deployment ecs-svc/2) deployment failed: tasks failed to start.
12:10:48  condition ! Ready became False: RolledBack
12:10:50  condition ! Stalled became True: RolledBack"""


def document(**status: Any) -> dict[str, Any]:
    made = deployment_document()
    made["metadata"]["generation"] = 2
    return {**made, "status": {**deepcopy(STATUS), **status}}


def test_the_timeline_reads_as_a_story() -> None:
    assert "\n".join(lines(timeline(document(), [POSTED]))) == AS_PEOPLE_READ_IT


def test_beside_what_ready_says_the_event_with_the_same_words_is_left_out() -> None:
    same = {**POSTED, "reason": "RolledBack", "note": "Service: shop_recommender:2 failed", "series": None}
    story = timeline(document(), [POSTED, same])
    assert [entry.text for entry in story if entry not in beside(document(), story)] == [f"RolledBack: {same['note']}"]


def test_an_object_of_which_nothing_is_known_yet_has_an_empty_story() -> None:
    assert timeline(deployment_document()) == []
    assert "nothing is known yet" in "\n".join(summary(deployment_document()))


def test_the_summary_says_what_somebody_else_keeps_changing() -> None:
    contested = {"type": "Contested", "status": "True", "message": "somebody else keeps changing Service desiredCount"}
    it = {**deployment_document(), "status": {"conditions": [contested]}}
    assert "Contested: somebody else keeps changing Service desiredCount" in "\n".join(summary(it))


def test_the_summary_says_what_serves_what_failed_and_what_to_do() -> None:
    told = "\n".join(summary(document()))
    assert "Running:   shop_recommender:1, registry.example.com/inference-server:1.4.0, /recommender/1" in told
    assert f"Failure:   ImageNotFound in app: {MISSING}" in told
    assert (
        "Next step: Push the image, or set spec.image (or sidecars.image, logging.router.image) to one that exists."
        in told
    )
    assert "Rollout:   RolledBack (ROLLING, 3 tasks failed of 3 that it may)" in told


@pytest.mark.parametrize(
    ("end", "told"),
    [("12:00:09", "9s"), ("12:04:10", "4m10s"), ("14:30:00", "2h30m"), ("11:00:00", "0s"), (None, "-")],
)
def test_durations_are_brief(end: str | None, told: str) -> None:
    assert duration("2026-11-24T12:00:00Z", f"2026-11-24T{end}Z" if end else None) == told


READY = condition("Ready", "True", "Ready", "12:00:00")
ROLLING = condition("Ready", "False", "RollingOut", "12:00:00")


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ({"replicas": 3}, "1 ready, 3 asked for"),
        ({"autoscaling": {"minReplicas": 2, "maxReplicas": 10}}, "1 ready, 2 to 10 asked for"),
        ({"replicas": 3, "suspend": True}, "1 ready, 0 asked for"),
    ],
)
def test_as_many_tasks_are_said_to_be_asked_for_as_are(spec: Mapping[str, Any], shown: str) -> None:
    it = document()
    it["spec"] |= spec
    assert shown in "\n".join(summary(it))


@pytest.mark.parametrize(
    ("conditions", "meta", "state"),
    [
        ([READY], {}, "ready"),
        ([READY], {"generation": 3}, "pending"),
        ([READY], {"annotations": {"ecs-inference.dev/reconcile-at": "now"}}, "pending"),
        ([READY], {"deletionTimestamp": "2026-11-24T12:00:00Z"}, "failed"),
        ([ROLLING], {}, "pending"),
        ([ROLLING, condition("Stalled", "True", "RolledBack", "12:00:00")], {}, "failed"),
        ([ROLLING, condition("Stalled", "True", "EnvironmentNotFound", "12:00:00")], {}, "pending"),
        ([], {}, "pending"),
    ],
)
def test_a_rollback_is_a_failure_and_an_unseen_spec_is_none(
    conditions: list[Any], meta: Mapping[str, Any], state: str
) -> None:
    it = document(conditions=conditions)
    it["metadata"] |= meta
    assert judge(it).state == state


# -- against a real API server, without an operator


@pytest.fixture
def run(kube: Kube, control_plane: Cluster, crds: None) -> Callable[..., Result]:
    def invoke(*words: str) -> Result:
        return CliRunner().invoke(
            main, ["--kubeconfig", str(control_plane.kubeconfig), "-n", kube.namespace, *words], catch_exceptions=False
        )

    return invoke


@pytest.fixture
def stored(kube: Kube, control_plane: Cluster, crds: None) -> dict[str, Any]:
    """The object of these tests, in the API server, with its status."""
    it = document()
    it["metadata"] = {"name": "recommender", "namespace": kube.namespace}
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(it))
    control_plane.kubectl(
        "patch", "infdep", "recommender", "-n", kube.namespace, "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": {**STATUS, "observedGeneration": 1}}),
    )  # fmt: skip
    return it


def asked_of(control_plane: Cluster, namespace: str) -> dict[str, str]:
    found = json.loads(control_plane.kubectl("get", "infdep", "recommender", "-n", namespace, "-o", "json"))
    made: dict[str, str] = found["metadata"].get("annotations", {})
    return {key: value for key, value in made.items() if key.startswith("ecs-inference.dev/")}


@pytest.mark.usefixtures("stored")
def test_status_lists_shows_one_and_speaks_json(run: Callable[..., Result]) -> None:
    header, line = run("status").output.splitlines()
    assert header.split() == ["NAME", "READY", "REASON", "REPLICAS", "MODEL", "URL", "AGE"]
    assert line.split()[:5] == ["recommender", "False", "RolledBack", "1/1", "/recommender/1"]
    assert "shop_recommender:1" in run("status", "-o", "wide").output
    assert "recommender" in run("status", "-A").output
    told = run("status", "recommender").output
    assert "Next step: Push the image" in told
    assert told.splitlines()[-1] == "12:10:50  condition ! Stalled became True: RolledBack"
    shown = json.loads(run("status", "recommender", "-o", "json").output)
    assert (shown["verdict"], shown["status"]["lastFailure"]["cause"]) == ("failed", "ImageNotFound")


@pytest.mark.usefixtures("stored")
def test_events_history_and_tree_are_shown(run: Callable[..., Result]) -> None:
    assert "3 tasks stopped: ImageNotFound" in run("events", "recommender").output
    entries = yaml.safe_load(run("events", "recommender", "-o", "yaml").output)
    assert entries[0]["source"] == "rollout"
    first = run("history", "recommender").output.splitlines()[1].split()
    assert first[:3] == ["2", "RolledBack", "ImageNotFound"]
    told = run("tree", "recommender").output
    assert "✗ Service" in told
    assert "/inference/shop/recommender" in told


@pytest.mark.parametrize(
    ("status", "mark", "ends"),
    [("True", "✓", "cluster inference, eu-west-1"), ("False", "✗", "eu-west-1: no cluster"), ("", "?", "eu-west-1")],
)
def test_the_tree_tells_what_is_wrong_with_the_environment(status: str, mark: str, ends: str) -> None:
    ready = {"type": "Ready", "status": status, "reason": "VerificationFailed", "message": "no cluster"}
    place = {**environment_document(), "status": {"conditions": [ready] if status else []}}
    line = str(tree(deployment_document(), place).children[0].label)
    assert line.startswith(f"{mark} InferenceEnvironment default  ")
    assert line.endswith(ends)


@pytest.mark.usefixtures("stored")
def test_nothing_is_cut_on_a_narrow_terminal(run: Callable[..., Result], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"COLUMNS": "40", "FORCE_COLOR": "1", "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    shown = run("status", "-o", "wide").output
    for whole in ("recommender", "RolledBack", "https://inference.example.com/shop/recommender", "shop_recommender:1"):
        assert whole in shown
    assert len(shown.splitlines()) == 2
    assert "Completed" in run("history", "recommender").output


@pytest.mark.usefixtures("stored")
def test_logs_and_exec_print_the_command_of_aws(run: Callable[..., Result]) -> None:
    assert run("logs", "recommender", "-f").output == (
        "aws logs tail /inference/shop/recommender --region eu-west-1 --since 10m --follow\n"
    )
    assert run("exec", "recommender", "-c", "log_router", "--", "ls", "/models").output == (
        "aws ecs execute-command --region eu-west-1 --cluster inference --task 0123 --container log_router "
        "--interactive --command 'ls /models'\n"
    )


@pytest.mark.usefixtures("stored")
def test_what_is_asked_of_the_operator_is_an_annotation(
    run: Callable[..., Result], kube: Kube, control_plane: Cluster
) -> None:
    assert run("reconcile", "recommender", "--no-wait").exit_code == 0
    assert run("pause", "recommender").exit_code == 0
    assert run("rollback", "recommender").exit_code == 0
    asked = asked_of(control_plane, kube.namespace)
    assert set(asked) == {f"ecs-inference.dev/{name}" for name in ("reconcile-at", "paused", "rollback-at")}
    assert asked["ecs-inference.dev/paused"] == "true"
    assert run("resume", "recommender").exit_code == 0
    assert "ecs-inference.dev/paused" not in asked_of(control_plane, kube.namespace)
    refused = run("continue", "recommender")
    assert refused.exit_code == 1
    assert "its state is RolledBack" in refused.output


@pytest.mark.usefixtures("stored")
def test_wait_fails_on_a_rollback_and_ends_when_time_is_up(
    run: Callable[..., Result], kube: Kube, control_plane: Cluster
) -> None:
    failed = run("wait", "recommender")
    assert failed.exit_code == 1
    assert "RolledBack" in failed.output
    control_plane.kubectl(
        "patch", "infdep", "recommender", "-n", kube.namespace, "--type=merge", "-p", '{"spec":{"replicas":2}}'
    )
    assert run("wait", "recommender", "--timeout", "0s").exit_code == 3
    status = {"status": {"observedGeneration": 2, "conditions": [READY]}}
    control_plane.kubectl(
        "patch", "infdep", "recommender", "-n", kube.namespace, "--subresource=status", "--type=merge",
        "-p", json.dumps(status),
    )  # fmt: skip
    assert run("wait", "recommender").exit_code == 0


def test_what_is_not_there_is_told(run: Callable[..., Result]) -> None:
    absent = run("status", "nobody")
    assert absent.exit_code == 1
    assert "there is no nobody in namespace" in absent.output
    nowhere = CliRunner().invoke(main, ["--kubeconfig", "/nowhere", "status"])
    assert nowhere.exit_code == 1
    assert "--kubeconfig" in nowhere.output
    assert run("wait", "nobody", "--timeout", "soon").exit_code == 2


def test_plan_and_diff_tell_what_would_happen_before_it_does(
    run: Callable[..., Result], kube: Kube, tmp_path: Path, stored: Mapping[str, Any]
) -> None:
    environment, changed = tmp_path / "environment.yaml", tmp_path / "changed.yaml"
    environment.write_text(yaml.safe_dump(environment_document()))
    spec = {**stored["spec"], "image": "registry.example.com/inference-server:2"}
    meta = {"name": "recommender", "namespace": kube.namespace}
    changed.write_text(yaml.safe_dump({**stored, "metadata": meta, "spec": spec, "status": None}))
    planned = run("plan", "-f", str(environment), "-f", str(changed))
    assert planned.exit_code == 0, planned.output
    assert "ecs.create_service" in planned.output
    running = run("diff", "recommender")
    assert running.exit_code == 1
    assert "+ registry.example.com/inference-server:broken  (asked for)" in running.output


def test_diff_tells_whether_new_tasks_are_rolled_out(
    run: Callable[..., Result], kube: Kube, control_plane: Cluster, tmp_path: Path
) -> None:
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(environment_document(kube.namespace)))
    it = {**deployment_document(environment=kube.namespace), "metadata": {"name": "web", "namespace": kube.namespace}}
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(it))

    def diff(**spec: Any) -> Result:
        file = tmp_path / "web.yaml"
        file.write_text(yaml.safe_dump({**it, "spec": {**it["spec"], **spec}}))
        return run("diff", "-f", str(file))

    try:
        same, scaled, other = diff(), diff(replicas=3), diff(image="registry.example.com/inference-server:2")
    finally:
        control_plane.kubectl("delete", "infenv", kube.namespace)
    assert (same.exit_code, same.output) == (0, "")
    assert scaled.exit_code == other.exit_code == 1
    assert "+replicas: 3" in scaled.output
    assert "the tasks that run go on" in scaled.output
    assert "new tasks are rolled out" in other.output


def test_where_a_policy_asks_for_labels_of_the_namespace_they_are_asked_of_the_cluster(
    run: Callable[..., Result], kube: Kube, control_plane: Cluster, tmp_path: Path
) -> None:
    policy = {"namespaces": {"matchLabels": {"inference": "true"}}}
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(environment_document(kube.namespace, policy=policy)))
    it = {**deployment_document(environment=kube.namespace), "metadata": {"name": "web"}}
    control_plane.kubectl("apply", "-n", kube.namespace, "-f", "-", stdin=json.dumps(it))
    file = tmp_path / "web.yaml"
    file.write_text(yaml.safe_dump({**it, "spec": {**it["spec"], "image": "registry.example.com/inference-server:2"}}))
    try:
        without = run("plan", "web")
        control_plane.kubectl("label", "namespace", kube.namespace, "inference=true")
        planned, shown = run("plan", "-f", str(file)), run("diff", "-f", str(file))
    finally:
        control_plane.kubectl("delete", "infenv", kube.namespace)
    assert "does not have the labels" in without.output
    assert planned.output.startswith(f"# {kube.namespace}/web\n"), "the file names no namespace"
    assert f'"serviceName": "{kube.namespace}_web"' in planned.output
    assert "new tasks are rolled out" in shown.output


@pytest.mark.parametrize("applied", [("apply",), ("apply", "--server-side", "--field-manager=argocd-controller")])
def test_diff_shows_what_goes_because_the_file_has_it_no_more(
    applied: tuple[str, ...], run: Callable[..., Result], kube: Kube, control_plane: Cluster, tmp_path: Path
) -> None:
    it = {**deployment_document(cpu="2", memory="4Gi"), "metadata": {"name": "web", "namespace": kube.namespace}}
    it["spec"] |= {"env": [{"name": "A", "value": "1"}], "health": {"path": "/healthz", "startup": "10m"}}
    control_plane.kubectl(*applied, "-f", "-", stdin=json.dumps(it))
    control_plane.kubectl("label", "infdep", "web", "-n", kube.namespace, "team=search")
    control_plane.kubectl("scale", "infdep", "web", "-n", kube.namespace, "--replicas=3")
    less = {"image": it["spec"]["image"], "models": it["spec"]["models"], "health": {"startup": "10m"}}
    file = tmp_path / "web.yaml"
    file.write_text(yaml.safe_dump({**it, "spec": less}))
    shown = run("diff", "-f", str(file))
    assert shown.exit_code == 1
    told = [line for line in shown.output.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert sorted(told) == [
        "+  path: /readyz", "+cpu: '1'", "+memory: 2Gi",
        "-  path: /healthz", "-  value: '1'", "-- name: A", "-cpu: '2'", "-env:", "-memory: 4Gi",
    ]  # fmt: skip
    control_plane.kubectl(*applied, "-f", str(file))
    assert (run("diff", "-f", str(file)).exit_code) == 0


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "can't be read"),
        ("a line of a log", "holds no objects of Kubernetes"),
        ("kind: Namespace\nmetadata: {name: shop}\n", "there is no InferenceDeployment in"),
        ("kind: InferenceDeployment\nspec: {}\n", "of the kind InferenceDeployment without a metadata.name"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "diff"])
def test_a_file_of_which_nothing_can_be_said_is_an_error(
    command: str, text: str, complaint: str, run: Callable[..., Result], tmp_path: Path
) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(text)
    done = run(command, "-f", str(file))
    assert done.exit_code == 1
    assert complaint in done.output


@pytest.mark.usefixtures("stored")
def test_a_list_as_kubectl_get_prints_it_is_as_good_as_its_objects(
    run: Callable[..., Result], kube: Kube, control_plane: Cluster, tmp_path: Path
) -> None:
    file = tmp_path / "all.yaml"
    file.write_text(control_plane.kubectl("get", "infdep", "-n", kube.namespace, "-o", "yaml"))
    environment = tmp_path / "environment.yaml"
    environment.write_text(yaml.safe_dump(environment_document()))
    assert "ecs.create_service" in run("plan", "-f", str(environment), "-f", str(file)).output
    compared = run("diff", "-f", str(environment), "-f", str(file))
    assert "InferenceEnvironment default is not compared" in compared.stderr, "silence would say that it is as it was"


def test_diff_of_an_object_that_is_new_shows_all_of_it(
    run: Callable[..., Result], kube: Kube, control_plane: Cluster, tmp_path: Path
) -> None:
    it = {**deployment_document(environment=kube.namespace), "metadata": {"name": "web", "namespace": kube.namespace}}
    file = tmp_path / "web.yaml"
    file.write_text(yaml.safe_dump(it))
    without = run("diff", "-f", str(file))
    assert "there is no environment" in without.output
    assert "namespace" not in without.output.splitlines()[-1], "environments are in none"
    control_plane.kubectl("apply", "-f", "-", stdin=json.dumps(environment_document(kube.namespace)))
    try:
        shown = run("diff", "-f", str(file))
    finally:
        control_plane.kubectl("delete", "infenv", kube.namespace)
    assert shown.exit_code == 1
    assert f"+image: {it['spec']['image']}" in shown.output
    assert "new tasks are rolled out" in shown.output
    file.write_text(yaml.safe_dump({**it, "spec": {**it["spec"], "replica": 2}}))
    assert ".spec.replica: field not declared" in run("diff", "-f", str(file)).output


def test_diff_looks_in_the_namespace_of_the_file(
    kube: Kube, control_plane: Cluster, tmp_path: Path, stored: Mapping[str, Any]
) -> None:
    file = tmp_path / "recommender.yaml"
    file.write_text(yaml.safe_dump({key: stored[key] for key in ("apiVersion", "kind", "metadata", "spec")}))
    words = ["--kubeconfig", str(control_plane.kubeconfig), "-n", "default", "diff", "-f", str(file)]
    same = CliRunner().invoke(main, words, catch_exceptions=False)
    assert (same.exit_code, same.output) == (0, "")


def test_it_runs_as_a_program_and_is_completed_by_kubectl(
    kube: Kube, control_plane: Cluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-inference", "sta"])
    complete()
    assert capsys.readouterr().out == "status\n:4\n"
    command = [sys.executable, "-m", "inference_operator.plugin", "-n", kube.namespace, "status"]
    environment = {**os.environ, "KUBECONFIG": str(control_plane.kubeconfig)}
    told = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert told.stderr.decode() == "No InferenceDeployments found.\n"
