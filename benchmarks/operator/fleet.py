"""Fleets under AWS's published quotas: how long until all of N services run, and how many calls that takes, beside the
floor that the quotas allow.

    python -m benchmarks.operator.fleet 20 100          # 5 and 10 minutes; 1000 takes 75

Everything is real but AWS: API server, operator process, HTTP. The sandbox refuses what is beyond the quotas of Amazon
ECS ("Request throttling for the Amazon ECS API"), answers 30 ms late, and takes about as long as Fargate does
to start a task; tasks are scripted. An object here has a model path and no load balancer, which is what the smallest
useful manifest makes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click
import psutil
from kubernetes import client, config

from inference_sandbox.aws import Aws as Sandbox
from inference_sandbox.aws.calls import Call
from inference_sandbox.aws.faults import Fault
from inference_sandbox.aws.in_process import CREDENTIALS
from inference_sandbox.aws.quotas import GROUP_OF, GROUPS
from inference_sandbox.aws.server import Server
from inference_sandbox.control_plane import ControlPlane
from inference_sandbox.ecs.clock import WallClock
from inference_sandbox.ecs.surroundings import Latencies, Settings
from inference_sandbox.load_balancer.scripted import ScriptedLoadBalancer
from inference_sandbox.tasks.scripted import ScriptedRunner

ROOT = Path(__file__).resolve().parents[2]
OBJECT = ("ecs-inference.dev", "v1alpha1")
DEPLOYMENTS = "inferencedeployments"
NAMESPACE = "fleet"
MERGE = "application/merge-patch+json"
REGION = "eu-west-1"
CLUSTER = "inference"
LATENCY = 0.03
HEALTHY_AFTER = timedelta(seconds=10)
LIKE_FARGATE = Settings(latencies=Latencies(), healthy_after=HEALTHY_AFTER)
IDLE_MINUTES = 2.0
TICK = 0.1
LOOKS = 200
"""The fleet is listed at intervals of a second for so many objects: a list of a thousand is work for this process, in
which the sandbox runs too."""
TARGETS = {20: 1.5, 100: 1.1, 1000: 1.05}
DELETION = 1.3
CREATE_CALLS, CHANGE_CALLS, IDLE_CALLS = 5.0, 4.0, 0.15
MEMORY = {20: 120, 100: 120, 1000: 250}
"""MiB."""


@dataclass
class Ticks:
    """What keeping the clock costs the sandbox: where ticks take longer than they are apart, it is the sandbox that is
    measured."""

    count: int = 0
    seconds: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        self.count += 1
        self.seconds += seconds
        self.longest = max(self.longest, seconds)


@dataclass(frozen=True)
class Stage:
    cloud: Sandbox
    ticks: Ticks
    objects: Any
    environment: Mapping[str, str]
    spec: Mapping[str, Any]
    """Of the InferenceEnvironment."""

    def list(self) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = self.objects.list_namespaced_custom_object(*OBJECT, NAMESPACE, DEPLOYMENTS)[
            "items"
        ]
        return items


@click.command()
@click.argument("sizes", nargs=-1, type=int)
@click.option(
    "--python",
    default=sys.executable,
    help="The operator's interpreter. With requirements/operator.txt alone it is as large as in its image.",
)
def main(sizes: Sequence[int], python: str) -> None:
    """Measure fleets of such SIZES, one after the other."""
    missed = False
    for size in sizes or (20, 100):
        with tempfile.TemporaryDirectory() as folder, stage(Path(folder)) as made:
            missed |= measure(made, size, Path(folder) / "operator.log", python)
    sys.exit(1 if missed else 0)


@contextmanager
def stage(folder: Path, settings: Settings = LIKE_FARGATE) -> Iterator[Stage]:
    clock = WallClock()
    cloud = Sandbox(
        clock=clock,
        runner=ScriptedRunner(clock),
        load_balancer=ScriptedLoadBalancer(clock),
        efs_root=folder / "efs",
        settings=settings,
    )
    server, over, ticks = Server(cloud), threading.Event(), Ticks()

    def tick() -> None:
        while not over.wait(TICK):
            began = time.monotonic()
            cloud.tick()
            ticks.add(time.monotonic() - began)

    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    with ControlPlane(folder / "control-plane") as control_plane:
        cluster = control_plane.ready()
        cluster.apply_crds(ROOT / "crds")
        config.load_kube_config(str(cluster.kubeconfig))  # type: ignore[no-untyped-call]  # typed in part
        client.CoreV1Api().create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=NAMESPACE)))
        yield Stage(
            cloud=cloud,
            ticks=ticks,
            objects=client.CustomObjectsApi(),
            environment={
                **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "INFERENCE_"))},
                **of_the_image(),
                "KUBECONFIG": str(cluster.kubeconfig),
                "AWS_ENDPOINT_URL": server.url,
                "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
                "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            spec=prepared(cloud),
        )
    over.set()
    ticking.join()
    server.close()


def of_the_image() -> dict[str, str]:
    """What the operator's image tells the allocator."""
    return dict(re.findall(r"\b(MALLOC_\w+)=(\S+)", (ROOT / "Dockerfile.operator").read_text()))


def prepared(cloud: Sandbox) -> dict[str, Any]:
    """An account with what services need; the spec of an InferenceEnvironment in it."""
    ec2: Any = cloud.client("ec2", REGION)
    efs: Any = cloud.client("efs", REGION)
    iam: Any = cloud.client("iam", REGION)
    cloud.client("ecs", REGION).create_cluster(clusterName=CLUSTER)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    ec2.modify_vpc_attribute(VpcId=vpc, EnableDnsHostnames={"Value": True})
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/17")["Subnet"]["SubnetId"]
    group = ec2.create_security_group(GroupName="tasks", Description="tasks", VpcId=vpc)["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[nfs_from(group)])
    models = efs.create_file_system(CreationToken="models")["FileSystemId"]
    efs.create_mount_target(FileSystemId=models, SubnetId=subnet, SecurityGroups=[group])
    trust = (
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ecs-tasks.amazonaws.com"},'
        '"Action":"sts:AssumeRole"}]}'
    )
    roles = [
        iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"] for name in ("execution", "task")
    ]
    return {
        "region": REGION,
        "cluster": CLUSTER,
        "network": {"subnets": [subnet], "securityGroups": [group]},
        "executionRoleArn": roles[0],
        "taskRoleArn": roles[1],
        "models": {"fileSystemId": models, "posixUser": {"uid": 10001, "gid": 10001}},
    }


def nfs_from(group: str) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": 2049, "ToPort": 2049, "UserIdGroupPairs": [{"GroupId": group}]}


def measure(made: Stage, size: int, log: Path, python: str) -> bool:
    """Whether a target was missed."""
    made.cloud.throttle()
    made.cloud.faults.add(Fault(kind="latency", seconds=LATENCY))
    made.objects.create_cluster_custom_object(*OBJECT, "inferenceenvironments", document("default", made.spec, None))
    results: list[bool] = []
    print(f"{size} objects")
    with log.open("ab") as file:
        command = [python, "-m", "inference_operator", "run"]
        operator = psutil.Popen(command, env=made.environment, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
    try:
        timed(lambda: None, lambda: up(made), 0.1)  # how long a process takes to start is not what is measured
        begin(made, size, operator, results)
    finally:
        operator.terminate()
        operator.wait(60)
    return not all(results)


def up(made: Stage) -> bool:
    """Whether the operator has looked at the environment."""
    found: Any = made.objects.get_cluster_custom_object(*OBJECT, "inferenceenvironments", "default")
    return bool(found.get("status"))


def begin(made: Stage, size: int, operator: psutil.Popen, results: list[bool]) -> None:
    target, pause = TARGETS.get(size, 1.5), max(1.0, size / LOOKS)
    since, writes = mark(made), kubernetes_writes(made)
    took = timed(lambda: make(made, size), lambda: all_ready(made, size), pause)
    spent = report_calls(made, since)
    report(results, "all run and are Ready", took, creation_floor(size), target)
    told(results, "calls of ECS to create one", spent["ecs"] / size, CREATE_CALLS)
    print(f"    of every service {spent.total() / size:.1f}: {operations(made, since, size)}")
    print(f"    writes to the API server for each: {(kubernetes_writes(made) - writes) / size:.1f}")
    told(results, "Ready before its task ran", float(too_early(made)), 0.0)
    since = mark(made)
    took = timed(lambda: change(made, size), lambda: all_ready(made, size), pause)
    spent = report_calls(made, since)
    report(results, "one field of each changed", took, creation_floor(size), None)
    told(results, "calls of ECS to change one", spent["ecs"] / size, CHANGE_CALLS)
    print(f"    of every service {spent.total() / size:.1f}: {operations(made, since, size)}")
    time.sleep(30)
    since = mark(made)
    time.sleep(IDLE_MINUTES * 60)
    idle = report_calls(made, since)
    told(results, "calls a minute for one at rest", idle.total() / size / IDLE_MINUTES, IDLE_CALLS)
    told(results, "memory of the operator in MiB", operator.memory_info().rss / 2**20, float(MEMORY.get(size, 250)))
    told(results, "throttled calls", float(throttled(made)), 0.0)
    spent_on = operator.cpu_times()
    print(f"  CPU seconds of the operator       {spent_on.user + spent_on.system:8.1f}")
    since = mark(made)
    took = timed(lambda: delete(made), lambda: not made.list(), pause)
    report(results, "all deleted", took, deletion_floor(size), DELETION)
    told(results, "throttled calls", float(throttled(made)), 0.0)
    ticks = made.ticks
    mean = ticks.seconds / ticks.count * 1000
    print(f"  a tick of the sandbox took        {mean:8.1f} ms, at most {ticks.longest:.2f} s")


def kubernetes_writes(made: Stage) -> int:
    """Requests that the API server has had for the two kinds and for Events, and that were meant to write."""
    api = made.objects.api_client
    request = api.param_serialize(
        "GET", "/metrics", header_params={"Accept": "text/plain"}, auth_settings=["BearerToken"]
    )
    answer = api.call_api(*request)
    lines = answer.read().decode().splitlines()
    ours = [line for line in lines if line.startswith("apiserver_request_total") and _is_written(line)]
    return round(sum(float(line.rpartition(" ")[2]) for line in ours))


def _is_written(line: str) -> bool:
    return any(f'verb="{verb}"' in line for verb in ("POST", "PUT", "PATCH", "APPLY")) and any(
        f'group="{group}"' in line for group in (OBJECT[0], "events.k8s.io")
    )


def creation_floor(size: int) -> float:
    """The last one is registered when the bucket of RegisterTaskDefinition lets it; then a task starts as it does."""
    quota = GROUPS[GROUP_OF["RegisterTaskDefinition"]][0]
    latencies = Latencies()
    start = latencies.provisioning + latencies.pulling + latencies.activating + HEALTHY_AFTER
    return max(0, size - quota.burst) / quota.rate + start.total_seconds() + 5 * LATENCY


def deletion_floor(size: int) -> float:
    """Two revisions of each are deregistered, after the tasks have ended as they do."""
    quota = GROUPS[GROUP_OF["DeregisterTaskDefinition"]][0]
    return max(0, 2 * size - quota.burst) / quota.rate + Latencies().deprovisioning.total_seconds() + 5 * LATENCY


def document(name: str, spec: Mapping[str, Any], namespace: str | None = NAMESPACE) -> dict[str, Any]:
    kind = "InferenceDeployment" if namespace else "InferenceEnvironment"
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "/".join(OBJECT), "kind": kind, "metadata": metadata, "spec": dict(spec)}


def make(made: Stage, size: int) -> None:
    for number in range(size):
        spec = {"image": "registry.example.com/inference-server:1", "models": {"path": f"/m/{number}"}, "replicas": 1}
        made.objects.create_namespaced_custom_object(
            *OBJECT, NAMESPACE, DEPLOYMENTS, document(f"service-{number}", spec)
        )


def change(made: Stage, size: int) -> None:
    for number in range(size):
        made.objects.patch_namespaced_custom_object(
            *OBJECT,
            NAMESPACE,
            DEPLOYMENTS,
            f"service-{number}",
            {"spec": {"env": [{"name": "CHANGED", "value": "yes"}]}},
            _content_type=MERGE,
        )


def delete(made: Stage) -> None:
    made.objects.delete_collection_namespaced_custom_object(*OBJECT, NAMESPACE, DEPLOYMENTS)


def all_ready(made: Stage, size: int) -> bool:
    return sum(ready_since(item) is not None for item in made.list()) == size


def ready_since(item: Mapping[str, Any]) -> datetime | None:
    for condition in item.get("status", {}).get("conditions", ()):
        if condition["type"] == "Ready" and condition["status"] == "True":
            current = condition["observedGeneration"] == item["metadata"]["generation"]
            return datetime.fromisoformat(condition["lastTransitionTime"]) if current else None
    return None


def too_early(made: Stage) -> int:
    """How many said Ready before a task of that revision ran."""
    ecs: Any = made.cloud.client("ecs", REGION)
    started: dict[str, datetime] = {}
    for page in ecs.get_paginator("list_tasks").paginate(cluster=CLUSTER):
        if page["taskArns"]:
            for task in ecs.describe_tasks(cluster=CLUSTER, tasks=page["taskArns"])["tasks"]:
                started[task["taskDefinitionArn"]] = task["startedAt"]
    found = [(started.get(item["status"]["running"]["revision"]), ready_since(item)) for item in made.list()]
    second = timedelta(seconds=1)  # conditions tell whole ones
    return sum(ran is None or ready is None or ready.astimezone(UTC) + second < ran for ran, ready in found)


def timed(work: Any, over: Any, pause: float) -> float:
    began = time.monotonic()
    work()
    while not over():
        time.sleep(pause)
        if time.monotonic() - began > 7200:  # noqa: PLR2004 two hours
            raise TimeoutError("not over after two hours")
    return time.monotonic() - began


def mark(made: Stage) -> int:
    calls: Sequence[Call] = made.cloud.calls
    return calls[-1].number


def report_calls(made: Stage, since: int) -> Counter[str]:
    return Counter(call.service for call in made.cloud.calls.find(since=since))


def operations(made: Stage, since: int, size: int) -> str:
    found = Counter(call.operation for call in made.cloud.calls.find(since=since))
    return ", ".join(f"{count / size:.2f} {name}" for name, count in found.most_common())


def throttled(made: Stage) -> int:
    return sum(call.error in ("ThrottlingException", "Throttling") for call in made.cloud.calls.find())


def report(results: list[bool], what: str, took: float, floor: float, target: float | None) -> None:
    line = f"  {what:34}{took:8.1f} s, floor {floor:8.1f} s, ratio {took / floor:5.2f}"
    if target is not None:
        results.append(took / floor <= target)
        line += f", target {target}: {'met' if results[-1] else 'missed'}"
    print(line, flush=True)


def told(results: list[bool], what: str, figure: float, target: float) -> None:
    results.append(figure <= target)
    print(f"  {what:34}{figure:8.2f}, at most {target}: {'met' if results[-1] else 'missed'}", flush=True)


if __name__ == "__main__":
    main()
