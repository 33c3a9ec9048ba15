"""What each task runs as: with a small stand-in for an engine, which has one image and starts nothing."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from inference_sandbox.ports import TaskFailedToStart, TaskRunning
from inference_sandbox.tasks.choice import LocalRunner, Means
from inference_sandbox.tasks.images import Choice, EngineUnavailableError, ProcessImage
from tests.sandbox.tasks.conftest import Observed, WallClock, container, task

STORED = "registry.example/stored:1"
SPARE = "registry.example/spare:1"
ABSENT = "registry.example/absent:1"
SLEEPS = ProcessImage(entrypoint=[sys.executable, "-c", "import time; time.sleep(600)"])
FROM_THE_ENGINE = "CannotCreateContainerError: Error response from daemon: this engine starts nothing"


class StandIn(BaseHTTPRequestHandler):
    info: Mapping[str, Any] = {}

    def do_GET(self) -> None:
        known = {"/_ping": {}, "/info": self.info, f"/images/{STORED}/json": {"Id": "1", "Config": {}}}
        found = known.get(self.path)
        self._reply(404 if found is None else 200, {"message": "no such thing"} if found is None else found)

    def do_POST(self) -> None:
        self._reply(500, {"message": "this engine starts nothing"})

    def _reply(self, status: int, document: object) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def engine(handler: type[StandIn] = StandIn) -> Iterator[str]:
    """Its DOCKER_HOST."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield f"tcp://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        serving.join()


@contextmanager
def local(
    tmp_path: Path, host: str | None, *, processes: bool = True, images: Mapping[str, ProcessImage] | None = None
) -> Iterator[Observed]:
    runner = LocalRunner(
        means=Means(engine=host, processes=processes),
        images=images or {},
        spare={SPARE: SLEEPS},
        workdir=tmp_path,
        clock=WallClock(),
    )
    yield Observed(runner, tmp_path)
    runner.close()


def test_an_image_of_the_engine_s_store_is_a_container(tmp_path: Path) -> None:
    with engine() as host, local(tmp_path, host) as observed:
        launch = task(container(image=STORED))
        failed = observed.wait(TaskFailedToStart, observed.start(launch))
        assert failed.container_reason == FROM_THE_ENGINE
        assert isinstance(observed.runner, LocalRunner)
        assert observed.runner.runs_as(launch.arn) == "container"


def test_an_image_that_only_the_sandbox_knows_is_a_process(tmp_path: Path) -> None:
    with engine() as host, local(tmp_path, host) as observed:
        launch = task(container(image=SPARE))
        observed.wait(TaskRunning, observed.start(launch))
        assert isinstance(observed.runner, LocalRunner)
        assert observed.runner.runs_as(launch.arn) == "process"


def test_the_store_comes_before_the_sandbox_s_own_image_and_a_user_s_image_before_the_store(tmp_path: Path) -> None:
    with engine() as host:
        with local(tmp_path / "a", host, images={STORED: SLEEPS}) as observed:
            observed.wait(TaskRunning, observed.start(task(container(image=STORED))))
        spare = LocalRunner(
            means=Means(engine=host, processes=True),
            images={},
            spare={STORED: SLEEPS},
            workdir=tmp_path / "b",
            clock=WallClock(),
        )
        observed = Observed(spare, tmp_path)
        failed = observed.wait(TaskFailedToStart, observed.start(task(container(image=STORED))))
        spare.close()
    assert failed.container_reason == FROM_THE_ENGINE


def test_an_image_that_nobody_knows_fails_as_a_pull(tmp_path: Path) -> None:
    with engine() as host, local(tmp_path, host) as observed:
        failed = observed.wait(TaskFailedToStart, observed.start(task(container(image=ABSENT))))
        beside = task(container(image=STORED), container(image=ABSENT, name="other"))
        named = observed.wait(TaskFailedToStart, observed.start(beside))
        assert isinstance(observed.runner, LocalRunner)
        assert observed.runner.runs_as(beside.arn) is None
    assert failed.reason.startswith("CannotPullContainerError: ")
    assert f"{ABSENT}: not found" in named.reason


def test_containers_alone_leave_the_sandbox_s_own_images_out(tmp_path: Path) -> None:
    with engine() as host, local(tmp_path, host, processes=False) as observed:
        failed = observed.wait(TaskFailedToStart, observed.start(task(container(image=SPARE))))
    assert failed.reason.startswith("CannotPullContainerError: ")


def test_an_engine_that_has_gone_has_no_images(tmp_path: Path) -> None:
    with engine() as host, local(tmp_path, host) as observed:
        observed.wait(TaskFailedToStart, observed.start(task(container(image=STORED))))
        gone = host
    with local(tmp_path / "later", gone) as observed:
        observed.wait(TaskRunning, observed.start(task(container(image=SPARE))))


@pytest.mark.parametrize("choice", ["auto", "process"])
def test_without_an_engine_tasks_are_processes(choice: Choice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    assert str(Means.find(choice)) == "processes"
    with pytest.raises(EngineUnavailableError, match=rf"none answers at unix://{tmp_path}/none\.sock"):
        Means.find("container")


def test_an_engine_that_answers_is_used_unless_processes_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    with engine() as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        assert str(Means.find("auto")) == f"containers of {host} where it has the image, else processes"
        assert str(Means.find("container")) == f"containers of {host} where it has the image, nothing else"
        assert str(Means.find("process")) == "processes"


def test_a_rootless_engine_is_left_alone_for_nobody_could_reach_its_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rootless(StandIn):
        info = {"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}  # noqa: RUF012 - not changed

    with engine(Rootless) as host:
        monkeypatch.setenv("DOCKER_HOST", host)
        assert Means.find("auto").engine is None
        with pytest.raises(EngineUnavailableError, match="rootless"):
            Means.find("container")
