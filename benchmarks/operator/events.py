"""A burst of events: how long the operator takes to drain 10,000 of them, 1 % ours and 1 % junk, beside a bare loop
over the same queue; with how much memory, and with how many passes.

    python benchmarks/operator/events.py

Everything is real but AWS: API server, operator process, HTTP. The queue is filled while the operator is down, so that
all of it is there at once. Exits 1 if a target is missed.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import psutil
from kubernetes import client, config

from benchmarks.operator.__main__ import AS_IT_IS, OBJECT, ROOT, create, environment_of, ready, until
from inference_sandbox.details import Details
from inference_sandbox.sandbox import run

EVENTS, OBJECTS, QUEUE = 10_000, 10, "bench"
SECONDS, MEBIBYTES = 60.0, 64.0
"""Targets: the drain in this time, with so much more memory than at rest."""
PORT = 9109


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, run(Path(folder), images={}, crds=ROOT / "crds") as sandbox:
        details = sandbox.details
        config.load_kube_config(str(details.kubeconfig))  # type: ignore[no-untyped-call]  # typed in part
        log = Path(folder) / "operator.log"
        with operator(details, log):
            prepare(details)
        sqs = queue_client(details)
        url = sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"]
        fill(sqs, url, details)
        bare = bare_drain(sqs, url)
        fill(sqs, url, details)
        sys.exit(0 if measured(details, log, sqs, url, bare) else 1)


def measured(details: Details, log: Path, sqs: Any, url: str, bare: float) -> bool:
    with operator(details, log) as process:
        until(lambda: series("inference_operator_reconcile_seconds_count") >= OBJECTS)
        rest, passes, began = (
            process.memory_info().rss,
            series("inference_operator_reconcile_seconds_count"),
            time.time(),
        )
        highest = rest
        while left(sqs, url):
            highest = max(highest, process.memory_info().rss)
            time.sleep(0.1)
        took = time.time() - began
        made = series("inference_operator_reconcile_seconds_count") - passes
        outcomes = {name: series(f'inference_operator_events_total{{environment="default",outcome="{name}"}}')
                    for name in ("mine", "foreign", "junk", "repeated")}  # fmt: skip
    more = (highest - rest) / 2**20
    print(
        f"{EVENTS} messages: a bare loop {bare:.1f} s, the operator {took:.1f} s (ratio {took / bare:.1f}); {outcomes}"
    )
    print(f"memory at rest {rest / 2**20:.0f} MiB, at most {more:.0f} MiB more")
    print(f"{made:.0f} passes over {OBJECTS} objects, {made / OBJECTS / took:.2f} a second for each")
    met = took < SECONDS and more < MEBIBYTES and made <= OBJECTS * (took + 1)
    print(f"targets: under {SECONDS:.0f} s, {MEBIBYTES:.0f} MiB and one a second: {'met' if met else 'missed'}")
    return met


@contextmanager
def operator(details: Details, log: Path) -> Iterator[psutil.Process]:
    environment = {**details.environment(os.environ), "INFERENCE_OPERATOR_METRICS_PORT": str(PORT)}
    with log.open("ab") as file:
        process = subprocess.Popen(AS_IT_IS, env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def prepare(details: Details) -> None:
    """Ten objects, and an environment whose events are heard."""
    objects: Any = client.CustomObjectsApi()
    client.CoreV1Api().create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="bench")))
    environment = environment_of(details)
    environment["spec"]["events"] = {"queue": QUEUE}
    objects.create_cluster_custom_object(*OBJECT, "inferenceenvironments", environment)
    for number in range(OBJECTS):
        create(objects, f"service-{number}")
    until(lambda: ready(objects, OBJECTS))
    until(lambda: series('inference_operator_events_heard{environment="default"}') == 1)


def series(name: str) -> float:
    """The value of a series that the operator shows; 0 if there is none yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{PORT}/metrics", timeout=5) as answer:
            lines = answer.read().decode().splitlines()
    except OSError:
        return 0.0
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def queue_client(details: Details) -> Any:
    made: Any = boto3.client
    environment = details.environment({})
    return made(
        "sqs",
        region_name=details.region,
        endpoint_url=details.aws_endpoint_url,
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )


def fill(sqs: Any, url: str, details: Details) -> None:
    chosen = random.Random(7)  # noqa: S311 an order
    bodies = [f"junk {number} }}{{" if number % 100 == 0 else event(number, details) for number in range(EVENTS)]
    chosen.shuffle(bodies)
    for start in range(0, EVENTS, 10):
        some = bodies[start : start + 10]
        entries = [{"Id": str(place), "MessageBody": body} for place, body in enumerate(some)]
        sqs.send_message_batch(QueueUrl=url, Entries=entries)


def event(number: int, details: Details) -> str:
    """Each hundredth is about an object of ours."""
    service = f"bench_service-{number // 100 % OBJECTS}" if number % 100 == 1 else f"shop_other-{number}"
    arn = f"arn:aws:ecs:{details.region}:{details.account_id}:service/{details.cluster}/{service}"
    return json.dumps(
        {
            "version": "0",
            "id": str(uuid.uuid4()),
            "detail-type": "ECS Service Action",
            "source": "aws.ecs",
            "account": details.account_id,
            "time": "2026-11-24T12:00:00Z",
            "region": details.region,
            "resources": [arn],
            "detail": {"eventType": "INFO", "eventName": "SERVICE_STEADY_STATE"},
        }
    )


def bare_drain(sqs: Any, url: str) -> float:
    """Seconds in which a loop that does nothing else receives and deletes all."""
    began = time.monotonic()
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        entries = [{"Id": str(place), "ReceiptHandle": m["ReceiptHandle"]} for place, m in enumerate(messages)]
        sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    return time.monotonic() - began


def left(sqs: Any, url: str) -> int:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


if __name__ == "__main__":
    main()
