"""Starts the real server, PID 1 and uWSGI and all, on a free loopback port, for tests that look at it from outside."""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from tests.eventually import eventually

DEADLINE = 30.0


class RunningServer:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.lines: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def records(self) -> list[dict[str, Any]]:
        """Everything that it has logged. Fails if a line is not a JSON object."""
        return [json.loads(line) for line in self.lines]

    def logged(self, message: str) -> list[dict[str, Any]]:
        return [record for record in self.records if record["message"] == message]

    @property
    def base_url(self) -> str:
        started = eventually(lambda: self.logged("starting"), DEADLINE)[0]
        return f"http://{started['host']}:{started['port']}"

    def get(self, path: str, **more: Any) -> httpx.Response:
        return httpx.get(self.base_url + path, timeout=DEADLINE, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        return httpx.post(self.base_url + path, timeout=DEADLINE, **more)

    def wait_until_live(self) -> Self:
        """Wait for the first answer; it is waited for by the kernel, as the socket listens from the start."""
        self.get("/healthz").raise_for_status()
        return self

    def workers(self) -> list[int]:
        """PIDs of the worker processes."""
        (master,) = children(self.process.pid)
        return children(master)

    def wait(self) -> int:
        code = self.process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        return code

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line)


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sorted(map(int, found))


def _drop_network_administration() -> None:
    pr_capbset_drop, cap_net_admin = 24, 12
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_net_admin)


@contextmanager
def running(
    models: Path,
    command: Sequence[str] = ("run",),
    *,
    privileged: bool = True,
    python_path: Path | None = None,
    **settings: object,
) -> Iterator[RunningServer]:
    """A server over a model repository. `settings` are INFERENCE_* by their short names, in small letters.

    Not `privileged`: without the right to administer the network, which root has here and a container has not.
    `python_path`: a folder with plug-ins.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("INFERENCE_")}
    if python_path is not None:
        environment["PYTHONPATH"] = str(python_path)
    with tempfile.TemporaryDirectory(prefix="inference-server-test-") as scratch:
        chosen = {
            "host": "127.0.0.1",
            "port": 0,
            "models_dir": models,
            "workers": 2,
            "drain_seconds": 0,
            "scratch_dir": scratch,
            **settings,
        }
        environment |= {f"INFERENCE_{name.upper()}": str(value) for name, value in chosen.items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "inference_server", *command],
            stdout=subprocess.PIPE,
            env=environment,
            preexec_fn=None if privileged else _drop_network_administration,  # noqa: PLW1509  (one prctl, no lock)
        )
        server = RunningServer(process)
        try:
            yield server
        finally:
            process.kill()
            server.wait()
