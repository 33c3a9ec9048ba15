"""Whether the server is ready, and why not: the models, and whether it is on its way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from inference_server.catalog import Catalog


class Readiness:
    def __init__(self, catalog: Catalog, draining_file: Path) -> None:
        self._catalog = catalog
        self._draining_file = draining_file

    def document(self) -> dict[str, Any]:
        """The body of every readiness answer. `live` and `ready` are what clients of the protocol look for."""
        draining = self._draining_file.exists()
        document: dict[str, Any] = {"live": True, "ready": self._catalog.ready and not draining}
        problems = [
            {"model": problem.model, "version": problem.version, "reason": problem.reason, "required": problem.required}
            for problem in self._catalog.problems
        ]
        if problems:
            document["problems"] = problems
        if not document["ready"]:
            document["error"] = "the server is draining" if draining else self._first_reason()
        return document

    def _first_reason(self) -> str:
        problem = next(problem for problem in self._catalog.problems if problem.required)
        return f"model '{problem.model}' is not ready: {problem.reason}" if problem.model else problem.reason
