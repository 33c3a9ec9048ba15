"""EventBridge's API: moto's, with events that somebody puts delivered as those of the services: moto knows no topics;
and with what moto accepts and AWS does not (API reference: PutRule, PutTargets, TagResource).

This module must not know how an event is delivered.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moto.core.exceptions import JsonRESTError
from moto.events.responses import EventsHandler

from inference_sandbox.ecs.surroundings import Event
from inference_sandbox.ports import Clock

NEEDED = ("Source", "DetailType", "Detail")
MOST_TARGETS, MOST_TAGS = 5, 50


class LimitExceeded(JsonRESTError):
    def __init__(self, what: str) -> None:
        super().__init__(
            "LimitExceededException", f"The requested resource exceeds the maximum number allowed: {what}."
        )


class Rules(EventsHandler):
    def put_rule(self) -> Any:
        """Of a rule that is there "any tags you specify in the PutRule operation are ignored"."""
        existing, tagger = self._rule("Name"), self.events_backend.tagger
        before = tagger.get_tag_dict_for_resource(existing.arn) if existing is not None else {}
        answer = super().put_rule()
        if existing is not None:
            tagger.delete_all_tags_for_resource(existing.arn)
            tagger.tag_resource(existing.arn, tagger.convert_dict_to_tags_input(before))
        return answer

    def put_targets(self) -> Any:
        rule = self._rule("Rule")
        known = {target["Id"] for target in rule.targets} if rule is not None else set()
        if len(known | {target["Id"] for target in self._get_param("Targets")}) > MOST_TARGETS:
            raise LimitExceeded("targets of a rule")
        return super().put_targets()

    def tag_resource(self) -> Any:
        known = self.events_backend.tagger.get_tag_dict_for_resource(self._get_param("ResourceARN"))
        if len(known.keys() | {tag["Key"] for tag in self._get_param("Tags")}) > MOST_TAGS:
            raise LimitExceeded("tags of a resource")
        return super().tag_resource()

    def _rule(self, member: str) -> Any:
        """None if there is none, or no such bus: moto says so."""
        bus = self.events_backend.event_buses.get((self._get_param("EventBusName") or "default").rsplit("/", 1)[-1])
        return bus.rules.get(self._get_param(member)) if bus is not None else None


def responses(clock: Clock, publish: Callable[[Event], str]) -> type[EventsHandler]:
    class Response(Rules):
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
