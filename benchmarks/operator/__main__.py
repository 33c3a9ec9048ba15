"""How soon the operator acts: from a changed spec to its first write to AWS, beside a bare watch in the same run; and
how many calls to AWS an object costs, when it is made and at rest.

    python benchmarks/operator/__main__.py

Everything is real but AWS: API server, operator process, HTTP. The objects have no replicas, so that no task's start is
measured. Prints figures and ratios; a machine under load shows larger ones for both. Takes about two minutes; exits 1
if a target is missed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from kubernetes import client, config, watch

from inference_sandbox.details import Details
from inference_sandbox.sandbox import run

ROOT = Path(__file__).resolve().parents[2]
OBJECT = ("ecs-inference.dev", "v1alpha1")
OBJECTS, CHANGES, ROUNDS = 10, 50, 10
TARGET = 0.3

AS_IT_IS = (sys.executable, "-m", "inference_operator", "run")
RESYNC = 3.0
OFTEN = (
    sys.executable,
    "-c",
    f"""
from datetime import timedelta
from inference_operator.cli import main
from inference_operator.engine import backoff
backoff.RESYNC = timedelta(seconds={RESYNC})
main(["run"])
""",
)
"""The same, which looks at objects at rest each RESYNC seconds and not each five minutes."""


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, run(Path(folder), images={}, crds=ROOT / "crds") as sandbox:
        details, log = sandbox.details, Path(folder) / "operator.log"
        config.load_kube_config(str(details.kubeconfig))  # type: ignore[no-untyped-call]  # typed in part
        with operator(details, log, AS_IT_IS):
            quick = measure_latency(details)
        with operator(details, log, OFTEN):
            thrifty = measure_rest(details)
    sys.exit(0 if quick and thrifty else 1)


@contextmanager
def operator(details: Details, log: Path, command: Sequence[str]) -> Iterator[None]:
    with log.open("ab") as file:
        process = subprocess.Popen(
            command, env=details.environment(os.environ), stdout=file, stderr=subprocess.STDOUT, cwd=ROOT
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def measure_rest(details: Details) -> bool:
    """Ten objects at rest, from the second round of looks on: the first is a new process's, which looks at all."""
    time.sleep(3 * RESYNC)
    since = time.time()
    time.sleep(ROUNDS * RESYNC)
    made = Counter(call["operation"] for call in calls(details, since=since))
    each = made.total() / ROUNDS
    print(
        f"calls to AWS in {ROUNDS} intervals of looking at {OBJECTS} unchanged objects: {dict(made)}, "
        f"{each:.1f} an interval; target: one DescribeServices an interval: ",
        end="",
    )
    met = set(made) == {"DescribeServices"} and each <= 1 + 1 / ROUNDS  # where an interval begins is by chance
    print("met" if met else "missed")
    return met


def measure_latency(details: Details) -> bool:
    objects: Any = client.CustomObjectsApi()
    client.CoreV1Api().create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name="bench")))
    objects.create_cluster_custom_object(*OBJECT, "inferenceenvironments", environment_of(details))
    create(objects, "first")
    until(lambda: ready(objects, 1))
    made = Counter(call["operation"] for call in calls(details, since=0))
    for number in range(OBJECTS - 1):
        create(objects, f"service-{number}")
    until(lambda: ready(objects, OBJECTS))
    bare = [watched(objects, change) for change in range(CHANGES)]
    acted = [first_write(details, objects, change) for change in range(CHANGES)]
    print(f"{'':34}{'median':>10}{'p95':>10}")
    for name, seconds in (("a bare watch sees the change", bare), ("the operator's first AWS write", acted)):
        print(f"{name:34}{statistics.median(seconds) * 1000:8.1f}ms{percentile(seconds) * 1000:8.1f}ms")
    median = statistics.median(acted)
    print(
        f"ratio of the medians {median / statistics.median(bare):.1f}; target for the second: under {TARGET} s: ",
        end="",
    )
    print("met" if median < TARGET else "missed")
    print(
        f"calls to AWS to make one object: {made.total()} ({', '.join(f'{n} {op}' for op, n in sorted(made.items()))})"
    )
    until(lambda: ready(objects, OBJECTS))
    return median < TARGET


def environment_of(details: Details) -> dict[str, Any]:
    return {
        "apiVersion": "/".join(OBJECT),
        "kind": "InferenceEnvironment",
        "metadata": {"name": "default"},
        "spec": {
            "region": details.region,
            "cluster": details.cluster,
            "network": {"subnets": list(details.subnets), "securityGroups": list(details.security_groups)},
            "executionRoleArn": details.execution_role_arn,
            "taskRoleArn": details.task_role_arn,
            "models": {"fileSystemId": details.file_system_id, "posixUser": {"uid": 10001, "gid": 10001}},
            "loadBalancer": {"listenerArn": details.listener_arn, "url": details.load_balancer_url},
        },
    }


def create(objects: Any, name: str) -> None:
    spec = {"image": "registry.example.com/inference-server:1", "models": {"path": "/m/1"}, "replicas": 0}
    body = {"apiVersion": "/".join(OBJECT), "kind": "InferenceDeployment", "metadata": {"name": name}, "spec": spec}
    objects.create_namespaced_custom_object(*OBJECT, "bench", "inferencedeployments", body)


def ready(objects: Any, count: int) -> bool:
    items = objects.list_namespaced_custom_object(*OBJECT, "bench", "inferencedeployments")["items"]
    states = [
        c["status"] for item in items for c in item.get("status", {}).get("conditions", ()) if c["type"] == "Ready"
    ]
    return states == ["True"] * count


def told(objects: Any) -> bool:
    """Whether the status of the object that is changed speaks of its spec: the pass is over."""
    found = objects.get_namespaced_custom_object(*OBJECT, "bench", "inferencedeployments", "first")
    return bool(found["status"]["observedGeneration"] == found["metadata"]["generation"])


def change_spec(objects: Any, value: str) -> float:
    """When the API server was asked."""
    at = time.time()
    body = {"spec": {"env": [{"name": "CHANGE", "value": value}]}}
    objects.patch_namespaced_custom_object(
        *OBJECT, "bench", "inferencedeployments", "first", body, _content_type="application/merge-patch+json"
    )
    return at


def watched(objects: Any, change: int) -> float:
    """Seconds until a watch that does nothing else shows the change."""
    seen: list[float] = []
    version = objects.list_namespaced_custom_object(*OBJECT, "bench", "inferencedeployments")["metadata"][
        "resourceVersion"
    ]
    started = threading.Event()

    def look() -> None:
        stream: Any = watch.Watch()  # type: ignore[no-untyped-call]  # typed in part
        started.set()
        for event in stream.stream(
            objects.list_namespaced_custom_object, *OBJECT, "bench", "inferencedeployments", resource_version=version
        ):
            if (event["object"]["spec"].get("env") or [{}])[0].get("value") == f"bare-{change}":
                seen.append(time.time())
                stream.stop()

    looking = threading.Thread(target=look)
    looking.start()
    started.wait()
    at = change_spec(objects, f"bare-{change}")
    looking.join()
    until(lambda: told(objects))
    return seen[0] - at


def first_write(details: Details, objects: Any, change: int) -> float:
    """Seconds until AWS has the first call that changes something."""
    at = change_spec(objects, f"acted-{change}")

    def written() -> float | None:
        writes = [c for c in calls(details, since=at) if not c["operation"].startswith(("Describe", "List"))]
        return datetime.fromisoformat(writes[0]["at"]).timestamp() if writes else None

    when = until(written)
    until(lambda: told(objects))
    return float(when) - at


def calls(details: Details, *, since: float) -> list[Mapping[str, Any]]:
    with urllib.request.urlopen(f"{details.aws_endpoint_url}/_sandbox/calls", timeout=30) as answer:  # noqa: S310 loopback
        told: list[Mapping[str, Any]] = json.load(answer)["calls"]
    return [call for call in told if datetime.fromisoformat(call["at"]).timestamp() >= since]


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.01)
    raise TimeoutError("waited a minute in vain")


def percentile(seconds: list[float]) -> float:
    return sorted(seconds)[int(len(seconds) * 0.95)]


if __name__ == "__main__":
    main()
