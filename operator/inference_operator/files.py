"""The objects that files hold, for the command lines: what can't be used is told in a line. Knows no spec."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import yaml

READ = ("InferenceDeployment", "InferenceEnvironment", "Namespace")
"""Kinds that are looked into."""


def objects_in(files: Iterable[Path]) -> list[Any]:
    """All of them, those in a List among them."""
    return [found for file in files for document in _documents(file) for found in _unpacked(file, document)]


def with_some(kinds: Sequence[str], files: Iterable[Path]) -> list[Any]:
    """The same, of these kinds one at least: that of a wrong file nothing can be said must not look as if all were
    well."""
    files = list(files)
    found = objects_in(files)
    if not any(document.get("kind") in kinds for document in found):
        raise click.ClickException(f"there is no {' and no '.join(kinds)} in {', '.join(map(str, files))}")
    return found


def _documents(file: Path) -> list[Any]:
    try:
        return [document for document in yaml.safe_load_all(file.read_text()) if document]
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise click.ClickException(f"{file} can't be read: {error}") from error


def _unpacked(file: Path, document: Any) -> Iterator[Any]:
    if not isinstance(document, dict):
        raise click.ClickException(f"{file} holds no objects of Kubernetes but {str(document)[:40]!r}")
    if isinstance(document.get("items"), list):
        for item in document["items"]:
            yield from _unpacked(file, item)
        return
    metadata = document.get("metadata")
    if document.get("kind") in READ and not (isinstance(metadata, dict) and isinstance(metadata.get("name"), str)):
        raise click.ClickException(f"{file} holds an object of the kind {document['kind']} without a metadata.name")
    yield document
