"""Loads what the repository scan found: makes the local copy, calls the runtime, holds model.json against the model."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from inference_server.catalog import Catalog, LoadedModel, ModelLimits
from inference_server.generations import AFTER_FORK
from inference_server.logs import Logger
from inference_server.protocol.request import Limits
from inference_server.protocol.signature import TensorSpec
from inference_server.repository.model_config import ModelError, TensorConfig
from inference_server.repository.scan import FoundVersion, Problem, Scan
from inference_server.repository.staging import stage
from inference_server.runtimes import find_runtime, must_load_after_fork
from inference_server.runtimes.base import Runtime
from inference_server.warmup import warm_up

log = Logger("inference_server.loading")

_THREADS_END_SECONDS = 1.0
"""How long a thread that is at its end may take; a model that keeps threads delays the start by as much, once."""

Mark = Callable[[str | None], None]
"""Told the version (`model/version`) that is about to be loaded, and None once it is."""


def _mark_nothing(version: str | None) -> None:
    del version


@dataclass(frozen=True, slots=True)
class Loading:
    """What came of loading a repository; the rest is in the catalog."""

    after_fork: tuple[FoundVersion, ...]
    """Versions that are to be loaded in each worker."""
    threads: tuple[str, ...]
    """Versions, as `model/version`, whose libraries started threads: no worker may be forked from this process."""


@dataclass(frozen=True, slots=True)
class Loader:
    """Loads versions into a catalog. One that can't be loaded is a problem there, never an exception."""

    catalog: Catalog
    scratch: Path
    """Where local copies are made."""
    pins: Mapping[str, str] = field(default_factory=dict)
    """Digests of manifests, by `model/version`: of these versions code may be run."""

    def load_all(self, found: Scan, quarantine: Mapping[str, str] | None = None, mark: Mark = _mark_nothing) -> Loading:
        """Load everything that is not to be loaded after the fork.

        `quarantine` says of versions why not to load them, or AFTER_FORK.
        """
        for problem in found.problems:
            self.report(problem)
        after_fork, threads = [], []
        for version in found.versions:
            verdict = (quarantine or {}).get(version.key)
            if verdict == AFTER_FORK or version.config.load == "after_fork" or _starts_threads(version):
                if self._stage(version):
                    after_fork.append(version)
            elif verdict is not None:
                self.report(version.problem(verdict))
            else:
                before = _thread_count()
                self.load(version, mark)
                if _threads_stay(before):
                    threads.append(version.key)
        return Loading(tuple(after_fork), tuple(threads))

    def load(self, found: FoundVersion, mark: Mark = _mark_nothing) -> None:
        """Load one version."""
        mark(found.key)
        try:
            self.catalog.add(load_version(found, self.scratch, self.pins))
        except ModelError as error:
            self.report(found.problem(str(error)))
        mark(None)

    def report(self, problem: Problem) -> None:
        self.catalog.fail(problem)
        log.error("a model can't be served", model=problem.model, version=problem.version, reason=problem.reason)

    def _stage(self, found: FoundVersion) -> bool:
        """Make the local copy once, before every worker loads from it."""
        try:
            stage(found, self.scratch)
        except ModelError as error:
            self.report(found.problem(str(error)))
            return False
        return True


def load_version(found: FoundVersion, scratch: Path, pins: Mapping[str, str]) -> LoadedModel:
    """Copy, verify, load and warm up one version. Raises ModelError that says why it can't be served."""
    began = time.monotonic()
    folder = stage(found, scratch)
    staged = time.monotonic()
    try:
        runtime = _load_runtime(found, folder, pins)
        _check_signature(found, runtime)
        model = LoadedModel(found.model, found.version, found.config, runtime, _limits(found))
        warm_up(model, folder)
    except ModelError:
        raise
    except Exception as error:  # a runtime may be anyone's: whatever it raises must not take the other models down
        raise ModelError(f"runtime {found.config.runtime} failed to load it: {error!r}") from error
    ended = time.monotonic()
    model.load_seconds = ended - began
    log.info(
        "a model is loaded",
        model=found.model,
        version=found.version,
        runtime=found.config.runtime,
        bytes=found.bytes,
        copy_seconds=round(staged - began, 3),
        load_seconds=round(ended - staged, 3),
    )
    return model


def _load_runtime(found: FoundVersion, folder: Path, pins: Mapping[str, str]) -> Runtime:
    runtime = find_runtime(found.config.runtime)
    if not runtime.safe and pins.get(found.key) != found.manifest.digest:
        raise ModelError(
            f"runtime {found.config.runtime} runs code that is in the model; if you trust exactly this content, set "
            f"INFERENCE_UNSAFE_MODELS={found.key}={found.manifest.digest}"
        )
    return runtime.load(folder, found.config)


def _limits(found: FoundVersion) -> ModelLimits:
    limits = found.config.limits
    return ModelLimits(
        Limits(elements=limits.max_elements, rows=limits.max_rows),
        None if limits.timeout_ms is None else limits.timeout_ms / 1000,
    )


def _starts_threads(found: FoundVersion) -> bool:
    return must_load_after_fork(found.config.runtime)


def _threads_stay(before: int) -> bool:
    """Whether there are more threads than before, for good: one that Python has joined may take a moment to be gone."""
    until = time.monotonic() + _THREADS_END_SECONDS
    while _thread_count() > before:
        if time.monotonic() > until:
            return True
        time.sleep(0.005)
    return False


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
