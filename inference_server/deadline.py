"""The deadline of a request whose model does not come back in time.

A worker answers one request at a time, and native code can't be interrupted. So a second thread watches: at the
deadline it writes the 504 to the client's connection itself, and the late prediction is thrown away when it comes. What
never comes is ended by the process manager's own, harder timeout, and of some requests a worker dies. So what each
thread is at is noted in memory that outlives it.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

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

_APART = 16  # numbers, which is a cache line: what workers note must not slow each other

Note: TypeAlias = "memoryview[int]"
"""For each thread of a worker: 0, or the number of the model that it has asked, below 0 if that was too late and the
caller has been answered."""


class Watch:
    """The request that one thread is answering. Whoever takes it off the list, this watch or that thread, answers it.

    To append to a list and to take from it is atomic, and cheaper than a lock. The lock is for the thread that comes
    too late: it must not close the connection while the watch is writing to it.
    """

    __slots__ = ("_note", "_numbers", "_place", "_writing", "asked")

    def __init__(self, note: Note, place: int, numbers: Mapping[Key, int]) -> None:
        self._note = note
        self._place = place
        """Of this thread's in the note."""
        self._numbers = numbers
        self.asked: list[Asked] = []
        self._writing = threading.Lock()

    def begin(self, deadline: float, connection: int, model: Key) -> None:
        """The model is about to be asked."""
        self._note[self._place] = self._numbers[model]
        self.asked.append((deadline, connection, model))

    def finish(self) -> bool:
        """The model is back. False if the request has been answered already."""
        try:
            self.asked.pop()
        except IndexError:
            with self._writing:
                self._note[self._place] = 0
            return False
        self._note[self._place] = 0
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
            _, descriptor, model = late
            self._note[self._place] = -self._numbers[model]
            with contextlib.suppress(OSError), socket.socket(fileno=os.dup(descriptor)) as connection:
                connection.settimeout(1)
                answer = error_answer(504, LATE)
                connection.sendall(head_of(answer) + answer.body)
                connection.shutdown(socket.SHUT_RDWR)
        log.error("a request passed its deadline", model=model[0])


class _Own:
    """What the one thread that asks models has."""

    def __init__(self, watches: list[Watch], note: Note, places: Iterator[int], numbers: Mapping[Key, int]) -> None:
        self.watch = Watch(note, next(places), numbers)
        watches.append(self.watch)


class _EachItsOwn(_Own, threading.local):
    """What the calling thread has for itself."""


class Watchdog:
    """Watches what the threads of one worker process are at, and notes it for the worker that takes its place."""

    def __init__(self, clock: Callable[[], float], models: Sequence[Key], workers: int, threads: int) -> None:
        """`threads`: how many of a worker's ask models."""
        self._clock = clock
        self._models = models
        self._threads = threads
        self._share = -(-threads // _APART) * _APART
        self._memory = memoryview(mmap.mmap(-1, workers * self._share * 4)).cast("i")
        """Shared by all processes that are forked from this one."""
        self.use_slot(0)

    def use_slot(self, slot: int) -> list[tuple[Key, bool]]:
        """Called in a worker, after the fork. What an earlier one was at when it died: models, and whether the caller
        has been answered nevertheless."""
        note = self._memory[slot * self._share :][: self._threads]
        left = [(self._models[abs(number) - 1], number < 0) for number in note if number]
        for place in range(self._threads):
            note[place] = 0
        self._watches: list[Watch] = []
        numbers = {model: number for number, model in enumerate(self._models, 1)}
        own = _Own if self._threads == 1 else _EachItsOwn
        self.own = own(self._watches, note, itertools.count(), numbers)
        """The calling thread's watch is in it."""
        return left

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
