"""What the operator may do in Kubernetes: one rule for each thing that it does there, and none more.

The chart's roles are made of these. A test runs the operator under them and compares them with what the API server saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from inference_operator.api.meta import GROUP
from inference_operator.runtime.kube import DEPLOYMENTS, ENVIRONMENTS


class Scope(StrEnum):
    """Where a rule holds."""

    OBJECTS = "objects"
    """In the namespaces whose InferenceDeployments are looked after."""
    CLUSTER = "cluster"
    """For what belongs to no namespace."""
    OWN = "own"
    """In the operator's own namespace."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    scope: Scope
    group: str
    resource: str
    """With its subresource."""
    verbs: Sequence[str]
    why: str


RULES: tuple[Rule, ...] = (
    Rule(
        scope=Scope.OBJECTS,
        group=GROUP,
        resource=DEPLOYMENTS,
        verbs=("list", "watch", "patch"),
        why="to see what is asked for, and to hold the finalizer",
    ),
    Rule(scope=Scope.OBJECTS, group=GROUP, resource=f"{DEPLOYMENTS}/status", verbs=("patch",), why="to tell the state"),
    Rule(
        scope=Scope.OBJECTS,
        group="events.k8s.io",
        resource="events",
        verbs=("create", "patch"),
        why="to tell transitions, and to count those that happen again",
    ),
    Rule(
        scope=Scope.CLUSTER,
        group=GROUP,
        resource=ENVIRONMENTS,
        verbs=("list", "watch", "patch"),
        why="to know where services run, and to hold the finalizer",
    ),
    Rule(
        scope=Scope.CLUSTER, group=GROUP, resource=f"{ENVIRONMENTS}/status", verbs=("patch",), why="to tell the state"
    ),
    Rule(
        scope=Scope.CLUSTER,
        group="",
        resource="namespaces",
        verbs=("get",),
        why="to compare their labels with an environment's policy",
    ),
    Rule(
        scope=Scope.OWN,
        group="",
        resource="secrets",
        verbs=("get",),
        why="to read the addresses of an environment's webhooks",
    ),
    Rule(
        scope=Scope.OWN,
        group="coordination.k8s.io",
        resource="leases",
        verbs=("get", "create", "update"),
        why="to agree on the replica that works",
    ),
)


def roles() -> dict[str, list[dict[str, Any]]]:
    """`rules` of a Role or ClusterRole (rbac.authorization.k8s.io/v1), by scope."""
    return {
        scope.value: [
            {"apiGroups": [rule.group], "resources": [rule.resource], "verbs": list(rule.verbs)}
            for rule in RULES
            if rule.scope is scope
        ]
        for scope in Scope
    }
