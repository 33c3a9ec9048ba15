"""An environment whose role the operator takes on, before the sandbox's STS."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest import mock

import pytest

from inference_operator.aws import clients
from inference_operator.aws.clients import SESSION_NAME, Role
from inference_operator.aws.errors import CREDENTIALS, DENIED, Denied
from inference_operator.aws.ports import Aws
from inference_sandbox.aws import in_process
from tests.operator.world import CLUSTER, REGION, World

OTHER_ACCOUNT = "arn:aws:iam::222222222222:role/inference-operator"
OURS = {
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",  # nothing listens there: the sandbox answers in this process
    "AWS_ACCESS_KEY_ID": "AKIASANDBOXSANDBOX00",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    "AWS_CONFIG_FILE": os.devnull,
}


def taken_on(role: Role) -> Aws:
    send = in_process.send
    with (
        mock.patch.dict(os.environ, OURS),
        mock.patch("botocore.httpsession.URLLib3Session.send", lambda _, r: send(r)),
    ):
        made = clients.connect(REGION, role)
        made.ecs.list_tasks(cluster=CLUSTER)  # the credentials are fetched at the first call
    return made


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": "*", "Action": "sts:AssumeRole"}]}
    made.client("iam").create_role(RoleName="inference-operator", AssumeRolePolicyDocument=json.dumps(trust))
    return made


def own_role(world: World) -> str:
    arn: str = world.client("iam").get_role(RoleName="inference-operator")["Role"]["Arn"]
    return arn


def test_every_call_is_made_as_the_role_under_a_name_that_the_trail_shows(world: World) -> None:
    taken_on(Role(own_role(world), "prod-1"))
    [assumed, listed] = [call for call in world.calls() if call.service in ("sts", "ecs")]
    assert (assumed.operation, assumed.parameters["RoleArn"]) == ("AssumeRole", own_role(world))
    assert (assumed.parameters["RoleSessionName"], assumed.parameters["ExternalId"]) == (SESSION_NAME, "prod-1")
    assert listed.principal.endswith(f":assumed-role/inference-operator/{SESSION_NAME}")


def test_a_role_of_another_account_leads_there(world: World) -> None:
    with pytest.raises(Exception, match="ClusterNotFoundException"):  # it has no cluster
        taken_on(Role(OTHER_ACCOUNT))
    assert world.calls()[-1].account == "222222222222"


def test_a_role_that_may_not_be_taken_on_is_told_as_that(world: World) -> None:
    world.fault("deny", "sts:AssumeRole")
    with pytest.raises(Denied) as raised:
        taken_on(Role(own_role(world)))
    assert raised.value.operation == "sts:AssumeRole"
    assert "allow sts:AssumeRole to the operator's role" in raised.value.next_step()


@pytest.mark.parametrize("code", sorted(CREDENTIALS))
def test_credentials_that_are_not_valid_are_to_be_replaced_since_no_policy_mends_them(code: str) -> None:
    step = Denied(code=code, message="", operation="ecs:DescribeServices").next_step()
    assert "credentials that are valid" in step
    assert "iam-policy" not in step
    assert code in DENIED or code.endswith("CredentialsError"), "else it is no refusal"
