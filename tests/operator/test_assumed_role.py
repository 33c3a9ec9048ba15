"""An environment whose role the operator takes on, before the sandbox's STS."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest

from inference_operator.aws import clients
from inference_operator.aws.clients import SESSION_NAME, Role
from inference_operator.aws.errors import Denied, UnknownCaller
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


@contextmanager
def aws(environment: Mapping[str, str]) -> Iterator[None]:
    send = in_process.send
    with (
        mock.patch.dict(os.environ, environment),
        mock.patch("botocore.httpsession.URLLib3Session.send", lambda _, r: send(r)),
    ):
        yield


def taken_on(role: Role) -> Aws:
    with aws(OURS):
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


def test_while_there_are_no_credentials_nothing_is_done_in_our_own_account_instead(world: World) -> None:
    """As when the node's agent for them starts after the operator."""
    keyless = {name: value for name, value in OURS.items() if "KEY" not in name} | {"AWS_EC2_METADATA_DISABLED": "true"}
    with aws(keyless):
        made = clients.connect(REGION, Role(own_role(world)))
        with pytest.raises(UnknownCaller):
            made.ecs.list_tasks(cluster=CLUSTER)
    with aws(OURS):
        made.efs.describe_access_points()
        made.ecs.list_tasks(cluster=CLUSTER)
    for call in world.calls()[-2:]:
        assert call.principal.endswith(f":assumed-role/inference-operator/{SESSION_NAME}")
