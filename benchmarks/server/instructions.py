"""What a request costs in instructions, ours beside the bare callable's: figures that no other work here can move.

    python -m benchmarks.server.instructions

Valgrind counts. Both are called in a process of their own, without uWSGI, whose part is the same for both. What happens
by the clock and not for each request is left out: the lines of the access log, and the look at the queue.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.server import models
from benchmarks.server.contenders.work import MODEL_VARIABLE
from benchmarks.server.table import figure, heading
from inference_server import logs
from inference_server.access_log import AccessLog
from inference_server.application import Application
from inference_server.catalog import Catalog
from inference_server.deadline import Watchdog
from inference_server.inference import Inference, InferenceLimits
from inference_server.loading import Loader
from inference_server.metrics.store import Store
from inference_server.overload import Overload
from inference_server.repository.scan import scan

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

REQUESTS = 200
_WARM_UP = 100  # Python specializes what is run often
_clients: list[socket.socket] = []
"""The other ends of the connections on which ours answers, one for each request."""


class _Input:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def read(self, _: int) -> bytes:
        return self._body


def ours(repository: Path, folder: Path) -> WSGIApplication:
    catalog = Catalog()
    Loader(catalog, folder / "copies").load_all(scan(repository))
    overload = Overload(socket.create_server(("127.0.0.1", 0)), 512)
    overload.next_check = float("inf")
    limits = InferenceLimits(2**26, 30, 1024)
    pairs = [socket.socketpair() for _ in range(_WARM_UP + REQUESTS)]
    _clients.extend(client for client, _ in pairs)
    number = os.dup(pairs[0][1].fileno())
    keys = [model.key for versions in catalog.models.values() for model in versions.values()]
    watchdog = Watchdog(time.perf_counter, keys, 1, 1)
    inference = Inference(limits=limits, overload=overload, watchdog=watchdog, clock=time.perf_counter)
    application = Application(
        catalog,
        nothing(repository, folder),
        inference,
        Store(folder / "benchmark.counters", keys, 1),
        AccessLog(0),
        max_body_bytes=limits.max_body_bytes,
        # Another connection each time, by the same number, as uWSGI has it. The change is counted with ours.
        connection=map(os.dup2, [server.detach() for _, server in pairs], repeat(number)).__next__,
        clock=time.perf_counter,
        receive=lambda _: b"",
    )
    application.refresh()
    return application.respond


def bare(repository: Path, folder: Path) -> WSGIApplication:
    del folder
    os.environ[MODEL_VARIABLE] = str(repository / "small" / "1")
    from benchmarks.server.contenders.bare_wsgi import application  # noqa: PLC0415  (it loads the model)

    return application


def nothing(repository: Path, folder: Path) -> WSGIApplication:
    """What it costs to count."""
    del repository, folder

    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        del environ, start_response
        return []

    return application


def ask(application: WSGIApplication, requests: int) -> None:
    body = models.small_request()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": "POST",
        "PATH_INFO": "/v2/models/small/infer",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "x",
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": _Input(body),
    }
    statuses = []
    for _ in range(requests):
        for _ in application(environ, lambda status, _: statuses.append(status)):  # type: ignore[arg-type]  # no writer
            pass
    if set(statuses) - {"200 OK"}:
        raise RuntimeError(f"it answered {set(statuses)}")


def count(make: str) -> None:
    """Called under Valgrind, in which it turns counting on and off."""
    logs.configure("ERROR", 2)
    with tempfile.TemporaryDirectory() as folder:
        repository = Path(folder, "models")
        repository.mkdir()
        models.write_models(repository)
        application = CONTENDERS[make](repository, Path(folder))
        ask(application, _WARM_UP)
        for switch, requests in (("on", REQUESTS), ("off", 0)):
            subprocess.run(["callgrind_control", "-i", switch, str(os.getpid())], check=True, stdout=subprocess.DEVNULL)
            ask(application, requests)
        if make == "ours":
            good = sum(client.recv(65536).startswith(b"HTTP/1.1 200 OK") for client in _clients)
            if good != _WARM_UP + REQUESTS:
                raise RuntimeError(f"it answered {good} requests with 200")


def instructions(make: str) -> float:
    """Of one request, and of what it takes to count."""
    with tempfile.TemporaryDirectory() as folder:
        valgrind = ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out"]
        program = [sys.executable, "-m", "benchmarks.server.instructions", make]
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
        done = subprocess.run([*valgrind, *program], env=environment, capture_output=True, text=True, check=True)
    collected = re.search(r"Collected : (\d+)", done.stderr)
    if collected is None:
        raise RuntimeError(f"Valgrind has counted nothing:\n{done.stderr}")
    return int(collected[1]) / REQUESTS


CONTENDERS = {"ours": ours, "bare WSGI callable": bare, "nothing": nothing}


def main() -> int:
    if sys.argv[1:]:
        count(sys.argv[1])
        return 0
    if shutil.which("valgrind") is None:
        sys.exit("Valgrind is not installed; it is what counts")
    heading(f"Small ONNX model, JSON: instructions a request (mean of {REQUESTS})")
    counted = {name: instructions(name) for name in CONTENDERS}
    counting = counted.pop("nothing")
    for name, value in counted.items():
        figure(f"{name}, thousands", (value - counting) / 1000)
    mine, ceiling = (value - counting for value in counted.values())
    figure("ours / bare WSGI callable", mine / ceiling)
    return 0


if __name__ == "__main__":
    sys.exit(main())
