"""What the process keeps of each object for as long as there is the object: with a thousand of them it counts."""

from __future__ import annotations

import asyncio
import json
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from inference_operator.api.v1alpha1 import InferenceDeploymentStatus
from inference_operator.engine.objects import Outcome, look_after
from inference_operator.runtime.handlers import lighten
from inference_operator.runtime.loop import Duty, Keeper
from inference_operator.runtime.slot import Slot
from tests.operator.builders import deployment_document, environment_document


def watched(status: dict[str, Any] | None = None) -> dict[str, Any]:
    """As a watch brings it: every text of it new."""
    document = {**deployment_document(), **({"status": status} if status is not None else {})}
    document["metadata"]["managedFields"] = [{"manager": "kubectl", "fieldsV1": {"f:spec": {"f:image": {}}}}]
    read: dict[str, Any] = json.loads(json.dumps(document))
    return read


def names(part: Any) -> list[str]:
    if isinstance(part, dict):
        return [*part, *(name for value in part.values() for name in names(value))]
    return [name for item in part for name in names(item)] if isinstance(part, list) else []


def test_who_set_which_field_is_not_kept_and_all_else_is() -> None:
    it = watched({"conditions": [{"type": "Ready", "status": "True"}], "replicas": 1})
    expected = json.loads(json.dumps(it))
    del expected["metadata"]["managedFields"]
    lighten(it)
    assert it == expected


def test_objects_share_the_names_of_their_fields() -> None:
    one, other = (watched({"conditions": [{"lastTransitionTime": "2026-11-24T12:00:00Z"}]}) for _ in range(2))
    for it in (one, other):
        lighten(it)
    of_one, of_other = ([*names(it["spec"]), *names(it["status"])] for it in (one, other))
    assert "lastTransitionTime" in of_one
    assert all(a is b for a, b in zip(of_one, of_other, strict=True))


def notice(slot: Slot, document: dict[str, Any]) -> None:
    """The watch brings an object whose slot this is."""

    async def bring() -> None:
        keeper = Keeper(kube=None, connect=None, gate=nullcontext())  # type: ignore[arg-type]  # it makes no pass here
        keeper.notice(document, slot)

    asyncio.run(bring())


def test_a_status_that_was_written_and_came_back_is_kept_once() -> None:
    slot, document = Slot(status={"replicas": 1}), watched({"replicas": 1})
    notice(slot, document)
    assert slot.status is document["status"]


def test_a_status_that_was_written_outlasts_one_that_the_watch_brings_late() -> None:
    slot = Slot(status={"replicas": 2})
    notice(slot, watched({"replicas": 1}))
    assert slot.status == {"replicas": 2}


@pytest.mark.parametrize(("version", "replicas"), [("9", 2), ("10", 2), ("11", 9)], ids=["before", "ours", "after"])
def test_a_status_that_somebody_has_changed_since_it_was_written_is_seen(version: str, replicas: int) -> None:
    slot, document = Slot(status={"replicas": 2}, written="10"), watched({"replicas": 9})
    document["metadata"]["resourceVersion"] = version
    notice(slot, document)
    assert slot.status == {"replicas": replicas}


@pytest.mark.parametrize("kind", ["deployment", "environment"])
def test_an_object_without_its_finalizer_leaves_the_next_one_of_its_name_alone(kind: str) -> None:
    """Somebody has taken it away while the object was deleted, and made another one at once."""
    kube = mock.Mock()
    told = Outcome(status=InferenceDeploymentStatus(replicas=3), requeue_after=timedelta())
    old, new = (watched() if kind == "deployment" else environment_document() for _ in range(2))
    new["metadata"]["uid"] = "u-2"

    async def life() -> Keeper:
        keeper = Keeper(kube=kube, connect=mock.Mock(), gate=asyncio.Semaphore(1))
        for document in (old, new):
            (keeper.notice if kind == "deployment" else keeper.environment_noticed)(document, Slot())
        await keeper.finish(old, Slot(), Duty(look_after, lambda *_: told))
        keeper.gone(old, Slot())  # the watch tells of its end late
        return keeper

    keeper = asyncio.run(life())
    kept = [*(document for _, document in keeper.slots.values()), *keeper.environments.values()]
    assert kube.write_status.call_count == 0
    assert [document["metadata"]["uid"] for document in kept] == ["u-2"]
