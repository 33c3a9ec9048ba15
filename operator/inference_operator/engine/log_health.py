"""Whether logs reach where they should, and how many: the log routers' own words, asked for now and then.

A router tells its counters in its own log group, so one call is enough, every half hour while all is well. Losing what
was seen costs one more.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from inference_operator.api.v1alpha1 import DestinationFlow, LogsState
from inference_operator.aws.errors import AwsError
from inference_operator.domain.conditions import Said, Type
from inference_operator.domain.reasons import Reason
from inference_operator.fluentbit import prices, reports
from inference_operator.fluentbit.reports import PERIOD, Flow, Report
from inference_operator.resources.base import Context

AT_REST: Final = timedelta(minutes=30)
CLOSELY: Final = 6
SHARE: Final = 0.95  # of an interval, as passes come a little early
WINDOW: Final = AT_REST + PERIOD
MOST_LINES: Final = 1000
MOST_PAGES: Final = 3
SHOWN: Final = 300


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the routers told, last time they were asked."""

    at: datetime
    report: Report
    trouble: str | None = None
    """Why they could not be asked."""
    tries: int = 0
    """Looks in a row before this one that were not fine."""

    @property
    def fine(self) -> bool:
        found = self.report
        troubles = (self.trouble, found.delayed, found.dropped, found.objects_lost, found.too_long)
        return bool(found.routers) and not any(troubles)


def look(ctx: Context, before: Look | None, *, running: int) -> Look | None:
    """What was seen, or a new look if it is time for one. None where there are no routers to ask."""
    if not ctx.spec.logging.routed:
        return None
    if running == 0 or (before is not None and ctx.retry is None and ctx.now - before.at < _due(before) * SHARE):
        return before
    tries = 0 if before is None or before.fine else before.tries + 1
    try:
        return Look(at=ctx.now, report=reports.report(_lines(ctx)), tries=tries)
    except AwsError as error:
        return Look(at=ctx.now, report=Report(), trouble=f"{error}. Next: {error.next_step()}", tries=tries)


def _due(before: Look) -> timedelta:
    """Trouble is followed closely, for a while."""
    return AT_REST if before.fine or before.tries >= CLOSELY else PERIOD


def _lines(ctx: Context) -> Generator[reports.Said, None, None]:
    """What tells something. More errors than are read must not hide the counters."""
    if (yield from _search(ctx, reports.PATTERN)):
        yield from _search(ctx, reports.COUNTERS)


def _search(ctx: Context, pattern: str) -> Generator[reports.Said, None, bool]:
    """Through the routers' log group, oldest first; whether there is more than was read."""
    members: dict[str, Any] = {
        "logGroupName": ctx.identity.router_log_group,
        "filterPattern": pattern,
        "startTime": int((ctx.now - WINDOW).timestamp() * 1000),
        "limit": MOST_LINES,
    }
    for _ in range(MOST_PAGES):
        page = ctx.aws.logs.filter_log_events(**members)
        for event in page["events"]:
            at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
            yield reports.Said(stream=event["logStreamName"], at=at, text=event["message"])
        if not page.get("nextToken"):
            return False
        members["nextToken"] = page["nextToken"]
    return True


def said(seen: Look | None) -> Said:
    """The condition, for a service with routers."""
    if seen is None or (seen.trouble is None and not seen.report.routers and seen.report.error is None):
        told = "no log router has told its counters yet; each does so every 5 minutes"
        return _said("Unknown", Reason.LOGS_NOT_REPORTED, told)
    if seen.trouble is not None:
        return _said("Unknown", Reason.LOGS_NOT_REPORTED, f"the log routers can't be asked: {seen.trouble}")
    found = seen.report
    cause = f"; a router says: {found.error[:SHOWN].rstrip('.')}" if found.error else ""
    lost = [f"{count} for {name}" for name, count in found.dropped.items()]
    lost += [f"those of {count} objects for {name}" for name, count in found.objects_lost.items()]
    lost += [f"{count} too long for {name}" for name, count in found.too_long.items()]
    if lost:
        return _said("False", Reason.LOGS_LOST, f"lines were dropped ({', '.join(lost)}){cause}. Next: {_NEXT}")
    if found.delayed:
        where = ", ".join(found.delayed)
        return _said("False", Reason.LOGS_DELAYED, f"{where} is not reached at once{cause}. Next: {_NEXT}")
    return _said("True", Reason.LOGS_FLOWING, "every line reached its destinations")


_NEXT: Final = (
    "check that the destination exists, that the tasks' subnets and security groups reach it, and that the task role "
    "may write there (`inference-operator logs explain` lists the actions)"
)


def _said(status: Any, reason: Reason, message: str) -> Said:
    return Said(Type.LOGS_FLOWING, status, reason, message)


def state(ctx: Context, seen: Look | None) -> LogsState | None:
    """For the status: what goes where in a day, and about what it costs."""
    if seen is None or not seen.report.routers:
        return ctx.previous.logs if ctx.spec.logging.routed else None
    flows = seen.report.flows.items()
    return LogsState(routers=seen.report.routers, destinations=tuple(_flow(ctx, seen, *named) for named in flows))


def _flow(ctx: Context, seen: Look, name: str, flow: Flow) -> DestinationFlow:
    cost = _cost(ctx, seen, name, flow)
    return DestinationFlow(
        name=name,
        bytes_per_day=_rounded(flow.bytes_per_day),
        records_per_day=_rounded(flow.records_per_day),
        dropped=flow.dropped,
        usd_per_day=f"{cost:.2g}" if cost is not None else None,
    )


def _cost(ctx: Context, seen: Look, name: str, flow: Flow) -> float | None:
    destination = ctx.environment.logging.destinations.get(name)
    if name == reports.DEBUG_NAME:
        destination = prices.A_LOG_GROUP
    if destination is None:
        return None
    leading = sum(name in route.to for route in ctx.spec.logging.routes)
    region, routers = ctx.environment.region, seen.report.routers
    return prices.per_day(destination, flow, region=region, routers=routers, routes=leading)


def _rounded(count: float) -> int:
    """To two digits: an estimate, and no new status for each new line."""
    return int(float(f"{count:.2g}"))
