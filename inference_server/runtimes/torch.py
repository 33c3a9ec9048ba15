"""PyTorch programs made by torch.export. The file is `model.pt2` unless model.json names another.

To load one is to run what is in it, so the server refuses it unless INFERENCE_UNSAFE_MODELS pins its content.
model.json states `inputs`, in the order of the program's arguments, and `outputs`, in the order of its results or, if
it gives a dictionary, by their names there. There are no tensors of text: BYTES is refused.

It is loaded in each worker, after the fork, whatever model.json says: its thread pools do not survive one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch

from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.runtimes.base import NoParameters, Prediction, Runtime, model_file, read_parameters


class Torch(Runtime):
    platform: ClassVar[str] = "pytorch_export"
    safe: ClassVar[bool] = False

    def __init__(self, program: Any, signature: Signature) -> None:
        self._program = program
        self._signature = signature

    @classmethod
    def load(cls, folder: Path, config: ModelConfig) -> Self:
        read_parameters(NoParameters, config)
        if not config.inputs or not config.outputs:
            raise ModelError("model.json must state inputs and outputs, in the order of the program's")
        for tensor in (*config.inputs, *config.outputs):
            if tensor.datatype == "BYTES":
                raise ModelError(f"'{tensor.name}' is BYTES, which PyTorch has no tensors of")
        path = model_file(folder, config, "model.pt2")
        torch.set_num_threads(1)
        try:
            program = torch.export.load(path).module()
        except Exception as error:  # torch raises what its many parts raise
            raise ModelError(f"torch can't load {path.name}: {error!r}") from error
        return cls(
            program,
            Signature.of([tensor.spec() for tensor in config.inputs], [tensor.spec() for tensor in config.outputs]),
        )

    @property
    def signature(self) -> Signature:
        return self._signature

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        del wanted, parameters
        arguments = [_tensor(inputs[name], spec) for name, spec in self._signature.inputs.items()]
        with torch.inference_mode():
            results = self._program(*arguments)
        if isinstance(results, torch.Tensor):
            results = [results]
        if not isinstance(results, Mapping):
            results = dict(zip(self._signature.outputs, results, strict=True))
        return Prediction({name: _array(results[name]) for name in self._signature.outputs})


def _tensor(array: np.ndarray, spec: TensorSpec) -> torch.Tensor:
    """Of a copy, as a program may write to its arguments, and what comes from a request is read-only."""
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(torch.bfloat16) if spec.datatype == "BF16" else tensor


def _array(tensor: torch.Tensor) -> np.ndarray:
    """NumPy has no bfloat16, which the codec makes of float32."""
    array: np.ndarray = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
    return array
