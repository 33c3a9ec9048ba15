"""What CreateService and UpdateService are given for a spec, and how what is differs from it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from inference_operator.api.meta import CONTAINER
from inference_operator.api.v1alpha1 import Capacity
from inference_operator.aws.ports import Answer
from inference_operator.domain import members
from inference_operator.domain.names import digest
from inference_operator.resources import deployment_configuration
from inference_operator.resources.base import Context, Fact, differing, shifts_requests


def settings(ctx: Context) -> dict[str, Any]:
    """The members that the two calls share."""
    spec, network = ctx.spec, ctx.environment.network
    found: dict[str, Any] = {
        "taskDefinition": ctx.facts[Fact.TASK_DEFINITION],
        "desiredCount": spec.starts_with,
        "deploymentConfiguration": deployment_configuration.wanted(spec.rollout, ctx.aws.lacking),
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": list(network.subnets),
                "securityGroups": list(network.security_groups),
                "assignPublicIp": "ENABLED" if network.assign_public_ip else "DISABLED",
            }
        },
        "availabilityZoneRebalancing": "ENABLED" if spec.rebalances else "DISABLED",
        "capacityProviderStrategy": _strategy(spec.capacity),
        "platformVersion": spec.platform_version,
        "enableExecuteCommand": spec.exec.enabled,
        "enableECSManagedTags": True,
        "propagateTags": "SERVICE",
        "loadBalancers": [],
        "serviceRegistries": [],
    }
    if ctx.environment.service_discovery is not None:
        found["serviceRegistries"] = [{"registryArn": ctx.facts[Fact.DISCOVERY_SERVICE]}]
    if ctx.environment.load_balancer is not None:
        found["loadBalancers"] = [
            {
                "targetGroupArn": ctx.facts[Fact.TARGET_GROUP],
                "containerName": CONTAINER,
                "containerPort": spec.port,
                **_shifting(ctx),
            }
        ]
    if ctx.environment.load_balancer is not None or spec.health.command:
        found["healthCheckGracePeriodSeconds"] = int(spec.health.startup.total_seconds())
    return found


def _shifting(ctx: Context) -> dict[str, Any]:
    """What requests are shifted with. It is there with the strategy ROLLING as well, which does not need it: AWS wants
    it set before a service takes up another one (developer guide, on updating from rolling to blue/green)."""
    if not shifts_requests(ctx) or ctx.environment.load_balancer is None or members.BLUE_GREEN in ctx.aws.lacking:
        return {}
    trial = ctx.facts.get(Fact.TEST_LISTENER_RULE)
    return {
        "advancedConfiguration": {
            "alternateTargetGroupArn": ctx.facts[Fact.ALTERNATE_TARGET_GROUP],
            "productionListenerRule": ctx.facts[Fact.LISTENER_RULE],
            "roleArn": ctx.environment.load_balancer.infrastructure_role_arn,
            **({"testListenerRule": trial} if trial is not None else {}),
        }
    }


def create_input(want: Mapping[str, Any]) -> dict[str, Any]:
    """Without the lists that mean "none", which are UpdateService's way to take something away."""
    launch = {} if want["capacityProviderStrategy"] else {"launchType": "FARGATE"}
    return {"schedulingStrategy": "REPLICA", **launch, **{k: v for k, v in want.items() if v != []}}


def update_input(want: Mapping[str, Any], paths: Iterable[str]) -> dict[str, Any]:
    """Only what differs: to name the network or the load balancers starts a deployment."""
    paths = set(paths)
    members: dict[str, Any] = {path: want[path] for path in paths if path in want}
    if "capacityProviderStrategy" in paths or FORCE in paths:
        members[FORCE] = True
    return members


FORCE = "forceNewDeployment"

CONTINUE = "continue"
"""Stands among the paths of a change for ContinueServiceDeployment."""

ROLL_BACK = "rollback"
"""Stands among the paths of a change for StopServiceDeployment."""

BEGINS_DEPLOYMENT = (
    "taskDefinition",
    "networkConfiguration",
    "platformVersion",
    "loadBalancers",
    "serviceRegistries",
    "capacityProviderStrategy",
)
"""Members whose change is a new deployment (API reference, UpdateService; the last because we force one with it)."""


def asked_hash(ctx: Context, want: Mapping[str, Any]) -> str:
    """Of all that may have been the reason for a deployment to fail: the whole spec, except how many tasks there are,
    and what the environment adds to the deployment. Fields that have their default value do not count, so that a new
    one in a later version changes no hash."""
    spec = ctx.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=NO_REASON)
    counted = (m for m in BEGINS_DEPLOYMENT if m != "serviceRegistries" or want[m])
    return digest({"spec": spec, **{member: want[member] for member in counted}})


NO_REASON = {"replicas", "autoscaling", "suspend", "deletion_policy", "drift_policy"}
"""Fields that say how many tasks there are, or what becomes of the object."""


def current(want: Mapping[str, Any], have: Answer) -> bool:
    """Whether a service stands as the wanted deployment would make it."""
    return not differing(compared({member: want[member] for member in BEGINS_DEPLOYMENT}, have))


def brings(want: Mapping[str, Any], revision: Mapping[str, Any]) -> bool:
    """Whether a service revision, or one of a service's deployments, is the wanted one, as far as it tells."""
    told = {member: want[member] for member in BEGINS_DEPLOYMENT if member in revision}
    if told.get("platformVersion") == "LATEST":
        del told["platformVersion"]  # told as the version that it stood for
    return "taskDefinition" in told and not differing(compared(told, revision))


def _strategy(capacity: Iterable[Capacity]) -> list[dict[str, Any]]:
    """Empty: the launch type FARGATE."""
    return [
        {"capacityProvider": asked.provider, "base": asked.base or 0, "weight": asked.weight or 0} for asked in capacity
    ]


def compared(want: Mapping[str, Any], have: Answer) -> dict[str, tuple[Any, Any]]:
    """`{member of UpdateService: (want, have)}`, both sides in one shape; what we do not set is not compared."""
    pairs: dict[str, tuple[Any, Any]] = {}
    for member, wanted in want.items():
        there = have.get(member, [] if wanted == [] else None)
        if member == "deploymentConfiguration":
            there = deployment_configuration.filled(there or {})
        pairs[member] = (_plain(wanted), _plain(_like(wanted, there)))
    return pairs


def _like(wanted: Any, have: Any) -> Any:
    """`have` with the members alone that `wanted` has."""
    if isinstance(wanted, Mapping) and isinstance(have, Mapping):
        return {k: _like(v, have.get(k)) for k, v in wanted.items()}
    if isinstance(wanted, list) and isinstance(have, list) and len(wanted) == len(have):
        return [_like(w, h) for w, h in zip(wanted, have, strict=True)]
    return have


def _plain(value: Any) -> Any:
    """Lists in one order: AWS answers subnets, security groups and capacity providers in any."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return sorted((_plain(v) for v in value), key=str)
    return value
