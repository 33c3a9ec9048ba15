"""Objects that Argo CD keeps: applied on the server by another field manager, which finds nothing to do afterwards."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

pytest.importorskip("lupa", reason="no Lua is installed")

from inference_sandbox.control_plane import Cluster
from inference_sandbox.ports import TaskLaunch
from inference_sandbox.tasks.scripted import Script, failing
from tests.argo import health_of
from tests.operator.builders import deployment_document
from tests.operator.live import MOMENT, Stage

MANAGER = "--field-manager=argocd-controller"
NAME = "recommender"


class Application:
    """One manifest in Git, and what Argo CD does with it."""

    def __init__(self, cluster: Cluster, stage: Stage) -> None:
        self._cluster = cluster
        self._stage = stage
        self.manifest = deployment_document(NAME, stage.namespace, environment=stage.namespace, replicas=2)
        self.manifest["metadata"] = {"name": NAME, "namespace": stage.namespace}

    def sync(self) -> None:
        self._cluster.kubectl("apply", "--server-side", MANAGER, "-f", "-", stdin=yaml.safe_dump(self.manifest))

    def difference(self) -> str:
        """kubectl, too, fails if there is one."""
        return self._cluster.kubectl("diff", "--server-side", MANAGER, "-f", "-", stdin=yaml.safe_dump(self.manifest))

    def live(self) -> dict[str, Any]:
        return self._stage.get(NAME)

    def healths_until(self, wanted: str) -> list[str]:
        """Each health that is shown on the way, once in a row."""
        seen: list[str] = []

        def reached() -> bool:
            found = health_of(self.live())
            if seen[-1:] != [found]:
                seen.append(found)
            return found == wanted

        self._stage.until(reached)
        return seen


@pytest.fixture
def application(own_cluster: Cluster, stage: Stage) -> Application:
    return Application(own_cluster, stage)


def broken_images_fail(launch: TaskLaunch) -> Script:
    image = launch.containers[0].definition["image"]
    if image.endswith(":broken"):
        return failing(f"CannotPullContainerError: failed to resolve ref {image}: not found")
    return Script(starts_after=MOMENT, stops_after=MOMENT)


def test_an_application_is_progressing_then_healthy_degraded_after_a_rollback_and_suspended_while_paused(
    application: Application, stage: Stage
) -> None:
    stage.live.runner.script = broken_images_fail
    application.sync()
    assert health_of(application.live()) == "Progressing"
    with stage.operator:
        assert application.healths_until("Healthy") == ["Progressing", "Healthy"]
        assert application.difference() == ""

        good = application.manifest["spec"]["image"]
        application.manifest["spec"]["image"] = "registry.example.com/inference-server:broken"
        application.sync()
        assert application.healths_until("Degraded") == ["Progressing", "Degraded"]
        assert application.difference() == ""
        assert stage.stands(NAME) != ("True", "")

        application.manifest["metadata"]["annotations"] = {"ecs-inference.dev/paused": "true"}
        application.sync()
        assert application.healths_until("Suspended")[-1] == "Suspended"
        stage.until(lambda: "Paused" in str(application.live()["status"]["conditions"]))
        assert application.difference() == ""

        del application.manifest["metadata"]["annotations"]
        application.manifest["spec"]["image"] = good
        application.sync()
        assert application.healths_until("Healthy")[-1] == "Healthy"
        assert application.difference() == ""


def test_the_operator_owns_its_finalizer_and_the_status_and_nothing_else(
    application: Application, stage: Stage
) -> None:
    application.sync()
    with stage.operator:
        stage.until_ready(NAME)
        generation = application.live()["metadata"]["generation"]
        application.sync()
        assert application.live()["metadata"]["generation"] == generation
    owned = {entry["manager"]: entry for entry in application.live()["metadata"]["managedFields"]}
    argo = owned.pop("argocd-controller")
    assert "f:spec" in argo["fieldsV1"]
    assert owned
    for entry in owned.values():
        fields = dict(entry["fieldsV1"])
        if entry.get("subresource") == "status":
            assert set(fields) == {"f:status"}
        else:
            assert set(fields) == {"f:metadata"}
            assert set(fields["f:metadata"]) == {"f:finalizers"}
