"""Makes a model's warm-up requests, as a caller would, before it serves. One that fails is a reason not to serve it."""

from __future__ import annotations

from pathlib import Path

from inference_server.catalog import LoadedModel
from inference_server.protocol.errors import RequestError
from inference_server.protocol.response import write_response
from inference_server.repository.model_config import ModelError


def warm_up(model: LoadedModel, folder: Path) -> None:
    """Make the requests that model.json lists. Raises ModelError that names the file and what went wrong."""
    signature = model.signature
    for name in model.config.warmup:
        try:
            request = model.reader.read((folder / name).read_bytes(), None)
            prediction = model.predict(request.inputs, list(request.outputs), request.parameters)
            write_response({}, prediction.outputs, request.outputs, signature)
        except FileNotFoundError:
            raise ModelError(f"warm-up request {name} is missing") from None
        except RequestError as error:
            raise ModelError(f"warm-up request {name} is refused: {error}") from error
        except Exception as error:  # a model may raise anything
            raise ModelError(f"warm-up request {name} failed: {error!r}") from error
