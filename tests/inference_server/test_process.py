"""The server as a process: started as in a container, asked over HTTP, stopped by signals."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from inference_server.uwsgi_output import ENDED
from tests.eventually import eventually
from tests.inference_server.models import linear, published, write_awkward, write_linear, write_plug_in, write_top_n
from tests.inference_server.running import DEADLINE, RunningServer, running

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, -1, 2, 3]}]}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    write_linear(root)
    write_top_n(root)
    return published(root)


def test_it_serves_predictions_and_says_so_in_json_lines(models: Path) -> None:
    with running(models) as server:
        answer = server.post("/v2/models/linear/infer", json={"id": "7", **ROW})
        assert answer.status_code == 200
        assert answer.json()["id"] == "7"
        (output,) = answer.json()["outputs"]
        assert output["shape"] == [1, 3]
        np.testing.assert_allclose(output["data"], linear(np.array([[0.5, -1, 2, 3]]))[0], rtol=1e-6)
        assert server.get("/readyz").status_code == 200
        server.process.terminate()
        assert server.wait() == 0
    requests = server.logged("request")
    assert {"path": "/v2/models/linear/infer", "status": 200, "model": "linear"}.items() <= requests[0].items()
    assert all({"ts", "level", "logger", "message"} <= record.keys() for record in server.records)
    assert {record["level"] for record in server.records} == {"INFO"}


@contextmanager
def callers(server: RunningServer) -> Iterator[Counter[str]]:
    """Sixteen callers that go on asking until nobody listens; outcomes by status or error."""
    address = urlsplit(server.base_url)
    outcomes: Counter[str] = Counter()
    stopped = threading.Event()

    def ask_on_and_on() -> None:
        while not stopped.is_set():
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
            try:
                connection.connect()
            except ConnectionRefusedError:
                stopped.set()
                outcomes["refused"] += 1
                return
            try:
                connection.request("POST", "/v2/models/linear/infer", json.dumps(ROW))
                outcomes[str(connection.getresponse().status)] += 1
            except (OSError, http.client.HTTPException) as error:
                outcomes[repr(error)] += 1
            finally:
                connection.close()

    threads = [threading.Thread(target=ask_on_and_on) for _ in range(16)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize(("privileged", "threads"), [(True, 1), (False, 1), (True, 4)])
def test_sigterm_under_load_fails_no_request_and_exits_zero(models: Path, threads: int, *, privileged: bool) -> None:
    with running(models, drain_seconds=5, threads=threads, privileged=privileged) as server:
        server.wait_until_live()
        with callers(server) as outcomes:
            eventually(lambda: outcomes["200"] > 100, DEADLINE)
            server.process.send_signal(signal.SIGTERM)
            eventually(lambda: server.logged("draining"), DEADLINE)
            before = outcomes["200"]
            assert server.get("/readyz").status_code == 503
            assert server.get("/healthz").status_code == 200
            assert server.wait() == 0
        assert set(outcomes) == {"200", "refused"}, outcomes
        assert outcomes["200"] > before


def test_a_drain_that_can_not_be_announced_fails_no_request(models: Path, tmp_path: Path) -> None:
    """As on a disk that is full: readiness can't tell of it then, and all else goes as it would."""
    with running(models, drain_seconds=1, scratch_dir=tmp_path) as server:
        server.wait_until_live()
        (scratch,) = tmp_path.glob("inference-server-*")
        (scratch / "draining").symlink_to("nowhere/draining")
        with callers(server) as outcomes:
            eventually(lambda: outcomes["200"] > 10, DEADLINE)
            server.process.send_signal(signal.SIGTERM)
            assert server.wait() == 0
        assert set(outcomes) == {"200", "refused"}, outcomes
    assert server.logged("readiness can't tell of the drain")[0]["reason"] == "No such file or directory"


def test_a_signal_that_comes_before_it_is_handled_waits(models: Path) -> None:
    """To PID 1, which the server is in a container, it would be lost."""
    with running(models) as server:
        eventually(lambda: is_blocked(server.process.pid, signal.SIGTERM), DEADLINE)
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert server.logged("signal received")


def is_blocked(pid: int, number: signal.Signals) -> bool:
    (mask,) = (line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigBlk:"))
    return bool(int(mask.split()[1], 16) >> (number - 1) & 1)


def test_a_worker_that_is_killed_under_load_loses_no_request_but_its_own(models: Path) -> None:
    kills = 4
    with running(models) as server:
        server.wait_until_live()
        with callers(server) as outcomes:
            for _ in range(kills):
                eventually(partial(answers_go_on, outcomes, outcomes["200"]), DEADLINE)
                os.kill(server.workers()[0], signal.SIGKILL)
                eventually(lambda: len(server.workers()) == 2, DEADLINE)
        assert outcomes.total() - outcomes["200"] <= kills, outcomes
        assert outcomes["refused"] == 0


def test_a_worker_with_too_much_memory_of_its_own_is_replaced_without_a_failed_request(
    models: Path, tmp_path: Path
) -> None:
    write_awkward(models)
    grow = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    grow["parameters"] = {"what": "grow", "bytes": 100_000_000}  # type: ignore[assignment]  # a document of JSON
    plug_ins = write_plug_in(tmp_path / "plug_ins")
    with running(published(models), python_path=plug_ins, worker_memory_bytes=60_000_000) as server:
        server.wait_until_live()
        eventually(lambda: len(server.workers()) == 2, DEADLINE)
        before = server.workers()
        with callers(server) as outcomes:
            assert server.post("/v2/models/awkward/infer", json=grow).status_code == 200
            eventually(lambda: set(server.workers()) - set(before), DEADLINE)
            eventually(partial(answers_go_on, outcomes, outcomes["200"]), DEADLINE)
        assert set(outcomes) == {"200"}, outcomes
        assert len(set(server.workers()) & set(before)) == 1
        eventually(lambda: server.logged("a worker has too much memory, and is replaced"), DEADLINE)


def answers_go_on(outcomes: Counter[str], before: int) -> bool:
    return outcomes["200"] > before + 50


def test_the_workers_share_the_supervisors_fate(models: Path) -> None:
    with running(models) as server:
        server.wait_until_live()
        # The first that was forked may have answered before the second was.
        workers = eventually(lambda: server.workers() if len(server.workers()) == 2 else [], DEADLINE)
        server.process.kill()
        server.process.wait()
        eventually(lambda: not any(is_running(pid) for pid in workers), DEADLINE)


def test_a_killed_worker_is_replaced(models: Path) -> None:
    with running(models) as server:
        server.wait_until_live()
        killed = server.workers()[0]
        os.kill(killed, signal.SIGKILL)
        eventually(lambda: len(server.workers()) == 2 and killed not in server.workers(), DEADLINE)
        assert server.post("/v2/models/linear/infer", json=ROW).status_code == 200


def test_a_request_of_which_its_worker_is_killed_is_counted_and_logged(models: Path, tmp_path: Path) -> None:
    plug_ins = write_plug_in(tmp_path / "plug_ins")
    write_awkward(models)
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
    endless = body | {"parameters": {"what": "sleep", "seconds": 1000}}
    brief = body | {"parameters": {"what": "sleep", "seconds": 1}}
    with running(
        published(models), python_path=plug_ins, request_timeout_seconds=0.5, hard_timeout_seconds=3
    ) as server:
        for sleep in (brief, endless):  # of the first the worker comes back
            assert server.post("/v2/models/awkward/infer", json=sleep).status_code == 504
        counted = 'inference_requests_total{code="504",model="awkward",version="1"} 2.0'
        eventually(lambda: counted in server.get("/metrics").text, DEADLINE)
        (record,) = server.logged(ENDED)
        assert (record["level"], record["method"], record["path"]) == ("ERROR", "POST", "/v2/models/awkward/infer")


def test_a_port_in_use_is_named_in_the_log_and_the_exit_code_is_one(models: Path) -> None:
    with running(models) as first:
        port = urlsplit(first.base_url).port
        with running(models, port=port) as second:
            assert second.wait() == 1
            (record,) = second.records
            assert record["level"] == "CRITICAL"
            assert f"127.0.0.1:{port}" in record["message"]


def test_many_servers_share_a_port_on_addresses_of_their_own(models: Path) -> None:
    with running(models, host="127.0.3.7") as first:
        port = urlsplit(first.base_url).port
        with running(models, host="127.0.3.8", port=port) as second:
            assert second.get("/readyz").status_code == 200
            assert first.get("/readyz").status_code == 200


def test_a_repository_without_a_model_is_not_ready_but_live(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        ready = server.get("/readyz")
        assert ready.status_code == 503
        assert "has no model" in ready.json()["error"]
        assert server.get("/healthz").status_code == 200


def test_a_corrupt_model_makes_readiness_name_it_and_liveness_stays_ok(models: Path) -> None:
    (models / "linear/1/model.onnx").write_bytes(b"x" * (models / "linear/1/model.onnx").stat().st_size)
    with running(models) as server:
        ready = server.get("/readyz")
        assert ready.status_code == 503
        (problem,) = ready.json()["problems"]
        assert problem["model"] == "linear"
        assert problem["version"] == 1
        assert "corrupt" in problem["reason"]
        assert server.get("/healthz").status_code == 200
        infer = server.post("/v2/models/linear/infer", json=ROW)
        assert infer.status_code == 503
        assert infer.headers["Retry-After"]
        assert server.get("/v2/models/recommender/ready").status_code == 200


def is_running(pid: int) -> bool:
    try:
        return ") Z" not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
