"""KServe's server with the same model, two workers, no gRPC. Run as a script."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import Any

from kserve import (  # type: ignore[import-not-found]  # only in its own environment
    InferOutput,
    InferRequest,
    InferResponse,
    Model,
    ModelServer,
)

from benchmarks.server.contenders.work import MODEL_VARIABLE, NAMES, PORT_VARIABLE, Predict, load


class Served(Model):  # type: ignore[misc]  # see the import
    """The model is loaded in the worker, as KServe pickles this object to get it there."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.loaded: Predict | None = None
        self.ready = True

    async def predict(self, payload: InferRequest, *_: Any, **__: Any) -> InferResponse:
        if self.loaded is None:
            self.loaded = load(Path(os.environ[MODEL_VARIABLE]))
        outputs = []
        for name, array in self.loaded({tensor.name: tensor.as_numpy() for tensor in payload.inputs}).items():
            output = InferOutput(name, list(array.shape), NAMES[array.dtype.kind])
            output.set_data_from_numpy(array, binary_data=False)
            outputs.append(output)
        return InferResponse(payload.id or str(uuid.uuid4()), self.name, outputs)  # it refuses to answer without one


if __name__ == "__main__":
    ModelServer(http_port=int(os.environ[PORT_VARIABLE]), workers=2, enable_grpc=False).start([Served("small")])
