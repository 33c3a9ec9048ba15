"""Delivers what people are to be told, to SNS and to webhooks, beside the passes: no pass waits for it.

A notice that does not get through is offered again by later passes, until it is stale. Addresses and keys come from
Secrets; neither is ever logged, nor is what the other side answers.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import json
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Protocol
from urllib.parse import urlsplit

import aiohttp
import structlog

from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec, Notification, Notified
from inference_operator.aws.errors import AwsError
from inference_operator.aws.ports import Sns
from inference_operator.engine.notifications import Notice
from inference_operator.runtime import metrics

log = structlog.get_logger(__name__)

ATTEMPTS = 4
BACKOFF = 1.0
"""Seconds before the second attempt; each further one waits four times as long."""
TIMEOUT = aiohttp.ClientTimeout(total=10, connect=5)
IN_FLIGHT = 500
"""Notices at once; more wait for a later pass."""
AT_ONCE = 8
REMEMBERED = 2_000
SIGNATURE = "Inference-Signature"


class Undelivered(Exception):
    """Why; without anything secret."""

    def __init__(self, why: str, *, again: bool = True) -> None:
        super().__init__(why)
        self.again = again
        """Whether trying once more may help."""


class Secrets(Protocol):
    def secret(self, namespace: str, name: str) -> Mapping[str, str]:
        """Its values by key. Blocking; raises Exception if it can't be read."""


@dataclass
class Notifier:
    secrets: Secrets
    sns: Callable[[InferenceEnvironmentSpec], Sns]
    changed: Callable[[str], None] = lambda _environment: None
    """Told of an environment whose notifications begin to fail, or to get through again."""
    failing: dict[str, str] = field(default_factory=dict)
    """By environment: why its last notification did not get through."""
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    """By id of the notice."""
    _reached: OrderedDict[tuple[str, str], None] = field(default_factory=OrderedDict)
    """Ids and channels that were reached: the others of a notice are tried again without them."""
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    def offer(
        self, name: str, environment: InferenceEnvironmentSpec, notice: Notice, delivered: Callable[[Notified], None]
    ) -> None:
        """Delivers in the background; `delivered` is called once all channels have it."""
        if notice.id in self._tasks or len(self._tasks) >= IN_FLIGHT:
            return
        task = asyncio.create_task(self._deliver(name, environment, notice, delivered))
        self._tasks[notice.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(notice.id, None))

    async def stop(self) -> None:
        for task in list(self._tasks.values()):
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _deliver(
        self, name: str, environment: InferenceEnvironmentSpec, notice: Notice, delivered: Callable[[Notified], None]
    ) -> None:
        troubles = []
        async with self._gate:
            for channel in environment.notifications:
                key = (notice.id, channel.model_dump_json())
                if key in self._reached:
                    continue
                try:
                    await self._persist(environment, channel, notice)
                except Undelivered as why:
                    troubles.append(f"{_called(channel)}: {why}")
                    metrics.NOTIFICATIONS.labels(environment=name, channel=_kind(channel), outcome="failed").inc()
                    log.warning("notification not delivered", environment=name, id=notice.id, why=troubles[-1])
                else:
                    self._reached[key] = None
                    if len(self._reached) > REMEMBERED:
                        self._reached.popitem(last=False)
                    metrics.NOTIFICATIONS.labels(environment=name, channel=_kind(channel), outcome="delivered").inc()
        self._report(name, "; ".join(troubles))
        if not troubles:
            delivered(Notified(id=notice.id, type=notice.type.value, at=datetime.now(UTC)))

    def _report(self, name: str, why: str) -> None:
        if why == self.failing.get(name, ""):
            return
        self.failing[name] = why
        if not why:
            del self.failing[name]
        self.changed(name)

    async def _persist(self, environment: InferenceEnvironmentSpec, channel: Notification, notice: Notice) -> None:
        for attempt in range(ATTEMPTS):
            try:
                await self._send(environment, channel, notice)
            except Undelivered as why:
                if not why.again or attempt == ATTEMPTS - 1:
                    raise
                await asyncio.sleep(BACKOFF * 4**attempt)
            else:
                return

    async def _send(self, environment: InferenceEnvironmentSpec, channel: Notification, notice: Notice) -> None:
        body = json.dumps(notice.message, separators=(",", ":"))
        if channel.sns is not None:
            await asyncio.to_thread(self._publish, environment, channel.sns.topic_arn, notice, body)
        elif channel.webhook is not None:
            await self._post(channel.webhook.secret_ref.namespace, channel.webhook.secret_ref.name, body.encode())

    def _publish(self, environment: InferenceEnvironmentSpec, topic: str, notice: Notice, body: str) -> None:
        fifo = {"MessageGroupId": notice.message["name"], "MessageDeduplicationId": notice.id}
        try:
            self.sns(environment).publish(
                TopicArn=topic,
                Subject=f"{notice.message['namespace']}/{notice.message['name']}: {notice.type.value}"[:100],
                Message=body,
                MessageAttributes={"type": {"DataType": "String", "StringValue": notice.type.value}},
                **(fifo if topic.endswith(".fifo") else {}),
            )
        except AwsError as error:
            raise Undelivered(str(error), again=error.retry_soon) from error

    async def _post(self, namespace: str, name: str, body: bytes) -> None:
        try:
            values = await asyncio.to_thread(self.secrets.secret, namespace, name)
        except Exception as error:
            raise Undelivered(f"the Secret can't be read ({type(error).__name__})") from error
        url = values.get("url", "").strip()
        _check(url)
        headers = {"Content-Type": "application/json", **_signature(values.get("signingKey"), body, datetime.now(UTC))}
        try:
            async with (
                aiohttp.ClientSession(
                    timeout=TIMEOUT, cookie_jar=aiohttp.DummyCookieJar(), trust_env=True
                ) as session,  # through HTTPS_PROXY, as all other calls
                session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
            ):
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:  # their texts may hold the address
            raise Undelivered(f"no answer ({type(error).__name__})") from None
        if not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            again = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status == HTTPStatus.TOO_MANY_REQUESTS
            raise Undelivered(f"the answer is {status}, not 2xx (redirects are not followed)", again=again)


def _check(url: str) -> None:
    """Raises Undelivered unless messages can be sent there unread by others."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        raise Undelivered("the Secret's key url is no address", again=False) from None
    if not host:
        raise Undelivered("the Secret's key url must be an address that begins with https://", again=False)
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise Undelivered("the Secret's key url must begin with https://", again=False)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _signature(key: str | None, body: bytes, now: datetime) -> dict[str, str]:
    """`t=<Unix time>,v1=<hexadecimal HMAC-SHA256 of "<Unix time>.<body>">`: so that a message can be told from a
    forged or a repeated one."""
    if not key:
        return {}
    at = int(now.timestamp())
    mac = hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {SIGNATURE: f"t={at},v1={mac}"}


def _kind(channel: Notification) -> str:
    return "sns" if channel.sns is not None else "webhook"


def _called(channel: Notification) -> str:
    if channel.sns is not None:
        return channel.sns.topic_arn
    secret = channel.webhook.secret_ref if channel.webhook is not None else None
    return f"webhook of Secret {secret.namespace}/{secret.name}" if secret is not None else ""
