"""Connections that hold a worker and never get to the end of their request. Linux only.

uWSGI has a limit for each read, however little it brings: a few clients that send a byte now and then would hold all
workers for good, and of headers the application would not even know. So each worker looks through its own connections,
and ends the reading of those that are too old: with half the headers uWSGI closes the connection, with half a body the
application answers 408, and to a request that has been read it makes no difference. Connections on which nothing is
sent are not seen by any worker: see `listen` in `supervisor.py`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator

_EVERY_SECONDS = 1.0


class Loiterers:
    def __init__(self, port: int, patience: float, clock: Callable[[], float]) -> None:
        """Connections to `port` have `patience` seconds for their requests."""
        self._port = port
        self._patience = patience
        self._clock = clock
        self._since: dict[int, float] = {}
        """When each was first seen, by inode, as descriptors are used again."""

    def watch(self) -> None:
        """Look now and then. Called in a worker; starts a thread."""

        def run() -> None:
            while True:
                time.sleep(_EVERY_SECONDS)
                self.look()

        threading.Thread(target=run, name="loiterers", daemon=True).start()

    def look(self) -> None:
        now = self._clock()
        seen: dict[int, float] = {}
        for inode, connection in _connections(self._port):
            with connection:
                seen[inode] = self._since.get(inode, now)
                if now - seen[inode] >= self._patience:
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RD)
        self._since = seen


def _connections(port: int) -> Iterator[tuple[int, socket.socket]]:
    """Those of this process to the port: inodes, and duplicates to close."""
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208  (only names are wanted)
        try:
            connection = _duplicate(number)
        except OSError:  # it is no socket, or is closed by now
            continue
        if connection.family == socket.AF_INET and connection.getsockname()[1] == port and _has_peer(connection):
            yield os.fstat(connection.fileno()).st_ino, connection
        else:
            connection.close()


def _duplicate(number: int) -> socket.socket:
    duplicate = os.dup(number)
    try:
        return socket.socket(fileno=duplicate)
    except OSError:
        os.close(duplicate)
        raise


def _has_peer(connection: socket.socket) -> bool:
    """The listening socket has none, and must not be shut down."""
    try:
        connection.getpeername()
    except OSError:
        return False
    return True
