"""What people are told of rollouts, and how it reaches them."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from structlog.testing import capture_logs

from inference_operator.api.v1alpha1 import (
    Condition,
    DeploymentState,
    Failure,
    InferenceDeploymentStatus,
    InferenceEnvironmentSpec,
    Notified,
    ObjectMeta,
)
from inference_operator.aws.errors import Denied
from inference_operator.engine.notifications import Kind, Notice, due, with_notified
from inference_operator.runtime import notifier
from inference_operator.runtime.notifier import SIGNATURE, Notifier
from tests.operator.builders import NOW, environment_document

META = ObjectMeta(name="recommender", namespace="shop", uid="u", generation=3)
TOPIC = "arn:aws:sns:eu-west-1:222222222222:inference"


def standing(state: str, ready: str = "False", *, number: int = 1, **members: Any) -> InferenceDeploymentStatus:
    condition = Condition(type="Ready", status=ready, reason=state, message="it is so", last_transition_time=NOW)  # type: ignore[arg-type]  # True or False
    deployment = DeploymentState(id=f"ecs-svc/{number}", state=state, started_at=NOW)
    failure = Failure(cause="OutOfMemory", message="killed", next_step="raise spec.memory", at=NOW)
    bad = state in ("Failed", "RolledBack")
    return InferenceDeploymentStatus(
        observed_generation=3,
        conditions=(condition,),
        deployment=deployment,
        last_failure=failure if bad else None,
        **members,
    )


def told(status: InferenceDeploymentStatus, *, later: timedelta = timedelta(seconds=1)) -> list[Kind]:
    return [notice.type for notice in due(META, "production", status, NOW + later)]


def after(status: InferenceDeploymentStatus, number: int = 0) -> tuple[Notified, ...]:
    """What the status says was told, once what is due has been."""
    delivered = [
        Notified(id=n.id, type=n.type.value, at=NOW + timedelta(seconds=number))
        for n in due(META, "production", status, NOW)
    ]
    return with_notified(status, tuple(delivered)).notified


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("InProgress", Kind.STARTED),
        ("Paused", Kind.PAUSED),
        ("Failed", Kind.FAILED),
        ("RolledBack", Kind.ROLLED_BACK),
    ],
)
def test_each_state_is_told_once(state: str, kind: Kind) -> None:
    status = standing(state)
    assert told(status) == [kind]
    assert told(standing(state, notified=after(status))) == []


def test_a_rollout_that_completes_without_a_failure_before_it_is_not_news() -> None:
    assert told(standing("Completed", "True")) == []


def test_a_service_that_is_well_after_a_failure_has_recovered_and_that_once() -> None:
    failed = standing("RolledBack")
    well = standing("Completed", "True", number=2, notified=after(failed))
    assert told(well) == [Kind.RECOVERED]
    assert told(standing("Completed", "True", number=2, notified=after(well, 1))) == []
    assert told(standing("Completed", "True", number=3, notified=after(well, 1))) == []


def test_the_next_deployment_that_fails_is_told_again() -> None:
    first = after(standing("RolledBack"))
    assert told(standing("RolledBack", number=2, notified=first)) == [Kind.ROLLED_BACK]


def test_old_news_is_not_told_when_notifications_are_turned_on() -> None:
    assert told(standing("RolledBack"), later=timedelta(hours=2)) == []


def test_the_message_says_what_happened_and_what_to_do() -> None:
    (notice,) = due(META, "production", standing("RolledBack"), NOW)
    message = notice.message
    assert message["id"] == notice.id
    assert (message["namespace"], message["name"], message["generation"]) == ("shop", "recommender", 3)
    assert (message["cause"], message["nextStep"]) == ("OutOfMemory", "raise spec.memory")
    assert message["text"] == "shop/recommender: RolledBack (OutOfMemory). killed"


# -- delivery


@dataclass
class Received:
    url: str
    answers: list[int] = field(default_factory=list)
    requests: list[tuple[str, Mapping[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def hook() -> Iterator[Received]:
    """A server that gives the answers that it is told to, then 200."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.requests.append((self.path, dict(self.headers), body))
            status = received.answers.pop(0) if received.answers else 200
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_CONNECT(self) -> None:
            received.requests.append((self.path, dict(self.headers), b""))
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        received = Received(f"http://127.0.0.1:{server.server_port}/hooks/s3cr3t")
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        yield received
        server.shutdown()
        serving.join()


@dataclass
class Around:
    """Secrets and SNS."""

    values: dict[str, str] = field(default_factory=dict)
    published: list[Mapping[str, Any]] = field(default_factory=list)
    refusal: Exception | None = None

    def secret(self, _namespace: str, _name: str) -> Mapping[str, str]:
        if not self.values:
            raise PermissionError("secrets is forbidden: s3cr3t")
        return self.values

    def publish(self, **members: Any) -> Mapping[str, Any]:
        if self.refusal is not None:
            raise self.refusal
        self.published.append(members)
        return {}


WEBHOOK = {"webhook": {"secretRef": {"namespace": "inference-system", "name": "hook"}}}
SNS = {"sns": {"topicArn": TOPIC}}


@dataclass
class Delivery:
    delivered: list[Notified]
    failing: Mapping[str, str]
    logs: list[Any]


def deliver(around: Around, *channels: Mapping[str, Any], times: int = 1) -> Delivery:
    environment = InferenceEnvironmentSpec.model_validate(environment_document(notifications=list(channels))["spec"])
    notice: Notice = due(META, "production", standing("RolledBack"), NOW)[0]
    delivered: list[Notified] = []

    async def run() -> Mapping[str, str]:
        it = Notifier(secrets=around, sns=lambda _: around)
        for _ in range(times):
            it.offer("production", environment, notice, delivered.append)
            it.offer("production", environment, notice, delivered.append)  # a second pass, meanwhile
            await asyncio.gather(*it._tasks.values())
        return it.failing

    with capture_logs() as logs:
        failing = asyncio.run(run())
    assert "s3cr3t" not in json.dumps([logs, failing], default=str)
    return Delivery(delivered, failing, list(logs))


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "BACKOFF", 0.0)


def test_a_webhook_gets_the_document_with_a_signature(hook: Received) -> None:
    result = deliver(Around({"url": hook.url, "signingKey": "key"}), WEBHOOK)
    [(path, headers, body)] = hook.requests
    assert path == "/hooks/s3cr3t"
    assert json.loads(body)["type"] == "RolledBack"
    stamp, _, mac = headers[SIGNATURE].removeprefix("t=").partition(",v1=")
    assert mac == hmac.new(b"key", f"{stamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert [it.type for it in result.delivered] == ["RolledBack"]


def test_a_server_that_is_down_for_a_moment_is_tried_again(hook: Received) -> None:
    hook.answers = [503, 429, 500]
    assert deliver(Around({"url": hook.url}), WEBHOOK).delivered
    assert len(hook.requests) == 4


def test_a_webhook_is_reached_through_the_proxy_that_all_else_goes_through(
    hook: Received, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", hook.url)
    for name in ("https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    deliver(Around(values={"url": "https://chat.example.invalid/hooks/s3cr3t"}), WEBHOOK)
    assert {path for path, _, _ in hook.requests} == {"chat.example.invalid:443"}


def test_redirects_are_not_followed_and_the_failure_is_told(hook: Received) -> None:
    hook.answers = [302]
    result = deliver(Around({"url": hook.url}), WEBHOOK)
    assert not result.delivered
    assert [path for path, _, _ in hook.requests] == ["/hooks/s3cr3t"]
    assert result.failing == {
        "production": "webhook of Secret inference-system/hook: the answer is 302, not 2xx (redirects are not followed)"
    }


@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/s3cr3t", "ftp://x/s3cr3t", "s3cr3t", "", "https://", "http://[::s3cr3t", "//a/b"]
)
def test_an_address_that_others_could_read_along_is_refused(url: str) -> None:
    result = deliver(Around({"url": url}), WEBHOOK)
    assert not result.delivered
    assert "the Secret's key url" in result.failing["production"]


def test_a_secret_that_cannot_be_read_is_told_without_what_the_api_server_said() -> None:
    result = deliver(Around(), WEBHOOK)
    assert "the Secret can't be read (PermissionError)" in result.failing["production"]


def test_a_topic_gets_the_document() -> None:
    around = Around()
    assert deliver(around, SNS).delivered
    (published,) = around.published
    assert published["TopicArn"] == TOPIC
    assert published["Subject"] == "shop/recommender: RolledBack"
    assert json.loads(published["Message"])["cause"] == "OutOfMemory"


def test_a_denied_publish_names_the_action() -> None:
    around = Around(refusal=Denied(code="AuthorizationError", message="no", operation="sns:Publish"))
    assert "sns:Publish" in deliver(around, SNS).failing["production"]


def test_of_two_channels_the_one_that_was_reached_is_not_told_twice(hook: Received) -> None:
    hook.answers = [400]
    around = Around({"url": hook.url})
    result = deliver(around, SNS, WEBHOOK, times=2)
    assert len(around.published) == 1
    assert len(hook.requests) == 2
    assert len(result.delivered) == 1
    assert result.failing == {}
