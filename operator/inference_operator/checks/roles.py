"""The roles of tasks exist, and ECS tasks may take them on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_operator.aws.errors import NotFound
from inference_operator.checks.base import Case, Check, Finding, failed

TASKS = "ecs-tasks.amazonaws.com"


def look(case: Case) -> Iterator[Finding]:
    environment = case.environment
    own = case.spec.task_role_arn
    task_role = ("spec.taskRoleArn", own) if own else ("the environment's taskRoleArn", environment.task_role_arn)
    for field, arn in (("the environment's executionRoleArn", environment.execution_role_arn), task_role):
        try:
            role = case.ask(case.aws.iam.get_role, "iam:GetRole", RoleName=arn.rpartition("/")[2])["Role"]
        except NotFound:
            role = {}
        if role.get("Arn") != arn:
            yield failed(f"{field} {arn} does not exist in the account", "Make the role, or name one that exists.")
        elif not trusted(role["AssumeRolePolicyDocument"]):
            yield failed(
                f"{field} {arn} does not trust {TASKS}, so that no task can have it",
                f"Allow sts:AssumeRole to the service {TASKS} in the role's trust policy.",
            )


def trusted(policy: Mapping[str, Any]) -> bool:
    """Whether some statement lets the service take the role on; its conditions are not judged."""
    statements = policy.get("Statement", [])
    return any(map(_allows, statements if isinstance(statements, list) else [statements]))


def _allows(statement: Mapping[str, Any]) -> bool:
    principal = statement.get("Principal", {})
    services = principal if isinstance(principal, str) else principal.get("Service", [])
    actions = _list(statement.get("Action", []))
    return (
        statement.get("Effect") == "Allow"
        and bool({TASKS, "*"} & set(_list(services)))
        and bool({"sts:assumerole", "sts:*", "*"} & {action.lower() for action in actions})
    )


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


ROLES = Check(
    name="Roles", about="The execution role and the task role exist and trust ecs-tasks.amazonaws.com.", look=look
)
