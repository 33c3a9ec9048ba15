"""CloudWatch alarms that follow their metrics, on the sandbox's clock.

moto keeps metrics and alarms; here alarms are evaluated once a minute, and what they are to do is done: SNS topics are
told, scaling policies are invoked, EventBridge is told of the change. Alarms on metric math and composite alarms keep
the state that they are given. This module must not know what a scaling policy does.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.cloudwatch.responses import CloudWatchResponse
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.core.responses import EmptyResult
from moto.sns.models import sns_backends

from inference_sandbox.aws.alarm_states import COMPARISONS, Rule, State, state
from inference_sandbox.ecs.surroundings import Event
from inference_sandbox.ports import Clock

MINUTE = timedelta(minutes=1)
NEW_ALARM = ("INSUFFICIENT_DATA", "Unchecked: Initial alarm creation")
"""Where an alarm begins (PutMetricAlarm); moto begins with OK."""


@dataclass(frozen=True)
class Metric:
    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


@dataclass(frozen=True, kw_only=True)
class Fired:
    """An alarm that is in ALARM and names a scaling policy among its actions."""

    account: str
    region: str
    alarm: str
    policy: str
    """ARN."""
    value: float
    """The newest datapoint."""
    threshold: float
    above: bool
    """Whether the alarm is about values above its threshold."""


@dataclass
class _Series:
    """The datapoints of one account and region by metric, sorted by time. moto has one list of all; it is read once."""

    read: int = 0
    points: dict[Metric, list[Any]] = field(default_factory=lambda: defaultdict(list))

    def catch_up(self, data: Sequence[Any]) -> None:
        for datum in data[self.read :]:
            dimensions = frozenset((each.name, each.value) for each in datum.dimensions)
            insort(self.points[Metric(datum.namespace, datum.name, dimensions)], datum, key=_time)
        self.read = len(data)

    def between(self, metric: Metric, start: datetime, end: datetime) -> list[Any]:
        """From `start` on, before `end`."""
        points = self.points.get(metric, [])
        return points[bisect_left(points, start, key=_time) : bisect_left(points, end, key=_time)]


@dataclass(kw_only=True)
class CloudWatch:
    """`before` is called each minute before alarms are evaluated, `scale` with those that are to scale something,
    `publish` with events for EventBridge."""

    clock: Clock
    publish: Callable[[Event], None]
    before: Callable[[], None] = lambda: None
    scale: Callable[[Sequence[Fired]], None] = lambda _fired: None
    _series: dict[tuple[str, str], _Series] = field(default_factory=lambda: defaultdict(_Series))
    _next: datetime | None = None

    # -- metrics and alarms from within

    def put(self, account: str, region: str, metric: Metric, value: float, at: datetime) -> None:
        dimensions = [{"Name": name, "Value": each} for name, each in sorted(metric.dimensions)]
        datum = {"MetricName": metric.name, "Value": value, "Timestamp": _naive(at), "Dimensions": dimensions}
        cloudwatch_backends[account][region].put_metric_data(metric.namespace, [datum])

    def put_alarm(self, account: str, region: str, **members: Any) -> str:
        """Its ARN. `members` as moto names them."""
        alarm = cloudwatch_backends[account][region].put_metric_alarm(**members)
        _begin(alarm, self.clock.now())
        return str(alarm.alarm_arn)

    def delete_alarms(self, account: str, region: str, names: Sequence[str]) -> None:
        cloudwatch_backends[account][region].delete_alarms(list(names))

    def alarms_for(self, account: str, region: str, action: str) -> list[Any]:
        """The alarms that name `action`."""
        return [alarm for alarm in cloudwatch_backends[account][region].alarms.values() if action in _actions(alarm)]

    def was_set(self, account: str, region: str, alarm: Any, before: str) -> None:
        """Somebody set the alarm's state, which was `before`; the next evaluation sets it right (SetAlarmState)."""
        alarm.state_updated_timestamp = _naive(self.clock.now())
        if before != alarm.state_value:
            self._tell(account, region, alarm, before)

    # -- time

    def next_due(self) -> datetime | None:
        """At each full minute, while there are alarms."""
        if not any(True for _ in self._alarms()):
            self._next = None
        elif self._next is None:
            now = self.clock.now()
            self._next = now.replace(second=0, microsecond=0) + MINUTE
        return self._next

    def tick(self) -> None:
        due = self.next_due()
        if due is None or self.clock.now() < due:
            return
        self._next = None
        self.before()
        fired = [each for account, region, alarm in self._alarms() for each in self._evaluate(account, region, alarm)]
        self.scale(fired)

    def _alarms(self) -> Iterator[tuple[str, str, Any]]:
        for account, regions in list(cloudwatch_backends.items()):
            for region, backend in list(regions.items()):
                for alarm in list(backend.alarms.values()):
                    yield account, region, alarm

    # -- one alarm

    def _evaluate(self, account: str, region: str, alarm: Any) -> Iterator[Fired]:
        rule = _rule(alarm)
        if rule is None:
            return
        values = self._values(account, region, alarm, rule.looks_at)
        found = state(rule, values, alarm.state_value)
        if found != alarm.state_value:
            self._change(account, region, alarm, rule, found, values)
        known = [value for value in values if value is not None]
        if found == "ALARM" and alarm.actions_enabled and known:
            for action in alarm.alarm_actions:
                if ":autoscaling:" in action:
                    # A scaling action is invoked for as long as the alarm stays in ALARM, other actions once.
                    yield Fired(
                        account=account,
                        region=region,
                        alarm=alarm.name,
                        policy=action,
                        value=known[0],
                        threshold=rule.threshold,
                        above=rule.comparison.startswith("Greater"),
                    )

    def _values(self, account: str, region: str, alarm: Any, count: int) -> list[float | None]:
        """The statistic of each of the latest periods, the newest first."""
        series = self._series[account, region]
        series.catch_up(cloudwatch_backends[account][region].metric_data)
        dimensions = frozenset((each.name, each.value) for each in alarm.dimensions)
        metric = Metric(alarm.namespace, alarm.metric_name, dimensions)
        period, end = timedelta(seconds=int(alarm.period)), self.clock.now().replace(second=0, microsecond=0)
        statistic = str(alarm.statistic or alarm.extended_statistic)
        return [
            _statistic(series.between(metric, end - (age + 1) * period, end - age * period), statistic)
            for age in range(count)
        ]

    def _change(
        self, account: str, region: str, alarm: Any, rule: Rule, found: State, values: Sequence[float | None]
    ) -> None:
        before, now = alarm.state_value, self.clock.now()
        reason = _reason(rule, found, values)
        data = json.dumps({"version": "1.0", "recentDatapoints": [v for v in values if v is not None][::-1]})
        alarm.update_state(reason, data, found)
        alarm.state_updated_timestamp = _naive(now)
        self._tell(account, region, alarm, before)

    def _tell(self, account: str, region: str, alarm: Any, before: str) -> None:
        now = self.clock.now()
        by_state = {
            "ALARM": alarm.alarm_actions,
            "OK": alarm.ok_actions,
            "INSUFFICIENT_DATA": alarm.insufficient_data_actions,
        }
        message = {
            "AlarmName": alarm.name,
            "AlarmDescription": alarm.description,
            "AWSAccountId": account,
            "Region": region,
            "AlarmArn": alarm.alarm_arn,
            "NewStateValue": alarm.state_value,
            "OldStateValue": before,
            "NewStateReason": alarm.state_reason,
            "StateChangeTime": now.isoformat(),
            "Trigger": {"MetricName": alarm.metric_name, "Namespace": alarm.namespace, "Threshold": alarm.threshold},
        }
        for action in by_state[alarm.state_value] if alarm.actions_enabled else []:
            if ":sns:" in action:
                subject = f'{alarm.state_value}: "{alarm.name}" in {region}'
                with contextlib.suppress(ServiceException, JsonRESTError):  # the topic may be gone
                    sns_backends[account][region].publish(message=json.dumps(message), arn=action, subject=subject)
        self.publish(
            Event(
                source="aws.cloudwatch",
                account=account,
                region=region,
                detail_type="CloudWatch Alarm State Change",
                resources=[alarm.alarm_arn],
                detail={
                    "alarmName": alarm.name,
                    "state": {"value": alarm.state_value, "reason": alarm.state_reason, "timestamp": now},
                    "previousState": {"value": before},
                },
                at=now,
            )
        )


def responses(cloudwatch: CloudWatch) -> type[CloudWatchResponse]:
    """moto's, with times of the sandbox's clock and an alarm's beginning as AWS has it."""
    clock = cloudwatch.clock

    class Response(CloudWatchResponse):
        def put_metric_alarm(self) -> Any:
            name = self._get_param("AlarmName")
            before = self.cloudwatch_backend.alarms.get(name)
            answer = super().put_metric_alarm()
            alarm: Any = self.cloudwatch_backend.alarms[name]
            if before is None:
                _begin(alarm, clock.now())
            else:  # "the operation completely overwrites the previous configuration … its state is left unchanged"
                alarm.state_value, alarm.state_reason = before.state_value, before.state_reason
                alarm.state_updated_timestamp = before.state_updated_timestamp
            return answer

        def put_metric_data(self) -> Any:
            now = _naive(clock.now())
            data = [{"Timestamp": now} | datum for datum in self._get_param("MetricData", [])]
            self.cloudwatch_backend.put_metric_data(self._get_param("Namespace"), data)
            return EmptyResult()

        def set_alarm_state(self) -> Any:
            alarm: Any = self.cloudwatch_backend.alarms.get(self._get_param("AlarmName"))
            before = str(alarm.state_value) if alarm else ""
            answer = super().set_alarm_state()
            cloudwatch.was_set(self.current_account, self.region, alarm, before)
            return answer

    return Response


def _begin(alarm: Any, now: datetime) -> None:
    alarm.state_value, alarm.state_reason = NEW_ALARM
    alarm.state_updated_timestamp = alarm.configuration_updated_timestamp = _naive(now)


def _naive(when: datetime) -> datetime:
    """As moto keeps times: in UTC, without saying so."""
    return when.astimezone(UTC).replace(tzinfo=None)


def _time(datum: Any) -> datetime:
    when: datetime = datum.timestamp
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _actions(alarm: Any) -> list[str]:
    return [*alarm.alarm_actions, *alarm.ok_actions, *alarm.insufficient_data_actions]


def _rule(alarm: Any) -> Rule | None:
    """None for an alarm that is not evaluated here."""
    if not alarm.metric_name or alarm.comparison_operator not in COMPARISONS or alarm.threshold is None:
        return None
    periods = int(alarm.evaluation_periods or 1)
    return Rule(
        comparison=alarm.comparison_operator,
        threshold=float(alarm.threshold),
        evaluation_periods=periods,
        datapoints_to_alarm=int(alarm.datapoints_to_alarm or periods),
        missing=alarm.treat_missing_data or "missing",
    )


def _statistic(data: Sequence[Any], name: str) -> float | None:
    """Of the data of one period; None if there are none. A percentile needs single values."""
    single = [float(datum.value) for datum in data if hasattr(datum, "value")]
    sets = [datum for datum in data if not hasattr(datum, "value")]
    if not data:
        return None
    total = sum(single) + sum(each.sum for each in sets)
    count = len(single) + sum(each.sample_count for each in sets)
    found: dict[str, float | None] = {
        "Sum": total,
        "SampleCount": float(count),
        "Average": total / count if count else None,
        "Minimum": min([*single, *(each.min for each in sets)]),
        "Maximum": max([*single, *(each.max for each in sets)]),
    }
    if name in found:
        return found[name]
    return _percentile(sorted(single), float(name.removeprefix("p"))) if single else None


def _percentile(values: Sequence[float], percent: float) -> float:
    return values[min(len(values) - 1, max(0, math.ceil(percent / 100 * len(values)) - 1))]


def _reason(rule: Rule, found: State, values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None][: rule.evaluation_periods]
    if found == "INSUFFICIENT_DATA" or not known:
        return f"Insufficient Data: {rule.evaluation_periods} datapoints were unknown."
    breaching = [value for value in known if rule.breached_by(value)]
    shown = breaching if found == "ALARM" else [value for value in known if value not in breaching]
    was = "was" if found == "ALARM" else "was not"
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", rule.comparison).lower().replace(" to threshold", "")
    return (
        f"Threshold Crossed: {len(shown)} out of the last {len(known)} datapoints {shown} {was} "
        f"{words.replace(' threshold', '')} the threshold ({rule.threshold})."
    )
