"""Copies a published version to local disk and holds it against its manifest on the way.

A network file system may be slow, may go away, and may change under an open file; the local copy does none of it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from inference_server.repository.manifest import ManifestEntry, check_file, copy_and_hash
from inference_server.repository.model_config import ModelError
from inference_server.repository.scan import FoundVersion

_COPIES_AT_ONCE = 8
"""A network file system is bound by latency, not by one stream's bandwidth."""


def staged_folder(found: FoundVersion, scratch: Path) -> Path:
    """Where the local copy is: a name for each content, so that a changed version never meets an older copy."""
    return scratch / found.model / f"{found.version}-{found.manifest.digest[:16]}"


def stage(found: FoundVersion, scratch: Path) -> Path:
    """The folder of the version's verified local copy, made if it is not there. Raises ModelError."""
    target = staged_folder(found, scratch)
    if target.exists():
        return target
    try:
        return _make_copy(found, target)
    except OSError as error:
        raise ModelError(
            f"no local copy can be made in {scratch}: {error.strerror}; see INFERENCE_SCRATCH_DIR"
        ) from None


def _make_copy(found: FoundVersion, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if found.bytes > free:
        raise ModelError(
            f"it needs {found.bytes} bytes on local disk and {free} are free; raise the task's ephemeral storage"
        )
    copy = Path(tempfile.mkdtemp(prefix=".staging-", dir=target.parent))
    try:
        with ThreadPoolExecutor(_COPIES_AT_ONCE, thread_name_prefix="stage") as pool:
            list(pool.map(lambda entry: _copy(entry, found.folder, copy), found.manifest.files))
        copy.rename(target)
    except BaseException:
        shutil.rmtree(copy, ignore_errors=True)
        raise
    return target


def prune(scratch: Path, kept: Collection[Path]) -> None:
    """Remove local copies that nobody uses any more."""
    for folder in scratch.glob("*/*"):
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _copy(entry: ManifestEntry, source: Path, target: Path) -> None:
    origin = source / entry.file
    copy = target / entry.file
    copy.parent.mkdir(parents=True, exist_ok=True)
    try:
        check_file(origin, source)
        with origin.open("rb") as reading, copy.open("wb") as writing:
            size, digest = copy_and_hash(reading, writing)
    except FileNotFoundError:
        raise ModelError(f"file {entry.file} is missing, though manifest.json lists it") from None
    except OSError as error:
        raise ModelError(f"file {entry.file} can't be copied: {error.strerror}") from None
    except RuntimeError as error:  # what Python before 3.13 makes of links that go in a circle
        raise ModelError(f"file {entry.file} can't be copied: {error}") from None
    if size != entry.bytes:
        raise ModelError(f"file {entry.file} has {size} bytes; manifest.json says {entry.bytes}")
    if digest != entry.sha256:
        raise ModelError(f"file {entry.file} is corrupt: its SHA-256 is {digest}; manifest.json says {entry.sha256}")
