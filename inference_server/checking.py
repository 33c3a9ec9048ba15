"""Loads a repository as the server would, to tell what can be served.

In another process, as a model may end the one that loads it: then it is loaded again without that model, as the
supervisor does.
"""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_server.catalog import Catalog
from inference_server.generation_folder import GenerationFolder
from inference_server.generations import describe
from inference_server.loading import Loader
from inference_server.repository.scan import scan


class CantCheckError(Exception):
    """The process ended, and not because of a model."""


def check_repository(root: Path, pins: Mapping[str, str]) -> dict[str, Any]:
    """What is `served`, the `problems`, and whether a server would be `ready`. Raises CantCheckError."""
    quarantine: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="inference-server-check-") as scratch:
        folder = GenerationFolder(Path(scratch))
        while True:
            process = multiprocessing.get_context("fork").Process(target=_load, args=(root, pins, quarantine, folder))
            process.start()
            process.join()
            if outcome := folder.result():
                return outcome
            how, deadly = describe(process.exitcode or 0), folder.trouble().loading
            if deadly is None or deadly in quarantine:
                raise CantCheckError(f"the process that loads the models {how}")
            quarantine[deadly] = f"the process {how} while it loaded this version"


def _load(root: Path, pins: Mapping[str, str], quarantine: Mapping[str, str], folder: GenerationFolder) -> None:
    catalog = Catalog()
    loader = Loader(catalog, folder.path / "models", pins)
    for version in loader.load_all(scan(root), quarantine, folder.write_loading).after_fork:
        if version.key in quarantine:
            loader.report(version.problem(quarantine[version.key]))
        else:
            loader.load(version, folder.write_loading)
    folder.write_result(
        ready=catalog.ready,
        served=[
            {"model": model.name, "version": version, "platform": model.runtime.platform}
            for versions in catalog.models.values()
            for version, model in versions.items()
        ],
        problems=[
            {"model": problem.model, "version": problem.version, "reason": problem.reason, "required": problem.required}
            for problem in catalog.problems
        ],
    )
