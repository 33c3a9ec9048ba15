"""The load counts every request, also those that fail; and what the demo sends is what the server takes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import numpy as np
import pytest

from demo.failure import DemoFailed
from demo.inference import ask
from demo.load import Outcome, summarise, under_load
from tests.eventually import eventually


@contextmanager
def service(*, fails: frozenset[int] = frozenset()) -> Iterator[tuple[str, list[float]]]:
    """A service that answers the sum of each row, and fails the requests of these numbers. Its URL and what it got."""
    got: list[float] = []
    counting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            (tensor,) = body["inputs"]
            rows = np.array(tensor["data"]).reshape(tensor["shape"])
            with counting:
                number = len(got)
                got.append(float(rows.sum()))
            sums = {"name": "sum", "datatype": "FP32", "shape": [len(rows)], "data": rows.sum(axis=1).tolist()}
            answer = json.dumps({"model_name": "adder", "model_version": "1", "outputs": [sums]}).encode()
            self.send_response(503 if number in fails else 200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", got
        finally:
            server.shutdown()
            thread.join()


ROWS = np.arange(12, dtype=np.float32).reshape(6, 2)


def test_every_request_is_counted_and_each_failure_is_told() -> None:
    with service(fails=frozenset({3, 7})) as (url, got):
        with under_load(url, "adder", "x", ROWS) as outcomes:
            eventually(lambda: len(outcomes) >= 20)
        report = summarise(outcomes)

    assert report.sent == len(got)
    assert report.by_version == {"1": report.sent - 2}
    assert len(report.failures) == 2
    assert all("answered 503" in failure for failure in report.failures)
    assert set(got) == {float(row.sum()) for row in ROWS}


def test_a_service_that_is_not_there_fails_requests_and_nothing_else() -> None:
    with service() as (url, _):
        pass

    with under_load(url, "adder", "x", ROWS) as outcomes:
        eventually(lambda: len(outcomes) >= 4)

    report = summarise(outcomes)
    assert len(report.failures) == report.sent
    assert not report.by_version


def test_an_answer_has_the_shape_that_the_service_gave() -> None:
    with service() as (url, _), httpx.Client(trust_env=False) as http:
        answer = ask(http, url, "adder", {"x": ROWS})

    assert answer.outputs["sum"].tolist() == ROWS.sum(axis=1).tolist()
    assert answer.model_version == "1"


def test_an_error_answer_is_told_with_its_status() -> None:
    with (
        service(fails=frozenset({0})) as (url, _),
        httpx.Client(trust_env=False) as http,
        pytest.raises(DemoFailed, match="503"),
    ):
        ask(http, url, "adder", {"x": ROWS})


def test_latencies_are_told_in_milliseconds() -> None:
    report = summarise([Outcome(seconds=number / 1000, model_version="2") for number in range(1, 102)])

    assert report.median_ms == pytest.approx(51)
    assert report.p99_ms == pytest.approx(100)
    assert report.by_version == {"2": 101}


def test_no_request_at_all_is_no_failure_and_no_error() -> None:
    assert summarise([]).sent == 0
