"""What the load balancer has counted, on its way to CloudWatch: the metrics of AWS/ApplicationELB, once a minute.

Names, dimensions, and which are reported when, are those of the ELB user guide, "CloudWatch metrics for your
Application Load Balancer". By availability zone there are none. Nothing here knows how requests are routed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import quantiles

from inference_sandbox.aws.cloudwatch import Metric
from inference_sandbox.ports import Passed, TargetState

MINUTE = timedelta(minutes=1)
_TIMES_KEPT = 100
"""Of a minute's response times so many are kept, evenly over their distribution: CloudWatch's state is in memory."""
_SUCCESS = 2

Put = Callable[[str, str, Metric, float, datetime], None]
"""Account, region, metric, value, time."""
Targets = Mapping[tuple[str, str], Sequence[TargetState]]
"""By load balancer and target group, as their dimensions name them, of those that route to each other."""


class LoadBalancerMetrics:
    """`take` gives what has passed since it was last asked."""

    def __init__(self, take: Callable[[], Sequence[Passed]]) -> None:
        self._take = take
        self._minute: datetime | None = None

    def publish(self, now: datetime, place: tuple[str, str], targets: Callable[[], Targets], put: Put) -> None:
        """Once a full minute has passed: what came in it. `place`: account and region."""
        minute = now.replace(second=0, microsecond=0)
        if minute == self._minute:
            return
        first, self._minute = self._minute is None, minute
        if first:
            return
        for metric, value in measured(self._take(), targets()):
            put(*place, metric, value, minute - MINUTE)


def measured(passed: Sequence[Passed], targets: Targets) -> Iterator[tuple[Metric, float]]:
    requests: dict[tuple[str, str], int] = defaultdict(int)
    for each in passed:
        balancer = balancer_of(each.listener_arn)
        scopes = [_dimensions(balancer)]
        if each.target_group_arn:
            group = group_of(each.target_group_arn)
            requests[balancer, group] += each.requests
            scopes.append(_dimensions(balancer, group))
        for scope in scopes:
            yield from _of_traffic(each, scope)
    for (balancer, group), states in targets.items():
        yield from _of_targets(states, requests[balancer, group], balancer, group)


def _of_traffic(passed: Passed, scope: frozenset[tuple[str, str]]) -> Iterator[tuple[Metric, float]]:
    counts = {
        "RequestCount": passed.requests,
        "TargetConnectionErrorCount": passed.connection_errors,
        **{f"HTTPCode_Target_{family}XX_Count": count for family, count in passed.target_codes.items()},
        **{
            f"HTTPCode_ELB_{family}XX_Count": count
            for family, count in passed.balancer_codes.items()
            if family != _SUCCESS
        },
    }
    for name, count in counts.items():
        if count:
            yield _metric(name, scope), count
    for seconds in _sample(passed.response_times):
        yield _metric("TargetResponseTime", scope), seconds


def _of_targets(
    states: Sequence[TargetState], requests: int, balancer: str, group: str
) -> Iterator[tuple[Metric, float]]:
    both = _dimensions(balancer, group)
    healthy = sum(state.state == "healthy" for state in states)
    if states:
        yield _metric("HealthyHostCount", both), healthy
        yield _metric("UnHealthyHostCount", both), sum(state.state == "unhealthy" for state in states)
    if healthy:
        for scope in (both, frozenset({("TargetGroup", group)})):
            yield _metric("RequestCountPerTarget", scope), requests / healthy


def _sample(times: Sequence[float]) -> Sequence[float]:
    return times if len(times) <= _TIMES_KEPT else quantiles(times, n=_TIMES_KEPT + 1)


def _metric(name: str, dimensions: frozenset[tuple[str, str]]) -> Metric:
    return Metric("AWS/ApplicationELB", name, dimensions)


def _dimensions(balancer: str, group: str | None = None) -> frozenset[tuple[str, str]]:
    own = {("LoadBalancer", balancer)}
    return frozenset(own | {("TargetGroup", group)} if group else own)


def balancer_of(arn: str) -> str:
    """`app/name/id` of a load balancer's or a listener's ARN."""
    return "/".join(arn.rsplit(":listener/", maxsplit=1)[-1].rsplit(":loadbalancer/", maxsplit=1)[-1].split("/")[:3])


def group_of(arn: str) -> str:
    return arn.rsplit(":", 1)[-1]
