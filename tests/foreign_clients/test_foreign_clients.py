"""Other people's clients against the running server, each in an environment of its own in the user's cache, and what
they can't be made to send, sent by hand.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from onnx import TensorProto, helper

from benchmarks.server.environments import CantBuildError, python_with
from tests.inference_server.models import published, write_linear, write_version
from tests.inference_server.running import RunningServer, running

HERE = Path(__file__).parent
# Its limits on libraries contradict those of the other clients.
MLSERVER = HERE.parents[1] / "benchmarks" / "server" / "contenders" / "mlserver.txt"
REQUIREMENTS = HERE / "requirements.txt"
SCRIPTS = {
    "triton_points": REQUIREMENTS,
    "open_inference_points": REQUIREMENTS,
    "kserve_points": REQUIREMENTS,
    "mlserver_points": MLSERVER,
}
LIMIT = 1_000_000
KINDS = {
    "FP16": TensorProto.FLOAT16,
    "BOOL": TensorProto.BOOL,
    "INT8": TensorProto.INT8,
    "INT64": TensorProto.INT64,
    "BYTES": TensorProto.STRING,
}


def write_echo(root: Path, name: str, kind: int, shape: list[str]) -> None:
    tensors = [helper.make_tensor_value_info(tensor, kind, shape) for tensor in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "echo", tensors[:1], tensors[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    write_version(root, name, 1, {"model.onnx": model.SerializeToString()}, {"runtime": "onnx"})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """It serves `linear`, and models that answer what they are given, vectors or matrices, of some datatypes."""
    root = tmp_path_factory.mktemp("models")
    write_linear(root)
    for name, kind in KINDS.items():
        write_echo(root, f"echo-{name}", kind, ["n"])
    for name in ("INT64", "BYTES"):
        write_echo(root, f"matrix-{name}", KINDS[name], ["n", "m"])
    with running(published(root), max_body_bytes=LIMIT, model_control="explicit") as started:
        yield started.wait_until_live()


@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_foreign_client_works_unchanged(server: RunningServer, script: str) -> None:
    try:
        python = python_with(SCRIPTS[script])
    except CantBuildError as error:
        pytest.skip(f"the client's environment can't be built: {error}")
    done = subprocess.run(
        [str(python), str(HERE / f"{script}.py"), server.base_url],
        env={**os.environ, "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    outcome: dict[str, str | None] = json.loads(done.stdout.splitlines()[-1])
    assert outcome
    assert {name: failure for name, failure in outcome.items() if failure} == {}


def tensor(kind: str, shape: list[int], data: list[Any]) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": kind, "shape": shape, "data": data}]}


@pytest.mark.parametrize(
    ("kind", "shape", "data"),
    [("INT8", [1], [128]), ("INT64", [1], [2**63]), ("INT64", [-1], [1]), ("INT8", [1], [1.5])],
)
def test_a_number_that_does_not_fit_and_a_negative_dimension_are_the_callers_error(
    server: RunningServer, kind: str, shape: list[int], data: list[Any]
) -> None:
    answer = server.post(f"/v2/models/echo-{kind}/infer", json=tensor(kind, shape, data))
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert answer.headers["content-type"] == "application/json"


def test_an_unknown_content_encoding_is_415(server: RunningServer) -> None:
    answer = server.post("/v2/models/linear/infer", content=b"x", headers={"Content-Encoding": "br"})
    assert answer.status_code == 415


def test_a_body_that_inflates_beyond_the_limit_is_413(server: RunningServer) -> None:
    bomb = gzip.compress(b" " * 50 * LIMIT)
    assert len(bomb) < LIMIT
    answer = server.post("/v2/models/linear/infer", content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413


def test_an_absent_id_stays_absent(server: RunningServer) -> None:
    assert "id" not in server.post("/v2/models/linear/infer", json=tensor("FP32", [1, 4], [1, 2, 3, 4])).json()


def test_readiness_tells_ready_and_live(server: RunningServer) -> None:
    document = server.get("/v2/health/ready").json()
    assert (document["live"], document["ready"]) == (True, True)


def test_an_unknown_name_makes_no_label_and_a_line_feed_in_a_path_no_log_line(server: RunningServer) -> None:
    forged = "/v2/models/nobody-known%0a%7B%22message%22%3A%22forged%22%7D/infer"
    assert server.post(forged, json=tensor("FP32", [1], [1])).status_code == 404
    assert "nobody-known" not in server.get("/metrics").text
    assert server.logged("forged") == []
