"""The CloudWatch log groups that belong to a service: its own, its log router's, and those that its routes lead to.

A group that is no longer asked for keeps what was logged, and goes with the object.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import ClassVar

from inference_operator.api.destinations import Destination
from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_operator.aws.errors import AlreadyExists, NotFound, Protected
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.names import Identity
from inference_operator.domain.tags import Retag
from inference_operator.fluentbit.intent import is_own, placed
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled


@dataclass(frozen=True, kw_only=True)
class Want:
    retention_days: Mapping[str, int]
    """By name."""
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class LogGroup:
    retention_days: int | None
    tags: Mapping[str, str]
    policy: str | None = None
    """The account's retention policy that decides how long it is kept, whatever is set on the group itself."""


@dataclass(frozen=True, kw_only=True)
class Have:
    main: str
    """Name of the service's own group."""
    groups: Mapping[str, LogGroup]
    """By name; not empty."""

    @property
    def tags(self) -> Mapping[str, str]:
        return tags.common([group.tags for group in self.groups.values()])


class LogGroups:
    """The CloudWatch log groups of the service: its own, and those of its log router and of its routes."""

    name: ClassVar[str] = "LogGroup"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want:
        return Want(retention_days=dict(_wanted(ctx)), tags=ctx.tags)

    def diff(self, want: Want, have: Have) -> Change:
        known = {name: group.retention_days for name, group in have.groups.items() if group.policy is None}
        missing = want.retention_days.keys() - have.groups.keys()
        wrong = [name for name, days in want.retention_days.items() if name in known and known[name] != days]
        paths = (*(["logGroupName"] if missing else []), *(["retentionInDays"] if wrong else []))
        days = ({name: want.retention_days[name] for name in wrong}, {name: known[name] for name in wrong})
        return Change(paths, values={"logGroupName": (sorted(missing), []), "retentionInDays": days})

    def settled(self, ctx: Context, want: Want, have: Have) -> Settled:
        kept = sorted(name for name in have.groups if name in want.retention_days)
        return Settled("; ".join(f"{name}, kept {_how_long(have.groups[name])}" for name in kept))

    def facts(self, have: Have) -> Mapping[Fact, str]:
        return {Fact.LOG_GROUP: have.main} if have.main in have.groups else {}

    def observe(self, scene: Scene) -> Have | None:
        names = set(_possible(scene.identity, scene.environment))
        main = scene.identity.log_group
        prefixes = [main, *sorted(name for name in names if not name.startswith(main))]
        found = {
            group["logGroupName"]: _read(scene, group)
            for prefix in prefixes
            for group in _listed(scene, prefix)
            if group["logGroupName"] in names
        }
        return Have(main=main, groups=found) if found else None

    def create(self, ctx: Context, want: Want) -> Have:
        return self._brought_to(ctx, want, Have(main=ctx.identity.log_group, groups={}))

    def update(self, ctx: Context, want: Want, have: Have, change: Change) -> Have:
        return self._brought_to(ctx, want, have)

    def retag(self, scene: Scene, have: Have, retag: Retag) -> Have:
        """Each group as it needs it: an earlier try may have reached some of them."""
        groups = {}
        for name, group in have.groups.items():
            own = Retag(
                put={key: value for key, value in retag.put.items() if group.tags.get(key) != value},
                remove=tuple(key for key in retag.remove if key in group.tags),
            )
            shown = _find(scene, name) if own else None
            if shown is not None and own.remove:
                scene.aws.logs.untag_resource(resourceArn=_arn(shown), tagKeys=list(own.remove))
            if shown is not None and own.put:
                scene.aws.logs.tag_resource(resourceArn=_arn(shown), tags=dict(own.put))
            groups[name] = replace(group, tags=own.applied(group.tags))
        return replace(have, groups=groups)

    def delete(self, scene: Scene, have: Have) -> None:
        for name in have.groups:
            try:
                with suppress(NotFound):
                    scene.aws.logs.delete_log_group(logGroupName=name)
            except Protected as error:
                raise error.of(name) from error

    def tidy(self, ctx: Context, want: Want, have: Have) -> Have:
        return have

    def _brought_to(self, ctx: Context, want: Want, have: Have) -> Have:
        groups = dict(have.groups)
        for name, days in want.retention_days.items():
            if name not in groups:
                groups[name] = self._created(ctx, name, want.tags)
            if groups[name].policy is None and groups[name].retention_days != days:
                ctx.aws.logs.put_retention_policy(logGroupName=name, retentionInDays=days)
                groups[name] = replace(groups[name], retention_days=days)
        return Have(main=have.main, groups=groups)

    def _created(self, ctx: Context, name: str, wanted: Mapping[str, str]) -> LogGroup:
        try:
            ctx.aws.logs.create_log_group(logGroupName=name, tags=dict(wanted))
        except AlreadyExists:  # made since we looked: whose it is, is looked at again
            made = _find(ctx, name)
            if made is None or (have := _read(ctx, made)).tags != wanted:
                raise
            return have
        return LogGroup(retention_days=None, tags=wanted)


def _how_long(group: LogGroup) -> str:
    by = f" by the account's retention policy {group.policy}" if group.policy is not None else ""
    return f"{group.retention_days} days{by}" if group.retention_days is not None else f"for ever{by}"


def _wanted(ctx: Context) -> Iterator[tuple[str, int]]:
    """Names and days."""
    logging = ctx.environment.logging
    for name in sorted({name for route in ctx.spec.logging.routes for name in route.to}):
        yield from _own(ctx.identity, logging.destinations.get(name))
    if ctx.spec.logging.routed:
        yield ctx.identity.router_log_group, logging.router.retention_days
    yield ctx.identity.log_group, logging.retention_days


def _possible(identity: Identity, environment: InferenceEnvironmentSpec) -> Iterator[str]:
    """Every name that a spec of the object can have asked for in this environment."""
    for destination in environment.logging.destinations.values():
        yield from (name for name, _ in _own(identity, destination))
    yield identity.router_log_group
    yield identity.log_group


def _own(identity: Identity, destination: Destination | None) -> Iterator[tuple[str, int]]:
    group = destination.cloud_watch_logs if destination is not None else None
    if group is not None and is_own(group):
        yield placed(group.log_group, identity.namespace, identity.name), group.retention_days


def _listed(scene: Scene, prefix: str) -> Iterator[Answer]:
    members: dict[str, str | int] = {"logGroupNamePrefix": prefix, "limit": 50}
    while True:
        page = scene.aws.logs.describe_log_groups(**members)
        yield from page["logGroups"]
        if not page.get("nextToken"):
            return
        members["nextToken"] = page["nextToken"]


def _find(scene: Scene, name: str) -> Answer | None:
    return next((group for group in _listed(scene, name) if group["logGroupName"] == name), None)


def _read(scene: Scene, group: Answer) -> LogGroup:
    found = tags.parse(scene.aws.logs.list_tags_for_resource(resourceArn=_arn(group)).get("tags"))
    return LogGroup(
        retention_days=group.get("retentionInDays"), tags=found, policy=group.get("retentionPolicyName") or None
    )


def _arn(group: Answer) -> str:
    """As the tag API takes it: without `:*`."""
    return str(group.get("logGroupArn") or group["arn"].removesuffix(":*"))
