"""The models that are loaded, and the reasons of those that are not. Answers "is it ready, and why not".

Must not know HTTP, uWSGI or where models come from; `loading.py` fills it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from inference_server.batching import Batcher
from inference_server.protocol.errors import UnavailableError, UnknownNameError
from inference_server.protocol.request import Limits, Reader
from inference_server.protocol.signature import Signature
from inference_server.repository.model_config import ModelConfig
from inference_server.repository.scan import Problem
from inference_server.runtimes.base import Prediction, Runtime

Predict = Callable[[Mapping[str, np.ndarray], Sequence[str], Mapping[str, Any]], Prediction]
"""See Runtime.predict."""


@dataclass(frozen=True, slots=True)
class ModelLimits:
    request: Limits = field(default_factory=Limits)
    timeout_seconds: float | None = None
    """Of one request; None: the server's."""


@dataclass(slots=True)
class LoadedModel:
    """One version of a model, in memory. Raises ModelError if model.json asks for what the model can't do."""

    name: str
    version: int
    config: ModelConfig
    runtime: Runtime
    limits: ModelLimits = field(default_factory=ModelLimits)
    load_seconds: float = 0.0
    signature: Signature = field(init=False)
    reader: Reader = field(init=False)
    predict: Predict = field(init=False)
    """The runtime's own, or that of what stands before it."""
    version_text: str = field(init=False)
    key: tuple[str, str] = field(init=False)
    """Name and version, as labels and counters call the model."""

    def __post_init__(self) -> None:
        self.signature = self.runtime.signature
        self.reader = Reader(self.signature, self.limits.request)
        self.predict = self.runtime.predict
        if self.config.batching is not None:
            self.predict = Batcher(self.runtime, self.signature, self.config.batching.max_rows).predict
        self.version_text = str(self.version)
        self.key = (self.name, self.version_text)


class Catalog:
    def __init__(self, unloaded: Iterable[tuple[str, int]] = ()) -> None:
        """`unloaded`: names and versions that the repository has and that were unloaded on request."""
        self._unloaded = tuple(unloaded)
        self._models: dict[str, dict[int, LoadedModel]] = {}
        self._problems: list[Problem] = []

    def add(self, model: LoadedModel) -> None:
        self._models.setdefault(model.name, {})[model.version] = model

    def fail(self, problem: Problem) -> None:
        self._problems.append(problem)

    @property
    def models(self) -> Mapping[str, Mapping[int, LoadedModel]]:
        return self._models

    @property
    def problems(self) -> Sequence[Problem]:
        return self._problems

    @property
    def ready(self) -> bool:
        """Whether every required model is loaded."""
        return not any(problem.required for problem in self._problems)

    def names(self) -> list[str]:
        """Every model in the repository, loaded or not."""
        return sorted({*self._models, *(problem.model for problem in self._problems if problem.model)})

    def find(self, name: str, version: str | None = None) -> LoadedModel:
        """The model that answers. Raises UnknownNameError, or UnavailableError if it is known and not loaded."""
        versions = self._models.get(name, {})
        model = self.default(name) if version is None else versions.get(_number(version))
        if model is not None:
            return model
        for problem in self._problems:
            if problem.model == name and version in {None, str(problem.version)}:
                raise UnavailableError(f"model '{name}' is not ready: {problem.reason}")
        if not versions:
            raise UnknownNameError(f"model '{name}' is not known; this server has {', '.join(self.names()) or 'none'}")
        raise UnknownNameError(f"model '{name}' has no version '{version}'; it has {', '.join(map(str, versions))}")

    def default(self, name: str) -> LoadedModel | None:
        """The version that answers when none is named."""
        versions = self._models.get(name)
        if not versions:
            return None
        newest = versions[max(versions)]
        chosen = newest.config.default_version
        return newest if chosen is None else versions.get(chosen)

    def index(self) -> list[dict[str, str]]:
        """Triton's repository index: every version, and every model without one, with its state and the reason."""
        entries = [
            {"name": name, "version": str(version), "state": "READY", "reason": ""}
            for name, versions in self._models.items()
            for version in versions
        ]
        entries += [
            {
                "name": problem.model,
                "version": "" if problem.version is None else str(problem.version),
                "state": "UNAVAILABLE",
                "reason": problem.reason,
            }
            for problem in self._problems
            if problem.model
        ]
        entries += [
            {"name": name, "version": str(version), "state": "UNAVAILABLE", "reason": "unloaded"}
            for name, version in self._unloaded
        ]
        return sorted(entries, key=lambda entry: (entry["name"], _number(entry["version"])))


def _number(version: str) -> int:
    """A version as a number; -1, which is none, for what is not written as one."""
    return int(version) if version.isascii() and version.isdigit() and len(version) <= 18 else -1  # noqa: PLR2004  (digits of an int64)
