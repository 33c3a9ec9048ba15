"""EventBridge's API: moto's, with events that somebody puts delivered as those of the services: moto knows no topics.

This module must not know how an event is delivered.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moto.events.responses import EventsHandler

from inference_sandbox.ecs.surroundings import Event
from inference_sandbox.ports import Clock

NEEDED = ("Source", "DetailType", "Detail")


def responses(clock: Clock, publish: Callable[[Event], str]) -> type[EventsHandler]:
    class Response(EventsHandler):
        def put_events(self) -> Any:
            """Those for the default bus are published; those for another bus are moto's."""
            entries = self._get_param("Entries")
            if any(entry.get("EventBusName", "default").rsplit("/", 1)[-1] != "default" for entry in entries):
                return super().put_events()
            answers = [self._publish(entry) for entry in entries]
            failed = sum("ErrorCode" in answer for answer in answers)
            return json.dumps({"FailedEntryCount": failed, "Entries": answers})

        def _publish(self, entry: dict[str, Any]) -> dict[str, str]:
            missing = next((name for name in NEEDED if not entry.get(name)), None)
            if missing is not None:
                reason = f"Parameter {missing} is not valid. Reason: {missing} is a required argument."
                return {"ErrorCode": "InvalidArgument", "ErrorMessage": reason}
            try:
                detail = json.loads(entry["Detail"])
            except ValueError:
                return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
            event = Event(
                source=entry["Source"],
                account=self.current_account,
                region=self.region,
                detail_type=entry["DetailType"],
                resources=entry.get("Resources") or [],
                detail=detail,
                at=_time(entry.get("Time")) or clock.now(),
            )
            return {"EventId": publish(event)}

    return Response


def _time(value: Any) -> datetime | None:
    return datetime.fromtimestamp(float(value), UTC) if isinstance(value, int | float) else None
