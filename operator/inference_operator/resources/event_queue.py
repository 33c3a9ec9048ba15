"""The SQS queue of an environment's events. Who may send to it is part of it: its policy lets in one rule alone. What
somebody else denies in it, as rules of compliance do for calls without TLS, stays.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.aws.errors import NotFound
from inference_operator.domain import tags
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Fact, Settled, Site, changed

ATTRIBUTES: Mapping[str, str] = {
    "MessageRetentionPeriod": "345600",  # four days: ECS forgets why a task stopped after one hour
    "VisibilityTimeout": "30",
}
"""Of the queue, beside its policy; in seconds."""


@dataclass(frozen=True, kw_only=True)
class Want:
    name: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class EventQueue:
    name: str
    url: str
    arn: str
    attributes: Mapping[str, Any]
    """As in `wanted_attributes`."""
    tags: Mapping[str, str]


class EventQueues:
    """The SQS queue that the environment's events come to."""

    name: ClassVar[str] = "EventQueue"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Site) -> Want | None:
        asked = ctx.environment.events
        return Want(name=asked.queue, tags=ctx.tags) if asked is not None and asked.queue == name_of(ctx) else None

    def diff(self, want: Want, have: EventQueue) -> Change:
        asked = wanted_attributes(have)
        return changed({name: (asked[name], have.attributes.get(name)) for name in asked})

    def settled(self, ctx: Site, want: Want, have: EventQueue) -> Settled:
        return Settled(have.name)

    def facts(self, have: EventQueue) -> Mapping[Fact, str]:
        return {Fact.EVENT_QUEUE: have.arn, Fact.EVENT_QUEUE_URL: have.url}

    def observe(self, scene: Site) -> EventQueue | None:
        sqs, name = scene.aws.sqs, name_of(scene)
        if name is None:
            return None
        try:
            url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
            shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn", "Policy", *ATTRIBUTES])
            found = tags.parse(sqs.list_queue_tags(QueueUrl=url).get("Tags"))
        except NotFound:
            return None
        attributes = {**shown["Attributes"], "Policy": _statements(shown["Attributes"].get("Policy"))}
        return EventQueue(name=name, url=url, arn=attributes["QueueArn"], attributes=attributes, tags=found)

    def create(self, ctx: Site, want: Want) -> EventQueue:
        sqs = ctx.aws.sqs
        url = sqs.create_queue(QueueName=want.name, Attributes=dict(ATTRIBUTES), tags=dict(want.tags))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        have = EventQueue(name=want.name, url=url, arn=arn, attributes=dict(ATTRIBUTES), tags=want.tags)
        return self.update(ctx, want, have, Change())

    def update(self, ctx: Site, want: Want, have: EventQueue, change: Change) -> EventQueue:
        asked = wanted_attributes(have)
        document = {**policy(have.arn), "Statement": asked["Policy"]}
        ctx.aws.sqs.set_queue_attributes(
            QueueUrl=have.url, Attributes={**asked, "Policy": json.dumps(document, separators=(",", ":"))}
        )
        return replace(have, attributes=asked)

    def retag(self, scene: Site, have: EventQueue, retag: Retag) -> EventQueue:
        if retag.remove:
            scene.aws.sqs.untag_queue(QueueUrl=have.url, TagKeys=list(retag.remove))
        if retag.put:
            scene.aws.sqs.tag_queue(QueueUrl=have.url, Tags=dict(retag.put))
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Site, have: EventQueue) -> None:
        with suppress(NotFound):
            scene.aws.sqs.delete_queue(QueueUrl=have.url)

    def tidy(self, ctx: Site, want: Want, have: EventQueue) -> EventQueue:
        return have


def name_of(site: Site) -> str | None:
    """What is in use, until it is gone; then what is asked for. So a queue that is renamed is not left behind."""
    if site.known.events is not None and site.known.events.queue is not None:
        return site.known.events.queue
    return site.environment.events.queue if site.environment.events is not None else None


def wanted_attributes(have: EventQueue) -> dict[str, Any]:
    """What is set on the queue; `Policy` as its statements, which the API takes in a text."""
    denied = [each for each in have.attributes.get("Policy") or () if each.get("Effect") == "Deny"]
    return {**ATTRIBUTES, "Policy": _in_order([*policy(have.arn)["Statement"], *denied])}


def policy(queue_arn: str) -> dict[str, Any]:
    """Lets the rule of the same name send, and nobody else (EventBridge user guide, "Resource-based policies": SQS)."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "EventsOfEcs",
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": queue_arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": rule_arn(queue_arn)}},
            }
        ],
    }


def rule_arn(queue_arn: str) -> str:
    """`arn:aws:sqs:REGION:ACCOUNT:NAME` → `arn:aws:events:REGION:ACCOUNT:rule/NAME`."""
    _, partition, _, region, account, name = queue_arn.split(":")
    return f"arn:{partition}:events:{region}:{account}:rule/{name}"


def _statements(text: str | None) -> list[dict[str, Any]] | None:
    """Those of a policy. None: there is none, or none that can be read, and it is set anew."""
    try:
        found = json.loads(text)["Statement"] if text else None
    except (ValueError, KeyError, TypeError):
        return None
    listed = [found] if isinstance(found, dict) else found
    return _in_order(listed) if isinstance(listed, list) and all(isinstance(each, dict) for each in listed) else None


def _in_order(statements: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """What they say does not depend on their order."""
    return sorted(statements, key=lambda each: json.dumps(each, sort_keys=True))
