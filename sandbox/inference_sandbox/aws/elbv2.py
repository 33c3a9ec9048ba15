"""ELBv2: moto's, with what it gets wrong for our calls put right, and joined to the load balancer that really routes.

- CreateTargetGroup with the settings of an existing group returns that group (API reference: it is idempotent).
- DescribeTargetGroups answers in pages.
- `Transforms` of rules are kept and answered; conditions and forward actions are shown in both forms, as by AWS.
- Targets live in the load balancer, which decides their health.
- Deleting a rule that does not exist is RuleNotFound.
- A load balancer has 100 rules and 100 target groups at most ("Quotas for your Application Load Balancers").
- Conditions may be regular expressions; gRPC codes can be changed.
- The default rule takes no conditions and can't be deleted.
- Tags are described of what there is, of 20 things at most.
- What `elbv2_checks` says is refused.

This module must not know ECS.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.elbv2.exceptions import (
    DuplicateTargetGroupName,
    ELBClientError,
    RuleNotFoundError,
    TargetGroupNotFoundError,
    ValidationError,
)
from moto.elbv2.models import ELBv2Backend, FakeTargetGroup, elbv2_backends
from moto.elbv2.responses import ELBV2Response

from inference_sandbox.aws import elbv2_checks as checks
from inference_sandbox.ports import ListenerRoutes, LoadBalancer, RuleRoute, TargetGroupSettings

WITH_VALUES = ("path-pattern", "host-header")
"""Conditions that are shown in two forms."""
OWN_TO_EACH = (
    "name",
    "arn",
    "targets",
    "deregistered_targets",
    "terminated_targets",
    "load_balancer_arns",
    "attributes",
)
ATTRIBUTES = {
    "load_balancing.algorithm.anomaly_mitigation": "off",
    "stickiness.app_cookie.cookie_name": "",
    "stickiness.app_cookie.duration_seconds": "86400",
    "stickiness.lb_cookie.duration_seconds": "86400",
    "target_group_health.dns_failover.minimum_healthy_targets.count": "1",
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": "off",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": "1",
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": "off",
}
"""Of a new target group, beside those that moto gives it (TargetGroupAttribute: the defaults)."""
HEALTH_CHECK = {"HealthCheckIntervalSeconds": 30, "HealthCheckTimeoutSeconds": 5}
"""What a new target group gets if nothing is said."""
MOST_RULES = MOST_GROUPS = 100
MOST_DESCRIBED = 20
LARGEST_PAGE = 400


def responses(load_balancer: LoadBalancer) -> type[ELBV2Response]:
    """Moto makes one response object for each request, from a class: this one knows the load balancer."""

    class Response(Elbv2):
        balancer = load_balancer

    return Response


class TooManyRules(ELBClientError):
    def __init__(self) -> None:
        super().__init__("TooManyRules", "The maximum number of rules has been reached")


class TooManyTargetGroups(ELBClientError):
    def __init__(self) -> None:
        super().__init__(
            "TooManyUniqueTargetGroupsPerLoadBalancer",
            "You've reached the limit on the number of unique target groups per load balancer across all listeners",
        )


class OperationNotPermitted(ELBClientError):
    def __init__(self, message: str) -> None:
        super().__init__("OperationNotPermitted", message)


class Elbv2(ELBV2Response):
    balancer: LoadBalancer

    def create_target_group(self) -> ActionResult:
        name = self._get_param("Name")
        backend: ELBv2Backend = self.elbv2_backend
        version = self._get_param("ProtocolVersion")
        if version == "GRPC":
            self.params.setdefault("Matcher", {"GrpcCode": "12"})
        checks.target_group(name, version)
        checks.health_check(HEALTH_CHECK | self._get_params(), version)
        checks.tags(self._get_param("Tags", []))
        existing = next((group for group in backend.target_groups.values() if group.name == name), None)
        if existing is None:
            answer = super().create_target_group()
            attributes = _result(answer)["TargetGroups"][0].attributes
            del attributes["waf.fail_open.enabled"]  # a load balancer's
            attributes.update(ATTRIBUTES)
            return answer
        # Let moto make a second one from the same request and compare what came of it.
        self.params["Name"] = f"t{uuid.uuid4().hex[:30]}"
        self.params.pop("Tags", None)
        made = _result(super().create_target_group())["TargetGroups"][0]
        del backend.target_groups[made.arn]
        if _settings(made) != _settings(existing):
            raise DuplicateTargetGroupName
        return ActionResult({"TargetGroups": [existing]})

    def describe_target_groups(self) -> ActionResult:
        found = _result(super().describe_target_groups())["TargetGroups"]
        first, size = int(self._get_param("Marker") or 0), int(self._get_param("PageSize") or LARGEST_PAGE)
        if not 1 <= size <= LARGEST_PAGE:
            raise ValidationError(f"'{size}' is not a valid page size; it must be between 1 and {LARGEST_PAGE}")
        after = first + size
        more = {"NextMarker": str(after)} if after < len(found) else {}
        return ActionResult({"TargetGroups": found[first:after], **more})

    def modify_target_group(self) -> ActionResult:
        group = self._group()
        checks.health_check({**_group_settings(group).settings, **self._get_params()}, group.protocol_version)
        grpc = (self._get_param("Matcher") or {}).get("GrpcCode")
        result = super().modify_target_group()
        if grpc is not None:
            group.matcher = {"GrpcCode": grpc}
        return result

    def modify_target_group_attributes(self) -> ActionResult:
        group = self._group()
        given = {each["Key"]: each["Value"] for each in self._get_param("Attributes", [])}
        checks.attributes(given, {**_group_settings(group).attributes, **given})
        group.attributes.update(given)
        return ActionResult({"Attributes": given})

    def create_rule(self) -> ActionResult:
        self._check_rule()
        self._check_quotas()
        checks.actions(self._get_param("Actions") or [])
        checks.tags(self._get_param("Tags", []))
        return self._shown(super().create_rule(), self._get_param("Transforms"))

    def modify_rule(self) -> ActionResult:
        rule = self._rule(self._get_param("RuleArn"))
        if rule.is_default and self._get_param("Conditions"):
            raise OperationNotPermitted(f"Default rule '{rule.arn}' cannot have conditions")
        self._check_rule()
        if self._get_param("Actions"):
            checks.actions(self._get_param("Actions"))
        transforms = [] if self._get_param("ResetTransforms") else self._get_param("Transforms")
        only_transforms = transforms is not None and not (self._get_param("Conditions") or self._get_param("Actions"))
        answer = ActionResult({"Rules": [rule]}) if only_transforms else super().modify_rule()
        return self._shown(answer, transforms)

    def delete_rule(self) -> ActionResult:
        if self._rule(self._get_param("RuleArn")).is_default:
            raise OperationNotPermitted("Default rules cannot be deleted")
        return super().delete_rule()

    def describe_tags(self) -> ActionResult:
        arns = self._get_param("ResourceArns", [])
        if len(arns) > MOST_DESCRIBED:
            raise ValidationError(f"Tags can be described of '{MOST_DESCRIBED}' resources at most")
        for arn in arns:
            self._require(arn)
        return super().describe_tags()

    def add_tags(self) -> ActionResult:
        backend: ELBv2Backend = self.elbv2_backend
        arns, added = self._get_param("ResourceArns"), self._get_param("Tags")
        for arn in arns:
            self._require(arn)
            checks.tags(added, backend.tagging_service.get_tag_dict_for_resource(arn))
        for arn in arns:
            backend.tagging_service.tag_resource(arn, added)
        return EmptyResult()

    def register_targets(self) -> ActionResult:
        group = self._group()
        for target in self._get_param("Targets", []):
            self.balancer.register(group.arn, target["Id"], int(target.get("Port") or group.port))
        return EmptyResult()

    def deregister_targets(self) -> ActionResult:
        group = self._group()
        for target in self._get_param("Targets", []):
            self.balancer.deregister(group.arn, target["Id"], int(target.get("Port") or group.port))
        return EmptyResult()

    def describe_target_health(self) -> ActionResult:
        group = self._group()
        known = {(state.address, state.port): state for state in self.balancer.targets(group.arn)}
        asked = self._get_param("Targets", []) or [{"Id": address, "Port": port} for address, port in known]
        described = []
        for target in asked:
            port = int(target.get("Port") or group.port)
            state = known.get((target["Id"], port))
            health: dict[str, Any] = {"State": "unused", "Reason": "Target.NotRegistered"}
            if state is not None:
                health = {"State": state.state, "Reason": state.reason, "Description": state.description}
            described.append(
                {
                    "Target": {"Id": target["Id"], "Port": port},
                    "HealthCheckPort": str(port),
                    "TargetHealth": {name: value for name, value in health.items() if value is not None},
                }
            )
        return ActionResult({"TargetHealthDescriptions": described})

    def _group(self) -> FakeTargetGroup:
        group = self.elbv2_backend.target_groups.get(self._get_param("TargetGroupArn"))
        if group is None:
            raise TargetGroupNotFoundError
        return group

    def _require(self, arn: str) -> None:
        if ":listener-rule/" in arn:
            self._rule(arn)  # moto does not find default rules by their ARNs
        else:
            self.elbv2_backend._get_resource_by_arn(arn)  # raises  # noqa: SLF001 moto has no public way

    def _rule(self, arn: str) -> Any:
        found = (rule for listener in listeners(self.elbv2_backend) for rule in listener.rules.values())
        rule = next((rule for rule in found if rule.arn == arn), None)
        if rule is None:
            raise RuleNotFoundError
        return rule

    def _check_rule(self) -> None:
        conditions = self._get_param("Conditions") or []
        checks.conditions(conditions)
        checks.transforms(self._get_param("Transforms") or [])
        for (
            condition
        ) in conditions:  # for moto, which knows no regular expressions, they are values until they are kept
            expressions = checks.regexes_of(condition)
            if expressions and condition["Field"] in WITH_VALUES:
                condition[checks.CONFIGS[condition["Field"]]] = {"Values": expressions, "RegexValues": expressions}

    def _check_quotas(self) -> None:
        backend: ELBv2Backend = self.elbv2_backend
        listener = backend.describe_listeners(None, [self._get_param("ListenerArn")])[0]
        balancer = backend.load_balancers[listener.load_balancer_arn]
        rules = [rule for each in balancer.listeners.values() for rule in each.rules.values()]
        if sum(not rule.is_default for rule in rules) >= MOST_RULES:
            raise TooManyRules
        actions = [*(action.data for rule in rules for action in rule.actions), *(self._get_param("Actions") or [])]
        groups = (backend._get_target_group_arns_from(action) for action in actions)  # noqa: SLF001 - moto's own reading
        if len({arn for each in groups for arn in each}) > MOST_GROUPS:
            raise TooManyTargetGroups

    @staticmethod
    def _shown(result: ActionResult, transforms: list[dict[str, Any]] | None) -> ActionResult:
        for rule in _result(result)["Rules"]:
            if transforms is not None:
                rule.transforms = [dict(each) for each in transforms]
            rule.conditions = [_both_forms(condition) for condition in rule.conditions]
            for order, action in enumerate(rule.actions, start=1):
                _show_forward(action, order)
        return result


def _result(answer: ActionResult) -> Any:
    return answer.result


def _settings(group: FakeTargetGroup) -> dict[str, Any]:
    return {name: str(value) for name, value in vars(group).items() if name not in OWN_TO_EACH}


def _both_forms(condition: dict[str, Any]) -> dict[str, Any]:
    field, expressions = condition.get("Field", ""), checks.regexes_of(condition)
    if field not in WITH_VALUES:
        return condition
    if expressions:
        return {"Field": field, checks.CONFIGS[field]: {"RegexValues": expressions}}
    values = checks.values_of(condition)
    return condition | {"Values": values, checks.CONFIGS[field]: {"Values": values}}


def _show_forward(action: Any, order: int) -> None:
    """DescribeRules shows a forward to one group as TargetGroupArn and as ForwardConfig."""
    if action.type != "forward":
        return
    data = action.data
    groups = (data.get("ForwardConfig") or {}).get("TargetGroups") or [{"TargetGroupArn": data.get("TargetGroupArn")}]
    groups = [{"Weight": 1} | dict(group) for group in groups]
    data["ForwardConfig"] = {"TargetGroupStickinessConfig": {"Enabled": False}} | (data.get("ForwardConfig") or {})
    data["ForwardConfig"]["TargetGroups"] = groups
    if len(groups) == 1:
        data["TargetGroupArn"] = groups[0]["TargetGroupArn"]
    data.setdefault("Order", order)
    vars(action).update(data)


# -- what ECS does with a rule


def find_rule(arn: str) -> Any | None:
    """The rule of any account and region, by ARN."""
    _, _, _, region, account, *_ = arn.split(":")
    found = (rule for listener in listeners(elbv2_backends[account][region]) for rule in listener.rules.values())
    return next((rule for rule in found if rule.arn == arn), None)


def shift(arn: str, shares: Mapping[str, float]) -> None:
    """Weights are whole numbers up to 999; a share of traffic in percent may have one decimal."""
    rule = find_rule(arn)
    if rule is None:
        return
    groups = [{"TargetGroupArn": group, "Weight": round(share)} for group, share in shares.items()]
    if any(share != round(share) for share in shares.values()):
        groups = [{"TargetGroupArn": group, "Weight": round(share * 9.99)} for group, share in shares.items()]
    for action in rule.actions:
        if action.type == "forward":
            action.data.pop("TargetGroupArn", None)
            vars(action).pop("TargetGroupArn", None)
            action.data["ForwardConfig"] = {"TargetGroups": groups}
            _show_forward(action, 1)


# -- joining it to what routes


def listeners(backend: ELBv2Backend) -> list[Any]:
    return [listener for balancer in backend.load_balancers.values() for listener in balancer.listeners.values()]


def configuration(load_balancer: LoadBalancer) -> Callable[[], None]:
    """A function that brings the load balancer up to what ELBv2 holds, in every account and region."""

    def push() -> None:
        routes: list[ListenerRoutes] = []
        groups: list[TargetGroupSettings] = []
        for account in list(elbv2_backends.values()):
            for backend in list(account.values()):
                _attach(backend)
                routes += [_routes(listener) for listener in listeners(backend)]
                groups += [_group_settings(group) for group in backend.target_groups.values()]
        load_balancer.configure(routes, groups)

    return push


def _attach(backend: ELBv2Backend) -> None:
    """LoadBalancerArns: "the load balancers that route traffic to this target group", as the rules are now."""
    used: dict[str, list[str]] = {}
    for listener in listeners(backend):
        for rule in listener.rules.values():
            for action in rule.actions:
                for arn in backend._get_target_group_arns_from(action.data):  # noqa: SLF001 - moto's own reading of it
                    balancers = used.setdefault(arn, [])
                    if listener.load_balancer_arn not in balancers:
                        balancers.append(listener.load_balancer_arn)
    for arn, group in backend.target_groups.items():
        group.load_balancer_arns = used.get(arn, [])


def _routes(listener: Any) -> ListenerRoutes:
    numbered = [rule for rule in listener.rules.values() if not rule.is_default]
    numbered.sort(key=lambda rule: int(rule.priority))
    default = [rule for rule in listener.rules.values() if rule.is_default]
    rules = [
        RuleRoute(
            arn=rule.arn,
            priority=None if rule.is_default else int(rule.priority),
            conditions=[_both_forms(dict(condition)) for condition in rule.conditions],
            actions=[dict(action.data) for action in rule.actions],
            transforms=list(getattr(rule, "transforms", [])),
        )
        for rule in (*numbered, *default)
    ]
    return ListenerRoutes(arn=listener.arn, port=int(listener.port), rules=rules)


def _group_settings(group: FakeTargetGroup) -> TargetGroupSettings:
    settings = {
        "TargetGroupArn": group.arn,
        "TargetGroupName": group.name,
        "Protocol": group.protocol,
        "ProtocolVersion": group.protocol_version,
        "Port": int(group.port) if group.port else None,
        "VpcId": group.vpc_id,
        "HealthCheckProtocol": group.health_check_protocol,
        "HealthCheckPort": group.health_check_port,
        "HealthCheckEnabled": group.health_check_enabled,
        "HealthCheckPath": group.health_check_path,
        "HealthCheckIntervalSeconds": int(group.health_check_interval_seconds),
        "HealthCheckTimeoutSeconds": int(group.health_check_timeout_seconds),
        "HealthyThresholdCount": int(group.healthy_threshold_count),
        "UnhealthyThresholdCount": int(group.unhealthy_threshold_count),
        "Matcher": dict(getattr(group, "matcher", None) or {}),
        "TargetType": group.target_type,
    }
    return TargetGroupSettings(
        arn=group.arn,
        settings={name: value for name, value in settings.items() if value is not None},
        attributes={name: str(value) for name, value in group.attributes.items()},
    )
