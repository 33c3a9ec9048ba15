"""The server's image as an ECS task: started by the scheduler, reached at its address, killed for its memory, drained.

Needs a Docker-compatible engine, as the tests of the images do.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from inference_sandbox.container_logs import ContainerLogs
from inference_sandbox.ecs.clock import WallClock
from inference_sandbox.live import LiveAws
from inference_sandbox.load_balancer.balancer import HttpLoadBalancer
from inference_sandbox.tasks.container import ContainerRunner
from inference_sandbox.tasks.engine_cleanup import find_engine
from inference_server.repository.publish import publish
from tests.eventually import eventually
from tests.images.test_images import ENGINE, build
from tests.inference_server.models import write_linear

pytestmark = pytest.mark.timeout(900)

IMAGE = "registry.example.com/inference-server:1"


@pytest.fixture(scope="module")
def engine() -> str:
    host = find_engine()
    if host is None or ENGINE is None:
        pytest.skip("needs a container engine: none answers at DOCKER_HOST or /var/run/docker.sock")
    return host


@pytest.fixture
def aws(engine: str, tmp_path: Path) -> Iterator[LiveAws]:
    clock, logs = WallClock(), ContainerLogs()
    runner = ContainerRunner(
        engine=engine,
        images={IMAGE: build("server")},
        workdir=tmp_path / "tasks",
        clock=clock,
        log_sink=logs.sink,
    )
    with closing(runner), closing(HttpLoadBalancer()) as load_balancer:
        yield LiveAws(
            clock=clock,
            runner=runner,
            load_balancer=load_balancer,
            efs_root=tmp_path / "efs",
            container_logs=logs,
        )


def start(aws: LiveAws, *, memory: int) -> str:
    """A task of the server with `memory` MiB for its container; its ARN."""
    ecs, account = aws.client("ecs", "ap-northeast-1"), aws.account
    models = aws.efs_root / account.file_system_id
    models.mkdir(parents=True, exist_ok=True)
    write_linear(models)
    publish(models)
    for path in (models, *models.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    revision = ecs.register_task_definition(
        family="server",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="512",
        memory="1024",
        executionRoleArn=account.execution_role_arn,
        taskRoleArn=account.task_role_arn,
        containerDefinitions=[
            {
                "name": "app",
                "image": IMAGE,
                "memory": memory,
                "readonlyRootFilesystem": True,
                "environment": [{"name": "INFERENCE_DRAIN_SECONDS", "value": "0"}],
                "mountPoints": [
                    {"sourceVolume": "models", "containerPath": "/models", "readOnly": True},
                    {"sourceVolume": "scratch", "containerPath": "/tmp"},  # noqa: S108 in the container
                ],
            }
        ],
        volumes=[
            {"name": "models", "efsVolumeConfiguration": {"fileSystemId": account.file_system_id}},
            {"name": "scratch"},
        ],
    )["taskDefinition"]["taskDefinitionArn"]
    ecs.create_service(
        cluster=account.cluster,
        serviceName="server",
        taskDefinition=revision,
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": list(account.subnets)}},
    )
    (arn,) = ticking(aws, lambda: ecs.list_tasks(cluster=account.cluster, serviceName="server")["taskArns"])
    return str(arn)


def ticking(aws: LiveAws, look: Callable[[], Any]) -> Any:
    def ticked() -> Any:
        aws.tick()
        return look()

    return eventually(ticked, 60)


def task(aws: LiveAws, arn: str) -> dict[str, Any]:
    ecs = aws.client("ecs", "ap-northeast-1")
    described: dict[str, Any] = ecs.describe_tasks(cluster=aws.account.cluster, tasks=[arn])["tasks"][0]
    return described


def address_of(described: dict[str, Any]) -> str:
    details = {d["name"]: d["value"] for d in described["attachments"][0]["details"]}
    return str(details["privateIPv4Address"])


def test_the_servers_image_serves_as_a_task_and_drains_when_it_is_stopped(aws: LiveAws) -> None:
    arn = start(aws, memory=1024)
    running = ticking(aws, lambda: (t := task(aws, arn))["lastStatus"] == "RUNNING" and t)
    url = f"http://{address_of(running)}:8080"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    eventually(ready, 60)
    row = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}]}
    answer = httpx.post(f"{url}/v2/models/linear/infer", content=json.dumps(row), timeout=30)
    assert answer.status_code == 200, answer.text

    aws.client("ecs", "ap-northeast-1").stop_task(cluster=aws.account.cluster, task=arn)
    stopped = ticking(aws, lambda: (t := task(aws, arn))["lastStatus"] == "STOPPED" and t)
    assert stopped["stopCode"] == "UserInitiated"
    assert stopped["containers"][0]["exitCode"] == 0


def test_the_servers_image_is_killed_as_a_task_that_has_too_little_memory(aws: LiveAws) -> None:
    arn = start(aws, memory=24)
    stopped = ticking(aws, lambda: (t := task(aws, arn))["lastStatus"] == "STOPPED" and t)
    container = stopped["containers"][0]
    assert container["exitCode"] == 137, stopped
    assert container["reason"].startswith("OutOfMemoryError"), stopped
