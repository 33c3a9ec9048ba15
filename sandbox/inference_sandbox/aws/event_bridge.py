"""EventBridge for the events of ECS and CloudWatch: through the rules of the default bus to SQS, SNS and logs.

moto keeps rules and queues; delivery is here, because its own knows no topics. Delivery is "at least once" and in no
particular order (developer guide, "Amazon ECS events"); ordinarily the sandbox delivers once and in order, on request
it does not. In IAM mode a queue or topic is reached only if its policy lets EventBridge (EventBridge user guide, "Using
resource-based policies"). This module must not know what an event tells.
"""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime
from typing import Any

from jsonpath_ng.parser import parse
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.events.models import events_backends
from moto.events.utils import EventTemplateParser
from moto.logs.models import logs_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from inference_sandbox.aws.policies import Access, granted
from inference_sandbox.ecs.surroundings import Event


class EventBridge:
    """`duplicates` is the share of deliveries that come twice; with `shuffled`, what happens in one tick comes in any
    order; with `permissions`, the policies of queues and topics are heeded."""

    def __init__(self, seed: int = 0) -> None:
        self.duplicates = 0.0
        self.shuffled = False
        self.permissions = False
        self._random = random.Random(seed)  # noqa: S311 - chances of a delivery, repeatable on purpose
        self._published = 0
        self._held: list[tuple[str, dict[str, Any], Any]] = []

    def listening(self, account: str, region: str) -> bool:
        backends = events_backends.get(account)  # get() makes no backend where there is none
        backend = backends.get(region) if backends is not None else None
        return backend is not None and any(rule.targets for rule in backend.event_buses["default"].rules.values())

    def publish(self, event: Event) -> str:
        """The id that it gets."""
        self._published += 1
        identifier = f"{self._published:08x}-0000-4000-8000-{self._published:012x}"
        if self.listening(event.account, event.region):
            self._route(event, identifier)
        return identifier

    def _route(self, event: Event, identifier: str) -> None:
        bus = events_backends[event.account][event.region].event_buses["default"]
        message = _message(event, identifier)
        for rule in bus.rules.values():
            if rule.state == "ENABLED" and rule.targets and rule.event_pattern.matches_event(message):
                for target in rule.targets:
                    self._send(rule.arn, target, message)

    def _send(self, rule: str, target: dict[str, Any], message: Any) -> None:
        times = 2 if self.duplicates and self._random.random() < self.duplicates else 1
        for _ in range(times):
            if self.shuffled:
                self._held.append((rule, target, message))
            else:
                self._deliver(rule, target, message)

    def flush(self) -> None:
        """Deliver what is held back, in any order."""
        held, self._held = self._held, []
        self._random.shuffle(held)
        for rule, target, message in held:
            self._deliver(rule, target, message)

    def _deliver(self, rule: str, target: dict[str, Any], message: dict[str, Any]) -> None:
        """What can't be delivered goes to the target's dead-letter queue; without one it is dropped."""
        group = (target.get("SqsParameters") or {}).get("MessageGroupId")
        if self._reach(target["Arn"], rule, _body(target, message), message, group):
            return
        dead_letters = (target.get("DeadLetterConfig") or {}).get("Arn")
        if dead_letters:
            self._reach(dead_letters, rule, json.dumps(message), message, None)

    def _reach(self, arn: str, rule: str, body: str, message: dict[str, Any], group: str | None) -> bool:
        """Whether the body arrived."""
        _, _, service, region, account, *rest = arn.split(":")
        try:
            match service:
                case "sqs":
                    queue = sqs_backends[account][region].get_queue(rest[-1])
                    if not self._may(queue._policy_json, "sqs:SendMessage", arn, rule):  # noqa: SLF001 - moto's own form
                        return False
                    sqs_backends[account][region].send_message(queue_name=rest[-1], message_body=body, group_id=group)
                case "sns":
                    topic = sns_backends[account][region].get_topic(arn)
                    if not self._may(json.loads(topic.policy), "sns:Publish", arn, rule):
                        return False
                    sns_backends[account][region].publish(message=body, arn=arn)
                case "logs":
                    _log(logs_backends[account][region], rest[1].removesuffix(":*"), body, message)
                case _:
                    return False
        except (ServiceException, JsonRESTError, KeyError):
            return False
        return True

    def _may(self, policy: dict[str, Any], action: str, resource: str, rule: str) -> bool:
        context = {"aws:sourcearn": [rule], "aws:sourceaccount": [rule.split(":")[4]]}
        access = Access(action=action, resource=resource, context=context)
        return not self.permissions or granted(policy, "events.amazonaws.com", access)


def _message(event: Event, identifier: str) -> Any:
    """An EventBridge envelope, in the shape that moto's patterns match."""
    return {
        "version": "0",
        "id": identifier,
        "detail-type": event.detail_type,
        "source": event.source,
        "account": event.account,
        "time": _iso(event.at, milliseconds=False),
        "region": event.region,
        "resources": list(event.resources),
        "detail": json.loads(json.dumps(event.detail, default=_iso)),
    }


def _iso(value: Any, *, milliseconds: bool = True) -> str:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} has no place in an event")
    text = value.astimezone(UTC).isoformat(timespec="milliseconds" if milliseconds else "seconds")
    return text.replace("+00:00", "Z")


def _body(target: dict[str, Any], message: dict[str, Any]) -> str:
    """The event as the target wants it: Input, InputPath or InputTransformer (EventBridge API reference, Target)."""
    if target.get("Input"):
        return str(target["Input"])
    if target.get("InputPath"):
        found = parse(target["InputPath"]).find(message)
        return json.dumps(found[0].value if found else None)
    transformer = target.get("InputTransformer")
    if transformer:
        template, paths = transformer["InputTemplate"], transformer.get("InputPathsMap") or {}
        event: Any = message | {"ingestion-time": message["time"]}
        return json.dumps(EventTemplateParser.parse(template, paths, event))
    return json.dumps(message)


def _log(backend: Any, group: str, body: str, message: dict[str, Any]) -> None:
    stream = message["id"]
    backend.create_log_stream(group, stream)
    timestamp = int(datetime.fromisoformat(message["time"]).timestamp() * 1000)
    backend.put_log_events(group, stream, [{"timestamp": timestamp, "message": body}])
