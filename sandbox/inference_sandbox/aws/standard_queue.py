"""Standard queues of SQS, whose calls cost the same however many messages there are. Those of moto search all of them.

A message is held until it is deleted or too old, and is meanwhile available, or hidden: delayed, or in flight after it
was received. FIFO queues stay moto's. Time is real time. This module must not know HTTP, nor who sends.
"""

from __future__ import annotations

import base64
import binascii
import copy
import heapq
import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from moto.core.utils import unix_time_millis
from moto.sqs.constants import MAXIMUM_VISIBILITY_TIMEOUT
from moto.sqs.exceptions import InvalidParameterValue, ReceiptHandleIsInvalid, SQSException
from moto.sqs.models import Message, Queue, SQSBackend, _filter_message_attributes

IN_FLIGHT = 120_000
"""Messages of a queue that may be in flight (SQS developer guide, "Message quotas")."""


class StandardQueue(Queue):
    def __init__(self, name: str, region: str, account_id: str, **attributes: Any) -> None:
        super().__init__(name, region, account_id, **attributes)
        self._key = secrets.token_hex(8)
        """In the receipt handles of this queue and of no other."""
        self._held: OrderedDict[str, Message] = OrderedDict()
        """All that there are, by id, oldest first."""
        self._available: OrderedDict[str, Message] = OrderedDict()
        """The one to be received next comes first."""
        self._hidden: dict[str, float] = {}
        """Until when, in milliseconds."""
        self._received: dict[str, float] = {}
        """When those in flight were; the other hidden ones are delayed."""
        self._due: list[tuple[float, str]] = []
        """A heap of when hidden ones become available. May tell of some that are not hidden until then any more."""

    # -- what moto's answers show

    @property
    def attributes(self) -> dict[str, Any]:
        shown = super().attributes
        return shown | {name: int(shown[name]) for name in ("CreatedTimestamp", "LastModifiedTimestamp")}

    @property
    def messages(self) -> list[Message]:
        with self._messages_lock:
            self._catch_up()
            return list(self._available.values())

    @property
    def approximate_number_of_messages(self) -> int:
        with self._messages_lock:
            self._catch_up()
            return len(self._available)

    @property
    def approximate_number_of_messages_delayed(self) -> int:
        with self._messages_lock:
            self._catch_up()
            return len(self._hidden) - len(self._received)

    @property
    def approximate_number_of_messages_not_visible(self) -> int:
        with self._messages_lock:
            self._catch_up()
            return len(self._received)

    # -- what is done to it

    def add_message(self, message: Message) -> None:
        with self._messages_lock:
            self._held[message.id] = message
            if message.delayed:
                self._hide(message, message.delayed_until)
            else:
                self._available[message.id] = message
            self._messages_lock.notify_all()

    def receive(self, count: int, wait: float, hidden_for: int) -> list[Message]:
        """Copies, as they were received: later calls change the messages."""
        dead: list[Message] = []
        with self._messages_lock:
            now = self._wait_for_one(wait)
            if len(self._received) >= IN_FLIGHT:
                raise SQSException("OverLimit", f"Too many messages are in flight: {IN_FLIGHT} at most.")
            taken: list[Message] = []
            while self._available and len(taken) < count:
                _, message = self._available.popitem(last=False)
                (dead if self._is_dead(message) else taken).append(message)
            for message in taken:
                self._mark_received(message, now, hidden_for)
            for message in dead:
                self._forget(message.id)
            copies = [copy.copy(message) for message in taken]
        for message in dead:  # without the lock: the queue of dead letters has one of its own
            if self.dead_letter_queue is not None:
                self.dead_letter_queue.add_message(message)
        return copies

    def delete_message(self, receipt_handle: str) -> None:
        """With an older handle than the latest, the call succeeds and the message stays (SQS API reference)."""
        with self._messages_lock:
            message = self._message(receipt_handle)
            if message is not None and message.receipt_handle == receipt_handle:
                self._forget(message.id)

    def hide(self, receipt_handle: str, seconds: int) -> None:
        with self._messages_lock:
            now = self._catch_up()
            message = self._message(receipt_handle)
            if message is None:
                raise InvalidParameterValue(
                    f"Value {receipt_handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or"
                    " is not available for visibility timeout change."
                )
            received = self._received.get(message.id)
            if received is None or message.receipt_handle != receipt_handle:
                return  # nothing, and without the reference's MessageNotInflight: so AWS is seen to answer
            until = now + seconds * 1000
            if until > received + MAXIMUM_VISIBILITY_TIMEOUT * 1000:
                raise InvalidParameterValue(
                    f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Total VisibilityTimeout for"
                    f" the message is beyond the limit [{MAXIMUM_VISIBILITY_TIMEOUT} seconds]"
                )
            self._hide(message, until)
            self._messages_lock.notify_all()

    def purge(self) -> None:
        with self._messages_lock:
            for kept in (self._held, self._available, self._hidden, self._received, self._due):
                kept.clear()

    # -- with the lock held

    def _wait_for_one(self, seconds: float) -> float:
        """Until a message is available, but no longer; now."""
        now = self._catch_up()
        deadline = now + seconds * 1000
        while not self._available and now < deadline:
            next_one = min(deadline, self._due[0][0]) if self._due else deadline
            self._messages_lock.wait((next_one - now) / 1000)
            now = self._catch_up()
        return now

    def _catch_up(self) -> float:
        """What is due becomes available, what is too old goes; now. Each message costs this once for each time that it
        is hidden."""
        now = float(unix_time_millis())
        while self._due and self._due[0][0] <= now:
            until, identifier = heapq.heappop(self._due)
            if self._hidden.get(identifier) == until:
                del self._hidden[identifier]
                self._received.pop(identifier, None)
                self._available[identifier] = self._held[identifier]
        oldest = now - int(self.message_retention_period) * 1000  # type: ignore[attr-defined]  # moto sets it by name
        while self._held and _sent(next(iter(self._held.values()))) < oldest:
            self._forget(next(iter(self._held)))
        return now

    def _mark_received(self, message: Message, now: float, hidden_for: int) -> None:
        message.approximate_receive_count += 1
        message.approximate_first_receive_timestamp = message.approximate_first_receive_timestamp or int(now)
        told = f"{self._key}:{message.id}:{message.approximate_receive_count}"
        message.receipt_handle = base64.urlsafe_b64encode(told.encode()).decode()
        self._received[message.id] = now
        self._hide(message, now + hidden_for * 1000)

    def _hide(self, message: Message, until: float) -> None:
        self._hidden[message.id] = until
        heapq.heappush(self._due, (until, message.id))

    def _forget(self, identifier: str) -> None:
        del self._held[identifier]
        for kept in (self._available, self._hidden, self._received):
            kept.pop(identifier, None)

    def _is_dead(self, message: Message) -> bool:
        redrive: Any = self.redrive_policy
        return bool(redrive) and message.approximate_receive_count >= redrive["maxReceiveCount"]

    def _message(self, receipt_handle: str) -> Message | None:
        """None: it is not there any more. Raises ReceiptHandleIsInvalid if this queue never gave such a handle."""
        try:
            key, identifier, _ = base64.urlsafe_b64decode(receipt_handle).decode().split(":")
        except (binascii.Error, ValueError) as error:
            raise ReceiptHandleIsInvalid from error
        if key != self._key:
            raise ReceiptHandleIsInvalid
        return self._held.get(identifier)


class Queues(SQSBackend):
    """moto's, but that standard queues are those of this module."""

    def create_queue(self, name: str, tags: dict[str, str] | None = None, **attributes: Any) -> Queue:
        if name in self.queues or str(attributes.get("FifoQueue")).lower() == "true":
            return super().create_queue(name, tags, **attributes)
        queue = StandardQueue(name, self.region_name, self.account_id, **attributes)  # type: ignore[abstract]  # as moto's
        queue.tags = tags or {}
        self.queues[name] = queue
        return queue

    def receive_message(
        self,
        queue_name: str,
        count: int,
        wait_seconds_timeout: int,
        visibility_timeout: int,
        message_attribute_names: list[str] | None = None,
    ) -> list[Message]:
        queue, names = self.get_queue(queue_name), message_attribute_names or []
        if not isinstance(queue, StandardQueue):
            return super().receive_message(queue_name, count, wait_seconds_timeout, visibility_timeout, names)
        received = queue.receive(count, wait_seconds_timeout, int(visibility_timeout))
        for message in received:
            _filter_message_attributes(message, names)
        return received

    def delete_message_batch(
        self, queue_name: str, receipts: list[dict[str, Any]]
    ) -> tuple[list[str], list[dict[str, Any]]]:
        return _each(receipts, lambda entry: self.delete_message(queue_name, entry["ReceiptHandle"]))

    def change_message_visibility(self, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
        queue = self.get_queue(queue_name)
        if isinstance(queue, StandardQueue):
            queue.hide(receipt_handle, int(visibility_timeout))
        else:
            super().change_message_visibility(queue_name, receipt_handle, visibility_timeout)

    def change_message_visibility_batch(
        self, queue_name: str, entries: list[dict[str, Any]]
    ) -> tuple[list[str], list[dict[str, Any]]]:
        def change(entry: Mapping[str, Any]) -> None:
            seconds = int(entry.get("VisibilityTimeout") or 0)
            if not 0 <= seconds <= MAXIMUM_VISIBILITY_TIMEOUT:
                raise InvalidParameterValue(
                    f"Value {seconds} for parameter VisibilityTimeout is invalid. Reason: Must be between 0 and"
                    f" {MAXIMUM_VISIBILITY_TIMEOUT}."
                )
            self.change_message_visibility(queue_name, entry["ReceiptHandle"], seconds)

        return _each(entries, change)

    def purge_queue(self, queue_name: str) -> None:
        super().purge_queue(queue_name)  # refuses a second time within a minute
        queue = self.get_queue(queue_name)
        if isinstance(queue, StandardQueue):
            queue.purge()


def _each(
    entries: Sequence[dict[str, Any]], act: Callable[[Mapping[str, Any]], None]
) -> tuple[list[str], list[dict[str, Any]]]:
    """What became of each entry of a batch: the ids of those that went well, and why the others did not."""
    done: list[str] = []
    failed: list[dict[str, Any]] = []
    for entry in entries:
        try:
            act(entry)
        except SQSException as error:
            failed.append({"Id": entry["Id"], "SenderFault": True, "Code": error.code, "Message": error.message})
        else:
            done.append(entry["Id"])
    return done, failed


def _sent(message: Message) -> float:
    at: Any = message.sent_timestamp  # moto's hints know only how it begins
    return float(at)
