"""The door to the sandbox: records, faults, the HTTP server and its side door."""

from __future__ import annotations

import json
from contextlib import closing
from http.client import HTTPConnection
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from inference_sandbox.aws.faults import Fault
from inference_sandbox.aws.in_process import CREDENTIALS
from tests.sandbox.aws.fidelity import follows
from tests.sandbox.aws.world import World, refusal


@pytest.fixture
def url(world: World) -> str:
    return world.url


def over_http(service: str, url: str, attempts: int = 1) -> Any:
    make: Any = boto3.client
    config = Config(retries={"mode": "standard", "total_max_attempts": attempts})
    return make(service, region_name="us-east-1", endpoint_url=url, config=config, **CREDENTIALS)


def side_door(url: str, method: str, path: str, body: dict[str, Any] | None = None, *, status: int = 200) -> Any:
    with closing(HTTPConnection(url.removeprefix("http://"))) as connection:
        connection.request(method, f"/_sandbox{path}", json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        assert answer.status == status
        return json.load(answer)


def test_every_call_is_recorded_with_its_parameters_and_outcome(world: World) -> None:
    world.aws.calls.clear()
    refusal(world.ecs.describe_services, cluster="nowhere", services=["web"])
    world.efs.describe_file_systems()
    world.elb.describe_target_groups(Names=[])
    first, second, third = world.aws.calls
    assert (first.service, first.operation, first.status) == ("ecs", "DescribeServices", 400)
    assert first.error == "ClusterNotFoundException"
    assert first.parameters == {"cluster": "nowhere", "services": ["web"]}
    assert (second.service, second.operation, second.status, second.error) == (
        "elasticfilesystem",
        "DescribeFileSystems",
        200,
        None,
    )
    assert (third.service, third.operation) == ("elasticloadbalancing", "DescribeTargetGroups")
    assert first.at == world.clock.now()


def test_calls_are_found_by_operation(world: World) -> None:
    world.register()
    world.create()
    assert [call.operation for call in world.aws.calls.find(operation="CreateService")] == ["CreateService"]
    last = world.aws.calls[-1].number
    world.describe()
    assert [call.operation for call in world.aws.calls.find(since=last)] == ["DescribeServices"]


@follows("API reference, “Common Errors”")
@pytest.mark.parametrize(
    ("service", "call", "code", "status"),
    [
        ("ecs", "list_clusters", "ThrottlingException", 400),
        ("efs", "describe_file_systems", "ThrottlingException", 429),
        ("elbv2", "describe_load_balancers", "Throttling", 400),
        ("logs", "describe_log_groups", "ThrottlingException", 400),
        ("ec2", "describe_vpcs", "RequestLimitExceeded", 503),
        ("events", "list_rules", "ThrottlingException", 400),
        ("sts", "get_caller_identity", "Throttling", 400),
        ("cloudwatch", "describe_alarms", "ThrottlingException", 400),
    ],
)
def test_a_throttle_looks_as_the_service_makes_it_look(
    world: World, service: str, call: str, code: str, status: int
) -> None:
    world.aws.faults.add(Fault(kind="throttle", times=1))
    client = world.aws.client(service)
    assert refusal(getattr(client, call))[::2] == (code, status)
    getattr(client, call)()  # used up


@follows("API reference, “Common Errors”")
def test_a_server_error_is_a_500(world: World) -> None:
    world.aws.faults.add(Fault(kind="error", service="ecs", operation="List*"))
    assert refusal(world.ecs.list_clusters)[::2] == ("ServerException", 500)
    world.ecs.describe_clusters()
    world.aws.faults.clear()
    world.ecs.list_clusters()


@follows("API reference, “Common Errors”")
def test_a_denial_names_who_may_not_do_what(world: World) -> None:
    world.aws.faults.add(Fault(kind="deny", service="ecs", operation="CreateService"))
    code, message, status = refusal(world.ecs.create_service, **world.service_request())
    assert (code, status) == ("AccessDeniedException", 400)
    assert "arn:aws:iam::123456789012:root is not authorized to perform: ecs:CreateService" in message


@follows("AWS SDKs and tools reference, “Retry behavior”")
def test_a_lost_reply_had_its_effect(world: World) -> None:
    request = world.service_request()
    world.aws.faults.add(Fault(kind="lost", operation="CreateService", times=1))
    with pytest.raises(ConnectionClosedError):
        world.ecs.create_service(**request)
    assert world.describe()["status"] == "ACTIVE"
    assert world.aws.calls.find(operation="CreateService")[0].error == "ReplyLost"


@follows("AWS SDKs and tools reference, “Retry behavior”")
def test_a_lost_reply_over_http_is_retried_by_the_client_and_meets_its_own_effect(world: World, url: str) -> None:
    world.aws.faults.add(Fault(kind="lost", operation="CreateService", times=1))
    client = over_http("ecs", url, attempts=3)
    plain, token = world.service_request(), world.service_request(serviceName="other", clientToken="t1")
    with pytest.raises(ClientError, match="not idempotent"):
        client.create_service(**plain)
    world.aws.faults.add(Fault(kind="lost", operation="CreateService", times=1))
    assert client.create_service(**token)["service"]["serviceName"] == "other"


def test_a_fault_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="use one of throttle, error, deny, latency, lost"):
        Fault(kind="meteor")  # type: ignore[arg-type]  # that is the point
    with pytest.raises(ValueError, match="at most 1"):
        Fault(kind="error", probability=2)


def test_the_server_answers_on_loopback_as_in_process(world: World, url: str) -> None:
    assert url.startswith("http://127.0.0.1:")
    assert over_http("ecs", url).list_clusters()["clusterArns"] == world.ecs.list_clusters()["clusterArns"]
    assert over_http("sts", url).get_caller_identity()["Account"] == "123456789012"


def test_the_side_door_shows_calls_and_switches_faults(world: World, url: str) -> None:
    client = over_http("ecs", url)
    client.list_clusters()
    calls = side_door(url, "GET", "/calls?operation=ListClusters")["calls"]
    assert [(call["service"], call["operation"], call["status"]) for call in calls] == [("ecs", "ListClusters", 200)]
    side_door(url, "POST", "/faults", {"kind": "throttle", "service": "ecs", "times": 1})
    assert side_door(url, "GET", "/faults")["faults"][0]["kind"] == "throttle"
    assert refusal(client.list_clusters)[0] == "ThrottlingException"
    side_door(url, "POST", "/faults", {"kind": "error"})
    side_door(url, "DELETE", "/faults")
    client.list_clusters()


def test_the_side_door_says_what_is_wrong_with_a_request(url: str) -> None:
    for method, path, body, expected in (
        ("POST", "/faults", {"kind": "meteor"}, "use one of"),
        ("POST", "/faults", {"strength": 3}, "a fault takes"),
        ("GET", "/weather", None, "there is no GET /_sandbox/weather"),
    ):
        assert expected in side_door(url, method, path, body, status=400)["error"]


def test_time_advances_and_everything_is_forgotten_through_the_side_door(world: World, url: str) -> None:
    world.create()
    side_door(url, "POST", "/advance", {"seconds": 120})
    assert world.describe()["runningCount"] == 1
    running = world.tasks()[0]["taskArn"]
    side_door(url, "POST", "/reset")
    assert world.ecs.list_clusters()["clusterArns"] == []
    assert running in world.runner.stops


def test_secret_values_are_kept_out_of_the_record(world: World, url: str) -> None:
    world.aws.client("secretsmanager").create_secret(Name="db", SecretString="hunter2")
    assert "hunter2" not in json.dumps(side_door(url, "GET", "/calls"))


def test_an_operation_that_the_sandbox_lacks_is_said_to_be_unsupported(world: World) -> None:
    assert refusal(world.ecs.list_container_instances, cluster="inference")[0] == "UnsupportedFeatureException"
