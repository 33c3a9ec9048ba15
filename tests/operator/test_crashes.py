"""The operator dies at any moment, and another process of it ends what that one began.

Twice: every moment there is, in this process on a virtual clock, where dying is an exception that nobody catches; and
some moments by chance, with real processes that are killed.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.eventually import eventually
from tests.operator.live import Stage
from tests.operator.world import Death, Died, Object, World

EVERY_KIND = ("LogGroup", "AccessPoint", "TargetGroup", "ListenerRule", "TaskDefinition", "Service")

# -- every moment, in virtual time


def made(it: Object) -> None:
    it.live(lambda: it.ready)


def changed(it: Object) -> None:
    it.change(models={"path": "/recommender/2"}, replicas=2, health={"path": "/other"}, ingress={"paths": ["/a/*"]})
    it.live(lambda: it.ready)


SCALED = {
    "minReplicas": 2,
    "maxReplicas": 4,
    "cpuPercent": 60,
    "requestsPerReplica": 600,
    "schedules": [{"name": "night", "schedule": "cron(0 20 * * ? *)", "minReplicas": 1, "maxReplicas": 2}],
}


def scaled(it: Object) -> None:
    it.change(replicas=None, autoscaling=SCALED)
    it.live(lambda: it.ready)


def scaled_otherwise(it: Object) -> None:
    it.change(autoscaling={"minReplicas": 3, "maxReplicas": 4, "memoryPercent": 60}, suspend=True)
    it.live(lambda: it.ready)


def scaled_no_more(it: Object) -> None:
    it.change(autoscaling=None, replicas=1)
    it.live(lambda: it.ready)


def deleted(it: Object) -> None:
    it.vanish()


@dataclass(frozen=True, kw_only=True)
class Phase:
    before: Sequence[Callable[[Object], None]]
    dies_in: Callable[[Object], None]
    leaves: Mapping[str, int]


ONE_OF_EACH = dict.fromkeys(EVERY_KIND, 1)
SCALING = {"ScalableTarget": 1, "ScalingPolicies": 1}
PHASES = [
    Phase(before=[], dies_in=made, leaves=ONE_OF_EACH),
    Phase(before=[made], dies_in=changed, leaves=ONE_OF_EACH | {"TaskDefinition": 2}),
    Phase(before=[made], dies_in=scaled, leaves=ONE_OF_EACH | SCALING),
    Phase(before=[made, scaled], dies_in=scaled_otherwise, leaves=ONE_OF_EACH | SCALING),
    Phase(before=[made, scaled], dies_in=scaled_no_more, leaves=ONE_OF_EACH),
    Phase(before=[made, changed, scaled], dies_in=deleted, leaves=dict.fromkeys(EVERY_KIND, 0)),
]


@pytest.mark.parametrize("after_effect", [False, True], ids=["before the effect", "after the effect"])
@pytest.mark.parametrize("phase", PHASES, ids=lambda phase: phase.dies_in.__name__)
def test_dying_at_any_call_it_ends_as_if_nothing_had_happened(phase: Phase, after_effect: bool, tmp_path: Path) -> None:
    for call in count(1):
        world = World(tmp_path / str(call))
        it = Object(world)
        for step in phase.before:
            step(it)
        world.die(Death(call, after_effect))
        try:
            phase.dies_in(it)
        except Died:
            told = f"after it had died at call {call} of {[c.operation for c in world.calls()]}"
        else:
            assert call > len(phase.before) + 1, "it never died"
            return
        world.die(None)
        it.restart()
        if phase.dies_in is deleted:
            it.vanish()
        else:
            it.live(lambda it=it: it.ready)  # type: ignore[misc]  # mypy infers no lambda defaults
        assert {kind: len(things) for kind, things in world.holdings().items()} == phase.leaves, told
        if phase.dies_in is not deleted:
            mark = world.mark
            it.restart()
            it.live_on(timedelta(hours=2))
            assert world.writes(since=mark) == [], told


@pytest.mark.parametrize("phase", PHASES[:2], ids=lambda phase: phase.dies_in.__name__)
@pytest.mark.parametrize("lost", range(4))
def test_dying_before_the_status_is_written_it_ends_as_if_nothing_had_happened(
    phase: Phase, lost: int, world: World
) -> None:
    """The `lost`-th status is."""
    it = Object(world)
    for step in phase.before:
        step(it)
    if phase.dies_in is changed:
        it.change(models={"path": "/recommender/2"})
    for _ in range(lost):
        world.advance(it.look().requeue_after)
    before = it.status
    it.look()
    it.document["status"] = before
    it.restart()
    it.live(lambda: it.ready)
    assert {kind: len(things) for kind, things in world.holdings().items()} == phase.leaves


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
