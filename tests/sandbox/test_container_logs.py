"""What containers print, in CloudWatch Logs: with real little processes, and by itself where it must give way."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually

pytest.importorskip("moto", reason="the extra `sandbox` is not installed")

from inference_sandbox import container_logs
from inference_sandbox.cloud import LiveCloud, run_cloud
from inference_sandbox.container_logs import ContainerLogs
from inference_sandbox.tasks.images import ProcessImage

IMAGE = "registry.example.com/printer:1"
PRINTER = """
import signal, sys
print("one"); print("two"); print("trouble", file=sys.stderr)
sys.stdout.flush()
signal.signal(signal.SIGTERM, lambda *_: (print("going"), sys.exit(0)))
signal.pause()
"""


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    with run_cloud(tmp_path, images={IMAGE: ProcessImage(entrypoint=[sys.executable, "-c", PRINTER])}) as live:
        yield live


def run_task(cloud: LiveCloud, log: dict[str, Any] | None) -> str:
    """The task's ARN."""
    ecs = cloud.aws.client("ecs", cloud.details.region)
    container = {"name": "app", "image": IMAGE} | ({"logConfiguration": log} if log else {})
    ecs.register_task_definition(
        family="printer",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        executionRoleArn=cloud.details.execution_role_arn,
        containerDefinitions=[container],
    )
    (task,) = ecs.run_task(
        cluster=cloud.details.cluster,
        taskDefinition="printer",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": cloud.details.subnets}},
    )["tasks"]
    return str(task["taskArn"])


def awslogs(**options: str) -> dict[str, Any]:
    return {
        "logDriver": "awslogs",
        "options": {"awslogs-group": "/printer", "awslogs-region": "ap-northeast-1", "awslogs-stream-prefix": "ecs"}
        | {f"awslogs-{name.replace('_', '-')}": value for name, value in options.items()},
    }


def logs(cloud: LiveCloud, region: str = "ap-northeast-1") -> Any:
    return cloud.aws.client("logs", region)


def printed(cloud: LiveCloud, region: str = "ap-northeast-1") -> list[str]:
    return [event["message"] for event in logs(cloud, region).filter_log_events(logGroupName="/printer")["events"]]


def status_of(cloud: LiveCloud, task: str) -> str:
    (found,) = cloud.aws.client("ecs", cloud.details.region).describe_tasks(
        cluster=cloud.details.cluster, tasks=[task]
    )["tasks"]
    return str(found["lastStatus"])


def test_what_a_container_prints_is_in_the_stream_of_its_task(cloud: LiveCloud) -> None:
    logs(cloud).create_log_group(logGroupName="/printer")
    before = datetime.now(UTC)
    task = run_task(cloud, awslogs())
    eventually(lambda: sorted(printed(cloud)) == ["one", "trouble", "two"])
    stream = f"ecs/app/{task.rsplit('/', 1)[-1]}"
    events = logs(cloud).get_log_events(logGroupName="/printer", logStreamName=stream)["events"]
    assert [event["message"] for event in events if event["message"] != "trouble"] == ["one", "two"]
    for event in events:
        assert before.timestamp() * 1000 - 1 <= event["timestamp"] <= datetime.now(UTC).timestamp() * 1000


def test_the_last_words_of_a_task_arrive_too(cloud: LiveCloud) -> None:
    logs(cloud).create_log_group(logGroupName="/printer")
    task = run_task(cloud, awslogs())
    eventually(lambda: "two" in printed(cloud))
    cloud.aws.client("ecs", cloud.details.region).stop_task(cluster=cloud.details.cluster, task=task)
    eventually(lambda: "going" in printed(cloud))


def test_the_options_say_where_to(cloud: LiveCloud) -> None:
    task = run_task(cloud, awslogs(region="eu-west-1", stream_prefix="mine", create_group="true"))
    eventually(lambda: logs(cloud, "eu-west-1").describe_log_groups()["logGroups"])
    eventually(lambda: "one" in printed(cloud, "eu-west-1"))
    (stream,) = logs(cloud, "eu-west-1").describe_log_streams(logGroupName="/printer")["logStreams"]
    assert stream["logStreamName"] == f"mine/app/{task.rsplit('/', 1)[-1]}"


def test_lines_arrive_also_when_the_sandbox_is_a_day_ahead_of_the_machine(cloud: LiveCloud) -> None:
    logs(cloud).create_log_group(logGroupName="/printer")
    cloud.aws.advance(timedelta(days=1))
    run_task(cloud, awslogs())
    eventually(lambda: "one" in printed(cloud))


def test_a_group_that_is_gone_costs_the_lines_and_not_the_task(cloud: LiveCloud) -> None:
    logs(cloud).create_log_group(logGroupName="/printer")
    task = run_task(cloud, awslogs())
    eventually(lambda: len(printed(cloud)) == 3)
    logs(cloud).delete_log_group(logGroupName="/printer")
    cloud.aws.client("ecs", cloud.details.region).stop_task(cluster=cloud.details.cluster, task=task)
    eventually(lambda: status_of(cloud, task) == "STOPPED")
    assert eventually(lambda: cloud.aws.status()["droppedLogLines"]) == 1


def test_a_container_without_a_log_driver_logs_nowhere_and_nothing_counts_as_lost(cloud: LiveCloud) -> None:
    task = run_task(cloud, None)
    eventually(lambda: status_of(cloud, task) == "RUNNING")
    (log,) = cloud.aws.efs_root.parent.glob(f"tasks/{task.rsplit('/', 1)[-1]}/app.log")
    eventually(lambda: "two" in log.read_text())
    cloud.aws.tick()
    assert logs(cloud).describe_log_groups()["logGroups"] == []
    assert cloud.aws.status()["droppedLogLines"] == 0


def test_a_task_that_prints_faster_than_anybody_reads_loses_lines_and_never_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(container_logs, "MAXIMUM_WAITING", 10)
    delivery = ContainerLogs()
    for number in range(25):
        delivery.sink("arn:aws:ecs:…:task/inference/1", "app", "stdout", str(number), datetime.now(UTC))
    assert delivery.dropped == 15
    delivery.deliver({})
    assert delivery.dropped == 25  # nobody knows the task any more
    delivery.deliver({})
    assert delivery.dropped == 25
