"""The CloudWatch log group that the service's containers write to."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar

from inference_operator.aws.errors import AlreadyExists, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled, differing


@dataclass(frozen=True, kw_only=True)
class Want:
    name: str
    retention_days: int
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LogGroup:
    name: str
    retention_days: int | None
    tags: Mapping[str, str]


class LogGroups:
    """The CloudWatch log group of the containers."""

    name: ClassVar[str] = "LogGroup"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want:
        return Want(
            name=ctx.identity.log_group,
            retention_days=ctx.environment.logging.retention_days,
            tags=ctx.tags,
        )

    def diff(self, want: Want, have: LogGroup) -> Change:
        return Change(differing({"retentionInDays": (want.retention_days, have.retention_days)}))

    def settled(self, ctx: Context, want: Want, have: LogGroup) -> Settled:
        return Settled(f"{have.name}, kept {have.retention_days} days")

    def facts(self, have: LogGroup) -> Mapping[Fact, str]:
        return {Fact.LOG_GROUP: have.name}

    def observe(self, scene: Scene) -> LogGroup | None:
        name = scene.identity.log_group
        group = self._find(scene, name)
        if group is None:
            return None
        found = tags.parse(scene.aws.logs.list_tags_for_resource(resourceArn=_arn(group)).get("tags"))
        return LogGroup(name=name, retention_days=group.get("retentionInDays"), tags=found)

    def create(self, ctx: Context, want: Want) -> LogGroup:
        try:
            ctx.aws.logs.create_log_group(logGroupName=want.name, tags=dict(want.tags))
        except AlreadyExists:  # made since we looked: whose it is, is looked at again
            have = self.observe(ctx)
            if have is None or have.tags != want.tags:
                raise
        ctx.aws.logs.put_retention_policy(logGroupName=want.name, retentionInDays=want.retention_days)
        return LogGroup(name=want.name, retention_days=want.retention_days, tags=want.tags)

    def update(self, ctx: Context, want: Want, have: LogGroup, change: Change) -> LogGroup:
        ctx.aws.logs.put_retention_policy(logGroupName=want.name, retentionInDays=want.retention_days)
        return LogGroup(name=have.name, retention_days=want.retention_days, tags=have.tags)

    def retag(self, scene: Scene, have: LogGroup, retag: Retag) -> LogGroup:
        group = self._find(scene, have.name)
        if group is not None and retag.put:
            scene.aws.logs.tag_resource(resourceArn=_arn(group), tags=dict(retag.put))
        if group is not None and retag.remove:
            scene.aws.logs.untag_resource(resourceArn=_arn(group), tagKeys=list(retag.remove))
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: LogGroup) -> None:
        with suppress(NotFound):
            scene.aws.logs.delete_log_group(logGroupName=have.name)

    def tidy(self, ctx: Context, want: Want, have: LogGroup) -> LogGroup:
        return have

    def _find(self, scene: Scene, name: str) -> Answer | None:
        answer = scene.aws.logs.describe_log_groups(logGroupNamePrefix=name, limit=50)
        return next((group for group in answer["logGroups"] if group["logGroupName"] == name), None)


def _arn(group: Answer) -> str:
    """As the tag API takes it: without `:*`."""
    return str(group.get("logGroupArn") or group["arn"].removesuffix(":*"))
