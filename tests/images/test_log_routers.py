"""Log routers beside containers: as a container, where the engine has its image, and else as a process of this machine.

They need an engine, as the tests of the images do, and a Fluent Bit to put into an image.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from inference_sandbox.cloud import LiveCloud, run_cloud
from inference_sandbox.tasks.engine_cleanup import find_engine
from tests.eventually import eventually
from tests.images.test_images import BUILD_OPTIONS, ENGINE, engine
from tests.sandbox.test_firelens import (
    CLOUDWATCH,
    FLUENT_BIT,
    PRINTS,
    described,
    in_cloudwatch,
    logs_to_router,
    needs_fluent_bit,
    router,
    start,
    stop,
)

BASE = "docker.io/library/python:3.13-slim-trixie"
ROUTER = "localhost/ecs-inference-test/fluent-bit:latest"
DOCKERFILE = f"""\
FROM {BASE}
COPY lib /fluent-bit/lib
COPY fluent-bit /fluent-bit/bin/fluent-bit
COPY entrypoint.sh /entrypoint.sh
CMD ["/entrypoint.sh"]
"""
ENTRYPOINT = """\
#!/bin/sh
LD_LIBRARY_PATH=/fluent-bit/lib exec /fluent-bit/bin/fluent-bit -c /fluent-bit/etc/fluent-bit.conf
"""

pytestmark = [pytest.mark.timeout(300), needs_fluent_bit]


@pytest.fixture(scope="module")
def router_image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The machine's Fluent Bit, with the libraries that it takes from the machine, at the paths of AWS's image."""
    assert FLUENT_BIT is not None
    context = tmp_path_factory.mktemp("context")
    (context / "lib").mkdir()
    (context / "Dockerfile").write_text(DOCKERFILE)
    (context / "entrypoint.sh").write_text(ENTRYPOINT)
    (context / "entrypoint.sh").chmod(0o755)
    shutil.copy(FLUENT_BIT.program, context / "fluent-bit")
    linked = subprocess.run(["ldd", str(FLUENT_BIT.program)], capture_output=True, text=True, check=True).stdout
    for library in re.findall(r"=> (/\S+)", linked):
        if not re.search(r"/(?:ld-linux|libc|libm)[.-]", library):
            shutil.copy(library, context / "lib")
    engine("build", *BUILD_OPTIONS, "--quiet", "--tag", ROUTER, str(context))
    return ROUTER


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    if ENGINE is None or find_engine() is None:
        pytest.skip("needs a container engine: none answers at DOCKER_HOST or /var/run/docker.sock")
    with run_cloud(tmp_path, images={}, tasks="container") as live:
        yield live


def app() -> dict[str, Any]:
    script = {"name": "app", "image": BASE, "memory": 128, "command": ["python3", "-c", PRINTS]}
    return script | logs_to_router(**CLOUDWATCH)


@pytest.mark.parametrize("where", ["container", "process"])
def test_lines_of_a_container_arrive_through_its_router(
    cloud: LiveCloud, where: str, request: pytest.FixtureRequest
) -> None:
    image = request.getfixturevalue("router_image") if where == "container" else "registry.example.com/absent:1"
    arn = start(cloud, router(image=image), app())
    assert described(cloud, arn)["lastStatus"] == "RUNNING", described(cloud, arn)

    eventually(lambda: len(in_cloudwatch(cloud)) >= 5, 30)
    stopped = stop(cloud, arn)

    records = [record for _, record in in_cloudwatch(cloud)]
    assert {record["ecs_task_arn"] for record in records} == {arn}
    assert [record["log"] for record in records if "partial_id" not in record][-1] == "the last word"
    assert {each["name"]: each["exitCode"] for each in stopped["containers"]} == {"app": 0, "log_router": 0}


def test_a_container_finds_the_sandbox_s_aws(cloud: LiveCloud) -> None:
    ask = "import os, urllib.request as u; u.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/_sandbox/status', timeout=5)"
    arn = start(cloud, {"name": "app", "image": BASE, "memory": 128, "command": ["python3", "-c", ask]})
    eventually(lambda: described(cloud, arn)["lastStatus"] == "STOPPED", 30)
    assert described(cloud, arn)["containers"][0]["exitCode"] == 0
