"""The operator's own task definition, run by the sandbox's ECS with a real Fluent Bit: where lines arrive.

`FLUENT_BIT=/path/to/fluent-bit pytest tests/operator/test_logs_on_the_sandbox.py`
"""

from __future__ import annotations

import gzip
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("moto", reason="the extra `sandbox` is not installed")

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.aws import clients
from inference_operator.aws.offline import Offline
from inference_operator.aws.ports import Aws
from inference_operator.domain.conditions import Said
from inference_operator.domain.names import Identity
from inference_operator.domain.reasons import Reason
from inference_operator.engine import log_health
from inference_operator.fluentbit import reports
from inference_operator.fluentbit.reports import report
from inference_operator.resources import log_router
from inference_operator.resources.base import Context, Fact
from inference_operator.resources.task_definition import render
from inference_sandbox.aws.faults import Fault
from inference_sandbox.cloud import LiveCloud, run_cloud
from inference_sandbox.tasks.images import ProcessImage
from tests.eventually import eventually
from tests.operator.builders import deployment_document, environment_document
from tests.operator.firelens import hasty, needs_fluent_bit
from tests.operator.world import DESTINATIONS

APP = "registry.example.com/app:1"
FAILING = "registry.example.com/failing:1"
MAIN = "/inference/shop/recommender"
BUCKET = "inference-logs"
DELIVERED = "delivered-by-firehose"
PLACES = {**DESTINATIONS, "stream": {"firehose": {"deliveryStream": "inference-logs"}}}
PRINTS = """
import json, signal, sys, time
def stop(*_):
    print("Traceback (most recent call last):", "  File 'app.py'", "ValueError: the last words", sep="\\n", flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
for number in range(20):
    secrets = {"authorization": "secret", "users": [{"email": "secret"}]}
    print(json.dumps({"level": "INFO", "message": f"line {number}", **secrets}), flush=True)
    print(json.dumps({"level": "DEBUG", "message": "request", "path": "/readyz"}), flush=True)
print(json.dumps({"level": "ERROR", "message": "no model"}), flush=True)
print("x" * 40_000, flush=True)
time.sleep(600)
"""
KEEPS_FAILING = """
import json, time
while True:
    print(json.dumps({"level": "ERROR", "message": "no model"}), flush=True)
    time.sleep(0.2)
"""
ROUTES = [
    {"match": {"levels": ["ERROR", "CRITICAL"]}, "to": ["errors", "archive"]},
    {"match": {"path": "/readyz"}, "drop": True},
    {"to": ["archive"]},
]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[LiveCloud]:
    images = {
        APP: ProcessImage(entrypoint=[sys.executable, "-c", PRINTS]),
        FAILING: ProcessImage(entrypoint=[sys.executable, "-c", KEEPS_FAILING]),
    }
    with run_cloud(tmp_path, images=images) as live:
        logs = live.aws.client("logs", live.details.region)
        for group in (MAIN, f"{MAIN}/errors", f"{MAIN}/router"):
            logs.create_log_group(logGroupName=group)
        yield live


def make_bucket(cloud: LiveCloud) -> None:
    where = {"LocationConstraint": cloud.details.region}
    cloud.aws.client("s3", cloud.details.region).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=where)


def context(cloud: LiveCloud, aws: Aws, image: str = APP, **logging: Any) -> Context:
    environment = environment_document(
        region=cloud.details.region,
        executionRoleArn=cloud.details.execution_role_arn,
        taskRoleArn=cloud.details.task_role_arn,
        loadBalancer=None,
        logging={"destinations": PLACES},
    )
    service = deployment_document(
        image=image, logging={"routes": ROUTES, "redact": ["authorization", "users.email"], **logging}
    )
    return Context(
        identity=Identity(namespace="shop", name="recommender", uid="u-1"),
        environment=InferenceEnvironmentSpec.model_validate(environment["spec"]),
        spec=InferenceDeploymentSpec.model_validate(service["spec"]),
        aws=aws,
        now=datetime.now(UTC),
        freshness=timedelta(),
        generation=1,
        facts={Fact.LOG_GROUP: MAIN, Fact.ACCESS_POINT: "fsap-0"},
    )


def definition(ctx: Context) -> dict[str, Any]:
    """As the operator would register it, without the file system of models, and with a router that tells soon and
    sends soon."""
    document = render(ctx)
    document["volumes"] = [v for v in document["volumes"] if "efsVolumeConfiguration" not in v]
    app, router = document["containerDefinitions"]
    app["mountPoints"] = [mount for mount in app["mountPoints"] if mount["sourceVolume"] != "models"]
    router["command"] = [log_router.SCRIPT.replace(f"sleep {log_router.REPORT_SECONDS}", "sleep 2")]
    [main] = [variable for variable in router["environment"] if variable["name"] == "ROUTER_CONF"]
    main["value"] = hasty(re.sub("(upload_timeout +)1m", r"\g<1>1s", main["value"]))
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


def in_stream(cloud: LiveCloud) -> list[dict[str, Any]]:
    """What Firehose has put into its bucket."""
    s3 = cloud.aws.client("s3", cloud.details.region)
    found = s3.list_objects_v2(Bucket=DELIVERED).get("Contents") or ()
    texts = [s3.get_object(Bucket=DELIVERED, Key=each["Key"])["Body"].read() for each in found]
    return [json.loads(line) for text in texts for line in text.splitlines()]


def stop(cloud: LiveCloud, arn: str) -> None:
    cloud.aws.client("ecs", cloud.details.region).stop_task(cluster=cloud.details.cluster, task=arn)
    eventually(lambda: status(cloud, arn) == "STOPPED", 60)


@needs_fluent_bit
def test_errors_are_in_cloudwatch_the_rest_in_s3_and_health_checks_nowhere(cloud: LiveCloud) -> None:
    make_bucket(cloud)
    arn = start(cloud, definition(context(cloud, offline(cloud))))
    eventually(lambda: in_group(cloud, f"{MAIN}/errors"), 30)
    if shutil.which("curl"):
        said = eventually(lambda: reports_of(cloud, f"{MAIN}/router"), 20)
        assert report(said).flows["errors"].records_per_day > 0

    stop(cloud, arn)

    errors = [json.loads(event["message"]) for event in in_group(cloud, f"{MAIN}/errors")]
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
    assert [line["users"] for line in archived if "users" in line] == [[{"email": "[redacted]"}]] * 20
    assert {line["ecs_task_arn"] for line in (*archived, *errors)} == {arn}
    everywhere = json.dumps([*archived, *errors, *(event["message"] for event in in_group(cloud, MAIN))])
    assert "/readyz" not in everywhere


@needs_fluent_bit
def test_what_goes_to_firehose_is_there_once_with_one_time(cloud: LiveCloud) -> None:
    s3, firehose = (cloud.aws.client(name, cloud.details.region) for name in ("s3", "firehose"))
    where = {"LocationConstraint": cloud.details.region}
    s3.create_bucket(Bucket=DELIVERED, CreateBucketConfiguration=where)
    into = {"RoleARN": cloud.details.task_role_arn, "BucketARN": f"arn:aws:s3:::{DELIVERED}"}
    firehose.create_delivery_stream(DeliveryStreamName="inference-logs", ExtendedS3DestinationConfiguration=into)
    routes = [{"match": {"path": "/readyz"}, "drop": True}, {"to": ["stream"]}]
    arn = start(cloud, definition(context(cloud, offline(cloud), routes=routes)))
    eventually(lambda: in_stream(cloud), 30)

    stop(cloud, arn)

    lines = in_stream(cloud)
    assert sorted(line["message"] for line in lines if "message" in line) == sorted(
        ["no model", *(f"line {number}" for number in range(20))]
    )
    assert [len(line["log"]) for line in lines if line.get("log", "").startswith("x")] == [40_000]
    ends = [line["log"].splitlines()[-1] for line in lines if "log" in line]  # which of the two comes last is open
    assert ends.count("ValueError: the last words") == 1
    assert all(re.fullmatch(r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["@timestamp"]) for line in lines)
    assert {line["authorization"] for line in lines if "authorization" in line} == {"[redacted]"}
    assert len({line["line_id"] for line in lines}) == len(lines)


@needs_fluent_bit
def test_what_cloudwatch_and_s3_throttle_arrives_there_once(cloud: LiveCloud) -> None:
    """Fluent Bit looks every six seconds whether there is something for S3; so one failure is enough there."""
    make_bucket(cloud)
    for service, operation, times in (("logs", "PutLogEvents", 3), ("s3", "PutObject", 1)):
        cloud.aws.faults.add(Fault(kind="throttle", service=service, operation=operation, times=times))
    arn = start(cloud, definition(context(cloud, offline(cloud), routes=[{"to": ["errors", "archive"]}])))

    def arrived() -> list[list[str]]:
        errors = [json.loads(event["message"]) for event in in_group(cloud, f"{MAIN}/errors")]
        return [[line["message"] for line in lines if "message" in line] for lines in (errors, in_bucket(cloud))]

    eventually(lambda: all(arrived()), 60)
    stop(cloud, arn)

    said = sorted(["no model", *["request"] * 20, *(f"line {number}" for number in range(20))])
    assert [sorted(messages) for messages in arrived()] == [said, said]
    told = json.dumps([event["message"] for event in in_group(cloud, f"{MAIN}/router")])
    assert "ThrottlingException" in told
    assert "SlowDown" in told


@needs_fluent_bit
def test_a_secret_is_known_to_a_router_of_ones_own_and_in_no_task_definition(cloud: LiveCloud) -> None:
    """It is the stream's name here, for want of a vendor that asks for a key."""
    secrets = cloud.aws.client("secretsmanager", cloud.details.region)
    kept = secrets.create_secret(Name="intake", SecretString="a-long-key")["ARN"]
    output = f"Name cloudwatch_logs\n  Match *\n  region {cloud.details.region}\n  log_group_name {MAIN}"
    own = {
        "configuration": f"[OUTPUT]\n  {output}\n  log_stream_name ${{KEY}}\n",
        "secrets": [{"name": "KEY", "valueFrom": kept}],
    }
    document = definition(context(cloud, offline(cloud), routes=[], redact=[], custom=own))
    assert "a-long-key" not in json.dumps(document)

    arn = start(cloud, document)
    events = eventually(lambda: in_group(cloud, MAIN), 30)

    assert {event["logStreamName"] for event in events} == {"a-long-key"}
    stop(cloud, arn)


@needs_fluent_bit
def test_what_is_sent_to_a_destination_that_does_not_answer_is_sent_again(cloud: LiveCloud) -> None:
    make_bucket(cloud)
    for service, operation in (("logs", "PutLogEvents"), ("s3", "PutObject")):
        cloud.aws.faults.add(Fault(kind="latency", service=service, operation=operation, times=1, seconds=60))
    document = definition(context(cloud, offline(cloud), routes=[{"to": ["errors", "archive"]}]))
    [main] = [each for each in document["containerDefinitions"][1]["environment"] if each["name"] == "ROUTER_CONF"]
    main["value"], shortened = re.subn("(net.io_timeout +)30s", r"\g<1>2s", main["value"])
    assert shortened == 2
    start(cloud, document)
    eventually(lambda: in_group(cloud, f"{MAIN}/errors") and in_bucket(cloud), 40)


def deny_cloudwatch(cloud: LiveCloud) -> None:
    cloud.aws.faults.add(Fault(kind="deny", service="logs", operation="PutLogEvents"))


def deny_s3(cloud: LiveCloud) -> None:
    make_bucket(cloud)
    cloud.aws.faults.add(Fault(kind="deny", service="s3", operation="PutObject"))


def allow(cloud: LiveCloud) -> None:
    cloud.aws.faults.clear()


@needs_fluent_bit
@pytest.mark.skipif(shutil.which("curl") is None, reason="the router tells its counters by curl, which is not here")
@pytest.mark.parametrize(
    ("destination", "breaks", "told", "mends"),
    [
        ("errors", deny_cloudwatch, "AccessDeniedException", allow),
        ("archive", deny_s3, "AccessDenied", allow),
        ("archive", lambda _: None, "NoSuchBucket", make_bucket),
    ],
    ids=["denied by CloudWatch", "denied by S3", "without its bucket"],
)
def test_a_destination_that_takes_nothing_is_told_until_it_does(
    cloud: LiveCloud,
    monkeypatch: pytest.MonkeyPatch,
    destination: str,
    breaks: Callable[[LiveCloud], None],
    told: str,
    mends: Callable[[LiveCloud], None],
) -> None:
    monkeypatch.setattr(reports, "PERIOD", timedelta(seconds=3))
    breaks(cloud)
    aws = connected(cloud, monkeypatch)
    start(cloud, definition(context(cloud, aws, FAILING, routes=[{"to": [destination]}])))

    def said(status: str) -> Sequence[Said]:
        now = log_health.said(log_health.look(context(cloud, aws), None, running=1))
        return [now] if now.status == status else []

    [bad] = eventually(lambda: said("False"), 40, every=0.5)
    assert bad.reason in (Reason.LOGS_DELAYED, Reason.LOGS_LOST)
    assert told in bad.message
    assert destination in bad.message
    assert (
        "Next: check that the destination exists, that the tasks' subnets and security groups reach it" in bad.message
    )

    mends(cloud)

    [good] = eventually(lambda: said("True"), 60, every=0.5)
    assert good.reason is Reason.LOGS_FLOWING


def offline(cloud: LiveCloud) -> Aws:
    return Offline(cloud.details.region).aws()


def connected(cloud: LiveCloud, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.details.aws_endpoint_url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", cloud.details.aws_access_key_id)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", cloud.details.aws_secret_access_key)
    return clients.connect(cloud.details.region)


def reports_of(cloud: LiveCloud, group: str) -> list[reports.Said]:
    return [
        reports.Said(stream=event["logStreamName"], at=datetime.now(UTC), text=event["message"])
        for event in in_group(cloud, group)
        if "proc_records" in event["message"] and '"errors":{"proc_records":0' not in event["message"]
    ]
