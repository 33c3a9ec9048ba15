"""Which sandboxes of this user are up, by name: a lock that each holds while it lives, and a file with its details.

The lock tells the truth, also after a crash; the file is believed only while the lock is held. What a sandbox is made
of is not known here.
"""

from __future__ import annotations

import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import platformdirs

from inference_sandbox.details import Details

_CLAIM_SECONDS = 0.5
"""Somebody who only looks whether a lock is held holds it for a moment himself."""


class AlreadyUpError(Exception):
    """A sandbox of this name is up."""


class NotUpError(Exception):
    """No sandbox of this name is up, or it is not ready yet."""


@contextmanager
def claim(name: str) -> Iterator[Callable[[Details], None]]:
    """Be the sandbox of this name within the `with` block, which is given how to announce that it is ready."""
    _folder().mkdir(mode=0o700, parents=True, exist_ok=True)
    with _lock(name).open("a+") as lock:
        if not _take(lock):
            lock.seek(0)
            raise AlreadyUpError(
                f"sandbox {name!r} is up already (process {lock.read().strip()}). Use it, end it with "
                f"`inference-sandbox down --name {name}`, or choose another --name."
            )
        state = _state(name)
        state.unlink(missing_ok=True)  # Of one that was killed.
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        try:
            yield lambda details: _write(state, details)
        finally:
            state.unlink(missing_ok=True)


def find(name: str) -> Details:
    _pid_of(name)
    try:
        content = json.loads(_state(name).read_text())
    except FileNotFoundError:
        raise _starting(name) from None
    return Details(**content)


def end(name: str, *, within_seconds: float) -> None:
    """Tell it to stop, and return when its process has ended. TimeoutError if it has not by then."""
    try:
        process = os.pidfd_open(_pid_of(name))
    except ProcessLookupError:
        raise _not_up(name) from None
    try:
        _pid_of(name)  # Still held, so the descriptor is of the holder, not of a later process with the same id.
        signal.pidfd_send_signal(process, signal.SIGTERM)
        ended, _, _ = select.select([process], [], [], within_seconds)
    finally:
        os.close(process)
    if not ended:
        raise TimeoutError(f"sandbox {name!r} has not ended within {within_seconds:.0f} s")


def _pid_of(name: str) -> int:
    try:
        with _lock(name).open() as lock:
            if _try_to_take(lock):
                raise _not_up(name)
            pid = lock.read()
    except FileNotFoundError:
        raise _not_up(name) from None
    if not pid:
        raise _starting(name)
    return int(pid)


def _not_up(name: str) -> NotUpError:
    return NotUpError(f"no sandbox {name!r} is up: start one with `inference-sandbox up --name {name}`")


def _starting(name: str) -> NotUpError:
    return NotUpError(f"sandbox {name!r} is not ready yet: try again in a moment")


def _take(lock: IO[str]) -> bool:
    deadline = time.monotonic() + _CLAIM_SECONDS
    while not (taken := _try_to_take(lock)) and time.monotonic() < deadline:
        time.sleep(0.02)
    return taken


def _try_to_take(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write(path: Path, details: Details) -> None:
    temporary = path.with_suffix(".new")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(details.as_json()))
    temporary.rename(path)


def _folder() -> Path:
    return platformdirs.user_cache_path("ecs-inference") / "sandboxes"


def _lock(name: str) -> Path:
    return _folder() / f"{name}.lock"


def _state(name: str) -> Path:
    return _folder() / f"{name}.json"
