"""Where each task runs: in containers if an engine has its images, else as processes.

What people say with `inference-sandbox up --tasks` is decided here, and nothing of how containers or processes run.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_sandbox.ports import Clock, TaskLaunch
from inference_sandbox.tasks.container import ContainerEngine
from inference_sandbox.tasks.egress import Egress
from inference_sandbox.tasks.engine_cleanup import DEFAULT_HOST, find_engine, why_unreachable
from inference_sandbox.tasks.images import Choice, EngineUnavailableError, ProcessImage, find_image
from inference_sandbox.tasks.lifecycle import Place, TaskRunner
from inference_sandbox.tasks.output import LogSink
from inference_sandbox.tasks.process import ProcessEngine
from inference_sandbox.tasks.router import FluentBit


@dataclass(frozen=True, kw_only=True)
class Means:
    """What there is to run tasks with."""

    engine: str | None
    """DOCKER_HOST of an engine that answers."""
    processes: bool
    """Whether images that no engine has may be processes."""

    @classmethod
    def find(cls, choice: Choice) -> Means:
        """Raises EngineUnavailableError for `container` without an engine."""
        if choice == "process":
            return cls(engine=None, processes=True)
        host = find_engine()
        trouble = why_unreachable(host) if host else f"none answers at {os.environ.get('DOCKER_HOST', DEFAULT_HOST)}"
        if trouble is None:
            return cls(engine=host, processes=choice == "auto")
        if choice == "container":
            raise EngineUnavailableError(
                f"tasks cannot be containers: {'of the engine at ' + host + ', ' if host else ''}{trouble}. Start a "
                "Docker-compatible engine and set DOCKER_HOST, or leave --tasks container out"
            )
        return cls(engine=None, processes=True)

    def __str__(self) -> str:
        if self.engine is None:
            return "processes"
        containers = f"containers of {self.engine} where it has the image"
        return f"{containers}, else processes" if self.processes else f"{containers}, nothing else"


class LocalRunner(TaskRunner):
    """A `ports.Runner` that uses an engine, if there is one.

    With an engine, a task whose images are all in its local store runs in
    containers. Of the others, a task whose images are all in `images` or `spare` runs as processes, and one that has
    an image that neither knows fails as a pull does. `images` is what somebody asked for: what is named there is a
    process even if the store has such an image; what is in `spare` is not.
    """

    def __init__(
        self,
        *,
        means: Means,
        images: Mapping[str, ProcessImage],
        spare: Mapping[str, ProcessImage],
        workdir: Path,
        clock: Clock,
        log_sink: LogSink | None = None,
        egress: Egress | None = None,
        fluent_bit: FluentBit | None = None,
    ) -> None:
        known = {**images, **spare} if means.processes else {}
        processes = ProcessEngine(known, workdir, clock, log_sink, egress, fluent_bit)
        if means.engine is None:
            super().__init__(processes, clock)
            return
        containers = ContainerEngine(means.engine, {}, workdir, clock, log_sink)
        super().__init__(
            _Either(containers, processes, asked_for=images if means.processes else {}, known=known), clock
        )


class _Either:
    """A `lifecycle.Engine` made of two. `asked_for` and `known`: images that are processes, by request or at need."""

    def __init__(
        self,
        containers: ContainerEngine,
        processes: ProcessEngine,
        *,
        asked_for: Mapping[str, ProcessImage],
        known: Mapping[str, ProcessImage],
    ) -> None:
        self._containers = containers
        self._processes = processes
        self._asked_for = asked_for
        self._known = known

    async def prepare(self, task: TaskLaunch) -> Place:
        if await self._in_containers({each.definition["image"] for each in task.containers}):
            return await self._containers.prepare(task)
        return await self._processes.prepare(task)

    async def _in_containers(self, references: Collection[str]) -> bool:
        """Whether containers can run them all; or processes can't, so that containers can tell what is missing."""
        stored = {
            reference
            for reference in references
            if find_image(self._asked_for, reference) is None and await self._containers.has(reference)
        }
        return len(stored) == len(references) or any(find_image(self._known, reference) is None for reference in stored)

    async def close(self) -> None:
        await self._processes.close()
        await self._containers.close()
