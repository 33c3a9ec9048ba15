"""Connections that hold a worker and never get to the end of their headers. Linux only.

uWSGI waits so long for each read, however little it brings: a few clients that send a byte now and then would hold all
workers for good, and the application, which is called once the headers are complete, would not know. So each worker
looks through its own connections, and ends those that have waited too long. Those that send nothing at all are not
seen by any worker: see `listen` in `supervisor.py`.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Collection, Iterator

from inference_server.logs import Logger

log = Logger("inference_server.loitering")

_EVERY_SECONDS = 1.0
_ESTABLISHED = 1
_DATA_SEGMENTS_OUT = 156
"""Offset in struct tcp_info of linux/tcp.h, whose first byte is the state."""


class Loiterers:
    def __init__(self, at_work: Collection[int], patience: float, clock: Callable[[], float]) -> None:
        """`at_work`: the connections whose headers have come, and which the application answers."""
        self._at_work = at_work
        self._patience = patience
        self._clock = clock
        self._since: dict[int, float] = {}
        """When each was first seen, by inode, as descriptors are used again."""

    def watch(self, port: int) -> None:
        """Look at the connections to this port, now and then. Called in a worker; starts a thread."""

        def run() -> None:
            while True:
                time.sleep(_EVERY_SECONDS)
                self.look(port)

        threading.Thread(target=run, name="loitering", daemon=True).start()

    def look(self, port: int) -> None:
        now = self._clock()
        seen: dict[int, float] = {}
        for inode, connection in _unanswered(port, self._at_work):
            with connection:
                seen[inode] = self._since.get(inode, now)
                if now - seen[inode] >= self._patience:
                    log.warning("headers did not arrive in time", seconds=self._patience)
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_RDWR)
        self._since = seen


def _unanswered(port: int, at_work: Collection[int]) -> Iterator[tuple[int, socket.socket]]:
    """Connections of this process to the port, on which nothing was sent yet: inodes, and duplicates to close."""
    for number in map(int, os.listdir("/proc/self/fd")):  # noqa: PTH208  (only names are wanted)
        if number in at_work:
            continue
        try:
            connection = _duplicate(number)
        except OSError:  # it is no socket, or is closed by now
            continue
        if _is_unanswered(connection, port):
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


def _is_unanswered(connection: socket.socket, port: int) -> bool:
    if connection.family != socket.AF_INET or connection.type != socket.SOCK_STREAM:
        return False
    with contextlib.suppress(OSError):
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _DATA_SEGMENTS_OUT + 4)
        (sent,) = struct.unpack_from("I", info, _DATA_SEGMENTS_OUT)
        return info[0] == _ESTABLISHED and not sent and connection.getsockname()[1] == port
    return False
