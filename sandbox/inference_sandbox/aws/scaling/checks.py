"""What Application Auto Scaling accepts (API reference: RegisterScalableTarget, PutScalingPolicy, PutScheduledAction,
and the types that they take).

Functions of a request; AwsError says what is wrong. This module must not keep anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from inference_sandbox.aws.scaling.metrics import LABEL, OF_ECS, REQUESTS
from inference_sandbox.aws.scaling.records import DIMENSION, NAMESPACE
from inference_sandbox.ecs.errors import AwsError

Request = Mapping[str, Any]
RESOURCE = re.compile(r"service/(?P<cluster>[A-Za-z0-9_-]{1,255})/(?P<service>[A-Za-z0-9_-]{1,255})")
SUSPENSIONS = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
ADJUSTMENTS = ("ChangeInCapacity", "PercentChangeInCapacity", "ExactCapacity")
STATISTICS = ("Average", "Minimum", "Maximum", "SampleCount", "Sum")
MAXIMUM_TAGS, MAXIMUM_STEPS, MAXIMUM_POLICIES, MAXIMUM_ACTIONS = 50, 20, 50, 200
"""User guide, "Quotas for Application Auto Scaling": for each scalable target, and steps for each policy."""


def invalid(message: str) -> AwsError:
    return AwsError("ValidationException", message)


def missing_target(request: Request) -> AwsError:
    return AwsError("ObjectNotFoundException", f"No scalable target found for {where(request)}")


def where(request: Request) -> str:
    return (
        f"service namespace: {request.get('ServiceNamespace')}, resource ID: {request.get('ResourceId')}, "
        f"scalable dimension: {request.get('ScalableDimension')}"
    )


def resource(request: Request) -> re.Match[str]:
    """The cluster and the service that a request is about."""
    found = RESOURCE.fullmatch(str(request.get("ResourceId")))
    if request.get("ServiceNamespace") != NAMESPACE or request.get("ScalableDimension") != DIMENSION or found is None:
        raise invalid("Unsupported service namespace, resource type or scalable dimension")
    return found


# -- scalable targets


def capacity(minimum: int | None, maximum: int | None) -> None:
    if minimum is None or maximum is None:
        raise invalid("MinCapacity and MaxCapacity are required to register a new scalable target.")
    for name, value in (("minCapacity", minimum), ("maxCapacity", maximum)):
        if value < 0:
            raise invalid(f"Value '{value}' at '{name}' failed to satisfy constraint: Member must be at least 0")
    if minimum > maximum:
        raise invalid(f"Maximum capacity cannot be less than minimum capacity: {maximum} is less than {minimum}.")


def tags(given: Mapping[str, str]) -> None:
    if len(given) > MAXIMUM_TAGS:
        raise AwsError("TooManyTagsException", f"A scalable target can have at most {MAXIMUM_TAGS} tags.")
    for key in given:
        if key.lower().startswith("aws:"):
            raise invalid(f"Tag key {key!r} is reserved: it can't begin with aws:.")


# -- policies


def tracking(configuration: Request, groups: Sequence[str]) -> None:
    """`groups`: ARNs of the target groups that the service has."""
    target = configuration.get("TargetValue")
    if not isinstance(target, int | float) or not 0 < target <= math.ldexp(1, 360):
        raise invalid(f"TargetValue {target} must be greater than 0.")
    predefined = configuration.get("PredefinedMetricSpecification")
    customized = configuration.get("CustomizedMetricSpecification")
    if bool(predefined) == bool(customized):
        raise invalid("Specify either a PredefinedMetricSpecification or a CustomizedMetricSpecification.")
    for name in ("ScaleOutCooldown", "ScaleInCooldown"):
        if (configuration.get(name) or 0) < 0:
            raise invalid(f"{name} {configuration[name]} can't be negative.")
    if predefined:
        _predefined(predefined, groups)
    elif customized:
        _customized(customized)


def _predefined(specification: Request, groups: Sequence[str]) -> None:
    kind, label = specification.get("PredefinedMetricType"), specification.get("ResourceLabel")
    if kind not in (*OF_ECS, REQUESTS):
        raise invalid(f"Invalid predefined metric type {kind}: use {', '.join(OF_ECS)} or {REQUESTS}.")
    if kind != REQUESTS:
        if label:
            raise invalid(f"You can't specify a resource label unless the metric type is {REQUESTS}.")
        return
    found = LABEL.fullmatch(str(label))
    if found is None:
        raise invalid(
            f"Invalid resource label {label!r}: it is the end of the load balancer's ARN and of the target group's, "
            "such as app/my-alb/778d41231b141a0f/targetgroup/my-alb-target-group/943f017f100becff."
        )
    if not any(arn.endswith(f":{found['group']}") for arn in groups):
        raise invalid(f"Target group {found['group']} is not attached to the ECS service.")


def _customized(specification: Request) -> None:
    if specification.get("Metrics"):
        raise AwsError("FailedResourceAccessException", "The sandbox evaluates no metric math: name one metric.")
    for name in ("MetricName", "Namespace", "Statistic"):
        if not specification.get(name):
            raise invalid(f"CustomizedMetricSpecification needs {name}.")
    if specification["Statistic"] not in STATISTICS:
        raise invalid(f"Invalid Statistic {specification['Statistic']}: use one of {', '.join(STATISTICS)}.")


def stepping(configuration: Request) -> None:
    kind, steps = configuration.get("AdjustmentType"), configuration.get("StepAdjustments") or []
    if kind not in ADJUSTMENTS:
        raise invalid(f"Invalid AdjustmentType {kind}: use one of {', '.join(ADJUSTMENTS)}.")
    if not steps:
        raise invalid("At least one step adjustment is required.")
    if len(steps) > MAXIMUM_STEPS:
        raise AwsError("LimitExceededException", f"A step scaling policy takes {MAXIMUM_STEPS} step adjustments.")
    bounds = sorted(_bounds(step) for step in steps)
    for (_, high), (low, _) in pairwise(bounds):
        if high != low:
            raise invalid(f"Step adjustment intervals can't overlap or have a gap: {high} and {low}.")
    if -math.inf < bounds[0][0] < 0:
        raise invalid("There must be a step adjustment with an unspecified lower bound when one is negative.")
    if 0 < bounds[-1][1] < math.inf:
        raise invalid("There must be a step adjustment with an unspecified upper bound when one is positive.")
    if kind == "ExactCapacity" and any(step["ScalingAdjustment"] < 0 for step in steps):
        raise invalid("For exact capacity, you must specify a non-negative scaling adjustment.")


def _bounds(step: Request) -> tuple[float, float]:
    low, high = step.get("MetricIntervalLowerBound"), step.get("MetricIntervalUpperBound")
    if low is None and high is None:
        raise invalid("The upper and lower bound of a step adjustment can't both be unspecified.")
    interval = (-math.inf if low is None else float(low), math.inf if high is None else float(high))
    if interval[0] >= interval[1]:
        raise invalid(f"The upper bound {high} of a step adjustment must be greater than its lower bound {low}.")
    return interval


# -- scheduled actions


def timezone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise invalid(f"Invalid timezone {name!r}: use a name such as Asia/Tokyo or Etc/UTC.") from error


def scheduled(action: Request) -> None:
    low, high = action.get("MinCapacity"), action.get("MaxCapacity")
    if low is None and high is None:
        raise invalid("ScalableTargetAction needs MinCapacity, MaxCapacity, or both.")
    capacity(0 if low is None else low, max(low or 0, 0) if high is None else high)
