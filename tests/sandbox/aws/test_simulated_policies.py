"""Simulations of what a principal may do."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.world import World, refusal

SIMULATION = "IAM API reference, SimulatePrincipalPolicy"
LOGS = "arn:aws:s3:::logs"


def role(world: World, *statements: dict[str, Any]) -> str:
    iam = world.aws.client("iam")
    arn: str = iam.create_role(RoleName="task", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    document = {"Version": "2012-10-17", "Statement": list(statements)}
    iam.put_role_policy(RoleName="task", PolicyName="all", PolicyDocument=json.dumps(document))
    return arn


def statement(effect: str, action: str, resource: str = "*", **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Action": action, "Resource": resource, **more}


def simulated(world: World, arn: str, *actions: str, **members: Any) -> list[tuple[str, str]]:
    answer = world.aws.client("iam").simulate_principal_policy(PolicySourceArn=arn, ActionNames=actions, **members)
    return [(each["EvalActionName"], each["EvalDecision"]) for each in answer["EvaluationResults"]]


@follows(SIMULATION)
@differs("Boundaries and policies of an organization are not simulated.")
def test_a_simulation_tells_what_a_roles_policies_decide_of_each_action(world: World) -> None:
    arn = role(world, statement("Allow", "s3:Put*", f"{LOGS}/*"), statement("Deny", "s3:PutObject", f"{LOGS}/locked/*"))
    asked = ("s3:PutObject", "s3:GetObject")
    assert simulated(world, arn, *asked, ResourceArns=[f"{LOGS}/a"]) == [
        ("s3:PutObject", "allowed"),
        ("s3:GetObject", "implicitDeny"),
    ]
    [(_, decision)] = simulated(world, arn, "s3:PutObject", ResourceArns=[f"{LOGS}/locked/a"])
    assert decision == "explicitDeny"


@follows("IAM API reference, EvaluationResult")
def test_of_several_resources_the_most_restrictive_verdict_is_the_actions(world: World) -> None:
    arn = role(world, statement("Allow", "s3:PutObject", f"{LOGS}/*"))
    both = [f"{LOGS}/a", "arn:aws:s3:::other/a"]
    assert simulated(world, arn, "s3:PutObject", ResourceArns=both) == [("s3:PutObject", "implicitDeny")]


@follows(SIMULATION)
def test_a_condition_key_that_the_simulation_is_not_given_is_named(world: World) -> None:
    condition = {"StringEquals": {"aws:SourceVpce": "vpce-1"}}
    arn = role(world, statement("Allow", "s3:PutObject", Condition=condition))
    iam = world.aws.client("iam")
    [result] = iam.simulate_principal_policy(PolicySourceArn=arn, ActionNames=["s3:PutObject"])["EvaluationResults"]
    assert (result["EvalDecision"], result["MissingContextValues"]) == ("implicitDeny", ["aws:sourcevpce"])
    given = [{"ContextKeyName": "aws:SourceVpce", "ContextKeyType": "string", "ContextKeyValues": ["vpce-1"]}]
    assert simulated(world, arn, "s3:PutObject", ContextEntries=given) == [("s3:PutObject", "allowed")]


@follows(SIMULATION)
def test_a_principal_that_there_is_not_cannot_be_simulated(world: World) -> None:
    call = world.aws.client("iam").simulate_principal_policy
    arn = "arn:aws:iam::123456789012:role/none"
    assert refusal(call, PolicySourceArn=arn, ActionNames=["s3:PutObject"])[0] == "NoSuchEntity"


@follows("S3 API reference, HeadBucket")
def test_a_bucket_is_found_from_every_region_and_tells_its_own(world: World) -> None:
    world.aws.client("s3", "us-west-2").create_bucket(
        Bucket="logs", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    head = world.aws.client("s3", "eu-west-1").head_bucket
    assert head(Bucket="logs")["BucketRegion"] == "us-west-2"
    with pytest.raises(ClientError) as raised:
        head(Bucket="none")
    assert raised.value.response["Error"]["Code"] == "404"
