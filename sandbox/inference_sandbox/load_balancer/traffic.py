"""What has passed: an entry for each request, and the counters that CloudWatch has of a target group.

Names are those of the access log's fields and of the metrics in the namespace AWS/ApplicationELB.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from inference_sandbox.ports import Passed

_STATUS_OF_AN_ERROR = 500


@dataclass(frozen=True, kw_only=True)
class AccessLogEntry:
    """One request. Times are in seconds, -1 where it never came so far; sizes are of the bodies, in bytes."""

    time: datetime
    listener_arn: str
    rule_arn: str | None
    target_group_arn: str | None
    client: str
    """`address:port`, as `target`."""
    target: str | None
    method: str
    url: str
    protocol: str
    request_processing_time: float
    target_processing_time: float
    response_processing_time: float
    elb_status_code: int
    target_status_code: int | None
    received_bytes: int
    sent_bytes: int
    user_agent: str
    trace_id: str
    rule_priority: int = 0
    """0 is the default rule's."""
    action: str | None = None
    """`forward`, `fixed-response` or `redirect`; None: an error came before it."""
    redirect_url: str | None = None
    error_reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class TargetGroupCounters:
    """Since the target group is known. `target_response_time` is a sum in seconds, over `target_responses` requests.

    `request_count` leaves out requests for which no target could be chosen, as CloudWatch does.
    """

    request_count: int = 0
    target_responses: int = 0
    target_response_time: float = 0.0
    http_code_target_2xx: int = 0
    http_code_target_3xx: int = 0
    http_code_target_4xx: int = 0
    http_code_target_5xx: int = 0
    http_code_elb_5xx: int = 0
    target_connection_error_count: int = 0

    def with_request(self, entry: AccessLogEntry, *, connected: bool) -> TargetGroupCounters:
        counted = replace(
            self,
            request_count=self.request_count + (entry.target is not None),
            target_connection_error_count=self.target_connection_error_count + (not connected),
        )
        if entry.target_status_code is None:
            by_us = entry.elb_status_code >= _STATUS_OF_AN_ERROR
            return replace(counted, http_code_elb_5xx=self.http_code_elb_5xx + by_us)
        family = f"http_code_target_{entry.target_status_code // 100}xx"
        return replace(
            counted,
            target_responses=self.target_responses + 1,
            target_response_time=self.target_response_time + entry.target_processing_time,
            **{family: getattr(self, family) + 1},
        )


class Traffic:
    """What has passed, by listener and target group, since it was last taken."""

    def __init__(self) -> None:
        self._passed: dict[tuple[str, str | None], Passed] = {}

    def count(self, entry: AccessLogEntry, *, connected: bool) -> None:
        key = entry.listener_arn, entry.target_group_arn
        passed = self._passed.setdefault(key, Passed(listener_arn=key[0], target_group_arn=key[1]))
        passed.requests += entry.target is not None or entry.target_group_arn is None
        passed.connection_errors += not connected
        if entry.target_status_code is None:
            passed.balancer_codes[entry.elb_status_code // 100] += 1
        else:
            passed.target_codes[entry.target_status_code // 100] += 1
            passed.response_times.append(entry.target_processing_time)

    def take(self) -> list[Passed]:
        passed, self._passed = self._passed, {}
        return list(passed.values())
