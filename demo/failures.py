"""The second demo: releases that fail, one after the other, while an old one goes on serving.

The first is kept back, as a check finds what would fail; the others are given up by ECS and rolled back. The object
must then tell the right cause and what to do, and no request may have failed.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from demo import digits, models, registry, steps
from demo.failure import DemoFailed
from demo.load import Outcome, summarise, under_load
from demo.steps import NAMESPACE, Stage

REGISTRY = "123456789012.dkr.ecr.ap-northeast-1.amazonaws.com"
GOOD = f"{REGISTRY}/inference-server:0.1.0"
GREEDY, EMPTY = "greedy-server", "empty-server"
BROKEN = "/digits/broken"
EAT_MEMORY = "python -c 'kept = []\nwhile True: kept.append(bytearray(2**24))'"
_FAILURE_SECONDS = 180
_UP_SECONDS = 240

# Checks that decide within seconds, and one failed task that is enough: nobody wants to watch for minutes.
QUICK: Mapping[str, Any] = {
    "health": {"startup": "10s", "interval": "5s", "timeout": "2s", "unhealthyThreshold": 2},
    "rollout": {"circuitBreaker": {"threshold": {"type": "COUNT", "value": 1}}},
}


@dataclass(frozen=True, kw_only=True)
class Release:
    """One that fails. `spec` is merged into what the one before left."""

    title: str
    explanation: str
    spec: Mapping[str, Any]
    cause: str | None
    """What the object must tell; None of a release that must be kept back, so that nothing of it starts."""
    before: Sequence[str] = ()
    """Commands of `inference-sandbox` that make it fail, where the release itself is not to blame."""
    after: Sequence[str] = ()


RELEASES = (
    Release(
        title="An image that does not exist",
        explanation="Somebody mistyped its name. The operator asks the registry first, and starts nothing.",
        spec={"image": f"{REGISTRY}/inference-serve:0.1.0"},
        cause=None,
    ),
    Release(
        title="An image that is broken",
        explanation="It is there, but the program that it should start is not in it.",
        spec={"image": f"{REGISTRY}/{EMPTY}:0.1.0"},
        cause="CommandNotFound",
    ),
    Release(
        title="A model that does not load",
        explanation="The server starts, and says on /readyz that it can't serve.",
        spec={"image": GOOD, "models": {"path": BROKEN}},
        cause="TargetHealthCheckCode",
    ),
    Release(
        title="A container that runs out of memory",
        explanation="It asks for more than spec.memory has.",
        spec={
            "image": f"{REGISTRY}/{GREEDY}:0.1.0",
            "models": {"path": f"/{models.DIGITS[1]}"},
            "cpu": "0.25",
            "memory": "512Mi",
        },
        cause="OutOfMemory",
    ),
    Release(
        title="A file system that does not let the task in",
        explanation="A good release; but somebody has taken the right to mount from the task role.",
        spec={"image": GOOD, "cpu": "2", "memory": "4Gi", "env": [{"name": "RELEASE", "value": "4"}]},
        cause="EfsAccessDenied",
        before=("fail shop_digits efs-denied --all",),
        after=("fail --clear",),
    ),
    Release(
        title="A health check that never passes",
        explanation="The server is well, and the check is wrong.",
        spec={"health": {"command": ["false"]}},
        cause="ContainerHealthCheckFailed",
    ),
)
MENDED: Mapping[str, Any] = {"health": {"command": []}, "models": {"path": f"/{models.DIGITS[2]}"}}


def play(console: Console, name: str, workdir: Path, everything: ExitStack) -> Stage:
    """All of it. What it starts goes into `everything`."""
    images = {f"*/{GREEDY}:*": EAT_MEMORY, f"*/{EMPTY}:*": "inference-server-is-not-here"}
    stage = steps.start_sandbox(console, name, workdir, everything, images=images)
    with stage.blamed():
        held_out = prepare_models(stage)
        steps.start_operator(stage, everything)
        for repository in (GREEDY, EMPTY):
            registry.push(stage.details, repository)
        steps.deploy(stage, "examples/digits.yaml")
        patch(stage, QUICK)
        stage.watch.until_up(stage.console, seconds=_UP_SECONDS)
        with under_load(stage.url("digits"), "digits", digits.INPUT, held_out.pixels) as outcomes:
            for release in RELEASES:
                fail(stage, release, outcomes)
            mend(stage, outcomes)
        steps.judge(outcomes)
        steps.classify(stage, held_out)
        stage.heading("What the operator tells", "Every release, with what became of it.")
        stage.shell.show(f"kubectl get infdep digits -n {NAMESPACE} -o go-template='{_HISTORY}'")
    return stage


_HISTORY = (
    r'{{range .status.history}}{{printf "%-12s %-28v %-14s %s\n" '
    r'.outcome (or .cause "-") .model .image}}{{end}}'
)


def prepare_models(stage: Stage) -> digits.Digits:
    """Two releases of the classifier that serve, and one whose file is none. Returns the held-out digits."""
    stage.heading("Models", f"{stage.details.models_dir} stands in for EFS.")
    target = Path(stage.details.models_dir)
    training, held_out = digits.split()
    repositories = [models.write_digits(target, training, version) for version in models.DIGITS]
    repositories.append(models.write_broken(target, BROKEN))
    for repository in repositories:
        stage.shell.show(f"inference-server publish {repository}")
    return held_out


def patch(stage: Stage, spec: Mapping[str, Any]) -> None:
    document = json.dumps({"spec": spec}, separators=(",", ":"))
    stage.shell.show(f"kubectl patch infdep digits -n {NAMESPACE} --type merge -p '{document}'")


def fail(stage: Stage, release: Release, outcomes: list[Outcome]) -> None:
    """Release it, wait until it has been given up, and see what the object tells."""
    stage.heading(release.title, release.explanation)
    for command in release.before:
        stage.shell.show(f"inference-sandbox {_named(stage, command)}")
    patch(stage, release.spec)
    stage.watch.until_given_up(stage.console, "digits", seconds=_FAILURE_SECONDS, note=lambda: steps.counted(outcomes))
    print()
    stage.shell.show(f"kubectl get infdep -n {NAMESPACE} -o wide")
    describe = f"kubectl describe infdep digits -n {NAMESPACE}"
    block = told(stage.shell.run(describe), "Last Failure:" if release.cause else "Verification:")
    print(f"$ {describe}\n…\n{block}\n…")
    cause = stage.watch.last["digits"].cause
    if cause != release.cause:
        raise DemoFailed(f"the cause is {release.cause}, and the object says {cause}")
    for command in release.after:
        stage.shell.show(f"inference-sandbox {_named(stage, command)}")
    failed = summarise(outcomes).failures
    if failed:
        raise DemoFailed(f"{len(failed)} requests failed meanwhile, the first one so: {failed[0]}")


def mend(stage: Stage, outcomes: list[Outcome]) -> None:
    stage.heading("A release that is well", "What was held is forgotten as soon as something else is asked for.")
    patch(stage, MENDED)
    stage.watch.until_up(stage.console, seconds=_UP_SECONDS, note=lambda: steps.counted(outcomes))


def _named(stage: Stage, command: str) -> str:
    verb, _, rest = command.partition(" ")
    return f"{verb} --name {stage.sandbox} {rest}"


def told(described: str, heading: str) -> str:
    """The block of that heading out of what `kubectl describe` prints; nothing if there is none."""
    lines = described.splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip() == heading), len(lines))
    below = itertools.takewhile(lambda line: _depth(line) > _depth(lines[first]), lines[first + 1 :])
    return "\n".join([*lines[first : first + 1], *below])


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())
