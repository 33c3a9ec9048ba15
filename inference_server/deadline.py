"""The deadline of a request whose model does not come back in time.

A worker answers one request at a time, and native code can't be interrupted. So a second thread watches: at the
deadline it writes the 504 to the client's connection itself, and the late prediction is thrown away when it comes. What
never comes is ended by the process manager's own, harder timeout: so that it is counted, the counters are told before.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

from inference_server.http import error_answer
from inference_server.logs import Logger
from inference_server.metrics.store import Key
from inference_server.sending import head_of

log = Logger("inference_server.deadline")

PATIENCE = 0.05
"""How often the watch looks, in seconds; a 504 is at most this late."""

LATE = "the model did not answer in time"


Asked = tuple[float, int, Key]
"""Deadline, connection and model of a request."""

CountLate = Callable[[Key, int], None]
"""Told 1 when a request to a model has been answered for its worker, and -1 when the worker is back."""


def _count_nothing(model: Key, change: int) -> None:
    del model, change


class Watch:
    """The request that one thread is answering. Whoever takes it off the list, this watch or that thread, answers it.

    To append to a list and to take from it is atomic, and cheaper than a lock. The lock is for the thread that comes
    too late: it must not close the connection while the watch is writing to it.
    """

    __slots__ = ("_answered", "_count", "_writing", "asked")

    def __init__(self, count: CountLate = _count_nothing) -> None:
        self._count = count
        self._answered: Key = ("", "")
        """The model that was late last."""
        self.asked: list[Asked] = []
        """Where the thread puts a request before it asks the model."""
        self._writing = threading.Lock()

    def finish(self) -> bool:
        """The model is back. False if the request has been answered already."""
        try:
            self.asked.pop()
        except IndexError:
            with self._writing:
                self._count(self._answered, -1)
            return False
        return True

    def look(self, now: float) -> None:
        """Send the 504 if it is time. The connection stays the worker's to close."""
        late = next((asked for asked in self.asked if now >= asked[0]), None)
        if late is None:
            return
        with self._writing:
            try:
                self.asked.remove(late)
            except ValueError:  # the model has come back in this moment
                return
            _, descriptor, self._answered = late
            self._count(self._answered, 1)
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
                connection.settimeout(1)
                answer = error_answer(504, LATE)
                connection.sendall(head_of(answer) + answer.body)
                connection.shutdown(socket.SHUT_RDWR)
        log.error("a request passed its deadline", model=self._answered[0])


class _Own:
    """What the one thread that asks models has."""

    def __init__(self, watches: list[Watch], count: CountLate) -> None:
        self.watch = Watch(count)
        watches.append(self.watch)


class _EachItsOwn(_Own, threading.local):
    """What the calling thread has for itself."""


class Watchdog:
    """Watches what the threads of one worker process are at."""

    def __init__(self, clock: Callable[[], float], threads: int, count: CountLate = _count_nothing) -> None:
        """`threads`: how many of a worker's ask models."""
        self._clock = clock
        self._watches: list[Watch] = []
        self.own = (_Own if threads == 1 else _EachItsOwn)(self._watches, count)
        """The calling thread's watch is in it."""

    def start(self) -> None:
        """Called in a worker, after the fork: a thread from before it would not exist here."""
        threading.Thread(target=self._run, name="watchdog", daemon=True).start()

    def look(self) -> None:
        now = self._clock()
        for watch in list(self._watches):
            watch.look(now)

    def _run(self) -> None:
        while True:
            time.sleep(PATIENCE)
            self.look()
