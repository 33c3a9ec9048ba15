"""The policy that is derived from the code lets the operator do what it does, and nothing else.

The lives of `lives.py` are lived under it, in a sandbox that refuses what it does not allow. Whether each of its
permissions is needed is judged by what they ask of IAM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from inference_operator.aws.errors import DENIED
from inference_operator.aws.iam import policy
from inference_sandbox.aws.calls import Call
from inference_sandbox.aws.policies import Access, allowed
from tests.operator import lives
from tests.operator.lives import LIVES, Life
from tests.operator.world import World

Policy = Mapping[str, Any]
MAKE, USE = "MakeOrAdoptWhatNamesItsOwner", "UseWhatNamesItsOwner"
"""Statements."""


@dataclass(frozen=True)
class Permission:
    """One action on one resource, as a statement of the policy allows it."""

    statement: str
    action: str
    resource: str

    def __str__(self) -> str:
        return f"{self.action} on {self.resource}"


AUTOSCALING = (
    "Amazon ECS developer guide, “IAM permissions required for Amazon ECS service auto scaling”: asked of IAM by "
    "Application Auto Scaling in the name of who calls it"
)
WITHOUT_A_CALL = {
    "cloudwatch:DeleteAlarms": AUTOSCALING,
    "cloudwatch:DescribeAlarms": AUTOSCALING,
    "cloudwatch:PutMetricAlarm": AUTOSCALING,
    "iam:CreateServiceLinkedRole": AUTOSCALING,
}
"""Permissions that AWS asks for though nobody calls the operation, and where it says so."""


def permissions(of: Policy) -> Iterator[Permission]:
    for statement in of["Statement"]:
        for action in listed(statement["Action"]):
            for resource in listed(statement["Resource"]):
                yield Permission(statement["Sid"], action, resource)


def without(taken: Permission, of: Policy) -> Policy:
    return {**of, "Statement": [part for statement in of["Statement"] for part in _without(taken, statement)]}


def _without(taken: Permission, statement: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The statement, or what is left of it, if anything is."""
    if statement["Sid"] != taken.statement:
        yield statement
        return
    element, gone = ("Action", taken.action) if taken.resource == "*" else ("Resource", taken.resource)
    left = [each for each in listed(statement[element]) if each != gone]
    if left:
        yield {**statement, element: left}


def listed(value: str | Sequence[str]) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def needless(of: Policy, asked: Sequence[Access]) -> list[str]:
    """The permissions without which everything that was asked would still be allowed."""
    return [
        str(each)
        for each in permissions(of)
        if each.action not in WITHOUT_A_CALL and all(allowed([without(each, of)], access) for access in asked)
    ]


def asked_in(calls: Sequence[Call]) -> list[Access]:
    return list({repr(access): access for call in calls for access in call.asked}.values())


def refused(calls: Sequence[Call]) -> set[str]:
    return {f"{call.service}:{call.operation}" for call in calls if call.error in DENIED}


def lived(life: Life, of: Policy, folder: Path) -> list[Call]:
    """The calls that a life makes under a policy."""
    world = World(folder)
    world.confine(of)
    return lives.calls(life, world)


def cut_short(life: Life, of: Policy, folder: Path) -> list[Call]:
    """Likewise; it waits in vain for what is refused."""
    world = World(folder)
    world.confine(of)
    with suppress(AssertionError):
        lives.calls(life, world)
    return world.own_calls()


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Life], list[Call]]:
    """What a life calls under the policy."""
    return cache(lambda life: lived(life, policy(), tmp_path_factory.mktemp(life.__name__)))


@pytest.fixture(scope="module")
def asked(calls: Callable[[Life], list[Call]]) -> list[Access]:
    """All that the lives ask of IAM."""
    return asked_in([call for life in LIVES for call in calls(life)])


@pytest.mark.parametrize("life", LIVES, ids=lambda life: life.__name__)
def test_nothing_that_is_done_in_a_life_is_refused(life: Life, calls: Callable[[Life], list[Call]]) -> None:
    assert refused(calls(life)) == set()


def test_every_permission_is_needed(asked: list[Access]) -> None:
    assert needless(policy(), asked) == []


def test_what_is_needed_without_a_call_is_in_the_policy() -> None:
    assert set(WITHOUT_A_CALL) <= {each.action for each in permissions(policy())}


@pytest.mark.parametrize("action", ["ecs:StopTask", "iam:PassRole"])
def test_a_permission_that_nothing_needs_is_found(action: str, asked: list[Access]) -> None:
    more = {"Sid": "More", "Effect": "Allow", "Action": action, "Resource": "arn:aws:iam::123456789012:role/other"}
    assert needless({**policy(), "Statement": [*policy()["Statement"], more]}, asked) == [
        f"{action} on arn:aws:iam::123456789012:role/other"
    ]


@pytest.mark.parametrize(
    ("life", "permission", "call"),
    [
        (lives.minimal, Permission(MAKE, "ecs:CreateService", "*"), "ecs:CreateService"),
        (lives.minimal, Permission(MAKE, "ecs:TagResource", "*"), "ecs:RegisterTaskDefinition"),
        (lives.minimal, Permission("Manage", "ecs:DescribeClusters", "*"), "ecs:DescribeClusters"),
        (
            lives.minimal,
            Permission("PassTheRolesOfTasks", "iam:PassRole", "arn:aws:iam::123456789012:role/inference-task"),
            "ecs:RegisterTaskDefinition",
        ),
        (
            lives.everything,
            Permission("PassTheRoleThatShiftsRequests", "iam:PassRole", lives.INFRASTRUCTURE),
            "ecs:CreateService",
        ),
        (
            lives.environment,
            Permission("TagRulesOfSecurityGroups", "ec2:CreateTags", "*"),
            "ec2:AuthorizeSecurityGroupIngress",
        ),
        (lives.environment, Permission(MAKE, "sqs:TagQueue", "*"), "sqs:CreateQueue"),
    ],
    ids=lambda value: str(value) if isinstance(value, Permission) else "",
)
def test_without_a_permission_what_needs_it_is_refused(
    life: Life, permission: Permission, call: str, tmp_path: Path
) -> None:
    assert permission in set(permissions(policy()))
    assert refused(cut_short(life, without(permission, policy()), tmp_path)) == {call}


@pytest.mark.parametrize("statement", ["PassTheRolesOfTasks", "PassTheRoleThatShiftsRequests"])
def test_a_role_may_be_passed_to_the_service_that_it_is_for_and_to_no_other(
    statement: str, asked: list[Access]
) -> None:
    changed = deepcopy(policy())
    [passing] = [each for each in changed["Statement"] if each["Sid"] == statement]
    passing["Condition"] = {"StringEquals": {"iam:PassedToService": "lambda.amazonaws.com"}}
    refused_now = {access.resource for access in asked if not allowed([changed], access)}
    assert refused_now == set(listed(passing["Resource"]))
