"""The work that every contender does: the same model.

Knows no web framework, and nothing of this project, as it is imported in environments that lack it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

Predict = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

MODEL_VARIABLE = "BENCHMARK_MODEL"
"""Environment variable: the folder with model.onnx or factors.npz."""
PORT_VARIABLE = "BENCHMARK_PORT"
TOP = 10
NAMES = {"f": "FP32", "i": "INT64"}


def load(folder: Path) -> Predict:
    return _onnx(folder / "model.onnx") if (folder / "model.onnx").exists() else _top_n(folder / "factors.npz")


def _onnx(path: Path) -> Predict:
    import onnxruntime  # noqa: PLC0415  (who serves factors does not pay for it)

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True))


def _top_n(path: Path) -> Predict:
    with np.load(path, allow_pickle=False) as archive:
        user_factors, item_factors = archive["user_factors"], archive["item_factors"]

    def predict(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        scores = user_factors[inputs["user"]] @ item_factors.T
        best = np.argpartition(scores, -TOP, axis=1)[:, -TOP:]
        order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1)
        items = np.take_along_axis(best, order, axis=1)
        return {"items": items, "scores": np.take_along_axis(scores, items, axis=1)}

    return predict
