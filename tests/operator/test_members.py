"""A botocore too old for something: that is found in its model, refused where it is asked for, else not sent."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import botocore.session
import pytest
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from inference_operator.api.rollout import Rollout
from inference_operator.aws.clients import lacking
from inference_operator.domain.members import MEMBERS, refusals
from inference_operator.resources import deployment_configuration
from tests.operator.builders import deployment_document
from tests.operator.world import Object, World

Shapes = dict[str, Any]


@cache
def installed() -> dict[str, Any]:
    model: dict[str, Any] = (
        botocore.session.get_session().get_component("data_loader").load_service_model("ecs", "service-2")
    )
    return model


def without_thresholds(shapes: Shapes) -> None:
    """As botocore 1.43.36 and before."""
    breaker = shapes["DeploymentCircuitBreaker"]["members"]
    del breaker["thresholdConfiguration"], breaker["resetOnHealthyTask"]


def without_pauses(shapes: Shapes) -> None:
    """As botocore 1.43.9 and before."""
    without_thresholds(shapes)
    del shapes["DeploymentLifecycleHook"]["members"]["targetType"]


def without_steps(shapes: Shapes) -> None:
    """As botocore 1.40.60 and before."""
    without_pauses(shapes)
    shapes["DeploymentStrategy"]["enum"] = ["ROLLING", "BLUE_GREEN"]


def without_strategies(shapes: Shapes) -> None:
    """As botocore 1.39.4 and before."""
    without_steps(shapes)
    for member in ("strategy", "lifecycleHooks", "bakeTimeInMinutes", "linearConfiguration", "canaryConfiguration"):
        del shapes["DeploymentConfiguration"]["members"][member]


OLDER: dict[Callable[[Shapes], None], set[str]] = {
    lambda _: None: set(),
    without_thresholds: {"1.43.37"},
    without_pauses: {"1.43.37", "1.43.10"},
    without_steps: {"1.43.37", "1.43.10", "1.40.61"},
    without_strategies: {"1.43.37", "1.43.10", "1.40.61", "1.39.5"},
}
older = pytest.mark.parametrize("cut", OLDER, ids=lambda cut: cut.__name__)


def model(cut: Callable[[Shapes], None]) -> ServiceModel:
    document = copy.deepcopy(installed())
    cut(document["shapes"])
    return ServiceModel(document, "ecs")


@older
def test_what_a_model_lacks_is_what_came_after_it(cut: Callable[[Shapes], None]) -> None:
    newer = {member for member in MEMBERS if member.since in OLDER[cut]}
    assert lacking(model(cut)) == newer


@older
def test_what_nobody_asks_for_is_not_sent_to_a_model_that_lacks_it(cut: Callable[[Shapes], None]) -> None:
    takes = model(cut).operation_model("UpdateService").input_shape
    assert takes is not None
    configuration = deployment_configuration.wanted(Rollout(), lacking(model(cut)))
    sent = {"service": "shop_recommender", "deploymentConfiguration": configuration}
    assert ParamValidator().validate(sent, takes).generate_report() == ""


ASKED: tuple[tuple[dict[str, Any], str], ...] = (
    ({"strategy": "BLUE_GREEN"}, "rollout.strategy BLUE_GREEN needs botocore 1.39.5 or later"),
    ({"strategy": "CANARY"}, "rollout.strategy CANARY needs botocore 1.40.61 or later"),
    ({"strategy": "LINEAR"}, "rollout.strategy LINEAR needs botocore 1.40.61 or later"),
    (
        {"strategy": "CANARY", "pauses": [{"stage": "POST_SCALE_UP"}]},
        "rollout.pauses needs botocore 1.43.10 or later",
    ),
    (
        {"circuitBreaker": {"threshold": {"type": "COUNT", "value": 3}}},
        "rollout.circuitBreaker.threshold needs botocore 1.43.37 or later",
    ),
    (
        {"circuitBreaker": {"resetOnHealthyTask": False}},
        "rollout.circuitBreaker.resetOnHealthyTask needs botocore 1.43.37 or later",
    ),
)


@pytest.mark.parametrize(("asked", "told"), ASKED, ids=[told.partition(" needs")[0] for _, told in ASKED])
def test_what_is_asked_for_and_lacking_is_refused_with_the_field_and_the_version(
    asked: dict[str, Any], told: str
) -> None:
    rollout = Rollout.model_validate(asked)
    assert any(sentence.startswith(told) for sentence in refusals(rollout, MEMBERS))
    assert list(refusals(rollout, ())) == []


def test_an_object_that_asks_for_what_is_lacking_is_not_accepted_and_one_that_does_not_runs(world: World) -> None:
    world.aws = replace(world.aws, lacking=lacking(model(without_strategies)))
    asking = {"circuitBreaker": {"threshold": {"type": "COUNT", "value": 3}}}
    it = Object(world, deployment_document(rollout=asking))
    it.look()
    assert it.stands("Accepted") == ("False", "InvalidSpec")
    assert "rollout.circuitBreaker.threshold needs botocore 1.43.37" in it.condition("Accepted")["message"]
    assert not any(world.holdings().values())
    it.change(rollout={})
    it.live(lambda: it.ready)
    mark = world.mark
    it.look()
    assert world.writes(since=mark) == [], "what is not sent is no drift"
