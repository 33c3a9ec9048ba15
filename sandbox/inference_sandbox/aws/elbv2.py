"""ELBv2: moto's, with what it gets wrong for our calls put right, and joined to the load balancer that really routes.

- CreateTargetGroup with the settings of an existing group returns that group (API reference: it is idempotent).
- DescribeTargetGroups answers in pages.
- `Transforms` of rules are kept and answered; conditions and forward actions are shown in both forms, as by AWS.
- Targets live in the load balancer, which decides their health.
- Deleting a rule that does not exist is RuleNotFound.
- A rule has at most 5 condition values and 5 wildcards, a load balancer 100 rules ("Quotas for your Application Load
  Balancers").
- A thing has at most 50 tags, as one call would leave it.
- A slow start and the algorithm of the least outstanding requests exclude one another; gRPC codes can be changed.

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
    InvalidConfigurationRequest,
    RuleNotFoundError,
    TargetGroupNotFoundError,
    TooManyTagsError,
    ValidationError,
)
from moto.elbv2.models import ELBv2Backend, FakeTargetGroup, elbv2_backends
from moto.elbv2.responses import ELBV2Response

from inference_sandbox.ports import ListenerRoutes, LoadBalancer, RuleRoute, TargetGroupSettings

CONDITION_CONFIGS = {"path-pattern": "PathPatternConfig", "host-header": "HostHeaderConfig"}
TRANSFORMS = {"url-rewrite": "UrlRewriteConfig", "host-header-rewrite": "HostHeaderRewriteConfig"}
OWN_TO_EACH = (
    "name",
    "arn",
    "targets",
    "deregistered_targets",
    "terminated_targets",
    "load_balancer_arns",
    "attributes",
)
PRIORITIES = range(1, 50_001)
MOST_VALUES = MOST_WILDCARDS = 5
MOST_RULES = 100
MOST_TAGS = 50
LARGEST_PAGE = 400


def responses(load_balancer: LoadBalancer) -> type[ELBV2Response]:
    """Moto makes one response object for each request, from a class: this one knows the load balancer."""

    class Response(Elbv2):
        balancer = load_balancer

    return Response


class TooManyRules(ELBClientError):
    def __init__(self) -> None:
        super().__init__("TooManyRules", "The maximum number of rules has been reached")


class Elbv2(ELBV2Response):
    balancer: LoadBalancer

    def create_target_group(self) -> ActionResult:
        name = self._get_param("Name")
        backend: ELBv2Backend = self.elbv2_backend
        existing = next((group for group in backend.target_groups.values() if group.name == name), None)
        if existing is None:
            return super().create_target_group()
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
        grpc = (self._get_param("Matcher") or {}).get("GrpcCode")
        result = super().modify_target_group()
        if grpc is not None:
            self._group().matcher = {"GrpcCode": grpc}
        return result

    def modify_target_group_attributes(self) -> ActionResult:
        given = {each["Key"]: each["Value"] for each in self._get_param("Attributes", [])}
        after = {**self._group().attributes, **given}
        if int(after["slow_start.duration_seconds"]) and after["load_balancing.algorithm.type"] != "round_robin":
            raise InvalidConfigurationRequest(
                "Slow start can be enabled only with the load balancing algorithm 'round_robin'"
            )
        return super().modify_target_group_attributes()

    def create_rule(self) -> ActionResult:
        self._check_condition_quotas()
        self._check_rule_quota()
        if int(self._get_param("Priority")) not in PRIORITIES:
            raise ValidationError(f"Priority '{self._get_param('Priority')}' must be between 1 and 50000")
        transforms = self._transforms()
        result = super().create_rule()
        return self._with_transforms(result, transforms)

    def modify_rule(self) -> ActionResult:
        self._check_condition_quotas()
        transforms = self._transforms()
        if self._get_param("ResetTransforms"):
            transforms = []
        only_transforms = transforms is not None and not (self._get_param("Conditions") or self._get_param("Actions"))
        if only_transforms:
            rules = self.elbv2_backend.describe_rules(None, [self._get_param("RuleArn")])
            return self._with_transforms(ActionResult({"Rules": rules}), transforms)
        return self._with_transforms(super().modify_rule(), transforms)

    def delete_rule(self) -> ActionResult:
        arn = self._get_param("RuleArn")
        if not any(arn == rule.arn for listener in listeners(self.elbv2_backend) for rule in listener.rules.values()):
            raise RuleNotFoundError
        return super().delete_rule()

    def add_tags(self) -> ActionResult:
        backend: ELBv2Backend = self.elbv2_backend
        arns, added = self._get_param("ResourceArns"), self._get_param("Tags")
        for arn in arns:
            backend._get_resource_by_arn(arn)  # raises  # noqa: SLF001 moto has no public way
            known = backend.tagging_service.get_tag_dict_for_resource(arn)
            if len({*known, *(tag["Key"] for tag in added)}) > MOST_TAGS:
                raise TooManyTagsError
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

    def _check_condition_quotas(self) -> None:
        conditions = map(_both_forms, self._get_param("Conditions") or [])
        values = [value for condition in conditions for value in condition.get("Values") or []]
        if len(values) > MOST_VALUES:
            raise ValidationError(f"A rule can only have '{MOST_VALUES}' condition values")
        if sum(value.count("*") + value.count("?") for value in values) > MOST_WILDCARDS:
            raise ValidationError(f"A rule can only have '{MOST_WILDCARDS}' condition wildcards")

    def _check_rule_quota(self) -> None:
        listener = self.elbv2_backend.describe_listeners(None, [self._get_param("ListenerArn")])[0]
        balancer = self.elbv2_backend.load_balancers[listener.load_balancer_arn]
        rules = sum(not rule.is_default for each in balancer.listeners.values() for rule in each.rules.values())
        if rules >= MOST_RULES:
            raise TooManyRules

    def _transforms(self) -> list[dict[str, Any]] | None:
        given = self._get_param("Transforms")
        if given is None:
            return None
        kinds = [each.get("Type") for each in given]
        for each in given:
            config = TRANSFORMS.get(each.get("Type"))
            if config is None:
                raise ValidationError(f"Transform type '{each.get('Type')}' must be one of '{','.join(TRANSFORMS)}'")
            rewrites = (each.get(config) or {}).get("Rewrites") or []
            if len(rewrites) != 1:
                raise ValidationError(f"A transform of type '{each['Type']}' takes exactly one rewrite")
        if len(set(kinds)) != len(kinds):
            raise ValidationError("Each transform type can be specified only once")
        return [dict(each) for each in given]

    @staticmethod
    def _with_transforms(result: ActionResult, transforms: list[dict[str, Any]] | None) -> ActionResult:
        for rule in _result(result)["Rules"]:
            if transforms is not None:
                rule.transforms = transforms
            rule.conditions = [_both_forms(condition) for condition in rule.conditions]
            for order, action in enumerate(rule.actions, start=1):
                _show_forward(action, order)
        return result


def _result(answer: ActionResult) -> Any:
    return answer.result


def _settings(group: FakeTargetGroup) -> dict[str, Any]:
    return {name: str(value) for name, value in vars(group).items() if name not in OWN_TO_EACH}


def _both_forms(condition: dict[str, Any]) -> dict[str, Any]:
    config = CONDITION_CONFIGS.get(condition.get("Field", ""))
    if config is None:
        return condition
    values = (condition.get(config) or {}).get("Values") or condition.get("Values") or []
    return condition | {"Values": values, config: {"Values": values}}


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
