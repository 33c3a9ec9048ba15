"""Usual requests and how their answers go out: they are answered as those are that are looked at with care."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from tests.eventually import eventually
from tests.inference_server.models import linear, published, write_linear
from tests.inference_server.running import DEADLINE, RunningServer, running

PATH = "/v2/models/linear/infer"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    root = tmp_path_factory.mktemp("models")
    write_linear(root)
    with running(published(root), compress_from_bytes=2000, access_log_per_second=1000) as started:
        yield started.wait_until_live()


def rows(count: int, **more: Any) -> dict[str, Any]:
    data = [float(number) for number in range(count * 4)]
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [count, 4], "data": data}], **more}


def told(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Its status, its headers without the time, and its body."""
    return answer.status_code, {name: text for name, text in answer.headers.items() if name != "date"}, answer.content


def logged(server: RunningServer, request_id: str, count: int) -> list[dict[str, Any]]:
    """The lines of the requests with that id, once there are so many."""

    def lines() -> list[dict[str, Any]]:
        found = [line for line in server.logged("request") if line.get("request_id") == request_id]
        return found if len(found) >= count else []

    return eventually(lines, DEADLINE)


@pytest.mark.parametrize("accepted", ["identity", "gzip"])
@pytest.mark.parametrize("count", [1, 2, 500])
@pytest.mark.parametrize("more", [{}, {"id": "é-1"}], ids=["plain", "id"])
def test_the_answer_is_that_of_a_request_with_something_unusual_to_it(
    server: RunningServer, more: dict[str, Any], count: int, accepted: str
) -> None:
    headers = {"Accept-Encoding": accepted}
    usual = [told(server.post(PATH, json=rows(count, **more), headers=headers)) for _ in range(3)]
    careful = told(server.post(PATH, json=rows(count, **more, parameters={}), headers=headers))
    assert usual == [careful] * 3
    document = json.loads(usual[0][2])
    assert document.get("id") == more.get("id")
    expected = linear(np.array(rows(count)["inputs"][0]["data"], np.float32).reshape(count, 4))
    np.testing.assert_allclose(document["outputs"][0]["data"], expected.ravel(), rtol=1e-5)


def test_every_answer_tells_the_time_and_that_the_connection_ends(server: RunningServer) -> None:
    answers = [server.post(PATH, json=rows(1)), server.get("/healthz"), server.get("/none"), server.post(PATH)]
    assert [answer.status_code for answer in answers] == [200, 200, 404, 400]
    for answer in answers:
        assert abs(parsedate_to_datetime(answer.headers["Date"]) - datetime.now(UTC)) < timedelta(seconds=DEADLINE)
        assert answer.headers["Connection"] == "close"


def test_usual_requests_are_counted_and_logged(server: RunningServer) -> None:
    for _ in range(5):
        server.post(PATH, json=rows(7), headers={"X-Request-Id": "usual"}).raise_for_status()
    lines = logged(server, "usual", 5)
    assert [(line["rows"], line["model"], line["status"]) for line in lines] == [(7, "linear", 200)] * 5
    assert all(line["request_bytes"] and line["response_bytes"] and line["predict_ms"] for line in lines)


def test_a_usual_request_whose_answer_json_cannot_carry_is_refused_and_counted(server: RunningServer) -> None:
    request = rows(1)
    request["inputs"][0]["data"] = [3e38] * 4
    usual = [told(server.post(PATH, json=request, headers={"X-Request-Id": "infinite"})) for _ in range(3)]
    assert usual == [told(server.post(PATH, json={**request, "parameters": {}}))] * 3
    assert usual[0][0] == 400
    assert "infinity" in json.loads(usual[0][2])["error"]
    lines = logged(server, "infinite", 3)
    assert [(line["status"], line["rows"], line["model"]) for line in lines] == [(400, 1, "linear")] * 3


def test_an_answer_too_large_for_the_connection_is_sent_as_it_is_read(server: RunningServer) -> None:
    body = json.dumps(rows(200_000)).encode()
    url = urlsplit(server.base_url)
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(DEADLINE)
        connection.connect((url.hostname, url.port))
        connection.sendall(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body)) + body
        )
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, text = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert f"Content-Length: {len(text)}".encode() in head
    assert len(json.loads(text)["outputs"][0]["data"]) % 200_000 == 0


def test_bytes_after_a_request_do_not_cost_its_answer(server: RunningServer) -> None:
    body = json.dumps(rows(1)).encode() + b" " * 100_000  # more than is read with the headers
    url = urlsplit(server.base_url)
    with socket.create_connection((url.hostname, url.port), DEADLINE) as connection:
        connection.sendall(
            b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body))
            + body
            + b"x" * 10_000
        )
        answer = connection.recv(65536)
    head, _, text = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK")
    assert f"Content-Length: {len(text)}".encode() in head


def test_a_client_that_goes_before_its_answer_costs_nobody_else(server: RunningServer) -> None:
    body = json.dumps(rows(1)).encode()
    url = urlsplit(server.base_url)
    for _ in range(20):
        with socket.create_connection((url.hostname, url.port), DEADLINE) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # it ends with a reset
            connection.sendall(b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (PATH.encode(), len(body)) + body)
    assert server.post(PATH, json=rows(1)).status_code == 200
    assert not server.logged("a request failed")
