"""The operator dies before it has told what it did, or at some moment by chance, as a process that is killed. Another
process of it ends what that one began.

Every moment there is has test_every_call.py.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest

from tests.eventually import eventually
from tests.operator.builders import deployment_document
from tests.operator.everything import MUCH, equip
from tests.operator.live import Stage
from tests.operator.world import Object, World

ONE_OF_EACH = dict.fromkeys(("LogGroup", "AccessPoint", "TargetGroup", "ListenerRule", "TaskDefinition", "Service"), 1)

# -- what a pass has found out is lost


@pytest.mark.parametrize("path", [None, "/recommender/2"], ids=["made", "changed"])
@pytest.mark.parametrize("lost", range(4))
def test_dying_before_the_status_is_written_it_ends_as_if_nothing_had_happened(
    path: str | None, lost: int, world: World
) -> None:
    """The `lost`-th status is."""
    it = Object(world)
    if path is not None:
        it.live(lambda: it.ready)
        it.change(models={"path": path})
    for _ in range(lost):
        world.advance(it.look().requeue_after)
    before = it.status
    it.look()
    it.document["status"] = before
    it.restart()
    it.live(lambda: it.ready)
    revisions = {"TaskDefinition": 2} if path is not None else {}
    assert {kind: len(things) for kind, things in world.holdings().items()} == ONE_OF_EACH | revisions


def test_a_service_that_ecs_does_not_show_yet_to_the_next_process_is_waited_for(world: World) -> None:
    world.cloud.delay_reads(timedelta(seconds=20))
    it = Object(world)
    while "ecs:CreateService" not in world.writes():
        world.advance(it.look().requeue_after)
    it.restart()
    it.look()
    assert it.stands("Ready") == ("False", "Waiting")
    assert "does not show yet" in it.condition("Ready")["message"]
    assert it.stands("Stalled")[0] == "Absent"
    it.live(lambda: it.ready)
    assert len(world.holdings()["Service"]) == 1


@pytest.mark.parametrize("much", [False, True], ids=["rolling", "shifting requests"])
def test_a_deployment_that_ecs_does_not_show_yet_to_the_next_process_has_not_failed(
    world: World, *, much: bool
) -> None:
    if much:
        equip(world)
    it = Object(world, deployment_document(**(MUCH if much else {})))
    it.live(lambda: it.ready)
    world.advance(timedelta(minutes=10))
    world.cloud.delay_reads(timedelta(seconds=20))
    it.change(image="registry.example.com/inference-server:1.5.0")
    mark = world.mark
    while "ecs:UpdateService" not in world.writes(since=mark):
        world.advance(it.look().requeue_after)
    sent = world.mark
    told = set()
    while not it.ready:
        it.restart()
        world.advance(min(it.look().requeue_after, timedelta(seconds=7)))
        told.add(it.stands("Ready")[1])
        assert it.stands("Stalled")[0] == "Absent"
    assert "RolledBack" not in told
    assert "ecs:UpdateService" not in world.writes(since=sent)
    assert [entry["outcome"] for entry in it.status["history"]] == ["Completed", "Completed"]


# -- some moments, with processes that are killed
#
# In each round one object is made, another changed and a third deleted, all at once; the process is killed after some
# of the calls to AWS that this takes. How many is drawn from a seed that is printed and that a failing test names.

SEEDS = [1, 2, 3, 4]
ROUNDS = 5
CALLS = (16, 20, 32)
"""About as many calls as are made until all is sent in the first round, the second, and the later ones."""


@dataclass
class Life:
    """What was asked of one object so far."""

    name: str
    models: list[str] = field(default_factory=list)
    """Each spec has its own."""
    deleted: bool = False

    def next_spec(self) -> dict[str, Any]:
        self.models.append(f"/{self.name}/{len(self.models) + 1}")
        return {"models": {"path": self.models[-1]}, "env": [{"name": "VERSION", "value": str(len(self.models))}]}


def ask(stage: Stage, lives: list[Life], number: int) -> None:
    """One is made, the one made before is changed, and the one changed before is deleted."""
    for life, change in zip(reversed(lives), ("change", "delete"), strict=False):
        if change == "change":
            stage.patch(life.name, {"spec": life.next_spec()})
        elif not life.deleted:
            stage.delete(life.name)
            life.deleted = True
    new = Life(f"service-{number}")
    lives.append(new)
    stage.apply(new.name, **new.next_spec())


def killed_after(stage: Stage, lives: list[Life], calls: int, *, since: int) -> str:
    """Kill the operator when it has made so many calls, or when nothing is left to do; the last call that it made."""
    eventually(lambda: stage.live.mark >= since + calls or at_rest(stage, lives), 30, every=0.001)
    stage.operator.kill()
    calls_made = stage.live.calls(since=since)
    return f"killed after {len(calls_made)} calls, the last {calls_made[-1] if calls_made else 'none'}"


def at_rest(stage: Stage, lives: list[Life]) -> bool:
    """Whether nothing is left to do."""
    alive = {life.name for life in lives if not life.deleted}
    return stage.names() == alive and all(stage.stands(name)[0] == "True" for name in alive)


def as_if_nothing_had_happened(stage: Stage, lives: list[Life]) -> None:
    """One of each kind for each object, with what its last spec asks for, and nothing else; no revision without a
    spec.
    """
    alive = [life for life in lives if not life.deleted]
    holdings = stage.live.account.holdings()
    services = {f"{stage.namespace}_{life.name}": life for life in alive}
    assert set(holdings["Service"]) == set(services)
    assert set(holdings["LogGroup"]) == {f"/inference/{stage.namespace}/{life.name}" for life in alive}
    assert len(holdings["TargetGroup"]) == len(holdings["ListenerRule"]) == len(alive)
    paths = sorted(point["RootDirectory"]["Path"] for point in holdings["AccessPoint"].values())
    assert paths == sorted(f"/models{life.models[-1]}" for life in alive)
    for name, life in services.items():
        service, document = holdings["Service"][name], stage.get(life.name)
        (deployment,) = service["deployments"]
        assert deployment["rolloutState"] == "COMPLETED"
        assert deployment["taskDefinition"] == document["status"]["desired"]["revision"]
        assert document["status"]["running"]["model"] == life.models[-1]
    revisions = [revision.partition(":")[0] for revision in holdings["TaskDefinition"]]
    for name, life in services.items():
        assert revisions.count(name) <= len(life.models)
    assert set(revisions) == set(services)


@pytest.fixture
def alive(stage: Stage) -> Iterator[Stage]:
    with stage.operator:
        yield stage


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_any_moment_it_ends_as_if_nothing_had_happened(seed: int, alive: Stage) -> None:
    chance = random.Random(seed)  # noqa: S311 moments, not secrets
    lives: list[Life] = []
    for number in range(ROUNDS):
        mark, calls = alive.live.mark, chance.randrange(CALLS[min(number, 2)])
        ask(alive, lives, number)
        told = killed_after(alive, lives, calls, since=mark)
        print(f"seed {seed}, round {number}: {told}")  # noqa: T201 shown where it fails
        alive.operator.start()
        alive.until(lambda: at_rest(alive, lives))
        as_if_nothing_had_happened(alive, lives)
