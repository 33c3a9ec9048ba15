"""One request from its first byte to its answer: what is known of it, for the log, the metrics and the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from inference_server.catalog import LoadedModel

Clock = Callable[[], float]
"""Seconds, from any origin; never steps back."""

ENVIRON_KEY = "inference_server.exchange"
"""Where a WSGI environment carries the exchange."""


NO_STAGES = (0.0, 0.0, 0.0, 0.0)
"""Of a request that was not answered by a model."""


@dataclass(slots=True)
class Exchange:
    began: float
    connection: int
    """Its descriptor, which the WSGI server closes after the answer."""
    model: LoadedModel | None = None
    """What was asked to predict; None for requests of other kinds, or of unknown models."""
    inference: bool = False
    """Whether this is a request to predict."""
    request_bytes: int = 0
    """Of the body as sent."""
    rows: int = 0
    stages: Sequence[float] = NO_STAGES
    """Seconds by stage, in the order of metrics.store.STAGES."""


clock: Clock = time.perf_counter
