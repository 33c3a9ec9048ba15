"""What a runtime is: the part that knows one kind of model file.

A plug-in is a class of this kind named in the entry-point group `inference_server.runtimes` of its own distribution.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from inference_server.protocol.signature import Signature
from inference_server.repository.model_config import ModelConfig, ModelError, describe

P = TypeVar("P", bound=BaseModel)


@dataclass(slots=True)
class Prediction:
    """What a model answers."""

    outputs: Mapping[str, np.ndarray]
    """By output name; BYTES as object arrays of `bytes` or `str`."""
    parameters: Mapping[str, str | int | float | bool] | None = None
    """For `parameters` of the response."""


class Runtime(ABC):
    """One loaded version of a model.

    It is loaded once, before the server forks its workers, which then share its memory: `load` must start no thread
    that is to live on, and `predict` must not write to what `load` read.
    """

    platform: ClassVar[str]
    """As in model metadata, e.g. `onnxruntime_onnx`."""
    safe: ClassVar[bool] = True
    """False if to load a file is to run code that is in it: such models are refused unless pinned by their content."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path, config: ModelConfig) -> Self:
        """Load from the folder of a version, given its model.json. Raises ModelError that says why it can't be."""

    @property
    @abstractmethod
    def signature(self) -> Signature:
        """The tensors that it takes and gives."""

    @abstractmethod
    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        """Answer one request.

        The inputs fit the signature: required ones are present, datatypes and shapes agree; BYTES are object arrays of
        `bytes`. They may be read-only. `wanted` are the names of the outputs that the caller wants; more do no harm.
        `parameters` are the request's own. Raises RequestError for what is the caller's fault; anything else that it
        raises is a 500.
        """


def model_file(folder: Path, config: ModelConfig, *usual: str) -> Path:
    """The file that model.json names, or the first of the usual ones that is there. Raises ModelError."""
    names = usual if config.file is None else (config.file,)
    for name in names:
        if (folder / name).is_file():
            return folder / name
    hint = "" if config.file else "; if it is called otherwise, say so in 'file' of model.json"
    raise ModelError(f"{' or '.join(names)} is missing{hint}")


def read_parameters(kind: type[P], config: ModelConfig) -> P:
    """`parameters` of model.json as the runtime's own type. Raises ModelError that names the parameter."""
    try:
        return kind.model_validate(config.parameters)
    except ValidationError as error:
        raise ModelError(f"parameters of model.json: {describe(error)}") from None


class NoParameters(BaseModel):
    """For runtimes that take none."""

    model_config = ConfigDict(extra="forbid")
