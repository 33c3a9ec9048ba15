"""How the operator tells what AWS answers instead of what was asked: whose matter it is, and what to do."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    EndpointConnectionError,
    NoCredentialsError,
    ProxyConnectionError,
    SSLError,
)

from inference_operator.aws.clients import Translating
from inference_operator.aws.errors import DENIED, LONGEST_MESSAGE, THROTTLED, UNKNOWN_CALLER, AwsError
from inference_sandbox.aws.faults import Fault
from tests.operator.world import CLUSTER, Object, World

ALERTS = Path(__file__).parents[2] / "charts/inference-operator/files/alerts.yaml"
FROM_THE_FIELD = yaml.safe_load((Path(__file__).parent / "data/aws_errors.yaml").read_text())
SOON = {"Waiting", "Throttled", "AwsUnavailable"}
"""Reasons of what passes without anybody's doing: none of them makes an object Stalled."""


def refused(error: Exception, service: str = "ecs", method: str = "describe_services", name: str = "") -> AwsError:
    """What the operator's client raises where boto3's raises `error`."""
    client = mock.Mock(**{f"{method}.side_effect": error})
    client.meta.service_model.signing_name = service
    client.meta.method_to_api_mapping = {method: name or "DescribeServices"}
    with pytest.raises(AwsError) as raised:
        getattr(Translating(lambda _: client, lambda **_: None), method)()
    return raised.value


def answered(operation: str, code: str, message: str, status: int = 400, name: str | None = None) -> AwsError:
    service, _, asked = operation.partition(":")
    answer: Any = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return refused(ClientError(answer, name or asked), service, "asked", asked)


@pytest.mark.parametrize("case", FROM_THE_FIELD, ids=lambda case: f"{case['operation']} {case['message'][:60]}")
def test_what_aws_answers_is_told_by_what_it_means(case: dict[str, Any]) -> None:
    error = answered(case["operation"], case["code"], case["message"], case["status"])
    assert error.reason == case["reason"]
    assert case["next"] in error.next_step()
    assert error.retry_soon == (case["reason"] in SOON)
    assert str(error).startswith(f"{case['operation']}: {case['code']}: ")


@pytest.mark.parametrize(
    ("error", "reason", "step"),
    [
        (NoCredentialsError(), "AccessDenied", "give the operator credentials"),
        (
            EndpointConnectionError(endpoint_url="https://ecs.eu-nowhere-1.amazonaws.com/"),
            "AwsUnavailable",
            "spec.region of the InferenceEnvironment",
        ),
        (
            SSLError(endpoint_url="https://ecs.eu-west-1.amazonaws.com/", error=OSError("self-signed")),
            "AwsUnavailable",
            "BUNDLE",
        ),
        (ProxyConnectionError(proxy_url="http://proxy:3128"), "AwsUnavailable", "HTTPS_PROXY"),
        (
            CredentialRetrievalError(provider="container-role", error_msg="Read timeout"),
            "AwsUnavailable",
            "where the operator's credentials come from",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BotoCoreError) else "",
)
def test_what_never_came_to_aws_is_told_by_what_stands_in_between(error: BotoCoreError, reason: str, step: str) -> None:
    told = refused(error)
    assert told.reason == reason
    assert step in told.next_step()


@pytest.mark.parametrize("call", ["AssumeRole", "AssumeRoleWithWebIdentity"])
def test_credentials_that_are_denied_are_not_told_as_the_call_that_needed_them(call: str) -> None:
    message = f"Not authorized to perform sts:{call}"
    told = answered("ecs:DescribeServices", "AccessDenied", message, 403, name=call)
    assert told.operation == f"sts:{call}"
    assert told.next_step().startswith(f"allow sts:{call}")


@pytest.mark.parametrize(
    ("alert", "codes"),
    [
        ("InferenceOperatorAwsRefuses", DENIED | UNKNOWN_CALLER | {"NoCredentialsError", "PartialCredentialsError"}),
        ("InferenceOperatorAwsThrottles", THROTTLED),
    ],
)
def test_the_alert_knows_every_code_of_its_kind_and_no_other(alert: str, codes: frozenset[str]) -> None:
    [expression] = [rule["expr"] for rule in yaml.safe_load(ALERTS.read_text()) if rule.get("alert") == alert]
    pattern = re.compile(re.findall(r'code=~"([^"]*)"', expression)[0])
    assert {code for code in codes if not pattern.fullmatch(code)} == set()
    others = {case["code"] for case in FROM_THE_FIELD} - codes
    assert {code for code in others if pattern.fullmatch(code)} == set()


@pytest.mark.parametrize(
    "form",
    [
        "You are not authorized to perform this operation. Encoded authorization failure message: {}",
        "Unable to retrieve alarms. (Service: AmazonCloudWatch; Status Code: 403; Request ID: {})",
        "Role is not valid. RequestId: {}",
    ],
)
def test_what_differs_with_each_try_is_left_out_so_that_the_same_is_told_again(form: str) -> None:
    tries = [answered("ecs:CreateService", "ClientException", form.format(each)) for each in ("952ec10b", "6d72cf0f")]
    first, second = map(str, tries)
    assert first == second
    assert "952ec10b" in tries[0].message, "the log has it"
    assert not first.endswith((".", ":", ";"))


def test_a_message_is_one_line_of_bounded_length() -> None:
    told = str(answered("ecs:RegisterTaskDefinition", "ClientException", "1 validation error:\n" + "x" * 70_000))
    assert "\n" not in told
    assert len(told) < LONGEST_MESSAGE + 100


def test_what_another_kind_fails_of_is_looked_for_at_once(world: World) -> None:
    """The rule can't be changed without the target group, which was seen a moment ago and need not be looked at for
    an hour."""
    it = Object(world)
    it.live(lambda: it.ready)
    gone = Fault(
        kind="deny", service="elasticloadbalancing", operation="ModifyRule", code="TargetGroupNotFound", times=1
    )
    world.cloud.faults.add(gone)
    it.change(ingress={"paths": ["/other/*"]})

    it.look()
    assert it.condition("ListenerRuleReady")["reason"] == "Waiting"
    assert "TargetGroupNotFound" in it.condition("ListenerRuleReady")["message"]
    assert it.stands("Stalled")[0] == "Absent"
    assert "TargetGroup" not in it.memory.seen
    it.look()
    assert it.stands("ListenerRuleReady") == ("True", "AsSpecified")


def test_a_service_that_somebody_deletes_is_seen_to_go_at_once(world: World) -> None:
    """It was seen a moment ago, and need not be looked at for minutes."""
    it = Object(world)
    it.live(lambda: it.ready)
    world.client("ecs").delete_service(cluster=CLUSTER, service="shop_recommender", force=True)
    it.change(replicas=2)

    world.advance(it.look().requeue_after)
    assert "Service was not ACTIVE" in it.condition("Ready")["message"]
    assert it.stands("Stalled")[0] == "Absent"
    it.look()
    assert "it is made again when it is gone" in it.condition("ServiceReady")["message"]
    it.live(lambda: it.ready)


# IAM user guide, "Troubleshoot access denied error messages"
@pytest.mark.parametrize(
    ("why", "where"),
    [
        ("with an explicit deny in a service control policy", "service control policy"),
        ("because no service control policy allows the ecs:CreateService action", "service control policy"),
        ("because no resource control policy allows the ecs:CreateService action", "resource control policy"),
        ("with an explicit deny in a permissions boundary", "permissions boundary"),
        ("because no permissions boundary allows the ecs:CreateService action", "permissions boundary"),
        ("because no VPC endpoint policy allows the ecs:CreateService action", "VPC endpoint policy"),
        ("because no session policy allows the ecs:CreateService action", "session policy"),
        ("with an explicit deny in a resource-based policy", "resource-based policy"),
        ("because no identity-based policy allows the ecs:CreateService action", "to the operator's role"),
        ("", "to the operator's role"),
    ],
)
def test_the_policy_that_denies_is_named(why: str, where: str) -> None:
    who = "User: arn:aws:sts::123456789012:assumed-role/inference-operator/x is not authorized to perform"
    message = f"{who}: ecs:CreateService on resource: * {why}"
    step = answered("ecs:CreateService", "AccessDeniedException", message).next_step()
    assert where in step
    assert "ecs:CreateService" in step


def test_who_is_not_known_to_aws_goes_on_once_he_is(world: World) -> None:
    it = Object(world)
    world.cloud.faults.add(Fault(kind="deny", service="ecs", operation="*", code="InvalidSignatureException"))
    it.look()
    assert it.stands("Ready") == ("False", "AccessDenied")
    assert "credentials" in it.condition("Ready")["message"]
    world.cloud.faults.clear()
    it.live(lambda: it.ready)
