"""The protocol over HTTP, asked of one real server: routes, errors, compression, limits, deadlines, log, metrics."""

from __future__ import annotations

import gzip
import http.client
import json
import socket
import struct
import threading
import zlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from inference_server.catalog import Catalog
from tests.eventually import eventually
from tests.inference_server.models import (
    linear,
    published,
    write_awkward,
    write_linear,
    write_plug_in,
    write_top_n,
    write_version,
)
from tests.inference_server.running import DEADLINE, RunningServer, running

ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, -1, 2, 3]}]}
ANSWER = linear(np.array([[0.5, -1, 2, 3]]))
LIMIT = 100_000


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    root = tmp_path_factory.mktemp("models")
    for version in (1, 2):
        write_linear(root, version=version, version_policy="all", labels={"team": "a"})
    write_linear(root, "pinned", 3, version_policy="all", default_version=3, limits={"max_rows": 2})
    write_linear(root, "pinned", 4, version_policy="all", default_version=3, limits={"max_rows": 2})
    write_top_n(root, parameters={"default_k": 10, "exclude_seen": False})
    write_awkward(root)
    write_version(root, "broken", 1, {"model.onnx": b"junk"}, {"runtime": "onnx", "required": False})
    plug_ins = write_plug_in(tmp_path_factory.mktemp("plug_ins"))
    with running(
        published(root),
        python_path=plug_ins,
        max_body_bytes=LIMIT,
        request_timeout_seconds=1,
        hard_timeout_seconds=20,
        client_timeout_seconds=2,
        access_log_per_second=1000,
        log_level="DEBUG",
    ) as started:
        yield started.wait_until_live()


def awkward(**parameters: Any) -> dict[str, Any]:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}
    return {"inputs": [tensor], "parameters": parameters}


def exchange(server: RunningServer, raw: bytes, *, timeout: float = DEADLINE) -> bytes:
    """Send bytes as they are and read to the end of the connection."""
    address = urlsplit(server.base_url)
    with socket.create_connection((address.hostname, address.port), timeout) as connection:
        connection.sendall(raw)
        return b"".join(iter(lambda: connection.recv(65536), b""))


# --- Routes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("slash", ["", "/"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/healthz", {"live": True}),
        ("/v2/health/live", {"live": True}),
        ("/v2/models", {"models": ["awkward", "broken", "linear", "pinned", "recommender"]}),
        ("/v2/models/linear/ready", {"name": "linear", "ready": True}),
        ("/v2/models/linear/versions/1/ready", {"name": "linear", "ready": True}),
    ],
)
def test_what_is_asked_for_is_answered_with_or_without_a_slash(
    server: RunningServer, path: str, slash: str, expected: dict[str, Any]
) -> None:
    response = server.get(path + slash)
    assert response.status_code == 200
    assert response.json() == expected
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Connection"] == "close"


def test_server_metadata_lists_the_extensions(server: RunningServer) -> None:
    document = server.get("/v2").json()
    assert document.keys() == {"name", "version", "extensions"}
    assert "binary_tensor_data" in document["extensions"]


def test_readiness_satisfies_every_reader_and_tells_of_optional_models(server: RunningServer) -> None:
    document = server.get("/v2/health/ready").json()
    assert document["live"] is True
    assert document["ready"] is True
    (problem,) = document["problems"]
    assert (problem["model"], problem["required"]) == ("broken", False)


def test_model_metadata_tells_versions_tensors_and_labels(server: RunningServer) -> None:
    assert server.get("/v2/models/linear").json() == {
        "name": "linear",
        "versions": ["1", "2"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
        "properties": {"team": "a"},
    }
    assert server.get("/v2/models/linear/versions/2").json()["name"] == "linear"


def test_model_configuration_is_as_triton_gives_it(server: RunningServer) -> None:
    document = server.get("/v2/models/linear/config").json()
    assert document["input"] == [{"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4], "optional": False}]
    assert document["version_policy"] == {"all": {}}
    parameters = server.get("/v2/models/recommender/config").json()["parameters"]
    assert parameters == {"default_k": {"string_value": "10"}, "exclude_seen": {"string_value": "false"}}


def test_the_version_in_the_path_answers_and_the_default_is_the_configured_one(server: RunningServer) -> None:
    def version(path: str) -> str:
        answer: str = server.post(f"/v2/models/{path}/infer", json=ROW).json()["model_version"]
        return answer

    assert version("linear") == "2"
    assert version("linear/versions/1") == "1"
    assert version("pinned") == "3"
    assert version("pinned/versions/4") == "4"


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nowhere", 404, "Not Found"),
        ("GET", "/v2/models/none", 404, "model 'none' is not known; this server has awkward"),
        ("GET", "/v2/models/linear/versions/9", 404, "has no version '9'; it has 1, 2"),
        ("GET", "/v2/models/linear/versions/x/ready", 404, "has no version 'x'"),
        ("POST", "/v2/models/none/infer", 404, "not known"),
        ("POST", "/v2/models/n%0aone/infer", 404, "n\none"),
        ("POST", "/v2/models/linear/versions/01x/infer", 404, "has no version"),
        ("GET", "/v2/models/linear/infer", 405, "Method Not Allowed"),
        ("DELETE", "/v2/models/linear", 405, "Method Not Allowed"),
        ("POST", "/healthz", 405, "Method Not Allowed"),
        ("GET", "/v2/models/broken/ready", 503, "onnxruntime can't load"),
        ("POST", "/v2/models/broken/infer", 503, "onnxruntime can't load"),
        ("POST", "/v2/models/linear/infer", 400, "the body is empty"),
        ("GET", "/v2/repository/index", 405, "Method Not Allowed"),
    ],
)
def test_an_error_is_a_json_object_with_one_text(
    server: RunningServer, method: str, path: str, status: int, words: str
) -> None:
    address = urlsplit(server.base_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=DEADLINE)
    connection.request(method, path)
    response = connection.getresponse()
    document = json.loads(response.read())
    connection.close()
    assert response.status == status
    assert response.headers["Content-Type"] == "application/json"
    assert document.keys() == {"error"}
    assert words in document["error"]
    if status == 405:
        assert response.headers["Allow"]
    if status == 503:
        assert int(response.headers["Retry-After"]) > 0


def test_names_in_paths_may_be_percent_encoded(server: RunningServer) -> None:
    assert server.post("/v2/models/%6cinear/infer", json=ROW).status_code == 200


def test_a_head_request_has_no_body(server: RunningServer) -> None:
    answer = exchange(server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"\r\n\r\n")


def test_the_repository_index_tells_states_and_reasons(server: RunningServer) -> None:
    entries = server.post("/v2/repository/index").json()
    states = {(entry["name"], entry["version"]): entry["state"] for entry in entries}
    assert states["linear", "1"] == "READY"
    assert states["broken", "1"] == "UNAVAILABLE"
    assert all(entry["reason"] for entry in entries if entry["state"] == "UNAVAILABLE")
    ready = server.post("/v2/repository/index", json={"ready": True}).json()
    assert {entry["state"] for entry in ready} == {"READY"}
    assert server.post("/v2/repository/index", content=b"[").status_code == 400


def test_the_repository_index_counts_versions_as_numbers() -> None:
    unloaded = Catalog([("b", 10), ("b", 9), ("a", 11)])
    assert [(entry["name"], entry["version"]) for entry in unloaded.index()] == [("a", "11"), ("b", "9"), ("b", "10")]


# --- Inference --------------------------------------------------------------------------------------------------------


def binary_request(rows: np.ndarray, **more: Any) -> tuple[bytes, dict[str, str]]:
    raw = rows.astype("<f4").tobytes()
    tensor = {
        "name": "x",
        "datatype": "FP32",
        "shape": list(rows.shape),
        "parameters": {"binary_data_size": len(raw)},
    }
    head = json.dumps({"inputs": [tensor], **more}).encode()
    return head + raw, {"Inference-Header-Content-Length": str(len(head))}


def test_binary_tensors_go_both_ways_without_a_content_type(server: RunningServer) -> None:
    rows = np.arange(8, dtype=np.float32).reshape(2, 4)
    body, headers = binary_request(rows, parameters={"binary_data_output": True})
    response = server.post("/v2/models/linear/infer", content=body, headers=headers)
    assert response.headers["Content-Type"] == "application/octet-stream"
    length = int(response.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(response.content[:length])["outputs"]
    assert output["parameters"] == {"binary_data_size": 24}
    answer = np.frombuffer(response.content[length:], "<f4").reshape(output["shape"])
    np.testing.assert_allclose(answer, linear(rows), rtol=1e-6)


def test_a_raw_tensor_is_answered_raw(server: RunningServer) -> None:
    body = struct.pack("<4f", 0.5, -1, 2, 3)
    response = server.post("/v2/models/linear/infer", content=body, headers={"Inference-Header-Content-Length": "0"})
    length = int(response.headers["Inference-Header-Content-Length"])
    np.testing.assert_allclose(np.frombuffer(response.content[length:], "<f4"), ANSWER[0], rtol=1e-6)


@pytest.mark.parametrize(("encoding", "pack"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_compressed_requests_are_read(server: RunningServer, encoding: str, pack: Any) -> None:
    body, headers = binary_request(np.array([[0.5, -1, 2, 3]]))
    response = server.post(
        "/v2/models/linear/infer", content=pack(body), headers={**headers, "Content-Encoding": encoding}
    )
    assert response.status_code == 200
    np.testing.assert_allclose(response.json()["outputs"][0]["data"], ANSWER[0], rtol=1e-6)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_large_responses_are_compressed_for_who_accepts_it(server: RunningServer, encoding: str) -> None:
    rows = np.ones((200, 4), dtype=np.float32)
    body, headers = binary_request(rows)
    for accepted in (encoding, "identity"):
        response = server.post(
            "/v2/models/linear/infer", content=body, headers={**headers, "Accept-Encoding": accepted}
        )
        assert response.headers.get("Content-Encoding") == (None if accepted == "identity" else encoding)
        np.testing.assert_allclose(response.json()["outputs"][0]["data"], linear(rows).ravel(), rtol=1e-6)


def test_a_chunked_body_is_read(server: RunningServer) -> None:
    text = json.dumps(ROW).encode()
    response = server.post("/v2/models/linear/infer", content=iter([text[:10], text[10:]]))
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Content-Encoding": "br"}, b"x", 415),
        ({"Content-Encoding": "gzip"}, b"x", 400),
        ({"Content-Encoding": "gzip"}, gzip.compress(b"{}", mtime=0)[:-4], 400),
        ({"Content-Encoding": "gzip"}, gzip.compress(b" " * (LIMIT + 1), mtime=0), 413),
        ({"Content-Encoding": "deflate"}, zlib.compress(b" " * 50_000_000), 413),
        ({}, b" " * (LIMIT + 1), 413),
        ({"Inference-Header-Content-Length": "99"}, b"{}", 400),
    ],
)
def test_a_body_that_is_not_acceptable_is_refused_by_kind(
    server: RunningServer, headers: dict[str, str], body: bytes, status: int
) -> None:
    response = server.post("/v2/models/linear/infer", content=body, headers=headers)
    assert response.status_code == status
    assert response.json()["error"]
    assert response.headers.get("Accept-Encoding") == ("gzip, deflate" if status == 415 else None)


@pytest.mark.parametrize("way", ["with its length", "in chunks", "compressed"])
def test_a_body_of_just_the_limit_is_taken_and_of_a_byte_more_is_not(server: RunningServer, way: str) -> None:
    for size, status in ((LIMIT, 200), (LIMIT + 1, 413)):
        body = json.dumps(ROW).encode().ljust(size)
        ways: dict[str, dict[str, Any]] = {
            "with its length": {"content": body},
            "in chunks": {"content": iter([body[:10], body[10:]])},
            "compressed": {"content": gzip.compress(body, mtime=0), "headers": {"Content-Encoding": "gzip"}},
        }
        assert server.post("/v2/models/linear/infer", **ways[way]).status_code == status


def test_an_oversized_upload_gets_its_answer_before_the_connection_ends(server: RunningServer) -> None:
    head = b"POST /v2/models/linear/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n"
    answer = exchange(server, head + b" " * 30_000_000)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_an_oversized_chunked_upload_is_refused_as_well(server: RunningServer) -> None:
    response = server.post("/v2/models/linear/infer", content=iter([b" " * 60_000, b" " * 60_000]))
    assert response.status_code == 413


def test_a_client_that_waits_to_be_told_is_told_to_go_on(server: RunningServer) -> None:
    body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}).encode()
    address = urlsplit(server.base_url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=DEADLINE) as connection:
        connection.sendall(expecting(len(body)))
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert connection.recv(100).startswith(b"HTTP/1.1 200 OK")


def test_a_client_that_waits_to_be_told_need_not_send_what_is_refused(server: RunningServer) -> None:
    assert exchange(server, expecting(30_000_000)).startswith(b"HTTP/1.1 413 ")


def expecting(length: int) -> bytes:
    head = f"Host: x\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
    return b"POST /v2/models/linear/infer HTTP/1.1\r\n" + head.encode()


def test_a_client_that_sends_less_than_it_said_gets_408(server: RunningServer) -> None:
    answer = exchange(server, b"POST /v2/models/linear/infer HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc")
    assert answer.startswith(b"HTTP/1.1 408 ")


def test_rows_over_the_models_limit_are_refused(server: RunningServer) -> None:
    body, headers = binary_request(np.ones((3, 4)))
    response = server.post("/v2/models/pinned/infer", content=body, headers=headers)
    assert response.status_code == 400
    assert "has 3 rows; the limit is 2" in response.json()["error"]


def test_a_header_beyond_the_buffer_costs_only_its_own_connection(server: RunningServer) -> None:
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 70_000 + b"\r\n\r\n"
    with pytest.raises(ConnectionResetError):
        exchange(server, head)
    assert server.get("/healthz").status_code == 200


# --- When models misbehave --------------------------------------------------------------------------------------------


def test_a_model_that_raises_is_a_500_that_keeps_its_traceback_for_the_log(server: RunningServer) -> None:
    response = server.post("/v2/models/awkward/infer", json=awkward(what="raise"))
    assert response.status_code == 500
    assert "awkward" in response.json()["error"]
    record = eventually(lambda: server.logged("a prediction failed"), DEADLINE)[-1]
    assert "ValueError" in record["exception"]


def test_a_model_that_gives_no_output_is_a_500(server: RunningServer) -> None:
    response = server.post("/v2/models/awkward/infer", json=awkward(what="nothing"))
    assert response.status_code == 500
    assert "gave no output 'x'" in response.json()["error"]


def test_a_late_model_is_a_504_at_the_deadline_and_the_worker_serves_on(server: RunningServer) -> None:
    response = server.post("/v2/models/awkward/infer", json=awkward(what="sleep", seconds=3))
    assert response.status_code == 504
    assert response.json() == {"error": "the model did not answer in time"}
    assert 0.9 < response.elapsed.total_seconds() < 2.8
    for _ in range(4):
        assert server.post("/v2/models/awkward/infer", json=awkward()).status_code == 200


def test_the_callers_own_timeout_is_held(server: RunningServer) -> None:
    response = server.post("/v2/models/awkward/infer", json=awkward(what="sleep", seconds=2, timeout=200_000))
    assert response.status_code == 504
    assert response.elapsed.total_seconds() < 0.9, "before the server's own deadline"
    assert server.post("/v2/models/awkward/infer", json=awkward(timeout=0)).status_code == 200
    assert server.post("/v2/models/awkward/infer", json=awkward(timeout="x")).status_code == 400


def test_a_worker_that_dies_costs_its_own_request_only(server: RunningServer) -> None:
    codes: list[int] = []

    def ask() -> None:
        codes.extend(server.post("/v2/models/linear/infer", json=ROW).status_code for _ in range(25))

    callers = [threading.Thread(target=ask) for _ in range(4)]
    for caller in callers:
        caller.start()
    raw = json.dumps(awkward(what="die")).encode()
    head = b"POST /v2/models/awkward/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(raw)
    counted = ("inference_requests_total", frozenset({"awkward", "1", "500"}))
    before = samples(server).get(counted, 0)
    assert exchange(server, head + raw) == b""
    for caller in callers:
        caller.join()
    assert codes == [200] * 100
    (record,) = eventually(lambda: server.logged("a worker died of a request, which got no answer"), DEADLINE)
    assert (record["level"], record["model"], record["version"]) == ("ERROR", "awkward", "1")
    assert samples(server)[counted] == before + 1


# --- What it tells of itself ------------------------------------------------------------------------------------------


def samples(server: RunningServer) -> dict[tuple[str, frozenset[str]], float]:
    text = server.get("/metrics").text
    return {
        (sample.name, frozenset(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_count_over_all_workers(server: RunningServer) -> None:
    before = samples(server)
    body, headers = binary_request(np.ones((5, 4)))
    for _ in range(20):
        server.post("/v2/models/linear/versions/1/infer", content=body, headers=headers)
    server.post("/v2/models/linear/versions/1/infer", content=b"{")
    server.post("/v2/models/made-up/infer", content=b"{}")
    after = samples(server)

    def grown(name: str, *labels: str) -> float:
        return after[name, frozenset(labels)] - before.get((name, frozenset(labels)), 0)

    assert grown("inference_requests_total", "linear", "1", "200") == 20
    assert grown("inference_requests_total", "linear", "1", "400") == 1
    assert grown("inference_requests_total", "_unknown", "", "404") == 1
    assert grown("inference_rows_total", "linear", "1") == 100
    assert grown("inference_request_bytes_total", "linear", "1") == 20 * len(body) + 1
    assert grown("inference_request_duration_seconds_count", "linear", "1") == 21
    assert grown("inference_stage_duration_seconds_sum", "linear", "1", "predict") > 0
    assert after["inference_model_ready", frozenset({"broken", "1"})] == 0
    assert not any("made-up" in labels for _, labels in after)


def test_what_is_refused_by_its_head_counts_for_its_model(server: RunningServer) -> None:
    key = ("inference_requests_total", frozenset({"linear", "1", "413"}))
    before = samples(server).get(key, 0)
    path = "/v2/models/linear/versions/1/infer"
    assert server.post(path, content=b" " * (LIMIT + 1)).status_code == 413
    assert samples(server)[key] == before + 1


def test_statistics_are_as_triton_gives_them(server: RunningServer) -> None:
    server.post("/v2/models/linear/versions/2/infer", json=ROW)
    (stats,) = server.get("/v2/models/linear/versions/2/stats").json()["model_stats"]
    assert (stats["name"], stats["version"]) == ("linear", "2")
    assert stats["execution_count"] >= 1
    assert stats["inference_stats"]["success"]["count"] == stats["execution_count"]
    assert stats["inference_stats"]["compute_infer"]["ns"] > 0
    assert stats["inference_stats"]["cache_hit"] == {"count": 0, "ns": 0}
    assert len(server.get("/v2/models/stats").json()["model_stats"]) == 6
    assert [each["version"] for each in server.get("/v2/models/linear/stats").json()["model_stats"]] == ["1", "2"]
    assert server.get("/v2/models/none/stats").status_code == 404


def test_a_version_with_a_leading_zero_is_the_same_for_whatever_is_asked_of_it(server: RunningServer) -> None:
    (stats,) = server.get("/v2/models/linear/versions/02/stats").json()["model_stats"]
    assert stats["version"] == "2"
    assert server.post("/v2/models/linear/versions/02/infer", json=ROW).json()["model_version"] == "2"


def test_the_access_log_carries_the_ids_and_no_payload(server: RunningServer) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = {"X-Request-Id": "r-17", "traceparent": f"00-{trace}-00f067aa0ba902b7-01"}
    server.post("/v2/models/linear/infer", json=ROW, headers=headers)
    (record,) = eventually(
        lambda: [record for record in server.logged("request") if record.get("request_id") == "r-17"], DEADLINE
    )
    assert record["trace_id"] == trace
    assert (record["model"], record["version"], record["rows"], record["status"]) == ("linear", "2", 1, 200)
    assert record["duration_ms"] >= record["predict_ms"] > 0
    assert "inputs" not in json.dumps(record)


def test_a_forged_path_cannot_forge_a_log_line(server: RunningServer) -> None:
    exchange(server, b"GET /a%0A%7B%22level%22:%22ERROR%22%7D HTTP/1.1\r\nHost: x\r\n\r\n")
    record = eventually(
        lambda: [record for record in server.logged("request") if str(record["path"]).startswith("/a%0A")], DEADLINE
    )[0]
    assert record["level"] == "INFO"


def test_health_checks_are_logged_for_debugging_only(server: RunningServer) -> None:
    server.get("/healthz")
    records = eventually(
        lambda: [record for record in server.logged("request") if record["path"] == "/healthz"], DEADLINE
    )
    records = [record for record in records if record["method"] == "GET"]
    assert {record["level"] for record in records} == {"DEBUG"}


def test_every_line_it_has_written_is_json(server: RunningServer) -> None:
    assert len(server.records) > 10
