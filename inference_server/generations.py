"""Which generation of the server serves, which comes up, which is on its way out. Pure.

A generation is one uWSGI with its models, loaded before its workers were forked. To serve other models is to start
another generation on the same socket and, once it is up, to stop the old one: no request is lost, and the models are
shared by the new workers as they were by the old. A generation that dies while it loads a model is started again
without that model; one whose libraries start threads before the fork, with those models loaded after it.

Knows no process and no file. Only the standard library, as the supervisor is kept small.
"""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

AFTER_FORK = "after_fork"
"""In a quarantine: load this version in each worker. Any other text is the reason not to load it at all."""


_OUT_OF_MEMORY = ", as the kernel does where memory is too little: raise the task's"


@dataclass(frozen=True, slots=True)
class Request:
    """A wish for other models, from a worker."""

    id: str
    action: Literal["load", "unload", "refresh"]
    model: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """What a generation left behind that ended before it served."""

    loading: str | None = None
    """The version, as `model/version`, that it was loading when it died."""
    threads: Sequence[str] = ()
    """Versions that started threads before the fork."""
    refused: str | None = None
    """Why it gave up: it could not serve what is served now, or would not be ready."""


@dataclass(frozen=True, slots=True)
class Start:
    number: int
    quarantine: dict[str, str]
    unloaded: tuple[str, ...] = ()
    """Models that are not to be loaded."""
    wanted: tuple[str, ...] = ()
    """Models that must be served by it; else it is not to serve at all."""


@dataclass(frozen=True, slots=True)
class Stop:
    """Let it finish its requests and end."""

    number: int


@dataclass(frozen=True, slots=True)
class Reply:
    """Tell the worker that asked. No error: it is done."""

    id: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Exit:
    """Nothing serves, and nothing will."""

    status: int


Action = Start | Stop | Reply | Exit


@dataclass(slots=True)
class Generations:
    serving: int | None = None
    starting: int | None = None
    stopping: set[int] = field(default_factory=set)
    _last: int = 0
    _unloaded: set[str] = field(default_factory=set)
    _quarantine: dict[str, str] = field(default_factory=dict)
    _attended: list[Request] = field(default_factory=list)
    """Requests that the starting generation answers."""
    _queued: list[Request] = field(default_factory=list)

    def start(self) -> list[Action]:
        self._last += 1
        self.starting = self._last
        wanted = sorted({request.model for request in self._attended if request.action == "load"})
        return [Start(self._last, dict(self._quarantine), tuple(sorted(self._to_leave_out())), tuple(wanted))]

    def _to_leave_out(self) -> set[str]:
        """What is unloaded once the attended requests are done, in their order."""
        unloaded = set(self._unloaded)
        for request in self._attended:
            if request.action == "unload":
                unloaded.add(request.model)
            elif request.action == "load":
                unloaded.discard(request.model)
        return unloaded

    def on_request(self, request: Request) -> list[Action]:
        """One change at a time: what is asked for while a generation starts waits for the next."""
        self._queued.append(request)
        return [] if self.starting is not None else self._next()

    def on_up(self, number: int) -> list[Action]:
        """A generation serves."""
        if number != self.starting:
            return []
        self._unloaded = self._to_leave_out()
        actions: list[Action] = []
        if self.serving is not None:
            self.stopping.add(self.serving)
            actions.append(Stop(self.serving))
        self.serving, self.starting = number, None
        return [*actions, *self._reply(None), *self._next()]

    def on_exit(self, number: int, status: int, trouble: Trouble) -> list[Action]:
        """A generation has ended with `status`: as an exit code, or minus the signal's number."""
        if number in self.stopping:
            self.stopping.discard(number)
            return []
        if number == self.serving:
            return [Exit(status)]
        self.starting = None
        if self._mend(status, trouble):
            return self.start()
        if self.serving is None:
            return [Exit(status)]
        return [*self._reply(trouble.refused or f"the server {describe(status)} while it started"), *self._next()]

    def _mend(self, status: int, trouble: Trouble) -> bool:
        """Put in quarantine what caused the trouble. False if there is nothing new to put there."""
        found = dict.fromkeys(trouble.threads, AFTER_FORK)
        if trouble.loading is not None:
            hint = _OUT_OF_MEMORY if status == -signal.SIGKILL else ""
            found[trouble.loading] = f"the server {describe(status)} while it loaded this version{hint}"
        new = {version: what for version, what in found.items() if self._quarantine.get(version) != what}
        self._quarantine |= new
        return bool(new)

    def _reply(self, error: str | None) -> list[Action]:
        replies: list[Action] = [Reply(request.id, error) for request in self._attended]
        self._attended = []
        return replies

    def _next(self) -> list[Action]:
        if not self._queued:
            return []
        self._attended, self._queued = self._queued, []
        # What failed once may have been mended since.
        self._quarantine = {}
        return self.start()


def describe(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with exit code {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"
