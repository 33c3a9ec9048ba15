"""What AWS's errors are told as, with what to do about them."""

from __future__ import annotations

import pytest

from inference_operator.aws.errors import DENIED, UNRECOGNISED, from_answer
from inference_sandbox.aws.faults import Fault
from tests.operator.world import Object, World

DENIAL = "User: arn:aws:sts::123456789012:assumed-role/inference-operator/x is not authorized to perform: "


def next_step(why: str, code: str = "AccessDeniedException") -> str:
    message = f"{DENIAL}ecs:CreateService on resource: * {why}"
    return from_answer(code=code, message=message, operation="ecs:CreateService", status=400).next_step()


# IAM user guide, "Troubleshoot access denied error messages"
@pytest.mark.parametrize(
    ("why", "where"),
    [
        ("with an explicit deny in a service control policy", "service control policy"),
        (
            "with an explicit deny in a service control policy: arn:aws:organizations::1:policy/o-1/p-1",
            "service control policy",
        ),
        ("because no service control policy allows the ecs:CreateService action", "service control policy"),
        ("because no resource control policy allows the ecs:CreateService action", "resource control policy"),
        ("with an explicit deny in a permissions boundary", "permissions boundary"),
        ("because no permissions boundary allows the ecs:CreateService action", "permissions boundary"),
        ("because no VPC endpoint policy allows the ecs:CreateService action", "VPC endpoint policy"),
        ("because no session policy allows the ecs:CreateService action", "session policy"),
        ("with an explicit deny in a resource-based policy", "resource-based policy"),
    ],
)
def test_of_what_another_policy_denies_that_one_is_named(why: str, where: str) -> None:
    assert next_step(why) == (
        f"have ecs:CreateService allowed in the {where} that denies it: the operator's own role can't allow it"
    )


@pytest.mark.parametrize("why", ["because no identity-based policy allows the ecs:CreateService action", ""])
def test_of_what_no_policy_of_the_role_allows_the_action_is_named(why: str) -> None:
    assert next_step(why).startswith("allow ecs:CreateService to the operator's role")


@pytest.mark.parametrize("code", sorted(UNRECOGNISED))
def test_who_is_not_recognised_is_not_told_to_allow_anything(code: str) -> None:
    """API reference, "Common error types"; re:Post, "validate access credentials", of regions to be opted in to."""
    step = next_step("", code)
    assert "credentials and its clock" in step
    assert "opted in" in step
    assert "allow " not in step


def test_no_code_is_of_both() -> None:
    assert not UNRECOGNISED & DENIED


def test_a_clock_that_is_wrong_is_told_as_such_and_it_goes_on_once_it_is_right(world: World) -> None:
    it = Object(world)
    world.cloud.faults.add(Fault(kind="deny", service="ecs", operation="*", code="InvalidSignatureException"))
    it.look()
    assert it.stands("Ready") == ("False", "AccessDenied")
    assert "InvalidSignatureException" in it.condition("Ready")["message"]
    assert "its clock" in it.condition("Ready")["message"]
    world.cloud.faults.clear()
    it.live(lambda: it.ready)
