"""The same JSON, for contenders without a codec of their own. Knows no web framework, and nothing of this project."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson

from benchmarks.server.contenders.work import NAMES, Predict

DATATYPES = {"FP32": np.float32, "INT64": np.int64}


def answer(predict: Predict, body: bytes) -> bytes:
    """Parse JSON, run the model, dump JSON: nothing is checked."""
    tensors: list[dict[str, Any]] = orjson.loads(body)["inputs"]
    inputs = {
        tensor["name"]: np.array(tensor["data"], DATATYPES[tensor["datatype"]]).reshape(tensor["shape"])
        for tensor in tensors
    }
    outputs = [
        {"name": name, "shape": array.shape, "datatype": NAMES[array.dtype.kind], "data": array.ravel()}
        for name, array in predict(inputs).items()
    ]
    document = {"model_name": "small", "model_version": "1", "outputs": outputs}
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
