"""EventBridge events of ECS, delivered by rules to SQS and SNS (developer guide, "Amazon ECS events")."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.sandbox.aws.fidelity import follows
from tests.sandbox.aws.world import World


@pytest.fixture
def queue(world: World) -> str:
    return str(world.aws.client("sqs").create_queue(QueueName="events")["QueueUrl"])


def route(world: World, pattern: dict[str, Any], target: str, name: str = "rule") -> None:
    events = world.aws.client("events")
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": target}])


def received(world: World, queue: str) -> list[dict[str, Any]]:
    sqs, bodies = world.aws.client("sqs"), []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        for message in messages:
            bodies.append(json.loads(message["Body"]))
            sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    return bodies


QUEUE_ARN = "arn:aws:sqs:us-east-1:123456789012:events"


@follows("Developer guide, “Amazon ECS events”")
def test_all_three_kinds_of_events_reach_a_queue(world: World, queue: str) -> None:
    route(world, {"source": ["aws.ecs"]}, QUEUE_ARN)
    world.create()
    world.advance(120)
    bodies = received(world, queue)
    assert {body["detail-type"] for body in bodies} == {
        "ECS Task State Change",
        "ECS Deployment State Change",
        "ECS Service Action",
    }
    assert {body["source"] for body in bodies} == {"aws.ecs"}
    assert len({body["id"] for body in bodies}) == len(bodies)
    assert bodies[0]["time"] == "2026-01-01T00:00:00Z"
    assert {(body["account"], body["region"]) for body in bodies} == {("123456789012", "us-east-1")}


@follows("Developer guide, “Amazon ECS task state change events”")
def test_a_task_event_is_shaped_like_a_described_task_without_its_health(world: World, queue: str) -> None:
    route(world, {"detail-type": ["ECS Task State Change"], "detail": {"lastStatus": ["RUNNING"]}}, QUEUE_ARN)
    shown = world.create()
    world.advance(120)
    [body] = received(world, queue)
    detail = body["detail"]
    assert body["resources"] == [detail["taskArn"]]
    assert detail["clusterArn"] == shown["clusterArn"]
    assert detail["group"] == "service:web"
    assert detail["startedBy"] == shown["deployments"][0]["id"]
    assert (detail["lastStatus"], detail["desiredStatus"]) == ("RUNNING", "RUNNING")
    assert "healthStatus" not in detail
    assert "healthStatus" not in detail["containers"][0]
    assert detail["attachments"][0]["type"] == "eni"
    assert detail["version"] >= 4


@follows("Developer guide, “Amazon ECS service deployment state change events”")
def test_a_deployment_event_names_its_service_only_in_resources(world: World, queue: str) -> None:
    route(world, {"detail-type": ["ECS Deployment State Change"]}, QUEUE_ARN)
    shown = world.create()
    world.advance(120)
    bodies = received(world, queue)
    assert [body["detail"]["eventName"] for body in bodies] == [
        "SERVICE_DEPLOYMENT_IN_PROGRESS",
        "SERVICE_DEPLOYMENT_COMPLETED",
    ]
    assert bodies[0]["resources"] == [shown["serviceArn"]]
    assert set(bodies[0]["detail"]) == {"eventType", "eventName", "deploymentId", "updatedAt", "reason"}


@follows("Developer guide, “Amazon ECS service action events”")
def test_a_steady_state_is_a_service_action(world: World, queue: str) -> None:
    route(world, {"detail": {"eventName": ["SERVICE_STEADY_STATE"]}}, QUEUE_ARN)
    shown = world.create()
    world.advance(120)
    [body] = received(world, queue)
    assert body["resources"] == [shown["serviceArn"]]
    assert body["detail"] == {
        "eventType": "INFO",
        "eventName": "SERVICE_STEADY_STATE",
        "clusterArn": shown["clusterArn"],
        "createdAt": body["detail"]["createdAt"],
    }


@follows("EventBridge user guide, “Rules in Amazon EventBridge”")
def test_a_disabled_rule_delivers_nothing(world: World, queue: str) -> None:
    route(world, {"source": ["aws.ecs"]}, QUEUE_ARN)
    world.aws.client("events").disable_rule(Name="rule")
    world.create()
    world.advance(120)
    assert received(world, queue) == []


@follows("EventBridge user guide, “Rules in Amazon EventBridge”")
def test_a_rule_delivers_to_a_topic_too(world: World, queue: str) -> None:
    sns = world.aws.client("sns")
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=QUEUE_ARN, Attributes={"RawMessageDelivery": "true"})
    route(world, {"detail": {"eventName": ["SERVICE_STEADY_STATE"]}}, topic)
    world.create()
    world.advance(120)
    [body] = received(world, queue)
    assert body["detail"]["eventName"] == "SERVICE_STEADY_STATE"


@follows("Developer guide, “Amazon ECS events”: delivered at least once, in no particular order")
def test_events_may_come_twice_and_out_of_order(world: World, queue: str) -> None:
    route(world, {"detail-type": ["ECS Task State Change"]}, QUEUE_ARN)
    world.aws.disturb_events(duplicates=0.5)
    world.create(desiredCount=10)
    world.advance(120)
    bodies = received(world, queue)
    identifiers = [body["id"] for body in bodies]
    assert len(set(identifiers)) == 40
    assert len(identifiers) > 45
    assert identifiers != sorted(identifiers)
    for arn in {body["detail"]["taskArn"] for body in bodies}:
        told = [body["detail"] for body in bodies if body["detail"]["taskArn"] == arn]
        latest = max(told, key=lambda detail: detail["version"])
        assert latest["lastStatus"] == "RUNNING"


def test_a_target_that_is_gone_stops_nothing(world: World) -> None:
    route(world, {"source": ["aws.ecs"]}, QUEUE_ARN)
    world.create()
    world.advance(120)
    assert world.describe()["runningCount"] == 1
