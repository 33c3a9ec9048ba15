"""Writes the body of an inference response: JSON, or JSON followed by binary tensors.

Source: Open Inference Protocol, "Inference Response JSON Object"; Triton, "Binary Tensor Data Extension". JSON has no
NaN and no infinity, so an output that has one is refused with the advice to ask for binary data, which carries both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from inference_server.protocol.datatypes import narrow_to_bf16
from inference_server.protocol.errors import InvalidRequestError, PredictionError
from inference_server.protocol.signature import Signature, TensorSpec, WantedOutputs


def write_response(
    document: dict[str, Any],
    arrays: Mapping[str, np.ndarray],
    wanted: WantedOutputs,
    signature: Signature,
) -> tuple[bytes, int | None]:
    """Encode the wanted outputs: the body, and the length of its JSON part if binary tensors follow that.

    `document` is what comes before `outputs`, which it is given here: model_name, model_version, and id and parameters
    if there are any.
    """
    outputs: list[dict[str, Any]] = []
    tail: list[bytes] = []
    for name, binary in wanted.items():
        spec = signature.outputs[name]
        array = arrays.get(name)
        if array is None:
            raise PredictionError(f"the model gave no output '{name}', which its metadata promises")
        shape = array.shape
        if binary:
            raw = _to_binary(array, spec)
            tail.append(raw)
            size = {"binary_data_size": len(raw)}
            outputs.append({"name": name, "datatype": spec.datatype, "shape": shape, "parameters": size})
        else:
            data = array.ravel() if array.dtype is spec.type.array and spec.type.code else _to_json(array, spec)
            outputs.append({"name": name, "datatype": spec.datatype, "shape": shape, "data": data})
    document["outputs"] = outputs
    text = orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
    # NaN and infinity are written as null. Looking for the word costs less than looking at the numbers, and `find` less
    # than `in`.
    if text.find(b"null") >= 0:
        _refuse_not_finite(outputs)
    if not tail:
        return text, None
    return b"".join((text, *tail)), len(text)


def _to_json(array: np.ndarray, spec: TensorSpec) -> Any:
    """The elements as a flat list, or as an array that orjson writes as one."""
    if spec.datatype == "BYTES":
        return [_text(element, spec.name) for element in array.ravel().tolist()]
    if spec.datatype == "BF16":
        raise InvalidRequestError(f"output '{spec.name}' is BF16, which JSON can't carry; ask for it with binary_data")
    if array.dtype is not spec.type.array:
        array = array.astype(spec.type.array)
    return array.ravel()


def _refuse_not_finite(outputs: Sequence[Mapping[str, Any]]) -> None:
    for output in outputs:
        data = output.get("data")
        if isinstance(data, np.ndarray) and data.dtype.kind == "f" and not np.isfinite(data).all():
            raise InvalidRequestError(
                f"output '{output['name']}' has NaN or infinity, which JSON can't carry; ask for it with binary_data"
            )


def _text(element: Any, name: str) -> str:
    if type(element) is bytes:
        try:
            return element.decode()
        except UnicodeDecodeError:
            raise InvalidRequestError(f"output '{name}' is not UTF-8 text; ask for it with binary_data") from None
    return str(element)


def _to_binary(array: np.ndarray, spec: TensorSpec) -> bytes:
    if spec.datatype == "BYTES":
        return b"".join(_with_length(element) for element in array.ravel().tolist())
    if spec.datatype == "BF16":
        return narrow_to_bf16(array).tobytes()
    return np.ascontiguousarray(array, dtype=spec.type.wire).tobytes()


def _with_length(element: Any) -> bytes:
    raw = element if type(element) is bytes else str(element).encode()
    return len(raw).to_bytes(4, "little") + raw
