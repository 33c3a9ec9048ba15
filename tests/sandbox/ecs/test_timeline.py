"""A failing rollout of 25 replicas as a timeline that can be read beside a real one.

`UPDATE_TIMELINE=1 pytest tests/sandbox/ecs/test_timeline.py` writes it anew; read the difference before you commit it.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from inference_sandbox.ecs.clock import EPOCH
from inference_sandbox.tasks.scripted import Script, failing
from tests.sandbox.ecs.simulation import GROUP, SECOND, Simulation, balanced, breaker

TIMELINE = Path(__file__).with_name("failing_rollout.txt")
REPLICAS = 25


class Scribe:
    """Writes down what changed, with short names for what AWS names by number."""

    def __init__(self, world: Simulation) -> None:
        self.world = world
        self.lines: list[str] = []
        self._names: dict[str, str] = {}
        self._seen: set[str] = set()
        self._table: list[str] = []

    def look(self, what: str = "") -> None:
        shown = self.world.describe()
        new = [event for event in reversed(shown["events"]) if event["id"] not in self._seen]
        table = [self._row(deployment) for deployment in shown["deployments"]]
        if what:
            self._write(f"> {what}")
        for event in new:
            self._seen.add(event["id"])
            self._write(self._short(event["message"]))
        if table != self._table:
            self._table = table
            self.lines += [f"{'':10}{row}" for row in table]

    def record(self) -> None:
        record = self.world.record()
        rollback = record.get("rollback", {}).get("reason", "-")
        self._write(f"service deployment {record['status']} {record['deploymentCircuitBreaker']} rollback: {rollback}")

    def _write(self, text: str) -> None:
        elapsed = int((self.world.clock.now() - EPOCH).total_seconds())
        self.lines.append(f"{elapsed // 60:3}:{elapsed % 60:02}    {text}")

    def _row(self, deployment: dict[str, Any]) -> str:
        name = self._short(deployment["id"])
        counts = " ".join(f"{member}={deployment[member + 'Count']}" for member in ("desired", "pending", "running"))
        family = deployment["taskDefinition"].rsplit("/", 1)[-1]
        state = f"{deployment['rolloutState']:11} failed={deployment['failedTasks']}"
        why = self._short(deployment["rolloutStateReason"])
        return f"{deployment['status']:7} {name} {family} {counts} {state}  {why}"

    def _short(self, text: str) -> str:
        text = re.sub(r"ecs-svc/\d{19}", lambda found: self._names.setdefault(found[0], self._next()), text)
        text = re.sub(r"(\(task [0-9a-f]{32}\) ?)+", "(task …) ", text).replace(" .", ".")
        return text.replace(GROUP, "app")

    def _next(self) -> str:
        return f"ecs-svc/{'ABCDEFG'[len(self._names)]}"


def timeline() -> list[str]:
    world = Simulation()
    scribe = Scribe(world)

    def pass_until(seconds: int) -> None:
        end = world.clock.now().timestamp() + seconds
        while (due := world.next_due()) is not None and due.timestamp() <= end:
            world.clock.set(due)
            world.scheduler.tick()
            scribe.look()
        world.advance(end - world.clock.now().timestamp())

    def paced(script: Script) -> Script:
        """No two pulls take the same time."""
        return replace(script, starts_after=(3 + len(world.runner.starts) * 7 % 11) * SECOND)

    world.runner.script = lambda _launch: paced(Script())
    world.create(REPLICAS, **breaker(), **balanced())
    scribe.look(f"CreateService, {REPLICAS} tasks behind a target group, circuit breaker with rollback")
    pass_until(300)
    world.runner.script = lambda _launch: paced(failing("CannotPullContainerError: … app:2: not found"))
    world.update(taskDefinition=world.register())
    scribe.look("UpdateService, a task definition whose image does not exist")
    pass_until(600)
    scribe.record()
    return scribe.lines


def test_a_failing_rollout_of_25_replicas_reads_like_a_real_one() -> None:
    written = "\n".join(timeline()) + "\n"
    if os.environ.get("UPDATE_TIMELINE"):
        TIMELINE.write_text(written)
    assert written == TIMELINE.read_text()
