"""IAM: moto's, and the simulation of a principal's policies, which it lacks (API reference, SimulatePrincipalPolicy).

Simulated is what IAM mode enforces. Boundaries and policies of resources or organizations are not.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from moto.core.responses import ActionResult
from moto.iam.exceptions import NotFoundException
from moto.iam.responses import IamResponse

from inference_sandbox.aws.authorization import policies_of
from inference_sandbox.aws.policies import Access, Policy, Verdict, keys_of, verdict


class Iam(IamResponse):
    def simulate_principal_policy(self) -> ActionResult:
        arn = str(self._get_param("PolicySourceArn"))
        given = [json.loads(each) for each in self._get_param("PolicyInputList", [])]
        policies = [*self._policies_attached_to(arn), *given]
        resources = self._get_param("ResourceArns", []) or ["*"]
        context = {
            str(each["ContextKeyName"]).lower(): [str(value) for value in each.get("ContextKeyValues", [])]
            for each in self._get_param("ContextEntries", [])
        }
        found = [_simulated(policies, action, resources, context) for action in self._get_param("ActionNames", [])]
        return ActionResult({"EvaluationResults": found, "IsTruncated": False})

    def _policies_attached_to(self, arn: str) -> list[Policy]:
        kind, _, name = arn.rsplit(":", 1)[-1].partition("/")
        if kind == "role":
            self.backend.get_role(name.rsplit("/", 1)[-1])  # NoSuchEntity
            return policies_of(f"assumed-role/{name.rsplit('/', 1)[-1]}", self.current_account) or []
        if kind == "user":
            self.backend.get_user(name.rsplit("/", 1)[-1])
            return policies_of(arn, self.current_account) or []
        raise NotFoundException(f"The entity {arn} cannot be found.")


def _simulated(
    policies: Sequence[Policy], action: str, resources: Sequence[str], context: Mapping[str, Sequence[str]]
) -> dict[str, Any]:
    """One result for an action, the most restrictive of its resources' (API reference, EvaluationResult)."""
    verdicts = {
        resource: verdict(policies, Access(action=action, resource=resource, context=context)) for resource in resources
    }
    missing = sorted({key for policy in policies for key in keys_of(policy)} - set(context))
    return {
        "EvalActionName": action,
        "EvalResourceName": resources[0],
        "EvalDecision": next(each for each in get_args(Verdict) if each in verdicts.values()),
        "MatchedStatements": [],
        "MissingContextValues": missing,
        "ResourceSpecificResults": [
            {"EvalResourceName": resource, "EvalResourceDecision": decision, "MissingContextValues": missing}
            for resource, decision in verdicts.items()
        ],
    }
