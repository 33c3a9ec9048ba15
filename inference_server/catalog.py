"""The models that are loaded, and the reasons of those that are not. Answers "is it ready, and why not".

Must not know HTTP, uWSGI or where models come from; `loading.py` fills it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from inference_server.protocol.errors import UnavailableError, UnknownNameError
from inference_server.protocol.request import Limits
from inference_server.repository.model_config import ModelConfig
from inference_server.repository.scan import Problem
from inference_server.runtimes.base import Runtime


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """One version of a model, in memory."""

    name: str
    version: int
    config: ModelConfig
    runtime: Runtime
    limits: Limits = field(default_factory=Limits)


class Catalog:
    def __init__(self, models: Iterable[LoadedModel], problems: Sequence[Problem]) -> None:
        self._models: dict[str, dict[int, LoadedModel]] = {}
        for model in models:
            self._models.setdefault(model.name, {})[model.version] = model
        self._problems = tuple(problems)

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
        if version is None:
            model = self._default(versions)
        else:
            model = versions.get(int(version)) if version.isascii() and version.isdigit() else None
        if model is not None:
            return model
        for problem in self._problems:
            if problem.model == name and version in {None, str(problem.version)}:
                raise UnavailableError(f"model '{name}' is not ready: {problem.reason}")
        if not versions:
            raise UnknownNameError(f"model '{name}' is not known; this server has {', '.join(self.names()) or 'none'}")
        raise UnknownNameError(f"model '{name}' has no version '{version}'; it has {', '.join(map(str, versions))}")

    def _default(self, versions: Mapping[int, LoadedModel]) -> LoadedModel | None:
        if not versions:
            return None
        newest = versions[max(versions)]
        chosen = newest.config.default_version
        return newest if chosen is None else versions.get(chosen)
