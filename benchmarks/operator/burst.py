"""What 10,000 events at once cost the operator, of which one in a hundred is about an object and one is junk.

    python -m benchmarks.operator.verdict --burst          # about a minute

ReceiveMessage and DeleteMessageBatch answer LATENCY late, about as AWS does within a region. Measured are the time from
the first message sent until the queue is empty, what is in flight included; the operator's memory; and how often it
looks at one object.
"""

from __future__ import annotations

import json
import random
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from moto.sqs.models import sqs_backends

from benchmarks.operator.bench import Bench
from benchmarks.operator.fleet import CLUSTER, NAMESPACE, REGION
from inference_sandbox.aws.faults import Fault

BURST, SHARE = 10_000, 100
"""Messages; one in so many is about an object, one is junk."""
DRAINED = 60.0
GROWTH = 20.0
"""MiB: ids of the last 10,000 events and tasks, which are remembered so that nothing is told twice, are 6 MiB; the rest
is for the passes and for the allocator. The messages themselves are more than that."""
LATENCY = 0.015
STRANGERS = 500
JUNK = ("}{", "[]", "null", '{"hello": 1}', '{"source": "aws.ec2", "detail-type": "EC2 Instance State-change"}')
ACCOUNT = "123456789012"
ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT}"


def burst(bench: Bench, names: Sequence[str]) -> Iterator[bool]:
    """Prints each figure; yields whether its target was met."""
    bench.until(lambda: waiting(bench) == 0)
    bodies = messages(names)
    before, memory, highest, spent = bench.outcomes(), bench.mebibytes(), 0.0, bench.cpu_seconds()
    with late(bench):
        since = time.monotonic()
        send(bench, bodies)
        sent = time.monotonic() - since
        while waiting(bench) and time.monotonic() < since + 10 * DRAINED:
            highest = max(highest, bench.mebibytes())
            time.sleep(0.1)
        took = time.monotonic() - since
    spent = bench.cpu_seconds() - spent
    size, heard = sum(map(len, bodies)) / 2**20, bench.outcomes() - before
    print(f"{BURST} messages, {size:.0f} MiB, sent within {sent:.1f} s: {told(heard)}")
    yield heard["mine"] == heard["junk"] == BURST // SHARE
    yield line("seconds until the queue was empty", took, DRAINED)
    print(f"  {'CPU seconds of the operator':44}{spent:7.1f}")
    yield line(f"MiB of the operator, {memory:.0f} before", highest, memory + GROWTH)
    passes = bench.passes(since)
    most = max(map(within_a_second, passes.values()), default=0)
    print(f"  {sum(map(len, passes.values()))} passes over {len(passes)} objects that were told of")
    yield line("passes over one object within a second", most, 1) and len(passes) == len(names)


def told(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))


def line(what: str, figure: float, target: float) -> bool:
    print(f"  {what:44}{figure:7.1f}, at most {target:.0f}: {'met' if figure <= target else 'missed'}", flush=True)
    return figure <= target


def within_a_second(times: Sequence[float]) -> int:
    """How many there are at most, wherever the second begins."""
    return max(bisect_left(times, at + 1) - number for number, at in enumerate(times))


def waiting(bench: Bench) -> int:
    sqs, url = bench.queue()
    names = [f"ApproximateNumberOfMessages{which}" for which in ("", "Delayed", "NotVisible")]
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return sum(int(found[name]) for name in names)


def send(bench: Bench, bodies: Sequence[str]) -> None:
    """As the sandbox's EventBridge delivers: without a request for each, which would take longer than to read them."""
    _, url = bench.queue()
    for body in bodies:
        sqs_backends[ACCOUNT][REGION].send_message(queue_name=url.rpartition("/")[2], message_body=body)


@contextmanager
def late(bench: Bench) -> Iterator[None]:
    faults = bench.stage.cloud.faults
    for operation in ("ReceiveMessage", "DeleteMessageBatch"):
        faults.add(Fault(kind="latency", service="sqs", operation=operation, seconds=LATENCY))
    yield
    faults.clear()


# -- what is sent


def messages(names: Sequence[str]) -> list[str]:
    """In an order that is the same each time."""
    few = BURST // SHARE
    ours = [event(number, f"{NAMESPACE}_{names[number // 5 % len(names)]}") for number in range(few)]
    junk = [JUNK[number % len(JUNK)] for number in range(few)]
    strangers = [event(number, f"another-{number % STRANGERS}") for number in range(few, BURST - few)]
    bodies = [*ours, *junk, *strangers]
    random.Random(7).shuffle(bodies)  # noqa: S311 - an order
    return bodies


def event(number: int, service: str) -> str:
    """Of five, three are about a task: two say that it runs, one why it stopped."""
    match number % 5:
        case 0 | 1:
            return envelope(number, "ECS Task State Change", task_arn(number), task(number, service))
        case 2:
            return envelope(number, "ECS Task State Change", task_arn(number), task(number, service) | stopped())
        case 3:
            detail = action("SERVICE_DEPLOYMENT_IN_PROGRESS") | {"deploymentId": f"ecs-svc/{number:019}"}
            return envelope(number, "ECS Deployment State Change", f"{ARN}:service/{CLUSTER}/{service}", detail)
        case _:
            detail = action("SERVICE_STEADY_STATE") | {"clusterArn": f"{ARN}:cluster/{CLUSTER}"}
            return envelope(number, "ECS Service Action", f"{ARN}:service/{CLUSTER}/{service}", detail)


def envelope(number: int, kind: str, resource: str, detail: Mapping[str, Any]) -> str:
    return json.dumps(
        {
            "version": "0",
            "id": f"{number:08x}-0b0b-4b0b-8b0b-{number:012x}",
            "detail-type": kind,
            "source": "aws.ecs",
            "account": ACCOUNT,
            "time": now(),
            "region": REGION,
            "resources": [resource],
            "detail": detail,
        }
    )


def action(name: str) -> dict[str, Any]:
    return {"eventType": "INFO", "eventName": name, "createdAt": now()}


def task_arn(number: int) -> str:
    return f"{ARN}:task/{CLUSTER}/{number:032x}"


def task(number: int, service: str) -> dict[str, Any]:
    """With the members that the developer guide shows of a task on Fargate."""
    interface, subnet = f"eni-{number:017x}", "subnet-0123456789abcdef0"
    container = {
        "containerArn": f"{ARN}:container/{CLUSTER}/{number:032x}/{number:032x}",
        "lastStatus": "RUNNING",
        "name": "app",
        "image": f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/{service}:1",
        "imageDigest": f"sha256:{number:064x}",
        "runtimeId": f"{number:032x}-0123456789",
        "taskArn": task_arn(number),
        "networkInterfaces": [{"attachmentId": f"{number:036x}", "privateIpv4Address": "10.0.0.7"}],
        "cpu": "1024",
        "memory": "2048",
    }
    details = {
        "subnetId": subnet,
        "networkInterfaceId": interface,
        "macAddress": "0a:98:eb:a7:29:ba",
        "privateDnsName": f"ip-10-0-0-7.{REGION}.compute.internal",
        "privateIPv4Address": "10.0.0.7",
    }
    return {
        "attachments": [
            {
                "id": f"{number:036x}",
                "type": "eni",
                "status": "ATTACHED",
                "details": [{"name": name, "value": value} for name, value in details.items()],
            }
        ],
        "attributes": [{"name": "ecs.cpu-architecture", "value": "x86_64"}],
        "availabilityZone": f"{REGION}a",
        "capacityProviderName": "FARGATE",
        "clusterArn": f"{ARN}:cluster/{CLUSTER}",
        "connectivity": "CONNECTED",
        "connectivityAt": now(),
        "containers": [container, container | {"name": "log_router"}],
        "cpu": "1024",
        "memory": "2048",
        "createdAt": now(),
        "desiredStatus": "RUNNING",
        "enableExecuteCommand": False,
        "ephemeralStorage": {"sizeInGiB": 20},
        "group": f"service:{service}",
        "launchType": "FARGATE",
        "lastStatus": "RUNNING",
        "overrides": {"containerOverrides": [{"name": "app"}, {"name": "log_router"}]},
        "platformVersion": "1.4.0",
        "startedAt": now(),
        "startedBy": f"ecs-svc/{number:019}",
        "taskArn": task_arn(number),
        "taskDefinitionArn": f"{ARN}:task-definition/{service}:1",
        "updatedAt": now(),
        "version": 4,
    }


def stopped() -> dict[str, Any]:
    return {
        "lastStatus": "STOPPED",
        "desiredStatus": "STOPPED",
        "stopCode": "EssentialContainerExited",
        "stoppedReason": "Essential container in task exited",
        "stoppedAt": now(),
        "version": 6,
        "containers": [{"name": "app", "lastStatus": "STOPPED", "exitCode": 3}],
    }


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
