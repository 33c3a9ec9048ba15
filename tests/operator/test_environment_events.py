"""What an environment has for itself in AWS: its queue of events and the rule that fills it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from inference_operator.api.v1alpha1 import InferenceEnvironmentStatus
from inference_operator.engine.environments import queue_url
from tests.operator.world import CLUSTER, World
from tests.operator.world import Environment as InferenceEnvironment

QUEUE = "inference-events"
ARN = f"arn:aws:sqs:eu-west-1:123456789012:{QUEUE}"
OWNED = {"ecs-inference.dev/owner": "default", "ecs-inference.dev/uid": "e-1"}


class Environment(InferenceEnvironment):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.ask(queue=QUEUE)

    def ask(self, **events: str) -> None:
        """No events are asked for without any."""
        self.document["spec"]["events"] = events or None
        self.document["metadata"]["generation"] += 1

    @property
    def read_from(self) -> str | None:
        """Where events are to be read from."""
        return queue_url(InferenceEnvironmentStatus.model_validate(self.status))

    def message(self, name: str) -> str:
        return next(str(c["message"]) for c in self.status["conditions"] if c["type"] == name)


@pytest.fixture
def environment(world: World) -> Environment:
    return Environment(world)


def queues(world: World) -> list[str]:
    return [url.rpartition("/")[2] for url in world.client("sqs").list_queues().get("QueueUrls", [])]


def rules(world: World) -> list[str]:
    return [rule["Name"] for rule in world.client("events").list_rules()["Rules"]]


def url(world: World, name: str = QUEUE) -> str:
    return str(world.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])


def attributes(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.client("sqs").get_queue_attributes(QueueUrl=url(world), AttributeNames=["All"])[
        "Attributes"
    ]
    return found


def test_a_queue_and_a_rule_are_made_that_fit_together(world: World, environment: Environment) -> None:
    environment.look()
    read_from = environment.read_from
    assert read_from is not None
    assert read_from.endswith(f"/{QUEUE}")
    assert environment.stands("EventQueueReady") == environment.stands("EventRuleReady") == ("True", "AsSpecified")
    assert environment.message("Ready").endswith("events are heard")
    assert environment.document["status"]["events"] == {"queue": QUEUE, "url": read_from}

    (statement,) = json.loads(attributes(world)["Policy"])["Statement"]
    rule = world.client("events").describe_rule(Name=QUEUE)
    assert statement["Principal"] == {"Service": "events.amazonaws.com"}
    assert statement["Condition"] == {"ArnEquals": {"aws:SourceArn": rule["Arn"]}}
    assert (statement["Action"], statement["Resource"]) == ("sqs:SendMessage", ARN)
    assert [t["Arn"] for t in world.client("events").list_targets_by_rule(Rule=QUEUE)["Targets"]] == [ARN]
    assert world.client("sqs").list_queue_tags(QueueUrl=url(world))["Tags"] == OWNED
    tagged = world.client("events").list_tags_for_resource(ResourceARN=rule["Arn"])["Tags"]
    assert {tag["Key"]: tag["Value"] for tag in tagged} == OWNED


def test_a_second_look_changes_nothing(world: World, environment: Environment) -> None:
    environment.look()
    mark = world.mark
    again = Environment(world)
    again.document = environment.document
    again.look()
    assert [call for call in world.writes(since=mark) if ":Get" not in call] == []


def test_the_events_of_our_cluster_come_and_those_of_others_do_not(world: World, environment: Environment) -> None:
    environment.look()
    sqs, ecs = world.client("sqs"), world.client("ecs")
    ecs.create_cluster(clusterName="another")
    ecs.register_task_definition(
        family="web",
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[{"name": "web", "image": "web"}],
    )
    network = {"awsvpcConfiguration": {"subnets": world.account.subnets}}
    for cluster in (CLUSTER, "another"):
        ecs.create_service(
            cluster=cluster,
            serviceName=f"web-{cluster}",
            taskDefinition="web",
            desiredCount=1,
            launchType="FARGATE",
            networkConfiguration=network,
        )
    for _ in range(60):
        world.advance(timedelta(seconds=5))
    told = []
    while messages := sqs.receive_message(QueueUrl=url(world), MaxNumberOfMessages=10).get("Messages"):
        told += [json.loads(message["Body"]) for message in messages]
    assert {it["detail-type"] for it in told} == {
        "ECS Task State Change",
        "ECS Deployment State Change",
        "ECS Service Action",
    }
    assert not [it for it in told if "another" in json.dumps(it)]
    assert {it["detail"]["lastStatus"] for it in told if it["detail-type"].startswith("ECS Task")} == {"RUNNING"}


def test_what_somebody_changed_is_put_right(world: World, environment: Environment) -> None:
    environment.look()
    events, sqs = world.client("events"), world.client("sqs")
    events.disable_rule(Name=QUEUE)
    events.remove_targets(Rule=QUEUE, Ids=["inference-operator"])
    sqs.set_queue_attributes(QueueUrl=url(world), Attributes={"Policy": "", "VisibilityTimeout": "0"})
    environment.memory.forget()
    environment.look()
    assert events.describe_rule(Name=QUEUE)["State"] == "ENABLED"
    assert events.list_targets_by_rule(Rule=QUEUE)["Targets"]
    assert json.loads(attributes(world)["Policy"])["Statement"]
    assert attributes(world)["VisibilityTimeout"] == "30"


def test_a_target_that_somebody_has_made_send_a_part_of_each_event_sends_it_whole_again(
    world: World, environment: Environment
) -> None:
    environment.look()
    events = world.client("events")
    [target] = events.list_targets_by_rule(Rule=QUEUE)["Targets"]
    events.put_targets(Rule=QUEUE, Targets=[{**target, "InputPath": "$.detail"}])
    environment.look()
    assert events.list_targets_by_rule(Rule=QUEUE)["Targets"] == [target]


def test_what_a_rule_of_compliance_denies_at_the_queue_stays_and_what_it_allows_does_not(
    world: World, environment: Environment
) -> None:
    environment.look()
    ours = json.loads(attributes(world)["Policy"])
    everybody = {"Principal": "*", "Action": "sqs:*", "Resource": ARN}
    without_tls = {"Sid": "tls", "Effect": "Deny", **everybody, "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    put_policy(world, {**ours, "Id": "theirs", "Statement": [without_tls, *ours["Statement"]]})
    mark = world.mark
    environment.restart()
    environment.look()
    assert world.writes(since=mark) == []
    put_policy(world, {**ours, "Statement": [without_tls, {"Effect": "Allow", **everybody}]})
    environment.restart()
    environment.look()
    kept = json.loads(attributes(world)["Policy"])["Statement"]
    assert len(kept) == 2
    assert without_tls in kept
    assert ours["Statement"][0] in kept


def test_a_rule_that_somebody_disables_again_and_again_is_enabled_ever_more_seldom_and_that_is_told(
    world: World, environment: Environment
) -> None:
    environment.look()
    mark, end = world.mark, world.clock.now() + timedelta(hours=6)
    while world.clock.now() < end:
        outcome = environment.look()
        assert outcome.requeue_after >= timedelta(minutes=5)
        world.client("events").disable_rule(Name=QUEUE)
        world.advance(outcome.requeue_after)
    assert 6 <= world.writes(since=mark).count("events:PutRule") <= 12
    assert "EventRule State (put back" in environment.message("Contested")
    assert environment.stands("EventRuleReady") == ("False", "Contested")
    assert environment.stands("Ready")[0] == "True", "services run all the same"
    environment.edit()
    environment.look()
    assert environment.stands("EventRuleReady")[0] == "True", "another generation is asked for"


def put_policy(world: World, policy: dict[str, Any]) -> None:
    world.client("sqs").set_queue_attributes(QueueUrl=url(world), Attributes={"Policy": json.dumps(policy)})


def test_a_queue_that_is_gone_is_made_again(world: World, environment: Environment) -> None:
    environment.look()
    world.client("sqs").delete_queue(QueueUrl=url(world))
    environment.memory.forget()
    environment.look()
    assert environment.stands("EventQueueReady") == ("False", "Waiting"), "AWS keeps the name for a minute"
    world.advance(timedelta(seconds=61))
    environment.look()
    assert queues(world) == [QUEUE]


def test_a_queue_of_somebody_else_is_left_alone(world: World, environment: Environment) -> None:
    theirs = world.client("sqs").create_queue(QueueName=QUEUE, tags={"team": "search"})["QueueUrl"]
    environment.look()
    assert environment.read_from is None
    assert environment.stands("EventQueueReady") == ("False", "NotOwned")
    assert environment.stands("EventRuleReady") == ("False", "DependencyNotReady")
    assert environment.stands("Ready")[0] == "True", "services run all the same"
    assert rules(world) == []
    environment.take_away()
    assert world.client("sqs").list_queue_tags(QueueUrl=theirs)["Tags"] == {"team": "search"}


def test_a_rule_of_somebody_else_is_left_alone(world: World, environment: Environment) -> None:
    world.client("events").put_rule(Name=QUEUE, EventPattern='{"source":["aws.ec2"]}')
    environment.look()
    assert environment.read_from is None
    assert environment.stands("EventRuleReady") == ("False", "NotOwned")
    environment.take_away()
    assert json.loads(world.client("events").describe_rule(Name=QUEUE)["EventPattern"]) == {"source": ["aws.ec2"]}


def test_they_go_with_the_environment(world: World, environment: Environment) -> None:
    environment.look()
    assert environment.take_away().done
    assert (queues(world), rules(world)) == ([], [])
    assert environment.take_away().done, "doing it again is harmless"


def test_they_go_when_they_are_no_longer_asked_for(world: World, environment: Environment) -> None:
    environment.look()
    environment.ask()
    environment.look()
    assert environment.read_from is None
    assert (queues(world), rules(world)) == ([], [])
    environment.look()
    assert "events" not in environment.document["status"]
    assert environment.stands("EventQueueReady") == ("Absent", "")


def test_a_queue_with_another_name_takes_the_place_of_the_first(world: World, environment: Environment) -> None:
    environment.look()
    environment.ask(queue="renamed")
    for _ in range(3):
        environment.look()
    assert (queues(world), rules(world)) == (["renamed"], ["renamed"])
    assert environment.document["status"]["events"]["queue"] == "renamed"


def test_an_operator_that_may_not_make_a_queue_says_so_and_services_run(world: World, environment: Environment) -> None:
    world.fault("deny", "sqs:CreateQueue")
    environment.look()
    assert environment.read_from is None
    assert environment.stands("EventQueueReady") == ("False", "AccessDenied")
    assert "sqs:CreateQueue" in environment.message("EventQueueReady")
    assert environment.stands("Ready")[0] == "True"
    assert "asked instead" in environment.message("Ready")
