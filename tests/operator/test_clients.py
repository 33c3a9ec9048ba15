"""What boto3 may try again by itself, and what it must not take for an answer of AWS."""

from __future__ import annotations

from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse, HeadersDict
from botocore.exceptions import EndpointConnectionError
from botocore.httpsession import URLLib3Session

from inference_operator.aws import clients
from inference_operator.aws.clients import TRIED_ONCE, connect
from inference_operator.aws.errors import Unavailable, UnknownCaller
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


class _Sent:
    def __init__(self, body: bytes) -> None:
        self._body = body

    def stream(self) -> list[bytes]:
        return [self._body]


def answering(monkeypatch: pytest.MonkeyPatch, status: int, body: bytes, length: int | None = None) -> list[str]:
    """Whatever is asked; the addresses that were."""
    for name, value in NOWHERE.items():
        monkeypatch.setenv(name, value)
    headers: Any = HeadersDict({"content-length": str(len(body) if length is None else length)})
    sent: list[str] = []

    def send(_session: object, request: AWSPreparedRequest) -> AWSResponse:
        sent.append(request.url)
        return AWSResponse(request.url, status, headers, _Sent(body))

    monkeypatch.setattr(URLLib3Session, "send", send)
    return sent


CALLS = {
    "JSON": lambda aws: aws.ecs.describe_services(cluster=CLUSTER, services=["recommender"]),
    "REST": lambda aws: aws.efs.describe_access_points(),
    "query": lambda aws: aws.elb.describe_target_groups(),
    "EC2": lambda aws: aws.ec2.describe_subnets(),
}
PAGE = b"<!DOCTYPE html>\n<html><head><title>Blocked</title></head><body>by policy<br></body></html>"


@pytest.mark.parametrize("status", [200, 302, 403, 407])
@pytest.mark.parametrize("call", CALLS)
def test_a_page_of_a_proxy_is_neither_an_empty_answer_nor_a_lack_of_rights(
    call: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    answering(monkeypatch, status, PAGE)
    with pytest.raises(Unavailable, match=f"WebPageError: .*HTTP {status}") as raised:
        CALLS[call](connect(REGION))
    assert "HTTPS_PROXY" in raised.value.next_step()


@pytest.mark.parametrize("call", CALLS)
def test_an_answer_that_was_cut_short_is_not_an_empty_one(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 200, b'{"services": [', length=900)
    with pytest.raises(Unavailable, match="CutShortError"):
        CALLS[call](connect(REGION))


@pytest.mark.parametrize("call", ["query", "EC2"])
def test_an_answer_that_can_not_be_read_is_none(call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answering(monkeypatch, 400, b"")
    with pytest.raises(Unavailable, match="ResponseParserError"):
        CALLS[call](connect(REGION))


AGENT = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/v1/credentials"}


@pytest.mark.parametrize(
    ("source", "family", "code"),
    [
        (AGENT, Unavailable, "CredentialRetrievalError"),
        (AGENT | {"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "/nowhere/token"}, Unavailable, "FileNotFoundError"),
        ({}, UnknownCaller, "NoCredentialsError"),
    ],
    ids=["Pod Identity's agent is away", "its token is away", "there are none"],
)
def test_credentials_that_are_away_are_told_counted_and_found_when_they_come(
    source: dict[str, str], family: type[Exception], code: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    for name, value in ({"AWS_EC2_METADATA_DISABLED": "true"} | source).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("botocore.utils.time.sleep", lambda _seconds: None)
    counted: list[str] = []
    aws = connect(REGION, observer=lambda **call: counted.append(call["code"]))
    with pytest.raises(family, match=code):
        aws.ecs.list_tasks(cluster=CLUSTER)
    assert counted == [code]

    for name in source:
        monkeypatch.delenv(name)
    answering(monkeypatch, 200, b'{"services": []}')
    assert aws.efs.describe_access_points()["ResponseMetadata"]["HTTPStatusCode"] == 200


def test_a_token_for_aws_that_is_away_is_told_and_read_when_it_comes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ROLE_ARN", "arn:aws:iam::111111111111:role/inference-operator")
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
    aws = connect(REGION)
    with pytest.raises(Unavailable, match="FileNotFoundError") as raised:
        aws.ecs.list_tasks(cluster=CLUSTER)
    assert "where the operator's credentials come from" in raised.value.next_step()
    token.write_text("a.token.of.the.cluster")
    monkeypatch.setattr(URLLib3Session, "send", lambda _session, request: pytest.fail(request.url))
    with pytest.raises(pytest.fail.Exception, match="sts"):
        aws.ecs.list_tasks(cluster=CLUSTER)


class _SetBack(datetime):
    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Any:
        return datetime.now(tz) - timedelta(hours=1)


def test_what_was_seen_is_not_new_for_an_hour_though_the_node_s_clock_is_set_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent = answering(monkeypatch, 200, b'{"services": [{"serviceName": "recommender", "status": "ACTIVE"}]}')
    services = connect(REGION).services
    services.get(CLUSTER, "recommender", max_age=timedelta())
    monkeypatch.setattr(clients, "datetime", _SetBack)
    services.get(CLUSTER, "recommender", max_age=timedelta())
    assert len(sent) == 2
