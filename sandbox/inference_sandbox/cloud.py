"""AWS as the sandbox has it: the live API, the tasks that it runs, the load balancer, and an account to build in.

Composition only: each part knows `ports` and none of the others. Kubernetes is not known here.
"""

from __future__ import annotations

import logging
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import boto3

from inference_sandbox.aws.server import CREDENTIALS, Aws
from inference_sandbox.details import Cloud
from inference_sandbox.ecs.clock import WallClock
from inference_sandbox.ecs.surroundings import BRIEF, Settings
from inference_sandbox.load_balancer.balancer import HttpLoadBalancer
from inference_sandbox.seed import seed
from inference_sandbox.tasks.images import ProcessImage
from inference_sandbox.tasks.process import ProcessRunner

REGION = "ap-northeast-1"

_TICK_SECONDS = 0.1
_logger = logging.getLogger(__name__)

_SERVER = ProcessImage(
    entrypoint=[sys.executable, "-m", "inference_server", "run"],
    environment={"INFERENCE_HOST": "{address}", "INFERENCE_SCRATCH_DIR": "{workdir}"},
)
SERVER_IMAGES = dict.fromkeys(("*/inference-server", "*/inference-server:*", "*/inference-server@*"), _SERVER)
"""Any registry, any tag or digest: the server that is installed beside the sandbox."""


@dataclass(frozen=True, kw_only=True)
class LiveCloud:
    aws: Aws
    """To look into it and to break it, from the same process."""
    details: Cloud


@contextmanager
def run_cloud(workdir: Path, *, images: Mapping[str, ProcessImage]) -> Iterator[LiveCloud]:
    """Up within the `with` block, in this process. `images` come before `SERVER_IMAGES`. One at a time in a process."""
    clock = WallClock()
    efs_root = workdir / "efs"
    with (
        closing(ProcessRunner(images={**images, **SERVER_IMAGES}, workdir=workdir / "tasks", clock=clock)) as runner,
        closing(HttpLoadBalancer()) as load_balancer,
    ):
        aws = Aws(
            clock=clock,
            runner=runner,
            load_balancer=load_balancer,
            efs_root=efs_root,
            settings=Settings(latencies=BRIEF),
        )
        with _serving(aws) as url:
            yield LiveCloud(aws=aws, details=_prepare(url, efs_root))


def _prepare(url: str, efs_root: Path) -> Cloud:
    key, secret = CREDENTIALS["aws_access_key_id"], CREDENTIALS["aws_secret_access_key"]
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=REGION)
    port = _free_port()
    account = seed(session, url, listener_port=port)
    models = efs_root / account.file_system_id
    models.mkdir(parents=True, exist_ok=True)
    return Cloud(
        **asdict(account),
        aws_endpoint_url=url,
        region=REGION,
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        models_dir=str(models),
        load_balancer_url=f"http://127.0.0.1:{port}",
    )


@contextmanager
def _serving(aws: Aws) -> Iterator[str]:
    """Its URL, while its API is served and its scheduler looks at the clock now and then."""
    url = aws.start()
    try:
        with _ticking(aws):
            yield url
    finally:
        aws.stop()


@contextmanager
def _ticking(aws: Aws) -> Iterator[None]:
    """Tick in a thread. What fails in it is logged, and tried again."""
    over = threading.Event()

    def tick() -> None:
        while not over.wait(_TICK_SECONDS):
            try:
                aws.tick()
            except Exception:
                _logger.exception("a tick of the ECS scheduler failed")

    thread = threading.Thread(target=tick, name="ecs-scheduler", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
