"""Requests that wait for a model together are asked of it together, for models that are quicker with many rows at once.

Off unless `batching` of model.json asks for it. Only requests of one worker meet, so it needs INFERENCE_THREADS of more
than one. There is no waiting for company: while the model is busy with one batch, those who come form the next one.
Who was first of it asks for all, in its own thread, and hands out the parts. A model without batching pays nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inference_server.protocol.signature import Signature, TensorSpec
from inference_server.repository.model_config import ModelError
from inference_server.runtimes.base import Prediction, Runtime

Arrays = Mapping[str, np.ndarray]


@dataclass(slots=True)
class _Batch:
    """Requests that fit together: the same inputs but for their rows, and the same outputs wanted."""

    kind: Hashable
    requests: list[Arrays] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)
    prediction: Prediction | None = None
    """For all of them. None once it is done: it failed, and each is to ask for itself."""


class Batcher:
    def __init__(self, runtime: Runtime, signature: Signature, max_rows: int) -> None:
        """Raises ModelError if the model's tensors are not rows."""
        _check_rows("input", signature.inputs.values())
        _check_rows("output", signature.outputs.values())
        self._runtime = runtime
        self._max_rows = max_rows
        self._busy = threading.Lock()
        """Held by who asks the model."""
        self._joining = threading.Lock()
        self._open: dict[Hashable, _Batch] = {}

    def predict(self, inputs: Arrays, wanted: Sequence[str], parameters: Mapping[str, Any]) -> Prediction:
        """As the runtime's own."""
        rows = {len(array) for array in inputs.values()}
        if parameters or len(rows) != 1 or max(rows) >= self._max_rows:
            return self._alone(inputs, wanted, parameters)
        batch, place = self._join(inputs, wanted, rows.pop())
        if place == 0:
            with self._busy:
                self._close(batch)
                if len(batch.requests) == 1:
                    return self._runtime.predict(inputs, wanted, parameters)
                self._ask(batch, wanted)
        else:
            batch.done.wait()
        if batch.prediction is None:
            return self._alone(inputs, wanted, parameters)
        start = sum(batch.rows[:place])
        outputs = {name: array[start : start + batch.rows[place]] for name, array in batch.prediction.outputs.items()}
        return Prediction(outputs, batch.prediction.parameters)

    def _alone(self, inputs: Arrays, wanted: Sequence[str], parameters: Mapping[str, Any]) -> Prediction:
        with self._busy:
            return self._runtime.predict(inputs, wanted, parameters)

    def _join(self, inputs: Arrays, wanted: Sequence[str], rows: int) -> tuple[_Batch, int]:
        """The batch that takes this request, and its place in it."""
        kind = (*wanted, *((name, inputs[name].shape[1:]) for name in sorted(inputs)))
        with self._joining:
            batch = self._open.get(kind)
            if batch is None or sum(batch.rows) + rows > self._max_rows:
                batch = self._open[kind] = _Batch(kind)
            batch.requests.append(inputs)
            batch.rows.append(rows)
            return batch, len(batch.rows) - 1

    def _close(self, batch: _Batch) -> None:
        """Nobody joins it any more."""
        with self._joining:
            if self._open.get(batch.kind) is batch:
                del self._open[batch.kind]

    def _ask(self, batch: _Batch, wanted: Sequence[str]) -> None:
        try:
            together = {name: np.concatenate([one[name] for one in batch.requests]) for name in batch.requests[0]}
            prediction = self._runtime.predict(together, wanted, {})
            if all(len(array) == sum(batch.rows) for array in prediction.outputs.values()):
                batch.prediction = prediction
        except Exception:  # noqa: BLE001, S110  (whose fault it is shows when each asks for itself)
            pass
        finally:
            batch.done.set()


def _check_rows(what: str, specs: Iterable[TensorSpec]) -> None:
    for spec in specs:
        if not spec.shape or spec.shape[0] != -1:
            raise ModelError(
                f"batching needs rows in every tensor; {what} '{spec.name}' has shape {list(spec.shape)}, "
                "whose first dimension is not -1"
            )
