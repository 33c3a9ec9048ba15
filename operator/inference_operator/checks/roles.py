"""The roles exist, and who needs them may take them on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inference_operator.aws.errors import AwsError, Denied, NotFound
from inference_operator.checks.base import Case, Check, Finding, Place, failed

TASKS = "ecs-tasks.amazonaws.com"
ECS = "ecs.amazonaws.com"


def look(case: Case) -> Iterator[Finding]:
    environment = case.environment
    own = case.spec.task_role_arn
    task_role = ("spec.taskRoleArn", own) if own else ("the environment's taskRoleArn", environment.task_role_arn)
    yield from _role(case, "the environment's executionRoleArn", environment.execution_role_arn)
    yield from _role(case, *task_role)


def look_for_all(place: Place) -> Iterator[Finding]:
    environment, balancer = place.environment, place.environment.load_balancer
    yield from _role(place, "spec.executionRoleArn", environment.execution_role_arn)
    yield from _role(place, "spec.taskRoleArn", environment.task_role_arn)
    if balancer is not None and balancer.infrastructure_role_arn is not None:
        yield from _role(
            place, "spec.loadBalancer.infrastructureRoleArn", balancer.infrastructure_role_arn, service=ECS
        )


def _role(place: Place, field: str, arn: str, *, service: str = TASKS) -> Iterator[Finding]:
    try:
        role = place.ask(place.aws.iam.get_role, "iam:GetRole", RoleName=arn.rpartition("/")[2])["Role"]
    except NotFound:
        role = {}
    if role.get("Arn") != arn:
        yield failed(f"{field} {arn} does not exist in the account", "Make the role, or name one that exists.")
    elif not trusted(role["AssumeRolePolicyDocument"], service):
        who = "no task can have it" if service == TASKS else "ECS can't shift requests with it"
        yield failed(
            f"{field} {arn} does not trust {service}, so that {who}",
            f"Allow sts:AssumeRole to the service {service} in the role's trust policy.",
        )


def look_at_assumed(place: Place) -> Iterator[Finding]:
    """Taken on with the first request to AWS, whatever that asks for."""
    role, cluster = place.environment.assume_role_arn, place.environment.cluster
    if role is None:
        return
    try:
        place.ask(place.aws.ecs.describe_clusters, "ecs:DescribeClusters", clusters=[cluster])
    except Denied as error:
        if error.operation.startswith("sts:AssumeRole"):
            step = error.next_step()
            yield failed(f"spec.assumeRoleArn {role} can't be taken on: {error}", f"{step[:1].upper()}{step[1:]}.")
    except AwsError:  # the other checks tell of it
        pass


def trusted(policy: Mapping[str, Any], service: str = TASKS) -> bool:
    """Whether some statement lets the service take the role on; its conditions are not judged."""
    statements = policy.get("Statement", [])
    return any(_allows(each, service) for each in (statements if isinstance(statements, list) else [statements]))


def _allows(statement: Mapping[str, Any], service: str) -> bool:
    principal = statement.get("Principal", {})
    services = principal if isinstance(principal, str) else principal.get("Service", [])
    actions = _list(statement.get("Action", []))
    return (
        statement.get("Effect") == "Allow"
        and bool({service, "*"} & set(_list(services)))
        and bool({"sts:assumerole", "sts:*", "*"} & {action.lower() for action in actions})
    )


def _list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


ROLES = Check(
    name="Roles", about="The execution role and the task role exist and trust ecs-tasks.amazonaws.com.", look=look
)
OF_ENVIRONMENT = Check(
    name="Roles",
    about="`executionRoleArn` and `taskRoleArn` exist and trust ecs-tasks.amazonaws.com, "
    "`loadBalancer.infrastructureRoleArn` exists and trusts ecs.amazonaws.com.",
    look=look_for_all,
)
ASSUMED_ROLE = Check(name="AssumedRole", about="The operator can take on `assumeRoleArn`.", look=look_at_assumed)
