"""SQS: moto's answers, with the checks that they lack (SQS API reference), from the queues of `standard_queue`.

Messages keep real time: visibility timeouts, delays and long polling do not follow a clock that is moved. This module
must not know who sends.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from moto.core.responses import ActionResult
from moto.sqs.exceptions import (
    BatchEntryIdsNotDistinct,
    EmptyBatchRequest,
    InvalidAttributeValue,
    InvalidBatchEntryId,
    SQSException,
    TooManyEntriesInBatchRequest,
)
from moto.sqs.models import sqs_backends
from moto.sqs.responses import SQSResponse

from inference_sandbox.aws.standard_queue import Queues
from inference_sandbox.ports import Clock

RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
BATCH = 10
"""Entries at most."""
BATCH_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
FORGOTTEN = timedelta(seconds=60)
"""How long a deleted queue's name can't be used."""


class QueueDeletedRecently(SQSException):
    def __init__(self) -> None:
        message = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
        super().__init__("AWS.SimpleQueueService.QueueDeletedRecently", message)


def queues(clock: Clock) -> type[SQSResponse]:
    sqs_backends.backend = Queues  # for SNS and EventBridge too, which send without a request
    deleted: dict[tuple[str, str, str], datetime] = {}

    class Response(SQSResponse):
        def create_queue(self) -> Any:
            _check(self._get_param("Attributes", {}))
            since = deleted.get((self.current_account, self.region, self._get_param("QueueName")))
            if since is not None and clock.now() < since + FORGOTTEN:
                raise QueueDeletedRecently
            return super().create_queue()

        def set_queue_attributes(self) -> Any:
            _check(self._get_param("Attributes", {}))
            return super().set_queue_attributes()

        def delete_queue(self) -> Any:
            answer = super().delete_queue()
            deleted[self.current_account, self.region, self._get_queue_name()] = clock.now()
            return answer

        def delete_message_batch(self) -> Any:
            return _told(
                *self.sqs_backend.delete_message_batch(
                    self._get_queue_name(), _batch(self._get_param("Entries"), "Delete")
                )
            )

        def change_message_visibility_batch(self) -> Any:
            entries = _batch(self._get_param("Entries"), "ChangeMessageVisibility")
            return _told(*self.sqs_backend.change_message_visibility_batch(self._get_queue_name(), entries))

    return Response


def _check(attributes: Mapping[str, Any]) -> None:
    for name, (low, high) in RANGES.items():
        value = attributes.get(name)
        if value is not None and not (str(value).isdigit() and low <= int(value) <= high):
            raise InvalidAttributeValue(name)
    for name in ("Policy", "RedrivePolicy"):
        if attributes.get(name):
            try:
                json.loads(attributes[name])
            except ValueError as error:
                raise InvalidAttributeValue(name) from error


def _batch(entries: list[dict[str, Any]] | None, action: str) -> list[dict[str, Any]]:
    identifiers = [entry["Id"] for entry in entries or ()]
    if not entries:
        raise EmptyBatchRequest(action)
    if len(entries) > BATCH:
        raise TooManyEntriesInBatchRequest(len(entries))
    if not all(BATCH_ID.fullmatch(each) for each in identifiers):
        raise InvalidBatchEntryId
    if len(set(identifiers)) < len(entries):
        raise BatchEntryIdsNotDistinct(next(each for each in identifiers if identifiers.count(each) > 1))
    return entries


def _told(done: list[str], failed: list[dict[str, Any]]) -> ActionResult:
    return ActionResult({"Successful": [{"Id": each} for each in done], "Failed": failed})
