"""Load, by `wrk` if it is there, else by this module run as a program of its own; the latter also tells how requests
fail. No connection is used twice, unless it is asked for.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import aiohttp

CONNECTIONS = 16
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0}


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds and counts. `failed`: connected, but not answered with 200. `refused`: no connection was made."""

    per_second: float
    p50: float
    p99: float
    answered: int
    failed: int
    refused: int = 0


def generator() -> str:
    return "wrk" if shutil.which("wrk") else "aiohttp"


def measure(url: str, body: bytes, seconds: float, *, keep_alive: bool = False) -> Load:
    if shutil.which("wrk"):
        return _wrk(url, body, seconds, keep_alive=keep_alive)
    return finish(start(url, body, seconds, keep_alive=keep_alive))


def start(url: str, body: bytes, seconds: float, *, keep_alive: bool = False) -> subprocess.Popen[str]:
    """Begin to load, in another process."""
    command = [sys.executable, "-m", "benchmarks.server.load", url, str(seconds)]
    process = subprocess.Popen(
        command + ["--keep-alive"] * keep_alive, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None  # noqa: S101  (a pipe was asked for)
    process.stdin.write(body.decode())
    process.stdin.close()
    process.stdin = None
    return process


def finish(process: subprocess.Popen[str]) -> Load:
    out, _ = process.communicate()
    return Load(**json.loads(out))


# --- wrk --------------------------------------------------------------------------------------------------------------


def _wrk(url: str, body: bytes, seconds: float, *, keep_alive: bool) -> Load:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(f'wrk.method = "POST"\nwrk.body = [==[{body.decode()}]==]\n')
        script.write('wrk.headers["Content-Type"] = "application/json"\n')
        script.write("" if keep_alive else 'wrk.headers["Connection"] = "close"\n')
        script.flush()
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{round(seconds)}s", "--latency", "-s", script.name, url]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    answered = int(_found(r"(\d+) requests in", text))
    errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
    other = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    failed = (sum(map(int, errors.groups())) if errors else 0) + (int(other[1]) if other else 0)
    p50, p99 = (_seconds(_found(rf"(?m)^\s*{part}%\s+(\S+)$", text)) for part in (50, 99))
    return Load(float(_found(r"Requests/sec:\s+(\S+)", text)), p50, p99, answered, failed)


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ValueError(f"wrk printed no {pattern!r}:\n{text}")
    return match[1]


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([\d.]+)(\w+)", text)
    return float(match[1]) * _UNITS[match[2]] if match else float("nan")  # "-nan%" if nothing was answered


# --- Its own ----------------------------------------------------------------------------------------------------------


async def _load(url: str, body: bytes, seconds: float, *, keep_alive: bool) -> Load:
    times: list[float] = []
    failures: list[str] = []
    refused = 0
    until = time.monotonic() + seconds

    async def one(session: aiohttp.ClientSession) -> None:
        nonlocal refused
        while time.monotonic() < until:
            began = time.monotonic()
            try:
                async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
                    await response.read()
                    if response.status != 200:  # noqa: PLR2004  (what a request is for)
                        failures.append(str(response.status))
                        continue
            except aiohttp.ClientConnectorError as error:
                if error.os_error.errno != errno.ECONNREFUSED:
                    failures.append(repr(error))
                    continue
                refused += 1
                await asyncio.sleep(0.05)
            except (aiohttp.ClientError, TimeoutError) as error:
                failures.append(repr(error))
            else:
                times.append(time.monotonic() - began)

    connector = aiohttp.TCPConnector(limit=CONNECTIONS, force_close=not keep_alive)
    limits = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(connector=connector, timeout=limits) as session:
        began = time.monotonic()
        await asyncio.gather(*(one(session) for _ in range(CONNECTIONS)))
        took = time.monotonic() - began
    for failure in failures[:5]:
        print("  failed:", failure, file=sys.stderr)
    times.sort()
    p50, p99 = (times[int(len(times) * part)] if times else float("nan") for part in (0.5, 0.99))
    return Load(len(times) / took, p50, p99, len(times), len(failures), refused)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--keep-alive", action="store_true")
    given = parser.parse_args()
    body = Path("/dev/stdin").read_bytes()
    print(json.dumps(asdict(asyncio.run(_load(given.url, body, given.seconds, keep_alive=given.keep_alive)))))


if __name__ == "__main__":
    main()
