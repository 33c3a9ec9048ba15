"""One inference: bytes in, answer out. Reads the request, asks the model, writes the response; no HTTP server in it."""

from __future__ import annotations

from typing import Any

import structlog

from inference_server.catalog import LoadedModel
from inference_server.http import BINARY, HEADER_LENGTH, JSON, Answer
from inference_server.protocol.errors import PredictionError, RequestError
from inference_server.protocol.request import read_request
from inference_server.protocol.response import write_response

log = structlog.get_logger("inference_server.inference")


def infer(model: LoadedModel, body: bytes, header_length: str | None) -> Answer:
    """Answer one request. Raises RequestError."""
    signature = model.runtime.signature
    request = read_request(body, header_length, signature, model.limits)
    try:
        prediction = model.runtime.predict(request.inputs, request.parameters)
    except RequestError:
        raise
    except Exception as error:  # whatever a model raises is a failed prediction, not a failed server
        log.exception("a prediction failed", model=model.name, version=model.version)
        raise PredictionError(f"model '{model.name}' failed: {type(error).__name__}: {error}") from error
    head: dict[str, Any] = {"model_name": model.name, "model_version": str(model.version)}
    if request.id is not None:
        head["id"] = request.id
    if prediction.parameters:
        head["parameters"] = prediction.parameters
    encoded = write_response(head, prediction.outputs, request.outputs, signature)
    if encoded.header_length is None:
        return Answer(200, encoded.body, JSON)
    return Answer(200, encoded.body, BINARY, [(HEADER_LENGTH, str(encoded.header_length))])
