"""The stand-ins of AWS that are walked through, each up within a `with` block and ready for the walk."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError

from inference_sandbox.cloud import run_cloud
from inference_sandbox.tasks.images import ProcessImage
from tools.sandbox_comparison.walk import GOOD_IMAGE, STEPS, World, see

REGION = "us-east-1"
WAITS = 40.0
"""Real seconds that a stand-in has for what takes AWS minutes."""

_STARTS_WITHIN = 60.0
_WAITING = ProcessImage(entrypoint=[sys.executable, "-c", "import signal; signal.pause()"])


def walk_through(world: World) -> Mapping[str, str]:
    """What each step sees, by its title."""
    subnets = world.client("ec2").describe_subnets()["Subnets"]
    world.subnets, world.vpc = [subnet["SubnetId"] for subnet in subnets[:2]], subnets[0]["VpcId"]
    world.port = _free_port()
    return {step.title: see(step, world) for step in STEPS}


@contextmanager
def sandbox() -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder, run_cloud(Path(folder), images={GOOD_IMAGE: _WAITING}) as cloud:
        clients = _clients(cloud.details.aws_endpoint_url)
        yield World(client=clients, wait=partial(_wait, lambda: cloud.aws.advance(timedelta(seconds=10))))


@contextmanager
def ministack(environment: Path) -> Iterator[World]:
    """`environment`: a virtual environment that has it."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w") as log:
        settings = {"GATEWAY_PORT": str(port), "BIND_HOST": "127.0.0.1", "LOG_LEVEL": "WARNING"}
        process = subprocess.Popen(
            [environment / "bin" / "ministack"], env=os.environ | settings, cwd=folder, stdout=log, stderr=log
        )
        try:
            clients = _clients(f"http://127.0.0.1:{port}")
            _wait(lambda: None, lambda: process.poll() is not None or _answers(clients), seconds=_STARTS_WITHIN)
            yield World(client=clients, wait=partial(_wait, lambda: None))
        finally:
            process.terminate()
            process.wait()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _clients(url: str) -> Callable[[str], Any]:
    config = Config(retries={"total_max_attempts": 1}, parameter_validation=False, proxies={})
    keys = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "example"}
    make: Any = boto3.client  # its overloads name each service; here the name is a variable
    return cache(partial(make, endpoint_url=url, region_name=REGION, config=config, **keys))


def _answers(clients: Callable[[str], Any]) -> bool:
    try:
        clients("sts").get_caller_identity()
    except BotoCoreError:
        return False
    return True


def _wait(pass_time: Callable[[], object], is_so: Callable[[], bool], *, seconds: float = WAITS) -> bool:
    deadline = time.monotonic() + seconds
    while not (answer := is_so()) and time.monotonic() < deadline:
        pass_time()
        time.sleep(0.1)
    return answer
