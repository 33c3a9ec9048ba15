"""Traces, received as a collector would."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.inference_server.models import published, write_awkward, write_linear, write_plug_in
from tests.inference_server.running import running

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry") is None, reason="OpenTelemetry is not installed"
)

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, -1, 2, 3]}]}
TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@contextmanager
def collector() -> Iterator[tuple[str, list[Any]]]:
    """Its address, and the spans that it got, with the resource of each."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415  (it may not be installed)
        ExportTraceServiceRequest,
    )

    spans: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = ExportTraceServiceRequest()
            request.ParseFromString(self.rfile.read(int(self.headers["Content-Length"])))
            for of_resource in request.resource_spans:
                for of_scope in of_resource.scope_spans:
                    spans.extend((span, of_resource.resource) for span in of_scope.spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", spans
        server.shutdown()


def test_an_inference_is_a_span_of_its_callers_trace_with_its_stages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "models"
    write_linear(root)
    write_awkward(root)
    plug_ins = write_plug_in(tmp_path / "plug_ins")
    with collector() as (address, spans):
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address)
        monkeypatch.setenv("OTEL_SERVICE_NAME", "recommender")
        with running(published(root), tracing=True, python_path=plug_ins) as server:
            headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
            assert server.post("/v2/models/linear/infer", json=ROW, headers=headers).status_code == 200
            bad = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]}
            server.post("/v2/models/awkward/infer", json={**bad, "parameters": {"what": "raise"}})
            server.post("/v2/models/linear/infer", headers={"traceparent": "00-" + "0" * 32 + "-nonsense-01"}, json=ROW)
            server.process.terminate()
            assert server.wait() == 0
    found = {span.name: span for span, _ in spans if span.trace_id.hex() == TRACE}
    assert found.keys() == {"infer linear", "queue", "decode", "predict", "encode"}
    whole = found.pop("infer linear")
    assert whole.parent_span_id.hex() == PARENT
    attributes = {one.key: one.value for one in whole.attributes}
    assert attributes["http.response.status_code"].int_value == 200
    assert attributes["inference.model.version"].string_value == "1"
    for stage in found.values():
        assert stage.parent_span_id == whole.span_id
        assert whole.start_time_unix_nano <= stage.start_time_unix_nano <= stage.end_time_unix_nano
        assert stage.end_time_unix_nano <= whole.end_time_unix_nano
    (failed,) = [span for span, _ in spans if span.name == "infer awkward"]
    assert failed.status.code == 2
    names = {
        one.value.string_value for _, resource in spans for one in resource.attributes if one.key == "service.name"
    }
    assert names == {"recommender"}
    assert len([span for span, _ in spans if span.name == "infer linear"]) == 2


def test_a_collector_that_is_away_costs_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "models"
    write_linear(root)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "1")
    with running(published(root), tracing=True) as server:
        for _ in range(10):
            assert server.post("/v2/models/linear/infer", json=ROW).status_code == 200
        server.process.terminate()
        assert server.wait() == 0
