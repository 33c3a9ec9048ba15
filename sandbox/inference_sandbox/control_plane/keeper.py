"""The process that runs etcd and kube-apiserver for as long as somebody holds it, and ends them by their pids.

A holder is a connection to a Unix socket, so the kernel itself tells when a holder dies: no count to keep, nothing to
leak. The protocol: the keeper sends one line of JSON, `{"kubeconfig": …}` or `{"error": …}`; the holder keeps the
connection for as long as it needs the control plane; it leaves by shutting down its side and reading to the end, which
comes at once if there are other holders, else after both processes have ended.

Run as `python -m inference_sandbox.control_plane.keeper` by `cluster`, which listens before it starts this. One thread.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import yaml

from inference_sandbox.control_plane.certificates import Certificates, issue

_READY_WITHIN_SECONDS = 60
_POLL_SECONDS = 0.05
_GRACE_SECONDS = 3
_TRIES = 3
_PR_SET_PDEATHSIG = 1


class _ProgramError(Exception):
    """A program did not get ready, or ended by itself. Names it, and carries the end of its log."""


class _PortTakenError(_ProgramError):
    """Another process was faster to bind a port that had been free. Another try has other ports."""


class _Processes:
    """etcd and kube-apiserver, started together and ended together, with all their files in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.audit_log = folder / "audit.log"
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, *, etcd: str, kube_apiserver: str) -> None:
        """Return when the API server is ready, or raise `_ProgramError` with both ended."""
        certificates = issue(self.folder / "certificates")
        etcd_port, port = _free_ports(2)
        url = f"https://127.0.0.1:{port}"
        try:
            self._run("etcd", [etcd, *_etcd_flags(self.folder, etcd_port)])
            flags = _apiserver_flags(self.folder, certificates, etcd_port, port) + _audit_flags(self.audit_log)
            self._run("kube-apiserver", [kube_apiserver, *flags])
            self._wait_until_ready(url, certificates)
        except BaseException:
            self.end()
            raise
        _write_kubeconfig(self.kubeconfig, url, certificates)

    def end(self) -> None:
        for process in reversed(self.running.values()):
            process.terminate()
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def greeting(self) -> dict[str, str]:
        return {"kubeconfig": str(self.kubeconfig), "audit_log": str(self.audit_log)}

    def ended(self) -> str | None:
        """The name of a program that has ended by itself."""
        return next((name for name, process in self.running.items() if process.poll() is not None), None)

    def failure(self, name: str) -> _ProgramError:
        log = self._log(name).read_text(errors="replace")
        kind = _PortTakenError if "address already in use" in log else _ProgramError
        code = self.running[name].poll()
        how = "did not get ready" if code is None else f"ended with {code}"
        tail = "\n".join(log.splitlines()[-10:])
        return kind(f"{name} {how}; the end of {self._log(name)}:\n{tail}")

    def _run(self, name: str, command: list[str]) -> None:
        with self._log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent,  # noqa: PLW1509 - safe here: this process has one thread
            )

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _wait_until_ready(self, url: str, certificates: Certificates) -> None:
        context = ssl.create_default_context(cafile=str(certificates.authority))
        context.load_cert_chain(certificates.admin, certificates.admin_key)
        deadline = time.monotonic() + _READY_WITHIN_SECONDS
        while time.monotonic() < deadline:
            if (ended := self.ended()) is not None:
                raise self.failure(ended)
            with suppress(OSError):
                urllib.request.urlopen(f"{url}/readyz", context=context, timeout=2).close()  # noqa: S310 - https, ours
                return
            time.sleep(_POLL_SECONDS)
        raise self.failure("kube-apiserver")


def _etcd_flags(folder: Path, port: int) -> list[str]:
    """Nothing here outlives the process, so nothing is synced to disk."""
    client = f"http://127.0.0.1:{port}"
    return [
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        "--listen-peer-urls=http://127.0.0.1:0",
        "--unsafe-no-fsync",
        "--log-level=warn",
    ]


def _apiserver_flags(folder: Path, certificates: Certificates, etcd_port: int, port: int) -> list[str]:
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        f"--tls-cert-file={certificates.server}",
        f"--tls-private-key-file={certificates.server_key}",
        f"--client-ca-file={certificates.authority}",
        "--authorization-mode=RBAC",
        f"--service-account-issuer=https://127.0.0.1:{port}",
        f"--service-account-key-file={certificates.service_account_key}",
        f"--service-account-signing-key-file={certificates.service_account_key}",
        # It lets a pod in only if its service account exists, and the default ones are made by a controller that
        # does not run here.
        "--disable-admission-plugins=ServiceAccount",
        "--service-cluster-ip-range=10.0.0.0/24",
        # The endpoints of the service `kubernetes` may not be a loopback address.
        "--endpoint-reconciler-type=none",
        # Nothing drains from a load balancer here, and long-running watches need not be waited for.
        "--shutdown-delay-duration=0s",
        "--shutdown-watch-termination-grace-period=0s",
    ]


def _audit_flags(log: Path) -> list[str]:
    """Who runs as a service account leaves a trace, so that it can be seen which of its rights it needs."""
    policy = log.with_name("audit-policy.yaml")
    rules = [{"level": "Metadata", "userGroups": ["system:serviceaccounts"]}, {"level": "None"}]
    content = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"], "rules": rules}
    policy.write_text(yaml.safe_dump(content))
    return [f"--audit-policy-file={policy}", f"--audit-log-path={log}", "--audit-log-mode=blocking"]


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now. Somebody may later: see `_PortTakenError`."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports: list[int] = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _write_kubeconfig(path: Path, url: str, certificates: Certificates) -> None:
    name = "inference-sandbox"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": name, "cluster": {"server": url, "certificate-authority": str(certificates.authority)}},
        ],
        "users": [
            {
                "name": "admin",
                "user": {"client-certificate": str(certificates.admin), "client-key": str(certificates.admin_key)},
            },
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": "admin", "namespace": "default"}}],
        "current-context": name,
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content, sort_keys=False))


def _keep(listener: socket.socket, greeting: bytes, processes: _Processes) -> socket.socket:
    """Return the last holder when it has left or died: it may wait to hear the end. Raise if a program ends before."""
    holders: set[socket.socket] = set()
    with selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        for process in processes.running.values():
            selector.register(os.pidfd_open(process.pid), selectors.EVENT_READ)
        while (ended := processes.ended()) is None:
            for key, _ in selector.select():
                ready = key.fileobj
                if ready is listener:
                    holder = _greet(listener, greeting)
                    holders.add(holder)
                    selector.register(holder, selectors.EVENT_READ)
                elif isinstance(ready, socket.socket):  # A holder says nothing: what can be read is the end.
                    selector.unregister(ready)
                    holders.remove(ready)
                    if not holders:
                        return ready
                    ready.close()
    raise processes.failure(ended)


def _greet(listener: socket.socket, greeting: bytes) -> socket.socket:
    """Let one holder in. One that is dead already counts until its end is read, so that the last one is noticed."""
    holder, _ = listener.accept()
    with suppress(OSError):
        holder.sendall(greeting)
    return holder


def _started(workdir: Path, *, etcd: str, kube_apiserver: str) -> _Processes:
    processes = _Processes(Path(tempfile.mkdtemp(prefix="run-", dir=workdir)))
    processes.start(etcd=etcd, kube_apiserver=kube_apiserver)
    return processes


def _start(workdir: Path, *, etcd: str, kube_apiserver: str) -> _Processes:
    for _ in range(_TRIES - 1):
        with suppress(_PortTakenError):
            return _started(workdir, etcd=etcd, kube_apiserver=kube_apiserver)
    return _started(workdir, etcd=etcd, kube_apiserver=kube_apiserver)


def _line(message: dict[str, str]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def main() -> None:
    descriptor, socket_path, etcd, kube_apiserver = sys.argv[1:]
    path = Path(socket_path)
    if os.fork() > 0:  # Nobody's child, for it may outlive the holder that started it.
        return
    with socket.socket(fileno=int(descriptor)) as listener:
        try:
            processes = _start(path.parent, etcd=etcd, kube_apiserver=kube_apiserver)
        except _ProgramError as error:
            path.unlink()
            with _greet(listener, _line({"error": str(error)})):
                sys.exit(1)
        try:
            last = _keep(listener, _line(processes.greeting()), processes)
        finally:
            # First nobody can find us, then nobody is let in: who comes in between hears the end and tries again.
            path.unlink()
            listener.close()
            processes.end()
    shutil.rmtree(processes.folder)
    last.close()


if __name__ == "__main__":
    main()
