"""The operator's own task definition, run by the sandbox's ECS with a real Fluent Bit: where lines arrive.

`FLUENT_BIT=/path/to/fluent-bit pytest tests/operator/test_logs_on_the_sandbox.py`
"""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("moto", reason="the extra `sandbox` is not installed")

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.aws.offline import Offline
from inference_operator.domain.names import Identity
from inference_operator.fluentbit.reports import Said, report
from inference_operator.resources import log_router
from inference_operator.resources.base import Context, Fact
from inference_operator.resources.task_definition import render
from inference_sandbox.cloud import LiveCloud, run_cloud
from inference_sandbox.tasks.images import ProcessImage
from tests.eventually import eventually
from tests.operator.builders import NOW, deployment_document, environment_document
from tests.operator.firelens import needs_fluent_bit
from tests.operator.world import DESTINATIONS

APP = "registry.example.com/app:1"
BUCKET = "inference-logs"
PRINTS = """
import json, signal, sys, time
def stop(*_):
    print("Traceback (most recent call last):", "  File 'app.py'", "ValueError: the last words", sep="\\n", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
for number in range(20):
    print(json.dumps({"level": "INFO", "message": f"line {number}", "authorization": "secret"}), flush=True)
    print(json.dumps({"level": "DEBUG", "message": "request", "path": "/readyz"}), flush=True)
print(json.dumps({"level": "ERROR", "message": "no model"}), flush=True)
print("x" * 40_000, flush=True)
time.sleep(600)
"""
ROUTES = [
    {"match": {"levels": ["ERROR", "CRITICAL"]}, "to": ["errors", "archive"]},
    {"match": {"path": "/readyz"}, "drop": True},
    {"to": ["archive"]},
]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    with run_cloud(tmp_path, images={APP: ProcessImage(entrypoint=[sys.executable, "-c", PRINTS])}) as live:
        yield live


def definition(cloud: LiveCloud) -> dict[str, Any]:
    """As the operator would register it, without the file system of models, and with a router that tells soon."""
    environment = environment_document(
        region=cloud.details.region,
        executionRoleArn=cloud.details.execution_role_arn,
        taskRoleArn=cloud.details.task_role_arn,
        logging={"destinations": DESTINATIONS},
    )
    service = deployment_document(image=APP, logging={"routes": ROUTES, "redact": ["authorization"]})
    ctx = Context(
        identity=Identity(namespace="shop", name="recommender", uid="u-1"),
        environment=InferenceEnvironmentSpec.model_validate(environment["spec"]),
        spec=InferenceDeploymentSpec.model_validate(service["spec"]),
        aws=Offline(cloud.details.region).aws(),
        now=NOW,
        freshness=timedelta(),
        generation=1,
        facts={Fact.LOG_GROUP: "/inference/shop/recommender", Fact.ACCESS_POINT: "fsap-0"},
    )
    document = render(ctx)
    document["volumes"] = [v for v in document["volumes"] if "efsVolumeConfiguration" not in v]
    app, router = document["containerDefinitions"]
    app["mountPoints"] = [mount for mount in app["mountPoints"] if mount["sourceVolume"] != "models"]
    router["command"] = [log_router.SCRIPT.replace(f"sleep {log_router.REPORT_SECONDS}", "sleep 2")]
    return document


def start(cloud: LiveCloud, document: dict[str, Any]) -> str:
    ecs = cloud.aws.client("ecs", cloud.details.region)
    ecs.register_task_definition(**document)
    started = ecs.run_task(
        cluster=cloud.details.cluster,
        taskDefinition=document["family"],
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": cloud.details.subnets}},
    )
    return str(started["tasks"][0]["taskArn"])


def status(cloud: LiveCloud, arn: str) -> str:
    ecs = cloud.aws.client("ecs", cloud.details.region)
    return str(ecs.describe_tasks(cluster=cloud.details.cluster, tasks=[arn])["tasks"][0]["lastStatus"])


def in_group(cloud: LiveCloud, group: str) -> list[dict[str, Any]]:
    return list(cloud.aws.client("logs", cloud.details.region).filter_log_events(logGroupName=group)["events"])


def in_bucket(cloud: LiveCloud) -> list[dict[str, Any]]:
    s3 = cloud.aws.client("s3", cloud.details.region)
    found = s3.list_objects_v2(Bucket=BUCKET).get("Contents") or ()
    texts = [gzip.decompress(s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read()) for each in found]
    return [json.loads(line) for text in texts for line in text.splitlines()]


@needs_fluent_bit
def test_errors_are_in_cloudwatch_the_rest_in_s3_and_health_checks_nowhere(cloud: LiveCloud) -> None:
    main = "/inference/shop/recommender"
    logs = cloud.aws.client("logs", cloud.details.region)
    for group in (main, f"{main}/errors", f"{main}/router"):
        logs.create_log_group(logGroupName=group)
    where = {"LocationConstraint": cloud.details.region}
    cloud.aws.client("s3", cloud.details.region).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)
    arn = start(cloud, definition(cloud))
    eventually(lambda: in_group(cloud, f"{main}/errors"), 30)
    if shutil.which("curl"):
        said = eventually(lambda: reports_of(cloud, f"{main}/router"), 20)
        assert report(said).flows["errors"].records_per_day > 0

    cloud.aws.client("ecs", cloud.details.region).stop_task(cluster=cloud.details.cluster, task=arn)
    eventually(lambda: status(cloud, arn) == "STOPPED", 60)

    errors = [json.loads(event["message"]) for event in in_group(cloud, f"{main}/errors")]
    assert [error.get("message") or error["log"].splitlines()[-1] for error in errors] == [
        "no model",
        "ValueError: the last words",
    ]
    archived = in_bucket(cloud)
    assert sorted(line["message"] for line in archived if "message" in line) == sorted(
        ["no model", *(f"line {number}" for number in range(20))]
    )
    assert [len(line["log"]) for line in archived if line.get("log", "").startswith("x")] == [40_000]
    assert {line["authorization"] for line in archived if "authorization" in line} == {"[redacted]"}
    assert {line["ecs_task_arn"] for line in (*archived, *errors)} == {arn}
    everywhere = json.dumps([*archived, *errors, *(event["message"] for event in in_group(cloud, main))])
    assert "/readyz" not in everywhere


def reports_of(cloud: LiveCloud, group: str) -> list[Said]:
    return [
        Said(stream=event["logStreamName"], at=datetime.now(UTC), text=event["message"])
        for event in in_group(cloud, group)
        if "proc_records" in event["message"] and '"errors":{"proc_records":0' not in event["message"]
    ]
