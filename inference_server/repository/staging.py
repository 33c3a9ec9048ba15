"""Copies a published version to local disk and holds it against its manifest on the way.

A network file system may be slow, may go away, and may change under an open file; the local copy does none of it.
"""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from inference_server.repository.manifest import ManifestEntry, copy_and_hash
from inference_server.repository.model_config import ModelError
from inference_server.repository.scan import FoundVersion

_COPIES_AT_ONCE = 8
"""A network file system is bound by latency, not by one stream's bandwidth."""


def stage(found: FoundVersion, scratch: Path) -> Path:
    """Copy the version's files to `<scratch>/<model>/<version>`, verified. Raises ModelError that names the file."""
    target = scratch / found.model / str(found.version)
    needed = sum(entry.bytes for entry in found.manifest.files)
    scratch.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(scratch).free
    if needed > free:
        raise ModelError(
            f"it needs {needed} bytes on local disk and {free} are free; raise the task's ephemeral storage"
        )
    try:
        target.mkdir(parents=True)
        with ThreadPoolExecutor(_COPIES_AT_ONCE, thread_name_prefix="stage") as pool:
            list(pool.map(lambda entry: _copy(entry, found.folder, target), found.manifest.files))
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return target


def _copy(entry: ManifestEntry, source: Path, target: Path) -> None:
    origin = source / entry.file
    if not origin.resolve().is_relative_to(source.resolve()):
        raise ModelError(f"file {entry.file} is a link out of the version's folder")
    copy = target / entry.file
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        with origin.open("rb") as reading, copy.open("wb") as writing:
            size, digest = copy_and_hash(reading, writing)
    except FileNotFoundError:
        raise ModelError(f"file {entry.file} is missing, though manifest.json lists it") from None
    except OSError as error:
        raise ModelError(f"file {entry.file} can't be read: {error.strerror}") from None
    if size != entry.bytes:
        raise ModelError(f"file {entry.file} has {size} bytes; manifest.json says {entry.bytes}")
    if digest != entry.sha256:
        raise ModelError(f"file {entry.file} is corrupt: its SHA-256 is {digest}; manifest.json says {entry.sha256}")
