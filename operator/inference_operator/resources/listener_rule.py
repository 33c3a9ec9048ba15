"""The rule on the environment's shared listener that sends an object's paths and hosts to its target group.

The path that callers use is not the path that the server knows: the load balancer takes the prefix away (a
`url-rewrite` transform), so that any server of the protocol fits behind any path.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec
from inference_operator.aws.errors import Busy, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.names import Identity, short_hash
from inference_operator.domain.reasons import Reason
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled, Wait, differing

LAST_PRIORITY = 50_000  # CreateRule: Priority, 1 to 50,000
BAND = 1_000
BANDS = 49
EVERYTHING_BELOW = "/*"


@dataclass(frozen=True, kw_only=True)
class Want:
    listener: str
    conditions: Sequence[Mapping[str, Any]]
    target_group: str
    rewrites: Sequence[Mapping[str, str]]
    priority: int
    """Where it goes if it is new; one that is there keeps its place."""
    tags: Mapping[str, str]

    def update_input(self) -> dict[str, Any]:
        """The members that CreateRule and ModifyRule share."""
        transforms = [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [dict(r)]}} for r in self.rewrites]
        return {
            "Conditions": list(self.conditions),
            "Actions": [{"Type": "forward", "TargetGroupArn": self.target_group}],
            **({"Transforms": transforms} if transforms else {}),
        }


@dataclass(frozen=True, kw_only=True)
class ListenerRule:
    arn: str
    conditions: Mapping[str, frozenset[str]]
    target_groups: Sequence[str]
    rewrites: Sequence[Mapping[str, str]]
    tags: Mapping[str, str]


class ListenerRules:
    """The rule that sends the paths and hosts to the target group."""

    name: ClassVar[str] = "ListenerRule"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want | Wait | None:
        if ctx.environment.load_balancer is None:
            return None
        target_group = ctx.facts.get(Fact.TARGET_GROUP)
        if target_group is None:
            return Wait("the target group is not there yet", Reason.DEPENDENCY_NOT_READY)
        path = path_of(ctx.spec, ctx.identity)
        return Want(
            listener=ctx.environment.load_balancer.listener_arn,
            conditions=_conditions(path, ctx.spec.ingress.hosts),
            target_group=target_group,
            rewrites=_rewrites(path),
            priority=priority_of(path, ctx.identity),
            tags=ctx.tags,
        )

    def diff(self, want: Want, have: ListenerRule) -> Change:
        return Change(
            differing(
                {
                    "Conditions": (_condition_sets(want.conditions), have.conditions),
                    "Actions": ([want.target_group], list(have.target_groups)),
                    "Transforms": (list(want.rewrites), list(have.rewrites)),
                }
            )
        )

    def settled(self, ctx: Context, want: Want, have: ListenerRule) -> Settled:
        return Settled(f"{', '.join(sorted(v for values in have.conditions.values() for v in values))}")

    def facts(self, have: ListenerRule) -> Mapping[Fact, str]:
        return {Fact.LISTENER_RULE: have.arn}

    def observe(self, scene: Scene) -> ListenerRule | None:
        if scene.environment.load_balancer is None:
            return None
        rules = map(_read, scene.aws.listings.rules(scene.environment.load_balancer.listener_arn))
        return next((rule for rule in rules if tags.owned(rule.tags, scene.identity)), None)

    def create(self, ctx: Context, want: Want) -> ListenerRule:
        taken = {rule["Priority"] for rule in ctx.aws.listings.rules(want.listener)}
        priority = next((p for p in _places(want.priority) if str(p) not in taken), want.priority)
        try:
            answer = ctx.aws.elb.create_rule(
                ListenerArn=want.listener, Priority=priority, Tags=tags.list_of(want.tags), **want.update_input()
            )
        except Busy:  # PriorityInUse: by somebody since we looked, or by our own try whose answer was lost
            ctx.aws.listings.forget()
            raise
        ctx.aws.listings.forget()  # so that nobody who has forgotten this one looks into a list without it
        return replace(_read(answer["Rules"][0]), tags=want.tags)

    def update(self, ctx: Context, want: Want, have: ListenerRule, change: Change) -> ListenerRule:
        members = want.update_input()
        if "Transforms" in change.paths and not want.rewrites:
            members["ResetTransforms"] = True
        answer = ctx.aws.elb.modify_rule(RuleArn=have.arn, **members)
        return replace(_read(answer["Rules"][0]), tags=have.tags)

    def retag(self, scene: Scene, have: ListenerRule, retag: Retag) -> ListenerRule:
        if retag.put:
            scene.aws.elb.add_tags(ResourceArns=[have.arn], Tags=tags.list_of(retag.put))
        if retag.remove:
            scene.aws.elb.remove_tags(ResourceArns=[have.arn], TagKeys=list(retag.remove))
        scene.aws.listings.forget()
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: ListenerRule) -> None:
        with suppress(NotFound):
            scene.aws.elb.delete_rule(RuleArn=have.arn)

    def tidy(self, ctx: Context, want: Want, have: ListenerRule) -> ListenerRule:
        return have


def path_of(spec: InferenceDeploymentSpec, identity: Identity) -> str:
    """The path that callers use, without a slash at its end: "" is everything."""
    pattern = spec.ingress.paths[0] if spec.ingress.paths else f"/{identity.namespace}/{identity.name}/*"
    return pattern.removesuffix(EVERYTHING_BELOW)


def priority_of(path: str, identity: Identity) -> int:
    """A place in the listener's order: longer paths are tried first, equal ones are spread by name.

    The order is what makes `/a/b/*` win over `/a/*`; the spreading leaves room, so that two objects seldom want one
    place.
    """
    band = max(0, BANDS - len(path))
    return band * BAND + int(short_hash(identity.key), 16) % BAND + 1


def _places(first: int) -> Sequence[int]:
    return [*range(first, LAST_PRIORITY + 1), *range(first - 1, 0, -1)]


def _conditions(path: str, hosts: Sequence[str]) -> list[dict[str, Any]]:
    paths = [path, path + EVERYTHING_BELOW] if path else [EVERYTHING_BELOW]
    conditions: list[dict[str, Any]] = [{"Field": "path-pattern", "PathPatternConfig": {"Values": paths}}]
    if hosts:
        conditions.append({"Field": "host-header", "HostHeaderConfig": {"Values": list(hosts)}})
    return conditions


def _rewrites(path: str) -> list[dict[str, str]]:
    return [{"Regex": f"^{re.escape(path)}/?(.*)$", "Replace": "/$1"}] if path else []


def _condition_sets(conditions: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """`{field: values}`; AWS answers in any order, and old rules with `Values` beside the field's own member."""
    found: dict[str, frozenset[str]] = {}
    for condition in conditions:
        config: Mapping[str, Any] = next((v for k, v in condition.items() if k.endswith("Config") and v), {})
        found[condition["Field"]] = frozenset(config.get("Values") or condition.get("Values") or ())
    return found


def _read(rule: Answer) -> ListenerRule:
    return ListenerRule(
        arn=rule["RuleArn"],
        conditions=_condition_sets(rule["Conditions"]),
        target_groups=[group for action in rule["Actions"] for group in _forwards(action)],
        rewrites=[r for t in rule.get("Transforms") or () for r in t.get("UrlRewriteConfig", {}).get("Rewrites", ())],
        tags=tags.parse(rule.get("Tags")),
    )


def _forwards(action: Mapping[str, Any]) -> list[str]:
    groups = [g["TargetGroupArn"] for g in action.get("ForwardConfig", {}).get("TargetGroups", ())]
    return groups or [action.get("TargetGroupArn", "")]
