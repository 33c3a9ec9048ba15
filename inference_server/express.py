"""The express lane: the usual request to a model, from body to answer in as few steps as there can be.

Beside a small model the work itself costs less than its spread over functions and objects, each of which the processor
has to fetch anew. Whatever is unusual about a request is left to the general way, `Inference.answer`, which gives the
usual ones the same answer: tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from inference_server.access_log import AccessLog
from inference_server.catalog import LoadedModel
from inference_server.exchange import NO_STAGES, Clock, Exchange
from inference_server.http import Answer, answer_for
from inference_server.inference import Inference
from inference_server.metrics.store import OK, Store
from inference_server.protocol.errors import RequestError
from inference_server.protocol.request import NO_PARAMETERS
from inference_server.protocol.usual import UsualReader, UsualWriter
from inference_server.sending import Sender

Finish = Callable[[Mapping[str, Any], Exchange, Answer], list[bytes]]
"""Counts, logs and sends an answer of any kind."""


class Express:
    """To one model."""

    def __init__(
        self,
        model: LoadedModel,
        inference: Inference,
        store: Store,
        access_log: AccessLog,
        sender: Sender,
        clock: Clock,
        finish: Finish,
    ) -> None:
        self.model = model
        self._read = UsualReader(model.signature, model.limits.request).read
        self._write = UsualWriter(model.name, model.version_text, model.signature).write
        self._wanted = model.signature.all_outputs[False]
        self._names = tuple(self._wanted)
        self._timeout = inference.timeout(model)
        self._inference = inference
        self._store = store
        self._row = store.row(model.key)
        self._access_log = access_log
        self._send = sender.send
        self._clock = clock
        self._finish = finish

    def respond(self, body: bytes, headers: Mapping[str, Any], connection: int, began: float) -> list[bytes] | None:
        """Answer, count and log one request; None, with nothing done, if it is not a usual one.

        Returns what the connection did not take. An Exchange is made only where there is more to tell than counts.
        """
        inference = self._inference
        if (
            began >= inference.overload.next_check
            or "HTTP_INFERENCE_HEADER_CONTENT_LENGTH" in headers
            or "HTTP_CONTENT_ENCODING" in headers
        ):
            return None
        request = self._read(body)
        if request is None:
            return None
        inputs, rows, request_id = request
        clock, model = self._clock, self.model
        read = clock()
        try:
            prediction = inference.ask(
                model, inputs, self._names, NO_PARAMETERS, connection, read, began + self._timeout
            )
            predicted = clock()
            answer = None if prediction.parameters else self._write(prediction.outputs, request_id)
            if answer is None or ("HTTP_ACCEPT_ENCODING" in headers and len(answer) >= inference.compress_from_bytes):
                whole = inference.write(model, prediction, self._wanted, request_id, headers)
                stages = (0.0, read - began, predicted - read, clock() - predicted)
                return self._finish(headers, self._exchange(began, connection, body, rows, stages), whole)
        except RequestError as error:
            return self._finish(headers, self._exchange(began, connection, body, rows), answer_for(error))
        now = clock()
        size = len(answer)
        decode, predict, encode = read - began, predicted - read, now - predicted
        self._store.observe(self._row, OK, (now - began, 0.0, decode, predict, encode, rows, len(body), size), now)
        log = self._access_log
        if now >= log.next_success:
            exchange = self._exchange(began, connection, body, rows, (0.0, decode, predict, encode))
            log.write(headers, exchange, OK, size, now)
        else:
            log.skipped += 1
        return self._send(answer, connection, now)

    def _exchange(
        self, began: float, connection: int, body: bytes, rows: int, stages: Sequence[float] = NO_STAGES
    ) -> Exchange:
        return Exchange(
            began, connection, self.model, inference=True, request_bytes=len(body), rows=rows, stages=stages
        )
