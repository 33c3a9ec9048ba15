"""What the load balancer thinks of a service's tasks, and what to do about those that it does not send requests to.

Reason codes are those of TargetHealth (Elastic Load Balancing API). Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inference_operator.api.v1alpha1 import TargetProblem, TargetsState

_CODE = "Target.ResponseCodeMismatch"
_NEXT_STEPS: Mapping[str, str] = {
    _CODE: "See in the log why the server is not ready; if it only needs longer to load, raise health.startup; "
    "if another code is right, set health.successCodes.",
    "Target.Timeout": "Let the load balancer in on spec.port by a security group of the tasks; "
    "if the server is slow to answer, raise health.timeout.",
    "Target.FailedHealthChecks": "Check that the server listens on spec.port on all addresses, and speaks "
    "ingress.protocolVersion.",
    "Target.NotInUse": "Enable the load balancer for the availability zone of each subnet of the InferenceEnvironment; "
    "if no listener rule sends requests to the target group, see the condition ListenerRuleReady.",
    "Target.NotRegistered": "Nothing: ECS registers its tasks. If it lasts, see status.events.",
    "Target.InvalidState": "Nothing: the task has ended, and ECS replaces it.",
    "Target.IpUnusable": "Nothing: ECS replaces the task.",
    "Target.HealthCheckDisabled": "Nothing: health checks are switched on at the next audit.",
    "Target.DeregistrationInProgress": "Nothing: the task is being stopped.",
    "Elb.InternalError": "Nothing at first. If it lasts, ask AWS.",
    "Elb.RegistrationInProgress": "Nothing: the load balancer takes the task in.",
    "Elb.InitialHealthChecking": "Nothing: the load balancer begins to check.",
}
_TROUBLE = ("unhealthy", "unhealthy.draining", "unused", "unavailable")
"""States that neither are as wanted nor lead there by themselves, as `initial` and `draining` do."""


def summary(described: Iterable[Mapping[str, Any]]) -> TargetsState:
    """Of TargetHealthDescriptions."""
    described = list(described)
    healths = [(_name(each["Target"]), each["TargetHealth"]) for each in described]
    return TargetsState(
        registered=sum(health["State"] != "draining" for _, health in healths),
        healthy=sum(health["State"] == "healthy" for _, health in healths),
        problems=tuple(_problem(name, health) for name, health in sorted(healths, key=_by_name) if _is_trouble(health)),
    )


def not_healthy(described: Iterable[Mapping[str, Any]]) -> int:
    """How many of TargetHealthDescriptions get no requests, without those whose tasks are on their way out."""
    states = [each["TargetHealth"]["State"] for each in described]
    return sum(state != "healthy" and not state.endswith("draining") for state in states)


def _is_trouble(health: Mapping[str, Any]) -> bool:
    return health["State"] in _TROUBLE


def _by_name(pair: tuple[str, Mapping[str, Any]]) -> str:
    return pair[0]


def _name(target: Mapping[str, Any]) -> str:
    return f"{target['Id']}:{target['Port']}"


def _problem(name: str, health: Mapping[str, Any]) -> TargetProblem:
    reason = health.get("Reason", "")
    return TargetProblem(
        target=name,
        state=health["State"],
        reason=reason or None,
        message=health.get("Description"),
        next_step=_NEXT_STEPS.get(reason),
    )


def sentence(targets: TargetsState) -> str:
    """For a message; empty if there is no trouble."""
    if not targets.problems:
        return ""
    first = targets.problems[0]
    why = first.message or first.reason or first.state
    return f"{len(targets.problems)} of {targets.registered} targets are {first.state} ({why.rstrip('.')})"


def next_step(targets: TargetsState) -> str | None:
    """About the same target."""
    return targets.problems[0].next_step if targets.problems else None
