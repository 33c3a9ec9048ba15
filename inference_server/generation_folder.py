"""The folder by which a generation of the server and the supervisor tell each other things, a file for each.

Only the standard library, as the supervisor is kept small.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inference_server.generations import Request, Start, Trouble

_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class GenerationFolder:
    path: Path

    # --- From the supervisor -------------------------------------------------------------------------------------

    def write_orders(self, start: Start, before: dict[str, Any]) -> None:
        """What to load, and the result of the generation that serves now, which it is to replace.

        `due` is what it must serve to do so: what is served now, and what was asked for. `ready`: it must be.
        """
        self.path.mkdir()
        orders = {
            "quarantine": start.quarantine,
            "unloaded": list(start.unloaded),
            "due": sorted({*before.get("served", ()), *start.wanted} - {*start.unloaded}) if before else [],
            "ready": before.get("ready", False),
            "staged": before.get("staged", []),
        }
        write_document(self.path / "orders.json", orders)

    def trouble(self) -> Trouble:
        """What the generation wrote before it ended."""
        result = self.result()
        loading = self.path / "loading"
        return Trouble(
            loading.read_text() if loading.exists() else None,
            tuple(result.get("threads", ())),
            result.get("refused"),
        )

    @property
    def is_up(self) -> bool:
        return (self.path / "up").exists()

    # --- From the generation ---------------------------------------------------------------------------------------

    def orders(self) -> dict[str, Any]:
        return _read(self.path / "orders.json")

    def write_loading(self, version: str | None, slot: int | None = None) -> None:
        """Which version is being loaded: should the process die now, it is to blame. None: it is loaded.

        `slot` is the worker's, for versions that are loaded after the fork.
        """
        file = self._loading(slot)
        if version is None:
            file.unlink(missing_ok=True)
        else:
            file.write_text(version)

    def died_loading(self, slot: int) -> str | None:
        """The version that an earlier worker of this slot died of."""
        file = self._loading(slot)
        return file.read_text() if file.exists() else None

    def _loading(self, slot: int | None) -> Path:
        return self.path / ("loading" if slot is None else f"loading-{slot}")

    def write_result(self, **result: Any) -> None:
        """What came of the loading: served, ready, staged, threads, refused."""
        write_document(self.path / "result.json", result)

    def result(self) -> dict[str, Any]:
        return _read(self.path / "result.json")

    def mark_up(self) -> None:
        (self.path / "up").touch()


def ask_supervisor(
    requests: Path, supervisor: int, action: str, model: str, *, seconds: float, draining: Path, places: int
) -> str | None:
    """Ask for other models and wait until it is done. The error, if there was one.

    Raises TimeoutError if it takes longer than `seconds`; if the file `draining` says that the server is on its way
    out: nothing changes then, and who waits would be waited for; or at once, if all `places` to wait at are taken.
    """
    with _place(requests, places):
        return _ask(requests, supervisor, action, model, seconds, draining)


@contextmanager
def _place(folder: Path, places: int) -> Iterator[None]:
    """One of the places that the server's processes have together. Who ends, in whatever way, gives its own back."""
    with ExitStack() as stack:
        for number in range(places):
            file = stack.enter_context((folder / f"place-{number}").open("w"))
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield
            return
        raise TimeoutError("as many changes are waited for as can be; ask again when one of them is done")


def _ask(requests: Path, supervisor: int, action: str, model: str, seconds: float, draining: Path) -> str | None:
    number = os.urandom(16).hex()
    write_document(requests / f"{number}.request", {"id": number, "action": action, "model": model})
    os.kill(supervisor, signal.SIGHUP)
    answer = requests / f"{number}.reply"
    until = time.monotonic() + seconds
    while not answer.exists():
        if draining.exists():
            raise TimeoutError("the server is on its way out")
        if time.monotonic() > until:
            raise TimeoutError(f"the {action} is still under way; see the repository index")
        time.sleep(_POLL_SECONDS)
    error: str | None = _read(answer)["error"]
    answer.unlink()
    return error


def take_requests(requests: Path) -> list[Request]:
    """What was asked since the last look."""
    taken = []
    for file in sorted(requests.glob("*.request"), key=lambda path: path.stat().st_mtime_ns):
        document = _read(file)
        file.unlink()
        taken.append(Request(document["id"], document["action"], document["model"]))
    return taken


def write_reply(requests: Path, number: str, error: str | None) -> None:
    write_document(requests / f"{number}.reply", {"error": error})


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Whole or not at all, as the other side may look at any time."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(document))
    temporary.replace(path)


def _read(path: Path) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return document
