"""BF16, which neither NumPy nor JSON has: models that take and give it, by each runtime that can."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from onnx import NodeProto, TensorProto, ValueInfoProto, helper

from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.repository.scan import scan
from inference_server.runtimes.onnx import Onnx
from tests.inference_server.models import need, published, write_version
from tests.inference_server.running import RunningServer, running

# Those of the second row are half-way between two, and round to even.
ROWS = np.array([[1.5, -2.25, 1.5e38, 0.0], [1.00390625, 1.01171875, 0.1, np.nan]], np.float32)


def halves(values: np.ndarray) -> np.ndarray:
    return values.astype(ml_dtypes.bfloat16)


def write_onnx(root: Path, nodes: list[NodeProto], inputs: list[ValueInfoProto], outputs: list[ValueInfoProto]) -> Path:
    graph = helper.make_graph(nodes, "halves", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return write_version(root, "model", 1, {"model.onnx": model.SerializeToString()}, {"runtime": "onnx"})


def write_doubling(root: Path, shape: list[Any]) -> Path:
    """A model whose y is x + x, both BF16, and whose f is x as FP32."""
    nodes = [
        helper.make_node("Cast", ["x"], ["f"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["f", "f"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["y"], to=TensorProto.BFLOAT16),
    ]
    info = helper.make_tensor_value_info
    outputs = [info("y", TensorProto.BFLOAT16, shape), info("f", TensorProto.FLOAT, shape)]
    return write_onnx(root, nodes, [info("x", TensorProto.BFLOAT16, shape)], outputs)


def test_an_onnx_model_gets_and_gives_what_bfloat16_can_hold(tmp_path: Path) -> None:
    model = Onnx.load(write_doubling(tmp_path, ["n", 4]), ModelConfig(runtime="onnx"))
    assert [(spec.name, spec.datatype) for spec in model.signature.outputs.values()] == [("y", "BF16"), ("f", "FP32")]
    for rows in (ROWS, ROWS[:0], ROWS[::-1]):
        answer = model.predict({"x": rows}, ["f", "y"], {}).outputs
        expected = halves(rows).astype(np.float32)
        np.testing.assert_array_equal(answer["f"], expected)
        np.testing.assert_array_equal(answer["y"], halves(expected + expected).astype(np.float32))
        assert answer["y"].shape == rows.shape


def test_an_onnx_model_may_take_a_single_bfloat16(tmp_path: Path) -> None:
    model = Onnx.load(write_doubling(tmp_path, []), ModelConfig(runtime="onnx"))
    answer = model.predict({"x": np.array(1.5, np.float32)}, ["y"], {}).outputs["y"]
    assert answer.shape == ()
    assert answer == 3


def test_an_onnx_model_that_takes_text_beside_bfloat16_is_refused_with_the_reason(tmp_path: Path) -> None:
    info = helper.make_tensor_value_info
    nodes = [helper.make_node("Identity", ["x"], ["y"]), helper.make_node("Identity", ["t"], ["u"])]
    inputs = [info("x", TensorProto.BFLOAT16, ["n"]), info("t", TensorProto.STRING, ["n"])]
    outputs = [info("y", TensorProto.BFLOAT16, ["n"]), info("u", TensorProto.STRING, ["n"])]
    folder = write_onnx(tmp_path, nodes, inputs, outputs)
    with pytest.raises(ModelError, match="takes text and has BF16 tensors"):
        Onnx.load(folder, ModelConfig(runtime="onnx"))


def double(server: RunningServer, rows: np.ndarray) -> np.ndarray:
    """What the model `model` gives as `y` for BF16 rows `x`."""
    raw = halves(rows).tobytes()
    tensor = {"name": "x", "datatype": "BF16", "shape": list(rows.shape), "parameters": {"binary_data_size": len(raw)}}
    wanted = [{"name": "y", "parameters": {"binary_data": True}}]
    head = json.dumps({"inputs": [tensor], "outputs": wanted}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    response = server.post("/v2/models/model/infer", content=head + raw, headers=headers)
    assert response.status_code == 200, response.text
    length = int(response.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(response.content[:length])["outputs"]
    assert output["datatype"] == "BF16"
    return np.frombuffer(response.content[length:], ml_dtypes.bfloat16).reshape(output["shape"])


def test_bfloat16_goes_through_the_server_bit_by_bit(tmp_path: Path) -> None:
    write_doubling(tmp_path, ["n", 4])
    with running(published(tmp_path)) as server:
        server.wait_until_live()
        (tensor,) = server.get("/v2/models/model").json()["inputs"]
        assert tensor == {"name": "x", "datatype": "BF16", "shape": [-1, 4]}
        expected = halves(ROWS) + halves(ROWS)
        assert double(server, ROWS).view(np.uint16).tolist() == expected.view(np.uint16).tolist()


# --- PyTorch, where it is installed -----------------------------------------------------------------------------------


@pytest.fixture
def torch() -> Any:
    need("torch")
    import torch as library  # noqa: PLC0415  (it may not be there)

    return library


def write_program(root: Path, library: Any, datatype: str) -> str:
    """A program that doubles; it is stated to take and give `datatype`. What pins its content."""

    class Doubling(library.nn.Module):  # type: ignore[misc]  # the library has no types here
        def forward(self, x: Any) -> Any:
            return x + x

    tensor = {"datatype": datatype, "shape": [-1, 4]}
    model_json = {
        "runtime": "torch",
        "inputs": [{"name": "x", **tensor}],
        "outputs": [{"name": "y", **tensor}],
    }
    folder = write_version(root, "model", 1, {}, model_json)
    example = library.ones((2, 4), dtype=library.bfloat16)
    rows = library.export.Dim("n", min=1, max=1024)
    library.export.save(library.export.export(Doubling(), (example,), dynamic_shapes=[{0: rows}]), folder / "model.pt2")
    (version,) = scan(published(root)).versions
    return f"model/1={version.manifest.digest}"


def test_a_torch_program_takes_and_gives_bfloat16(tmp_path: Path, torch: Any) -> None:
    pins = write_program(tmp_path, torch, "BF16")
    with running(tmp_path, unsafe_models=pins) as server:
        server.wait_until_live()
        expected = halves(ROWS) + halves(ROWS)
        assert double(server, ROWS).view(np.uint16).tolist() == expected.view(np.uint16).tolist()


def test_a_torch_program_that_is_stated_to_take_text_is_refused(tmp_path: Path, torch: Any) -> None:
    pins = write_program(tmp_path, torch, "BYTES")
    with running(tmp_path, unsafe_models=pins) as server:
        document = server.get("/readyz")
        assert document.status_code == 503
        (problem,) = document.json()["problems"]
        assert problem["reason"] == "'x' is BYTES, which PyTorch has no tensors of"
