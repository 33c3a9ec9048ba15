"""Models that can't be served, beside one that can: readiness names each with its reason, and the rest goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.inference_server.models import published, write_awkward, write_linear, write_plug_in, write_top_n
from tests.inference_server.running import RunningServer, running

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, -1, 2, 3]}]}


def model_of(root: Path) -> Path:
    return root / "bad/1/model.onnx"


def corrupt(root: Path) -> None:
    content = bytearray(model_of(root).read_bytes())
    content[len(content) // 2] ^= 1
    model_of(root).write_bytes(content)


def truncated(root: Path) -> None:
    model_of(root).write_bytes(model_of(root).read_bytes()[:-10])


def truncated_and_published(root: Path) -> None:
    truncated(root)
    published(root)


def missing(root: Path) -> None:
    model_of(root).unlink()


def without_manifest(root: Path) -> None:
    (root / "bad/1/manifest.json").unlink()


def half_a_manifest(root: Path) -> None:
    manifest = root / "bad/1/manifest.json"
    manifest.write_bytes(manifest.read_bytes()[:-20])


def without_model_json(root: Path) -> None:
    (root / "bad/model.json").unlink()


def mismatched(root: Path) -> None:
    document = {"runtime": "onnx", "inputs": [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]}
    (root / "bad/model.json").write_text(json.dumps(document))


def of_another_runtime(root: Path) -> None:
    (root / "bad/model.json").write_text('{"runtime": "numpy_topn", "file": "model.onnx"}')


def unsafe(root: Path) -> None:
    (root / "bad/model.json").write_text('{"runtime": "sklearn_pickle", "file": "model.onnx"}')


def oversized(root: Path) -> None:
    manifest = root / "bad/1/manifest.json"
    document = json.loads(manifest.read_text())
    document["files"][0]["bytes"] = 10**15
    manifest.write_text(json.dumps(document))


def unreadable(root: Path) -> None:
    """A loop of links is unreadable for root, too."""
    missing(root)
    model_of(root).symlink_to("model.onnx")


def out_of_its_folder(root: Path) -> None:
    missing(root)
    model_of(root).symlink_to(root / "good/1/model.onnx")


WORDS: dict[Callable[[Path], None], str] = {
    corrupt: "file model.onnx is corrupt: its SHA-256 is",
    truncated: "manifest.json says",
    truncated_and_published: "onnxruntime can't load model.onnx",
    missing: "file model.onnx is missing, though manifest.json lists it",
    without_manifest: "none of its versions (1) has a manifest.json",
    half_a_manifest: "manifest.json is not valid",
    without_model_json: "model.json is missing",
    mismatched: "model.json states input 'x' as FP64 [-1, 4]; the model has FP32 [-1, 4]",
    of_another_runtime: "model.onnx can't be read",
    unsafe: "INFERENCE_UNSAFE_MODELS=bad/1=",
    oversized: "raise the task's ephemeral storage",
    unreadable: "file model.onnx can't be copied",
    out_of_its_folder: "is a link out of the version's folder",
}


@pytest.mark.parametrize("harm", WORDS, ids=lambda harm: harm.__name__)
def test_a_model_that_is_harmed_is_named_by_readiness_and_the_server_lives(
    tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    root = tmp_path / "models"
    write_linear(root, "good")
    write_linear(root, "bad")
    harm(published(root))
    with running(root) as server:
        ready = server.get("/readyz")
        assert ready.status_code == 503
        (problem,) = ready.json()["problems"]
        assert problem["model"] == "bad"
        assert WORDS[harm] in problem["reason"]
        assert "bad" in ready.json()["error"]
        assert server.get("/healthz").status_code == 200
        assert server.post("/v2/models/good/infer", json=ROW).status_code == 200
        refused = server.post("/v2/models/bad/infer", json=ROW)
        assert refused.status_code == 503
        assert problem["reason"] in refused.json()["error"]


def test_a_folder_whose_name_is_no_text_is_named_as_far_as_it_is(tmp_path: Path) -> None:
    root = tmp_path / "models"
    write_linear(root, "good")
    published(root)
    (root / os.fsdecode(b"mod\xe8le")).mkdir()  # in Latin-1
    with running(root) as server:
        (problem,) = server.get("/readyz").json()["problems"]
        assert problem["model"] == "mod\ufffdle"
        assert "the name of a model is" in problem["reason"]
        assert server.post("/v2/models/good/infer", json=ROW).status_code == 200
        assert server.get("/metrics").status_code == 200


def test_the_command_check_says_the_same_and_exits_one(tmp_path: Path) -> None:
    root = tmp_path / "models"
    write_linear(root, "good")
    write_linear(root, "bad")
    corrupt(published(root))
    with running(root, ["check", str(root), "--json"]) as checking:
        assert checking.process.wait(60) == 1
        document = output_of(checking)
    assert document["ready"] is False
    assert [entry["model"] for entry in document["served"]] == ["good"]
    assert [entry["model"] for entry in document["problems"]] == ["bad"]
    corrupt(root)
    with running(root, ["check", str(root)]) as checking:
        assert checking.process.wait(60) == 0


def test_the_command_check_outlives_a_model_that_kills_who_loads_it(tmp_path: Path) -> None:
    root = tmp_path / "models"
    write_linear(root, "good")
    write_awkward(root, "deadly", parameters={"on_load": "abort"})
    write_awkward(root, "later", load="after_fork", parameters={"on_load": "abort"})
    plug_ins = write_plug_in(tmp_path / "plug_ins")
    with running(published(root), ["check", str(root), "--json"], python_path=plug_ins) as checking:
        assert checking.process.wait(60) == 1
        document = output_of(checking)
    assert [entry["model"] for entry in document["served"]] == ["good"]
    assert {entry["model"]: entry["reason"] for entry in document["problems"]} == dict.fromkeys(
        ("deadly", "later"), "the process was killed by SIGABRT while it loaded this version"
    )


def output_of(process: RunningServer) -> Any:
    process.wait()
    return json.loads(b"".join(process.lines))


def test_workers_share_a_models_memory(tmp_path: Path) -> None:
    """Of 64 MB a second copy would be seen; a worker's own memory is that of an interpreter that has answered."""
    root = tmp_path / "models"
    write_large_top_n(root)
    with running(published(root)) as server:
        body = {"inputs": [{"name": "user", "datatype": "INT64", "shape": [1], "data": [5]}]}
        for _ in range(20):
            assert server.post("/v2/models/recommender/infer", json=body).status_code == 200
        for worker in server.workers():
            assert private_bytes(worker) < 24_000_000


def write_large_top_n(root: Path) -> None:

    folder = write_top_n(root)
    users = 250_000
    np.savez(
        folder / "factors.npz",
        user_factors=np.ones((users, 64), dtype=np.float32),
        item_factors=np.ones((50, 64), dtype=np.float32),
        user_ids=np.arange(users),
        item_ids=np.arange(50),
        popularity=np.arange(50),
    )


def private_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) * 1024
