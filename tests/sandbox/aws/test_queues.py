"""Queues, topics and rules that an operator makes for itself (SQS, SNS and EventBridge through the raw API)."""

from __future__ import annotations

import json
import threading
import time
from typing import Any

import pytest

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
    world.aws.stop()


@follows("SQS developer guide, “Amazon SQS API permissions”: batches")
def test_in_iam_mode_a_batch_of_messages_needs_leave_for_one(world: World, sqs: Any) -> None:
    url = made(sqs)
    sqs.send_message(QueueUrl=url, MessageBody="x")
    role = Role(world, allow("sqs:ReceiveMessage", "sqs:DeleteMessage"))
    theirs = role.client("sqs")
    [message] = theirs.receive_message(QueueUrl=url)["Messages"]
    theirs.delete_message_batch(QueueUrl=url, Entries=[{"Id": "1", "ReceiptHandle": message["ReceiptHandle"]}])
    assert "sqs:SendMessage" in refusal(theirs.send_message_batch, QueueUrl=url, Entries=[])[1]
    world.aws.stop()


@follows("STS API reference, AssumeRole; Service authorization reference, “AWS Security Token Service”")
def test_in_iam_mode_roles_are_taken_on_by_their_arns(world: World) -> None:
    arn = f"arn:aws:iam::{ACCOUNT}:role/theirs"
    sts = Role(world, allow("sts:AssumeRole", Resource=arn)).client("sts")
    sts.assume_role(RoleArn=arn, RoleSessionName="test")
    assert refusal(sts.assume_role, RoleArn=f"{arn}-not", RoleSessionName="test")[0] == "AccessDenied"
    world.aws.stop()


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
    world.aws.stop()


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
    world.aws.stop()


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
    world.aws.stop()
