"""Scikit-learn estimators and pipelines.

`sklearn_skops`: files of skops, `model.skops`, which hold no code. Types that skops does not know as harmless are
refused unless `parameters` of model.json lists them in `trusted`.

`sklearn_pickle`: `model.joblib` or `model.pkl`. To load one is to run what is in it, so the server refuses it unless
INFERENCE_UNSAFE_MODELS pins its content.

Input: a matrix `x`, FP64 (or FP32, INT64 if model.json states so), [-1, features]; a text pipeline states its input in
model.json as BYTES [-1]. What was fitted to a DataFrame and picks its columns by name, as a ColumnTransformer may, has
an input [-1] for each column, which model.json states, and needs pandas. Outputs: `predict`, and on request
`predict_proba`, `decision_function` and `transform`, those of them that the estimator has. `predict_proba` of several
targets has the classes of all of them side by side.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import joblib
import numpy as np
from pydantic import BaseModel, ConfigDict
from sklearn.exceptions import InconsistentVersionWarning

from inference_server.protocol.errors import InvalidRequestError
from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError, TensorConfig
from inference_server.runtimes.base import NoParameters, Prediction, Runtime, model_file, read_parameters
from inference_server.runtimes.columns import data_frame, texts
from inference_server.runtimes.matrix import matrix_input

METHODS = ("predict", "predict_proba", "decision_function", "transform")

_DATATYPES = {"b": "BOOL", "i": "INT64", "u": "INT64", "f": "FP64", "U": "BYTES", "O": "BYTES", "S": "BYTES"}

_REASON = 200
"""Characters of an estimator's own words that are shown: they may list what it was given."""


class SkopsParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    trusted: list[str] = []


class Sklearn(Runtime):
    """An estimator, however it was stored."""

    def __init__(self, estimator: Any, config: ModelConfig) -> None:
        _use_one_thread(estimator)
        self._names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
        """Of the columns of the DataFrame that it was fitted to, in their order."""
        columns = _columns(config.inputs or (), self._names)
        self._by_column = bool(columns)
        """Whether each of them is an input."""
        self._inputs = columns or [_input_of(estimator, config)]
        self._methods: dict[str, Callable[[Any], Any]] = {
            name: getattr(estimator, name) for name in METHODS if hasattr(estimator, name)
        }
        if not self._methods:
            raise ModelError(f"a {type(estimator).__name__} has none of the methods {', '.join(METHODS)}")
        self._trial = self._rows({each.name: _blank(each) for each in self._inputs})
        stated = {tensor.name: tensor.spec() for tensor in config.outputs or ()}
        outputs = [self._output(name, stated.get(name)) for name in self._methods]
        outputs = [replace(spec, optional=number > 0) for number, spec in enumerate(outputs)]
        self._signature = Signature.of(self._inputs, outputs)

    @classmethod
    def load(cls, folder: Path, config: ModelConfig) -> Self:
        with warnings.catch_warnings():
            # Another version of scikit-learn may compute something else, without a word.
            warnings.simplefilter("error", InconsistentVersionWarning)
            try:
                estimator = cls.read(folder, config)
            except InconsistentVersionWarning as warning:
                raise ModelError(
                    f"it was stored by scikit-learn {warning.original_sklearn_version}, and this is "
                    f"{warning.current_sklearn_version}: store it again, or use an image with that version"
                ) from None
        return cls(estimator, config)

    @classmethod
    @abstractmethod
    def read(cls, folder: Path, config: ModelConfig) -> Any:
        """The estimator in the version's folder."""

    @property
    def signature(self) -> Signature:
        return self._signature

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        del parameters
        rows = self._rows(inputs)
        if not len(rows):  # which most estimators refuse
            return Prediction({name: self._no_rows(name) for name in wanted})
        try:
            with np.errstate(all="ignore"):  # or each request with such numbers would have its warnings in the log
                return Prediction({name: _dense(self._methods[name](rows)) for name in wanted})
        except ValueError as error:  # which is scikit-learn's word for what an estimator does not take
            raise InvalidRequestError(self._refusal(inputs, error)) from error

    def _refusal(self, inputs: Mapping[str, np.ndarray], error: ValueError) -> str:
        for name, array in inputs.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                return f"input '{name}' has NaN or infinity, which this model does not take"
        reason, *_ = str(error).splitlines() or [""]
        names = ", ".join(f"'{name}'" for name in inputs)
        return f"the model does not take input {names}: {reason[:_REASON]}"

    def _no_rows(self, output: str) -> np.ndarray:
        spec = self._signature.outputs[output]
        return np.empty((0, *spec.shape[1:]), spec.type.array)

    def _rows(self, inputs: Mapping[str, np.ndarray]) -> Any:
        if self._by_column:
            return data_frame(inputs, self._names)
        (array,) = inputs.values()
        return texts(array) if array.dtype == object else array

    def _output(self, name: str, stated: TensorSpec | None) -> TensorSpec:
        """What a method gives, as it gives it for one row; what model.json states, if it does not take that row."""
        try:
            trial = _dense(self._methods[name](self._trial))
        except Exception as error:  # an estimator may raise anything
            if stated is not None:
                return stated
            hint = "; if it takes no zeros, state outputs in model.json"
            if self._names and not self._by_column:
                hint = f"; if it picks columns by name, {_to_state(self._names)}"
            raise ModelError(f"{name} fails for a row of zeros: {error!r}{hint}") from error
        datatype = _DATATYPES.get(trial.dtype.kind)
        if datatype is None:
            raise ModelError(f"{name} gives {trial.dtype}, which can't be served")
        return TensorSpec(name, datatype, (-1, *trial.shape[1:]))


class SklearnSkops(Sklearn):
    platform: ClassVar[str] = "sklearn_skops"

    @classmethod
    def read(cls, folder: Path, config: ModelConfig) -> Any:
        import skops.io  # noqa: PLC0415  (the sibling runtime does without it)

        trusted = read_parameters(SkopsParameters, config).trusted
        path = model_file(folder, config, "model.skops")
        try:
            unknown = set(skops.io.get_untrusted_types(file=path)) - set(trusted)
            estimator = None if unknown else skops.io.load(path, trusted=trusted)
        except InconsistentVersionWarning:
            raise
        except Exception as error:  # skops raises what its parts raise: zipfile, json, numpy
            raise ModelError(f"skops can't load {path.name}: {error!r}") from error
        if unknown:
            names = ", ".join(sorted(unknown))
            raise ModelError(f"{path.name} has types that are not trusted: {names}; list them in parameters.trusted")
        return estimator


class SklearnPickle(Sklearn):
    platform: ClassVar[str] = "sklearn_pickle"
    safe: ClassVar[bool] = False

    @classmethod
    def read(cls, folder: Path, config: ModelConfig) -> Any:
        read_parameters(NoParameters, config)
        path = model_file(folder, config, "model.joblib", "model.pkl", "model.pickle")
        try:
            return joblib.load(path)
        except InconsistentVersionWarning:
            raise
        except Exception as error:  # a pickle may raise anything
            raise ModelError(f"joblib can't load {path.name}: {error!r}") from error


def _columns(stated: Sequence[TensorConfig], names: Sequence[str]) -> list[TensorSpec]:
    """The inputs, if each is one of the columns of these names; none if there is one input for all of them."""
    if names and {each.name for each in stated} == {*names} and all(each.shape == [-1] for each in stated):
        return [each.spec() for each in stated]
    if names and len(stated) > 1:
        raise ModelError(f"the inputs in model.json are not the columns that it was fitted to: {_to_state(names)}")
    return []


def _to_state(names: Sequence[str]) -> str:
    return f"state an input [-1] for each in model.json: {', '.join(names)}"


def _blank(spec: TensorSpec) -> np.ndarray:
    """One row of zeros, or of empty text."""
    shape = (1, *spec.shape[1:])
    return np.full(shape, b"", object) if spec.datatype == "BYTES" else np.zeros(shape, spec.type.array)


def _input_of(estimator: Any, config: ModelConfig) -> TensorSpec:
    stated = config.inputs
    if stated and len(stated) == 1 and stated[0].datatype == "BYTES":
        return TensorSpec(stated[0].name, "BYTES", (-1,))
    columns = getattr(estimator, "n_features_in_", None)
    if columns is None:
        raise ModelError(
            f"a {type(estimator).__name__} does not tell its number of features; state its input in model.json"
            if not stated
            else f"a {type(estimator).__name__} is not fitted to a matrix"
        )
    return matrix_input(config, ("FP64", "FP32", "INT64"), columns)


def _dense(values: Any) -> np.ndarray:
    """Of a matrix of SciPy, which encoders and vectorizers give, NumPy would make one object; of a list with the
    classes of each of several targets, what has no rows first."""
    if isinstance(values, list) and {getattr(part, "ndim", 0) for part in values} == {2}:
        return np.hstack(values)
    return np.asarray(values.toarray() if hasattr(values, "toarray") else values)


def _use_one_thread(estimator: Any) -> None:
    """Parallelism comes from worker processes; the threads of a library do not survive the fork."""
    jobs = {name: 1 for name in estimator.get_params(deep=True) if name.split("__")[-1] == "n_jobs"}
    if jobs:
        estimator.set_params(**jobs)
