"""What ELBv2 refuses of rules and target groups and moto lets pass (API reference of Elastic Load Balancing,
RuleCondition, ForwardActionConfig, TargetGroupTuple, RuleTransform, CreateTargetGroup, TargetGroupAttribute).

Functions of a request's members; this module must not know what is kept. `constraints` has the lengths and ranges that
the service's model holds.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from moto.elbv2.exceptions import DuplicateTagKeysError, InvalidConfigurationRequest, TooManyTagsError, ValidationError

Document = Mapping[str, Any]

MOST_VALUES = MOST_WILDCARDS = 5
MOST_GROUPS = 5
"""Quotas for Application Load Balancers: condition values and wildcards of a rule, target groups of an action."""
WEIGHTS = range(1000)
CONFIGS = {
    "path-pattern": "PathPatternConfig",
    "host-header": "HostHeaderConfig",
    "http-header": "HttpHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "query-string": "QueryStringConfig",
    "source-ip": "SourceIpConfig",
}
REPEATABLE = ("http-header", "query-string")
PATTERNS = {
    "path-pattern": re.compile(r"[A-Za-z0-9_.$/~\"'@:+&*?-]{1,128}"),
    "host-header": re.compile(r"[A-Za-z0-9.*?-]*\.[A-Za-z*?]+"),
}
"""Of a host: "at least one '.' character", and "only alphabetical characters after the final '.'", or wildcards."""
TRANSFORMS = {"url-rewrite": "UrlRewriteConfig", "host-header-rewrite": "HostHeaderRewriteConfig"}
LONGEST_REGEX, LONGEST_CONDITION = 1024, 128

PROTOCOL_VERSIONS = ("HTTP1", "HTTP2", "GRPC")
CODES = {"HttpCode": range(200, 500), "GrpcCode": range(100)}
SWITCH = ("true", "false")
ATTRIBUTES: Mapping[str, Collection[str | int] | None] = {
    "deregistration_delay.timeout_seconds": range(3601),
    "load_balancing.algorithm.anomaly_mitigation": ("on", "off"),
    "load_balancing.algorithm.type": ("round_robin", "least_outstanding_requests", "weighted_random"),
    "load_balancing.cross_zone.enabled": (*SWITCH, "use_load_balancer_configuration"),
    "routing.http2.rst_stream_error_forwarding.enabled": SWITCH,
    "slow_start.duration_seconds": (0, *range(30, 901)),
    "stickiness.app_cookie.cookie_name": None,
    "stickiness.app_cookie.duration_seconds": range(1, 604_801),
    "stickiness.enabled": SWITCH,
    "stickiness.lb_cookie.duration_seconds": range(1, 604_801),
    "stickiness.type": ("lb_cookie", "app_cookie"),
    "target_group_health.dns_failover.minimum_healthy_targets.count": ("off", *range(1, 1001)),
    "target_group_health.dns_failover.minimum_healthy_targets.percentage": ("off", *range(1, 101)),
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.count": range(1, 1001),
    "target_group_health.unhealthy_state_routing.minimum_healthy_targets.percentage": ("off", *range(1, 101)),
    "waf.http2.traffic_inspection_behavior": ("inspect_immediately", "inspect_after_sufficient_data"),
}
"""What each attribute of a target group behind an ALB may be; None: a text."""
RESERVED_COOKIE = "AWSALB"
RESERVED_TAG = "aws:"
MOST_TAGS = 50
"""Of one thing, as one call would leave it."""


# -- rules


def conditions(given: Sequence[Document]) -> None:
    fields = Counter(each.get("Field") for each in given)
    for field, times in fields.items():
        if times > 1 and field not in REPEATABLE:
            raise ValidationError(f"A rule can only have one '{field}' condition")
    values = [value for condition in given for value in values_of(condition)]
    if len(values) > MOST_VALUES:
        raise ValidationError(f"A rule can only have '{MOST_VALUES}' condition values")
    if sum(str(value).count("*") + str(value).count("?") for value in values) > MOST_WILDCARDS:
        raise ValidationError(f"A rule can only have '{MOST_WILDCARDS}' condition wildcards")
    for condition in given:
        _characters(condition)


def _characters(condition: Document) -> None:
    field = condition.get("Field", "")
    pattern = PATTERNS.get(field)
    plain = _config(condition).get("Values") or condition.get("Values") or ()
    for value in plain if pattern is not None else ():
        if len(value) <= LONGEST_CONDITION and pattern is not None and not pattern.fullmatch(value):
            raise ValidationError(f"The {field} value '{value}' contains characters that are not valid for it")
    for expression in regexes_of(condition):
        _regex(expression, LONGEST_CONDITION)


def values_of(condition: Document) -> list[Any]:
    """Those that count for the quota."""
    plain = _config(condition).get("Values") or condition.get("Values") or ()
    return [*plain, *regexes_of(condition)]


def regexes_of(condition: Document) -> list[str]:
    return list(_config(condition).get("RegexValues") or condition.get("RegexValues") or ())


def _config(condition: Document) -> Document:
    found: Document = condition.get(CONFIGS.get(condition.get("Field", ""), "")) or {}
    return found


def _regex(expression: str, longest: int) -> None:
    if len(expression) > longest:
        raise ValidationError(f"The regular expression is too long; the limit is '{longest}'")
    try:
        re.compile(expression)
    except re.error as error:
        raise ValidationError(f"The regular expression '{expression}' is not valid") from error


def actions(given: Sequence[Document]) -> None:
    if sum(each.get("Type") in ("forward", "redirect", "fixed-response") for each in given) != 1:
        raise ValidationError("A rule must have exactly one of the actions forward, redirect and fixed-response")
    for each in given:
        groups = (each.get("ForwardConfig") or {}).get("TargetGroups") or ()
        if len(groups) > MOST_GROUPS:
            raise ValidationError(f"A forward action can only have '{MOST_GROUPS}' target groups")
        for group in groups:
            weight = group.get("Weight")
            if weight is not None and int(weight) not in WEIGHTS:
                raise ValidationError(f"Target group weight '{weight}' must be between '0' and '999' inclusive")


def transforms(given: Sequence[Document]) -> None:
    kinds = Counter(each.get("Type") for each in given)
    for each in given:
        config = TRANSFORMS.get(each.get("Type", ""))
        if config is None:
            raise ValidationError(f"Transform type '{each.get('Type')}' must be one of '{','.join(TRANSFORMS)}'")
        rewrites = (each.get(config) or {}).get("Rewrites") or []
        if len(rewrites) != 1:
            raise ValidationError(f"A transform of type '{each['Type']}' takes exactly one rewrite")
        _regex(rewrites[0]["Regex"], LONGEST_REGEX)
    if max(kinds.values(), default=0) > 1:
        raise ValidationError("Each transform type can be specified only once")


# -- target groups


def target_group(name: str, version: str | None) -> None:
    if name.startswith("internal-"):
        raise ValidationError(f"Target group name '{name}' cannot begin with 'internal-'")
    if version is not None and version not in PROTOCOL_VERSIONS:
        raise ValidationError(f"Protocol version '{version}' must be one of '{', '.join(PROTOCOL_VERSIONS)}'")


def health_check(check: Document, version: str | None) -> None:
    """`check`: as it would be, whatever of it the request has named."""
    interval, timeout = int(check["HealthCheckIntervalSeconds"]), int(check["HealthCheckTimeoutSeconds"])
    if timeout >= interval:
        raise ValidationError(f"Health check timeout '{timeout}' must be smaller than the interval '{interval}'")
    path = check.get("HealthCheckPath")
    if path is not None and not path.startswith("/"):
        raise ValidationError(f"Health check path '{path}' must begin with a '/' character")
    kind = "GrpcCode" if version == "GRPC" else "HttpCode"
    for member, codes in (check.get("Matcher") or {}).items():
        if member != kind:
            raise ValidationError(f"A matcher of a target group with protocol version '{version}' takes a {kind}")
        numbers = re.findall(r"\d+", codes)
        if not re.fullmatch(r"\d+(-\d+)?(,\d+(-\d+)?)*", codes) or any(int(n) not in CODES[kind] for n in numbers):
            first, last = CODES[kind][0], CODES[kind][-1]
            raise ValidationError(f"Health check matcher {kind} '{codes}' must be within '{first}-{last}' inclusive")


def attributes(given: Mapping[str, str], after: Mapping[str, str]) -> None:
    """`after`: all of them, as they would be."""
    for name, value in given.items():
        if name not in ATTRIBUTES:
            raise ValidationError(f"Target group attribute key '{name}' is not recognized")
        allowed = ATTRIBUTES[name]
        if allowed is not None and (int(value) if value.isdigit() else value) not in allowed:
            raise ValidationError(f"'{name}' value '{value}' is not valid")
    if given.get("stickiness.app_cookie.cookie_name", "").startswith(RESERVED_COOKIE):
        raise ValidationError(f"The cookie name can't begin with '{RESERVED_COOKIE}'")
    algorithm = after["load_balancing.algorithm.type"]
    if int(after["slow_start.duration_seconds"]) and algorithm != "round_robin":
        raise InvalidConfigurationRequest(
            "Slow start can be enabled only with the load balancing algorithm 'round_robin'"
        )
    if after.get("load_balancing.algorithm.anomaly_mitigation") == "on" and algorithm != "weighted_random":
        raise InvalidConfigurationRequest(
            "Anomaly mitigation can be enabled only with the load balancing algorithm 'weighted_random'"
        )


# -- tags


def tags(given: Sequence[Document], known: Collection[str] = ()) -> None:
    """`known`: keys that are there already."""
    keys = [tag["Key"] for tag in given]
    for key, times in Counter(keys).items():
        if times > 1:
            raise DuplicateTagKeysError(key)
        if key.lower().startswith(RESERVED_TAG):
            raise ValidationError(f"Tag key '{key}' can't begin with '{RESERVED_TAG}', which is reserved")
    if len({*known, *keys}) > MOST_TAGS:
        raise TooManyTagsError
