"""Reads the queue of one environment's events, in a thread of its own, and tells the loop what there is to look at.

A message is deleted once nothing can be lost by it: at once if it only says "look"; if it tells why a task stopped,
when that is in the object's status. It comes again until then. Mostly one batch is in hand; where messages have piled
up, a few are. Other threads only carry them from AWS and back: what they say is heard in the one thread.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

import structlog

from inference_operator.aws.errors import AwsError, NotFound
from inference_operator.aws.ports import Sqs
from inference_operator.domain.ecs_events import JunkError, News, Seen, read
from inference_operator.engine.backoff import after_failures
from inference_operator.runtime import metrics

log = structlog.get_logger(__name__)

BATCH = 10  # ReceiveMessage, DeleteMessageBatch: messages, 10 at most
AT_ONCE = 4  # batches in hand at most: a batch is on its way to AWS for longer than it is read
WAIT = 10  # seconds of ReceiveMessage: WaitTimeSeconds; shorter than the clients' read timeout
DEAF_AFTER = timedelta(seconds=60)

Message = Mapping[str, Any]
"""One of ReceiveMessage's."""
Heard = Literal["mine", "later", "foreign"]


class Hear(Protocol):
    """Tells of events, each with what is to be called when it is kept; answers what became of each."""

    def __call__(self, news: Sequence[tuple[News, Callable[[], None]]], /) -> Sequence[Heard]: ...


@dataclass
class Inbox:
    environment: str
    sqs: Sqs
    queue_url: str
    hear: Hear
    lost: Callable[[], None]
    """Called when the queue is gone."""
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _seen: Seen = field(default_factory=Seen)
    _pending: dict[str, str] = field(default_factory=dict)
    """Receipt handles by event id, of what is not kept yet."""
    _kept: deque[str] = field(default_factory=deque)
    """Ids of events that are kept by now; filled by the loop."""
    _over: threading.Event = field(default_factory=threading.Event)
    _read_at: datetime | None = None

    @property
    def hears(self) -> bool:
        """Whether the queue could be read lately."""
        return self._read_at is not None and self.clock() - self._read_at < DEAF_AFTER

    def start(self) -> None:
        threading.Thread(target=self._run, name=f"inbox-{self.environment}", daemon=True).start()

    def stop(self) -> None:
        """Ends after what is in hand; what is not deleted then, comes again."""
        self._tell(heard=False)
        self._over.set()

    def _run(self) -> None:
        failures = 0
        with structlog.contextvars.bound_contextvars(environment=self.environment):
            while not self._over.is_set():
                try:
                    self.turn()
                    failures = 0
                except AwsError as error:
                    failures += 1
                    self._tell(heard=False)
                    log.warning("events not read", code=error.code, error=error.message)
                    if isinstance(error, NotFound) and not self._over.is_set():
                        self.lost()
                except Exception:  # a bug must not end the hearing
                    failures += 1
                    log.exception("events not handled")
                if failures:
                    self._over.wait(after_failures(failures).total_seconds())

    def turn(self) -> None:
        """One batch, and if it is full what has piled up behind it. Waits up to WAIT seconds for a message; not the
        first time, so that it is soon known whether the queue can be read. Raises AwsError."""
        messages = self._next((), 0 if self._read_at is None else 1 if self._pending else WAIT)
        handles = self._heard(messages)
        if len(messages) < BATCH:
            self._delete(handles)
        else:
            self._drain(handles)

    def _drain(self, handles: Sequence[str]) -> None:
        """Several batches at once, each until it comes empty. Without waiting: what comes one by one is better awaited
        by one, which then has several in a batch."""
        with ThreadPoolExecutor(AT_ONCE, f"inbox-{self.environment}") as pool:
            coming = {pool.submit(self._next, some, 0) for some in (handles, *[()] * (AT_ONCE - 1))}
            while coming:
                come, coming = wait(coming, return_when=FIRST_COMPLETED)
                for each in come:
                    messages = each.result()
                    handles = self._heard(messages)
                    if messages and not self._over.is_set():
                        coming.add(pool.submit(self._next, handles, 0))
                    else:
                        self._delete(handles)

    def _next(self, handles: Sequence[str], seconds: int) -> Sequence[Message]:
        """Deletes the batch that is done with; then waits so long for another one."""
        self._delete(handles)
        answer = self.sqs.receive_message(QueueUrl=self.queue_url, MaxNumberOfMessages=BATCH, WaitTimeSeconds=seconds)
        return answer.get("Messages") or ()

    def _heard(self, messages: Sequence[Message]) -> Sequence[str]:
        """Receipt handles of what is done with by now."""
        self._read_at = self.clock()
        self._tell(heard=True)
        return [*self._handle(messages), *self._now_kept()]

    def _tell(self, *, heard: bool) -> None:
        """Not once it is stopped: then it is another's to tell, or nobody's."""
        if not self._over.is_set():
            metrics.EVENTS_HEARD.labels(environment=self.environment).set(heard)

    def _handle(self, messages: Sequence[Message]) -> Iterator[str]:
        """Receipt handles of those that are done with."""
        news: list[tuple[News, str]] = []
        for message in messages:
            handle, told = message["ReceiptHandle"], self._read(message)
            if told is None:
                yield handle
            elif self._seen.is_news(told):
                news.append((told, handle))
            elif told.id in self._pending:
                self._pending[told.id] = handle  # the newest one is valid
            else:
                self._count("repeated")
                yield handle
        # Noted before it is told: the loop may have it in a status before this thread goes on.
        self._pending |= {told.id: handle for told, handle in news}
        heard = self.hear([(told, lambda it=told.id: self._kept.append(it)) for told, _ in news]) if news else ()  # type: ignore[misc]  # mypy infers no lambda defaults
        for (told, handle), what in zip(news, heard, strict=True):
            self._count("foreign" if what == "foreign" else "mine")
            if what != "foreign":
                metrics.EVENT_AGE_SECONDS.labels(environment=self.environment).observe(self._age(told))
                metrics.EVENT_LAST_SECONDS.labels(environment=self.environment).set(self.clock().timestamp())
            if what != "later":
                del self._pending[told.id]
                yield handle

    def _read(self, message: Message) -> News | None:
        try:
            told = read(message["Body"])
        except JunkError as error:
            self._count("junk")
            log.warning("junk in the queue of events", message_id=message.get("MessageId"), why=str(error))
            return None
        if told is None:
            self._count("foreign")
        return told

    def _now_kept(self) -> Iterator[str]:
        while self._kept:
            handle = self._pending.pop(self._kept.popleft(), None)
            if handle is not None:
                yield handle

    def _delete(self, handles: Sequence[str]) -> None:
        for some in (handles[i : i + BATCH] for i in range(0, len(handles), BATCH)):
            entries = [{"Id": str(number), "ReceiptHandle": handle} for number, handle in enumerate(some)]
            answer = self.sqs.delete_message_batch(QueueUrl=self.queue_url, Entries=entries)
            for failed in answer.get("Failed") or ():  # it comes again, and is known by then
                log.info("message not deleted", environment=self.environment, code=failed.get("Code"))

    def _age(self, news: News) -> float:
        return max(0.0, (self.clock() - news.at).total_seconds())

    def _count(self, outcome: str) -> None:
        metrics.EVENTS.labels(environment=self.environment, outcome=outcome).inc()
