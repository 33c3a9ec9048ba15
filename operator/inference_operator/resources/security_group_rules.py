"""What lets the load balancer into the tasks and the tasks into the file system, for a whole environment.

A rule of EC2 is what it says: the same twice is refused. Services with one port share one, so the rules are the
environment's and not a service's: one for each port in use, and one for each group of mount targets. Rules that
somebody else made do as well, and are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_operator.aws.errors import AlreadyExists, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Fact, Settled, Site, Wait

NFS = 2049


@dataclass(frozen=True, kw_only=True, order=True)
class Rule:
    """Who has the group `source` may reach who has `group` on a TCP port."""

    group: str
    port: int
    source: str

    def __str__(self) -> str:
        return f"{self.group}: tcp {self.port} from {self.source}"


@dataclass(frozen=True, kw_only=True)
class Groups:
    """The first security group of each side; one suffices, as an interface has the rights of all of its groups."""

    tasks: str
    load_balancer: str | None
    mount_targets: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Want:
    ports: frozenset[int]
    closes: bool
    """What is needless may go."""
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Rules:
    ours: Mapping[Rule, str]
    """Their ids."""
    theirs: frozenset[Rule]
    """Rules of other people's that say the same as one that we would make."""
    groups: Groups | None
    """None where nothing is wanted."""
    tags: Mapping[str, str]

    def wanted(self, ports: Iterable[int]) -> set[Rule]:
        groups = self.groups
        if groups is None:
            return set()
        found = {Rule(group=group, port=NFS, source=groups.tasks) for group in groups.mount_targets}
        if groups.load_balancer is not None:
            found |= {Rule(group=groups.tasks, port=port, source=groups.load_balancer) for port in ports}
        return found

    def missing(self, want: Want) -> list[Rule]:
        return sorted(self.wanted(want.ports) - set(self.ours) - self.theirs)

    def needless(self, want: Want) -> list[Rule]:
        return sorted(set(self.ours) - self.wanted(want.ports)) if want.closes else []


class SecurityGroupRules:
    """The security-group rules that let the load balancer and the file system be reached, if asked for."""

    name: ClassVar[str] = "SecurityGroupRules"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Site) -> Want | Wait | None:
        if not ctx.environment.network.manage_security_group_rules:
            return None
        if ctx.ports is None:
            return Wait("which ports services use can't be listed now")
        return Want(ports=ctx.ports, closes=not ctx.moving, tags=ctx.tags)

    def diff(self, want: Want, have: Rules) -> Change:
        return Change(tuple(map(str, (*have.missing(want), *have.needless(want)))))

    def settled(self, ctx: Site, want: Want, have: Rules) -> Settled:
        return Settled("; ".join(map(str, sorted(have.wanted(want.ports)))))

    def facts(self, have: Rules) -> Mapping[Fact, str]:
        return {}

    def observe(self, scene: Site) -> Rules | None:
        managed = scene.environment.network.manage_security_group_rules
        ours = _ours(scene)
        if not managed and not ours:
            return None
        groups = _groups(scene) if managed else None
        known = [_read(rule) for rule in _rules_of(scene, groups)] if groups is not None else []
        theirs = frozenset(rule for rule in known if rule is not None and rule not in ours)
        # Without any of ours there is nothing to tell from somebody else's: each rule has its own tags.
        return Rules(ours=ours, theirs=theirs, groups=groups, tags=scene.tags)

    def create(self, ctx: Site, want: Want) -> Rules:
        have = Rules(ours={}, theirs=frozenset(), groups=_groups(ctx), tags=want.tags)
        return self.update(ctx, want, have, Change())

    def update(self, ctx: Site, want: Want, have: Rules, change: Change) -> Rules:
        ours, theirs = dict(have.ours), set(have.theirs)
        for rule in have.missing(want):
            try:
                ours[rule] = _authorize(ctx, rule, want.tags)
            except AlreadyExists:  # somebody else's, or our own try's whose answer was lost: the next look tells
                theirs.add(rule)
        for rule in have.needless(want):
            _revoke(ctx, rule.group, [ours.pop(rule)])
        return replace(have, ours=ours, theirs=frozenset(theirs), tags=want.tags)

    def retag(self, scene: Site, have: Rules, retag: Retag) -> Rules:
        """They are made with the only tags that they have."""
        return have

    def delete(self, scene: Site, have: Rules) -> None:
        for rule, identifier in sorted(have.ours.items()):
            _revoke(scene, rule.group, [identifier])

    def tidy(self, ctx: Site, want: Want, have: Rules) -> Rules:
        return have


def _ours(scene: Site) -> dict[Rule, str]:
    """Those that carry the environment's tags, in whatever group."""
    filters = [{"Name": f"tag:{key}", "Values": [value]} for key, value in sorted(scene.tags.items())]
    answer = scene.aws.ec2.describe_security_group_rules(Filters=filters, MaxResults=1000)
    read = ((_read(rule), rule["SecurityGroupRuleId"]) for rule in answer["SecurityGroupRules"])
    return {rule: identifier for rule, identifier in read if rule is not None}


def _rules_of(scene: Site, groups: Groups) -> Sequence[Answer]:
    filters: list[dict[str, Any]] = [{"Name": "group-id", "Values": sorted({groups.tasks, *groups.mount_targets})}]
    found: Sequence[Answer] = scene.aws.ec2.describe_security_group_rules(Filters=filters, MaxResults=1000)[
        "SecurityGroupRules"
    ]
    return found


def _read(rule: Answer) -> Rule | None:
    """None if it is of another sort than ours."""
    source = rule.get("ReferencedGroupInfo", {}).get("GroupId")
    if rule.get("IsEgress") or source is None or rule["IpProtocol"] != "tcp" or rule["FromPort"] != rule["ToPort"]:
        return None
    return Rule(group=rule["GroupId"], port=rule["FromPort"], source=source)


def _groups(scene: Site) -> Groups:
    spec = scene.environment
    balancer = spec.load_balancer
    sources = scene.aws.listings.load_balancer_of(balancer.listener_arn).get("SecurityGroups", ()) if balancer else ()
    return Groups(
        tasks=spec.network.security_groups[0],
        load_balancer=next(iter(sources), None),
        mount_targets=tuple(sorted(_mount_target_groups(scene, spec))),
    )


def _mount_target_groups(scene: Site, spec: InferenceEnvironmentSpec) -> set[str]:
    efs = scene.aws.efs
    targets = efs.describe_mount_targets(FileSystemId=spec.models.file_system_id)["MountTargets"]
    groups = (
        efs.describe_mount_target_security_groups(MountTargetId=t["MountTargetId"])["SecurityGroups"] for t in targets
    )
    return {each[0] for each in groups if each}


def _authorize(ctx: Site, rule: Rule, wanted: Mapping[str, str]) -> str:
    permission = {
        "IpProtocol": "tcp",
        "FromPort": rule.port,
        "ToPort": rule.port,
        "UserIdGroupPairs": [{"GroupId": rule.source, "Description": f"services of environment {ctx.identity.key}"}],
    }
    specification = {"ResourceType": "security-group-rule", "Tags": tags.list_of(wanted)}
    answer = ctx.aws.ec2.authorize_security_group_ingress(
        GroupId=rule.group, IpPermissions=[permission], TagSpecifications=[specification]
    )
    identifier: str = answer["SecurityGroupRules"][0]["SecurityGroupRuleId"]
    return identifier


def _revoke(scene: Site, group: str, identifiers: Sequence[str]) -> None:
    with suppress(NotFound):
        scene.aws.ec2.revoke_security_group_ingress(GroupId=group, SecurityGroupRuleIds=list(identifiers))
