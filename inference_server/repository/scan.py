"""Finds the models and versions of a repository that are to be served, and says of the others why not."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from inference_server.repository import mlserver
from inference_server.repository.manifest import Manifest, read_manifest
from inference_server.repository.model_config import (
    LatestVersions,
    ModelConfig,
    ModelError,
    SpecificVersions,
    read_model_config,
)

_NAME = re.compile(r"[A-Za-z0-9._-]{1,128}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
PUBLISH = "`inference-server publish DIR` publishes"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a model, or one version of it, is not served."""

    model: str
    version: int | None
    reason: str
    required: bool = True


@dataclass(frozen=True, slots=True)
class FoundVersion:
    """A published version that is to be served."""

    model: str
    version: int
    folder: Path
    config: ModelConfig
    manifest: Manifest
    whole: bool
    """Whether its files were there, by their sizes: who copies a repository may bring the manifest before them."""

    @property
    def key(self) -> str:
        return f"{self.model}/{self.version}"

    @property
    def bytes(self) -> int:
        """Of all its files."""
        return sum(entry.bytes for entry in self.manifest.files)

    def problem(self, reason: str) -> Problem:
        return Problem(self.model, self.version, reason, self.config.required)


@dataclass(frozen=True, slots=True)
class Scan:
    versions: tuple[FoundVersion, ...]
    problems: tuple[Problem, ...]
    """A repository that can't be read or is empty is a problem of the model named "" (none)."""


def scan(root: Path) -> Scan:
    """Look through a repository. Never raises: what can't be read is a problem."""
    try:
        folders = sorted(entry for entry in root.iterdir() if not entry.name.startswith(".") and entry.is_dir())
    except OSError as error:
        return Scan((), (Problem("", None, f"the model repository {root} can't be read: {error.strerror}"),))
    versions: list[FoundVersion] = []
    problems: list[Problem] = []
    for folder in folders:
        found, trouble = _scan_model(folder)
        versions.extend(found)
        problems.extend(trouble)
    if not versions and not problems:
        problems.append(Problem("", None, f"the model repository {root} has no model: {_LAYOUT}"))
    return Scan(tuple(versions), tuple(problems))


_LAYOUT = (
    "it needs <model>/model.json and <model>/<version>/, a whole number such as 1, "
    "with the model's files and a manifest.json"
)
NO_VERSION = f"it has no version: {_LAYOUT}"


def read_model(folder: Path) -> tuple[ModelConfig, dict[int, Path]]:
    """What a model's folder says of it, and its versions, published or not, in ascending order.

    Raises ModelError and OSError.
    """
    if not _NAME.fullmatch(folder.name):
        raise ModelError("the name of a model is 1 to 128 letters, digits, dots, dashes, underscores")
    found = {int(entry.name): entry for entry in folder.iterdir() if _VERSION.fullmatch(entry.name) and entry.is_dir()}
    if mlserver.speaks_for(folder):
        config, version = mlserver.read_model_settings(folder)
        # MLServer keeps the files of its one version beside the settings.
        return config, dict(sorted(found.items())) or {version: folder}
    return read_model_config(folder), dict(sorted(found.items()))


def _scan_model(folder: Path) -> tuple[list[FoundVersion], list[Problem]]:
    model = os.fsencode(folder.name).decode(errors="replace")  # what is not UTF-8 is in no log line and no answer
    try:
        config, folders = read_model(folder)
    except ModelError as error:
        return [], [Problem(model, None, str(error))]
    except OSError as error:
        return [], [Problem(model, None, f"its folder can't be read: {error.strerror}")]
    found: dict[int, FoundVersion] = {}
    problems: list[Problem] = []
    for version, path in folders.items():
        try:
            manifest = read_manifest(path)
        except ModelError as error:
            problems.append(Problem(model, version, str(error), config.required))
            continue
        if manifest is not None:
            found[version] = FoundVersion(model, version, path, config, manifest, _is_whole(path, manifest))
    return _select(model, config, found, folders, problems)


def _is_whole(folder: Path, manifest: Manifest) -> bool:
    try:
        return all((folder / entry.file).stat().st_size == entry.bytes for entry in manifest.files)
    except OSError:
        return False


def _select(
    model: str,
    config: ModelConfig,
    found: dict[int, FoundVersion],
    folders: dict[int, Path],
    problems: list[Problem],
) -> tuple[list[FoundVersion], list[Problem]]:
    """Apply the version policy. A version with a broken manifest counts as published: it is not passed over."""
    published = sorted({*found, *(problem.version for problem in problems if problem.version is not None)})
    if not published:
        reason = NO_VERSION
        if folders:
            reason = f"none of its versions ({', '.join(map(str, folders))}) has a manifest.json; {PUBLISH} them"
        return [], [Problem(model, None, reason, config.required)]
    match config.version_policy:
        case LatestVersions(latest=count):
            wanted = published[-count:]
        case SpecificVersions(specific=chosen):
            wanted = sorted({*chosen})
        case _:
            wanted = published
    missing = [version for version in wanted if version not in published]
    kept = [problem for problem in problems if problem.version in wanted]
    for version in missing:
        state = f"it is not published; {PUBLISH} it" if version in folders else "its folder is missing"
        kept.append(Problem(model, version, f"version_policy asks for it, but {state}", config.required))
    if config.default_version is not None and config.default_version not in wanted:
        reason = f"default_version {config.default_version} is none of the versions that are served, {wanted}"
        kept.append(Problem(model, None, reason, config.required))
    return [found[version] for version in wanted if version in found], kept
