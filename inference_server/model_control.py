"""Changing models while the server runs: on request, or when the repository changes. Off unless allowed.

A worker can't change what was loaded before it was forked, so it asks the supervisor for another generation of the
server, which takes over once it has loaded everything. It is refused if a model that is served now would be lost, or if
the server is ready and would no longer be: somebody else's half a model must not take the whole fleet out of service.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Literal

from inference_server.catalog import Catalog
from inference_server.logs import Logger
from inference_server.protocol.errors import ForbiddenError, InvalidRequestError, UnavailableError, UnknownNameError
from inference_server.repository.scan import FoundVersion, Problem, Scan, scan

log = Logger("inference_server.model_control")

Ask = Callable[[str, str], str | None]
"""Ask the supervisor: action and model in; what was wrong, or None, out. Raises TimeoutError that says why it waits no
longer."""


class ModelControl:
    def __init__(self, mode: Literal["none", "explicit", "poll"], root: Path, catalog: Catalog, ask: Ask) -> None:
        self._mode = mode
        self._root = root
        self._catalog = catalog
        self._ask = ask

    def load(self, name: str, body: Mapping[str, Any]) -> None:
        """Load what the repository now has of a model. Raises RequestError."""
        self._check_allowed()
        parameters = body.get("parameters")
        if parameters is None:
            parameters = {}
        if not isinstance(parameters, dict):
            raise InvalidRequestError("'parameters' must be an object")
        for parameter in parameters:
            if parameter == "config" or parameter.startswith("file:"):
                raise InvalidRequestError(f"parameter '{parameter}' is refused: models come from the repository alone")
        found = scan(self._root)
        for problem in found.problems:
            if problem.model == name:
                raise InvalidRequestError(f"model '{name}' can't be loaded: {problem.reason}")
        if name not in {version.model for version in found.versions}:
            raise UnknownNameError(f"model '{name}' is not in the repository")
        self._change("load", name)

    def unload(self, name: str) -> None:
        self._check_allowed()
        if name not in self._catalog.names():
            raise UnknownNameError(f"model '{name}' is not loaded")
        self._change("unload", name)

    def _check_allowed(self) -> None:
        if self._mode != "explicit":
            raise ForbiddenError("models can't be changed over HTTP here; INFERENCE_MODEL_CONTROL=explicit allows it")

    def _change(self, action: str, name: str) -> None:
        try:
            error = self._ask(action, name)
        except TimeoutError as error:
            raise UnavailableError(f"model '{name}': {error}") from None
        except OSError as error:
            raise UnavailableError(f"model '{name}': the {action} can't be asked for: {error.strerror}") from None
        if error is not None:
            raise InvalidRequestError(f"model '{name}': the {action} failed: {error}")


def what_is_lost(due: Collection[str], problems: Collection[Problem], *, ready: bool) -> str | None:
    """Why a generation that must serve these models, and be `ready` if the one before it is, is not to serve."""
    for problem in problems:
        if problem.model in due or not problem.model or (ready and problem.required):
            version = f" version {problem.version}" if problem.version is not None else ""
            return f"{problem.model}{version}: {problem.reason}".removeprefix(": ")
    return None


def without_unloaded(found: Scan, unloaded: Collection[str]) -> Scan:
    """The scan less the models that were unloaded on request."""
    return Scan(
        tuple(version for version in found.versions if version.model not in unloaded),
        tuple(problem for problem in found.problems if problem.model not in unloaded),
    )


_Content = tuple[str, str, str, bool]


def fingerprint(found: Scan) -> frozenset[_Content | Problem]:
    """What would be loaded, by content, and whether it was there; and what would make the server unready."""
    return frozenset({*map(_content, found.versions), *(problem for problem in found.problems if problem.required)})


def _content(version: FoundVersion) -> _Content:
    return version.key, version.manifest.digest, version.config.model_dump_json(), version.whole


def watch_repository(root: Path, loaded: Scan, seconds: float, ask: Ask, *, ready: bool) -> None:
    """Ask for another generation whenever the repository has other versions to serve. Starts a thread.

    `ready`: whether this generation is.
    """

    def run() -> None:
        seen = asked = fingerprint(loaded)
        while True:
            time.sleep(seconds)
            found = scan(root)
            now = fingerprint(found)
            if now == seen:
                continue
            seen = now
            lost = what_is_lost({version.model for version in loaded.versions}, found.problems, ready=ready)
            if lost is not None:
                log.error("the repository changed, and can't be served", reason=lost)
                continue
            if now == asked:
                log.info("the repository is as it was again")
                continue
            before, asked = asked, now
            log.info("the repository changed", versions=sorted(version.key for version in found.versions))
            try:
                ask("refresh", "")
            except TimeoutError as error:
                log.warning("a new generation of the server is not waited for", reason=str(error))
            except OSError as error:
                log.warning("a new generation of the server can't be asked for", reason=error.strerror)
                seen = asked = before  # so that it is tried again

    threading.Thread(target=run, name="repository", daemon=True).start()
