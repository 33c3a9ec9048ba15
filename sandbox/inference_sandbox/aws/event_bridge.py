"""EventBridge for the events of ECS: through the rules of the default bus to SQS, SNS and CloudWatch Logs.

moto keeps rules and queues; delivery is here, because its own knows no topics. Delivery is "at least once" and in no
particular order (developer guide, "Amazon ECS events"); ordinarily the sandbox delivers once and in order, on request
it does not. This module must not know what an event tells.
"""

from __future__ import annotations

import contextlib
import json
import random
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import JsonRESTError, ServiceException
from moto.events.models import events_backends
from moto.logs.models import logs_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from inference_sandbox.ecs.surroundings import Event


class EventBridge:
    """`duplicates` is the share of deliveries that come twice; with `shuffled`, what happens in one tick comes in any
    order."""

    def __init__(self, seed: int = 0) -> None:
        self.duplicates = 0.0
        self.shuffled = False
        self._random = random.Random(seed)  # noqa: S311 - chances of a delivery, repeatable on purpose
        self._published = 0
        self._held: list[tuple[dict[str, Any], Any]] = []

    def listening(self, account: str, region: str) -> bool:
        backends = events_backends.get(account)  # get() makes no backend where there is none
        backend = backends.get(region) if backends is not None else None
        return backend is not None and any(rule.targets for rule in backend.event_buses["default"].rules.values())

    def publish(self, event: Event) -> None:
        if not self.listening(event.account, event.region):
            return
        bus = events_backends[event.account][event.region].event_buses["default"]
        self._published += 1
        message = _message(event, self._published)
        for rule in bus.rules.values():
            if rule.state == "ENABLED" and rule.targets and rule.event_pattern.matches_event(message):
                for target in rule.targets:
                    self._send(target, message)

    def _send(self, target: dict[str, Any], message: Any) -> None:
        times = 2 if self.duplicates and self._random.random() < self.duplicates else 1
        for _ in range(times):
            if self.shuffled:
                self._held.append((target, message))
            else:
                _deliver(target, message)

    def flush(self) -> None:
        """Deliver what is held back, in any order."""
        held, self._held = self._held, []
        self._random.shuffle(held)
        for target, message in held:
            _deliver(target, message)


def _message(event: Event, number: int) -> Any:
    """An EventBridge envelope, in the shape that moto's patterns match."""
    return {
        "version": "0",
        "id": f"{number:08x}-0000-4000-8000-{number:012x}",
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


def _deliver(target: dict[str, Any], message: dict[str, Any]) -> None:
    """To SQS, SNS or CloudWatch Logs; what cannot be delivered is dropped, as without a dead-letter queue."""
    _, _, service, region, account, *rest = target["Arn"].split(":")
    body = target.get("Input") or json.dumps(message)
    with contextlib.suppress(ServiceException, JsonRESTError, KeyError):
        if service == "sqs":
            group = (target.get("SqsParameters") or {}).get("MessageGroupId")
            sqs_backends[account][region].send_message(queue_name=rest[-1], message_body=body, group_id=group)
        elif service == "sns":
            sns_backends[account][region].publish(message=body, arn=target["Arn"])
        elif service == "logs":
            backend = logs_backends[account][region]
            name, stream = rest[1].removesuffix(":*"), message["id"]
            backend.create_log_stream(name, stream)
            timestamp = int(datetime.fromisoformat(message["time"]).timestamp() * 1000)
            backend.put_log_events(name, stream, [{"timestamp": timestamp, "message": body}])
