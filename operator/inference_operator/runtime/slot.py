"""What is kept of one object between its passes. It saves work; all of it may be lost at any moment."""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from inference_operator.api.meta import GROUP
from inference_operator.api.v1alpha1 import Notified
from inference_operator.aws.ports import Answer
from inference_operator.engine.objects import News, Outcome
from inference_operator.engine.plan import Trouble
from inference_operator.engine.reconcile import Memory
from inference_operator.runtime import metrics

Document = Mapping[str, Any]


@dataclass(frozen=True)
class StoppedTask:
    shown: Answer
    """As DescribeTasks shows it."""
    kept: Callable[[], None]
    """To be called when it is in the status, and so need not be told again."""


@dataclass
class Slot:
    """What is kept of one object between its passes."""

    wake: asyncio.Event = field(default_factory=asyncio.Event)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    memory: Memory = field(default_factory=Memory)
    doubted: bool = False
    """What the memory has seen may be otherwise by now. The next pass forgets it: one under way rests on it."""
    seen: object = None
    """The fingerprint that last woke it."""
    status: Mapping[str, Any] | None = None
    """The status last written, which the watch may not have brought back yet."""
    written: str | None = None
    """The resourceVersion that the object had then, or has had since with that status."""
    failures: int = 0
    """Writes to the Kubernetes API that failed in a row."""
    due: float | None = None
    """When its next pass should begin (monotonic); None while one is under way."""
    began: float = -math.inf
    """When its latest pass began; seconds of the event loop's clock."""
    hinted: bool = False
    """It will be woken as soon as it may."""
    gone: bool = False
    """The watch has told of its end."""
    heard_at: datetime | None = None
    """When the latest event about it came that no pass has looked into yet."""
    notified: dict[str, Notified] = field(default_factory=dict)
    """By id: what people were told and the status does not tell yet."""
    stopped: OrderedDict[str, StoppedTask] = field(default_factory=OrderedDict)
    """By ARN: what events told and the status does not yet."""

    def wait(self, seconds: float) -> None:
        self.due = time.monotonic() + seconds

    def begin(self) -> None:
        """Its pass begins."""
        now = time.monotonic()
        metrics.QUEUE_SECONDS.observe(max(0.0, now - (self.due if self.due is not None else now)))
        self.due = None
        if self.doubted:
            self.doubted = False
            self.memory.forget()

    def call(self) -> None:
        """Its turn is now."""
        now = time.monotonic()
        self.due = min(self.due, now) if self.due is not None else self.due
        self.wake.set()

    def take_status(self, document: Document) -> bool:
        """What the watch brings of a status. Whether somebody else has changed it since it was written last."""
        shown, version = document.get("status"), document["metadata"].get("resourceVersion")
        since = self.written is not None and version is not None and int(version) > int(self.written)
        changed = since and self.status != shown
        if since or self.status == shown:
            self.status = shown  # if they are equal, one of the two is enough to keep
        return changed

    def settle(self, heard: News, stopped: Mapping[str, StoppedTask], outcome: Outcome) -> None:
        """The status is written: what events had told before the pass is in it."""
        looked = outcome.results and not any(isinstance(r.outcome, Trouble) for r in outcome.results)
        if looked and self.heard_at == heard.at:
            self.heard_at = None
        for notified in heard.notified:
            self.notified.pop(notified.id, None)
        for arn, task in stopped.items():
            if self.stopped.get(arn) is task:
                del self.stopped[arn]
                task.kept()


def fingerprint(metadata: Mapping[str, Any]) -> object:
    """What of an object starts a pass; hashable. The status is not in it: our own write would wake us for ever."""
    annotations = metadata.get("annotations") or {}
    ours = frozenset((name, value) for name, value in annotations.items() if name.startswith(f"{GROUP}/"))
    return metadata.get("generation"), metadata.get("deletionTimestamp"), ours
