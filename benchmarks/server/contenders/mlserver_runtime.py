"""MLServer's server with the same model: the runtime that its model-settings.json names."""

from __future__ import annotations

import os
from pathlib import Path

from mlserver import MLModel  # type: ignore[import-not-found]  # only in its own environment
from mlserver.codecs import NumpyCodec  # type: ignore[import-not-found]  # the same
from mlserver.types import InferenceRequest, InferenceResponse  # type: ignore[import-not-found]  # the same

from benchmarks.server.contenders.work import MODEL_VARIABLE, load


class Served(MLModel):  # type: ignore[misc]  # see the imports
    async def load(self) -> bool:
        self.loaded = load(Path(os.environ[MODEL_VARIABLE]))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        outputs = self.loaded({tensor.name: NumpyCodec.decode_input(tensor) for tensor in payload.inputs})
        return InferenceResponse(
            model_name=self.name,
            model_version="1",
            outputs=[NumpyCodec.encode_output(name, array) for name, array in outputs.items()],
        )
