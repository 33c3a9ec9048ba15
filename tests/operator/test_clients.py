"""What boto3 may try again by itself."""

from __future__ import annotations

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import URLLib3Session

from inference_operator.aws.clients import TRIED_ONCE, connect
from inference_operator.aws.errors import Unavailable
from tests.operator.world import CLUSTER, NOWHERE, REGION, World, connected


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)


def tries(world: World, operation: str) -> int:
    return sum(call.operation == operation for call in world.calls())


def test_a_create_without_a_token_is_not_tried_again_before_it_was_looked_what_became_of_it(world: World) -> None:
    """Its answer was lost: a second try would make a second revision."""
    world.fault("lost", "ecs:RegisterTaskDefinition", times=1)
    container = {"name": "app", "image": "registry.example.com/a:1"}
    with pytest.raises(Unavailable):
        connected(patient=True).ecs.register_task_definition(
            family="lost", networkMode="awsvpc", cpu="256", memory="512", containerDefinitions=[container]
        )
    assert "RegisterTaskDefinition" in TRIED_ONCE
    assert tries(world, "RegisterTaskDefinition") == 1


def test_each_try_is_announced_and_none_is_made_that_may_not_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    tried = []

    def send(_session: object, request: AWSPreparedRequest) -> None:
        tried.append(request.method)
        raise EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr(URLLib3Session, "send", send)

    class MayNotError(Exception):
        pass

    def before_try() -> None:
        if tried:
            raise MayNotError

    with pytest.raises(MayNotError):
        connect(REGION, before_try=before_try).ecs.describe_clusters(clusters=[CLUSTER])
    assert tried == ["POST"]


def test_a_read_whose_answer_was_lost_is_tried_again(world: World) -> None:
    world.fault("lost", "ecs:DescribeClusters", times=1)
    answer = connected(patient=True).ecs.describe_clusters(clusters=[CLUSTER])
    assert answer["clusters"][0]["clusterName"] == CLUSTER
    assert tries(world, "DescribeClusters") == 2
