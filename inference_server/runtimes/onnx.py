"""ONNX models, by onnxruntime. The file is `model.onnx` unless model.json names another.

`parameters` of model.json: none.

One thread a session: parallelism comes from worker processes, and a thread pool made before the fork would not exist
after it.
"""

from __future__ import annotations

import ctypes
import math
import mmap
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from inference_server.protocol.datatypes import narrow_to_bf16, widen_bf16
from inference_server.protocol.errors import InvalidRequestError
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.runtimes.base import NoParameters, Prediction, Runtime, model_file, read_parameters

MODEL_FILE = "model.onnx"

_ONNX_BF16 = 16
"""TensorProto.BFLOAT16 of onnx.proto."""

_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(bfloat16)": "BF16",
    "tensor(string)": "BYTES",
}

_NODE_FAILED = re.compile(r".*running (\S+) node\..*?Status Message: (.*)")
_OF_INPUTS = re.compile(
    r"INVALID_ARGUMENT|Unknown Category|Out of range value in index|Integer (division|modulo) by zero|"
    r"running (Cast|TopK) node"
)
"""What onnxruntime says of a node that does not take what it is given: its own code for that, and where it has another,
a category that the model does not know, an index beyond the end, a divisor, a text that is no number, fewer elements
than are to be chosen."""

_WHOLE = {"INT32", "INT64"}
"""What onnxruntime's operators take sizes, axes and places as. Of a request with such inputs nobody can tell beforehand
whether the model can do anything with it."""

_NO_MEMORY = "Failed to allocate memory"

_DEADLY = tuple(
    b"\x22%c%b" % (len(name), name) for name in (b"ConvTranspose", b"DFT", b"GRU", b"LpNormalization", b"LSTM", b"TopK")
)
"""Operators, as `op_type` in a file of onnx.proto, of which onnxruntime ends the process if they are given nothing.
Found by giving it to each operator of ONNX's own node tests."""


class Onnx(Runtime):
    platform = "onnxruntime_onnx"

    def __init__(self, session: onnxruntime.InferenceSession, *, deadly: bool) -> None:
        """`deadly`: the model has an operator that is one of those."""
        self._session = session
        self._signature = Signature.of(_specs(session.get_inputs(), "input"), _specs(session.get_outputs(), "output"))
        # The method of the same name checks the names of the inputs once more, and offers other devices; a third of the
        # time of a small model. onnxruntime is pinned below 1.29.
        self._run = session._sess.run  # noqa: SLF001
        self._run_options = onnxruntime.RunOptions()  # it would make one for each request
        self._run_options.log_severity_level = 4  # what it raises says the same
        self._strings = [spec.name for spec in self._signature.inputs.values() if spec.datatype == "BYTES"]
        self._shared = _shared_dimensions(session.get_inputs())
        self._sizes_are_free = any(-1 in spec.shape[1:] for spec in self._signature.inputs.values())
        self._takes_whole_numbers = any(spec.datatype in _WHOLE for spec in self._signature.inputs.values())
        self._no_rows = self._outputs_without_rows(session)
        self._deadly = deadly
        self._first = next(iter(self._signature.inputs), "")

    @classmethod
    def load(cls, folder: Path, config: ModelConfig) -> Onnx:
        read_parameters(NoParameters, config)
        path = model_file(folder, config, MODEL_FILE)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.log_severity_level = 3
        try:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen types that have no common base but Exception
            raise ModelError(f"onnxruntime can't load {path.name}: {error}") from error
        kinds = {_DATATYPES.get(node.type) for node in (*session.get_inputs(), *session.get_outputs())}
        deadly = _has_deadly(path)
        if "BF16" not in kinds:
            return cls(session, deadly=deadly)
        if any(_DATATYPES.get(node.type) == "BYTES" for node in session.get_inputs()):
            raise ModelError("the model takes text and has BF16 tensors, and onnxruntime has no call for both")
        return _WithBf16(session, deadly=deadly)

    @property
    def signature(self) -> Signature:
        return self._signature

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        del parameters
        if self._first and not inputs[self._first].size and (nothing := self._of_nothing(inputs, wanted)):
            return nothing
        feeds = inputs if not self._strings else self._with_text(inputs)
        try:
            results = self._run(wanted, feeds, self._run_options)
        except Exception as error:  # see load
            self._refuse(inputs, error)
            raise
        if len(wanted) == 1:  # which is usual, and cheaper so
            return Prediction({wanted[0]: results[0]})
        return Prediction(dict(zip(wanted, results, strict=True)))

    def _of_nothing(self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str]) -> Prediction | None:
        """The answer where the first input has no elements, if the model need not be asked.

        Raises InvalidRequestError if it must not be. What other inputs lack is usual: the past of a text that begins.
        """
        if not len(inputs[self._first]) and self._no_rows.keys() >= {*wanted}:
            return Prediction(self._no_rows)
        if self._deadly:
            raise _takes_no(self._first, inputs[self._first])
        return None

    def _outputs_without_rows(self, session: onnxruntime.InferenceSession) -> dict[str, np.ndarray]:
        """What there is for inputs without rows: outputs that have as many rows as all inputs, and all else fixed.

        Rows are a first dimension that has the same name everywhere, or none anywhere, as converters of scikit-learn's
        models leave it.
        """
        names = {node.shape[0] if node.shape else 0 for node in session.get_inputs()}
        return {
            node.name: np.empty((0, *node.shape[1:]), self._signature.outputs[node.name].type.array)
            for node in session.get_outputs()
            if node.shape
            and names == {node.shape[0]}
            and not isinstance(node.shape[0], int)
            and all(isinstance(size, int) for size in node.shape[1:])
        }

    def _refuse(self, inputs: Mapping[str, np.ndarray], error: Exception) -> None:
        """Raises InvalidRequestError if it is for the caller's inputs that the model has failed.

        It is looked for only then: what a model says of its inputs may be wrong, and onnxruntime does not mind, as long
        as the model can do with what it gets.
        """
        for name, places in self._shared.items():
            sizes = {place: inputs[place[0]].shape[place[1]] for place in places if place[0] in inputs}
            if len(set(sizes.values())) > 1:
                where = ", ".join(
                    f"{size} in input '{of}' (dimension {number})" for (of, number), size in sizes.items()
                )
                raise InvalidRequestError(f"the inputs must agree in {name}, and it is {where}") from error
        for name, array in inputs.items():
            if not array.size:
                raise _takes_no(name, array) from error
        failed = _NODE_FAILED.search(str(error))
        if failed is None:
            return
        operator, reason = failed[1], failed[2].rpartition(" was false. ")[2]
        of_inputs, of_memory = _OF_INPUTS.search(str(error)), _NO_MEMORY in str(error)
        if self._sizes_are_free and not of_inputs and not of_memory:
            # A text may be too long, an image too small. That rows may be of any number the model has said itself.
            shapes = ", ".join(f"'{name}' {list(array.shape)}" for name, array in inputs.items())
            raise InvalidRequestError(
                f"the model's {operator} does not take inputs of these shapes, {shapes}: {reason}"
            ) from error
        if of_inputs or (self._takes_whole_numbers and not of_memory):
            raise InvalidRequestError(f"the model's {operator} does not take these inputs: {reason}") from error

    def _with_text(self, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return {**inputs, **{name: _as_text(inputs[name], name) for name in self._strings}}


def _has_deadly(path: Path) -> bool:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(operator) >= 0 for operator in _DEADLY)


def _takes_no(name: str, array: np.ndarray) -> InvalidRequestError:
    shape = list(array.shape)
    return InvalidRequestError(f"input '{name}' has shape {shape}: this model takes none without elements")


class _WithBf16(Onnx):
    """A model with BF16 tensors. NumPy has no such numbers, so onnxruntime's own values go in and come out."""

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        del parameters
        if self._first and not inputs[self._first].size and (nothing := self._of_nothing(inputs, wanted)):
            return nothing
        feeds = {name: _value(array, self._signature.inputs[name]) for name, array in inputs.items()}
        try:
            values = self._session.run_with_ort_values(wanted, feeds, self._run_options)
        except Exception as error:  # see load
            self._refuse(inputs, error)
            raise
        return Prediction({name: _array(value) for name, value in zip(wanted, values, strict=True)})


def _value(array: np.ndarray, spec: TensorSpec) -> onnxruntime.OrtValue:
    if spec.datatype != "BF16":
        return onnxruntime.OrtValue.ortvalue_from_numpy(array)
    bits = narrow_to_bf16(array).reshape(array.shape)
    return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, _ONNX_BF16)


def _array(value: onnxruntime.OrtValue) -> np.ndarray:
    if value.data_type() != "tensor(bfloat16)":
        array: np.ndarray = value.numpy()
        return array
    shape = value.shape()
    raw = ctypes.string_at(value.data_ptr(), math.prod(shape) * 2)
    return widen_bf16(np.frombuffer(raw, np.uint16).reshape(shape))


def _specs(nodes: Sequence[Any], what: str) -> list[TensorSpec]:
    specs = []
    for node in nodes:
        datatype = _DATATYPES.get(node.type)
        if datatype is None:
            hint = " (export the classifier with zipmap off)" if "map(" in node.type else ""
            raise ModelError(f"{what} '{node.name}' is a {node.type}, which can't be served{hint}")
        shape = tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape)
        specs.append(TensorSpec(node.name, datatype, shape))
    return specs


_Place = tuple[str, int]
"""An input and the number of one of its dimensions."""


def _shared_dimensions(nodes: Sequence[Any]) -> dict[str, list[_Place]]:
    """Where sizes must be equal, by what is to be called so: dimensions of one name, and first ones without any."""
    shared: dict[str, list[_Place]] = {}
    for node in nodes:
        for number, size in enumerate(node.shape):
            if isinstance(size, str) and size:
                shared.setdefault(f"'{size}'", []).append((node.name, number))
            elif size is None and number == 0:
                shared.setdefault("rows", []).append((node.name, number))
    return shared


def _as_text(array: np.ndarray, name: str) -> np.ndarray:
    """`str` elements: of `bytes` onnxruntime would see their Python notation."""
    text = np.empty(array.shape, dtype=object)
    try:
        text.ravel()[:] = [element.decode() for element in array.ravel()]
    except UnicodeDecodeError:
        raise InvalidRequestError(f"input '{name}' is not UTF-8 text, which this model takes") from None
    return text
