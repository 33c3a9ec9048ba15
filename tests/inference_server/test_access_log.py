"""Which requests get a line of their own in the log, on a clock of the test's own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import pytest

from inference_server import logs
from inference_server.access_log import AccessLog
from inference_server.exchange import Exchange

Lines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def lines() -> Any:
    """What has been logged."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    logs.configure("INFO", writing)

    def read() -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in os.read(reading, 1 << 20).splitlines()]
        except BlockingIOError:
            return []

    yield read
    logs.configure("INFO", 2)
    os.close(reading)
    os.close(writing)


def answer(log: AccessLog, now: float, status: int = 200, path: str = "/v2/models/m/infer") -> None:
    log.write({"PATH_INFO": path, "REQUEST_METHOD": "POST"}, Exchange(now, 0), status, 10, now)


def test_successes_are_logged_up_to_the_rate_and_the_rest_is_counted(lines: Lines) -> None:
    log = AccessLog(5)
    for tick in range(100):
        answer(log, 1000 + tick / 100)
    written = lines()
    assert 5 <= len(written) <= 10
    assert sum(record.get("skipped", 0) for record in written) + len(written) <= 100
    answer(log, 1010)
    (record,) = lines()
    assert record["skipped"] == 100 - sum(1 + record.get("skipped", 0) for record in written)


def test_a_quiet_server_logs_every_request_and_saves_up_no_more_than_a_second(lines: Lines) -> None:
    log = AccessLog(5)
    for tick in range(10):
        answer(log, 1000 + tick)
    assert len(lines()) == 10
    for _ in range(50):
        answer(log, 5000)
    assert len(lines()) == 5


def test_a_rate_below_one_a_second_still_logs(lines: Lines) -> None:
    log = AccessLog(0.1)
    for tick in range(100):
        answer(log, 1000 + tick)
    assert len(lines()) == 10


def test_no_success_is_logged_at_a_rate_of_zero_and_every_failure_is(lines: Lines) -> None:
    log = AccessLog(0)
    for status in (200, 400, 500, 200, 503):
        answer(log, 1000, status)
    assert [(record["status"], record["level"]) for record in lines()] == [
        (400, "INFO"),
        (500, "ERROR"),
        (503, "ERROR"),
    ]


def test_health_checks_use_up_nothing(lines: Lines) -> None:
    log = AccessLog(1)
    for _ in range(5):
        answer(log, 1000, path="/readyz")
    answer(log, 1000)
    assert [record["path"] for record in lines()] == ["/v2/models/m/infer"]
