"""What Prometheus is told of objects and environments."""

from __future__ import annotations

import asyncio
from typing import Any
from unittest import mock

from prometheus_client import CollectorRegistry

from inference_operator.runtime.fleet import Fleet
from inference_operator.runtime.loop import Keeper
from inference_operator.runtime.slot import Slot
from tests.operator.builders import deployment_document, environment_document

CONDITION = "inference_operator_environment_condition"


def stands(document: dict[str, Any], **conditions: str) -> dict[str, Any]:
    told = [{"type": type_, "status": status} for type_, status in conditions.items()]
    return {**document, "status": {"conditions": told}}


def test_an_environment_that_is_not_ready_is_told_until_it_is_gone() -> None:
    keeper, registry = Keeper(kube=mock.Mock(), connect=mock.Mock(), gate=asyncio.Semaphore(1)), CollectorRegistry()
    registry.register(Fleet(keeper.documents))

    def told(type_: str) -> float | None:
        return registry.get_sample_value(CONDITION, {"environment": "default", "type": type_})

    slot, environment = Slot(), environment_document()
    keeper.notice(deployment_document(), Slot())
    keeper.environment_noticed(environment, slot)
    assert told("Ready") == 0.0
    slot.status = stands(environment, Ready="True", Verified="Unknown")["status"]
    assert (told("Ready"), told("Verified")) == (1.0, 0.0)
    keeper.forget(environment)
    assert told("Ready") is None
