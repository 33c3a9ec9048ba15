"""One local process group under an event loop: started, read from, signalled, reaped.

Its duty ends with the process: it knows no task, no container and no image. Linux only (a pidfd tells of the end).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

_CHUNK = 65_536
_LAST_READS = 32
"""What a pipe can hold after the end, and a bound on what a process that left the group may still write."""


class Child:
    """A process in a session of its own, until its end.

    `on_output` gets ("stdout" or "stderr", bytes) as they come; without it both go to `output`, or nowhere.
    `announce` is told the process group's number with True when it begins and False when all of it is gone.
    Raises OSError if the program can't be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        announce: Callable[[int, bool], None],
        on_output: Callable[[str, bytes], None] | None = None,
        output: IO[bytes] | None = None,
        groups: Sequence[int] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._announce = announce
        stream = subprocess.PIPE if on_output else (output or subprocess.DEVNULL)
        self._process = subprocess.Popen(
            list(argv),
            env=dict(environment),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            bufsize=0,
            start_new_session=True,
            extra_groups=list(groups) if groups and os.geteuid() == 0 else None,
        )
        self.pid = self._process.pid
        announce(self.pid, True)
        self._exited: asyncio.Future[int] = self._loop.create_future()
        self._pipes: dict[str, IO[bytes]] = {}
        if on_output:
            self._read("stdout", self._process.stdout, on_output)
            self._read("stderr", self._process.stderr, on_output)
        self._pidfd = os.pidfd_open(self.pid)
        self._loop.add_reader(self._pidfd, self._ended, on_output)

    async def wait(self) -> int:
        """The exit code as a container reports it: 128 and the signal's number if a signal ended it."""
        return await asyncio.shield(self._exited)

    def signal(self, number: signal.Signals) -> None:
        """Signal the first process, as `docker stop` does."""
        if not self._exited.done():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, number)

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        if not self._exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def _read(self, name: str, pipe: IO[bytes] | None, on_output: Callable[[str, bytes], None]) -> None:
        if pipe is None:
            raise RuntimeError(f"{name} was asked for as a pipe")
        os.set_blocking(pipe.fileno(), False)
        self._pipes[name] = pipe
        self._loop.add_reader(pipe.fileno(), self._readable, name, on_output)

    def _readable(self, name: str, on_output: Callable[[str, bytes], None]) -> bool:
        """Read once; whether there may be more."""
        pipe = self._pipes.get(name)
        if pipe is None:
            return False
        try:
            data = os.read(pipe.fileno(), _CHUNK)
        except BlockingIOError:
            return False
        if data:
            on_output(name, data)
            return True
        self._close_pipe(name)
        return False

    def _close_pipe(self, name: str) -> None:
        pipe = self._pipes.pop(name)
        self._loop.remove_reader(pipe.fileno())
        pipe.close()

    def _ended(self, on_output: Callable[[str, bytes], None] | None) -> None:
        self._loop.remove_reader(self._pidfd)
        # A container's end is the end of all of its processes. The dead leader, not yet reaped, still holds the group's
        # number, so no other group can be meant.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        code = self._process.wait()
        os.close(self._pidfd)
        self._announce(self.pid, False)
        for name in list(self._pipes):
            for _ in range(_LAST_READS):
                if not on_output or not self._readable(name, on_output):
                    break
            if name in self._pipes:
                self._close_pipe(name)
        self._exited.set_result(code if code >= 0 else 128 - code)
