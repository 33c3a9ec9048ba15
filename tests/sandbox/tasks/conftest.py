"""What the tests of the task runner share: a runner that is closed at the end, and tasks in the shape of the API."""

from __future__ import annotations

import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from inference_sandbox.ports import ContainerLaunch, EfsMount, Report, Runner, TaskLaunch, TaskRunning
from inference_sandbox.tasks.images import ProcessImage
from inference_sandbox.tasks.process import ProcessRunner

DEADLINE = 20.0
"""Seconds after which a test gives up waiting."""

R = TypeVar("R")
T = TypeVar("T")
_ids = itertools.count()


class WallClock:
    def now(self) -> datetime:
        return datetime.now(UTC)


def poll(look: Callable[[], T | None]) -> T:
    """The first thing that `look` finds before the deadline."""
    pause = threading.Event()
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        pause.wait(0.01)
    raise AssertionError("waited in vain")


def has_ended(pid: int) -> bool:
    """Whether nothing of a process is left but, perhaps, what its new parent has not reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@dataclass
class Observed:
    """A runner under test and all that it has told."""

    runner: Runner
    workdir: Path
    logs: list[tuple[str, str, str]] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)

    def start(self, task: TaskLaunch) -> str:
        self.runner.start(task)
        return task.arn

    def running(self, task: TaskLaunch) -> TaskRunning:
        """Start the task and wait until it runs."""
        return self.wait(TaskRunning, self.start(task))

    def wait(self, kind: type[R], arn: str, **fields: object) -> R:
        """The first report of this kind about the task whose members are as given."""

        def look() -> R | None:
            self.reports += self.runner.poll()
            for report in self.reports:
                if isinstance(report, kind) and vars(report) == {**vars(report), "arn": arn, **fields}:
                    return report
            return None

        return poll(look)

    def kinds(self, arn: str) -> list[str]:
        return [type(report).__name__ for report in self.reports if report.arn == arn]

    def lines(self, arn: str) -> list[str]:
        return [line for task, _, line in self.logs if task == arn]


def container(
    script: str = "",
    *,
    name: str = "app",
    environment: Mapping[str, str] | None = None,
    mounts: Sequence[EfsMount] = (),
    **definition: Any,
) -> ContainerLaunch:
    """A container of the image `python`, which runs the script given."""
    command = {} if "command" in definition or not script else {"command": ["-c", script]}
    return ContainerLaunch(
        definition={"name": name, "image": "registry.example/python:3", **command, **definition},
        environment=environment or {},
        mounts=mounts,
    )


def task(*containers: ContainerLaunch, **task_definition: Any) -> TaskLaunch:
    return TaskLaunch(
        arn=f"arn:aws:ecs:eu-west-1:111122223333:task/test/{os.getpid():08x}{next(_ids):024x}",
        task_definition=task_definition,
        containers=containers,
    )


@pytest.fixture
def images() -> dict[str, ProcessImage]:
    return {
        "registry.example/python:*": ProcessImage(
            entrypoint=[sys.executable, "-I", "-S"],
            command=["-c", "import time; time.sleep(600)"],
            environment={"BIND": "{address}", "SCRATCH": "{workdir}", "OUTSIDE": "http://127.0.0.1:1"},
        ),
        "registry.example/shell": ProcessImage(command=["/bin/sh"]),
    }


@pytest.fixture
def observed(tmp_path: Path, images: Mapping[str, ProcessImage]) -> Iterator[Observed]:
    logs: list[tuple[str, str, str]] = []
    runner = ProcessRunner(
        images=images,
        workdir=tmp_path / "work",
        clock=WallClock(),
        log_sink=lambda arn, _container, stream, line, _at: logs.append((arn, stream, line)),
    )
    yield Observed(runner, tmp_path / "work", logs)
    runner.close()
