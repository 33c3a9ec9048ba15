"""Which CloudWatch metric a target tracking policy follows (Application Auto Scaling user guide, "Predefined metrics
for target tracking scaling policies").

This module must not know what is done with a metric.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inference_sandbox.aws.cloudwatch import Metric
from inference_sandbox.aws.scaling.records import Name

REQUESTS = "ALBRequestCountPerTarget"
OF_ECS = {
    "ECSServiceAverageCPUUtilization": "CPUUtilization",
    "ECSServiceAverageMemoryUtilization": "MemoryUtilization",
}
"""Predefined types, and the metrics of AWS/ECS that they are."""
LABEL = re.compile(r"(?P<balancer>app/[^/]+/[0-9a-f]+)/(?P<group>targetgroup/[^/]+/[0-9a-f]+)")
"""ResourceLabel: the final portions of the ARNs of a load balancer and of a target group."""


@dataclass(frozen=True)
class Followed:
    metric: Metric
    statistic: str
    given_as: str
    """The name under which it is given to the sandbox."""


def of_service(kind: str, name: Name) -> Metric:
    dimensions = {("ClusterName", name.cluster), ("ServiceName", name.service)}
    return Metric("AWS/ECS", OF_ECS[kind], frozenset(dimensions))


def followed(configuration: Mapping[str, Any], name: Name) -> Followed:
    predefined = configuration.get("PredefinedMetricSpecification")
    if not predefined:
        custom = configuration["CustomizedMetricSpecification"]
        dimensions = frozenset((each["Name"], each["Value"]) for each in custom.get("Dimensions") or [])
        metric = Metric(custom["Namespace"], custom["MetricName"], dimensions)
        return Followed(metric, custom["Statistic"], custom["MetricName"])
    kind = predefined["PredefinedMetricType"]
    if kind in OF_ECS:
        return Followed(of_service(kind, name), "Average", kind)
    label = LABEL.fullmatch(predefined["ResourceLabel"])
    assert label is not None  # noqa: S101 - checked when the policy was put
    dimensions = frozenset({("LoadBalancer", label["balancer"]), ("TargetGroup", label["group"])})
    return Followed(Metric("AWS/ApplicationELB", "RequestCountPerTarget", dimensions), "Sum", kind)
