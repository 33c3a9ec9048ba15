"""The operator as a process on a stage, and what can be read of it from outside. It must not know what is measured."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from kubernetes import client, watch

from benchmarks.operator import fleet
from benchmarks.operator.fleet import DEPLOYMENTS, NAMESPACE, OBJECT, REGION, ROOT, Stage


@dataclass
class Bench:
    stage: Stage
    operator: psutil.Popen
    port: int
    log: Path
    over: threading.Event = field(default_factory=threading.Event)
    told: dict[tuple[str, int], float] = field(default_factory=dict)
    """By name and generation: when the condition said that the rollout has failed (Unix time)."""

    @classmethod
    @contextmanager
    def running(cls, made: Stage, log: Path) -> Iterator[Bench]:
        made.objects.create_cluster_custom_object(
            *OBJECT, "inferenceenvironments", fleet.document("default", made.spec, None)
        )
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        settings = {"INFERENCE_OPERATOR_METRICS_PORT": str(port), "INFERENCE_OPERATOR_LOG_LEVEL": "DEBUG"}
        command = [sys.executable, "-m", "inference_operator", "run"]
        with log.open("ab") as file:
            operator = psutil.Popen(
                command, env={**made.environment, **settings}, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT
            )
        bench = cls(made, operator, port, log)
        following = threading.Thread(target=bench.follow)
        following.start()
        try:
            yield bench
        finally:
            bench.over.set()
            following.join()
            operator.terminate()
            operator.wait(60)

    def follow(self) -> None:
        listing = client.CustomObjectsApi().list_namespaced_custom_object
        while not self.over.is_set():
            stream: Any = watch.Watch()  # type: ignore[no-untyped-call]  # typed in part
            for event in stream.stream(listing, *OBJECT, NAMESPACE, DEPLOYMENTS, timeout_seconds=5):
                now, document = time.time(), event["object"]
                for condition in document.get("status", {}).get("conditions", ()):
                    if condition["type"] == "Ready" and condition["reason"] == "RolledBack":
                        self.told.setdefault((document["metadata"]["name"], condition["observedGeneration"]), now)

    def ask(self, name: str, image: str) -> int:
        """For that image; the generation."""
        changed = self.stage.objects.patch_namespaced_custom_object(
            *OBJECT, NAMESPACE, DEPLOYMENTS, name, {"spec": {"image": image}}, _content_type=fleet.MERGE
        )
        return int(changed["metadata"]["generation"])

    def until(self, so: Callable[[], bool], seconds: float = 180) -> None:
        deadline = time.monotonic() + seconds
        while not so():
            if time.monotonic() > deadline or self.operator.poll() is not None:
                raise TimeoutError(f"waited in vain; the operator said\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def listen(self, queue: str) -> None:
        """Events are asked for, and are heard."""
        self.stage.objects.patch_cluster_custom_object(
            *OBJECT,
            "inferenceenvironments",
            "default",
            {"spec": {"events": {"queue": queue}}},
            _content_type=fleet.MERGE,
        )
        self.until(lambda: self.metrics()['inference_operator_events_heard{environment="default"}'] == 1)

    def queue(self) -> tuple[Any, str]:
        """A client, and the URL."""
        sqs: Any = self.stage.cloud.client("sqs", REGION)
        [url] = sqs.list_queues()["QueueUrls"]
        return sqs, url

    def metrics(self) -> Mapping[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return defaultdict(float, {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)})

    def outcomes(self) -> Counter[str]:
        """Messages read, by outcome."""
        prefix = 'inference_operator_events_total{environment="default",outcome="'
        found = {name: value for name, value in self.metrics().items() if name.startswith(prefix)}
        return Counter({name.removeprefix(prefix).rstrip('"}'): int(value) for name, value in found.items()})

    def passes(self, since: float) -> dict[str, list[float]]:
        """When those over each object began, as the operator logs it; by the clock that never goes back, as `since`."""
        found: dict[str, list[float]] = defaultdict(list)
        for line in self.log.read_text().splitlines():
            if '"a pass begins"' in line:
                told = json.loads(line)
                if told["namespace"] == NAMESPACE and told["monotonic"] >= since:
                    found[told["name"]].append(told["monotonic"])
        return found

    def mebibytes(self) -> float:
        """Resident."""
        return float(self.operator.memory_info().rss) / 2**20

    def cpu_seconds(self) -> float:
        spent = self.operator.cpu_times()
        return float(spent.user + spent.system)
