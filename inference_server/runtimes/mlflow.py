"""MLflow models by their generic interface, pyfunc. The version's folder is the model's: it has `MLmodel` in it.

To load one is to run what is in it, so the server refuses it unless INFERENCE_UNSAFE_MODELS pins its content. Tensors
come from the signature with which it was logged: a tensor signature gives the same tensors; a column signature gives
one input [-1] for each column, which the model gets as a pandas DataFrame. Output: `predictions`, FP64, or what
model.json states for it.

`parameters` of model.json: none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import mlflow.pyfunc
import numpy as np

from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.runtimes.base import NoParameters, Prediction, Runtime, read_parameters
from inference_server.runtimes.columns import data_frame

_COLUMNS = {
    "boolean": "BOOL",
    "integer": "INT32",
    "long": "INT64",
    "float": "FP32",
    "double": "FP64",
    "string": "BYTES",
}
_TENSORS = {"b1": "BOOL", "i1": "INT8", "i2": "INT16", "i4": "INT32", "i8": "INT64", "u1": "UINT8", "u2": "UINT16"}
_TENSORS |= {"u4": "UINT32", "u8": "UINT64", "f2": "FP16", "f4": "FP32", "f8": "FP64"}


class MLflow(Runtime):
    platform: ClassVar[str] = "mlflow_pyfunc"
    safe: ClassVar[bool] = False

    def __init__(self, model: Any, inputs: Sequence[TensorSpec], output: TensorSpec, *, columns: bool) -> None:
        self._model = model
        self._columns = columns
        self._output = output.name
        self._signature = Signature.of(inputs, [output])

    @classmethod
    def load(cls, folder: Path, config: ModelConfig) -> Self:
        read_parameters(NoParameters, config)
        if not (folder / "MLmodel").is_file():
            raise ModelError("MLmodel is missing: the version's folder must be that of an MLflow model")
        try:
            model = mlflow.pyfunc.load_model(str(folder))
        except Exception as error:  # a pyfunc may raise anything
            raise ModelError(f"MLflow can't load the model: {error!r}") from error
        schema = model.metadata.get_input_schema()
        if schema is None:
            raise ModelError("the model has no signature; log it with one (mlflow.models.infer_signature)")
        output = TensorSpec("predictions", "FP64", (-1,))
        if config.outputs:
            output = config.outputs[0].spec()
        columns = not schema.is_tensor_spec()
        return cls(model, [_column(spec) if columns else _tensor(spec) for spec in schema], output, columns=columns)

    @property
    def signature(self) -> Signature:
        return self._signature

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        del wanted, parameters
        return Prediction({self._output: np.asarray(self._model.predict(self._arguments(inputs)))})

    def _arguments(self, inputs: Mapping[str, np.ndarray]) -> Any:
        if not self._columns:
            arrays = dict(inputs)
            return next(iter(arrays.values())) if len(self._signature.inputs) == 1 else arrays
        return data_frame(inputs, inputs)


def _column(spec: Any) -> TensorSpec:
    datatype = _COLUMNS.get(getattr(spec.type, "name", ""))
    if datatype is None:
        raise ModelError(f"column {spec.name!r} of the model's signature is {spec.type}, which can't be served")
    return TensorSpec(spec.name or "x", datatype, (-1,), optional=not spec.required)


def _tensor(spec: Any) -> TensorSpec:
    datatype = _TENSORS.get(np.dtype(spec.type).str[1:])
    if datatype is None:
        raise ModelError(f"tensor {spec.name!r} of the model's signature is {spec.type}, which can't be served")
    return TensorSpec(spec.name or "x", datatype, tuple(spec.shape))
