"""What goes to stdout: log lines, and uWSGI's own output made into log lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_server import logs
from inference_server.uwsgi_output import ENDED, TOO_LARGE, OutputReader


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)
    logs.configure("INFO", 2)


def test_an_event_is_one_line_with_its_fields(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    logs.configure("INFO", writing)
    log = logs.Logger("somewhere")
    log.debug("not this")
    log.warning("look\nhere", model="m", count=3)
    record = json.loads(os.read(reading, 10000))
    assert record.pop("ts").endswith("Z")
    assert record == {"level": "WARNING", "logger": "somewhere", "message": "look\nhere", "model": "m", "count": 3}


def test_a_server_that_can_not_start_says_so_in_a_line_like_all_others() -> None:
    environment = {"PATH": os.environ["PATH"], "INFERENCE_PORT": "http"}
    command = [sys.executable, "-m", "inference_server", "run"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    record = json.loads(line)
    assert record["level"] == "CRITICAL"
    assert "INFERENCE_PORT is 'http'" in record["message"]


def test_an_exception_comes_with_its_traceback(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    logs.configure("INFO", writing)
    try:
        raise KeyError("k")  # noqa: TRY301  (an exception is wanted, not abstracted)
    except KeyError:
        logs.Logger("x").exception("it failed")
    record = json.loads(os.read(reading, 10000))
    assert record["level"] == "ERROR"
    assert "KeyError: 'k'" in record["exception"]


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), st.text(max_size=20) | st.just("é" * 9000), min_size=1))
def test_a_line_is_never_longer_than_a_pipe_keeps_whole(record: dict[str, str]) -> None:
    line = logs.as_line({"message": "m" * 5000, **record})
    assert len(line) <= logs.MAX_LINE
    assert json.loads(line).keys() == {"message", *record}


OUTPUT = b"""*** Starting uWSGI 2.0.30 ***
  File "x"

spawned uWSGI worker 1
Traceback (most recent call last):
  File "a.py", line 1, in <module>
    boom()
ValueError: boom
DAMN ! worker 1 (pid: 7) died, killed by signal 9 :( trying respawn ...
Respawned uWSGI worker 1 (new pid: 9)
*** WARNING: you are running uWSGI as root !!! ***
[uwsgi-body-read] Error reading 9 bytes. Content-Length: 9 message: Client closed connection
last words"""

RECORDS = [
    ("DEBUG", "*** Starting uWSGI 2.0.30 ***"),
    ("DEBUG", '  File "x"'),
    ("DEBUG", "spawned uWSGI worker 1"),
    (
        "ERROR",
        'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    boom()\nValueError: boom',
    ),
    ("ERROR", "DAMN ! worker 1 (pid: 7) died, killed by signal 9 :( trying respawn ..."),
    ("WARNING", "Respawned uWSGI worker 1 (new pid: 9)"),
    ("DEBUG", "*** WARNING: you are running uWSGI as root !!! ***"),
    ("DEBUG", "[uwsgi-body-read] Error reading 9 bytes. Content-Length: 9 message: Client closed connection"),
    ("DEBUG", "last words"),
]


@given(st.lists(st.integers(0, len(OUTPUT)), max_size=6).map(sorted))
def test_output_becomes_the_same_records_wherever_it_is_cut(cuts: list[int]) -> None:
    reader = OutputReader()
    records = []
    for start, end in zip([0, *cuts], [*cuts, len(OUTPUT)], strict=True):
        if start < end:
            records += list(reader.feed(OUTPUT[start:end]))
    records += list(reader.feed(b""))
    assert records == [(*record, {}) for record in RECORDS]


def test_a_traceback_that_is_cut_off_is_told_at_the_end() -> None:
    reader = OutputReader()
    assert list(reader.feed(b"Traceback (most recent call last):\n  File")) == []
    assert list(reader.feed(b"")) == [("ERROR", "Traceback (most recent call last):\n  File", {})]


@pytest.mark.parametrize("secret", ["s3cret", "s3cret\r\n s3cret\r\n Traceback (most recent call last):\r\n s3cret"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_header_that_uwsgi_has_no_room_for_is_not_in_the_log(secret: str, size: int) -> None:
    header = f"HTTP_AUTHORIZATION={secret}"
    text = f"before\n[WARNING] unable to add {header} to uwsgi packet, consider increasing buffer size\nafter\n"
    reader = OutputReader()
    raw = text.encode()
    records = [record for at in range(0, len(raw), size) for record in reader.feed(raw[at : at + size])]
    assert records == [("DEBUG", "before", {}), ("WARNING", TOO_LARGE, {}), ("DEBUG", "after", {})]


@pytest.mark.parametrize("query", ["", "?token=s3cret", "?token=s3cret since 1&then=? since 2"])
def test_of_a_request_that_is_ended_for_its_time_method_and_path_are_told_and_no_query(query: str) -> None:
    line = f"Mon Nov 30 - HARAKIRI [core 0] 10.0.0.1 - POST /v2/models/m/infer{query} since 1796019487\n"
    told = {"method": "POST", "path": "/v2/models/m/infer"}
    assert list(OutputReader().feed(line.encode())) == [("ERROR", ENDED, told)]
