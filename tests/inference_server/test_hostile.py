"""Whatever comes over the wire is answered or its connection is ended; no 500, no worker lost, no memory kept."""

from __future__ import annotations

import gzip
import json
import random
import re
import socket
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from inference_server.compression import inflate
from inference_server.protocol.errors import TooLargeError
from tests.inference_server.models import published, write_linear, write_top_n
from tests.inference_server.running import DEADLINE, RunningServer, running

INFER = b"/v2/models/linear/infer"
ROW = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, -1, 2, 3]}]}
GOOD = json.dumps(ROW).encode()
LIMIT = 200_000


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root: Path = tmp_path_factory.mktemp("models")
    write_linear(root)
    write_top_n(root)
    return published(root)


@pytest.fixture(scope="module")
def server(models: Path) -> Iterator[RunningServer]:
    with running(models, max_body_bytes=LIMIT, client_timeout_seconds=1, access_log_per_second=0) as started:
        yield started.wait_until_live()


def send(server: RunningServer, raw: bytes, *, end: bool = False) -> bytes:
    """What comes back before the connection is closed; nothing if it is reset. `end`: half-close after sending."""
    address = urlsplit(server.base_url)
    answer = b""
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=DEADLINE) as connection:
        with suppress(OSError):
            connection.sendall(raw)
            if end:
                connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionError):
            while block := connection.recv(65536):
                answer += block
    return answer


def status(answer: bytes) -> int | None:
    """Of the first answer, be it the interim one."""
    found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
    return int(found.group(1)) if found else None


def post(body: bytes, *headers: str, path: bytes = INFER, length: object = None) -> bytes:
    lines = [b"POST " + path + b" HTTP/1.1", b"Host: x", *(header.encode("latin-1") for header in headers)]
    if not any(header.lower().startswith("transfer-encoding") for header in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}".encode())
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunks(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)


def tensor(**changes: object) -> bytes:
    return json.dumps({"inputs": [ROW["inputs"][0] | changes]}).encode()


ENDED = None
"""The connection ends without an answer, which is what uWSGI does with what is not HTTP."""

BODIES: dict[str, tuple[bytes, set[int | None]]] = {
    "deep nesting": (post(b'{"inputs":' + b"[" * 90_000), {400}),
    "deep nesting that is closed": (post(b"[" * 50_000 + b"]" * 50_000), {400}),
    "NaN": (post(tensor().replace(b"0.5", b"NaN")), {400}),
    "Infinity": (post(tensor().replace(b"0.5", b"-Infinity")), {400}),
    "a number beyond a double": (post(tensor().replace(b"0.5", b"1e999")), {400}),
    "a number beyond a float": (post(tensor().replace(b"0.5", b"1e39")), {400}),
    "a number of many digits": (post(tensor().replace(b"0.5", b"9" * 50_000)), {400}),
    "duplicate keys": (post(tensor()[:-1] + b"," + tensor()[1:]), {200}),
    "a lone surrogate": (post(b'{"id":"\\ud800",' + tensor()[1:]), {400}),
    "invalid UTF-8": (post(b'{"id":"\xff",' + tensor()[1:]), {400}),
    "a byte order mark": (post(b"\xef\xbb\xbf" + GOOD), {400}),
    "NUL in the id": (post(b'{"id":"\\u0000",' + tensor()[1:]), {200}),
    "UTF-16": (post(GOOD.decode().encode("utf-16")), {400}),
    "a negative dimension": (post(tensor(shape=[-1, 4])), {400}),
    "a huge dimension": (post(tensor(shape=[2**63, 4])), {400}),
    "dimensions whose product wraps": (post(tensor(shape=[2**62, 4])), {400}),
    "a huge dimension beside an empty one": (post(tensor(shape=[0, 4], data=[])), {200, 400}),
    "a dimension that is true": (post(tensor(shape=[True, 4])), {400}),
    "too many dimensions": (post(tensor(shape=[1] * 1000)), {400}),
    "data of another length": (post(tensor(data=[1, 2, 3])), {400}),
    "ragged data": (post(tensor(data=[[1, 2, 3], [4]])), {400}),
    "a thousand inputs": (post(json.dumps({"inputs": ROW["inputs"] * 1000}).encode()), {400}),
    "a bomb": (post(gzip.compress(b" " * 10**7), "Content-Encoding: gzip"), {413}),
    "a bomb in a bomb": (post(gzip.compress(gzip.compress(b" " * 10**7)), "Content-Encoding: gzip"), {400}),
    "gzip by its old name": (post(gzip.compress(GOOD), "Content-Encoding: x-gzip"), {200}),
    "two encodings": (post(gzip.compress(GOOD), "Content-Encoding: gzip, gzip"), {415}),
    "raw deflate": (post(zlib.compress(GOOD)[2:-4], "Content-Encoding: deflate"), {400}),
    "a header length beyond the body": (post(GOOD, f"Inference-Header-Content-Length: {len(GOOD) + 1}"), {400}),
    "a header length below zero": (post(GOOD, "Inference-Header-Content-Length: -1"), {400}),
    "a header length of many digits": (post(GOOD, "Inference-Header-Content-Length: " + "9" * 5000), {400}),
    "raw bytes that are no row": (post(b"x" * 17, "Inference-Header-Content-Length: 0"), {400}),
}

HTTP: dict[str, tuple[bytes, set[int | None]]] = {
    "no HTTP": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20, {ENDED}),
    "half a request line": (b"POST /v2", {ENDED}),
    "headers that do not end": (b"POST /v2/models HTTP/1.1\r\nHost: x\r\n", {ENDED}),
    "a request line without a version": (b"GET /healthz\r\n\r\n", {400}),
    "a request line with two blanks": (b"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", {400}),
    "a request line with a word too many": (b"GET /healthz HTTP/1.1 x\r\nHost: x\r\n\r\n", {400}),
    "no request line": (b"\r\n\r\n", {400}),
    "an empty line first": (b"\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "an empty line before an inference": (b"\r\n" + post(GOOD), {200}),
    "WebSocket": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", {200}),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), {505}),
    "HTTP/2.0 as if it were 1.1": (b"GET /healthz HTTP/2.0\r\nHost: x\r\n\r\n", {505}),
    "HTTP in small letters": (b"GET /healthz http/1.1\r\nHost: x\r\n\r\n", {400}),
    "doubled slashes": (b"GET //v2//models HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    "a header of 60 kB": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 60_000 + b"\r\n\r\n", {200}),
    "a header of 70 kB": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 70_000 + b"\r\n\r\n", {ENDED}),
    "a thousand headers": (b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 1000 + b"\r\n", {200}),
    "thousands of different headers": (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"".join(b"%x:\r\n" % number for number in range(4500)) + b"\r\n",
        {200},
    ),
    "no Host": (b"GET /healthz HTTP/1.1\r\n\r\n", {400}),
    "an inference without Host": (post(GOOD).replace(b"Host: x\r\n", b"", 1), {400}),
    "no Host in HTTP/1.0": (b"GET /healthz HTTP/1.0\r\n\r\n", {200}),
    "a Host that is empty": (b"GET /healthz HTTP/1.1\r\nHost:\r\n\r\n", {200}),
    "two Hosts": (b"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", {400}),
    "a header without a colon": (b"GET /healthz HTTP/1.1\r\nnonsense\r\n\r\n", {200, 400, ENDED}),
    "a NUL in a header": (b"GET /healthz HTTP/1.1\r\nA: \x00b\r\n\r\n", {200, 400, ENDED}),
    "bare line feeds": (b"GET /healthz HTTP/1.1\nHost: x\n\n", {200, 400, ENDED}),
    "an unknown method": (b"BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
    "an unknown method for an inference": (b"BREW " + INFER + b" HTTP/1.1\r\nHost: x\r\n\r\n", {405}),
    "a method in small letters": (b"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n", {501}),
    "an inference by a method in small letters": (post(GOOD).replace(b"POST", b"post", 1), {501}),
    "an absolute address": (b"GET http://elsewhere/healthz HTTP/1.1\r\nHost: x\r\n\r\n", {200}),
    "an absolute address of an inference": (post(GOOD, path=b"HTTP://x:80" + INFER), {200}),
    "an absolute address without a path": (b"GET http://elsewhere HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    "a path of bytes": (b"GET /\xff\xfe%ff%00 HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    "a path that climbs": (b"GET /v2/models/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", {404}),
    "a name with a slash": (post(GOOD, path=b"/v2/models/a%2Fb/infer"), {404}),
    "a length that is no number": (post(GOOD, length="x"), {400, ENDED}),
    "a length below zero": (post(GOOD, length=-5), {400, ENDED}),
    "a length beyond 64 bits": (post(GOOD, length="9" * 40), {413}),
    "two lengths": (post(GOOD, "Content-Length: 3"), {200, 400, ENDED}),
    "more than it said": (post(GOOD + b"GET / HTTP/1.1\r\n\r\n", length=len(GOOD)), {200}),
    "a length with blanks around it": (post(GOOD, length=f"  {len(GOOD)} "), {200}),
    "a transfer encoding that has no end": (post(GOOD, "Transfer-Encoding: gzip"), {400}),
    "two transfer encodings": (post(GOOD, "Transfer-Encoding: gzip, chunked"), {501}),
    "chunks": (post(chunks(GOOD[:9], GOOD[9:], b""), "Transfer-Encoding: chunked"), {200}),
    "chunks with extensions": (
        post(b'%x;a;b="c"\r\n%s\r\n0;d\r\n\r\n' % (len(GOOD), GOOD), "Transfer-Encoding: chunked"),
        {200},
    ),
    "chunks and a trailer": (post(chunks(GOOD) + b"0\r\nX: 1\r\n\r\n", "Transfer-Encoding: chunked"), {200}),
    "chunks that run into one another": (post(b"2\r\n{}0\r\n\r\n", "Transfer-Encoding: chunked"), {400}),
    "malformed chunks and much after them": (post(b"zz\r\n" + b"x" * 300_000, "Transfer-Encoding: chunked"), {400}),
    "chunks whose length is no number": (post(b"zz\r\n{}\r\n0\r\n\r\n", "Transfer-Encoding: chunked"), {400}),
    "a chunk of 2^64 bytes": (post(b"1" + b"0" * 16 + b"\r\n{}\r\n", "Transfer-Encoding: chunked"), {400, 413}),
    "a chunk that is not there": (post(b"ff\r\n{}", "Transfer-Encoding: chunked"), {400, 408}),
    "chunks and a length": (post(chunks(GOOD, b""), "Transfer-Encoding: chunked", "Content-Length: 4"), {200, 400}),
    "expecting to be told to continue": (post(GOOD, "Expect: 100-continue"), {100}),
    "expecting something else": (post(GOOD, "Expect: the unexpected"), {417}),
    "expecting something else with much after it": (post(b"x" * 150_000, "Expect: x"), {417}),
    "a body for a health check": (
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde",
        {200},
    ),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_hostile_body_is_refused_by_a_client_error(server: RunningServer, what: str) -> None:
    raw, wanted = BODIES[what]
    check(server, send(server, raw), wanted)


@pytest.mark.parametrize("what", HTTP)
@pytest.mark.parametrize("end", [False, True], ids=["open", "half-closed"])
def test_hostile_http_is_answered_or_ended(server: RunningServer, what: str, *, end: bool) -> None:
    raw, wanted = HTTP[what]
    check(server, send(server, raw, end=end), wanted | ({ENDED} if end else set()))


def test_a_client_that_ends_without_a_word_is_let_go(server: RunningServer) -> None:
    check(server, send(server, b"", end=True), {ENDED})


def check(server: RunningServer, answer: bytes, wanted: set[int | None]) -> None:
    assert status(answer) in wanted, answer[:300]
    if (status(answer) or 0) >= 400:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"Content-Type: application/json\r\n" in head + b"\r\n"
        assert isinstance(json.loads(body)["error"], str)
    assert send(server, post(GOOD)).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("path", "body", "wanted"),
    [
        ("index", b"[" * 100_000, 400),
        ("index", b'{"a":' * 30_000, 400),
        ("index", b'{"ready": ' + b"9" * 10_000 + b"}", 400),
        ("index", b'{"ready": NaN}', 400),
        ("index", b"null", 400),
        ("index", b"\xff", 400),
        ("models/linear/load", b"[" * 100_000, 400),
        ("models/linear/load", b'{"parameters": {"file:../../x": "YQ=="}}', 403),
        ("models/linear/unload", b"[", 400),
        ("models/linear/unload", b'{"parameters": {"unload_dependents": true}}', 403),
    ],
)
def test_a_hostile_body_for_the_repository_is_refused(
    server: RunningServer, path: str, body: bytes, wanted: int
) -> None:
    check(server, send(server, post(body, path=b"/v2/repository/" + path.encode())), {wanted})


def test_the_repository_reads_what_is_compressed_and_no_bomb(server: RunningServer) -> None:
    index = b"/v2/repository/index"
    check(server, send(server, post(gzip.compress(b'{"ready": true}'), "Content-Encoding: gzip", path=index)), {200})
    check(server, send(server, post(gzip.compress(b" " * 10**7), "Content-Encoding: gzip", path=index)), {413})
    check(server, send(server, post(b"{}", "Content-Encoding: br", path=index)), {415})


@pytest.mark.parametrize("version", [b"x", b"1.x", b"\xb2", b"", b"\r\n 1.0.0", b"9" * 5000, b"-1"])
def test_metrics_are_told_whatever_is_accepted(server: RunningServer, version: bytes) -> None:
    for kind in (b"application/openmetrics-text", b"text/plain"):
        accept = b"Accept: " + kind + b"; version=" + version
        answer = send(server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + accept + b"\r\n\r\n")
        assert status(answer) == 200
        assert b"inference_requests_total" in answer


@pytest.mark.parametrize("path", [b"/healthz", b"/v2/models/linear", b"/nowhere", INFER])
def test_head_tells_the_length_of_what_get_gives(server: RunningServer, path: bytes) -> None:
    head, get = (send(server, method + b" " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n") for method in (b"HEAD", b"GET"))
    head, get = (re.sub(rb"\r\nDate: [^\r]*", b"", answer, count=1) for answer in (head, get))
    assert head == get.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"


def test_head_has_no_body_even_if_it_is_wrong(server: RunningServer) -> None:
    answer = send(server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n")
    assert status(answer) == 400
    assert answer.endswith(b"\r\n\r\n")


@pytest.mark.parametrize("threads", [1, 3])
def test_a_chunk_may_be_as_large_as_a_body(models: Path, threads: int) -> None:
    with running(models, max_body_bytes=5_000_000, threads=threads) as server:
        body = GOOD + b" " * 4_000_000
        raw = post(chunks(body, b""), "Transfer-Encoding: chunked")
        assert status(send(server.wait_until_live(), raw)) == 200


def test_a_client_that_sends_a_byte_at_a_time_holds_a_worker_no_longer_than_it_is_allowed(
    server: RunningServer,
) -> None:
    address = urlsplit(server.base_url)
    with socket.create_connection((address.hostname or "", address.port or 0), timeout=DEADLINE) as slow:
        slow.sendall(post(b"", length=500)[:-1])
        assert send(server, post(GOOD)).startswith(b"HTTP/1.1 200")
        assert slow.recv(100) == b""


@pytest.mark.parametrize(
    ("began", "goes_on", "answer"),
    [
        (b"POST " + INFER + b" HTTP/1.1\r\nX: ", b"a", b""),
        (post(b"", length=100_000), b" ", b"HTTP/1.1 408 "),
        (post(b"ffff\r\n", "Transfer-Encoding: chunked"), b" ", b"HTTP/1.1 400 "),
        (post(b"1;", "Transfer-Encoding: chunked"), b" ", b"HTTP/1.1 400 "),
    ],
    ids=["headers", "a body", "chunks", "an extension"],
)
def test_what_trickles_in_holds_a_worker_no_longer_than_it_is_allowed(
    models: Path, began: bytes, goes_on: bytes, answer: bytes
) -> None:
    """The client sends often enough for each of the worker's reads, and would for ever."""
    with running(models, workers=1, client_timeout_seconds=1, request_timeout_seconds=1.5) as server:
        address = urlsplit(server.wait_until_live().base_url)
        ended = threading.Event()
        with socket.create_connection((address.hostname or "", address.port or 0), timeout=DEADLINE) as slow:
            slow.sendall(began)

            def trickle() -> None:
                with suppress(OSError):
                    while not ended.wait(0.2):
                        slow.sendall(goes_on)

            trickling = threading.Thread(target=trickle)
            trickling.start()
            try:
                assert send(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 200")
                assert slow.recv(100).startswith(answer)
            finally:
                ended.set()
                trickling.join()


def test_memory_and_workers_are_the_same_after_hundreds_of_hostile_requests(server: RunningServer) -> None:
    """The mix is random, and the same in each run."""
    chance = random.Random(3)  # noqa: S311  (no secret is made)
    quick = [raw for raw, wanted in (*BODIES.values(), *HTTP.values()) if ENDED not in wanted]
    for raw in quick:
        send(server, raw)
    workers, before = server.workers(), private_memory(server)
    for _ in range(500):
        raw = chance.choice(quick)
        changed = chance.random() < 0.5
        if changed:
            raw = mutated(chance, raw, chance.choice(quick))
        answer = send(server, raw, end=changed)
        assert status(answer) != 500, raw[:300]
        assert not answer or status(answer), (raw[:300], answer[:300])
    assert server.workers() == workers
    assert private_memory(server) - before < 8_000_000
    assert not [record for record in server.records if record["level"] in {"ERROR", "CRITICAL"}]


PIECES = [
    b"\r\n",
    b"\n",
    b"\0",
    b" ",
    b":",
    b";",
    b"%",
    b"\xff",
    b"0\r\n\r\n",
    b"HTTP/1.0",
    b"-1",
    b"9" * 30,
    b"null",
    b"[",
    b'"parameters":{"binary_data_size":4}',
    b"\r\nTransfer-Encoding: chunked",
    b"\r\nContent-Encoding: gzip",
    b"\r\nContent-Length: 7",
    b"\r\nInference-Header-Content-Length: 0",
    b"\r\nExpect: 100-continue",
    b"\r\nAccept: application/openmetrics-text; version=x",
    b"\r\nAccept-Encoding: gzip;q=x",
    b"\r\ntraceparent: 00--",
    b"\r\nX-Request-Id: \xff\0",
]


def mutated(chance: random.Random, raw: bytes, other: bytes) -> bytes:
    """A request with something changed, left out, put in, repeated, or gone on with as another one."""
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(raw) + 1)
        to = min(len(raw), at + chance.choice([1, 2, 10, 100]))
        head_ends = raw.find(b"\r\n")
        match chance.randrange(6):
            case 0:
                raw = raw[:at] + chance.randbytes(1) + raw[at + 1 :]
            case 1:
                raw = raw[:at] + raw[to:]
            case 2:
                raw = raw[:at] + chance.choice(PIECES) + raw[at:]
            case 3:
                raw = raw[:to] + raw[at:to] + raw[to:]
            case 4:
                raw = raw[:at] + other[chance.randrange(len(other)) :]
            case 5 if head_ends >= 0:
                raw = raw[:head_ends] + chance.choice(PIECES) + raw[head_ends:]
    return raw or b"G"


def private_memory(server: RunningServer) -> int:
    """Of all workers, in bytes."""
    rollups = [Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in server.workers()]
    return sum(int(line.split()[1]) for lines in rollups for line in lines if line.startswith("Private_")) * 1024


def test_a_body_that_inflates_to_a_thousand_times_its_size_is_never_held_whole() -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError):
            inflate(bomb, "gzip", LIMIT)
        highest = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert highest < 10 * LIMIT
