"""Fuzzes the running server for some minutes, and tells what it did not stand.

    python -m benchmarks.server.fuzzing [--minutes 10] [--seed 1]

Two at once: schemathesis makes requests of the server's own OpenAPI document, again and again with other seeds; and
requests for predictions that were right, in JSON and binary, are changed at random in body and headers. They stay
HTTP, so each must be answered; and what they ask is the caller's mistake or possible, so no answer may be a 500.
Meanwhile memory is looked at: in the second half of the time it should not grow.
"""

from __future__ import annotations

import argparse
import collections
import gzip
import random
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from functools import partial
from pathlib import Path

from benchmarks.server import models, servers
from benchmarks.server.environments import CantBuildError, python_with
from benchmarks.server.servers import ROOT, Server, running
from benchmarks.server.table import at_most, figure, heading, remark

CONNECTIONS = 4
HANG_SECONDS = 20.0
"""The server's own deadline of a request is 30 s, and no request here has work for one."""
MIB = 2**20
_NUMBERS = (b"0", b"-1", b"1e400", b"-0", b"2147483648", b"18446744073709551616", b"NaN", b"1.5", b"00")
_PIECES = (
    b"null",
    b"[]",
    b"{}",
    b"[[",
    b"]]",
    b'"',
    b"\\u0000",
    b"\xff",
    b"\x00",
    b",",
    b'"parameters":{}',
    b'"BYTES"',
)
_HEADERS = (
    "Inference-Header-Content-Length: {number}",
    "Content-Encoding: {coding}",
    "Accept-Encoding: {coding};q={number}",
    "Content-Type: application/{coding}",
    "X-Request-Id: {number}{coding}",
    "traceparent: 00-{number}-{coding}-01",
)
_CODINGS = ("gzip", "deflate", "identity", "br", "gzip, gzip", "*", "", "octet-stream", "json", "é")


class Requests:
    """Changed at random from good ones; the same of the same seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311  (to repeat, not to guard)
        binary, length = models.small_binary()
        self._good = [(models.small_request(), None), (binary, length)]

    def next(self) -> bytes:
        choose = self._random
        body, length = choose.choice(self._good)
        headers = [] if length is None else [f"Inference-Header-Content-Length: {length}"]
        for _ in range(choose.choice((0, 1, 1, 2, 5))):
            body = self._changed(body)
        if choose.randrange(5) == 0:
            coding, compress = choose.choice((("gzip", gzip.compress), ("deflate", zlib.compress)))
            headers.append(f"Content-Encoding: {coding}")
            body = compress(body)
            if choose.randrange(2):
                body = self._changed(body)
        if choose.randrange(3) == 0:
            number, word = choose.choice(_NUMBERS).decode(), choose.choice(_CODINGS)
            headers.append(choose.choice(_HEADERS).format(number=number, coding=word))
        path = choose.choice((*["small"] * 9, "echo", "small/versions/1", "small/versions/9", "absent"))
        lines = [f"POST /v2/models/{path}/infer HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(body)}", "", ""]
        return "\r\n".join(lines).encode("latin-1") + body

    def _changed(self, body: bytes) -> bytes:
        choose = self._random
        begin = choose.randrange(len(body) + 1)
        end = min(len(body), begin + choose.choice((0, 1, 1, 2, 8, 64)))
        if choose.randrange(2):
            numbers = list(re.finditer(rb"\d+", body))
            if numbers:
                begin, end = choose.choice(numbers).span()
        piece = choose.choice((*_NUMBERS, *_PIECES, b"", body[begin:end] * 2, choose.randbytes(end - begin)))
        return body[:begin] + piece + body[end:]


class Tally:
    """What came of the requests; for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.statuses: collections.Counter[int] = collections.Counter()
        self.unanswered = 0
        self.slowest = 0.0

    def add(self, request: bytes, status: int | None, seconds: float) -> None:
        with self._lock:
            self.slowest = max(self.slowest, seconds)
            if status is None:
                self.unanswered += 1
            else:
                self.statuses[status] += 1
            if status in {None, 500}:
                remark(f"  {'no answer' if status is None else status} to {request!r}")

    @property
    def answered(self) -> int:
        return self.statuses.total()


def send(server: Server, request: bytes) -> int | None:
    """The status of the answer; None if there was none, or none in time, or not to its end."""
    answer = b""
    try:
        with socket.create_connection(("127.0.0.1", server.port), timeout=HANG_SECONDS) as connection:
            connection.sendall(request)
            while block := connection.recv(65536):
                answer += block
    except OSError:
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
    whole = length is not None and len(body) == int(length[1])
    return int(head.split(b" ", 2)[1]) if whole else None


def _change_and_send(server: Server, seed: int, until: float, tally: Tally) -> None:
    requests = Requests(seed)
    while time.monotonic() < until:
        request = requests.next()
        began = time.monotonic()
        tally.add(request, send(server, request), time.monotonic() - began)


def _schemathesis(server: Server, python: Path, seed: int, until: float, codes: list[int]) -> None:
    while (left := until - time.monotonic()) > 0:
        command = [str(python.with_name("schemathesis")), "run", f"http://127.0.0.1:{server.port}/openapi.json"]
        command += ["--checks", "not_a_server_error", "--seed", str(seed), "--max-examples", "50", "--no-color"]
        with tempfile.TemporaryDirectory() as folder:  # where it keeps what it found
            try:
                done = subprocess.run(
                    command, cwd=folder, capture_output=True, text=True, check=False, timeout=max(left, 1)
                )
            except subprocess.TimeoutExpired:
                return
        codes.append(done.returncode)
        if done.returncode:
            remark(done.stdout[-3000:] + done.stderr[-500:])
        seed += 1


def fuzz(server: Server, schemathesis: Path | None, seconds: float, seed: int) -> None:
    server.first_answer(models.small_request())
    workers = {worker.pid for worker in server.workers()}
    until, tally, codes = time.monotonic() + seconds, Tally(), list[int]()
    threads = [
        threading.Thread(target=partial(_change_and_send, server, seed * CONNECTIONS + number, until, tally))
        for number in range(CONNECTIONS)
    ]
    if schemathesis is not None:
        threads.append(threading.Thread(target=partial(_schemathesis, server, schemathesis, seed, until, codes)))
    for thread in threads:
        thread.start()
    memory: list[int] = []
    while time.monotonic() < until:
        time.sleep(min(5.0, seconds / 20))
        memory.append(_own_memory(server))
    for thread in threads:
        thread.join()
    lost = workers - {worker.pid for worker in server.workers()}
    _print(tally, memory, len(lost))
    if codes:
        figure("schemathesis: runs that found an error", sum(map(bool, codes)), at_most(0), f"of {len(codes)} runs")
    elif schemathesis is not None:
        remark("schemathesis did not come to the end of a run, which takes about two minutes")


def _own_memory(server: Server) -> int:
    """Bytes of its processes that no file holds: what others here have mapped as well does not move it."""
    infos = [process.memory_info() for process in server.processes()]
    return sum(info.rss - info.shared for info in infos)


def _print(tally: Tally, memory: list[int], lost: int) -> None:
    counts = ", ".join(f"{status}: {count}" for status, count in sorted(tally.statuses.items()))
    remark(f"changed requests by the status of their answer: {counts}")
    figure("changed requests: answers with 500", tally.statuses[500], at_most(0), f"of {tally.answered}")
    figure("changed requests: no answer", tally.unanswered, at_most(0))
    figure("changed requests: slowest, s", tally.slowest, at_most(HANG_SECONDS))
    figure("workers that died", lost, at_most(0))
    quarter = len(memory) // 4
    middle, last = (statistics.median(part) for part in (memory[2 * quarter : 3 * quarter], memory[3 * quarter :]))
    figure("memory of its own after the half, MiB", middle / MIB)
    figure("at the end / after the half", last / middle, at_most(1.02))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    schemathesis: Path | None = None
    try:
        schemathesis = python_with(ROOT / "benchmarks/server/fuzzing.txt")
    except CantBuildError as error:
        remark(f"schemathesis is left out: {error}")
    heading(f"Fuzzing of the running server, {given.minutes:g} minutes, seed {given.seed}")
    with tempfile.TemporaryDirectory(prefix="fuzzing-") as folder:
        repository = Path(folder)
        models.write_models(repository)
        with running(partial(servers.ours, access_log_per_second=0), repository) as server:
            fuzz(server, schemathesis, given.minutes * 60, given.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
