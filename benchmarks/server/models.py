"""The models that are served and the requests that are sent, made on the spot, the same in each run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import NodeProto, TensorProto, helper

from inference_server.repository.publish import publish

INPUTS, HIDDEN, OUTPUTS = 32, 64, 2
WIDE = 2048
"""Hidden size of the model for batching: its weights are read from memory once for a batch, else for each row."""
BATCH = 16
FLOATS = 250_000
USERS, ITEMS, FACTORS = 282_000, 50_000, 64
"""Of the top-N model, whose file then has 88 MB."""


def write_models(root: Path) -> None:
    """`small`: a perceptron. `echo`: a vector of floats, doubled."""
    _write_perceptron(root / "small", HIDDEN, HIDDEN // 2, {})
    _write_onnx(root / "echo", [helper.make_node("Add", ["x", "x"], ["y"])], ["n"], ["n"], {}, {})
    publish(root)


def write_wide(root: Path, batch: int | None = None) -> None:
    """`small` again, which takes the same requests and is not small. `batch`: rows that may be asked together."""
    _write_perceptron(root / "small", WIDE, WIDE, {} if batch is None else {"batching": {"max_rows": batch}})
    publish(root)


def weights(root: Path) -> float:
    """How many `small` has."""
    return (root / "small" / "1" / "model.onnx").stat().st_size / 4


def _write_perceptron(folder: Path, first: int, second: int, model_json: dict[str, object]) -> None:
    random = np.random.default_rng(1)
    sizes = {"w1": (INPUTS, first), "w2": (first, second), "w3": (second, OUTPUTS)}
    # Small, so that no probability is quite 0 or 1.
    values = {name: random.normal(scale=0.1, size=size).astype(np.float32) for name, size in sizes.items()}
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w2"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("MatMul", ["d", "w3"], ["e"]),
        helper.make_node("Softmax", ["e"], ["y"]),
    ]
    _write_onnx(folder, nodes, ["n", INPUTS], ["n", OUTPUTS], values, model_json)


def write_top_n(root: Path, users: int = USERS, items: int = ITEMS) -> None:
    """`small`, as the contenders know one name only: factors of users and items."""
    folder = root / "small" / "1"
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    np.savez(
        folder / "factors.npz",
        user_factors=random.standard_normal((users, FACTORS), dtype=np.float32),
        item_factors=random.standard_normal((items, FACTORS), dtype=np.float32),
        user_ids=np.arange(users),
        item_ids=np.arange(items),
        popularity=np.arange(items),
    )
    (root / "small" / "model.json").write_text(json.dumps({"runtime": "numpy_topn"}))
    publish(root)


def top_n_bytes(root: Path) -> int:
    return (root / "small" / "1" / "factors.npz").stat().st_size


def small_request() -> bytes:
    return _request("x", "FP32", [1, INPUTS], _row().tolist())


def top_n_request() -> bytes:
    return _request("user", "INT64", [1], [7])


def echo_json() -> bytes:
    """Values of float32 as a client's JSON has them: as many digits as it takes."""
    return _request("x", "FP32", [FLOATS], _floats().tolist())


def echo_binary() -> tuple[bytes, int]:
    """The body, and the length of its JSON header."""
    return _binary_request([FLOATS], _floats())


def small_binary() -> tuple[bytes, int]:
    """What `small_request` asks, likewise."""
    return _binary_request([1, INPUTS], _row().astype(np.float32))


def _binary_request(shape: list[int], values: np.ndarray) -> tuple[bytes, int]:
    data = values.tobytes()
    tensor = {"name": "x", "datatype": "FP32", "shape": shape, "parameters": {"binary_data_size": len(data)}}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return header + data, len(header)


def _row() -> np.ndarray:
    return np.random.default_rng(2).normal(size=INPUTS).round(6)


def _floats() -> np.ndarray:
    return np.random.default_rng(3).standard_normal(FLOATS, dtype=np.float32)


def _request(name: str, datatype: str, shape: list[int], data: list[float]) -> bytes:
    return json.dumps({"inputs": [{"name": name, "datatype": datatype, "shape": shape, "data": data}]}).encode()


def _write_onnx(
    folder: Path,
    nodes: Sequence[NodeProto],
    shape_in: Sequence[str | int],
    shape_out: Sequence[str | int],
    weights: dict[str, np.ndarray],
    model_json: dict[str, object],
) -> None:
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape_in)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape_out)],
        [helper.make_tensor(name, TensorProto.FLOAT, w.shape, w.tobytes(), raw=True) for name, w in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    version = folder / "1"
    version.mkdir(parents=True)
    (version / "model.onnx").write_bytes(model.SerializeToString())
    (folder / "model.json").write_text(json.dumps({"runtime": "onnx", **model_json}))
