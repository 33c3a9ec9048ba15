"""How soon what ECS makes of a rollout is in the object's condition.

    python -m benchmarks.operator.verdict          # about six minutes

Everything is real but AWS: API server, operator process, HTTP. Rollouts of services with one task each fail at random
times; what counts is the time from ECS's verdict, as its event about the service has it, to the watch that shows the
condition. The first figures are the baseline: no events, only looks. Then the same with events, with events that come
twice, in any order and among junk, and with a queue that is purged and a rule that is off. Exits 1 if a target is
missed. A burst is not among them: moto's queue takes seconds for ten messages where it holds ten thousand.
"""

from __future__ import annotations

import random
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
from kubernetes import client, watch

from benchmarks.operator import fleet
from benchmarks.operator.fleet import CLUSTER, DEPLOYMENTS, NAMESPACE, OBJECT, REGION, ROOT, Stage
from inference_sandbox.ecs.surroundings import Latencies, Settings
from inference_sandbox.tasks.scripted import Script, ScriptedRunner

SERVICES, ROUNDS = 10, 3
BAD, GOOD = "registry.example.com/inference-server:bad", "registry.example.com/inference-server:good"
MOMENT = timedelta(milliseconds=30)
ROLLING, PUSHED = 5.0, 3
"""Seconds between looks at a rollout without events, and how many times that with them (engine/backoff.py)."""
SLACK = 1.5
"""Jitter of a wait (5 %), and a pass."""
SOON = 2.0


def main() -> None:
    settings = Settings(
        latencies=Latencies(
            provisioning=MOMENT, pulling=MOMENT, activating=MOMENT, deprovisioning=MOMENT, spot_warning=MOMENT
        ),
        healthy_after=MOMENT,
    )
    with tempfile.TemporaryDirectory() as folder, fleet.stage(Path(folder), settings) as made:
        runner: Any = made.cloud.runner
        fail_at_random(runner)
        with Bench.running(made, Path(folder) / "operator.log") as bench:
            missed = [not met for met in measure(bench)]
    sys.exit(1 if any(missed) else 0)


def fail_at_random(runner: ScriptedRunner) -> None:
    """Tasks of the image BAD end some time after they have begun."""
    chance = random.Random(11)  # noqa: S311 - times of failures

    def script(launch: Any) -> Script:
        if any(container.definition["image"] == BAD for container in launch.containers):
            after = timedelta(seconds=chance.uniform(0.1, 2 * ROLLING))
            return Script(starts_after=after, exits_after=MOMENT, exit_code=3, stops_after=MOMENT)
        return Script(starts_after=MOMENT, stops_after=MOMENT)

    runner.script = script


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
        environment = {**made.environment, "INFERENCE_OPERATOR_METRICS_PORT": str(port)}
        command = [sys.executable, "-m", "inference_operator", "run"]
        with log.open("ab") as file:
            operator = psutil.Popen(command, env=environment, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT)
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

    def metrics(self) -> Mapping[str, float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=30) as answer:
            lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
        return defaultdict(float, {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)})

    def outcomes(self) -> Counter[str]:
        """Messages read, by outcome."""
        prefix = 'inference_operator_events_total{environment="default",outcome="'
        found = {name: value for name, value in self.metrics().items() if name.startswith(prefix)}
        return Counter({name.removeprefix(prefix).rstrip('"}'): int(value) for name, value in found.items()})


def measure(bench: Bench) -> Iterator[bool]:
    """Prints each figure; yields whether its target was met."""
    names = [f"service-{number}" for number in range(SERVICES)]
    for name in names:
        spec = {
            "image": GOOD,
            "models": {"path": "/m/1"},
            "replicas": 1,
            "rollout": {"circuitBreaker": {"threshold": {"type": "COUNT", "value": 1}}},
        }
        bench.stage.objects.create_namespaced_custom_object(*OBJECT, NAMESPACE, DEPLOYMENTS, fleet.document(name, spec))
    bench.until(lambda: fleet.all_ready(bench.stage, SERVICES))
    print(f"{SERVICES * ROUNDS} rollouts each, from ECS's verdict to the condition")
    yield report("no events (baseline)", rounds(bench, names), ROLLING + SLACK)
    bench.listen("verdicts")
    yield report("events", rounds(bench, names), SOON)
    bench.stage.cloud.disturb_events(duplicates=0.5, shuffled=True)
    with junk(bench):
        before = bench.outcomes()
        yield report("doubled, shuffled, among junk", rounds(bench, names), SOON)
    print(f"    messages: {told(bench.outcomes() - before)}")
    bench.stage.cloud.disturb_events(duplicates=0, shuffled=False)
    before = bench.outcomes()
    with purged(bench):
        yield report("queue purged, rule off", rounds(bench, names), ROLLING * PUSHED * 1.05 + SLACK)
    print(f"    messages: {told(bench.outcomes() - before)}")


def rounds(bench: Bench, names: Sequence[str]) -> list[float]:
    """Seconds from verdict to condition, of each rollout."""
    found: list[float] = []
    for _ in range(ROUNDS):
        asked = [(name, bench.ask(name, BAD)) for name in names]
        bench.until(lambda asked=asked: all(each in bench.told for each in asked))  # type: ignore[misc]  # mypy infers no lambda defaults
        found += [bench.told[name, generation] - verdict(bench, name) for name, generation in asked]
        for name in names:
            explained(bench, name)
            bench.ask(name, GOOD)
        bench.until(lambda: fleet.all_ready(bench.stage, SERVICES))
    return found


def verdict(bench: Bench, name: str) -> float:
    """When ECS gave the latest rollout up: its own event says so."""
    ecs: Any = bench.stage.cloud.client("ecs", REGION)
    [shown] = ecs.describe_services(cluster=CLUSTER, services=[f"{NAMESPACE}_{name}"])["services"]
    at: datetime = next(e["createdAt"] for e in shown["events"] if "deployment failed" in e["message"])
    return at.timestamp()


def explained(bench: Bench, name: str) -> None:
    """Nothing was lost: the object tells which container ended, and how."""

    def so() -> bool:
        status = bench.stage.objects.get_namespaced_custom_object(*OBJECT, NAMESPACE, DEPLOYMENTS, name)["status"]
        failure = status.get("lastFailure", {})
        return (failure.get("container"), failure.get("exitCode")) == ("app", 3)

    bench.until(so)


@contextmanager
def junk(bench: Bench) -> Iterator[None]:
    """Within the block, twenty messages a second that are none of ECS's."""
    sqs, url, over = *queue(bench), threading.Event()

    def send() -> None:
        while not over.wait(0.05):
            sqs.send_message(QueueUrl=url, MessageBody=random.choice(("}{", "[]", '{"hello": 1}')))  # noqa: S311 - junk

    sending = threading.Thread(target=send)
    sending.start()
    yield
    over.set()
    sending.join()


@contextmanager
def purged(bench: Bench) -> Iterator[None]:
    """Within the block the rule is off every other second, and the queue is purged as often as AWS lets one."""
    sqs, url, over = *queue(bench), threading.Event()
    events: Any = bench.stage.cloud.client("events", REGION)
    [rule] = [rule["Name"] for rule in events.list_rules()["Rules"]]

    def disturb() -> None:
        sqs.purge_queue(QueueUrl=url)
        while not over.is_set():
            events.disable_rule(Name=rule)
            over.wait(1)
            events.enable_rule(Name=rule)
            over.wait(1)

    disturbing = threading.Thread(target=disturb)
    disturbing.start()
    yield
    over.set()
    disturbing.join()


def queue(bench: Bench) -> tuple[Any, str]:
    sqs: Any = bench.stage.cloud.client("sqs", REGION)
    return sqs, sqs.get_queue_url(QueueName="verdicts")["QueueUrl"]


def report(what: str, seconds: Sequence[float], target: float) -> bool:
    met = max(seconds) <= target
    print(
        f"  {what:34}median {statistics.median(seconds):5.2f} s, longest {max(seconds):5.2f} s, "
        f"at most {target:.2f} s: {'met' if met else 'missed'}",
        flush=True,
    )
    return met


def told(outcomes: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))


if __name__ == "__main__":
    main()
