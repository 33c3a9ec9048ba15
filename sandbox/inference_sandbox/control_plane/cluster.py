"""A Kubernetes cluster to work with: one that `ControlPlane` brings up, or any that a kubeconfig leads to.

It is spoken to through kubectl, so this module knows no Kubernetes client library.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from inference_sandbox.control_plane.binaries import Binaries, find_binaries

_KUBECTL_SECONDS = 60
_START_SECONDS = 120
_TRIES = 3


class ControlPlaneError(Exception):
    """The control plane did not come up; the message carries the end of the log of the program that failed."""


class KubectlError(Exception):
    """kubectl refused; the message is its own."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    kubeconfig: Path
    """Of an administrator."""
    kubectl_program: Path
    audit_log: Path | None = None
    """What service accounts asked for, an audit.k8s.io/v1 Event a line; None of a cluster that is not ours."""

    @classmethod
    def existing(cls, kubeconfig: Path) -> Cluster:
        """One that is not ours, with the kubectl on PATH. KubectlError if that is missing, or gets no answer."""
        program = shutil.which("kubectl")
        if program is None:
            raise KubectlError("kubectl is not on PATH, and a cluster that exists already is worked with through it")
        cluster = cls(kubeconfig=kubeconfig.absolute(), kubectl_program=Path(program))
        try:
            cluster.kubectl("get", "--raw", "/version", "--request-timeout=10s")
        except KubectlError as error:
            raise KubectlError(f"the cluster of {kubeconfig} does not answer: {error}") from None
        return cluster

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints, or `KubectlError`."""
        done = subprocess.run(
            [self.kubectl_program, f"--kubeconfig={self.kubeconfig}", *arguments],
            input=stdin or "",  # Never the terminal: kubectl asks there for a user name if it has none.
            capture_output=True,
            text=True,
            timeout=_KUBECTL_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    def apply_crds(self, folder: Path) -> None:
        """Apply every manifest in the folder, and return when the API server serves all of the kinds."""
        if not any(folder.glob("*.yaml")):
            raise FileNotFoundError(f"{folder} has no *.yaml: give the folder of the CustomResourceDefinitions")
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(folder))
        self.kubectl("wait", "--for=condition=Established", "--timeout=30s", "-f", str(folder))

    def token(self, service_account: str, *, namespace: str, lifetime: timedelta = timedelta(hours=1)) -> str:
        """A token of an existing service account. The API server refuses lifetimes under ten minutes."""
        seconds = int(lifetime.total_seconds())
        return self.kubectl("create", "token", service_account, "-n", namespace, f"--duration={seconds}s").strip()

    def kubeconfig_for(
        self, service_account: str, *, namespace: str, path: Path, lifetime: timedelta = timedelta(hours=1)
    ) -> Path:
        """Write a kubeconfig to `path` (0600) that may do what RBAC gives the service account, and nothing else."""
        config = yaml.safe_load(self.kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "yaml"))
        cluster: dict[str, Any] = config["clusters"][0]
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [cluster],
            "users": [
                {
                    "name": service_account,
                    "user": {"token": self.token(service_account, namespace=namespace, lifetime=lifetime)},
                }
            ],
            "contexts": [
                {
                    "name": service_account,
                    "context": {"cluster": cluster["name"], "user": service_account, "namespace": namespace},
                }
            ],
            "current-context": service_account,
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path


class ControlPlane:
    """etcd and kube-apiserver, within the `with` block. They start in the background: `ready` waits for them.

    All who name the same `workdir` at the same time, in whatever process, share one control plane: the first starts it,
    the last ends it and waits for its end. Death counts as leaving.

    No controller-manager runs, so what only it does is not done: deleted namespaces stay Terminating, owner references
    are not collected, there are no default service accounts, aggregated cluster roles (view, edit, admin) are empty.
    """

    def __init__(self, workdir: Path, *, binaries: Binaries | None = None) -> None:
        self._workdir = workdir
        self._binaries = binaries or find_binaries()
        self._connection: socket.socket | None = None

    def __enter__(self) -> Self:
        self._workdir.mkdir(parents=True, exist_ok=True)
        self._connection = _connect(self._workdir, self._binaries)
        return self

    def ready(self) -> Cluster:
        """Call it once, within the block. ControlPlaneError if a program does not come up."""
        for _ in range(_TRIES):
            assert self._connection is not None, "used outside of its `with` block"  # noqa: S101 - a bug of the caller
            greeting = _greeting(self._connection)
            if "kubeconfig" in greeting:
                return Cluster(
                    kubeconfig=Path(greeting["kubeconfig"]),
                    kubectl_program=self._binaries.kubectl,
                    audit_log=Path(greeting["audit_log"]),
                )
            if "error" in greeting:
                raise ControlPlaneError(greeting["error"])
            # It was about to end, for its last holder had left. The next one is ours.
            self._connection.close()
            self._connection = _connect(self._workdir, self._binaries)
        log = _log(self._workdir)
        raise ControlPlaneError(f"the control plane ended before it was up; {log} says:\n{log.read_text()}")

    def wait_for_end(self, seconds: float) -> str | None:
        """Wait for the control plane's own end, for so long at most: what is known of it, or None if it lives.

        Call it after `ready`, within the block.
        """
        assert self._connection is not None, "used outside of its `with` block"  # noqa: S101 - a bug of the caller
        ended, _, _ = select.select([self._connection], [], [], seconds)  # a keeper says nothing more until its end
        if not ended:
            return None
        words = _log(self._workdir).read_text(errors="replace").split("_ProgramError: ")
        return words[1].strip() if len(words) > 1 else "the process that keeps it was killed"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._connection is not None:
            _leave(self._connection)
            self._connection = None


def _connect(workdir: Path, binaries: Binaries) -> socket.socket:
    """To the keeper of this folder, started if there is none."""
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(_START_SECONDS)
    path = workdir / "keeper.socket"
    with _short(path) as address, (workdir / "keeper.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            connection.connect(address)
        except (FileNotFoundError, ConnectionRefusedError):  # Refused: the file was left by one that was killed.
            path.unlink(missing_ok=True)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(address)
                listener.listen()
                connection.connect(address)
                try:
                    _start_keeper(listener, path, binaries)
                except BaseException:  # Told to stop, for instance. It may be running nevertheless.
                    listener.close()
                    _leave(connection)
                    raise
    return connection


def _leave(connection: socket.socket) -> None:
    """Return when the keeper has let go of us, or is gone."""
    with connection, suppress(OSError):
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def _start_keeper(listener: socket.socket, path: Path, binaries: Binaries) -> None:
    """It puts itself into the background, in a session of its own: Ctrl-C at the terminal is for its holders.

    If it can't even start, the listener closes with it, which the connection tells.
    """
    programs = [str(binaries.etcd.absolute()), str(binaries.kube_apiserver.absolute())]
    with _log(path.parent).open("wb") as log:
        subprocess.run(
            [sys.executable, "-m", f"{__package__}.keeper", str(listener.fileno()), str(path.absolute()), *programs],
            cwd=path.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            pass_fds=[listener.fileno()],
            start_new_session=True,
            check=False,
        )


def _greeting(connection: socket.socket) -> dict[str, str]:
    """The keeper's line; empty if it ends the connection instead."""
    try:
        with connection.makefile("rb") as file:
            line = file.readline()
    except ConnectionResetError:
        line = b""
    message: dict[str, str] = json.loads(line) if line else {}
    return message


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """The path by way of its folder's descriptor: the address of a Unix socket may have 107 bytes only."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


def _log(workdir: Path) -> Path:
    return workdir / "keeper.log"
