"""`manifest.json`: the files of a version with their sizes and checksums. A version with one is published.

It is written last and appears at once, so that a half-copied version is never taken for a whole one.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from inference_server.repository.model_config import ModelError, describe

MANIFEST_FILE = "manifest.json"
_BLOCK = 1 << 20


class ManifestEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str
    """Relative to the version's folder, with `/` between parts."""
    bytes: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @field_validator("file")
    @classmethod
    def _stays_inside(cls, file: str) -> str:
        parts = file.split("/")
        if any(part in {"", ".", ".."} for part in parts) or "\\" in file or "\0" in file:
            raise ValueError("must be a path below the version's folder")
        try:
            file.encode()
        except UnicodeEncodeError:  # the name of a file may be any bytes
            raise ValueError("must be UTF-8") from None
        return file


class Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    files: Annotated[list[ManifestEntry], Field(min_length=1)]

    @property
    def digest(self) -> str:
        """SHA-256 of the list of files with their checksums: two versions that share it have the same content."""
        lines = sorted(f"{entry.sha256} {entry.bytes} {entry.file}\n" for entry in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_manifest(version: Path) -> Manifest | None:
    """The manifest of a version's folder; None if it is not published."""
    try:
        text = (version / MANIFEST_FILE).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f"{MANIFEST_FILE} can't be read: {error.strerror}") from None
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(f"{MANIFEST_FILE} is not valid: {describe(error)}; publish the version again") from None


def make_manifest(version: Path) -> Manifest:
    """Read every file below a version's folder (but dotfiles and the manifest itself)."""
    entries = []
    for path in _files(version):
        check_file(path, version)
        with path.open("rb") as source:
            size, digest = copy_and_hash(source, None)
        name = path.relative_to(version).as_posix()
        try:
            entries.append(ManifestEntry(file=name, bytes=size, sha256=digest))
        except ValidationError as error:
            raise ModelError(f"file {name!r} can't be published: {describe(error)}; rename it") from None
    if not entries:
        raise ModelError("the folder has no file to publish")
    return Manifest(files=entries)


def check_file(path: Path, version: Path) -> None:
    """Raises ModelError for what can't be published with a version: a link out of its folder, a pipe or device."""
    if not path.resolve().is_relative_to(version.resolve()):
        raise ModelError(f"file {path.relative_to(version).as_posix()} is a link out of the version's folder")
    if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe is to wait for who writes to it
        raise ModelError(f"file {path.relative_to(version).as_posix()} is no regular file")


def write_manifest(version: Path, manifest: Manifest) -> None:
    """Publish: the file appears whole or not at all, also after a power cut."""
    text = json.dumps(manifest.model_dump(), indent=1).encode() + b"\n"
    descriptor, name = tempfile.mkstemp(prefix=f".{MANIFEST_FILE}.", dir=version)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(version / MANIFEST_FILE)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def copy_and_hash(source: BinaryIO, target: BinaryIO | None) -> tuple[int, str]:
    """Read `source` to its end, writing it to `target` if there is one: its size in bytes and its SHA-256."""
    digest, size = hashlib.sha256(), 0
    while block := source.read(_BLOCK):
        digest.update(block)
        size += len(block)
        if target is not None:
            target.write(block)
    return size, digest.hexdigest()


def _files(version: Path) -> Iterator[Path]:
    for path in sorted(version.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(version).parts)
        if path.is_file() and not hidden and path.name != MANIFEST_FILE:
            yield path
