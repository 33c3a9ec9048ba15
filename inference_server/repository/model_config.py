"""`model.json`: what a model is and how it wants to be served. Nothing here reads models."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from inference_server.protocol.datatypes import DatatypeName
from inference_server.protocol.request import Limits
from inference_server.protocol.signature import TensorSpec
from inference_server.protocol.wording import show

MODEL_FILE = "model.json"
_TRITON_FILE = "config.pbtxt"
_FILE_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")


class ModelError(Exception):
    """A model or a version that can't be served. The text names what is wrong and what to do."""


def _is_file_name(text: str) -> str:
    if not _FILE_NAME.fullmatch(text):
        raise ValueError("it must be the name of a file in the version's folder, of letters, digits, dots, -, _")
    return text


FileName = Annotated[str, AfterValidator(_is_file_name)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TensorConfig(_Part):
    """A tensor as the author of the model states it; held against what the model itself says."""

    name: str
    datatype: DatatypeName
    shape: list[Annotated[int, Field(ge=-1)]]

    def spec(self) -> TensorSpec:
        return TensorSpec(self.name, self.datatype, tuple(self.shape))


class LatestVersions(_Part):
    latest: Annotated[int, Field(ge=1)]


class SpecificVersions(_Part):
    specific: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1)]


class LimitsConfig(_Part):
    """What one request to this model may ask for."""

    timeout_ms: Annotated[int, Field(ge=1)] | None = None
    """From the request's arrival to its answer; only shorter than the server's own limit makes a difference."""
    max_rows: Annotated[int, Field(ge=1)] | None = None
    """First dimension of any input."""
    max_elements: Annotated[int, Field(ge=1)] = Limits().elements
    """In all input tensors together."""


class BatchingConfig(_Part):
    """Ask the model for several requests at once, when they wait for it anyway."""

    max_rows: Annotated[int, Field(ge=2)]
    """In one call, all requests together."""


class ModelConfig(_Part):
    """The content of `model.json`."""

    runtime: str
    """`onnx`, `numpy_topn`, or the name of an installed plug-in."""
    file: FileName | None = None
    """The model's file in the version's folder; the runtime's usual name if absent."""
    inputs: list[TensorConfig] | None = None
    """Held against what the model itself says; needed by runtimes whose models do not say it."""
    outputs: list[TensorConfig] | None = None
    version_policy: Literal["all"] | LatestVersions | SpecificVersions = LatestVersions(latest=1)
    """Which published versions are served."""
    default_version: Annotated[int, Field(ge=1)] | None = None
    """The version that answers a request that names none; the highest one served if absent."""
    required: bool = True
    """Whether the server is ready only once this model is."""
    load: Literal["before_fork", "after_fork"] = "before_fork"
    """When: once, before the workers are forked, which then share its memory; or in each worker, after."""
    limits: LimitsConfig = LimitsConfig()
    batching: BatchingConfig | None = None
    """Off if absent. Only requests of one worker meet: it needs INFERENCE_THREADS of more than one."""
    warmup: list[FileName] = []
    """Files in the version's folder, each the JSON body of a request that is made before the model serves."""
    parameters: dict[str, Any] = {}
    """For the runtime: see its documentation."""
    labels: dict[str, str] = {}
    """Shown in the model's metadata as `properties`."""


def read_model_config(folder: Path) -> ModelConfig:
    """Read `model.json` of a model's folder. Raises ModelError."""
    path = folder / MODEL_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ModelError(_missing(folder)) from None
    except OSError as error:
        raise ModelError(f"{MODEL_FILE} can't be read: {error.strerror}") from None
    try:
        return ModelConfig.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{MODEL_FILE} is not valid: {describe(error)}") from None


def _missing(folder: Path) -> str:
    """What to do about it. Two mistakes are told from others: to name a model where its repository is meant, and to
    bring Triton's file."""
    above = folder.parent
    if (above / MODEL_FILE).is_file():
        return f"{MODEL_FILE} is missing; {above} has one and so is a model itself: the repository is the folder above"
    instead = f", and Triton's {_TRITON_FILE} is not read" if (folder / _TRITON_FILE).is_file() else ""
    return f'{MODEL_FILE} is missing{instead}; the least is {{"runtime": "onnx"}}'


def describe(error: ValidationError) -> str:
    """The faults of a document on one line: where, what, and the beginning of the value."""
    faults = []
    for fault in error.errors(include_url=False):
        where = ".".join(map(str, fault["loc"])) or "the document"
        value = "" if fault["type"] in {"missing", "json_invalid"} else f" (it is {show(fault['input'])})"
        faults.append(f"{where}: {fault['msg'].removeprefix('Value error, ')}{value}")
    return "; ".join(faults)
