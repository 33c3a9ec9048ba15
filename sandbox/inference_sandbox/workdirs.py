"""Temporary folders of sandboxes, and the end of those that a killed one has left behind.

A folder is ours if it holds our marker, which its process keeps locked for as long as it lives: the lock tells the
truth also after a crash, and where process ids of other containers mean nothing. What is in a folder is not known here.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "inference-sandbox-"
MARKER = "sandbox.pid"


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A new one, removed at the end of the `with` block. First removes what killed sandboxes of this user have left."""
    remove_stale()
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        marker = folder / f"{MARKER}.new"
        with marker.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            marker.rename(folder / MARKER)  # under its name only once it is locked: nobody may take it for a dead one's
            yield folder


def remove_stale() -> list[Path]:
    """The folders that were removed: those of this user, with our marker, whose process has ended."""
    removed = []
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        marker = folder / MARKER
        try:
            if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
                continue
            with marker.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
                removed.append(folder)
        except OSError:  # no marker, or its process lives, or another one was faster to remove it
            continue
    return removed
