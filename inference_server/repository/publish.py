"""Publishes the versions of a repository: writes the manifest of each that has none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from inference_server.repository.manifest import Manifest, make_manifest, read_manifest, write_manifest
from inference_server.repository.model_config import ModelError
from inference_server.repository.scan import NO_VERSION, read_model


@dataclass(frozen=True, slots=True)
class Published:
    model: str
    version: int
    state: Literal["published", "unchanged"]


def publish(root: Path, *, replace: bool = False) -> list[Published]:
    """Publish every version below `root`, or, if one can't be, none.

    A published version does not change: one whose files differ from its manifest is an error, unless `replace` is set.
    Raises ModelError that names the model and the version.
    """
    found = list(_looked_at(root, replace=replace))
    if not found:
        raise ModelError(f"{root} has no <model>/<version> folder to publish")
    for _, folder, manifest in found:
        if manifest is not None:
            write_manifest(folder, manifest)
    return [published for published, _, _ in found]


def _looked_at(root: Path, *, replace: bool) -> Iterator[tuple[Published, Path, Manifest | None]]:
    """What is to be told of each version, its folder, and the manifest to write there."""
    for model in sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        try:
            _, versions = read_model(model)
        except ModelError as error:
            raise ModelError(f"model {model.name}: {error}") from None
        if not versions:
            raise ModelError(f"model {model.name}: {NO_VERSION}")
        for version, folder in versions.items():
            try:
                manifest = _manifest(folder, replace=replace)
            except ModelError as error:
                raise ModelError(f"model {model.name}, version {version}: {error}") from None
            yield Published(model.name, version, "published" if manifest is not None else "unchanged"), folder, manifest


def _manifest(folder: Path, *, replace: bool) -> Manifest | None:
    """None if it is published as it is."""
    manifest = make_manifest(folder)
    before = None if replace else read_manifest(folder)
    if before == manifest:
        return None
    if before is not None:
        raise ModelError("its files differ from its manifest.json; publish a new version, or give --replace")
    return manifest
