"""`model-settings.json` of MLServer, read as if it were a `model.json`, so that its models can be served as they are.

Source: MLServer, "Model Settings". What has no counterpart here is refused by name, or has no effect on predictions
(workers, batching, environments) and is passed over.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from inference_server.repository.model_config import MODEL_FILE, ModelConfig, ModelError, describe

SETTINGS_FILE = "model-settings.json"

_RUNTIMES = {
    "mlserver_lightgbm.LightGBMModel": "lightgbm",
    "mlserver_mlflow.MLflowRuntime": "mlflow",
    "mlserver_sklearn.SKLearnModel": "sklearn_pickle",
    "mlserver_xgboost.XGBoostModel": "xgboost",
}

_XGBOOST = re.compile(rb'\s*\{\s*"learner"')
"""How its models begin in JSON."""


class _Tensor(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str
    datatype: str
    shape: list[int]


class _Parameters(BaseModel):
    model_config = ConfigDict(extra="ignore")

    uri: str | None = None
    version: str | None = None


class ModelSettings(BaseModel):
    """The members of `model-settings.json` that matter here."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())

    name: str | None = None
    implementation: Annotated[str, Field(min_length=1)]
    inputs: list[_Tensor] = []
    outputs: list[_Tensor] = []
    parameters: _Parameters | None = None


def speaks_for(folder: Path) -> bool:
    """Whether the model in a folder is described by MLServer's file, and not by our own."""
    return (folder / SETTINGS_FILE).is_file() and not _is_ours(folder / MODEL_FILE)


def _is_ours(file: Path) -> bool:
    """Whether it is there, and no model of XGBoost, which may have that name too and may be large."""
    with contextlib.suppress(OSError), file.open("rb") as source:
        return _XGBOOST.match(source.read(64)) is None
    return file.exists()


def read_model_settings(folder: Path) -> tuple[ModelConfig, int]:
    """The model's configuration, and the version that its files are. Raises ModelError that names the member."""
    try:
        settings = ModelSettings.model_validate_json((folder / SETTINGS_FILE).read_bytes())
    except OSError as error:
        raise ModelError(f"{SETTINGS_FILE} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise ModelError(f"{SETTINGS_FILE} is not valid: {describe(error)}") from None
    runtime = _RUNTIMES.get(settings.implementation)
    if runtime is None:
        raise ModelError(
            f"implementation {settings.implementation} of {SETTINGS_FILE} has no counterpart here; write a {MODEL_FILE}"
        )
    parameters = settings.parameters or _Parameters()
    document: dict[str, Any] = {"runtime": runtime, "file": _file(parameters.uri)}
    for member, tensors in (("inputs", settings.inputs), ("outputs", settings.outputs)):
        if tensors:
            document[member] = [tensor.model_dump() for tensor in tensors]
    try:
        return ModelConfig.model_validate(document), _version(parameters.version)
    except ValidationError as error:
        raise ModelError(f"{SETTINGS_FILE} can't be read as a {MODEL_FILE}: {describe(error)}") from None


def _file(uri: str | None) -> str | None:
    """`./model.joblib` -> `model.joblib`; None for a folder, and where nothing is said."""
    name = (uri or "").removeprefix("file://").removeprefix("./").rstrip("/")
    return name if name not in {"", "."} else None


def _version(text: str | None) -> int:
    """`v3`, `3` -> 3; versions here are whole numbers, and 1 stands for what is not one."""
    found = re.fullmatch(r"v?([1-9][0-9]{0,17})", text or "")
    return int(found.group(1)) if found else 1
