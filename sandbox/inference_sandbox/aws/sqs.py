"""SQS: moto's, with the checks of queues that it lacks (SQS API reference, CreateQueue, SetQueueAttributes).

Messages keep real time: visibility timeouts, delays and long polling do not follow a clock that is moved. This module
must not know who sends.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from moto.sqs.exceptions import InvalidAttributeValue, SQSException
from moto.sqs.responses import SQSResponse

from inference_sandbox.ports import Clock

RANGES = {
    "DelaySeconds": (0, 900),
    "MaximumMessageSize": (1024, 1_048_576),
    "MessageRetentionPeriod": (60, 1_209_600),
    "ReceiveMessageWaitTimeSeconds": (0, 20),
    "VisibilityTimeout": (0, 43_200),
}
FORGOTTEN = timedelta(seconds=60)
"""How long a deleted queue's name can't be used."""


class QueueDeletedRecently(SQSException):
    def __init__(self) -> None:
        message = "You must wait 60 seconds after deleting a queue before you can create another with the same name."
        super().__init__("AWS.SimpleQueueService.QueueDeletedRecently", message)


def queues(clock: Clock) -> type[SQSResponse]:
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
