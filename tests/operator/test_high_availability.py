"""Several replicas of the real operator between the real API server and the sandbox's AWS."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from inference_sandbox.control_plane import Cluster
from tests.operator.live import Operator, Stage

OBJECTS = 20
UNRENEWED = """
import asyncio
from inference_operator.cli import main
from inference_operator.runtime import election

async def hold(_):
    await asyncio.Event().wait()

election.Election.hold, election.RENEW_DEADLINE = hold, 0.0
main(["run"])
"""
UNFENCED = f"""
from inference_operator.runtime import connections

connect = connections.connect
connections.connect = lambda *where, before_try, **options: connect(*where, **options)
{UNRENEWED}
"""
"""Asks AWS all the same: what is left of a pass in which it was frozen after its last call."""
TAKEN_OVER_WITHIN = 20.0
"""Seconds. The lease of a holder that died ends 15 s after its last renewal."""


@contextmanager
def replicas(stage: Stage, folder: Path) -> Iterator[tuple[Operator, Operator]]:
    """The first of the two leads."""
    environment = {**stage.operator.environment, "INFERENCE_OPERATOR_LEASE": f"{stage.namespace}/operator"}
    pair = [replace(stage.operator, environment=environment, log=folder / f"{n}.log") for n in ("first", "second")]
    with ExitStack() as stack:
        for operator, sign in zip(pair, ("started", "standing by"), strict=True):
            operator.start(sign=sign)
            stack.callback(operator.__exit__)
        yield pair[0], pair[1]


def holder(cluster: Cluster, stage: Stage) -> str:
    lease = json.loads(cluster.kubectl("get", "lease", "operator", "-n", stage.namespace, "-o", "json"))
    name: str = lease["spec"].get("holderIdentity", "")
    return name


def health(operator: Operator) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{operator.metrics_port}/healthz", timeout=5) as answer:
            status: int = answer.status
            return status
    except urllib.error.HTTPError as error:
        return error.code


def test_when_the_leader_is_killed_during_rollouts_the_standby_takes_over_and_nothing_is_done_twice(
    stage: Stage, own_cluster: Cluster, tmp_path: Path
) -> None:
    names = [f"model-{number}" for number in range(OBJECTS)]
    with replicas(stage, tmp_path) as (first, second):
        for name in names:
            stage.apply(name)
        stage.until_ready(*names, within=90)
        for name in names:
            stage.patch(name, {"spec": {"models": {"path": f"/{name}/2"}}})
        stage.until(lambda: stage.live.calls().count("ecs:UpdateService") >= OBJECTS // 4)
        leader = holder(own_cluster, stage)
        first.kill()
        died = time.monotonic()
        stage.until(lambda: holder(own_cluster, stage) != leader)
        assert time.monotonic() - died < TAKEN_OVER_WITHIN
        stage.until_ready(*names, within=120)
        assert health(second) == 200
        for name in names:
            assert stage.get(name)["status"]["running"]["model"] == f"/{name}/2"
    made = Counter(call for call in stage.live.calls() if call == "ecs:CreateService")
    assert made["ecs:CreateService"] == OBJECTS
    holdings = stage.live.holdings()
    assert holdings["Service"] == holdings["TargetGroup"] == OBJECTS
    assert holdings["TaskDefinition"] == 2 * OBJECTS, "each spec is registered once"


def test_a_leader_that_is_told_to_stop_gives_the_lease_back_at_once(
    stage: Stage, own_cluster: Cluster, tmp_path: Path
) -> None:
    with replicas(stage, tmp_path) as (first, second):
        assert health(first) == health(second) == 200
        leader = holder(own_cluster, stage)
        assert first.stop() == 0
        began = time.monotonic()
        stage.until(lambda: holder(own_cluster, stage) not in ("", leader))
        assert time.monotonic() - began < 10, "well before the lease would have ended"
        stage.apply("recommender")
        stage.until_ready("recommender")
        assert second.stop() == 0


def test_a_leader_whose_lease_was_taken_ends_at_once(stage: Stage, own_cluster: Cluster, tmp_path: Path) -> None:
    with replicas(stage, tmp_path) as (first, second):
        second.kill()
        own_cluster.kubectl(
            "patch",
            "lease",
            "operator",
            "-n",
            stage.namespace,
            "--type=merge",
            "-p",
            '{"spec":{"holderIdentity":"thief"}}',
        )
        assert first.process is not None
        assert first.process.wait(15) == 3


def test_a_leader_that_was_frozen_ends_before_it_asks_anything_of_aws(stage: Stage) -> None:
    """Its pass runs again before anything that would notice that the lease is another's by now."""
    environment = {**stage.operator.environment, "INFERENCE_OPERATOR_LEASE": f"{stage.namespace}/operator"}
    program = (sys.executable, "-c", UNRENEWED)
    with replace(stage.operator, environment=environment, program=program) as operator:
        stage.apply("recommender")
        assert operator.process is not None
        assert operator.process.wait(15) == 3
    assert stage.live.calls() == []


def test_a_leader_that_was_frozen_ends_before_it_writes_a_status(stage: Stage) -> None:
    """Its status is one of long ago, and would stand in place of the next leader's."""
    environment = {**stage.operator.environment, "INFERENCE_OPERATOR_LEASE": f"{stage.namespace}/operator"}
    with replace(stage.operator, environment=environment, program=(sys.executable, "-c", UNFENCED)) as operator:
        stage.apply("recommender")
        assert operator.process is not None
        assert operator.process.wait(15) == 3
    assert stage.live.calls() != []
    assert "status" not in stage.get("recommender")
    assert "status" not in (stage.environment() or {})


def test_a_replica_that_stands_by_ends_when_it_is_told_to(stage: Stage, tmp_path: Path) -> None:
    with replicas(stage, tmp_path) as (_, second):
        assert second.stop() == 0
