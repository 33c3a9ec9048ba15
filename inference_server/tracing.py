"""Traces, for who has installed OpenTelemetry and asks for them: a span for each inference, and one for each stage.

Spans are made once the answer is ready, of the times that were taken anyway, so that a request that is not traced pays
nothing. The caller's `traceparent` is followed. Where spans go, what the service is called, and how many are kept is
said by OpenTelemetry's own variables (OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SERVICE_NAME, OTEL_TRACES_SAMPLER…).

The libraries are imported here alone.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from inference_server.exchange import Exchange
from inference_server.metrics.store import STAGES

_FIRST_FAILURE = 500
_NANOSECONDS = 1_000_000_000


class Tracing:
    def __init__(self, version: str) -> None:
        """Starts the exporter's thread, so it is made after the fork. The resource is of OTEL_* variables."""
        resource = Resource.create({"service.version": version})
        if resource.attributes.get("service.name") == "unknown_service":
            resource = resource.merge(Resource({"service.name": "inference-server"}))
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("inference_server", version)
        self._propagator = TraceContextTextMapPropagator()

    def record(self, environ: Mapping[str, Any], exchange: Exchange, status: int, now: float) -> None:
        """The spans of an inference that has been answered at `now`, by the exchange's clock."""
        offset = time.time() - now
        began = exchange.began - exchange.stages[0]
        carrier = {
            name: environ[key]
            for name, key in (("traceparent", "HTTP_TRACEPARENT"), ("tracestate", "HTTP_TRACESTATE"))
            if key in environ
        }
        model = exchange.model.name if exchange.model is not None else None
        span = self._tracer.start_span(
            f"infer {model}" if model else "infer",
            self._propagator.extract(carrier),
            SpanKind.SERVER,
            _attributes(environ, exchange, status),
            start_time=_nanoseconds(began + offset),
        )
        if status >= _FIRST_FAILURE:
            span.set_status(Status(StatusCode.ERROR))
        if span.is_recording() and any(exchange.stages):
            self._record_stages(exchange, set_span_in_context(span), offset, now)
        span.end(_nanoseconds(now + offset))

    def _record_stages(self, exchange: Exchange, parent: Context, offset: float, now: float) -> None:
        """The wait comes first; the others follow one another up to the answer."""
        wait, *others = exchange.stages
        starts = [exchange.began - wait, *_starts(others, now)]
        for stage, start, seconds in zip(STAGES, starts, exchange.stages, strict=True):
            span = self._tracer.start_span(stage, parent, start_time=_nanoseconds(start + offset))
            span.end(_nanoseconds(start + seconds + offset))

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()


def _attributes(environ: Mapping[str, Any], exchange: Exchange, status: int) -> dict[str, Any]:
    """By OpenTelemetry's semantic conventions for HTTP servers, and the model."""
    attributes: dict[str, Any] = {
        "http.request.method": environ.get("REQUEST_METHOD", ""),
        "http.response.status_code": status,
        "http.request.body.size": exchange.request_bytes,
    }
    if exchange.model is not None:
        attributes |= {
            "url.path": environ.get("PATH_INFO", ""),
            "inference.model.name": exchange.model.name,
            "inference.model.version": exchange.model.version_text,
            "inference.rows": exchange.rows,
        }
    return attributes


def _starts(stages: list[float], end: float) -> list[float]:
    starts = []
    for seconds in reversed(stages):
        end -= seconds
        starts.append(end)
    return starts[::-1]


def _nanoseconds(seconds: float) -> int:
    return int(seconds * _NANOSECONDS)
