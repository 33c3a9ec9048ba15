"""PID 1 of the container: owns the listening socket, runs generations of uWSGI on it, drains, reaps, passes output on.

Started by `inference-server run`, which replaces itself with this module. It imports the standard library alone, so
that the process that lives longest is the smallest. When to do what is decided by `lifecycle.py` (the way down) and
`generations.py` (which uWSGI serves); here it is done. It must not know models or HTTP.
"""

from __future__ import annotations

import contextlib
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from inference_server.generation_folder import GenerationFolder, take_requests, write_reply
from inference_server.generations import Action, Exit, Generations, Reply, Start, Stop, Trouble, describe
from inference_server.lifecycle import Lifecycle, Order, Phase
from inference_server.uwsgi_output import OutputReader

SCRATCH_VARIABLE = "ECS_INFERENCE_SERVER_SCRATCH"
GENERATION_VARIABLE = "ECS_INFERENCE_SERVER_GENERATION"
LOG_VARIABLE = "ECS_INFERENCE_SERVER_LOG"
SUPERVISOR_VARIABLE = "ECS_INFERENCE_SERVER_SUPERVISOR"
LAUNCH_FILE = "launch.json"
INI_FILE = "uwsgi.ini"
DRAINING_FILE = "draining"
REQUESTS_FOLDER = "requests"

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LONGEST_MESSAGE = 3000
_SO_BINDTOIFINDEX = 62
_NO_INTERFACE = 2**31 - 1
_PR_SET_PDEATHSIG = 1
_TCP_INFO_UNACKED = 24
_IDLE_SECONDS = 3600
_TICK_SECONDS = 0.05
_PAUSE_SECONDS = 0.1
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def main(scratch: Path) -> int:
    launch = json.loads((scratch / LAUNCH_FILE).read_text())
    try:
        return Supervisor(scratch, launch).run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass(slots=True)
class Server:
    """One generation: its process, what it prints, and the folder that it shares with the supervisor."""

    process: subprocess.Popen[bytes]
    output: int
    folder: GenerationFolder
    reader: OutputReader = field(default_factory=OutputReader)
    terminate_at: float | None = None
    kill_at: float | None = None

    def stop(self, now: float, grace: float, *, threads: int) -> None:
        """Let the workers finish their requests and end.

        A worker that is told to end may just have accepted a connection that it has not looked at yet, and would drop
        it. So they are paused first, which they are only between two requests, and told to end a moment later. One that
        is not up has no requests, and does not know these signals yet.

        Workers of several threads are not paused: uWSGI 2.0 lets paused ones sleep on when they are told to end. No
        connection has been seen lost for it, in thousands of requests on each of a dozen ways down.
        """
        if not self.folder.is_up:
            self.kill()
            return
        if threads == 1:
            self.process.send_signal(signal.SIGTSTP)
        self.terminate_at = now + _PAUSE_SECONDS
        self.kill_at = now + grace

    def on_tick(self, now: float) -> bool:
        """Do what is due. True if it had to be killed."""
        if self.terminate_at is not None and now >= self.terminate_at:
            self.terminate_at = None
            self.process.send_signal(signal.SIGTERM)
        if self.kill_at is not None and now >= self.kill_at:
            self.kill_at = None
            self.kill()
            return True
        return False

    def kill(self) -> None:
        """Every process of it that is left."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)


class Supervisor:
    def __init__(self, scratch: Path, launch: dict[str, Any]) -> None:
        self._scratch = scratch
        self._launch = launch
        self._lifecycle = Lifecycle(launch["drain_seconds"], launch["grace_seconds"])
        self._generations = Generations()
        self._servers: dict[int, Server] = {}
        self._replies: list[Reply] = []
        # In the server's processes 1 is the pipe to this one; their own log lines go past it, to the real output.
        self._stdout = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)
        self._selector = selectors.DefaultSelector()
        self._exit: int | None = None
        self._socket: socket.socket

    def run(self) -> int:
        try:
            self._socket = listen(self._launch["host"], self._launch["port"], self._launch["backlog"])
        except OSError as error:
            where = f"{self._launch['host']}:{self._launch['port']}"
            self._log("CRITICAL", f"can't listen on {where}: {error.strerror}; see INFERENCE_HOST and INFERENCE_PORT")
            return 1
        host, port = self._socket.getsockname()
        self._log("INFO", "starting", host=host, port=port, workers=self._launch["workers"], pid=os.getpid())
        (self._scratch / REQUESTS_FOLDER).mkdir()
        signals = receive_signals(signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
        self._selector.register(signals, selectors.EVENT_READ)
        self._act(self._generations.start())
        while self._exit is None:
            self._selector.select(self._pause())
            self._step(take_signals(signals))
        for server in self._servers.values():
            self._pass_output_on(server)
        code = self._lifecycle.exit_code(self._exit)
        self._log("INFO" if code == 0 else "ERROR", "stopped", exit_code=code, server=describe(self._exit))
        return code

    def _pause(self) -> float | None:
        """Seconds until something may have to be done without a signal or output; None: there is nothing."""
        busy = self._lifecycle.phase is not Phase.SERVING
        waiting = self._generations.starting is not None or self._generations.stopping
        return _TICK_SECONDS if busy or waiting else None

    def _step(self, numbers: list[int]) -> None:
        now = time.monotonic()
        for number in numbers:
            if number in {signal.SIGTERM, signal.SIGINT}:
                self._log("INFO", "signal received", signal=signal.Signals(number).name)
                self._obey(self._lifecycle.on_signal(now, serving=self._generations.serving is not None))
            elif number == signal.SIGHUP and self._lifecycle.phase is Phase.SERVING:
                for request in take_requests(self._scratch / REQUESTS_FOLDER):
                    self._act(self._generations.on_request(request))
        for server in list(self._servers.values()):
            self._pass_output_on(server)
        self._reap()
        starting = self._generations.starting
        if starting is not None and starting in self._servers and self._servers[starting].folder.is_up:
            self._log("INFO", "serving", generation=starting)
            self._act(self._generations.on_up(starting))
        self._reply()
        for server in self._servers.values():
            if server.on_tick(now):
                self._log("ERROR", "the grace is over; killing what is left: raise INFERENCE_GRACE_SECONDS")
        self._obey(self._lifecycle.on_tick(now, waiting=waiting_connections(self._socket)))

    # --- Generations --------------------------------------------------------------------------------------------------

    def _act(self, actions: list[Action]) -> None:
        for action in actions:
            match action:
                case Start(number):
                    try:
                        self._start(action)
                    except OSError as error:  # a full disk, or no memory for another process
                        trouble = Trouble(refused=f"a server can't be started: {error.strerror}")
                        self._log("ERROR", "a server can't be started", generation=number, reason=error.strerror)
                        self._act(self._generations.on_exit(number, 1, trouble))
                case Stop(number):
                    self._servers[number].stop(
                        time.monotonic(), self._launch["grace_seconds"], threads=self._launch["threads"]
                    )
                case Reply(_, error):
                    if error is not None:
                        self._log("ERROR", "models can't be changed", reason=error)
                    self._replies.append(action)
                case Exit(status):
                    self._exit = status

    def _reply(self) -> None:
        """Tell those who wait for a change. Not before the old server has been told to end: who hears that it is done
        may ask at once, and must not be answered by what was."""
        if any(server.terminate_at is not None for server in self._servers.values()):
            return
        for reply in self._replies:
            with contextlib.suppress(OSError):  # a full disk: who waits for it will do so no longer
                write_reply(self._scratch / REQUESTS_FOLDER, reply.id, reply.error)
        self._replies.clear()

    def _start(self, start: Start) -> None:
        folder = GenerationFolder(self._scratch / f"generation-{start.number}")
        serving = self._servers.get(self._generations.serving or 0)
        folder.write_orders(start, serving.folder.result() if serving is not None else {})
        reading, writing = os.pipe()
        environment = {**os.environ, **dict.fromkeys(_ONE_THREAD, "1")}
        environment[SCRATCH_VARIABLE] = str(self._scratch)
        environment[GENERATION_VARIABLE] = str(folder.path)
        environment[LOG_VARIABLE] = str(self._stdout)
        environment[SUPERVISOR_VARIABLE] = str(os.getpid())
        listening = self._socket.fileno()
        program = "import pyuwsgi; pyuwsgi.run()"
        process = subprocess.Popen(
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
        self._selector.register(reading, selectors.EVENT_READ)
        self._servers[start.number] = Server(process, reading, folder)

    def _reap(self) -> None:
        """Collect every ended child: a generation, or an orphan, which the kernel gives to PID 1."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            for number, server in list(self._servers.items()):
                if server.process.pid == pid:
                    self._on_exit(number, server, os.waitstatus_to_exitcode(status))

    def _on_exit(self, number: int, server: Server, status: int) -> None:
        server.process.returncode = status
        server.kill()
        self._pass_output_on(server)
        self._selector.unregister(server.output)
        os.close(server.output)
        del self._servers[number]
        if self._lifecycle.phase is not Phase.SERVING:
            if not self._servers:
                self._exit = status
            return
        trouble = server.folder.trouble()
        if number not in self._generations.stopping:
            level = "WARNING" if trouble.threads or trouble.refused else "ERROR"
            self._log(level, f"the server {describe(status)}", generation=number, loading=trouble.loading)
        self._act(self._generations.on_exit(number, status, trouble))

    # --- The way down -------------------------------------------------------------------------------------------------

    def _obey(self, orders: list[Order]) -> None:
        for order in orders:
            match order:
                case Order.ANNOUNCE_DRAIN:
                    try:
                        (self._scratch / DRAINING_FILE).touch()
                    except OSError as error:  # a full disk
                        self._log("ERROR", "readiness can't tell of the drain", reason=error.strerror)
                    self._log("INFO", "draining", seconds=self._launch["drain_seconds"])
                case Order.REFUSE_CONNECTIONS:
                    self._log("INFO", "taking no more connections")
                    refuse_connections(self._socket)
                case Order.STOP_SERVER:
                    self._log("INFO", "workers finish their requests", seconds=self._launch["grace_seconds"])
                    for server in self._servers.values():
                        server.stop(time.monotonic(), self._launch["grace_seconds"], threads=self._launch["threads"])
                case Order.KILL_SERVER:
                    self._log("ERROR", "the grace is over; killing what is left: raise INFERENCE_GRACE_SECONDS")
                    for server in self._servers.values():
                        server.kill()

    # --- Output -------------------------------------------------------------------------------------------------------

    def _pass_output_on(self, server: Server) -> None:
        """What uWSGI, or a stray print, writes to its stdout and stderr becomes log lines."""
        while True:
            try:
                block = os.read(server.output, 65536)
            except BlockingIOError:
                return
            for level, message, fields in server.reader.feed(block):
                self._log(level, message[-_LONGEST_MESSAGE:], logger="uwsgi", **fields)
            if not block:
                return

    def _log(self, level: str, message: str, *, logger: str = "inference_server.supervisor", **fields: Any) -> None:
        if _LEVELS.index(level) < _LEVELS.index(self._launch["log_level"]):
            return
        now = time.time()
        ts = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
        told = {name: value for name, value in fields.items() if value is not None}
        record = {"ts": ts, "level": level, "logger": logger, "message": message, **told}
        os.write(self._stdout, json.dumps(record).encode() + b"\n")


def receive_signals(*numbers: signal.Signals) -> socket.socket:
    """A socket that becomes readable when one of the signals comes, or came while blocked, and tells which."""
    receiving, sending = socket.socketpair()
    receiving.setblocking(False)
    sending.setblocking(False)
    signal.set_wakeup_fd(sending.detach())
    for number in numbers:
        signal.signal(number, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    return receiving


def take_signals(receiving: socket.socket) -> list[int]:
    numbers: list[int] = []
    while True:
        try:
            numbers += receiving.recv(256)
        except BlockingIOError:
            return numbers


def listen(host: str, port: int, backlog: int) -> socket.socket:
    """A listening TCP socket whose connections show up only once their client has sent something.

    A worker that takes one before would wait with it. The kernel keeps as many as the backlog, and longer than load
    balancers keep a connection that is idle.
    """
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, _IDLE_SECONDS)
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


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
