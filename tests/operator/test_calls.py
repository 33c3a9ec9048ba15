"""The exact calls of AWS that an object costs when it is made, left as it is, changed and deleted: in `golden/calls/`.

Each different call of a part is told once, at its first time, and how often it is made; so polls take little room.
`UPDATE_GOLDEN=1` writes the files anew; the difference is then for a reviewer to read.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from moto.moto_api._internal import mock_random

from inference_operator.aws.iam import policy
from inference_sandbox.aws.calls import Call
from tests.operator.builders import NOW
from tests.operator.lives import ONE_OF_EACH, Life, parts
from tests.operator.normalising import normalised
from tests.operator.world import World

GOLDEN = Path(__file__).with_name("golden") / "calls"


@pytest.mark.parametrize("life", ONE_OF_EACH, ids=lambda life: life.__name__)
def test_a_life_costs_the_calls_that_were_last_approved(life: Life, tmp_path: Path) -> None:
    mock_random.seed(0)  # rules are opened in the order of their groups' ids, which AWS chooses
    world = World(tmp_path)
    world.confine(policy())
    lived = list(parts(life, world))
    document = {"calls": {name: len(calls) for name, calls in lived}, **{name: told(calls) for name, calls in lived}}
    now, file = normalised(document, since=NOW), GOLDEN / f"{life.__name__}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        file.parent.mkdir(exist_ok=True)
        file.write_text(now)
    assert now == file.read_text()


def told(calls: Sequence[Call]) -> list[dict[str, Any]]:
    """By operation, with members in the order of the alphabet."""
    shown = [(f"{call.service}:{call.operation}", without_files(call.as_json()["parameters"])) for call in calls]
    times = Counter(json.dumps(each, sort_keys=True) for each in shown)
    return [_entry(json.loads(each), count) for each, count in times.items()]


def without_files(value: Any) -> Any:
    """A log router's configuration has goldens of its own: `test_log_configurations.py`."""
    if isinstance(value, dict):
        return {name: without_files(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_files(part) for part in value]
    return f"{value.splitlines()[0]} …" if isinstance(value, str) and "\n" in value else value


def _entry(shown: tuple[str, Any], count: int) -> dict[str, Any]:
    operation, members = shown
    return {operation if count == 1 else f"{operation} ({count} times)": members}
