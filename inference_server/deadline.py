"""The deadline of a request whose body, or whose model, does not come in time.

A worker answers one request at a time, and neither native code nor a read can be interrupted. So a second thread
watches: at the deadline it writes the error to the client's connection itself, and what comes late is thrown away. What
never comes is ended by the process manager's own, harder timeout.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

from inference_server.logs import Logger

log = Logger("inference_server.deadline")

PATIENCE = 0.05
"""How often the watch looks, in seconds; an error is at most this late."""

Asked = tuple[float, int, bytes]
"""Deadline and connection of a request, and the answer to write to it then."""


class Watch:
    """The request that one thread is answering. Whoever takes it off the list, this watch or that thread, answers it.

    To append to a list and to take from it is atomic, and cheaper than a lock. The lock is for the thread that comes
    too late: it must not close the connection while the watch is writing to it.
    """

    __slots__ = ("_asked", "_writing")

    def __init__(self) -> None:
        self._asked: list[Asked] = []
        self._writing = threading.Lock()

    def begin(self, connection: int, deadline: float, answer: bytes) -> None:
        self._asked.append((deadline, connection, answer))

    def finish(self) -> bool:
        """What was waited for is there. False if the request has been answered already."""
        try:
            self._asked.pop()
        except IndexError:
            with self._writing:
                return False
        return True

    def look(self, now: float) -> None:
        """Send the error if it is time. The connection stays the worker's to close."""
        late = next((asked for asked in self._asked if now >= asked[0]), None)
        if late is None:
            return
        with self._writing:
            try:
                self._asked.remove(late)
            except ValueError:  # it has come in this moment
                return
            _, descriptor, answer = late
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
                connection.settimeout(1)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_RDWR)
        log.warning("a request passed its deadline", answered=answer.split(b"\r\n", 1)[0].decode())


class Watchdog:
    """Watches what the threads of one worker process are at."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._watches: dict[int, Watch] = {}

    def start(self) -> None:
        """Called in a worker, after the fork: a thread from before it would not exist here."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def mine(self) -> Watch:
        """The calling thread's watch."""
        thread = threading.get_ident()
        watch = self._watches.get(thread)
        if watch is None:
            watch = self._watches[thread] = Watch()
        return watch

    def look(self) -> None:
        now = self._clock()
        for watch in list(self._watches.values()):
            watch.look(now)

    def _run(self) -> None:
        while True:
            time.sleep(PATIENCE)
            self.look()
