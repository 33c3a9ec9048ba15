"""Tasks with a log router: what ECS makes of a task definition, and where the lines arrive by a real Fluent Bit."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("moto", reason="the extra `sandbox` is not installed")

from inference_sandbox.cloud import LiveCloud, run_cloud
from inference_sandbox.ports import ContainerLaunch, TaskLaunch
from inference_sandbox.tasks import firelens
from inference_sandbox.tasks.images import ProcessImage
from inference_sandbox.tasks.router import FluentBit
from tests.eventually import eventually

FLUENT_BIT = FluentBit.find()
needs_fluent_bit = pytest.mark.skipif(
    FLUENT_BIT is None, reason="needs Fluent Bit: FLUENT_BIT is not set and none is on PATH"
)
ROUTER_IMAGE = "public.ecr.aws/aws-observability/aws-for-fluent-bit:3.5.10"
APP = "registry.example.com/app:1"
PRINTS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (print("the last word", flush=True), sys.exit(0)))
print("hello", flush=True)
print("oh no", file=sys.stderr, flush=True)
print("x" * 40_000, flush=True)
time.sleep(600)
"""
CLOUDWATCH = {
    "Name": "cloudwatch_logs",
    "region": "ap-northeast-1",
    "log_group_name": "/routed",
    "log_stream_prefix": "from-",
    "auto_create_group": "true",
}
START = """
set -eu
printf '%s\\n' "$CONF" > /router/extra.conf
exec /bin/sh /entrypoint.sh
"""
EXTRA = """
[SERVICE]
    Flush 0.2
    Grace 5
    HTTP_Server On
    HTTP_Listen 127.0.0.1
    HTTP_Port 2020
[FILTER]
    Name record_modifier
    Match app-firelens*
    Record extra yes
[OUTPUT]
    Name s3
    Match app-firelens*
    region ap-northeast-1
    bucket archive
    total_file_size 1M
    upload_timeout 1s
    use_put_object On
    compression gzip
    store_dir /router/s3
    s3_key_format /logs/$UUID.gz
"""


def container(name: str, **definition: Any) -> dict[str, Any]:
    return {"name": name, "image": APP, "memory": 128} | definition


def logs_to_router(**options: str) -> dict[str, Any]:
    return {"logConfiguration": {"logDriver": "awsfirelens", "options": options}}


def router(**definition: Any) -> dict[str, Any]:
    configuration = {"type": "fluentbit"} | definition.pop("firelensConfiguration", {})
    return container("log_router", **{"image": ROUTER_IMAGE, "firelensConfiguration": configuration} | definition)


def launch(*definitions: dict[str, Any]) -> TaskLaunch:
    return TaskLaunch(
        arn="arn:aws:ecs:eu-west-1:111122223333:task/prod/0123456789abcdef0123456789abcdef",
        task_definition={"family": "web", "revision": 7},
        containers=[ContainerLaunch(definition=each, environment={}) for each in definitions],
    )


def test_the_main_file_has_the_parts_and_the_order_of_ecs() -> None:
    task = launch(
        router(
            memoryReservation=50,
            firelensConfiguration={"options": {"config-file-type": "file", "config-file-value": "/router/router.conf"}},
        ),
        container("app", **logs_to_router(**{"Name": "stdout", "exclude-pattern": "^debug", "Format": "json_lines"})),
        container("quiet", **logs_to_router(**{"log-driver-buffer-limit": "2097152"})),
    )
    assert firelens.main_file(task) == (Path(__file__).parent / "firelens.conf").read_text()


def test_a_router_without_a_memory_of_its_own_buffers_25_mb_and_metadata_can_be_left_out() -> None:
    found = router(firelensConfiguration={"options": {"enable-ecs-log-metadata": "false"}})
    del found["memory"]
    text = firelens.main_file(launch(found))
    assert "    Mem_Buf_Limit 25MB\n" in text
    assert "record_modifier" not in text


def test_output_options_that_do_not_name_their_output_are_refused_as_by_ecs() -> None:
    with pytest.raises(firelens.MissingOutput, match="missing output key Name which is required"):
        firelens.main_file(launch(router(), container("app", **logs_to_router(bucket="b"))))


def test_a_sender_waits_for_its_router_to_start_unless_it_says_what_it_waits_for() -> None:
    healthy = [{"containerName": "log_router", "condition": "HEALTHY"}]
    waits = firelens.dependencies(
        launch(
            router(),
            container("app", **logs_to_router()),
            container("careful", dependsOn=healthy, **logs_to_router()),
            container("other"),
        )
    )
    assert waits == {
        "log_router": {},
        "app": {"log_router": "START"},
        "careful": {"log_router": "HEALTHY"},
        "other": {},
    }


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    with run_cloud(tmp_path, images={APP: ProcessImage(entrypoint=[sys.executable, "-c", PRINTS])}) as live:
        yield live


def start(cloud: LiveCloud, *definitions: dict[str, Any], volumes: Sequence[str] = ()) -> str:
    """A task of these containers; its ARN, once it is RUNNING."""
    ecs, details = cloud.aws.client("ecs", cloud.details.region), cloud.details
    ecs.register_task_definition(
        family="web",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        executionRoleArn=details.execution_role_arn,
        taskRoleArn=details.task_role_arn,
        containerDefinitions=definitions,
        volumes=[{"name": name} for name in volumes],
    )
    started = ecs.run_task(
        cluster=details.cluster,
        taskDefinition="web",
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": details.subnets}},
    )
    arn: str = started["tasks"][0]["taskArn"]
    eventually(lambda: described(cloud, arn)["lastStatus"] in ("RUNNING", "STOPPED"), 20)
    return arn


def described(cloud: LiveCloud, arn: str) -> dict[str, Any]:
    ecs = cloud.aws.client("ecs", cloud.details.region)
    found: dict[str, Any] = ecs.describe_tasks(cluster=cloud.details.cluster, tasks=[arn])["tasks"][0]
    return found


def stop(cloud: LiveCloud, arn: str) -> dict[str, Any]:
    cloud.aws.client("ecs", cloud.details.region).stop_task(cluster=cloud.details.cluster, task=arn)
    eventually(lambda: described(cloud, arn)["lastStatus"] == "STOPPED", 30)
    return described(cloud, arn)


def in_cloudwatch(cloud: LiveCloud) -> list[tuple[str, dict[str, Any]]]:
    """Stream and record of all that has arrived."""
    logs = cloud.aws.client("logs", cloud.details.region)
    if not logs.describe_log_groups(logGroupNamePrefix="/routed")["logGroups"]:
        return []
    events = logs.filter_log_events(logGroupName="/routed")["events"]
    return [(event["logStreamName"], json.loads(event["message"])) for event in events]


def in_s3(cloud: LiveCloud) -> list[dict[str, Any]]:
    s3 = cloud.aws.client("s3", cloud.details.region)
    found = s3.list_objects_v2(Bucket="archive").get("Contents") or ()
    texts = [gzip.decompress(s3.get_object(Bucket="archive", Key=each["Key"])["Body"].read()) for each in found]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@needs_fluent_bit
def test_lines_go_through_fluent_bit_to_cloudwatch_with_the_fields_that_ecs_adds(cloud: LiveCloud) -> None:
    arn = start(cloud, router(), container("app", **logs_to_router(**CLOUDWATCH)))
    task_id = arn.rsplit("/", 1)[-1]

    eventually(lambda: len(in_cloudwatch(cloud)) >= 5, 20)
    records = in_cloudwatch(cloud)
    stopped = stop(cloud, arn)

    assert {stream for stream, _ in records} == {f"from-app-firelens-{task_id}"}
    hello = next(record for _, record in records if record["log"] == "hello")
    assert hello == {
        "source": "stdout",
        "log": "hello",
        "container_id": f"{task_id}-app",
        "container_name": "app",
        "ecs_cluster": cloud.details.cluster,
        "ecs_task_arn": arn,
        "ecs_task_definition": "web:1",
    }
    assert next(record for _, record in records if record["log"] == "oh no")["source"] == "stderr"
    parts = [record for _, record in records if "partial_id" in record]
    assert [(part["partial_ordinal"], part["partial_last"], len(part["log"])) for part in parts] == [
        ("1", "false", 16_384),
        ("2", "false", 16_384),
        ("3", "true", 7_232),
    ]
    # The router ends after the container that it serves: what was said last is there.
    assert "the last word" in [record["log"] for _, record in in_cloudwatch(cloud)]
    assert {each["name"]: each["exitCode"] for each in stopped["containers"]} == {"app": 0, "log_router": 0}


@needs_fluent_bit
def test_a_configuration_that_travels_in_the_task_definition_is_included(cloud: LiveCloud, tmp_path: Path) -> None:
    cloud.aws.client("s3", cloud.details.region).create_bucket(
        Bucket="archive", CreateBucketConfiguration={"LocationConstraint": cloud.details.region}
    )
    arn = start(
        cloud,
        router(
            user="0",
            entryPoint=["/bin/sh", "-c"],
            command=[START],
            environment=[{"name": "CONF", "value": EXTRA}],
            mountPoints=[{"sourceVolume": "router", "containerPath": "/router"}],
            healthCheck={"command": ["CMD-SHELL", _UPTIME], "interval": 5},
            firelensConfiguration={"options": {"config-file-type": "file", "config-file-value": "/router/extra.conf"}},
        ),
        container("app", dependsOn=[{"containerName": "log_router", "condition": "HEALTHY"}], **logs_to_router()),
        volumes=["router"],
    )

    assert described(cloud, arn)["lastStatus"] == "RUNNING", described(cloud, arn)
    written = tmp_path / "tasks" / arn.rsplit("/", 1)[-1] / "app.log"
    eventually(lambda: "x" * 40_000 in written.read_text())
    stop(cloud, arn)

    records = in_s3(cloud)
    assert {record["extra"] for record in records} == {"yes"}
    assert len(records) == 6, "three lines, of which one has three parts, and the last word"
    assert "the last word" in [record["log"] for record in records]


_UPTIME = (
    f"{sys.executable} -c \"import urllib.request as u; u.urlopen('http://127.0.0.1:2020/api/v1/uptime', timeout=3)\""
)


def test_without_a_fluent_bit_tasks_run_and_their_lines_are_in_files_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FluentBit, "find", classmethod(lambda _cls: None))
    check = {"command": ["CMD", "curl", "http://127.0.0.1:2020"], "interval": 5}
    waits = [{"containerName": "log_router", "condition": "HEALTHY"}]
    with run_cloud(tmp_path, images={APP: ProcessImage(entrypoint=[sys.executable, "-c", PRINTS])}) as cloud:
        arn = start(
            cloud,
            router(healthCheck=check),
            container("app", dependsOn=waits, **logs_to_router(**CLOUDWATCH)),
        )
        folder = tmp_path / "tasks" / arn.rsplit("/", 1)[-1]
        eventually(lambda: "hello" in (folder / "app.log").read_text())
        stopped = stop(cloud, arn)

        assert "the logs of the containers beside this one go nowhere" in (folder / "log_router.log").read_text()
        assert in_cloudwatch(cloud) == []
        assert cloud.details.log_router.startswith("none: ")
    assert {each["name"]: each["exitCode"] for each in stopped["containers"]} == {"app": 0, "log_router": 0}


@needs_fluent_bit
def test_a_router_that_dies_stops_its_task_and_is_named(cloud: LiveCloud) -> None:
    broken = router(
        firelensConfiguration={"options": {"config-file-type": "file", "config-file-value": "/absent.conf"}}
    )
    arn = start(cloud, broken, container("app", **logs_to_router()))

    eventually(partial(_has_stopped, cloud, arn), 20)

    task = described(cloud, arn)
    assert task["stoppedReason"] == "Essential container in task exited"
    assert {each["name"]: each["exitCode"] for each in task["containers"]}["log_router"] != 0


def _has_stopped(cloud: LiveCloud, arn: str) -> bool:
    return bool(described(cloud, arn)["lastStatus"] == "STOPPED")
