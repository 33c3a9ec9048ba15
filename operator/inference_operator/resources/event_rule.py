"""The EventBridge rule that sends what ECS tells of an environment's cluster to its queue.

ECS names no object of ours, so the rule can only choose the cluster, and what a status can change with: of the six
stations of a task's life, its start and its end. What is not ours in the cluster is left out by the reader.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.aws.errors import AwsError, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import ecs_events, tags
from inference_operator.domain.reasons import Reason
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Fact, Settled, Site, Wait, changed
from inference_operator.resources.event_queue import name_of

TARGET = "inference-operator"
"""Id of the target. Other targets that the rule may have are somebody else's."""
SENT = ("Arn", "Input", "InputPath", "InputTransformer")
"""Members of a target (API reference, Target). The last three make of an event what nobody reads here."""


@dataclass(frozen=True, kw_only=True)
class Want:
    name: str
    pattern: Mapping[str, Any]
    queue: str
    """ARN."""
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class EventRule:
    name: str
    arn: str
    pattern: Any
    state: str
    targets: Mapping[str, Answer]
    """By id: the members that say what is sent, and where."""
    tags: Mapping[str, str]


class EventRules:
    """The EventBridge rule that fills the queue."""

    name: ClassVar[str] = "EventRule"
    volatile: ClassVar[bool] = True  # while it is out of order nobody is told; so it is looked at often

    def desire(self, ctx: Site) -> Want | Wait | None:
        asked = ctx.environment.events
        if asked is None or asked.queue != name_of(ctx):
            return None
        queue = ctx.facts.get(Fact.EVENT_QUEUE)
        if queue is None:
            return Wait("not there yet: eventQueue", Reason.DEPENDENCY_NOT_READY)
        return Want(
            name=asked.queue,
            pattern=pattern(queue_arn=queue, cluster=ctx.environment.cluster),
            queue=queue,
            tags=ctx.tags,
        )

    def diff(self, want: Want, have: EventRule) -> Change:
        return changed(
            {
                "EventPattern": (want.pattern, have.pattern),
                "State": ("ENABLED", have.state),
                "Targets": ({"Arn": want.queue}, have.targets.get(TARGET)),
            }
        )

    def settled(self, ctx: Site, want: Want, have: EventRule) -> Settled:
        return Settled(have.name)

    def facts(self, have: EventRule) -> Mapping[Fact, str]:
        return {Fact.EVENT_RULE: have.arn}

    def observe(self, scene: Site) -> EventRule | None:
        events, name = scene.aws.events, name_of(scene)
        if name is None:
            return None
        try:
            rule = events.describe_rule(Name=name)
            targets = events.list_targets_by_rule(Rule=name)["Targets"]
            found = tags.parse(events.list_tags_for_resource(ResourceARN=rule["Arn"]).get("Tags"))
        except NotFound:
            return None
        return EventRule(
            name=name,
            arn=rule["Arn"],
            pattern=_parsed(rule.get("EventPattern")),
            state=rule.get("State", ""),
            targets={each["Id"]: {member: each[member] for member in SENT if member in each} for each in targets},
            tags=found,
        )

    def create(self, ctx: Site, want: Want) -> EventRule:
        return self._put(ctx, want, tags=want.tags, Tags=tags.list_of(want.tags))

    def update(self, ctx: Site, want: Want, have: EventRule, change: Change) -> EventRule:
        return self._put(ctx, want, tags=have.tags)

    def retag(self, scene: Site, have: EventRule, retag: Retag) -> EventRule:
        if retag.remove:
            scene.aws.events.untag_resource(ResourceARN=have.arn, TagKeys=list(retag.remove))
        if retag.put:
            scene.aws.events.tag_resource(ResourceARN=have.arn, Tags=tags.list_of(retag.put))
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Site, have: EventRule) -> None:
        with suppress(NotFound):
            if TARGET in have.targets:
                scene.aws.events.remove_targets(Rule=have.name, Ids=[TARGET])
            scene.aws.events.delete_rule(Name=have.name)

    def tidy(self, ctx: Site, want: Want, have: EventRule) -> EventRule:
        return have

    def _put(
        self, ctx: Site, want: Want, *, tags: Mapping[str, str], **members: Sequence[Mapping[str, str]]
    ) -> EventRule:
        rule = ctx.aws.events.put_rule(
            Name=want.name,
            EventPattern=json.dumps(want.pattern, separators=(",", ":")),
            State="ENABLED",
            Description=f"What happens to the inference services of InferenceEnvironment {ctx.identity.name}",
            **members,
        )
        answer = ctx.aws.events.put_targets(Rule=want.name, Targets=[{"Id": TARGET, "Arn": want.queue}])
        for failed in answer.get("FailedEntries", ()):
            raise AwsError(
                code=failed.get("ErrorCode", "Unknown"),
                message=failed.get("ErrorMessage", "the target was not taken"),
                operation="events:PutTargets",
            )
        return EventRule(
            name=want.name,
            arn=rule["RuleArn"],
            pattern=want.pattern,
            state="ENABLED",
            targets={TARGET: {"Arn": want.queue}},
            tags=tags,
        )


def pattern(*, queue_arn: str, cluster: str) -> dict[str, Any]:
    """The events of services and their tasks in one cluster (developer guide, "Amazon ECS events").

    Of a deployment's and of a service's, `resources` alone names the service and with it the cluster.
    """
    _, partition, _, region, account, _ = queue_arn.split(":")
    ecs = f"arn:{partition}:ecs:{region}:{account}"
    tasks = {
        "clusterArn": [f"{ecs}:cluster/{cluster}"],
        "group": [{"prefix": "service:"}],
        "lastStatus": ["RUNNING", "STOPPED"],
    }
    return {
        "source": [ecs_events.SOURCE],
        "$or": [
            {"detail-type": [ecs_events.TASK], "detail": tasks},
            {
                "detail-type": [ecs_events.DEPLOYMENT, ecs_events.ACTION],
                "resources": [{"prefix": f"{ecs}:service/{cluster}/"}],
            },
        ],
    }


def _parsed(pattern: str | None) -> Any:
    try:
        return json.loads(pattern) if pattern else None
    except ValueError:  # it is set anew
        return pattern
