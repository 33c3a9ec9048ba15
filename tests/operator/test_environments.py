"""What the status of an environment says, and when the environment may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from inference_operator.aws.errors import Denied
from inference_operator.engine.environments import look_after, take_away
from inference_operator.engine.objects import Document, Outcome, Work, World
from inference_operator.engine.reconcile import Memory
from tests.operator.builders import NOW, deployment_document, environment_document


class Refusing:
    """An AWS that answers nothing that it is asked."""

    def __getattr__(self, _name: str) -> Refusing:
        return self

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise Denied(code="AccessDenied", message="no", operation="any")


def passed(work: Work, objects: Sequence[Document] | None, document: Document | None = None) -> Outcome:
    aws: Any = Refusing()
    world = World(environments={}, connect=lambda _environment: aws, objects=objects)
    return work(document or environment_document(), world, Memory(), NOW)


def ready(outcome: Outcome) -> tuple[str, str, str]:
    [condition] = [each for each in outcome.status.conditions if each.type == "Ready"]
    return condition.status, condition.reason, condition.message


def objects(count: int) -> list[Document]:
    return [deployment_document(name=f"service-{number:02}") for number in range(count)]


def test_it_tells_where_services_run_and_how_many_do() -> None:
    outcome = passed(look_after, objects(3))
    assert ready(outcome) == ("True", "Accepted", "it is valid; its services are for cluster inference of eu-west-1")
    assert outcome.status.document()["services"] == 3


def test_an_invalid_one_names_the_field() -> None:
    status, reason, message = ready(passed(look_after, [], environment_document(cluster="a b")))
    assert (status, reason) == ("False", "InvalidSpec")
    assert "cluster" in message


def test_one_that_nothing_runs_in_may_go() -> None:
    assert passed(take_away, []).done


def test_one_in_use_stays_and_names_what_is_in_the_way() -> None:
    outcome = passed(take_away, objects(2))
    assert not outcome.done
    status, reason, message = ready(outcome)
    assert (status, reason) == ("False", "InUse")
    assert "shop/service-00, shop/service-01." in message
    assert "Next: " in message


def test_of_very_many_the_first_are_named_and_the_others_counted() -> None:
    message = ready(passed(take_away, objects(500)))[2]
    assert "shop/service-09 and 490 more." in message


def test_one_whose_users_cannot_be_listed_stays() -> None:
    outcome = passed(take_away, None)
    assert not outcome.done
    assert ready(outcome)[1] == "InUse"


@pytest.mark.parametrize("status", [{"conditions": "broken"}, {"services": -1}])
def test_a_status_that_cannot_be_read_is_made_anew(status: dict[str, Any]) -> None:
    assert ready(passed(look_after, [], {**environment_document(), "status": status}))[0] == "True"
