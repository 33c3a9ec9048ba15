"""Other models while the server runs, and models that would take the server down: real processes under load."""

from __future__ import annotations

import http.client
import json
import shutil
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from inference_server.repository.manifest import make_manifest, write_manifest
from tests.eventually import eventually
from tests.inference_server.models import published, write_awkward, write_linear, write_plug_in, write_top_n
from tests.inference_server.running import DEADLINE, RunningServer, children, running

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, -1, 2, 3]}]}
ONE = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    write_linear(root)
    write_top_n(root)
    return published(root)


@contextmanager
def load(server: RunningServer, path: str = "/v2/models/linear/infer") -> Iterator[Counter[str]]:
    """Eight callers that go on asking; the outcomes, by status, model version or error."""
    outcomes: Counter[str] = Counter()
    stopped = threading.Event()
    url = server.base_url + path

    def ask() -> None:
        with httpx.Client(timeout=DEADLINE) as client:
            while not stopped.is_set():
                try:
                    response = client.post(url, json=ROW)
                except httpx.HTTPError as error:
                    outcomes[repr(error)] += 1
                else:
                    version = response.json().get("model_version")
                    outcomes[f"version {version}" if version else str(response.status_code)] += 1

    callers = [threading.Thread(target=ask) for _ in range(8)]
    for caller in callers:
        caller.start()
    try:
        yield outcomes
    finally:
        stopped.set()
        for caller in callers:
            caller.join()


def publish_one(models: Path, name: str, version: int, content: bytes | None = None) -> None:
    """Whatever else is in the repository."""
    folder = write_linear(models, name, version)
    if content is not None:
        (folder / "model.onnx").write_bytes(content)
    write_manifest(folder, make_manifest(folder))


def readiness(server: RunningServer) -> dict[str, Any]:
    document: dict[str, Any] = server.get("/readyz").json()
    return document


@pytest.mark.parametrize("threads", [1, 4])
def test_a_new_version_takes_over_without_a_failed_request(models: Path, threads: int) -> None:
    with running(models, model_control="poll", poll_seconds=0.2, threads=threads) as server:
        server.wait_until_live()
        with load(server) as outcomes:
            eventually(lambda: outcomes["version 1"] > 50, DEADLINE)
            write_linear(models, version=2)
            published(models)
            eventually(lambda: outcomes["version 2"] > 50, DEADLINE)
        assert set(outcomes) == {"version 1", "version 2"}, outcomes
        counted = server.get("/metrics").text
        assert f'inference_requests_total{{code="200",model="linear",version="1"}} {outcomes["version 1"]}.0' in counted
        eventually(lambda: server.get("/v2/models/linear").json()["versions"] == ["2"], DEADLINE)


def test_a_new_version_that_is_corrupt_changes_nothing(models: Path) -> None:
    with running(models, model_control="poll", poll_seconds=0.2) as server:
        server.wait_until_live()
        folder = write_linear(models, version=2)
        published(models)
        (folder / "model.onnx").write_bytes(b"x")
        record = eventually(lambda: server.logged("models can't be changed"), DEADLINE)[0]
        assert "linear version 2" in record["reason"]
        assert server.post("/v2/models/linear/infer", json=ROW).json()["model_version"] == "1"
        assert readiness(server)["ready"]


def test_a_new_version_whose_files_come_after_its_manifest_is_taken_once_they_are_there(
    models: Path, tmp_path: Path
) -> None:
    """As copies of a repository come that are made in the order of the names."""
    with running(models, model_control="poll", poll_seconds=0.2) as server:
        server.wait_until_live()
        source, target = write_linear(tmp_path / "elsewhere", version=2), models / "linear/2"
        published(tmp_path / "elsewhere")
        target.mkdir()
        shutil.copy(source / "manifest.json", target)
        record = eventually(lambda: server.logged("models can't be changed"), DEADLINE)[0]
        assert "linear version 2: file model.onnx is missing" in record["reason"]
        assert server.get("/v2/models/linear").json()["versions"] == ["1"]
        shutil.copy(source / "model.onnx", target)
        eventually(lambda: server.get("/v2/models/linear").json()["versions"] == ["2"], DEADLINE)


def test_a_repository_that_was_away_for_a_while_is_not_loaded_anew(models: Path) -> None:
    with running(models, model_control="poll", poll_seconds=0.1) as server:
        server.wait_until_live()
        away = models.rename(models.with_name("away"))
        eventually(lambda: server.logged("the repository changed, and can't be served"), DEADLINE)
        away.rename(models)
        eventually(lambda: server.logged("the repository is as it was again"), DEADLINE)
        write_linear(models, version=2)
        published(models)
        eventually(lambda: server.get("/v2/models/linear").json()["versions"] == ["2"], DEADLINE)
        assert len(server.logged("the repository changed")) == 1


def test_a_model_that_comes_and_can_not_be_served_takes_no_ready_server_out_of_service(models: Path) -> None:
    """As one of somebody else's, of which half is copied when another is published."""
    with running(models, model_control="poll", poll_seconds=0.1) as server:
        server.wait_until_live()
        half = write_linear(models, "other")
        eventually(lambda: server.logged("the repository changed, and can't be served"), DEADLINE)
        publish_one(models, "linear", 2)
        reasons = eventually(lambda: server.logged("the repository changed, and can't be served")[1:], DEADLINE)
        assert "other: none of its versions (1) has a manifest.json" in reasons[0]["reason"]
        publish_one(models, "broken", 1, b"no model")
        shutil.rmtree(half.parent)
        record = eventually(lambda: server.logged("models can't be changed"), DEADLINE)[0]
        assert "broken version 1: onnxruntime can't load model.onnx" in record["reason"]
        assert readiness(server)["ready"]
        shutil.rmtree(models / "broken")
        eventually(lambda: server.get("/v2/models/linear").json()["versions"] == ["2"], DEADLINE)
        assert readiness(server)["ready"]


def test_a_server_is_ready_once_what_can_not_be_served_is_gone(models: Path) -> None:
    write_linear(models, "other")
    with running(models, model_control="poll", poll_seconds=0.1) as server:
        assert not readiness(server)["ready"]
        shutil.rmtree(models / "other")
        eventually(lambda: readiness(server)["ready"], DEADLINE)


def test_models_are_loaded_and_unloaded_on_request(models: Path) -> None:
    with running(models, model_control="explicit") as server:
        assert server.post("/v2/repository/models/linear/unload").status_code == 200
        assert server.post("/v2/models/linear/infer", json=ROW).status_code == 404
        assert server.get("/v2/models/recommender/ready").status_code == 200
        index = server.post("/v2/repository/index", json={}).json()
        assert {"name": "linear", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"} in index
        assert [entry["name"] for entry in index if entry["state"] == "READY"] == ["recommender"]
        write_linear(models, version=2)
        published(models)
        assert server.post("/v2/repository/models/linear/load", json={"parameters": {}}).status_code == 200
        assert server.post("/v2/models/linear/infer", json=ROW).json()["model_version"] == "2"
        for name, body, status, words in [
            ("none", {}, 404, "not in the repository"),
            ("linear", {"parameters": {"config": "{}"}}, 400, "'config' is refused"),
            ("linear", {"parameters": {"file:1/model.onnx": "x"}}, 400, "is refused"),
            ("linear", {"parameters": []}, 400, "must be an object"),
        ]:
            response = server.post(f"/v2/repository/models/{name}/load", json=body)
            assert (response.status_code, words in response.json()["error"]) == (status, True), response.text
        assert server.post("/v2/repository/models/none/unload").status_code == 404


@pytest.mark.parametrize("threads", [1, 4])
def test_who_hears_that_a_change_is_done_is_answered_by_what_is_now(models: Path, threads: int) -> None:
    with running(models, model_control="explicit", threads=threads) as server:
        address = urlsplit(server.wait_until_live().base_url)

        def ask(method: str, path: str) -> int:
            connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=DEADLINE)
            with closing(connection):
                connection.request(method, path)
                return connection.getresponse().status

        for action, ready in (("unload", 404), ("load", 200)):
            assert ask("POST", f"/v2/repository/models/linear/{action}") == 200
            assert [ask("GET", "/v2/models/linear/ready") for _ in range(5)] == [ready] * 5


def test_a_load_that_fails_says_why_and_the_models_stay(models: Path) -> None:
    with running(models, model_control="explicit") as server:
        server.wait_until_live()
        folder = write_linear(models, version=2)
        published(models)
        (folder / "model.onnx").write_bytes(b"x")
        response = server.post("/v2/repository/models/linear/load")
        assert response.status_code == 400
        assert "linear version 2: file model.onnx has 1 bytes" in response.json()["error"]
        assert server.post("/v2/models/linear/infer", json=ROW).json()["model_version"] == "1"


def test_changing_models_is_forbidden_unless_it_is_allowed(models: Path) -> None:
    with running(models) as server:
        response = server.post("/v2/repository/models/linear/unload")
        assert response.status_code == 403
        assert "INFERENCE_MODEL_CONTROL=explicit" in response.json()["error"]


def test_a_model_that_kills_the_server_is_left_out_and_named(models: Path, tmp_path: Path) -> None:
    write_awkward(models, "deadly", parameters={"on_load": "abort"})
    with running(published(models), python_path=write_plug_in(tmp_path / "plug_ins")) as server:
        document = readiness(server)
        assert not document["ready"]
        assert document["problems"][0]["model"] == "deadly"
        assert "killed by SIGABRT while it loaded" in document["problems"][0]["reason"]
        assert server.get("/healthz").status_code == 200
        assert server.post("/v2/models/linear/infer", json=ROW).status_code == 200


def test_a_model_that_raises_while_it_loads_is_named(models: Path, tmp_path: Path) -> None:
    write_awkward(models, parameters={"on_load": "raise"})
    with running(published(models), python_path=write_plug_in(tmp_path / "plug_ins")) as server:
        assert "no such luck" in readiness(server)["error"]


def test_a_model_that_starts_threads_is_loaded_after_the_fork(models: Path, tmp_path: Path) -> None:
    write_awkward(models, "threaded", parameters={"on_load": "thread"})
    with running(published(models), python_path=write_plug_in(tmp_path / "plug_ins")) as server:
        assert readiness(server)["ready"]
        assert server.post("/v2/models/threaded/infer", json=ONE).status_code == 200
        told = "libraries started threads; these versions are loaded after the fork"
        (record,) = eventually(lambda: server.logged(told), DEADLINE)
        assert record["versions"] == ["threaded/1"]

        def loads() -> list[dict[str, Any]]:
            return [record for record in server.logged("a model is loaded") if record["model"] == "threaded"]

        # Once before the fork, then in each of two workers, of which the first that is done may have answered.
        eventually(lambda: len(loads()) >= 3, DEADLINE)
        assert len(loads()) == 3
        server.process.terminate()
        assert server.wait() == 0


def test_threads_that_end_with_the_loading_do_no_harm(models: Path, tmp_path: Path) -> None:
    write_awkward(models, "brief", parameters={"on_load": "brief thread"})
    with running(published(models), python_path=write_plug_in(tmp_path / "plug_ins")) as server:
        assert readiness(server)["ready"]
        assert eventually(lambda: server.logged("serving"), DEADLINE)[0]["generation"] == 1


def test_a_model_that_kills_its_workers_while_they_load_it_is_left_out(models: Path, tmp_path: Path) -> None:
    write_awkward(models, "deadly", load="after_fork", parameters={"on_load": "abort"})
    with running(published(models), python_path=write_plug_in(tmp_path / "plug_ins")) as server:
        document = readiness(server)
        assert "an earlier worker died while it loaded this version" in document["error"]
        assert server.post("/v2/models/linear/infer", json=ROW).status_code == 200


def test_sigterm_while_a_generation_starts_ends_both(models: Path) -> None:
    with running(models, model_control="poll", poll_seconds=0.1) as server:
        server.wait_until_live()
        write_linear(models, version=2)
        published(models)
        eventually(lambda: server.logged("the repository changed"), DEADLINE)
        eventually(lambda: len(children(server.process.pid)) == 2, DEADLINE)
        server.process.terminate()
        assert server.wait() == 0


def test_sigterm_while_a_model_is_loaded_on_request_answers_who_waits_for_it(models: Path, tmp_path: Path) -> None:
    plug_ins = write_plug_in(tmp_path / "plug_ins")
    with (
        ThreadPoolExecutor(1) as pool,
        running(models, model_control="explicit", python_path=plug_ins, grace_seconds=DEADLINE) as server,
    ):
        server.wait_until_live()
        write_awkward(models, "endless", parameters={"on_load": "sleep"})
        published(models)
        waiting = pool.submit(server.post, "/v2/repository/models/endless/load")
        eventually(lambda: len(children(server.process.pid)) == 2, DEADLINE)
        server.process.terminate()
        assert server.wait() == 0
        response = waiting.result(DEADLINE)
        assert (response.status_code, "on its way out" in response.json()["error"]) == (503, True), response.text


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """Where a server makes the folder that its processes share."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def test_a_generation_that_cant_even_be_started_is_no_end_of_the_one_that_serves(models: Path, shared: Path) -> None:
    """As on a disk that is full: nothing can be written for it."""
    with running(models, model_control="explicit", scratch_dir=shared) as server:
        server.wait_until_live()
        (scratch,) = shared.iterdir()
        (scratch / "generation-2").touch()  # where its folder would be
        response = server.post("/v2/repository/models/linear/load")
        assert response.status_code == 400
        assert "a server can't be started: File exists" in response.json()["error"]
        assert server.post("/v2/models/linear/infer", json=ROW).status_code == 200
        assert server.post("/v2/repository/models/linear/load").status_code == 200


def test_an_answer_that_cant_be_written_is_no_end_of_the_server(models: Path, shared: Path) -> None:
    """As on a disk that is full by then."""
    with running(models, model_control="explicit", scratch_dir=shared) as server:
        server.wait_until_live()
        (requests,) = shared.glob("*/requests")
        (requests / "x.reply").mkdir()  # where the answer would be
        (requests / "x.request").write_text(json.dumps({"id": "x", "action": "load", "model": "linear"}))
        server.process.send_signal(signal.SIGHUP)
        eventually(lambda: len(server.logged("serving")) == 2, DEADLINE)
        assert server.post("/v2/repository/models/linear/load").status_code == 200


def test_a_change_that_cant_be_asked_for_is_unavailable(models: Path, shared: Path) -> None:
    with running(models, model_control="explicit", scratch_dir=shared) as server:
        server.wait_until_live()
        (requests,) = shared.glob("*/requests")
        requests.rename(requests.with_name("away"))
        response = server.post("/v2/repository/models/linear/load")
        assert (response.status_code, "can't be asked for: No such file" in response.json()["error"]) == (503, True)


def test_a_change_of_the_repository_that_cant_be_asked_for_is_asked_for_later(models: Path, shared: Path) -> None:
    with running(models, model_control="poll", poll_seconds=0.1, scratch_dir=shared) as server:
        server.wait_until_live()
        (requests,) = shared.glob("*/requests")
        away = requests.rename(requests.with_name("away"))
        write_linear(models, version=2)
        published(models)
        eventually(lambda: server.logged("a new generation of the server can't be asked for"), DEADLINE)
        away.rename(requests)
        eventually(lambda: server.get("/v2/models/linear").json()["versions"] == ["2"], DEADLINE)


def test_changes_that_are_waited_for_leave_a_worker_for_everybody_else(models: Path, tmp_path: Path) -> None:
    plug_ins = write_plug_in(tmp_path / "plug_ins")
    with (
        ThreadPoolExecutor(1) as pool,
        running(models, model_control="explicit", python_path=plug_ins, workers=2) as server,
    ):
        server.wait_until_live()
        write_awkward(models, "endless", parameters={"on_load": "sleep"})
        published(models)
        waiting = pool.submit(server.post, "/v2/repository/models/endless/load")
        eventually(lambda: len(children(server.process.pid)) == 2, DEADLINE)
        refused = server.post("/v2/repository/models/linear/load")
        assert (refused.status_code, "ask again" in refused.json()["error"]) == (503, True), refused.text
        assert refused.headers["Retry-After"]
        assert server.get("/healthz").status_code == 200
        assert not waiting.done()
        server.process.terminate()
        assert waiting.result(DEADLINE).status_code == 503


def test_local_copies_that_nobody_uses_are_removed(models: Path, tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with running(models, model_control="explicit", scratch_dir=scratch) as server:
        for version in (2, 3):
            shutil.rmtree(models / f"linear/{version - 1}")
            write_linear(models, version=version)
            published(models)
            assert server.post("/v2/repository/models/linear/load").status_code == 200
        copies = sorted(path.name.split("-")[0] for path in scratch.glob("inference-server-*/models/linear/*"))
        assert copies == ["2", "3"]
        assert json.dumps(server.records)
