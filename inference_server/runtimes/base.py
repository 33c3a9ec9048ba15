"""What a runtime is: the part that knows one kind of model file.

A plug-in is a class of this kind named in the entry-point group `inference_server.runtimes` of its own distribution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from inference_server.protocol.signature import Signature


class Prediction(NamedTuple):
    """What a model answers."""

    outputs: Mapping[str, np.ndarray]
    """By output name; BYTES as object arrays of `bytes` or `str`."""
    parameters: Mapping[str, str | int | float | bool] = {}
    """For `parameters` of the response."""


class Runtime(ABC):
    """One loaded version of a model.

    It is loaded once, before the server forks its workers, which then share its memory: `load` must start no thread
    that is to live on, and `predict` must not write to what `load` read.
    """

    platform: ClassVar[str]
    """As in model metadata, e.g. `onnxruntime_onnx`."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, parameters: Mapping[str, Any]) -> Self:
        """Load from the version's folder. `parameters` are those of `model.json`. Raises ModelError."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """The tensors that it takes and gives."""

    @abstractmethod
    def predict(self, inputs: Mapping[str, np.ndarray], parameters: Mapping[str, Any]) -> Prediction:
        """Answer one request.

        The inputs fit the signature: required ones are present, datatypes and shapes agree; BYTES are object arrays of
        `bytes`. They may be read-only. `parameters` are the request's own. Raises RequestError for what is the caller's
        fault; anything else that it raises is a 500.
        """
