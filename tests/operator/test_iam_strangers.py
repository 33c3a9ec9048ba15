"""An operator that went astray: what its policy keeps it from doing to things that are not its own.

Everything that it makes is there, made by its own code and then without its tags: so each is a thing as it would be if
somebody else had made it. What is tried goes past the engine, which would not try it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from inference_operator.api.meta import OWNER_TAG
from inference_operator.aws.errors import AwsError
from inference_operator.aws.iam import policy
from inference_operator.aws.ports import Aws
from tests.operator import lives
from tests.operator.builders import deployment_document
from tests.operator.test_checks import with_places
from tests.operator.test_iam_policy import MAKE, USE, lived, refused
from tests.operator.test_keeping import disown
from tests.operator.test_kinds import SCALABLE, SERVICE
from tests.operator.world import ACCOUNT, CLUSTER, REGION, Environment, Object, World

IAM_PAGE = Path(__file__).parents[2] / "docs" / "iam.md"
THEIRS = {"team": "search"}
OURS = {OWNER_TAG: "shop/recommender"}
RULE_ARN = f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{lives.QUEUE}"

Ids = Mapping[str, str]
Attempt = Callable[[Aws, Ids], object]


def listed(tags: Mapping[str, str], key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    return [{key: k, value: v} for k, v in tags.items()]


USES: Mapping[str, Attempt] = {
    "application-autoscaling:DeleteScalingPolicy": lambda aws, _: aws.scaling.delete_scaling_policy(
        PolicyName="cpu", **SCALABLE
    ),
    "application-autoscaling:DeleteScheduledAction": lambda aws, _: aws.scaling.delete_scheduled_action(
        ScheduledActionName="night", **SCALABLE
    ),
    "application-autoscaling:DeregisterScalableTarget": lambda aws, _: aws.scaling.deregister_scalable_target(
        **SCALABLE
    ),
    "application-autoscaling:PutScalingPolicy": lambda aws, _: aws.scaling.put_scaling_policy(
        PolicyName="cpu", **SCALABLE
    ),
    "application-autoscaling:PutScheduledAction": lambda aws, _: aws.scaling.put_scheduled_action(
        ScheduledActionName="night", **SCALABLE
    ),
    "application-autoscaling:RegisterScalableTarget": lambda aws, _: aws.scaling.register_scalable_target(
        MaxCapacity=0, **SCALABLE
    ),
    "application-autoscaling:TagResource": lambda aws, ids: aws.scaling.tag_resource(
        ResourceARN=ids["target"], Tags=THEIRS
    ),
    "application-autoscaling:UntagResource": lambda aws, ids: aws.scaling.untag_resource(
        ResourceARN=ids["target"], TagKeys=["team"]
    ),
    "ecs:DeleteService": lambda aws, _: aws.ecs.delete_service(cluster=CLUSTER, service=SERVICE, force=True),
    "ecs:TagResource": lambda aws, ids: aws.ecs.tag_resource(
        resourceArn=ids["service"], tags=listed(THEIRS, "key", "value")
    ),
    "ecs:UntagResource": lambda aws, ids: aws.ecs.untag_resource(resourceArn=ids["service"], tagKeys=["team"]),
    "ecs:UpdateService": lambda aws, _: aws.ecs.update_service(cluster=CLUSTER, service=SERVICE, desiredCount=0),
    "elasticfilesystem:DeleteAccessPoint": lambda aws, ids: aws.efs.delete_access_point(AccessPointId=ids["point"]),
    "elasticfilesystem:TagResource": lambda aws, ids: aws.efs.tag_resource(
        ResourceId=ids["point"], Tags=listed(THEIRS)
    ),
    "elasticfilesystem:UntagResource": lambda aws, ids: aws.efs.untag_resource(
        ResourceId=ids["point"], TagKeys=["team"]
    ),
    "elasticloadbalancing:AddTags": lambda aws, ids: aws.elb.add_tags(ResourceArns=[ids["rule"]], Tags=listed(THEIRS)),
    "elasticloadbalancing:DeleteRule": lambda aws, ids: aws.elb.delete_rule(RuleArn=ids["rule"]),
    "elasticloadbalancing:DeleteTargetGroup": lambda aws, ids: aws.elb.delete_target_group(TargetGroupArn=ids["group"]),
    "elasticloadbalancing:ModifyRule": lambda aws, ids: aws.elb.modify_rule(RuleArn=ids["rule"], Conditions=[]),
    "elasticloadbalancing:ModifyTargetGroup": lambda aws, ids: aws.elb.modify_target_group(
        TargetGroupArn=ids["group"], HealthCheckPath="/"
    ),
    "elasticloadbalancing:ModifyTargetGroupAttributes": lambda aws, ids: aws.elb.modify_target_group_attributes(
        TargetGroupArn=ids["group"], Attributes=[]
    ),
    "elasticloadbalancing:RemoveTags": lambda aws, ids: aws.elb.remove_tags(
        ResourceArns=[ids["group"]], TagKeys=["team"]
    ),
    "events:DeleteRule": lambda aws, _: aws.events.delete_rule(Name=lives.QUEUE),
    "events:PutRule": lambda aws, _: aws.events.put_rule(Name=lives.QUEUE, EventPattern="{}", State="DISABLED"),
    "events:PutTargets": lambda aws, _: aws.events.put_targets(
        Rule=lives.QUEUE, Targets=[{"Id": "x", "Arn": RULE_ARN}]
    ),
    "events:RemoveTargets": lambda aws, _: aws.events.remove_targets(Rule=lives.QUEUE, Ids=["inference-operator"]),
    "events:TagResource": lambda aws, _: aws.events.tag_resource(ResourceARN=RULE_ARN, Tags=listed(THEIRS)),
    "events:UntagResource": lambda aws, _: aws.events.untag_resource(ResourceARN=RULE_ARN, TagKeys=["team"]),
    "logs:DeleteLogGroup": lambda aws, ids: aws.logs.delete_log_group(logGroupName=ids["logs"]),
    "logs:FilterLogEvents": lambda aws, ids: aws.logs.filter_log_events(logGroupName=ids["logs"]),
    "logs:PutRetentionPolicy": lambda aws, ids: aws.logs.put_retention_policy(
        logGroupName=ids["logs"], retentionInDays=1
    ),
    "logs:TagResource": lambda aws, ids: aws.logs.tag_resource(resourceArn=ids["logs arn"], tags=THEIRS),
    "logs:UntagResource": lambda aws, ids: aws.logs.untag_resource(resourceArn=ids["logs arn"], tagKeys=["team"]),
    "servicediscovery:DeleteService": lambda aws, ids: aws.discovery.delete_service(Id=ids["discovery"]),
    "servicediscovery:UpdateService": lambda aws, ids: aws.discovery.update_service(Id=ids["discovery"], Service={}),
    "sqs:DeleteMessage": lambda aws, ids: aws.sqs.delete_message_batch(
        QueueUrl=ids["queue"], Entries=[{"Id": "1", "ReceiptHandle": "x"}]
    ),
    "sqs:DeleteQueue": lambda aws, ids: aws.sqs.delete_queue(QueueUrl=ids["queue"]),
    "sqs:ReceiveMessage": lambda aws, ids: aws.sqs.receive_message(
        QueueUrl=ids["queue"], MaxNumberOfMessages=1, WaitTimeSeconds=0
    ),
    "sqs:SetQueueAttributes": lambda aws, ids: aws.sqs.set_queue_attributes(
        QueueUrl=ids["queue"], Attributes={"Policy": ""}
    ),
    "sqs:TagQueue": lambda aws, ids: aws.sqs.tag_queue(QueueUrl=ids["queue"], Tags=THEIRS),
    "sqs:UntagQueue": lambda aws, ids: aws.sqs.untag_queue(QueueUrl=ids["queue"], TagKeys=["team"]),
}
"""On what is there, by the action that it needs."""

MAKES: Mapping[str, Attempt] = {
    "application-autoscaling:RegisterScalableTarget": lambda aws, _: aws.scaling.register_scalable_target(
        **{**SCALABLE, "ResourceId": f"service/{CLUSTER}/other"}, MinCapacity=0, MaxCapacity=9, Tags=THEIRS
    ),
    "ecs:CreateService": lambda aws, _: aws.ecs.create_service(serviceName="other"),
    "ecs:RegisterTaskDefinition": lambda aws, _: aws.ecs.register_task_definition(family="x", containerDefinitions=[]),
    "elasticfilesystem:CreateAccessPoint": lambda aws, ids: aws.efs.create_access_point(
        ClientToken="x", FileSystemId=ids["file system"]
    ),
    "elasticloadbalancing:CreateRule": lambda aws, ids: aws.elb.create_rule(
        ListenerArn=ids["listener"], Conditions=[], Actions=[], Priority=9
    ),
    "elasticloadbalancing:CreateTargetGroup": lambda aws, _: aws.elb.create_target_group(
        Name="other", Tags=listed(THEIRS)
    ),
    "events:PutRule": lambda aws, _: aws.events.put_rule(Name="other", EventPattern="{}"),
    "logs:CreateLogGroup": lambda aws, _: aws.logs.create_log_group(logGroupName="/other"),
    "servicediscovery:CreateService": lambda aws, _: aws.discovery.create_service(Name="other"),
    "sqs:CreateQueue": lambda aws, _: aws.sqs.create_queue(QueueName="other", tags=THEIRS),
}
"""Without the tag that names an owner."""


@pytest.fixture
def astray(world: World) -> tuple[World, Ids]:
    """An account with everything that an operator makes, none of it its own; and the names of its things."""
    lives.shifting(world)
    world.discover()
    with_places(world)
    world.change_environment(events={"queue": lives.QUEUE})
    Environment(world, [deployment_document()]).look()
    maker = Object(world, deployment_document(**lives.EVERYTHING))
    maker.live(lambda: maker.ready)
    disown(world)
    queue = world.client("sqs").get_queue_url(QueueName=lives.QUEUE)["QueueUrl"]
    world.client("sqs").untag_queue(QueueUrl=queue, TagKeys=[OWNER_TAG])
    world.client("events").untag_resource(ResourceARN=RULE_ARN, TagKeys=[OWNER_TAG])
    world.confine(policy())
    return world, {**names(world), "queue": queue}


def names(world: World) -> dict[str, str]:
    there = world.holdings()
    [(log_group, _), *_] = there["LogGroup"].items()
    [(group, _, _), *_] = there["TargetGroup"].values()
    [(target, _)] = there["ScalableTarget"].values()
    [(discovery, _)] = there["DiscoveryService"].values()
    return {
        "discovery": discovery["Id"],
        "file system": world.account.file_system,
        "group": group["TargetGroupArn"],
        "listener": world.account.listener,
        "logs": log_group,
        "logs arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{log_group}",
        "point": next(iter(there["AccessPoint"])),
        "rule": next(iter(there["ListenerRule"])),
        "service": there["Service"][SERVICE]["serviceArn"],
        "target": target["ScalableTargetARN"],
    }


def allowed_by(sid: str) -> set[str]:
    [statement] = [each for each in policy()["Statement"] if each["Sid"] == sid]
    return set(statement["Action"])


def answers(attempts: Mapping[str, Attempt], world: World, ids: Ids) -> dict[str, str]:
    """What becomes of each."""
    found = {}
    for action, attempt in attempts.items():
        try:
            attempt(world.aws, ids)
        except AwsError as error:
            found[action] = f"{type(error).__name__} {action}" if action in error.message else str(error)
        else:
            found[action] = "done"
    return found


def all_denied(attempts: Mapping[str, Attempt]) -> dict[str, str]:
    return {action: f"Denied {action}" for action in attempts}


def test_everything_that_asks_for_an_owner_is_tried() -> None:
    assert set(USES) == allowed_by(USE)
    assert set(MAKES) | allowed_by(USE) >= allowed_by(MAKE)


def test_what_is_a_strangers_is_out_of_reach(astray: tuple[World, Ids]) -> None:
    world, ids = astray
    before = world.holdings()
    assert answers(USES, world, ids) == all_denied(USES)
    assert world.holdings() == before


def test_nothing_is_made_that_does_not_name_its_owner(astray: tuple[World, Ids]) -> None:
    world, ids = astray
    before = world.holdings()
    assert answers(MAKES, world, ids) == all_denied(MAKES)
    assert world.holdings() == before


# -- what the page on IAM says


def statement_on_page(sid: str) -> dict[str, Any]:
    blocks = re.findall(r"^```json\n(.*?)^```$", IAM_PAGE.read_text(), re.MULTILINE | re.DOTALL)
    [found] = [block for block in map(json.loads, blocks) if block.get("Sid") == sid]
    return dict(found)


def without_adoption() -> dict[str, Any]:
    return {**policy(), "Statement": [*policy()["Statement"], statement_on_page("AdoptNothing")]}


@pytest.mark.parametrize("life", lives.ONE_OF_EACH, ids=lambda life: life.__name__)
def test_who_adopts_nothing_can_say_so_and_all_else_goes_on(life: lives.Life, tmp_path: Path) -> None:
    assert refused(lived(life, without_adoption(), tmp_path)) == set()


ADOPTIONS: Mapping[str, Attempt] = {
    "ecs:TagResource": lambda aws, ids: aws.ecs.tag_resource(
        resourceArn=ids["service"], tags=listed(OURS, "key", "value")
    ),
    "elasticfilesystem:TagResource": lambda aws, ids: aws.efs.tag_resource(ResourceId=ids["point"], Tags=listed(OURS)),
    "elasticloadbalancing:AddTags": lambda aws, ids: aws.elb.add_tags(ResourceArns=[ids["group"]], Tags=listed(OURS)),
}


def test_nothing_is_adopted_where_the_policy_says_so(astray: tuple[World, Ids]) -> None:
    world, ids = astray
    assert set(ADOPTIONS) == set(statement_on_page("AdoptNothing")["Action"])
    assert set(answers(ADOPTIONS, world, ids).values()) == {"done"}
    disown(world)
    world.allow(without_adoption())
    assert answers(ADOPTIONS, world, ids) == all_denied(ADOPTIONS)


READS = ("BatchGet", "Describe", "Filter", "Get", "List", "Receive", "Simulate")


def test_what_changes_things_and_asks_for_no_owner_is_told() -> None:
    writes = {each for each in allowed_by("Manage") if not each.partition(":")[2].startswith(READS)}
    table = IAM_PAGE.read_text().partition("### What no tag guards")[2].partition("\n## ")[0]
    assert writes == set(re.findall(r"`([a-z0-9-]+:[A-Za-z]+)`", table))


def test_it_fits_into_a_managed_policy_with_room_for_longer_names() -> None:
    """IAM user guide, "IAM and AWS STS quotas": 6,144 characters without white space."""
    for each in (policy(), without_adoption()):
        assert len(re.sub(r"\s", "", json.dumps(each))) < 5_700
