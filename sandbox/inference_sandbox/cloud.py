"""AWS as the sandbox has it: the live API, the tasks that it runs, the load balancer, and an account to build in.

Composition only: each part knows `ports` and none of the others. Kubernetes is not known here.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inference_sandbox.aws import Aws, side_door
from inference_sandbox.aws.in_process import CREDENTIALS
from inference_sandbox.aws.server import Server
from inference_sandbox.container_logs import ContainerLogs
from inference_sandbox.details import Cloud
from inference_sandbox.ecs.clock import WallClock
from inference_sandbox.live import REGION, LiveAws
from inference_sandbox.load_balancer import access_log
from inference_sandbox.load_balancer.balancer import HttpLoadBalancer
from inference_sandbox.load_balancer.traffic import AccessLogEntry
from inference_sandbox.tasks.choice import LocalRunner, Means
from inference_sandbox.tasks.egress import Egress
from inference_sandbox.tasks.images import Choice, ProcessImage
from inference_sandbox.tasks.router import FluentBit

_TICK_SECONDS = 0.1
_logger = logging.getLogger(__name__)

_NO_ROUTER = "none: what goes to a log router stays in the tasks' log files (set FLUENT_BIT to a Fluent Bit program)"
_SERVER = ProcessImage(
    entrypoint=[sys.executable, "-m", "inference_server", "run"],
    environment={"INFERENCE_HOST": "{address}", "INFERENCE_SCRATCH_DIR": "{workdir}"},
)
SERVER_IMAGES = dict.fromkeys(("*/inference-server", "*/inference-server:*", "*/inference-server@*"), _SERVER)
"""Any registry, any tag or digest: the server that is installed beside the sandbox."""


@dataclass(frozen=True, kw_only=True)
class LiveCloud:
    aws: LiveAws
    """To look into it and to break it, from the same process."""
    details: Cloud


@contextmanager
def run_cloud(workdir: Path, *, images: Mapping[str, ProcessImage], tasks: Choice = "process") -> Iterator[LiveCloud]:
    """Up within the `with` block, in this process. `images` come before `SERVER_IMAGES`. One at a time in a process.

    Raises EngineUnavailableError where `tasks` must be containers and can't, and FluentBitUnusableError for a
    FLUENT_BIT that does not run.
    """
    clock, logs, means, fluent_bit = WallClock(), ContainerLogs(), Means.find(tasks), FluentBit.find()
    egress = Egress(workdir / "egress", {name.upper(): value for name, value in CREDENTIALS.items()})
    runner = LocalRunner(
        means=means,
        images=images,
        spare=SERVER_IMAGES,
        workdir=workdir / "tasks",
        clock=clock,
        log_sink=logs.sink,
        egress=egress,
        fluent_bit=fluent_bit,
    )
    with (
        closing(runner),
        _access_log(workdir / "access.log") as on_access,
        closing(HttpLoadBalancer(on_access=on_access, clock=clock)) as load_balancer,
    ):
        aws = LiveAws(
            clock=clock,
            runner=runner,
            load_balancer=load_balancer,
            efs_root=workdir / "efs",
            container_logs=logs,
            runs_as=runner.runs_as,
            take_traffic=load_balancer.take_traffic,
        )
        with _serving(aws) as url:
            egress.upstream = url
            router = str(fluent_bit) if fluent_bit else _NO_ROUTER
            yield LiveCloud(aws=aws, details=_details(aws, url, tasks=str(means), log_router=router))


@contextmanager
def _access_log(path: Path) -> Iterator[Callable[[AccessLogEntry], None]]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", buffering=1) as log:
        yield lambda entry: print(access_log.line(entry), file=log)


def _details(aws: LiveAws, url: str, *, tasks: str, log_router: str) -> Cloud:
    models = aws.efs_root / aws.account.file_system_id
    models.mkdir(parents=True, exist_ok=True)
    return Cloud(
        **asdict(aws.account),
        aws_endpoint_url=url,
        region=REGION,
        aws_access_key_id=CREDENTIALS["aws_access_key_id"],
        aws_secret_access_key=CREDENTIALS["aws_secret_access_key"],
        models_dir=str(models),
        load_balancer_url=f"http://127.0.0.1:{aws.listener_port}",
        tasks=tasks,
        log_router=log_router,
    )


@contextmanager
def _serving(aws: LiveAws) -> Iterator[str]:
    """Its URL, while its API is served and its scheduler looks at the clock now and then."""

    def status(_aws: Aws, _given: side_door.Given) -> Any:
        """What there is in ECS right now."""
        return aws.status()

    routes = {("GET", "/status"): status, **side_door.ROUTES}
    with closing(Server(aws, routes)) as server, _ticking(aws):
        yield server.url


@contextmanager
def _ticking(aws: LiveAws) -> Iterator[None]:
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
