"""Publishes the versions of a repository: writes the manifest of each that has none."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inference_server.repository.manifest import make_manifest, read_manifest, write_manifest
from inference_server.repository.model_config import ModelError
from inference_server.repository.scan import read_model


@dataclass(frozen=True, slots=True)
class Published:
    model: str
    version: int
    state: Literal["published", "unchanged"]


def publish(root: Path, *, replace: bool = False) -> list[Published]:
    """Publish every version below `root`.

    A published version does not change: one whose files differ from its manifest is an error, unless `replace` is set.
    Raises ModelError that names the model and the version.
    """
    done = []
    models = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    for model in models:
        try:
            _, versions = read_model(model)
        except ModelError as error:
            raise ModelError(f"model {model.name}: {error}") from None
        for version, folder in versions.items():
            try:
                done.append(Published(model.name, version, _publish(folder, replace=replace)))
            except ModelError as error:
                raise ModelError(f"model {model.name}, version {version}: {error}") from None
    if not done:
        raise ModelError(f"{root} has no <model>/<version> folder to publish")
    return done


def _publish(folder: Path, *, replace: bool) -> Literal["published", "unchanged"]:
    manifest = make_manifest(folder)
    before = None if replace else read_manifest(folder)
    if before == manifest:
        return "unchanged"
    if before is not None:
        raise ModelError("its files differ from its manifest.json; publish a new version, or give --replace")
    write_manifest(folder, manifest)
    return "published"
