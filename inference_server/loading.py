"""Loads what the repository scan found: makes the local copy, calls the runtime, holds model.json against the model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import structlog

from inference_server.catalog import Catalog, LoadedModel, ModelLimits
from inference_server.protocol.request import Limits
from inference_server.protocol.signature import TensorSpec
from inference_server.repository.model_config import ModelError, TensorConfig
from inference_server.repository.scan import FoundVersion, Problem, scan
from inference_server.repository.staging import stage
from inference_server.runtimes import find_runtime
from inference_server.runtimes.base import Runtime

log = structlog.get_logger("inference_server.loading")


def load_repository(root: Path, scratch: Path) -> Catalog:
    """Load every version that is to be served. A version that can't be loaded is a problem, never an exception."""
    found = scan(root)
    models, problems = [], list(found.problems)
    for version in found.versions:
        try:
            models.append(load_version(version, scratch))
        except ModelError as error:
            problems.append(Problem(version.model, version.version, str(error), version.config.required))
    for problem in problems:
        log.error("a model can't be served", model=problem.model, version=problem.version, reason=problem.reason)
    return Catalog(models, problems)


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
        bytes=sum(entry.bytes for entry in found.manifest.files),
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
