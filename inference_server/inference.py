"""One inference: bytes in, answer out. Reads the request, asks the model, writes the response; no HTTP server in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from inference_server.catalog import LoadedModel
from inference_server.compression import choose_encoding, compress, inflate
from inference_server.deadline import LATE, Watchdog
from inference_server.exchange import Clock, Exchange
from inference_server.http import BINARY, HEADER_LENGTH, Answer
from inference_server.logs import Logger
from inference_server.overload import Overload
from inference_server.protocol.errors import DeadlineError, PredictionError, RequestError
from inference_server.protocol.response import write_response
from inference_server.protocol.signature import WantedOutputs
from inference_server.runtimes.base import Prediction

log = Logger("inference_server.inference")


@dataclass(frozen=True, slots=True)
class InferenceLimits:
    max_body_bytes: int
    """Of a body once inflated."""
    timeout_seconds: float
    """The longest that a request may take, from its arrival to its answer."""
    compress_from_bytes: int
    """The least size of a response that is compressed for callers that accept it."""


class Inference:
    def __init__(
        self,
        *,
        limits: InferenceLimits,
        overload: Overload,
        watchdog: Watchdog,
        clock: Clock,
    ) -> None:
        self._limits = limits
        self.compress_from_bytes = limits.compress_from_bytes
        self.overload = overload
        self._watchdog = watchdog
        self._clock = clock

    def answer(self, model: LoadedModel, body: bytes, headers: Mapping[str, Any], exchange: Exchange) -> Answer:
        """Answer one request. `headers` are in a WSGI environment's notation. Raises RequestError."""
        exchange.model, exchange.inference = model, True
        began = self._clock()
        waited = 0.0
        timeout = self.timeout(model)
        if began >= self.overload.next_check:
            waited = self.overload.check(began, exchange.connection, timeout)
        if "HTTP_CONTENT_ENCODING" in headers:
            body = inflate(body, headers["HTTP_CONTENT_ENCODING"], self._limits.max_body_bytes)
        request = model.reader.read(body, headers.get("HTTP_INFERENCE_HEADER_CONTENT_LENGTH"))
        exchange.rows = request.rows
        if request.parameters:
            timeout = min(timeout, request.timeout_seconds or timeout)
        read = self._clock()
        deadline = exchange.began - waited + timeout
        prediction = self.ask(
            model, request.inputs, tuple(request.outputs), request.parameters, exchange.connection, read, deadline
        )
        predicted = self._clock()
        answer = self.write(model, prediction, request.outputs, request.id, headers)
        exchange.stages = (waited, read - began, predicted - read, self._clock() - predicted)
        return answer

    def timeout(self, model: LoadedModel) -> float:
        """Seconds that a request may take which says nothing of its own."""
        own, most = model.limits.timeout_seconds, self._limits.timeout_seconds
        return most if own is None else min(own, most)

    def ask(
        self,
        model: LoadedModel,
        inputs: Mapping[str, np.ndarray],
        wanted: tuple[str, ...],
        parameters: Mapping[str, Any],
        connection: int,
        now: float,
        deadline: float,
    ) -> Prediction:
        """Ask the model. Raises DeadlineError if the answer is too late, whoever notices first; PredictionError."""
        if now >= deadline:
            raise DeadlineError("the deadline passed before the model was asked")
        watch = self._watchdog.own.watch
        watch.begin(deadline, connection, model.key)
        try:
            return model.predict(inputs, wanted, parameters)
        except RequestError:
            raise
        except Exception as error:  # whatever a model raises is a failed prediction, not a failed server
            log.exception("a prediction failed", model=model.name, version=model.version)
            raise PredictionError(f"model '{model.name}' failed: {type(error).__name__}: {error}") from error
        finally:
            if not watch.finish():
                raise DeadlineError(LATE)

    def write(
        self,
        model: LoadedModel,
        prediction: Prediction,
        wanted: WantedOutputs,
        request_id: str | None,
        headers: Mapping[str, Any],
    ) -> Answer:
        """The answer that tells what the model has. Raises RequestError if it can't be told as it is wanted."""
        document: dict[str, Any] = {"model_name": model.name, "model_version": model.version_text}
        if request_id is not None:
            document["id"] = request_id
        if prediction.parameters:
            document["parameters"] = prediction.parameters
        body, header_length = write_response(document, prediction.outputs, wanted, model.signature)
        answer = Answer(200, body)
        if header_length is not None:
            answer.content_type = BINARY
            answer.headers = [(HEADER_LENGTH, str(header_length))]
        if "HTTP_ACCEPT_ENCODING" in headers and len(body) >= self.compress_from_bytes:
            _compress(answer, headers["HTTP_ACCEPT_ENCODING"])
        return answer


def _compress(answer: Answer, accepted: str) -> None:
    encoding = choose_encoding(accepted)
    if encoding is not None:
        answer.body = compress(answer.body, encoding)
        answer.headers = [*answer.headers, ("Content-Encoding", encoding), ("Vary", "Accept-Encoding")]
