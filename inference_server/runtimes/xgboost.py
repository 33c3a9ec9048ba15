"""XGBoost models in its binary or JSON format. The file is `model.ubj` or `model.json` unless model.json names another.

Input `x`, FP32, [-1, features]; NaN, which only binary tensors carry, is a missing value. Output `predict`, FP32: [-1]
for one value a row, [-1, classes] for several. As in the library, a model that its scikit-learn interface has stopped
early answers with its best iteration, and one of `xgboost.train` with all that it has.

`parameters` of model.json: `margin` (false): margins instead of probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import xgboost
from pydantic import BaseModel, ConfigDict

from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.runtimes.base import Prediction, Runtime, model_file, read_parameters
from inference_server.runtimes.matrix import matrix_input


class XGBoostParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: bool = False


class XGBoost(Runtime):
    platform = "xgboost_xgboost"

    def __init__(self, booster: xgboost.Booster, config: ModelConfig, parameters: XGBoostParameters) -> None:
        self._booster = booster
        self._kind = "margin" if parameters.margin else "value"
        self._rounds = _rounds(booster)
        self._input = matrix_input(config, ("FP32",), booster.num_features())
        trial = self._values(np.zeros((1, booster.num_features()), dtype=np.float32))
        self._no_rows = trial[:0]
        self._signature = Signature.of([self._input], [TensorSpec("predict", "FP32", (-1, *trial.shape[1:]))])

    @classmethod
    def load(cls, folder: Path, config: ModelConfig) -> Self:
        parameters = read_parameters(XGBoostParameters, config)
        path = model_file(folder, config, "model.ubj", "model.json", "model.bst")
        # One thread: those of OpenMP do not survive the fork.
        booster = xgboost.Booster({"nthread": 1})
        try:
            booster.load_model(path)
            return cls(booster, config, parameters)
        except xgboost.core.XGBoostError as error:  # its text goes on with a stack trace
            raise ModelError(f"XGBoost can't load {path.name}: {str(error).splitlines()[0]}") from error

    @property
    def signature(self) -> Signature:
        return self._signature

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        del wanted, parameters
        rows = inputs[self._input.name]
        return Prediction({"predict": self._values(rows) if len(rows) else self._no_rows})

    def _values(self, rows: np.ndarray) -> np.ndarray:
        values = self._booster.inplace_predict(
            rows, iteration_range=self._rounds, predict_type=self._kind, validate_features=False
        )
        return np.asarray(values, dtype=np.float32)


def _rounds(booster: xgboost.Booster) -> tuple[int, int]:
    """The iterations that answer, as a half-open range; (0, 0) is all of them."""
    best = booster.attr("best_iteration")
    return (0, 0) if best is None or booster.attr("scikit_learn") is None else (0, int(best) + 1)
