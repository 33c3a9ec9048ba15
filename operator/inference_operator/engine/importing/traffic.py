"""A target group and the rules that lead to it -> what a spec says of health and ingress. Pure; the reverse of
`resources.target_group` and `resources.listener_rule`.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from inference_operator.api.ingress import EVERYTHING
from inference_operator.api.quantities import format_duration, parse_duration
from inference_operator.aws.ports import Answer
from inference_operator.domain.names import Identity
from inference_operator.engine.importing.live import Behind, Live
from inference_operator.engine.importing.tasks import Members
from inference_operator.resources.listener_rule import HOST, PATH, condition_sets

SHELL = ("/bin/sh", "-c")


def members(live: Live, identity: Identity, stop_timeout: str) -> Members:
    found: Members = {"health": _container_health(live)}
    if live.behind is not None:
        found["health"] |= _target_health(live.behind.group)
        found["ingress"] = _ingress(live.behind, identity, stop_timeout)
    return found


def rule_of(behind: Behind) -> Answer | None:
    """The one that counts of those that forward to the target group; none if only default actions do."""
    return next((rule for rule in behind.rules if not rule.get("IsDefault")), None)


def _container_health(live: Live) -> Members:
    check = live.main.get("healthCheck") or {}
    first, *others = check.get("command") or [""]
    command = [*SHELL, *others] if first == "CMD-SHELL" else others
    grace = live.service.get("healthCheckGracePeriodSeconds")
    if live.behind is None and not command:
        return {}  # nothing is checked
    found: Members = {"command": command, "startup": _seconds(grace or 0)}
    if live.behind is None:
        found |= {
            "interval": _seconds(check.get("interval", 30)),
            "timeout": _seconds(check.get("timeout", 5)),
            "unhealthyThreshold": check.get("retries", 3),
        }
    return found


def _target_health(group: Answer) -> Members:
    matcher = group.get("Matcher") or {}
    default = "0" if group.get("ProtocolVersion") == "GRPC" else "200"
    codes = matcher.get("GrpcCode") or matcher.get("HttpCode")
    return {
        "path": group.get("HealthCheckPath"),
        "successCodes": None if codes == default else codes,
        "interval": _seconds(group["HealthCheckIntervalSeconds"]),
        "timeout": _seconds(group["HealthCheckTimeoutSeconds"]),
        "healthyThreshold": group["HealthyThresholdCount"],
        "unhealthyThreshold": group["UnhealthyThresholdCount"],
    }


def _ingress(behind: Behind, identity: Identity, stop_timeout: str) -> Members:
    rule, attributes = rule_of(behind), behind.attributes
    conditions = condition_sets(rule["Conditions"]) if rule is not None else {}
    delay = attributes.get("deregistration_delay.timeout_seconds", "300")
    slow = attributes.get("slow_start.duration_seconds", "0")
    return {
        "paths": _paths(conditions, identity),
        "hosts": sorted(conditions.get(HOST, ())),
        "protocolVersion": behind.group.get("ProtocolVersion", "HTTP1"),
        "deregistrationDelay": None if parse_duration(stop_timeout) == _delta(delay) else _seconds(delay),
        "slowStart": _seconds(slow) if slow != "0" else None,
        "stickiness": _stickiness(attributes),
    }


def _paths(conditions: Mapping[str, frozenset[str]], identity: Identity) -> list[str]:
    """A path is written as what lies below it: `/films` and `/films/*` are `/films/*`."""
    if not conditions:
        return []
    patterns = conditions.get(PATH) or frozenset({EVERYTHING})
    bases = {f"{each.rstrip('/')}{EVERYTHING}" for each in patterns if "*" not in each and "?" not in each}
    found = sorted({each for each in patterns if "*" in each or "?" in each} | bases)
    return [] if found == [f"/{identity.namespace}/{identity.name}{EVERYTHING}"] else found


def _stickiness(attributes: Mapping[str, str]) -> Members | None:
    if attributes.get("stickiness.enabled") != "true":
        return None
    kind = attributes.get("stickiness.type", "lb_cookie")
    return {
        "duration": _seconds(attributes.get(f"stickiness.{kind}.duration_seconds", "86400")),
        "cookieName": attributes.get("stickiness.app_cookie.cookie_name") if kind == "app_cookie" else None,
    }


def _delta(seconds: Any) -> timedelta:
    return timedelta(seconds=int(seconds))


def _seconds(seconds: Any) -> str:
    return format_duration(_delta(seconds))
