"""Whether the server is too busy: how many connections wait for a worker, and how long this one has waited.

Both come from the kernel (TCP_INFO): of a listening socket, how many connections are waiting; of a connection, how long
ago its last bytes came. Asking costs a system call, so it is asked at most every few milliseconds; where it matters,
predictions take longer than that.
"""

from __future__ import annotations

import socket
import struct

from inference_server.protocol.errors import UnavailableError

_EVERY_SECONDS = 0.01
_UNACKED = 24
_LAST_DATA_RECEIVED = 52
"""Offsets in struct tcp_info of linux/tcp.h; the latter counts milliseconds."""


class Overload:
    def __init__(self, listening: socket.socket, max_waiting: int) -> None:
        self._listening = listening
        self._max_waiting = max_waiting
        self.next_check = float("-inf")
        """When `check` has something to do again."""

    def waiting(self) -> int:
        """Connections that are established and that no worker has taken yet."""
        return _tcp_info(self._listening, _UNACKED)

    def check(self, now: float, connection: int, patience: float) -> float:
        """Seconds that this request has waited; 0 if nobody waits.

        Raises UnavailableError if too many wait, or if this one has waited longer than `patience` already: its caller
        is gone, or will be before an answer comes.
        """
        self.next_check = now + _EVERY_SECONDS
        waiting = self.waiting()
        if waiting > self._max_waiting:
            raise UnavailableError(f"{waiting} requests wait for a worker; the limit is {self._max_waiting}")
        if not waiting:
            return 0.0
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, 0, connection) as borrowed:
            try:
                waited = _tcp_info(borrowed, _LAST_DATA_RECEIVED) / 1000
            finally:
                borrowed.detach()
        if waited > patience:
            raise UnavailableError(f"the request waited {waited:.1f} s for a worker, longer than its deadline allows")
        return waited


def _tcp_info(of: socket.socket, offset: int) -> int:
    (value,) = struct.unpack_from("I", of.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + 4), offset)
    return int(value)
