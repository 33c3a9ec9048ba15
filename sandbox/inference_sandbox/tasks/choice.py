"""Where each task runs: in containers if an engine has its images, else as processes.

What people say with `inference-sandbox up --tasks` is decided here, and nothing of how containers or processes run.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from inference_sandbox.ports import Clock, ContainerLaunch, TaskLaunch
from inference_sandbox.tasks import firelens
from inference_sandbox.tasks.container import ContainerEngine
from inference_sandbox.tasks.egress import Egress
from inference_sandbox.tasks.engine_cleanup import DEFAULT_HOST, find_engine, why_unreachable
from inference_sandbox.tasks.images import Choice, EngineUnavailableError, ProcessImage, find_image
from inference_sandbox.tasks.lifecycle import Place, RunningContainer, TaskRunner
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

    With an engine, a task whose images are all in its local store runs in containers; only its log router may be
    missing there, and is a process then. Of the others, a task whose images are all in `images` or `spare` runs as
    processes, and one that has an image that neither knows fails as a pull does. `images` is what somebody asked for:
    what is named there is a process even if the store has such an image; what is in `spare` is not.
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
        containers = ContainerEngine(means.engine, {}, workdir, clock, log_sink, egress)
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
        router = firelens.router(task)
        others = {each.definition["image"] for each in task.containers if each.definition is not router}
        if not await self._in_containers(others):
            return await self._processes.prepare(task)
        if router is None or await self._containers.has(router["image"]):
            return await self._containers.prepare(task)
        beside = await self._processes.prepare_router(task)
        try:
            place = await self._containers.prepare(task, router_elsewhere=self._processes.routes(task))
        except BaseException:
            await beside.release()
            raise
        return _WithRouterBeside(place, beside, router["name"])

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


class _WithRouterBeside:
    """A `lifecycle.Place` of containers whose log router is a process: the engine does not have its image."""

    def __init__(self, containers: Place, beside: Place, router: str) -> None:
        self._containers = containers
        self._beside = beside
        self._router = router
        self.kind = containers.kind

    @property
    def address(self) -> str:
        return self._containers.address

    async def start(self, container: ContainerLaunch) -> RunningContainer:
        place = self._beside if container.name == self._router else self._containers
        return await place.start(container)

    async def release(self) -> None:
        await self._containers.release()
        await self._beside.release()
