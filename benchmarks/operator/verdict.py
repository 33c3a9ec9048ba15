"""How soon what ECS makes of a rollout is in the object's condition.

    python -m benchmarks.operator.verdict          # about nine minutes; with --burst one

Everything is real but AWS: API server, operator process, HTTP. Rollouts of services with one task each fail at random
times; what counts is the time from ECS's verdict, as its event about the service has it, to the watch that shows the
condition. The first figures are the baseline: no events, only looks. Then the same with events, with events that come
twice, in any order and among junk, and with a queue that is purged and a rule that is off. At last, a burst of events
(`burst.py`). Exits 1 if a target is missed.
"""

from __future__ import annotations

import random
import statistics
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import click

from benchmarks.operator import fleet
from benchmarks.operator.bench import Bench
from benchmarks.operator.burst import burst, told
from benchmarks.operator.fleet import CLUSTER, DEPLOYMENTS, NAMESPACE, OBJECT, REGION
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


@click.command()
@click.option("--burst", "alone", is_flag=True, help="The burst alone.")
def main(alone: bool) -> None:
    """Measure how soon verdicts are told."""
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
            names = made_services(bench)
            missed = [] if alone else [not met for met in measure(bench, names)]
            bench.listen("verdicts")
            missed += [not met for met in burst(bench, names)]
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


def made_services(bench: Bench) -> list[str]:
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
    return names


def measure(bench: Bench, names: Sequence[str]) -> Iterator[bool]:
    """Prints each figure; yields whether its target was met."""
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
    sqs, url, over = *bench.queue(), threading.Event()

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
    sqs, url, over = *bench.queue(), threading.Event()
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


def report(what: str, seconds: Sequence[float], target: float) -> bool:
    met = max(seconds) <= target
    print(
        f"  {what:34}median {statistics.median(seconds):5.2f} s, longest {max(seconds):5.2f} s, "
        f"at most {target:.2f} s: {'met' if met else 'missed'}",
        flush=True,
    )
    return met


if __name__ == "__main__":
    main()
