"""Memory limits, by control groups and without them: real processes that take too much."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from inference_sandbox.ports import ContainerExited
from inference_sandbox.tasks import process
from inference_sandbox.tasks.control_groups import ControlGroups
from inference_sandbox.tasks.images import ProcessImage
from inference_sandbox.tasks.memory import MemoryLimits
from inference_sandbox.tasks.resident_memory import ResidentMemory
from tests.sandbox.tasks.conftest import Observed, WallClock, container, has_ended, poll, task

OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"
HOG = """
import time
print("in", flush=True)
hog = bytearray(b"x") * (200 << 20)
print("out", flush=True)
time.sleep(600)
"""
HOG_IN_A_CHILD = f"import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-S', '-c', {HOG!r}]) and 7)"


def _control_groups() -> MemoryLimits:
    found = ControlGroups.find()
    if found is None:
        pytest.skip("this user may make no control group with a memory limit")
    return found


@pytest.fixture(params=[_control_groups, ResidentMemory], ids=["control groups", "resident memory"])
def limited(
    request: pytest.FixtureRequest, tmp_path: Path, images: Mapping[str, ProcessImage], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Observed]:
    """A runner that holds to memory limits in one way or the other."""
    limits: MemoryLimits = request.param()
    monkeypatch.setattr(process, "find_memory_limits", lambda: limits)
    logs: list[tuple[str, str, str]] = []
    runner = process.ProcessRunner(
        images=images,
        workdir=tmp_path,
        clock=WallClock(),
        log_sink=lambda arn, _container, stream, line, _at: logs.append((arn, stream, line)),
    )
    yield Observed(runner, tmp_path, logs)
    runner.close()
    assert limits.root is None or not limits.root.exists()


def test_a_container_over_its_hard_limit_is_killed_and_the_reason_is_memory(limited: Observed) -> None:
    arn = limited.running(task(container(HOG, memory=64), memory="1024")).arn

    exited = limited.wait(ContainerExited, arn)

    assert (exited.exit_code, exited.reason) == (137, OUT_OF_MEMORY)
    assert limited.lines(arn)[:1] == ["in"]


def test_a_task_over_its_limit_loses_the_container_that_takes_most(limited: Observed) -> None:
    launch = task(container(HOG, name="hog", essential=False), container(name="small"), memory="128")
    limited.running(launch)

    exited = limited.wait(ContainerExited, launch.arn)

    assert (exited.container, exited.exit_code, exited.reason) == ("hog", 137, OUT_OF_MEMORY)


def test_a_container_within_its_limits_lives_and_ends_without_a_reason(limited: Observed) -> None:
    arn = limited.running(task(container(HOG, memory=512), memory="1024")).arn
    poll(lambda: "out" in limited.lines(arn))

    limited.runner.stop(arn)

    exited = limited.wait(ContainerExited, arn)
    assert (exited.exit_code, exited.reason) == (143, None)


def test_memory_that_processes_share_is_counted_once(limited: Observed) -> None:
    script = """
import os, time
shared = bytearray(b"x") * (60 << 20)
for _ in range(4):
    if os.fork() == 0:
        time.sleep(600)
print("forked", flush=True)
time.sleep(3)
"""
    launch = task(container(script, memory=150))

    exited = limited.wait(ContainerExited, limited.start(launch))

    assert (exited.exit_code, exited.reason) == (0, None)


def test_a_child_killed_by_the_kernel_is_told_with_the_exit_code_of_the_first_process(
    tmp_path: Path, images: Mapping[str, ProcessImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = _control_groups()
    monkeypatch.setattr(process, "find_memory_limits", lambda: limits)
    runner = process.ProcessRunner(images=images, workdir=tmp_path, clock=WallClock())
    seen = Observed(runner, tmp_path)
    try:
        exited = seen.wait(ContainerExited, seen.start(task(container(HOG_IN_A_CHILD, memory=64))))
    finally:
        runner.close()

    assert (exited.exit_code, exited.reason) == (7, OUT_OF_MEMORY)


def test_a_process_that_left_its_session_ends_with_its_container_all_the_same(
    tmp_path: Path, images: Mapping[str, ProcessImage], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits = _control_groups()
    monkeypatch.setattr(process, "find_memory_limits", lambda: limits)
    runner = process.ProcessRunner(images=images, workdir=tmp_path, clock=WallClock())
    seen = Observed(runner, tmp_path)
    script = "import subprocess; print(subprocess.Popen(['sleep', '600'], start_new_session=True).pid)"
    try:
        seen.wait(ContainerExited, seen.start(task(container(script))), exit_code=0)
        pid = int(next(tmp_path.glob("*/app.log")).read_text())
        poll(lambda: has_ended(pid))
    finally:
        runner.close()
