"""The operations of Application Auto Scaling, for ECS services.

Each takes the caller and the request as the API reference shapes it, and returns the response likewise, or raises
AwsError. This module must not know when a service is scaled (`engine` does).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from inference_sandbox.aws import json_protocol
from inference_sandbox.aws.scaling import checks, metrics, views
from inference_sandbox.aws.scaling.engine import Scaling
from inference_sandbox.aws.scaling.records import DIMENSION, Name, Policy, ScheduledAction, Target
from inference_sandbox.ecs.accounts import Caller
from inference_sandbox.ecs.errors import AwsError

Request = dict[str, Any]
Response = dict[str, Any]
PAGE, PAGE_OF_POLICIES = 50, 10
HIGH_PERIODS, LOW_PERIODS, SLACK = 3, 15, 0.9
"""The alarms that target tracking makes look at 3 minutes above the target, and at 15 below nine tenths of it."""


class ScalingApi:
    """`groups` tells the ARNs of the target groups of a service."""

    def __init__(self, scaling: Scaling, groups: Callable[[Name], Sequence[str]]) -> None:
        self._scaling = scaling
        self._groups = groups

    def perform(self, caller: Caller, operation: str, request: Request) -> Response:
        method = METHODS.get(operation)
        if method is None:
            raise AwsError("UnknownOperationException", f"The sandbox does not perform {operation}.")
        missing = json_protocol.missing_member("application-autoscaling", operation, request)
        if missing is not None:
            raise checks.invalid(f"Value null at '{missing}' failed to satisfy constraint: Member must not be null")
        return method(self, caller, {name: value for name, value in request.items() if value is not None})

    # -- scalable targets

    def register_scalable_target(self, caller: Caller, request: Request) -> Response:
        name = _name(caller, request)
        target = self._scaling.targets.get(name)
        tags = request.get("Tags") or {}
        checks.tags(tags)
        if target is None:
            target = self._new_target(name, request)
            target.tags = dict(tags)
        elif tags:
            raise checks.invalid("The scalable target exists already: use TagResource to tag it.")
        else:
            low = request.get("MinCapacity", target.minimum)
            high = request.get("MaxCapacity", target.maximum)
            checks.capacity(low, high)
            target.minimum, target.maximum = low, high
        target.suspended |= {each: bool(value) for each, value in (request.get("SuspendedState") or {}).items()}
        self._scaling.fit(target)
        return {"ScalableTargetARN": target.arn}

    def _new_target(self, name: Name, request: Request) -> Target:
        checks.capacity(request.get("MinCapacity"), request.get("MaxCapacity"))
        if self._scaling.desired(name) is None:
            raise checks.invalid(f"ECS service doesn't exist: {name.resource}")
        role = "aws-service-role/ecs.application-autoscaling.amazonaws.com/"
        target = Target(
            name=name,
            arn=f"arn:aws:application-autoscaling:{name.region}:{name.account}:scalable-target/{self._scaling.ids.hex(36)}",
            minimum=request["MinCapacity"],
            maximum=request["MaxCapacity"],
            role=f"arn:aws:iam::{name.account}:role/{role}AWSServiceRoleForApplicationAutoScaling_ECSService",
            created_at=self._scaling.clock.now(),
            suspended=dict.fromkeys(checks.SUSPENSIONS, False),
        )
        self._scaling.targets[name] = target
        return target

    def deregister_scalable_target(self, caller: Caller, request: Request) -> Response:
        """Its policies, their alarms and its scheduled actions go with it."""
        target = self._target(caller, request)
        for policy in target.policies.values():
            self._delete_alarms(target, policy)
        del self._scaling.targets[target.name]
        return {}

    def describe_scalable_targets(self, caller: Caller, request: Request) -> Response:
        wanted = request.get("ResourceIds") or []
        found = [each for each in self._all(caller, request) if not wanted or each.name.resource in wanted]
        return _page([views.target(each) for each in found], request, "ScalableTargets")

    # -- policies

    def put_scaling_policy(self, caller: Caller, request: Request) -> Response:
        target = self._target(caller, request)
        policy = target.policies.get(request["PolicyName"])
        kind = request.get("PolicyType") or (policy.kind if policy else "StepScaling")
        if kind not in ("TargetTrackingScaling", "StepScaling"):
            raise checks.invalid(
                f"The sandbox has no policies of type {kind}: use TargetTrackingScaling or StepScaling."
            )
        if policy is not None and kind != policy.kind:
            raise checks.invalid(f"The type of policy {policy.name} is {policy.kind} and can't be changed.")
        configuration = request.get(f"{kind}PolicyConfiguration") or (policy.configuration if policy else None)
        if configuration is None:
            raise checks.invalid(f"{kind}PolicyConfiguration is required for a policy of type {kind}.")
        self._check_policy(target, request["PolicyName"], kind, configuration)
        if policy is None:
            policy = self._new_policy(target, request["PolicyName"], kind)
        policy.configuration = dict(configuration)
        if kind == "TargetTrackingScaling":
            self._delete_alarms(target, policy)
            self._make_alarms(target, policy)
        return {"PolicyARN": policy.arn, "Alarms": self._alarms(target, policy)}

    def _check_policy(self, target: Target, name: str, kind: str, configuration: Mapping[str, Any]) -> None:
        if kind == "StepScaling":
            checks.stepping(configuration)
            return
        checks.tracking(configuration, self._groups(target.name))
        metric = metrics.followed(configuration, target.name).metric
        for other in target.policies.values():
            same = other.kind == kind and other.name != name
            if same and metrics.followed(other.configuration, target.name).metric == metric:
                raise checks.invalid(
                    "Only one TargetTrackingScaling policy for a given metric specification is allowed: "
                    f"{other.name} has it."
                )

    def _new_policy(self, target: Target, name: str, kind: Any) -> Policy:
        if len(target.policies) >= checks.MAXIMUM_POLICIES:
            raise AwsError("LimitExceededException", f"A scalable target takes {checks.MAXIMUM_POLICIES} policies.")
        where, guid = target.name, self._scaling.ids.uuid()
        policy = Policy(
            arn=f"arn:aws:autoscaling:{where.region}:{where.account}:scalingPolicy:{guid}:resource/ecs/"
            f"{where.resource}:policyName/{name}",
            name=name,
            kind=kind,
            configuration={},
            created_at=self._scaling.clock.now(),
        )
        target.policies[name] = policy
        return policy

    def _make_alarms(self, target: Target, policy: Policy) -> None:
        goal = float(policy.configuration["TargetValue"])
        self._make_alarm(target, policy, "High", "GreaterThanThreshold", goal, HIGH_PERIODS)
        if not policy.configuration.get("DisableScaleIn"):
            self._make_alarm(target, policy, "Low", "LessThanThreshold", SLACK * goal, LOW_PERIODS)

    def _make_alarm(
        self, target: Target, policy: Policy, side: str, comparison: str, threshold: float, periods: int
    ) -> None:
        followed = metrics.followed(policy.configuration, target.name)
        name = f"TargetTracking-{target.name.resource}-Alarm{side}-{self._scaling.ids.uuid()}"
        self._scaling.cloudwatch.put_alarm(
            target.name.account,
            target.name.region,
            name=name,
            namespace=followed.metric.namespace,
            metric_name=followed.metric.name,
            comparison_operator=comparison,
            evaluation_periods=periods,
            period=60,
            threshold=threshold,
            statistic=followed.statistic,
            description=f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy.arn}.",
            dimensions=[{"Name": each, "Value": value} for each, value in sorted(followed.metric.dimensions)],
            alarm_actions=[policy.arn],
        )
        policy.alarms.append(name)

    def _delete_alarms(self, target: Target, policy: Policy) -> None:
        self._scaling.cloudwatch.delete_alarms(target.name.account, target.name.region, policy.alarms)
        policy.alarms.clear()

    def _alarms(self, target: Target, policy: Policy) -> list[dict[str, str]]:
        found = self._scaling.cloudwatch.alarms_for(target.name.account, target.name.region, policy.arn)
        return [{"AlarmName": each.name, "AlarmARN": each.alarm_arn} for each in found]

    def describe_scaling_policies(self, caller: Caller, request: Request) -> Response:
        names = request.get("PolicyNames") or []
        found = [
            views.policy(each, target, self._alarms(target, each))
            for target in self._all(caller, request)
            for each in target.policies.values()
            if _about(target, request) and (not names or each.name in names)
        ]
        return _page(found, request, "ScalingPolicies", PAGE_OF_POLICIES)

    def delete_scaling_policy(self, caller: Caller, request: Request) -> Response:
        target = self._target(caller, request)
        policy = target.policies.get(request["PolicyName"])
        if policy is None:
            raise _not_found(
                f"No scaling policy found for {checks.where(request)}, policy name: ", "PolicyName", request
            )
        self._delete_alarms(target, policy)
        del target.policies[policy.name]
        return {}

    # -- scheduled actions

    def put_scheduled_action(self, caller: Caller, request: Request) -> Response:
        target = self._target(caller, request)
        known = target.actions.get(request["ScheduledActionName"])
        schedule = request.get("Schedule") or (known.schedule if known else None)
        action = request.get("ScalableTargetAction") or (known.action if known else None)
        if schedule is None or action is None:
            raise checks.invalid("A new scheduled action needs Schedule and ScalableTargetAction.")
        checks.scheduled(action)
        timezone = request.get("Timezone") or (known.timezone if known else "UTC")
        checks.timezone(timezone)
        if known is None and len(target.actions) >= checks.MAXIMUM_ACTIONS:
            raise AwsError(
                "LimitExceededException", f"A scalable target takes {checks.MAXIMUM_ACTIONS} scheduled actions."
            )
        now, name = self._scaling.clock.now(), request["ScheduledActionName"]
        arn = (
            f"arn:aws:autoscaling:{target.name.region}:{target.name.account}:scheduledAction:"
            f"{self._scaling.ids.uuid()}:resource/ecs/{target.name.resource}:scheduledActionName/{name}"
        )
        made = ScheduledAction(
            arn=known.arn if known else arn,
            name=name,
            schedule=schedule,
            timezone=timezone,
            start=_time(request.get("StartTime")),  # "If you don't specify start and end times, the old values are
            end=_time(request.get("EndTime")),  # deleted."
            action=dict(action),
            created_at=known.created_at if known else now,
        )
        try:
            self._scaling.plan(made)
        except (ValueError, LookupError) as error:
            raise checks.invalid(f"Invalid schedule expression {schedule!r}: {error}") from error
        target.actions[name] = made
        return {}

    def describe_scheduled_actions(self, caller: Caller, request: Request) -> Response:
        names = request.get("ScheduledActionNames") or []
        found = [
            views.scheduled_action(each, target)
            for target in self._all(caller, request)
            for each in target.actions.values()
            if _about(target, request) and (not names or each.name in names)
        ]
        return _page(found, request, "ScheduledActions")

    def delete_scheduled_action(self, caller: Caller, request: Request) -> Response:
        target = self._target(caller, request)
        if target.actions.pop(request["ScheduledActionName"], None) is None:
            member = "ScheduledActionName"
            raise _not_found(f"No scheduled action found for {checks.where(request)}, name: ", member, request)
        return {}

    # -- activities

    def describe_scaling_activities(self, caller: Caller, request: Request) -> Response:
        """The newest first; those that scaled nothing only if they are asked for."""
        all_of_them = bool(request.get("IncludeNotScaledActivities"))
        found = [
            (each, target)
            for target in self._all(caller, request)
            for each in target.activities
            if _about(target, request) and (all_of_them or each.status != "NotScaled")
        ]
        found.sort(key=lambda pair: pair[0].at, reverse=True)
        return _page([views.activity(*each) for each in found], request, "ScalingActivities")

    # -- tags

    def tag_resource(self, caller: Caller, request: Request) -> Response:
        target = self._by_arn(caller, request["ResourceARN"])
        tags = target.tags | request["Tags"]
        checks.tags(tags)
        target.tags = tags
        return {}

    def untag_resource(self, caller: Caller, request: Request) -> Response:
        target = self._by_arn(caller, request["ResourceARN"])
        for key in request["TagKeys"]:
            target.tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, caller: Caller, request: Request) -> Response:
        return {"Tags": dict(self._by_arn(caller, request["ResourceARN"]).tags)}

    # -- looking up

    def tags_or_none(self, caller: Caller, arn: str) -> Mapping[str, str]:
        """The tags of a scalable target; none if there is no such target."""
        return next((each.tags for each in self._here(caller) if each.arn == arn), {})

    def resources(self, caller: Caller, request: Mapping[str, Any]) -> list[str]:
        """The ARNs of the scalable targets that a request is about; a new one has none yet."""
        if request.get("ResourceARN"):
            return [request["ResourceARN"]]
        named = [each.arn for each in self._here(caller) if each.name.resource == request.get("ResourceId")]
        return named or [f"arn:aws:application-autoscaling:{caller.region}:{caller.account}:scalable-target/*"]

    def _here(self, caller: Caller) -> list[Target]:
        return [t for t in self._scaling.targets.values() if t.name[:2] == (caller.account, caller.region)]

    def _all(self, caller: Caller, request: Request) -> Iterable[Target]:
        if request.get("ServiceNamespace") != "ecs" or request.get("ScalableDimension") not in (None, DIMENSION):
            return []
        return self._here(caller)

    def _target(self, caller: Caller, request: Request) -> Target:
        found = self._scaling.targets.get(_name(caller, request))
        if found is None:
            raise checks.missing_target(request)
        return found

    def _by_arn(self, caller: Caller, arn: str) -> Target:
        found = next((each for each in self._here(caller) if each.arn == arn), None)
        if found is None:
            message = f"No scalable target found for the resource ARN: {arn}"
            raise AwsError("ResourceNotFoundException", message, members={"ResourceName": arn})
        return found


METHODS: dict[str, Callable[[ScalingApi, Caller, Request], Response]] = {
    "RegisterScalableTarget": ScalingApi.register_scalable_target,
    "DeregisterScalableTarget": ScalingApi.deregister_scalable_target,
    "DescribeScalableTargets": ScalingApi.describe_scalable_targets,
    "PutScalingPolicy": ScalingApi.put_scaling_policy,
    "DescribeScalingPolicies": ScalingApi.describe_scaling_policies,
    "DeleteScalingPolicy": ScalingApi.delete_scaling_policy,
    "PutScheduledAction": ScalingApi.put_scheduled_action,
    "DescribeScheduledActions": ScalingApi.describe_scheduled_actions,
    "DeleteScheduledAction": ScalingApi.delete_scheduled_action,
    "DescribeScalingActivities": ScalingApi.describe_scaling_activities,
    "TagResource": ScalingApi.tag_resource,
    "UntagResource": ScalingApi.untag_resource,
    "ListTagsForResource": ScalingApi.list_tags_for_resource,
}


def _name(caller: Caller, request: Request) -> Name:
    found = checks.resource(request)
    return Name(caller.account, caller.region, found["cluster"], found["service"])


def _about(target: Target, request: Request) -> bool:
    return request.get("ResourceId") in (None, target.name.resource)


def _not_found(message: str, member: str, request: Request) -> AwsError:
    return AwsError("ObjectNotFoundException", f"{message}{request[member]}")


def _time(value: Any) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


def _page(items: list[Any], request: Request, member: str, maximum: int = PAGE) -> Response:
    size = int(request.get("MaxResults") or maximum)
    if not 1 <= size <= maximum:
        raise checks.invalid(f"MaxResults {size} must be between 1 and {maximum}.")
    token = request.get("NextToken") or "0"
    if not str(token).isdigit():
        raise AwsError("InvalidNextTokenException", "The next token supplied was invalid.")
    start = int(token)
    more = {"NextToken": str(start + size)} if start + size < len(items) else {}
    return {member: items[start : start + size]} | more
