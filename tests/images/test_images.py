"""Both images, built from their Dockerfiles and run as nobody in particular, with a read-only root.

They need a Docker-compatible engine (`DOCKER_HOST`, and `docker` or `podman` on the PATH) that can get the base image.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.eventually import eventually
from tests.images.conftest import SIZE
from tests.inference_server.models import linear, published, write_linear, write_top_n

ROOT = Path(__file__).resolve().parents[2]
ENGINE = shutil.which("podman") or shutil.which("docker")
BUILD_OPTIONS = shlex.split(os.environ.get("CONTAINER_BUILD_ARGS", ""))
SOMEBODY = "54321:54321"
MB = 10**6
LIMITS = {"operator": 250 * MB, "server": 400 * MB}
"""Of the whole image, uncompressed."""
LOOK = ("sh", "ls", "cat", "script", "python")
"""What people look into a container with. ECS Exec keeps a record of a session only if there are script and cat (Amazon
ECS developer guide, "Monitor Amazon ECS containers with ECS Exec")."""

pytestmark = [
    pytest.mark.skipif(
        ENGINE is None or "DOCKER_HOST" not in os.environ, reason="needs a container engine: DOCKER_HOST is not set"
    ),
    pytest.mark.timeout(900),
]


def engine(*arguments: str) -> str:
    assert ENGINE is not None
    done = subprocess.run([ENGINE, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def build(name: str) -> str:
    """The image of a program, built if it is not yet; its reference."""
    reference = f"localhost/ecs-inference-test/{name}:latest"
    engine(
        "build", *BUILD_OPTIONS, "--quiet", "--file", str(ROOT / f"Dockerfile.{name}"), "--tag", reference, str(ROOT)
    )
    return reference


@pytest.fixture(scope="session", params=["operator", "server"])
def image(request: pytest.FixtureRequest) -> tuple[str, str]:
    """Its short name, and its reference."""
    return request.param, build(request.param)


@contextmanager
def container(reference: str, *options: str) -> Iterator[str]:
    name = f"ecs-inference-{uuid.uuid4().hex[:8]}"
    engine(
        "run", "--detach", "--name", name, "--network", "host", "--user", SOMEBODY, "--read-only", *options, reference
    )
    try:
        yield name
    finally:
        engine("rm", "--force", name)


def inside(reference: str, command: str) -> list[str]:
    """The words that a shell command prints in the image."""
    return engine("run", "--rm", "--network", "host", "--entrypoint", "sh", reference, "-c", command).split()


def test_an_image_is_small_and_belongs_to_no_root(
    image: tuple[str, str], record_property: Callable[[str, object], None]
) -> None:
    name, reference = image
    described = json.loads(engine("image", "inspect", reference))[0]
    record_property(SIZE, f"{name} has {described['Size'] / MB:.0f} MB, and may have {LIMITS[name] // MB}")
    assert described["Size"] < LIMITS[name]
    assert described["Config"]["User"].partition(":")[0] not in ("", "0", "root")


def test_an_image_holds_no_tool_to_make_or_install_things_and_none_of_the_other_programs(
    image: tuple[str, str],
) -> None:
    name, reference = image
    assert inside(reference, "command -v cc gcc g++ c++ apt apt-get pip pip3 perl; true") == []
    assert inside(reference, "python -c 'import importlib.util as u; print(u.find_spec(\"pip\"))'") == ["None"]
    assert inside(reference, "ls /opt/*/bin | grep -x 'inference-.*'") == [f"inference-{name}"]


def test_no_program_of_an_image_makes_its_caller_somebody_else(image: tuple[str, str]) -> None:
    assert inside(image[1], "find / -xdev -type f -perm /6000 2>/dev/null; command -v find") == ["/usr/bin/find"]


def test_an_image_can_be_looked_into(image: tuple[str, str]) -> None:
    found = inside(image[1], f"for each in {' '.join(LOOK)}; do command -v $each; done")
    assert [Path(each).name for each in found] == list(LOOK)


def test_an_image_says_what_of_debian_is_in_it(image: tuple[str, str]) -> None:
    packages = inside(image[1], "dpkg-query --show --showformat '${db:Status-Status}:${Package} '")
    assert {"installed:libc6", "installed:ca-certificates"} <= set(packages)
    assert not {"installed:apt", "installed:perl-base"} & set(packages)


def test_the_operator_runs_as_anybody_with_a_read_only_root(image: tuple[str, str]) -> None:
    name, reference = image
    if name != "operator":
        pytest.skip("this is about the operator's image")
    read_only = ("--rm", "--network", "host", "--user", SOMEBODY, "--read-only")
    examples = f"{ROOT / 'examples'}:/examples:ro"
    files = ("-f", "/examples/environment.yaml", "-f", "/examples/recommender.yaml")
    planned = engine("run", *read_only, "--volume", examples, reference, "plan", *files)
    assert "ecs.create_service" in planned


def test_the_server_predicts_as_anybody_with_a_read_only_root_and_ends_well(
    image: tuple[str, str], tmp_path: Path
) -> None:
    name, reference = image
    if name != "server":
        pytest.skip("this is about the server's image")
    models = tmp_path / "models"
    write_linear(models)
    write_top_n(models)
    published(models)
    for path in (models, *models.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    address = "127.0.9.9"
    settings = ("-e", f"INFERENCE_HOST={address}", "-e", "INFERENCE_DRAIN_SECONDS=0")
    with container(reference, *settings, "--volume", f"{models}:/models:ro") as running:
        eventually(lambda: ask(f"http://{address}:8080/readyz") is not None, 30)
        row = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.5, -1, 2, 3]}
        answer = ask(f"http://{address}:8080/v2/models/linear/infer", {"inputs": [row]})
        assert answer is not None
        assert answer["outputs"][0]["data"] == pytest.approx(linear(np.array([row["data"]]))[0].tolist(), rel=1e-5)
        engine("stop", "--time", "30", running)
        assert engine("inspect", "--format", "{{.State.ExitCode}}", running) == "0"


def ask(url: str, document: dict[str, Any] | None = None) -> dict[str, Any] | None:
    """The answer; None if there is none yet."""
    body = None if document is None else json.dumps(document).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body), timeout=5) as answer:  # noqa: S310  (loopback)
            found: dict[str, Any] = json.load(answer)
            return found
    except OSError:
        return None
