"""The control plane as its users see it: up, guarded by RBAC, shared, and gone when nobody holds it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from inference_sandbox.control_plane import (
    Binaries,
    Cluster,
    ControlPlane,
    ControlPlaneError,
    KubectlError,
)
from inference_sandbox.pytest_plugin import Kube
from tests.eventually import eventually

KEEPER = "inference_sandbox.control_plane.keeper"
HOLDER = """
import sys
from pathlib import Path
from inference_sandbox.control_plane import ControlPlane
with ControlPlane(Path(sys.argv[1])) as control_plane:
    print(control_plane.ready().kubeconfig, flush=True)
    sys.stdin.read()
"""


def processes_of(workdir: Path) -> list[psutil.Process]:
    """Those that run now with this folder on their command line: the keeper, etcd and kube-apiserver."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and any(str(workdir) in part for part in process.info["cmdline"] or []):
            found.append(process)
    return found


def names(processes: list[psutil.Process]) -> set[str]:
    return {Path(process.cmdline()[0]).name for process in processes}


def hold(workdir: Path) -> subprocess.Popen[str]:
    """Another process that holds the control plane until its standard input ends. It is up on return."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(workdir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline().strip().endswith("kubeconfig")
    return holder


def can_list(cluster: Cluster, resource: str) -> bool:
    try:
        cluster.kubectl("get", resource)
    except KubectlError:
        return False
    return True


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A program that can't start."""
    path = tmp_path / "program"
    path.write_text("#!/bin/sh\necho 'no space left on device'\nexit 3\n")
    path.chmod(0o755)
    return path


def test_the_api_server_tells_its_version_as_a_release_does(control_plane: Cluster) -> None:
    version = yaml.safe_load(control_plane.kubectl("version", "-o", "yaml"))["serverVersion"]
    assert re.fullmatch(r"v1\.\d+\.\d+", version["gitVersion"])
    assert version["gitVersion"].startswith(f"v{version['major']}.{version['minor']}.")


def test_each_test_has_a_namespace_that_is_empty(kube: Kube) -> None:
    assert kube.core.read_namespace(kube.namespace).status.phase == "Active"
    assert kube.core.list_namespaced_config_map(kube.namespace).items == []


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(kube: Kube, tmp_path: Path) -> None:
    admin, ours = kube.cluster, ("-n", kube.namespace)
    admin.kubectl("create", "serviceaccount", "reader", *ours)
    kubeconfig = admin.kubeconfig_for("reader", namespace=kube.namespace, path=tmp_path / "kubeconfig")
    reader = Cluster(kubeconfig=kubeconfig, kubectl_program=admin.kubectl_program)
    with pytest.raises(KubectlError, match=rf"system:serviceaccount:{kube.namespace}:reader.*cannot list"):
        reader.kubectl("get", "configmaps")

    admin.kubectl("create", "role", "reader", "--verb=list", "--resource=configmaps", *ours)
    admin.kubectl(
        "create", "rolebinding", "reader", "--role=reader", f"--serviceaccount={kube.namespace}:reader", *ours
    )
    eventually(lambda: can_list(reader, "configmaps"))
    assert not can_list(reader, "secrets")
    assert kubeconfig.stat().st_mode & 0o077 == 0


def test_a_client_with_no_credentials_that_the_api_server_knows_is_refused(
    control_plane: Cluster, tmp_path: Path
) -> None:
    config = yaml.safe_load(control_plane.kubectl("config", "view", "--raw", "--flatten", "-o", "yaml"))
    config["users"][0]["user"] = {"token": "made-up"}
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
    stranger = Cluster(kubeconfig=tmp_path / "kubeconfig", kubectl_program=control_plane.kubectl_program)
    with pytest.raises(KubectlError, match="Unauthorized"):
        stranger.kubectl("get", "--raw", "/api/v1/namespaces")


def test_kinds_from_a_folder_are_served_once_they_are_applied(control_plane: Cluster, tmp_path: Path) -> None:
    group = f"{tmp_path.name.replace('_', '-').lower()}.example.com"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"widgets.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget"},
            "versions": [
                {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
            ],
        },
    }
    (tmp_path / "widgets.yaml").write_text(yaml.safe_dump(crd))
    control_plane.apply_crds(tmp_path)
    control_plane.apply_crds(tmp_path)
    assert control_plane.kubectl("get", f"widgets.{group}", "-A", "-o", "name") == ""


def test_a_folder_without_manifests_is_refused(control_plane: Cluster, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path))):
        control_plane.apply_crds(tmp_path)


def test_two_processes_share_one_control_plane_and_the_last_ends_it(control_plane: Cluster, tmp_path: Path) -> None:
    workdir = tmp_path / "a folder whose path is far too long for the address of a Unix socket" / ("x" * 100)
    first = hold(workdir)
    with ControlPlane(workdir) as shared:
        assert len(processes_of(workdir)) == 4  # the keeper, etcd, kube-apiserver, and the holder
        first.communicate("")
        assert first.returncode == 0
        assert "default" in shared.ready().kubectl("get", "namespaces", "-o", "name")
    assert names(processes_of(workdir)) <= {Path(sys.executable).name}  # the keeper, which goes after them
    eventually(lambda: not processes_of(workdir))
    assert list(workdir.glob("run-*")) == []


def test_a_control_plane_ends_when_its_holder_is_killed(control_plane: Cluster, tmp_path: Path) -> None:
    holder = hold(tmp_path)
    assert names(processes_of(tmp_path)) >= {"etcd", "kube-apiserver"}
    holder.kill()
    holder.communicate()
    eventually(lambda: not processes_of(tmp_path), timeout=15)


def test_a_killed_keeper_takes_its_programs_along_and_the_next_start_is_not_hindered(
    control_plane: Cluster, tmp_path: Path
) -> None:
    with ControlPlane(tmp_path) as first:
        first.ready()
        (keeper,) = (each for each in processes_of(tmp_path) if KEEPER in each.cmdline())
        os.kill(keeper.pid, signal.SIGKILL)
        eventually(lambda: not processes_of(tmp_path))
        with ControlPlane(tmp_path) as another:
            assert "default" in another.ready().kubectl("get", "namespaces", "-o", "name")
    eventually(lambda: not processes_of(tmp_path))


def test_a_program_that_cannot_start_is_named_with_the_end_of_its_log(script: Path, tmp_path: Path) -> None:
    binaries = Binaries(etcd=script, kube_apiserver=script, kubectl=script)
    workdir = tmp_path / "work"
    with (
        ControlPlane(workdir, binaries=binaries) as control_plane,
        pytest.raises(ControlPlaneError, match=r"(?s)(etcd|kube-apiserver) ended with 3.*no space left on device"),
    ):
        control_plane.ready()
    eventually(lambda: not processes_of(workdir))


def test_leaving_before_it_is_up_leaves_nothing_behind(control_plane: Cluster, tmp_path: Path) -> None:
    with ControlPlane(tmp_path):
        pass
    eventually(lambda: not processes_of(tmp_path))
    assert list(tmp_path.glob("run-*")) == []


def test_one_that_lives_is_not_told_to_have_ended(control_plane: Cluster, tmp_path: Path) -> None:
    with ControlPlane(tmp_path) as watched:
        watched.ready()
        assert watched.wait_for_end(0) is None


@pytest.mark.parametrize(
    ("victim", "told"),
    [("etcd", "etcd ended with -9"), ("kube-apiserver", "kube-apiserver ended with -9"), ("keeper", "was killed")],
)
def test_the_end_of_a_control_plane_is_told_with_its_cause(
    control_plane: Cluster, tmp_path: Path, victim: str, told: str
) -> None:
    with ControlPlane(tmp_path) as watched:
        watched.ready()
        (process,) = (
            each
            for each in processes_of(tmp_path)
            if (KEEPER in each.cmdline() if victim == "keeper" else Path(each.cmdline()[0]).name == victim)
        )
        process.kill()
        assert told in str(watched.wait_for_end(15))
    eventually(lambda: not processes_of(tmp_path))
