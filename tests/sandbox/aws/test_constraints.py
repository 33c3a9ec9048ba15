"""What a request must be like, whatever it asks: the enums, lengths, ranges and patterns of each service's model."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.world import World, refusal

LONG = "x" * 257
INVALID = "InvalidParameterException"


@follows("API references: the constraints and valid values of each member, “Common Errors”")
@differs("Of ECS it is known which values it refuses, and not in which words.")
@pytest.mark.parametrize(
    ("service", "operation", "request_", "code", "where"),
    [
        ("ecs", "create_cluster", {"tags": [{"key": "a;", "value": ""}]}, INVALID, "tags.1.member.key"),
        ("ecs", "list_tasks", {"desiredStatus": "WALKING"}, INVALID, "desiredStatus"),
        ("efs", "describe_access_points", {"FileSystemId": "models"}, "ValidationException", "fileSystemId"),
        ("elbv2", "describe_rules", {"PageSize": 401}, "ValidationError", "pageSize"),
        ("events", "put_rule", {"Name": "a b", "EventPattern": "{}"}, "ValidationException", "name"),
        ("logs", "create_log_group", {"logGroupName": "/a b"}, INVALID, "logGroupName"),
        ("logs", "create_log_group", {"logGroupName": "/a", "tags": {"k": LONG}}, INVALID, "tags.k.member"),
        ("servicediscovery", "create_service", {"Name": "a b"}, "InvalidInput", "name"),
    ],
)
def test_what_the_model_of_a_service_rules_out_is_refused(
    world: World, service: str, operation: str, request_: dict[str, Any], code: str, where: str
) -> None:
    refused = refusal(getattr(world.aws.client(service), operation), **request_)
    assert refused[::2] == (code, 400)
    assert refused[1].startswith("1 validation error detected: Value '")
    assert f"' at '{where}' failed to satisfy constraint: Member must " in refused[1]


@follows("API references: the pattern of a tag's key and value")
@pytest.mark.parametrize("value", ["größe 1/2 a=b+c@d", "日本語\u3000_-.:"])
def test_letters_of_any_script_are_letters(world: World, value: str) -> None:
    world.logs.create_log_group(logGroupName="/a", tags={"team": value})
    world.ecs.create_cluster(clusterName="other", tags=[{"key": "team", "value": value}])
