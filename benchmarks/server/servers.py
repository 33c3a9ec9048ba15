"""Starts the contenders on free loopback ports, each as its makers would deploy it with two workers, and stops them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.server.contenders.work import MODEL_VARIABLE, PORT_VARIABLE
from benchmarks.server.environments import python_with
from inference_server.settings import Settings
from inference_server.supervisor import listen
from inference_server.uwsgi_config import uwsgi_ini

ROOT = Path(__file__).resolve().parents[2]
CONTENDERS = Path(__file__).with_name("contenders")
WORKERS = 2
START_SECONDS = 180
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    process: subprocess.Popen[bytes]
    port: int
    started: float
    """When, by the monotonic clock."""
    keeps_connections: bool = False
    """Whether it answers several requests on one connection, if it is asked to."""

    def url(self, model: str = "small") -> str:
        return f"http://127.0.0.1:{self.port}/v2/models/{model}/infer"

    def first_answer(self, body: bytes, model: str = "small") -> float:
        """Wait for it; seconds since the start. Raises RuntimeError if the server ends, TimeoutError."""
        request = urllib.request.Request(self.url(model), body, {"Content-Type": "application/json"})  # noqa: S310
        while time.monotonic() < self.started + START_SECONDS:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}")
            try:
                with urllib.request.urlopen(request, timeout=10):  # noqa: S310  (a loopback URL)
                    return time.monotonic() - self.started
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.005)
        raise TimeoutError(f"{self.name} did not answer within {START_SECONDS} s")

    def processes(self) -> list[psutil.Process]:
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def memory(self) -> int:
        """Proportional set size of all its processes, in bytes: what is shared is divided among those who share it."""
        return sum(process.memory_full_info().pss for process in self.processes())

    def cpu_seconds(self) -> float:
        """That all its processes have used so far."""
        times = [process.cpu_times() for process in self.processes()]
        return sum(time.user + time.system for time in times)

    def workers(self) -> list[psutil.Process]:
        """Our server's: children of uWSGI's master, which is the supervisor's child."""
        (master,) = psutil.Process(self.process.pid).children()
        return master.children()


Starter = Callable[[Path], Server]
"""Starts a server on a model repository."""


@contextmanager
def running(start: Starter, repository: Path) -> Iterator[Server]:
    server = start(repository)
    try:
        yield server
    finally:
        stop(server)


def stop(server: Server) -> None:
    """Its processes, and no others, whatever state they are in."""
    if server.process.poll() is not None:
        return
    family = server.processes()
    server.process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.process.wait(10)
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    server.process.wait()


def ours(repository: Path, **settings: object) -> Server:
    """`settings` are INFERENCE_* by their short names, in small letters."""
    port = _free_port()
    chosen = {"host": "127.0.0.1", "port": port, "models_dir": repository, "workers": WORKERS, "drain_seconds": 0}
    environment = {f"INFERENCE_{name.upper()}": str(value) for name, value in {**chosen, **settings}.items()}
    return _spawn("ours", [sys.executable, "-m", "inference_server", "run"], port, environment)


def bare(repository: Path) -> Server:
    return _bare(repository, uwsgi_ini(Settings(host="127.0.0.1", models_dir=repository, workers=WORKERS)))


def bare_worker(repository: Path) -> Server:
    """One process that serves, and nothing around it: uWSGI without a master."""
    ini = uwsgi_ini(Settings(host="127.0.0.1", models_dir=repository, workers=1))
    without_master = ("master =", "worker-reload-mercy =", "hook-master-start =", "harakiri", "no-orphans =")
    lines = [line for line in ini.splitlines() if not line.startswith(without_master)]
    return _bare(repository, "\n".join(lines) + "\n")


def _bare(repository: Path, ini: str) -> Server:
    """Under the uWSGI settings of our server, on a socket like its."""
    module = "benchmarks.server.contenders.bare_wsgi:application"
    file = repository / "bare.ini"
    file.write_text(ini.replace("inference_server.wsgi:application", module))
    listening = listen("127.0.0.1", 0, 1024)
    number, port = listening.fileno(), listening.getsockname()[1]
    command = [sys.executable, "-c", "import pyuwsgi; pyuwsgi.run()", "--http-socket", f"fd://{number}"]
    with listening:
        return _spawn(
            "bare WSGI callable", [*command, "--ini", str(file)], port, _model(repository), pass_fds=(number,)
        )


def fastapi(repository: Path) -> Server:
    python, port = environment_of(fastapi), _free_port()
    command = [str(python), "-m", "uvicorn", "benchmarks.server.contenders.fastapi_app:application"]
    command += ["--port", str(port), "--workers", str(WORKERS), "--no-access-log"]
    return _spawn("FastAPI + uvicorn", command, port, _model(repository), keeps_connections=True)


def kserve(repository: Path) -> Server:
    python, port = environment_of(kserve), _free_port()
    command = [str(python), str(CONTENDERS / "kserve_server.py")]
    return _spawn("KServe", command, port, {**_model(repository), PORT_VARIABLE: str(port)}, keeps_connections=True)


def mlserver(repository: Path) -> Server:
    python = environment_of(mlserver)
    folder = repository / ".mlserver"
    folder.mkdir(exist_ok=True)
    port, grpc, metrics = _free_port(), _free_port(), _free_port()
    settings = {"host": "127.0.0.1", "http_port": port, "grpc_port": grpc, "metrics_port": metrics}
    settings |= {"parallel_workers": WORKERS, "debug": False}
    model = {"name": "small", "implementation": "benchmarks.server.contenders.mlserver_runtime.Served"}
    (folder / "settings.json").write_text(json.dumps(settings))
    (folder / "model-settings.json").write_text(json.dumps(model))
    command = [str(python.with_name("mlserver")), "start", str(folder)]
    return _spawn("MLServer", command, port, _model(repository), folder=folder, keeps_connections=True)


def environment_of(start: Starter) -> Path:
    """Build the environment of one of those above that have one; its interpreter. Raises CantBuildError."""
    return python_with(CONTENDERS / f"{getattr(start, '__name__', '')}.txt")


def _model(repository: Path) -> dict[str, str]:
    return {MODEL_VARIABLE: str(repository / "small" / "1")}


def _spawn(
    name: str,
    command: list[str],
    port: int,
    environment: dict[str, str],
    *,
    pass_fds: tuple[int, ...] = (),
    folder: Path = ROOT,
    keeps_connections: bool = False,
) -> Server:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("INFERENCE_")}
    log = None if "BENCHMARK_SHOW_OUTPUT" in os.environ else subprocess.DEVNULL
    started = time.monotonic()
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**inherited, **_ONE_THREAD, "PYTHONPATH": str(ROOT), **environment},
        pass_fds=pass_fds,
        cwd=folder,
        # Linux shares the CPU among sessions first (sched_autogroup). Our supervisor gives uWSGI one of its own, so the
        # others get one too; else they would have a part in the share of who makes the load.
        start_new_session=True,
    )
    return Server(name, process, port, started, keeps_connections)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
