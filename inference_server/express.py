"""The express lane: the usual request to a model, from body to answer in as few steps as there can be.

Beside a small model the work itself costs less than its spread over functions and objects, each of which the processor
has to fetch anew. Whatever is unusual about a request is left to the general way, `Inference.answer`, which gives the
usual ones the same answer: tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inference_server.access_log import AccessLog
from inference_server.catalog import LoadedModel
from inference_server.exchange import Clock, Exchange
from inference_server.inference import Inference
from inference_server.metrics.store import Store
from inference_server.protocol.request import NO_PARAMETERS
from inference_server.protocol.usual import UsualReader
from inference_server.sending import Sender


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
    ) -> None:
        self.model = model
        self._read = UsualReader(model.signature, model.limits.request).read
        self._wanted = model.signature.all_outputs[False]
        self._timeout = inference.timeout(model)
        self._inference = inference
        self._store = store
        self._access_log = access_log
        self._sender = sender
        self._clock = clock

    def respond(self, body: bytes, headers: Mapping[str, Any], exchange: Exchange) -> list[bytes] | None:
        """Answer, count and log one request; None, with nothing done, if it is not a usual one.

        Returns what the connection did not take. Raises RequestError, as Inference.answer does.
        """
        inference, began = self._inference, exchange.began
        if (
            began >= inference.overload.next_check
            or "HTTP_INFERENCE_HEADER_CONTENT_LENGTH" in headers
            or "HTTP_CONTENT_ENCODING" in headers
        ):
            return None
        request = self._read(body)
        if request is None:
            return None
        inputs, exchange.rows, request_id = request
        clock, model, wanted = self._clock, self.model, self._wanted
        read = clock()
        prediction = inference.ask(model, inputs, wanted, NO_PARAMETERS, exchange.connection, began + self._timeout)
        predicted = clock()
        answer = inference.write(model, prediction, wanted, request_id, headers)
        now = clock()
        size = len(answer.body)
        exchange.stages = stages = (0.0, read - began, predicted - read, now - predicted)
        self._store.observe(model.key, 200, now - began, stages, (exchange.rows, exchange.request_bytes, size))
        log = self._access_log
        if now >= log.next_success:
            log.write(headers, exchange, 200, size, now)
        else:
            log.skipped += 1
        return self._sender.send(answer, exchange.connection, now)
