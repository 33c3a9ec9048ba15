"""LightGBM models in its text format. The file is `model.txt` or `model.lgb.txt` unless model.json names another.

Input `x`, FP64 or (if model.json states so) FP32, [-1, features]. Output `predict`, FP64: [-1] for one value a
row, [-1, classes] for several.

`parameters` of model.json: `raw_score` (false): margins instead of probabilities.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import lightgbm
import numpy as np
from pydantic import BaseModel, ConfigDict

from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelConfig, ModelError
from inference_server.runtimes.base import Prediction, Runtime, model_file, read_parameters
from inference_server.runtimes.matrix import matrix_input

_END = "end of trees"


class LightGBMParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    raw_score: bool = False


class LightGBM(Runtime):
    platform = "lightgbm_lightgbm"

    def __init__(self, booster: lightgbm.Booster, config: ModelConfig, parameters: LightGBMParameters) -> None:
        self._booster = booster
        self._parameters = parameters
        self._input = matrix_input(config, ("FP64", "FP32"), booster.num_feature())
        values = booster.num_model_per_iteration()
        output = TensorSpec("predict", "FP64", (-1,) if values == 1 else (-1, values))
        self._signature = Signature.of([self._input], [output])

    @classmethod
    def load(cls, folder: Path, config: ModelConfig) -> Self:
        parameters = read_parameters(LightGBMParameters, config)
        path = model_file(folder, config, "model.txt", "model.lgb.txt", "model.bst")
        # LightGBM ends the process when its text is cut short, so this is looked for first.
        text = path.read_text(errors="replace")
        if not text.startswith("tree") or _END not in text:
            raise ModelError(f"{path.name} is no whole LightGBM model: it must begin with 'tree' and have '{_END}'")
        try:
            booster = lightgbm.Booster(model_str=text)
        except lightgbm.basic.LightGBMError as error:
            raise ModelError(f"LightGBM can't load {path.name}: {error}") from error
        return cls(booster, config, parameters)

    @property
    def signature(self) -> Signature:
        return self._signature

    def predict(
        self, inputs: Mapping[str, np.ndarray], wanted: Sequence[str], parameters: Mapping[str, Any]
    ) -> Prediction:
        del wanted, parameters
        rows = inputs[self._input.name]
        if not len(rows):
            shape = (0, *self._signature.outputs["predict"].shape[1:])
            return Prediction({"predict": np.empty(shape)})
        # One thread: those of OpenMP do not survive the fork.
        values = self._booster.predict(rows, raw_score=self._parameters.raw_score, num_threads=1)
        return Prediction({"predict": np.asarray(values)})
