"""PID 1 of the container: owns the listening socket, starts uWSGI, passes its output on as JSON, drains, reaps.

Started by `inference-server run`, which replaces itself with this module. It imports the standard library alone, so
that the process that lives longest is the smallest. It must not know models or HTTP.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import selectors
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from inference_server.lifecycle import Lifecycle, Order
from inference_server.uwsgi_output import OutputReader

SCRATCH_VARIABLE = "ECS_INFERENCE_SERVER_SCRATCH"
LOG_VARIABLE = "ECS_INFERENCE_SERVER_LOG"
LAUNCH_FILE = "launch.json"
INI_FILE = "uwsgi.ini"
DRAINING_FILE = "draining"

_SO_BINDTOIFINDEX = 62
_NO_INTERFACE = 2**31 - 1
_PR_SET_PDEATHSIG = 1
_TCP_INFO_UNACKED = 24
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def main(scratch: Path) -> int:
    launch = json.loads((scratch / LAUNCH_FILE).read_text())
    try:
        return Supervisor(scratch, launch).run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class Supervisor:
    def __init__(self, scratch: Path, launch: dict[str, Any]) -> None:
        self._scratch = scratch
        self._launch = launch
        self._lifecycle = Lifecycle(launch["drain_seconds"], launch["grace_seconds"])
        self._levels = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
        # In the server's processes 1 is the pipe to this one; their own log lines go past it, to the real output.
        self._stdout = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
        self._output = OutputReader()
        self._status: int | None = None
        self._socket: socket.socket
        self._server: subprocess.Popen[bytes]

    def run(self) -> int:
        try:
            self._socket = listen(self._launch["host"], self._launch["port"], self._launch["backlog"])
        except OSError as error:
            where = f"{self._launch['host']}:{self._launch['port']}"
            self._log("CRITICAL", f"can't listen on {where}: {error.strerror}; see INFERENCE_HOST and INFERENCE_PORT")
            return 1
        host, port = self._socket.getsockname()
        self._log("INFO", "starting", host=host, port=port, workers=self._launch["workers"], pid=os.getpid())
        # Signals wake the loop through this socket, and the loop looks at them one by one.
        waking, wakeup = socket.socketpair()
        wakeup.setblocking(False)
        waking.setblocking(False)
        signal.set_wakeup_fd(wakeup.fileno())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        self._start_server()
        return self._loop(waking)

    def _start_server(self) -> None:
        reading, writing = os.pipe()
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
        environment[SCRATCH_VARIABLE] = str(self._scratch)
        environment[LOG_VARIABLE] = str(self._stdout)
        listening = self._socket.fileno()
        program = "import pyuwsgi; pyuwsgi.run()"
        self._server = subprocess.Popen(
            [sys.executable, "-c", program, "--http-socket", f"fd://{listening}", "--ini", self._scratch / INI_FILE],
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            env=environment,
            pass_fds=(listening, self._stdout),
            start_new_session=True,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  (the supervisor has one thread)
        )
        os.close(writing)
        os.set_blocking(reading, False)
        self._pipe = reading

    def _loop(self, waking: socket.socket) -> int:
        with selectors.DefaultSelector() as selector:
            selector.register(waking, selectors.EVENT_READ)
            selector.register(self._pipe, selectors.EVENT_READ)
            while self._status is None:
                selector.select(self._lifecycle.tick_seconds)
                for number in _drain(waking):
                    if number != signal.SIGCHLD:
                        self._log("INFO", "signal received", signal=signal.Signals(number).name)
                        self._obey(self._lifecycle.on_signal(time.monotonic()))
                self._pass_output_on()
                self._reap()
                self._obey(self._lifecycle.on_tick(time.monotonic(), waiting=waiting_connections(self._socket)))
            self._pass_output_on()
        code = self._lifecycle.exit_code(self._status)
        self._log("INFO" if code == 0 else "ERROR", "stopped", exit_code=code, server_status=self._status)
        return code

    def _obey(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Order.ANNOUNCE_DRAIN:
                    (self._scratch / DRAINING_FILE).touch()
                    self._log("INFO", "draining", seconds=self._launch["drain_seconds"])
                case Order.REFUSE_CONNECTIONS:
                    self._log("INFO", "taking no more connections")
                    refuse_connections(self._socket)
                case Order.STOP_SERVER:
                    self._log("INFO", "workers finish their requests", seconds=self._launch["grace_seconds"])
                    self._server.send_signal(signal.SIGTERM)
                case Order.KILL_SERVER:
                    self._log("ERROR", "the grace is over; killing what is left: raise INFERENCE_GRACE_SECONDS")
                    os.killpg(self._server.pid, signal.SIGKILL)

    def _reap(self) -> None:
        """Collect every ended child: uWSGI, and orphans, which the kernel gives to PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._server.pid:
                self._status = os.waitstatus_to_exitcode(status)
                self._server.returncode = self._status

    def _pass_output_on(self) -> None:
        """What uWSGI, or a stray print, writes to its stdout and stderr becomes log lines."""
        while True:
            try:
                block = os.read(self._pipe, 65536)
            except BlockingIOError:
                return
            for level, message in self._output.feed(block):
                self._log(level, message, logger="uwsgi")
            if not block:
                return

    def _log(self, level: str, message: str, *, logger: str = "inference_server.supervisor", **fields: Any) -> None:
        if self._levels.index(level) < self._levels.index(self._launch["log_level"]):
            return
        now = time.time()
        ts = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        record = {"ts": ts, "level": level, "logger": logger, "message": message, **fields}
        os.write(self._stdout, json.dumps(record).encode() + b"\n")


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """A listening TCP socket whose connections show up only once their client has sent something."""
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)
    listening.bind((host, port))
    listening.listen(backlog)
    return listening


def refuse_connections(listening: socket.socket) -> None:
    """Let no new connection in, while handshakes under way and connections that wait go on.

    A closed listening socket resets those that wait. This one is bound to a network interface that does not exist
    instead: a new SYN finds no listener and is answered "connection refused", and what has come so far stays. It needs
    no privilege since Linux 5.7. A kernel that won't do it gets a queue of one, and that one may be reset at the end.
    """
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_BINDTOIFINDEX, _NO_INTERFACE)
    except OSError:
        listening.listen(0)


def waiting_connections(listening: socket.socket) -> int:
    """Connections that are established and that no worker has accepted yet (of a listening socket, TCP_INFO tells)."""
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    (unacked,) = struct.unpack_from("I", info, _TCP_INFO_UNACKED)
    return int(unacked)


def _die_with_parent() -> None:
    """In the child: be killed when the supervisor dies, so that no server stays behind without one."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _drain(waking: socket.socket) -> list[int]:
    """The numbers of the signals that came."""
    numbers: list[int] = []
    while True:
        try:
            numbers += waking.recv(256)
        except BlockingIOError:
            return numbers


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
