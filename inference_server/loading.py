"""Loads what the repository scan found: makes the local copy, calls the runtime, holds model.json against the model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from inference_server.catalog import Catalog, LoadedModel, ModelLimits
from inference_server.generations import AFTER_FORK
from inference_server.protocol.request import Limits
from inference_server.protocol.signature import TensorSpec
from inference_server.repository.model_config import ModelError, TensorConfig
from inference_server.repository.scan import FoundVersion, Problem, Scan
from inference_server.repository.staging import stage
from inference_server.runtimes import find_runtime
from inference_server.runtimes.base import Runtime

log = structlog.get_logger("inference_server.loading")

Mark = Callable[[str | None], None]
"""Told the version (`model/version`) that is about to be loaded, and None once it is."""


def _mark_nothing(version: str | None) -> None:
    del version


@dataclass(frozen=True, slots=True)
class Loading:
    """What came of loading a repository."""

    catalog: Catalog
    after_fork: tuple[FoundVersion, ...]
    """Versions that are to be loaded in each worker."""
    threads: tuple[str, ...]
    """Versions, as `model/version`, whose libraries started threads: no worker may be forked from this process."""


def load_repository(
    found: Scan, scratch: Path, quarantine: Mapping[str, str] | None = None, mark: Mark = _mark_nothing
) -> Loading:
    """Load every version that is to be served. A version that can't be loaded is a problem, never an exception.

    `quarantine` says of versions why not to load them, or AFTER_FORK.
    """
    catalog = Catalog()
    for problem in found.problems:
        report(catalog, problem)
    after_fork, threads = [], []
    for version in found.versions:
        verdict = (quarantine or {}).get(version.key)
        if verdict == AFTER_FORK or version.config.load == "after_fork":
            if _stage_for_workers(catalog, version, scratch):
                after_fork.append(version)
        elif verdict is not None:
            report(catalog, Problem(version.model, version.version, verdict, version.config.required))
        else:
            before = _thread_count()
            load_into(catalog, version, scratch, mark)
            if _thread_count() > before:
                threads.append(version.key)
    return Loading(catalog, tuple(after_fork), tuple(threads))


def load_into(catalog: Catalog, found: FoundVersion, scratch: Path, mark: Mark = _mark_nothing) -> None:
    """Load one version, and tell the catalog what came of it."""
    mark(found.key)
    try:
        catalog.add(load_version(found, scratch))
    except ModelError as error:
        report(catalog, Problem(found.model, found.version, str(error), found.config.required))
    mark(None)


def _stage_for_workers(catalog: Catalog, found: FoundVersion, scratch: Path) -> bool:
    """Make the local copy once, before every worker loads from it."""
    try:
        stage(found, scratch)
    except ModelError as error:
        report(catalog, Problem(found.model, found.version, str(error), found.config.required))
        return False
    return True


def report(catalog: Catalog, problem: Problem) -> None:
    catalog.fail(problem)
    log.error("a model can't be served", model=problem.model, version=problem.version, reason=problem.reason)


def load_version(found: FoundVersion, scratch: Path) -> LoadedModel:
    """Copy, verify and load one version. Raises ModelError that says why it can't be served."""
    began = time.monotonic()
    folder = stage(found, scratch)
    staged = time.monotonic()
    runtime_class = find_runtime(found.config.runtime)
    try:
        runtime = runtime_class.load(folder, found.config.parameters)
    except ModelError:
        raise
    except Exception as error:  # a runtime may be anyone's: whatever it raises must not take the other models down
        raise ModelError(f"runtime {found.config.runtime} failed to load it: {error!r}") from error
    _check_signature(found, runtime)
    log.info(
        "a model is loaded",
        model=found.model,
        version=found.version,
        runtime=found.config.runtime,
        bytes=found.bytes,
        copy_seconds=round(staged - began, 3),
        load_seconds=round(time.monotonic() - staged, 3),
    )
    limits = found.config.limits
    return LoadedModel(
        found.model,
        found.version,
        found.config,
        runtime,
        ModelLimits(
            Limits(elements=limits.max_elements, rows=limits.max_rows),
            None if limits.timeout_ms is None else limits.timeout_ms / 1000,
        ),
        load_seconds=time.monotonic() - began,
    )


def _thread_count() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208  (only their number is wanted)


def _check_signature(found: FoundVersion, runtime: Runtime) -> None:
    _check_tensors("input", found.config.inputs, runtime.signature.inputs)
    _check_tensors("output", found.config.outputs, runtime.signature.outputs)


def _check_tensors(what: str, stated: list[TensorConfig] | None, actual: Mapping[str, TensorSpec]) -> None:
    if stated is None:
        return
    for tensor in stated:
        spec = actual.get(tensor.name)
        if spec is None:
            raise ModelError(f"model.json states {what} '{tensor.name}'; the model has {', '.join(actual)}")
        if tensor.datatype != spec.datatype or not _agrees(tensor.shape, spec.shape):
            raise ModelError(
                f"model.json states {what} '{tensor.name}' as {tensor.datatype} {tensor.shape}; "
                f"the model has {spec.datatype} {list(spec.shape)}"
            )
    unstated = [name for name, spec in actual.items() if not spec.optional and name not in {t.name for t in stated}]
    if unstated:
        raise ModelError(f"model.json does not state {what} {', '.join(unstated)}, which the model has")


def _agrees(stated: list[int], actual: tuple[int, ...]) -> bool:
    """As many dimensions, and those that both fix are equal."""
    return len(stated) == len(actual) and all(
        -1 in pair or pair[0] == pair[1] for pair in zip(stated, actual, strict=True)
    )
