"""Queues, topics and rules that an operator makes for itself (SQS, SNS and EventBridge through the raw API)."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import pytest
from moto.core.utils import unix_time_millis

from inference_sandbox.aws import standard_queue
from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.test_modes import Role, allow
from tests.sandbox.aws.world import World, refusal

ACCOUNT = "123456789012"
QUEUE, DEAD = f"arn:aws:sqs:us-east-1:{ACCOUNT}:inbox", f"arn:aws:sqs:us-east-1:{ACCOUNT}:dead"
RULE = f"arn:aws:events:us-east-1:{ACCOUNT}:rule/ecs"
STEADY = {"source": ["aws.ecs"], "detail": {"eventName": ["SERVICE_STEADY_STATE"]}}


@pytest.fixture
def sqs(world: World) -> Any:
    return world.aws.client("sqs")


def made(sqs: Any, name: str = "inbox", **attributes: str) -> str:
    return str(sqs.create_queue(QueueName=name, Attributes=attributes)["QueueUrl"])


def bodies(sqs: Any, queue: str) -> list[str]:
    found = []
    while messages := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        found += [message["Body"] for message in messages]
        entries = [{"Id": str(n), "ReceiptHandle": each["ReceiptHandle"]} for n, each in enumerate(messages)]
        assert len(sqs.delete_message_batch(QueueUrl=queue, Entries=entries)["Successful"]) == len(messages)
    return found


def counts(sqs: Any, queue: str) -> tuple[int, ...]:
    """Messages that are available, delayed, in flight."""
    names = [f"ApproximateNumberOfMessages{which}" for which in ("", "Delayed", "NotVisible")]
    found = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=names)["Attributes"]
    return tuple(int(found[name]) for name in names)


def route(world: World, target: str, **members: Any) -> None:
    events = world.aws.client("events")
    events.put_rule(Name="ecs", EventPattern=json.dumps(STEADY))
    answer = events.put_targets(Rule="ecs", Targets=[{"Id": "1", "Arn": target} | members])
    assert answer["FailedEntryCount"] == 0


def allowing(action: str, resource: str, source: str = RULE) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": action,
        "Resource": resource,
        "Condition": {"ArnEquals": {"aws:SourceArn": source}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def steady(world: World) -> None:
    world.create()
    world.advance(120)


# -- queues


@follows("SQS API reference, CreateQueue")
def test_a_queue_is_made_once_and_another_one_of_its_name_refused(sqs: Any) -> None:
    url = made(sqs, VisibilityTimeout="30")
    assert made(sqs, VisibilityTimeout="30") == url
    request = {"QueueName": "inbox", "Attributes": {"VisibilityTimeout": "31"}}
    assert refusal(sqs.create_queue, **request)[::2] == ("QueueAlreadyExists", 400)
    assert refusal(sqs.get_queue_url, QueueName="absent")[0] == "AWS.SimpleQueueService.NonExistentQueue"


@follows("SQS API reference, DeleteQueue, CreateQueue: QueueDeletedRecently")
def test_a_deleted_name_is_free_after_a_minute(world: World, sqs: Any) -> None:
    sqs.delete_queue(QueueUrl=made(sqs))
    assert refusal(sqs.create_queue, QueueName="inbox")[0] == "AWS.SimpleQueueService.QueueDeletedRecently"
    world.advance(60)
    made(sqs)


@follows("SQS API reference, SetQueueAttributes")
@pytest.mark.parametrize(
    ("name", "value"),
    [("VisibilityTimeout", "43201"), ("ReceiveMessageWaitTimeSeconds", "21"), ("Policy", "{no"), ("RedrivePolicy", "")],
)
def test_attributes_out_of_range_are_refused_and_others_kept(sqs: Any, name: str, value: str) -> None:
    url = made(sqs)
    if value:
        code = refusal(sqs.set_queue_attributes, QueueUrl=url, Attributes={name: value})[0]
        assert code == "InvalidAttributeValue"
    policy = allowing("sqs:SendMessage", QUEUE)
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy, "VisibilityTimeout": "45"})
    shown = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert json.loads(shown["Policy"]) == json.loads(policy)
    assert (shown["VisibilityTimeout"], shown["QueueArn"]) == ("45", QUEUE)
    assert int(shown["CreatedTimestamp"]) <= int(shown["LastModifiedTimestamp"]), "in whole seconds"


@follows("SQS developer guide, “Amazon SQS visibility timeout”")
@differs("Messages keep real time: a clock that is moved does not move them.")
def test_a_received_message_is_hidden_until_its_visibility_timeout_ends(sqs: Any) -> None:
    url = made(sqs, VisibilityTimeout="30")
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    [again] = sqs.receive_message(QueueUrl=url, AttributeNames=["ApproximateReceiveCount"])["Messages"]
    assert (again["Body"], again["Attributes"]["ApproximateReceiveCount"]) == ("hello", "2")


@follows("SQS developer guide, “Using dead-letter queues in Amazon SQS”")
def test_a_message_that_is_received_too_often_goes_to_the_dead_letters(sqs: Any) -> None:
    dead = made(sqs, "dead")
    redrive = json.dumps({"deadLetterTargetArn": DEAD, "maxReceiveCount": 2})
    url = made(sqs, VisibilityTimeout="0", RedrivePolicy=redrive)
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    for _ in range(2):
        assert len(sqs.receive_message(QueueUrl=url)["Messages"]) == 1
    assert "Messages" not in sqs.receive_message(QueueUrl=url)
    assert bodies(sqs, dead) == ["poison"]


@follows("SQS API reference, DeleteMessageBatch")
def test_a_batch_tells_what_was_deleted_and_what_was_not(sqs: Any) -> None:
    url = made(sqs)
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    entries = [{"Id": "a", "ReceiptHandle": message["ReceiptHandle"]}, {"Id": "b", "ReceiptHandle": "never"}]
    answer = sqs.delete_message_batch(QueueUrl=url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["a"]
    assert [(each["Id"], each["Code"]) for each in answer["Failed"]] == [("b", "ReceiptHandleIsInvalid")]


@follows("SQS developer guide, “Amazon SQS short and long polling”")
def test_a_long_poll_waits_for_a_message_and_holds_up_nobody(world: World, sqs: Any) -> None:
    url = made(sqs)
    found: list[dict[str, Any]] = []

    def poll() -> None:
        found.extend(sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20).get("Messages") or [])

    waiting = threading.Thread(target=poll)
    began = time.monotonic()
    waiting.start()
    world.create()
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    waiting.join(15)
    assert [message["Body"] for message in found] == ["hello"]
    assert time.monotonic() - began < 15


@follows("SQS API reference, DeleteMessage")
@differs("AWS may delete by an old handle; the reference promises only that it says so.")
def test_a_message_is_deleted_by_its_latest_handle_alone(sqs: Any) -> None:
    url = made(sqs, VisibilityTimeout="0")
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    old, new = (sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"] for _ in range(2))
    sqs.delete_message(QueueUrl=url, ReceiptHandle=old)
    assert counts(sqs, url) == (1, 0, 0)
    for _ in range(2):  # the second time there is none
        sqs.delete_message(QueueUrl=url, ReceiptHandle=new)
    assert counts(sqs, url) == (0, 0, 0)
    other = made(sqs, "other")
    assert refusal(sqs.delete_message, QueueUrl=other, ReceiptHandle=new)[0] == "ReceiptHandleIsInvalid"


@follows("SQS API reference, GetQueueAttributes, SendMessage: DelaySeconds")
def test_what_waits_is_counted_as_available_delayed_or_in_flight(sqs: Any) -> None:
    url = made(sqs)
    for body, delay in (("first", 0), ("second", 0), ("late", 1)):
        sqs.send_message(QueueUrl=url, MessageBody=body, DelaySeconds=delay)
    assert counts(sqs, url) == (2, 1, 0)
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=1)
    assert counts(sqs, url) == (1, 1, 1)
    assert bodies(sqs, url) == ["second"]
    found = [sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)["Messages"][0]["Body"] for _ in range(2)]
    assert sorted(found) == ["first", "late"], "each as soon as its time is over"


@follows("SQS API reference, ChangeMessageVisibility")
@differs("MessageNotInflight is not told: nobody is known to have seen AWS tell it.")
def test_visibility_is_changed_of_a_message_in_flight_alone_and_to_twelve_hours_in_all(sqs: Any) -> None:
    url = made(sqs)
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    handle = sqs.receive_message(QueueUrl=url)["Messages"][0]["ReceiptHandle"]

    def change(seconds: int) -> dict[str, Any]:
        return {"QueueUrl": url, "ReceiptHandle": handle, "VisibilityTimeout": seconds}

    sqs.change_message_visibility(**change(43_100))
    code, message, _ = refusal(sqs.change_message_visibility, **change(43_200))
    assert (code, "beyond the limit [43200 seconds]" in message) == ("InvalidParameterValue", True)
    sqs.change_message_visibility(**change(0))
    sqs.change_message_visibility(**change(30))
    assert counts(sqs, url) == (1, 0, 0)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    code, message, _ = refusal(sqs.change_message_visibility, **change(30))
    assert (code, "Message does not exist" in message) == ("InvalidParameterValue", True)


@follows("SQS API reference, PurgeQueue")
@differs("All is gone at once; AWS takes up to a minute.")
def test_a_queue_is_purged_of_all_that_it_holds_and_not_twice_a_minute(sqs: Any) -> None:
    url = made(sqs)
    for delay in (0, 0, 900):
        sqs.send_message(QueueUrl=url, MessageBody="hello", DelaySeconds=delay)
    [message] = sqs.receive_message(QueueUrl=url)["Messages"]
    sqs.purge_queue(QueueUrl=url)
    assert counts(sqs, url) == (0, 0, 0)
    sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    assert refusal(sqs.purge_queue, QueueUrl=url)[0] == "AWS.SimpleQueueService.PurgeQueueInProgress"


@follows("SQS API reference, SetQueueAttributes: MessageRetentionPeriod")
def test_a_message_is_kept_no_longer_than_the_queue_says(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    url = made(sqs, MessageRetentionPeriod="60")
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    sqs.receive_message(QueueUrl=url, VisibilityTimeout=0)
    assert counts(sqs, url) == (1, 0, 0)
    monkeypatch.setattr(standard_queue, "unix_time_millis", lambda: unix_time_millis() + 61_000)
    assert counts(sqs, url) == (0, 0, 0)


@follows("SQS API reference, ReceiveMessage: OverLimit")
def test_no_more_messages_are_in_flight_than_the_quota_lets(sqs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert standard_queue.IN_FLIGHT == 120_000
    monkeypatch.setattr(standard_queue, "IN_FLIGHT", 2)
    url = made(sqs)
    for _ in range(3):
        sqs.send_message(QueueUrl=url, MessageBody="hello")
    assert len(sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=2)["Messages"]) == 2
    assert refusal(sqs.receive_message, QueueUrl=url)[0] == "OverLimit"


@follows("SQS API reference, DeleteMessageBatch, ChangeMessageVisibilityBatch: errors")
@pytest.mark.parametrize("call", ["delete_message_batch", "change_message_visibility_batch"])
@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ([], "AWS.SimpleQueueService.EmptyBatchRequest"),
        ([str(number) for number in range(11)], "AWS.SimpleQueueService.TooManyEntriesInBatchRequest"),
        (["a", "a"], "AWS.SimpleQueueService.BatchEntryIdsNotDistinct"),
        (["a b"], "AWS.SimpleQueueService.InvalidBatchEntryId"),
    ],
)
def test_a_batch_out_of_shape_is_refused_whole(sqs: Any, call: str, ids: list[str], error: str) -> None:
    url = made(sqs)
    entries = [{"Id": each, "ReceiptHandle": "x"} for each in ids]
    assert refusal(getattr(sqs, call), QueueUrl=url, Entries=entries)[0] == error


@follows("SQS API reference, ChangeMessageVisibilityBatch")
def test_a_batch_of_changed_visibilities_tells_each_outcome(sqs: Any) -> None:
    url = made(sqs)
    for _ in range(2):
        sqs.send_message(QueueUrl=url, MessageBody="hello")
    messages = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"]
    entries = [
        {"Id": "a", "ReceiptHandle": messages[0]["ReceiptHandle"], "VisibilityTimeout": 0},
        {"Id": "b", "ReceiptHandle": messages[1]["ReceiptHandle"], "VisibilityTimeout": 43_201},
        {"Id": "c", "ReceiptHandle": "never", "VisibilityTimeout": 0},
    ]
    answer = sqs.change_message_visibility_batch(QueueUrl=url, Entries=entries)
    assert [each["Id"] for each in answer["Successful"]] == ["a"]
    failed = [(each["Id"], each["Code"]) for each in answer["Failed"]]
    assert failed == [("b", "InvalidParameterValue"), ("c", "ReceiptHandleIsInvalid")]
    assert counts(sqs, url) == (1, 0, 1)


@follows("SQS developer guide, “Amazon SQS FIFO queues”")
def test_a_fifo_queue_keeps_the_order_of_a_group_and_drops_what_is_sent_twice(sqs: Any) -> None:
    url = made(sqs, "inbox.fifo", FifoQueue="true")
    for body in ("first", "second", "second"):
        sqs.send_message(QueueUrl=url, MessageBody=body, MessageGroupId="g", MessageDeduplicationId=body)
    [first] = sqs.receive_message(QueueUrl=url)["Messages"]
    assert "Messages" not in sqs.receive_message(QueueUrl=url), "one of its group is in flight"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    assert (first["Body"], bodies(sqs, url)) == ("first", ["second"])


def test_a_call_costs_the_same_however_many_messages_there_are(sqs: Any) -> None:
    few, many = (costs(sqs, f"q{count}", count) for count in (20, 2000))
    assert few.keys() == many.keys()
    for call, cost in many.items():
        assert cost < few[call] + 1000, f"{call} searches what is there: {few[call]} steps, {cost} with 2,000 messages"


def costs(sqs: Any, name: str, count: int) -> dict[str, int]:
    """Steps of the interpreter for each call, where so many messages wait and as many are in flight."""
    url = made(sqs, name)
    entries = [{"Id": str(number), "MessageBody": "hello"} for number in range(10)]
    for _ in range(count // 5):
        sqs.send_message_batch(QueueUrl=url, Entries=entries)
    received = [sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)["Messages"] for _ in range(count // 10)]
    held = {"QueueUrl": url, "ReceiptHandle": received[-1][-1]["ReceiptHandle"]}
    return {
        "SendMessage": steps(lambda: sqs.send_message(QueueUrl=url, MessageBody="hello")),
        "ReceiveMessage": steps(lambda: sqs.receive_message(QueueUrl=url)),
        "GetQueueAttributes": steps(lambda: sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])),
        "ChangeMessageVisibility": steps(lambda: sqs.change_message_visibility(**held, VisibilityTimeout=60)),
        "DeleteMessage": steps(lambda: sqs.delete_message(**held)),
    }


def steps(call: Callable[[], object]) -> int:
    """Instructions of Python's that a call takes: no clock, so no other process is measured."""
    taken = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal taken
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        taken += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return taken


# -- rules


@follows("EventBridge API reference, PutRule, PutTargets, DescribeRule, ListTargetsByRule, RemoveTargets, DeleteRule")
def test_a_rule_is_made_shown_changed_and_taken_away(world: World, sqs: Any) -> None:
    events = world.aws.client("events")
    made(sqs)
    assert refusal(events.put_rule, Name="ecs", EventPattern="{no")[0] == "InvalidEventPatternException"
    assert refusal(events.describe_rule, Name="ecs")[0] == "ResourceNotFoundException"
    route(world, QUEUE)
    assert json.loads(events.describe_rule(Name="ecs")["EventPattern"]) == STEADY
    events.put_rule(Name="ecs", EventPattern=json.dumps({"source": ["aws.ecs"]}))
    assert [each["Arn"] for each in events.list_targets_by_rule(Rule="ecs")["Targets"]] == [QUEUE]
    assert refusal(events.delete_rule, Name="ecs")[0] == "ValidationException"
    events.remove_targets(Rule="ecs", Ids=["1"])
    events.delete_rule(Name="ecs")
    assert refusal(events.describe_rule, Name="ecs")[0] == "ResourceNotFoundException"


@follows("EventBridge API reference, PutRule: tags, PutTargets: five targets, TagResource: 50 tags")
def test_a_rule_that_is_there_keeps_its_tags_and_has_five_targets_and_fifty_tags_at_most(world: World) -> None:
    events, pattern = world.aws.client("events"), json.dumps({"source": ["aws.ecs"]})
    arn = events.put_rule(Name="rule", EventPattern=pattern, Tags=[{"Key": "team", "Value": "a"}])["RuleArn"]
    events.put_rule(Name="rule", EventPattern=pattern, Tags=[{"Key": "other", "Value": "b"}])
    assert events.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "team", "Value": "a"}]
    fifty = [{"Key": f"k{number}", "Value": ""} for number in range(50)]
    assert refusal(events.tag_resource, ResourceARN=arn, Tags=fifty)[::2] == ("LimitExceededException", 400)

    targets = [{"Id": str(number), "Arn": f"arn:aws:sqs:us-east-1:123456789012:q{number}"} for number in range(6)]
    events.put_targets(Rule="rule", Targets=targets[:5])
    events.put_targets(Rule="rule", Targets=targets[:1])
    assert refusal(events.put_targets, Rule="rule", Targets=targets[5:])[0] == "LimitExceededException"


@follows("EventBridge API reference, Target.Input, InputPath, InputTransformer")
def test_a_target_gets_the_event_as_it_wants_it(world: World, sqs: Any) -> None:
    url = made(sqs)
    route(world, QUEUE)
    transformer = {"InputPathsMap": {"name": "$.detail.eventName"}, "InputTemplate": '{"what": "<name>"}'}
    targets = [
        {"Id": "2", "Arn": QUEUE, "Input": '"constant"'},
        {"Id": "3", "Arn": QUEUE, "InputPath": "$.detail.eventName"},
        {"Id": "4", "Arn": QUEUE, "InputTransformer": transformer},
    ]
    world.aws.client("events").put_targets(Rule="ecs", Targets=targets)
    steady(world)
    whole, *rest = [json.loads(body) for body in bodies(sqs, url)]
    assert whole["detail-type"] == "ECS Service Action"
    assert rest == ["constant", "SERVICE_STEADY_STATE", {"what": "SERVICE_STEADY_STATE"}]


@follows("EventBridge user guide, “Using dead-letter queues to process undelivered events”")
def test_what_cannot_be_delivered_goes_to_the_dead_letters_of_the_target(world: World, sqs: Any) -> None:
    dead = made(sqs, "dead")
    route(world, QUEUE, DeadLetterConfig={"Arn": DEAD})  # there is no such queue
    steady(world)
    assert [json.loads(body)["source"] for body in bodies(sqs, dead)] == ["aws.ecs"]


@follows("EventBridge API reference, PutEvents")
@differs("AWS lets nobody put events whose source begins with aws.; here that is a way to rehearse one.")
def test_events_that_somebody_puts_reach_topics_and_queues(world: World, sqs: Any) -> None:
    sns, url = world.aws.client("sns"), made(sqs)
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=QUEUE, Attributes={"RawMessageDelivery": "true"})
    route(world, topic)
    events = world.aws.client("events")
    good = {"Source": "aws.ecs", "DetailType": "ECS Service Action", "Resources": ["arn:1"]}
    detail = json.dumps({"eventName": "SERVICE_STEADY_STATE"})
    entries = [good | {"Detail": detail}, good | {"Detail": "{no"}, good]
    answer = events.put_events(Entries=entries)
    assert answer["FailedEntryCount"] == 2
    assert [each.get("ErrorCode") for each in answer["Entries"]] == [None, "MalformedDetail", "InvalidArgument"]
    [event] = [json.loads(body) for body in bodies(sqs, url)]
    assert (event["id"], event["resources"]) == (answer["Entries"][0]["EventId"], ["arn:1"])


# -- permissions


@follows("EventBridge user guide, “Using resource-based policies for Amazon EventBridge”: Amazon SQS permissions")
@pytest.mark.parametrize(
    ("policy", "arrives"),
    [
        (None, False),
        (allowing("sqs:SendMessage", QUEUE), True),
        (allowing("sqs:*", "*"), True),
        (allowing("sqs:ReceiveMessage", QUEUE), False),
        (allowing("sqs:SendMessage", DEAD), False),
        (allowing("sqs:SendMessage", QUEUE, RULE + "-other"), False),
    ],
)
def test_in_iam_mode_a_queue_must_let_the_rule_send(world: World, sqs: Any, policy: str | None, arrives: bool) -> None:
    url = made(sqs, **({"Policy": policy} if policy else {}))
    route(world, QUEUE)
    world.aws.enforce_iam()
    steady(world)
    assert bool(bodies(sqs, url)) is arrives


@follows("EventBridge user guide, “Using resource-based policies for Amazon EventBridge”: Amazon SNS permissions")
def test_in_iam_mode_a_topic_must_let_the_rule_publish(world: World, sqs: Any) -> None:
    sns, url = world.aws.client("sns"), made(sqs)
    topic = sns.create_topic(Name="alerts")["TopicArn"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=QUEUE)
    route(world, topic)
    world.aws.enforce_iam()
    steady(world)
    assert bodies(sqs, url) == []
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=allowing("sns:Publish", topic))
    world.ecs.update_service(cluster="inference", service="web", desiredCount=2)
    world.advance(120)
    assert len(bodies(sqs, url)) == 1


@follows("API references, CreateQueue and PutRule: tags; EC2 user guide, “Grant permission to tag on creation”")
def test_in_iam_mode_what_is_made_with_tags_needs_leave_to_tag_by_its_service_s_word(world: World) -> None:
    group = world.aws.client("ec2").create_security_group(GroupName="g", Description="g")["GroupId"]
    role = Role(world, allow("sqs:CreateQueue", "events:PutRule", "ec2:AuthorizeSecurityGroupIngress"))
    tag = {"Key": "team", "Value": "shop"}
    permission = {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 1, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    opened = {"GroupId": group, "IpPermissions": [permission]}
    specification = {"ResourceType": "security-group-rule", "Tags": [tag]}
    for service, call, plain, tags, leave in (
        ("sqs", "create_queue", {"QueueName": "q"}, {"tags": {"team": "shop"}}, "sqs:TagQueue"),
        ("events", "put_rule", {"Name": "r", "EventPattern": "{}"}, {"Tags": [tag]}, "events:TagResource"),
        ("ec2", "authorize_security_group_ingress", opened, {"TagSpecifications": [specification]}, "ec2:CreateTags"),
    ):
        method = getattr(role.client(service), call)
        assert leave in refusal(method, **plain, **tags)[1]
        method(**plain)


@follows("SQS developer guide, “Amazon SQS API permissions”: batches")
def test_in_iam_mode_a_batch_of_messages_needs_leave_for_one(world: World, sqs: Any) -> None:
    url = made(sqs)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    role = Role(world, allow("sqs:ReceiveMessage", "sqs:DeleteMessage"))
    theirs = role.client("sqs")
    [message] = theirs.receive_message(QueueUrl=url)["Messages"]
    theirs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": message["ReceiptHandle"]}])
    assert "sqs:SendMessage" in refusal(theirs.send_message_batch, QueueUrl=url, Entries=[])[1]


@follows("STS API reference, AssumeRole; Service authorization reference, “AWS Security Token Service”")
def test_in_iam_mode_roles_are_taken_on_by_their_arns(world: World) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/theirs"
    sts = Role(world, allow("sts:AssumeRole", Resource=arn)).client("sts")
    sts.assume_role(RoleArn=arn, RoleSessionName="test")
    assert refusal(sts.assume_role, RoleArn=f"{arn}-not", RoleSessionName="test")[0] == "AccessDenied"


@follows("S3 user guide, “Required permissions for Amazon S3 API operations”")
def test_in_iam_mode_objects_are_written_and_read_as_allowed(world: World) -> None:
    world.aws.client("s3").create_bucket(Bucket="archive")
    role = Role(
        world,
        allow("s3:PutObject", Resource="arn:aws:s3:::archive/logs/*"),
        allow("s3:ListBucket", Resource="arn:aws:s3:::archive"),
    )
    s3 = role.client("s3")
    s3.put_object(Bucket="archive", Key="logs/1", Body=b"x")
    upload = s3.create_multipart_upload(Bucket="archive", Key="logs/2")["UploadId"]
    s3.upload_part(Bucket="archive", Key="logs/2", UploadId=upload, PartNumber=1, Body=b"x")
    assert s3.list_objects_v2(Bucket="archive")["KeyCount"] == 1
    assert refusal(s3.put_object, Bucket="archive", Key="other", Body=b"x")[::2] == ("AccessDenied", 403)
    assert refusal(s3.get_object, Bucket="archive", Key="logs/1")[::2] == ("AccessDenied", 403)


@follows("SNS developer guide, “Amazon SNS API permissions”; Secrets Manager and ECR likewise by their ARNs")
def test_in_iam_mode_topics_secrets_parameters_and_images_are_allowed_by_their_arns(world: World) -> None:
    topics = [world.aws.client("sns").create_topic(Name=name)["TopicArn"] for name in ("ours", "theirs")]
    for name in ("ours", "theirs"):
        world.aws.client("secretsmanager").create_secret(Name=name, SecretString="x")
        world.aws.client("ssm").put_parameter(Name=f"/{name}", Value="x", Type="String")
        world.aws.client("ecr").create_repository(repositoryName=name)
    prefix = f"us-east-1:{ACCOUNT}"
    role = Role(
        world,
        allow("sns:Publish", Resource=topics[0]),
        allow("secretsmanager:DescribeSecret", Resource=f"arn:aws:secretsmanager:{prefix}:secret:ours-??????"),
        allow("ssm:GetParameters", Resource=f"arn:aws:ssm:{prefix}:parameter/ours"),
        allow("ecr:DescribeImages", Resource=f"arn:aws:ecr:{prefix}:repository/ours"),
    )
    for service, call, request in (
        ("sns", "publish", lambda name: {"TopicArn": topics[name == "theirs"], "Message": "x"}),
        ("secretsmanager", "describe_secret", lambda name: {"SecretId": name}),
        ("ssm", "get_parameters", lambda name: {"Names": [f"/{name}"]}),
        ("ecr", "describe_images", lambda name: {"repositoryName": name}),
    ):
        method = getattr(role.client(service), call)
        method(**request("ours"))
        assert refusal(method, **request("theirs"))[0].startswith(("AccessDenied", "AuthorizationError")), service


@follows(
    "Service authorization reference: the resource types of SQS, EventBridge, Logs and Cloud Map know aws:ResourceTag"
)
def test_in_iam_mode_queues_rules_log_groups_and_cloud_map_services_are_allowed_by_their_tags(world: World) -> None:
    tags, tag = {"owner": "us"}, {"Key": "owner", "Value": "us"}
    sqs, events, logs, cloud_map = (
        world.aws.client(service) for service in ("sqs", "events", "logs", "servicediscovery")
    )
    urls, ids = {}, {}
    for name, own in (("ours", True), ("theirs", False)):
        urls[name] = sqs.create_queue(QueueName=name, **({"tags": tags} if own else {}))["QueueUrl"]
        events.put_rule(Name=name, EventPattern="{}", **({"Tags": [tag]} if own else {}))
        logs.create_log_group(logGroupName=name, **({"tags": tags} if own else {}))
        ids[name] = cloud_map.create_service(Name=name, **({"Tags": [tag]} if own else {}))["Service"]["Id"]
    deletions = ("sqs:DeleteQueue", "events:DeleteRule", "logs:DeleteLogGroup", "servicediscovery:DeleteService")
    role = Role(world, allow(*deletions, Condition={"StringEquals": {"aws:ResourceTag/owner": "us"}}))
    for service, call, member, named in (
        ("sqs", "delete_queue", "QueueUrl", urls),
        ("events", "delete_rule", "Name", {"ours": "ours", "theirs": "theirs"}),
        ("logs", "delete_log_group", "logGroupName", {"ours": "ours", "theirs": "theirs"}),
        ("servicediscovery", "delete_service", "Id", ids),
    ):
        method = getattr(role.client(service), call)
        assert refusal(method, **{member: named["theirs"]})[0].startswith("AccessDenied"), service
        method(**{member: named["ours"]})


@follows("Application Auto Scaling user guide, “Identity-based policies”; Service authorization reference")
def test_in_iam_mode_scalable_targets_are_allowed_by_their_tags_and_namespace(world: World) -> None:
    world.create()
    world.create(serviceName="theirs", taskDefinition="app")
    ours = {"StringEquals": {"aws:ResourceTag/owner": "us"}}
    namespace = {"StringEquals": {"application-autoscaling:service-namespace": "ecs", "aws:RequestTag/owner": "us"}}
    role = Role(
        world,
        allow("application-autoscaling:RegisterScalableTarget", Condition=namespace),
        allow("application-autoscaling:TagResource"),
        allow("application-autoscaling:DeregisterScalableTarget", Condition=ours),
    )
    scaling = role.client("application-autoscaling")
    root = world.aws.client("application-autoscaling")
    where = {"ServiceNamespace": "ecs", "ScalableDimension": "ecs:service:DesiredCount"}
    web, theirs = where | {"ResourceId": "service/inference/web"}, where | {"ResourceId": "service/inference/theirs"}
    limits = {"MinCapacity": 1, "MaxCapacity": 2}
    assert refusal(scaling.register_scalable_target, **web, **limits)[0] == "AccessDeniedException"
    scaling.register_scalable_target(**web, **limits, Tags={"owner": "us"})
    root.register_scalable_target(**theirs, **limits)
    assert refusal(scaling.deregister_scalable_target, **theirs)[0] == "AccessDeniedException"
    scaling.deregister_scalable_target(**web)
