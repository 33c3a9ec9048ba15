"""Small real models for tests, made on the spot."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from inference_server.repository.publish import publish

_WEIGHTS = np.random.default_rng(7).normal(size=(4, 3)).astype(np.float32)


def linear(rows: np.ndarray) -> np.ndarray:
    """What the model of `write_linear` computes: rows [n, 4] -> [n, 3]."""
    return rows.astype(np.float32) @ _WEIGHTS


def write_linear(root: Path, name: str = "linear", version: int = 1, **model_json: Any) -> Path:
    """An ONNX model: y = x W, with x FP32 [-1, 4] and y FP32 [-1, 3]. Not published yet."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [helper.make_tensor("w", TensorProto.FLOAT, _WEIGHTS.shape, _WEIGHTS.tobytes(), raw=True)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return write_version(
        root, name, version, {"model.onnx": model.SerializeToString()}, {"runtime": "onnx", **model_json}
    )


def write_top_n(root: Path, name: str = "recommender", version: int = 1, **model_json: Any) -> Path:
    """Users 10, 20, 30 with factors 1, 2, -1; items a, b, c, d with factors -1, 0, 1, 2. Not published yet."""
    folder = root / name / str(version)
    folder.mkdir(parents=True)
    np.savez(
        folder / "factors.npz",
        user_factors=np.array([[1], [2], [-1]], dtype=np.float32),
        item_factors=np.array([[-1], [0], [1], [2]], dtype=np.float32),
        user_ids=np.array([10, 20, 30]),
        item_ids=np.array(["a", "b", "c", "d"]),
        titles=np.array(["A", "Bé", "C", "D"]),
        popularity=np.array([2, 0, 3, 1]),
        seen_indptr=np.array([0, 1, 1, 4]),
        seen_indices=np.array([3, 0, 1, 2]),
    )
    (root / name / "model.json").write_text(json.dumps({"runtime": "numpy_topn", **model_json}))
    return folder


def write_version(root: Path, name: str, version: int, files: dict[str, bytes], model_json: dict[str, Any]) -> Path:
    folder = root / name / str(version)
    folder.mkdir(parents=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    (root / name / "model.json").write_text(json.dumps(model_json))
    return folder


def published(root: Path) -> Path:
    """Publish what is in a repository; the repository again."""
    publish(root, replace=True)
    return root


_PLUG_IN = '''
import os, threading, time
import numpy as np
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.runtimes.base import Prediction, Runtime


class Awkward(Runtime):
    """Answers `x`, after doing what `parameters` of model.json or `what` of the request say."""

    platform = "awkward"

    def __init__(self, parameters):
        self.parameters = parameters

    @classmethod
    def load(cls, folder, config):
        parameters = config.parameters
        match parameters.get("on_load"):
            case "abort":
                os.abort()
            case "thread":
                threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
            case "brief thread":
                threading.Thread(target=time.sleep, args=(0.1,)).start()
            case "raise":
                raise RuntimeError("no such luck")
            case "sleep":
                time.sleep(1000)
        return cls(parameters)

    @property
    def signature(self):
        tensors = [TensorSpec("x", "FP32", (-1,))]
        return Signature.of(tensors, tensors)

    def predict(self, inputs, wanted, parameters):
        match parameters.get("what"):
            case "sleep":
                time.sleep(parameters["seconds"])
            case "raise":
                raise ValueError("a secret of the model")
            case "nothing":
                return Prediction({})
            case "pid":
                return Prediction(inputs, {"pid": os.getpid()})
            case "grow":
                self.kept = np.ones(int(parameters["bytes"]), dtype=np.uint8)
            case "die":
                os._exit(1)
        return Prediction({"x": inputs["x"]})
'''


def write_plug_in(folder: Path) -> Path:
    """An installed distribution with the runtime `awkward`; the folder that is to be on Python's path."""
    metadata = folder / "awkward_runtime-1.0.dist-info"
    metadata.mkdir(parents=True)
    (folder / "awkward_runtime.py").write_text(_PLUG_IN)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: awkward-runtime\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[inference_server.runtimes]\nawkward = awkward_runtime:Awkward\n")
    return folder


def write_awkward(root: Path, name: str = "awkward", **model_json: Any) -> Path:
    """A model of the runtime of `write_plug_in`."""
    return write_version(root, name, 1, {"model.txt": b"x"}, {"runtime": "awkward", **model_json})


def need(*modules: str) -> None:
    """Skip the test where one of these is not installed."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed")
