"""Containers of a real engine as tasks: needs a Docker-compatible engine, and Python's image in its local store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference_sandbox.ports import (
    ContainerExited,
    ContainerHealth,
    ContainerLaunch,
    EfsMount,
    TaskFailedToStart,
    TaskLaunch,
)
from inference_sandbox.tasks import engine_cleanup
from inference_sandbox.tasks.container import LABEL, ContainerRunner
from inference_sandbox.tasks.engine_cleanup import find_engine
from tests.sandbox.tasks.conftest import Observed, WallClock, container, poll, task

IMAGE = "docker.io/library/python:3.13-slim-trixie"
SERVE = """
import http.server, sys
http.server.HTTPServer(("0.0.0.0", 8080), http.server.SimpleHTTPRequestHandler).serve_forever()
"""
OUT_OF_MEMORY = "OutOfMemoryError: Container killed due to memory usage"


@pytest.fixture(scope="module")
def engine() -> str:
    host = find_engine()
    if host is None:
        pytest.skip("no Docker-compatible engine answers at DOCKER_HOST or /var/run/docker.sock")
    status, _ = engine_cleanup._ask(host, "GET", f"/images/{IMAGE}/json")
    if status != 200:
        pytest.skip(f"the engine has no local image {IMAGE}")
    return host


@pytest.fixture
def observed(engine: str, tmp_path: Path) -> Iterator[Observed]:
    logs: list[tuple[str, str, str]] = []
    runner = ContainerRunner(
        engine=engine,
        images={"registry.example/python:*": IMAGE},
        workdir=tmp_path,
        clock=WallClock(),
        log_sink=lambda arn, _container, stream, line, _at: logs.append((arn, stream, line)),
    )
    yield Observed(runner, tmp_path, logs)
    runner.close()


def run(script: str, **definition: Any) -> ContainerLaunch:
    return container(command=["python3", "-u", "-c", script], **definition)


def left_behind(engine: str, launch: TaskLaunch) -> list[str]:
    """The names of the containers that the engine has of a task."""
    _, containers = engine_cleanup._ask(engine, "GET", "/containers/json?all=1")
    task_id = launch.arn.rsplit("/", 1)[-1]
    return [name for each in containers or () for name in each["Names"] if task_id in name]


def test_a_task_serves_on_its_own_address_and_is_removed_after_its_stop(observed: Observed, engine: str) -> None:
    launch = task(run(SERVE, stopTimeout=0.5), cpu="256", memory="512")
    running = observed.running(launch)

    answer = poll(partial(_get, f"http://{running.address}:8080/"))
    observed.runner.stop(launch.arn)

    assert answer == 200
    # The first process of a container ignores a SIGTERM for which it has no handler.
    assert observed.wait(ContainerExited, launch.arn, reason=None).exit_code == 137
    poll(lambda: not left_behind(engine, launch))


def test_environment_user_read_only_root_and_volumes_are_those_of_the_definition(
    observed: Observed, tmp_path: Path
) -> None:
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs" / "model").write_text("weights")
    script = """
import json, os
def writes(path):
    try:
        open(path + "/x", "w").close()
    except OSError as error:
        return error.strerror
    return "written"
seen = [os.getuid(), os.environ["MODE"], open("/models/model").read()]
print(json.dumps([*seen, *map(writes, ("/models", "/", "/own"))]))
"""
    launch = task(
        run(
            script,
            user="10001",
            readonlyRootFilesystem=True,
            environment={"MODE": "a b"},
            mounts=[EfsMount(container_path="/models", host_path=str(tmp_path / "fs"), read_only=True)],
            mountPoints=[
                {"sourceVolume": "models", "containerPath": "/models", "readOnly": True},
                {"sourceVolume": "own", "containerPath": "/own"},
            ],
        ),
        volumes=[{"name": "models", "efsVolumeConfiguration": {"fileSystemId": "fs-1"}}, {"name": "own"}],
    )

    observed.wait(ContainerExited, observed.start(launch), exit_code=0)

    user, mode, model, models, root, _own = json.loads(poll(lambda: observed.lines(launch.arn))[0])
    assert (user, mode, model) == (10001, "a b", "weights")
    assert models == "Read-only file system"
    assert root == "Read-only file system"


def test_a_volume_of_the_task_is_shared_and_removed(observed: Observed, engine: str) -> None:
    points = [{"sourceVolume": "own", "containerPath": "/own"}]
    launch = task(
        run("open('/own/note', 'w').write('hello')", name="first", essential=False, mountPoints=points),
        run(
            "print(open('/own/note').read())",
            name="second",
            mountPoints=points,
            dependsOn=[{"containerName": "first", "condition": "SUCCESS"}],
        ),
        volumes=[{"name": "own"}],
    )

    observed.wait(ContainerExited, observed.start(launch), container="second", exit_code=0)

    assert observed.lines(launch.arn) == ["hello"]
    volume = f"{launch.arn.rsplit('/', 1)[-1]}-own"
    poll(lambda: engine_cleanup._ask(engine, "GET", f"/volumes/{volume}")[0] == 404)


def test_the_containers_of_a_task_share_one_network(observed: Observed) -> None:
    ask = "import urllib.request; print(urllib.request.urlopen('http://127.0.0.1:8080/').status)"
    check = {"command": ["CMD", "python3", "-c", ask], "interval": 0.2, "retries": 9}
    launch = task(
        run(SERVE, name="server", healthCheck=check),
        run(
            ask,
            name="client",
            essential=False,
            dependsOn=[{"containerName": "server", "condition": "HEALTHY"}],
        ),
    )

    observed.start(launch)

    assert observed.wait(ContainerExited, launch.arn, container="client").exit_code == 0
    assert "200" in observed.lines(launch.arn)


def test_a_container_over_its_memory_is_killed_by_the_kernel_and_the_reason_says_so(observed: Observed) -> None:
    launch = task(run("hog = bytearray(b'x') * (200 << 20)"), memory="64")

    exited = observed.wait(ContainerExited, observed.start(launch))

    assert (exited.exit_code, exited.reason) == (137, OUT_OF_MEMORY)


def test_a_container_that_kills_itself_has_no_reason(observed: Observed) -> None:
    launch = task(
        run("import os; os.system('kill -9 $PPID'); os.kill(os.getpid(), 9); raise SystemExit(3)"), memory="64"
    )

    exited = observed.wait(ContainerExited, observed.start(launch))

    assert exited.reason is None


def test_stop_lets_a_handler_finish_and_kills_what_ignores_it(observed: Observed) -> None:
    handle = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(5)); print('ready'); time.sleep(600)"
    ignore = handle.replace("lambda *_: sys.exit(5)", "signal.SIG_IGN")
    polite, stubborn = task(run(handle)), task(run(ignore, stopTimeout=0.5))
    for launch in (polite, stubborn):
        observed.running(launch)
        poll(partial(observed.lines, launch.arn))

        observed.runner.stop(launch.arn)

    assert observed.wait(ContainerExited, polite.arn).exit_code == 5
    assert observed.wait(ContainerExited, stubborn.arn).exit_code == 137


def test_a_health_check_runs_inside_the_container(observed: Observed) -> None:
    check = {"command": ["CMD-SHELL", "test -f /tmp/flag"], "interval": 0.2, "retries": 1}
    script = "import os, time; open('/tmp/flag', 'w'); time.sleep(2); os.remove('/tmp/flag'); time.sleep(600)"
    arn = observed.running(task(run(script, healthCheck=check))).arn

    observed.wait(ContainerHealth, arn, status="HEALTHY")
    observed.wait(ContainerHealth, arn, status="UNHEALTHY")


def test_an_image_that_is_not_in_the_local_store_fails_as_a_failed_pull(observed: Observed) -> None:
    launch = task(container(image="registry.example/absent:1"))

    failed = observed.wait(TaskFailedToStart, observed.start(launch))

    assert failed.reason.startswith("CannotPullContainerError: ")
    assert "registry.example/absent:1: not found" in failed.reason


def test_a_command_that_is_not_there_fails_the_task_in_the_engine_s_words(observed: Observed, engine: str) -> None:
    launch = task(container(command=["no-such-program"]))

    failed = observed.wait(TaskFailedToStart, observed.start(launch))

    assert failed.reason == "Task failed to start"
    assert (failed.container_reason or "").startswith("CannotStartContainerError: ")
    assert "no-such-program" in (failed.container_reason or "")
    assert not left_behind(engine, launch)


def test_both_streams_are_told_apart(observed: Observed) -> None:
    script = "import sys; print('out'); print('err', file=sys.stderr)"

    arn = observed.wait(ContainerExited, observed.start(task(run(script)))).arn

    assert sorted(observed.logs) == [(arn, "stderr", "err"), (arn, "stdout", "out")]


def test_close_removes_what_runs(observed: Observed, engine: str) -> None:
    launch = task(run("import time; time.sleep(600)"))
    observed.running(launch)

    observed.runner.close()

    assert not left_behind(engine, launch)


def test_containers_are_removed_when_the_sandbox_is_killed(engine: str, tmp_path: Path) -> None:
    program = f"""
import time
from pathlib import Path
from inference_sandbox.tasks.container import ContainerRunner
from tests.sandbox.tasks.conftest import Observed, WallClock, container, task
runner = ContainerRunner(engine={engine!r}, workdir=Path({str(tmp_path)!r}), clock=WallClock())
Observed(runner, Path({str(tmp_path)!r})).running(task(container(image={IMAGE!r}, command=["sleep", "600"])))
print(runner._engine.token, flush=True)
time.sleep(600)
"""
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), str(root / "sandbox")])
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    ) as sandbox:
        assert sandbox.stdout is not None
        label = f"{LABEL}={sandbox.stdout.readline().strip()}"
        assert _labelled(engine, label)

        sandbox.send_signal(signal.SIGKILL)

    poll(lambda: not _labelled(engine, label))


def test_no_engine_is_found_where_none_listens(tmp_path: Path) -> None:
    assert find_engine({"DOCKER_HOST": f"unix://{tmp_path}/none.sock"}) is None


def _labelled(engine: str, label: str) -> list[Any]:
    _, containers = engine_cleanup._ask(engine, "GET", "/containers/json?all=1")
    name, value = label.split("=")
    return [each for each in containers or () if (each.get("Labels") or {}).get(name) == value]


def _get(url: str) -> int | None:
    try:
        return httpx.get(url).status_code
    except httpx.TransportError:
        return None
