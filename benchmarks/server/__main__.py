"""How the inference server compares on this machine, each figure beside a baseline of the same run.

    python -m benchmarks.server [--rounds 5] [--seconds 3] [--with-kserve] [--with-mlserver]

Everything is on one machine, the load too, so ratios count and absolute figures do not; in a network of its own, if
that can be made. The others are installed into virtual environments of their own in the user's cache. Exits 0 whether
targets are met or not: a benchmark informs.

Alike for all: two worker processes, one thread in numerical libraries, a session of their own (among which Linux may
divide the CPU), the same model and request, the same load, measured in turn and in another order each round. Alike, but
not in favour of all: a connection is used for one request, as ours closes it. So who can keep connections is measured a
second time with them kept. What is not alike is what is compared: the bare callable trusts its request, counts nothing,
logs nothing and has no deadline; FastAPI's does the same work; KServe and MLServer check and count as they do.
"""

from __future__ import annotations

import argparse
import http.client
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psutil

from benchmarks.server import load, models, servers
from benchmarks.server.environments import CantBuildError
from benchmarks.server.load import Load
from benchmarks.server.servers import Server, Starter, running
from benchmarks.server.table import at_least, at_most, figure, heading, remark

MIB = 2**20
RATES = {"bare WSGI callable": 0.95, "FastAPI + uvicorn": 1.1, "KServe": 6.0, "MLServer": 10.0}
"""Requests per second of ours by theirs, at the least."""
START_TARGET = 1.5
DRAIN_SECONDS, GRACE_SECONDS = 2.0, 15.0
KILLS = 3
BATCHING_THREADS = 8
TURN_SECONDS = 1


def small_model(starters: list[Starter], repository: Path, rounds: int, seconds: float) -> None:
    heading(f"Small ONNX model, JSON, {load.CONNECTIONS} connections, each for one request; load by {load.generator()}")
    body = models.small_request()
    measured: dict[str, list[Load]] = {}
    costs: dict[str, list[float]] = {}
    for number in range(rounds):
        # Started anew each round, as one start of a server is some percent faster than another, by where its memory
        # happens to lie.
        with ExitStack() as stack:
            started = {start: stack.enter_context(running(start, repository)) for start in starters}
            answering = {start: server for start, server in started.items() if _answers(server, body)}
            starters = list(answering)
            turns = list(answering.values())
            for server in turns:
                load.measure(server.url(), body, TURN_SECONDS)  # which warms it up
            # In short turns, as the machine's speed changes within seconds, and in another order each round.
            for server in (turns[number % len(turns) :] + turns[: number % len(turns)]) * round(seconds / TURN_SECONDS):
                before = server.cpu_seconds()
                result = load.measure(server.url(), body, TURN_SECONDS)
                measured.setdefault(server.name, []).append(result)
                costs.setdefault(server.name, []).append((server.cpu_seconds() - before) / result.answered)
                if server.keeps_connections:
                    kept = load.measure(server.url(), body, TURN_SECONDS, keep_alive=True)
                    measured.setdefault(f"{server.name}, connections kept", []).append(kept)
    _print_rates(measured)
    for name, seconds_each in costs.items():
        figure(f"{name}: server's CPU a request, µs", statistics.median(seconds_each) * 1e6)


def _answers(server: Server, body: bytes) -> bool:
    try:
        server.first_answer(body)
    except (RuntimeError, TimeoutError) as error:
        remark(f"left out: {error}")
        return False
    return True


def _print_rates(measured: dict[str, list[Load]]) -> None:
    ours = measured["ours"]
    for name, loads in measured.items():
        median = _median_load(loads)
        failed = sum(one.failed for one in loads)
        remark(
            f"{name:32} {median.per_second:8.0f} requests/s   p50 {median.p50 * 1e3:7.2f} ms   "
            f"p99 {median.p99 * 1e3:7.2f} ms   failed {failed}"
        )
    for name, loads in measured.items():
        if name != "ours":
            target = RATES.get(name)
            pairs = list(zip(ours, loads, strict=False))  # one may have failed to start later
            rates = [mine.per_second / other.per_second for mine, other in pairs]
            spread = f"turns {min(rates):.2f} to {max(rates):.2f}"
            figure(f"requests/s, ours / {name}", statistics.median(rates), at_least(target) if target else None, spread)
            tails = statistics.median(mine.p99 / other.p99 for mine, other in pairs)
            figure(f"p99, ours / {name}", tails, at_most(1) if target else None)


def _median_load(loads: list[Load]) -> Load:
    rate, p50, p99 = (
        statistics.median(values) for values in zip(*((x.per_second, x.p50, x.p99) for x in loads), strict=True)
    )
    return Load(rate, p50, p99, 0, 0)


def memory(large: Path, tiny: Path, *, with_kserve: bool) -> None:
    size = models.top_n_bytes(large)
    heading(f"Top-N model of {size / 1e6:.0f} MB, two workers: proportional memory after some load")
    ours, bare, worker = (
        _memory(start, repository)
        for start, repository in ((servers.ours, large), (servers.bare, large), (servers.bare_worker, tiny))
    )
    for name, value in (("ours", ours), ("bare WSGI callable", bare), ("one bare worker, no model", worker)):
        figure(f"{name}, MiB", value / MIB)
    figure("ours / (model + 2 bare workers)", ours / (size + 2 * worker), at_most(1.25))
    if with_kserve:
        try:
            kserve = _memory(servers.kserve, large)
        except (RuntimeError, TimeoutError) as error:
            remark(f"left out: {error}")
            return
        figure("KServe, MiB", kserve / MIB)
        figure("ours / KServe", ours / kserve, at_most(0.5))


def _memory(start: Starter, repository: Path) -> int:
    body = models.top_n_request()
    with running(start, repository) as server:
        server.first_answer(body)
        load.measure(server.url(), body, 2)
        return server.memory()


def start_up(starters: list[Starter], repository: Path) -> None:
    heading("Start to the first answer, seconds (median of 3)")
    body = models.small_request()
    for start in starters:
        try:
            name, seconds = _start_seconds(start, repository, body)
        except (RuntimeError, TimeoutError) as error:
            remark(f"left out: {error}")
            continue
        figure(name, seconds, at_most(START_TARGET) if start is servers.ours else None)


def _start_seconds(start: Starter, repository: Path, body: bytes) -> tuple[str, float]:
    """The server's name, and the median of three starts."""
    name, times = "", []
    for _ in range(3):
        with running(start, repository) as server:
            name = server.name
            times.append(server.first_answer(body))
    return name, statistics.median(times)


def batching(alone: Path, together: Path, rounds: int, seconds: float) -> None:
    size = models.weights(alone) / 1e6
    heading(f"ONNX model of {size:.0f} million weights, rows in JSON, {load.CONNECTIONS} connections: micro-batching")
    body = models.small_request()
    batched = partial(servers.ours, threads=BATCHING_THREADS)
    measured: tuple[list[Load], list[Load]] = ([], [])
    with running(servers.ours, alone) as without, running(batched, together) as with_it:
        for _ in range(rounds):
            for server, loads in zip((without, with_it), measured, strict=True):
                server.first_answer(body)
                loads.append(load.measure(server.url(), body, seconds))
    for what, loads in zip(("without", "with it"), measured, strict=True):
        median = _median_load(loads)
        remark(f"{what:32} {median.per_second:8.0f} requests/s   p99 {median.p99 * 1e3:7.2f} ms")
    pairs = list(zip(*measured, strict=True))
    figure("requests/s, with / without", statistics.median(two.per_second / one.per_second for one, two in pairs))
    figure("p99, with / without", statistics.median(two.p99 / one.p99 for one, two in pairs))


def tensors(repository: Path) -> None:
    heading(f"{models.FLOATS} floats in and out, our server, one connection (median of 15)")
    as_json, (as_binary, length) = models.echo_json(), models.echo_binary()
    with running(servers.ours, repository) as server:
        server.first_answer(models.small_request())
        slow = _median_time(lambda: _post(server, as_json, {"Content-Type": "application/json"}))
        fast = _median_time(lambda: _post(server, as_binary, {"Inference-Header-Content-Length": str(length)}))
    figure("JSON, ms", slow * 1e3, note=f"{len(as_json) / 1e6:.1f} MB in")
    figure("binary, ms", fast * 1e3, note=f"{len(as_binary) / 1e6:.1f} MB in")
    figure("binary / JSON", fast / slow, at_most(0.1))


def _post(server: Server, body: bytes, headers: dict[str, str]) -> None:
    """Until the last byte of the answer: what the client does with it is not the server's time."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", "/v2/models/echo/infer", body, headers)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"the server answered {answer.status}")


def _median_time(action: Callable[[], None]) -> float:
    times = []
    for _ in range(15):
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def stopping(repository: Path) -> None:
    """A connection that is refused is no failed request: there is no server any more, and the caller can tell."""
    heading(f"SIGTERM under load of {load.CONNECTIONS} connections")
    for drain in (DRAIN_SECONDS, 0):
        start = partial(servers.ours, drain_seconds=drain, grace_seconds=GRACE_SECONDS)
        with running(start, repository) as server:
            server.first_answer(models.small_request())
            loading = load.start(server.url(), models.small_request(), drain + 5)
            time.sleep(2)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(drain + GRACE_SECONDS + 10)
            took = time.monotonic() - began
            result = load.finish(loading)
        what = f"INFERENCE_DRAIN_SECONDS={drain:g}: "
        figure(f"{what}failed requests", result.failed, at_most(0), f"of {result.answered + result.failed}")
        figure(f"{what}exit code", code, at_most(0))
        figure(f"{what}seconds to exit", took, at_most(drain + GRACE_SECONDS))


def killing(repository: Path) -> None:
    heading(f"A worker is killed under load of {load.CONNECTIONS} connections ({KILLS} times)")
    with running(servers.ours, repository) as server:
        server.first_answer(models.small_request())
        loading = load.start(server.url(), models.small_request(), KILLS + 3)
        time.sleep(1.5)
        for _ in range(KILLS):
            victim: psutil.Process = server.workers()[0]
            victim.kill()
            time.sleep(1)
        result = load.finish(loading)
    figure(
        "failed requests a kill",
        (result.failed + result.refused) / KILLS,
        at_most(1),
        f"of {result.answered + result.failed}",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often the servers are started anew")
    parser.add_argument(
        "--seconds", type=float, default=3, help="for how long each is measured then, in turns of a second"
    )
    parser.add_argument("--with-kserve", action="store_true", help="install KServe's server, and measure it too")
    parser.add_argument("--with-mlserver", action="store_true", help="the same with MLServer")
    parser.add_argument("--here", action="store_true", help="in the machine's network, not in one of its own")
    given = parser.parse_args()
    wanted = [servers.fastapi, *[servers.kserve] * given.with_kserve, *[servers.mlserver] * given.with_mlserver]
    starters: list[Starter] = [servers.ours, servers.bare, *filter(_can_be_built, wanted)]
    if not given.here:  # what has to be fetched is there by now
        again = [sys.executable, "-m", "benchmarks.server", *sys.argv[1:], "--here"]
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.server.own_network", *again])  # noqa: S606
    cores, busy = os.cpu_count(), os.getloadavg()[0]
    remark(f"{cores} cores, load average {busy:.1f} at the start, {given.rounds} rounds of {given.seconds:g} s")
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        repositories = [Path(folder, name) for name in ("small", "large", "tiny", "alone", "together")]
        small, large, tiny, alone, together = repositories
        for repository in repositories:
            repository.mkdir()
        models.write_models(small)
        models.write_top_n(large)
        models.write_top_n(tiny, users=100, items=100)
        models.write_wide(alone)
        models.write_wide(together, batch=models.BATCH)
        small_model(starters, small, given.rounds, given.seconds)
        memory(large, tiny, with_kserve=servers.kserve in starters)
        start_up(starters, small)
        tensors(small)
        batching(alone, together, given.rounds, given.seconds)
        stopping(small)
        killing(small)
    return 0


def _can_be_built(start: Starter) -> bool:
    try:
        servers.environment_of(start)
    except CantBuildError as error:
        remark(f"left out: {error}")
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
