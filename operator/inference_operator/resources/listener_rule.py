"""The rule on the environment's shared listener that sends an object's paths and hosts to its target group.

The path that callers use is not the path that the server knows: the load balancer takes the prefix away (a
`url-rewrite` transform), so that any server of the protocol fits behind any path.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any, ClassVar

from inference_operator.api.ingress import EVERYTHING, Ingress
from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_operator.aws.errors import AwsError, Busy, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.names import Identity, short_hash
from inference_operator.domain.reasons import Reason
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import (
    Change,
    Context,
    Fact,
    Failed,
    Scene,
    Settled,
    Wait,
    changed,
    shifts_requests,
)

HOST, PATH = "host-header", "path-pattern"
ANY_HOST = "*"
LAST_PRIORITY = 50_000  # CreateRule: Priority, 1 to 50,000
BAND = 1_000
BANDS = 49
TRIES = 20
"""To move a rule: more than there are passes at the same time."""


@dataclass(frozen=True, kw_only=True)
class Want:
    listener: str
    conditions: Sequence[Mapping[str, Any]]
    target_groups: Sequence[str]
    """The first gets the requests of a new rule. Where there are two, ECS shifts them."""
    rewrites: Sequence[Mapping[str, str]]
    priority: int
    """Where it goes if it is new; one that is there keeps its place."""
    tags: Mapping[str, str]

    def update_input(self) -> dict[str, Any]:
        """The members that CreateRule and ModifyRule share."""
        transforms = [{"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [dict(r)]}} for r in self.rewrites]
        return {
            "Conditions": list(self.conditions),
            "Actions": [self._forward()],
            **({"Transforms": transforms} if transforms else {}),
        }

    def _forward(self) -> dict[str, Any]:
        first, *others = self.target_groups
        if not others:
            return {"Type": "forward", "TargetGroupArn": first}
        weighted = [{"TargetGroupArn": first, "Weight": 100}, *({"TargetGroupArn": o, "Weight": 0} for o in others)]
        return {"Type": "forward", "ForwardConfig": {"TargetGroups": weighted}}


@dataclass(frozen=True, kw_only=True)
class ListenerRule:
    arn: str
    priority: int
    conditions: Mapping[str, frozenset[str]]
    target_groups: Sequence[str]
    rewrites: Sequence[Mapping[str, str]]
    tags: Mapping[str, str]
    taken: Mapping[str, str] = field(default_factory=dict)
    """Which of its paths another rule gets, being before it: whose that is, for people."""
    serving: str = ""
    """The target group that gets most of the requests."""


class ListenerRules:
    """The rule that sends the paths and hosts to the target group."""

    name: ClassVar[str] = "ListenerRule"
    volatile: ClassVar[bool] = False
    fact: ClassVar[Fact] = Fact.LISTENER_RULE

    def listener_of(self, environment: InferenceEnvironmentSpec) -> str | None:
        """Its ARN; None if there is none."""
        return environment.load_balancer.listener_arn if environment.load_balancer is not None else None

    def desire(self, ctx: Context) -> Want | Wait | None:
        listener = self.listener_of(ctx.environment)
        if listener is None:
            return None
        needed = [Fact.TARGET_GROUP, *([Fact.ALTERNATE_TARGET_GROUP] if shifts_requests(ctx) else [])]
        if any(fact not in ctx.facts for fact in needed):
            return Wait("the target group is not there yet", Reason.DEPENDENCY_NOT_READY)
        paths = paths_of(ctx.spec.ingress, ctx.identity)
        return Want(
            listener=listener,
            conditions=conditions_of(paths, ctx.spec.ingress.hosts),
            target_groups=[ctx.facts[fact] for fact in needed],
            rewrites=_rewrites(paths) if ctx.spec.ingress.protocol_version != "GRPC" else (),
            priority=priority_of(paths, ctx.identity),
            tags=ctx.tags,
        )

    def diff(self, want: Want, have: ListenerRule) -> Change:
        return changed(
            {
                "Conditions": (condition_sets(want.conditions), have.conditions),
                "Actions": (self.forwards(want, have), sorted(have.target_groups)),
                "Transforms": (list(want.rewrites), list(have.rewrites)),
            }
        )

    def forwards(self, want: Want, _have: ListenerRule) -> list[str]:
        """The target groups that there should be, in order; which of two gets how much is ECS's matter."""
        return sorted(want.target_groups)

    def settled(self, ctx: Context, want: Want, have: ListenerRule) -> Settled | Failed:
        if have.taken:
            taken = "; ".join(f"{place} goes to {whose}" for place, whose in sorted(have.taken.items()))
            return Failed(
                Reason.PATH_TAKEN,
                f"another rule of the listener comes first: {taken}. "
                f"Next: choose other paths or hosts in spec.ingress, or have that rule removed",
            )
        return Settled(f"{', '.join(sorted(v for values in have.conditions.values() for v in values))}")

    def facts(self, have: ListenerRule) -> Mapping[Fact, str]:
        return {self.fact: have.arn, Fact.SERVING_TARGET_GROUP: have.serving}

    def observe(self, scene: Scene) -> ListenerRule | None:
        listener = self.listener_of(scene.environment)
        if listener is None:
            return None
        rules = [read(r) for r in scene.aws.listings.rules(listener) if _numbered(r)]
        ours = next((rule for rule in rules if tags.owned(rule.tags, scene.identity)), None)
        if ours is None:  # one that forwards to the object's target group may be taken over
            known, group = scene.named(self.fact), scene.facts.get(Fact.TARGET_GROUP)
            may_be = (r for r in rules if r.arn == known or (group in r.target_groups and scene.takes(r.tags)))
            ours = next(may_be, None)
        return replace(ours, taken=_taken(ours, rules)) if ours is not None else None

    def create(self, ctx: Context, want: Want) -> ListenerRule:
        known, priority = self._others(ctx, want), self._free_place(ctx, want)
        try:
            answer = ctx.aws.elb.create_rule(
                ListenerArn=want.listener, Priority=priority, Tags=tags.list_of(want.tags), **want.update_input()
            )
        except Busy:  # PriorityInUse: by somebody since we looked, or by our own try whose answer was lost
            ctx.aws.listings.forget("rules")
            raise
        shown = {**answer["Rules"][0], "Tags": tags.list_of(want.tags)}
        before = ctx.aws.listings.add("rules", shown, of=want.listener)
        others = [read(r) for r in before if _numbered(r)] if before is not None else self._others(ctx, want)
        made = read(shown)
        try:
            return self._behind(ctx, want, made, known, others)
        except AwsError:
            self.delete(ctx, made)  # it would keep what it has taken; the next pass looks for another place
            raise

    def update(self, ctx: Context, want: Want, have: ListenerRule, change: Change) -> ListenerRule:
        known = self._others(ctx, want)
        if "Conditions" in change.paths and self._moves(ctx, want, have):
            # First: another try after a failure of what follows still knows that the conditions differ.
            place = {"RuleArn": have.arn, "Priority": self._free_place(ctx, want)}
            ctx.aws.elb.set_rule_priorities(RulePriorities=[place])
        # What is the same is left out: to name the actions would undo what ECS has shifted.
        members = {member: value for member, value in want.update_input().items() if member in change.paths}
        if "Transforms" in change.paths and not want.rewrites:
            members["ResetTransforms"] = True
        answer = ctx.aws.elb.modify_rule(RuleArn=have.arn, **members)
        changed = replace(read(answer["Rules"][0]), tags=have.tags)
        if "Conditions" in change.paths:
            ctx.aws.listings.forget("rules")
        return self._behind(ctx, want, changed, known, self._others(ctx, want))

    def retag(self, scene: Scene, have: ListenerRule, retag: Retag) -> ListenerRule:
        if retag.remove:
            scene.aws.elb.remove_tags(ResourceArns=[have.arn], TagKeys=list(retag.remove))
        if retag.put:
            scene.aws.elb.add_tags(ResourceArns=[have.arn], Tags=tags.list_of(retag.put))
        scene.aws.listings.forget("rules")
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: ListenerRule) -> None:
        with suppress(NotFound):
            scene.aws.elb.delete_rule(RuleArn=have.arn)
        scene.aws.listings.forget("rules")  # it would stand in the way of the next object of the name

    def tidy(self, ctx: Context, want: Want, have: ListenerRule) -> ListenerRule:
        return have

    def _behind(
        self,
        ctx: Context,
        want: Want,
        rule: ListenerRule,
        known: Sequence[ListenerRule],
        others: Sequence[ListenerRule],
    ) -> ListenerRule:
        """The rule just written, behind those of `others` that were there first and not `known` yet: two objects may be
        applied at the same moment, and neither is in the list when the other one looks for its place."""
        behind = [other for other in _new(others, known) if other.priority > rule.priority and other.arn != rule.arn]
        if any(loses(other, want.conditions) for other in behind):
            rule = replace(rule, priority=self._moved(ctx, want, rule))
        return replace(rule, taken=_taken(rule, others))

    def _moved(self, ctx: Context, want: Want, rule: ListenerRule, tries: int = TRIES) -> int:
        """To where there is room. Several may want one place at the same time: who does not get it looks again."""
        place = self._free_place(ctx, want)
        try:
            ctx.aws.elb.set_rule_priorities(RulePriorities=[{"RuleArn": rule.arn, "Priority": place}])
        except Busy:
            if not tries:
                raise
        else:
            return place
        finally:
            ctx.aws.listings.forget("rules")
        return self._moved(ctx, want, rule, tries - 1)

    def _moves(self, ctx: Context, want: Want, have: ListenerRule) -> bool:
        """Whether a rule can't keep its place with other conditions."""
        behind = [other for other in self._others(ctx, want) if other.priority > have.priority]
        elsewhere = _band_of(have.priority) != _band_of(want.priority)
        return elsewhere or any(loses(other, want.conditions) for other in behind)

    def _free_place(self, ctx: Context, want: Want) -> int:
        """The first place from the wanted one on that nobody has, behind those who have a path or host already: no rule
        is ever moved for another, and none that comes later takes away what another one gets."""
        others = self._others(ctx, want)
        losers = (o for o in others if not tags.owned(o.tags, ctx.identity) and loses(o, want.conditions))
        first = max([want.priority, *(loser.priority + 1 for loser in losers)])
        used = {other.priority for other in others}
        return next((place for place in _places(first) if place not in used), want.priority)

    def _others(self, ctx: Context, want: Want) -> list[ListenerRule]:
        return [read(r) for r in ctx.aws.listings.rules(want.listener) if _numbered(r)]


class TrialListenerRules(ListenerRules):
    """The rule on the listener for trying new tasks, before requests are shifted to them."""

    name: ClassVar[str] = "TestListenerRule"
    fact: ClassVar[Fact] = Fact.TEST_LISTENER_RULE

    def listener_of(self, environment: InferenceEnvironmentSpec) -> str | None:
        return environment.load_balancer.test_listener_arn if environment.load_balancer is not None else None

    def facts(self, have: ListenerRule) -> Mapping[Fact, str]:
        return {self.fact: have.arn}

    def forwards(self, want: Want, have: ListenerRule) -> list[str]:
        """ECS leaves it one of them: the one with the new tasks."""
        theirs = sorted(have.target_groups)
        return theirs if theirs and set(theirs) <= set(want.target_groups) else sorted(want.target_groups)


def paths_of(ingress: Ingress, identity: Identity) -> tuple[str, ...]:
    """The paths that callers use, without a slash at their ends: "" is everything. The first is the service's URL."""
    patterns = ingress.paths or (identity.path,)
    return tuple(pattern.removesuffix(EVERYTHING) for pattern in patterns)


def priority_of(paths: Sequence[str], identity: Identity) -> int:
    """A place in the listener's order: longer paths are tried first, equal ones are spread by name.

    The order is what makes `/a/b/*` win over `/a/*`; the spreading leaves room, so that two objects seldom want one
    place. Of several paths the shortest counts: a rule must not come before that of somebody whose path is longer.
    """
    return _band(paths) * BAND + int(short_hash(identity.key), 16) % BAND + 1


def _band(paths: Sequence[str]) -> int:
    return max(0, BANDS - min(map(len, paths)))


def _band_of(priority: int) -> int:
    return (priority - 1) // BAND


def _places(first: int) -> Sequence[int]:
    return [*range(first, LAST_PRIORITY + 1), *range(first - 1, 0, -1)]


def conditions_of(paths: Sequence[str], hosts: Sequence[str]) -> list[dict[str, Any]]:
    values = [value for path in paths for value in ([path, path + EVERYTHING] if path else [EVERYTHING])]
    conditions: list[dict[str, Any]] = [{"Field": PATH, "PathPatternConfig": {"Values": values}}]
    if hosts:
        conditions.append({"Field": HOST, "HostHeaderConfig": {"Values": list(hosts)}})
    return conditions


def _rewrites(paths: Sequence[str]) -> list[dict[str, str]]:
    """A transform has one rewrite, whose expression sees path and query and knows no look-ahead ("Transforms for
    listener rules"). Of `/film` and `/films` the latter has to be tried first; none lies below another."""
    prefixes = [re.escape(path) for path in sorted(paths, key=len, reverse=True)]
    if prefixes == [""]:
        return []
    prefix = prefixes[0] if len(prefixes) == 1 else f"(?:{'|'.join(prefixes)})"
    return [{"Regex": f"^{prefix}/?(.*)$", "Replace": "/$1"}]


def condition_sets(conditions: Sequence[Mapping[str, Any]]) -> dict[str, frozenset[str]]:
    """`{field: values}`; AWS answers in any order, and old rules with `Values` beside the field's own member. Rules of
    others may have what ours never have: regular expressions, which are no values, and pairs of a query string."""
    found: dict[str, frozenset[str]] = {}
    for condition in conditions:
        config: Mapping[str, Any] = next((v for k, v in condition.items() if k.endswith("Config") and v), {})
        found[condition["Field"]] = frozenset(map(_text, config.get("Values") or condition.get("Values") or ()))
    return found


def _text(value: str | Mapping[str, str]) -> str:
    return value if isinstance(value, str) else f"{value.get('Key', '')}={value['Value']}"


def _taken(rule: ListenerRule, others: Iterable[ListenerRule]) -> dict[str, str]:
    """Which hosts and paths of a rule never reach it, since a rule before it gets them all: whose that one is."""
    before = [other for other in others if other.priority < rule.priority and other.arn != rule.arn]
    paths = sorted(rule.conditions.get(PATH, frozenset({EVERYTHING})))
    found = {}
    for host in sorted(rule.conditions.get(HOST, frozenset({ANY_HOST}))):
        for path in paths:
            taker = next((other for other in before if _gets(other, host, path)), None)
            if taker is not None:
                found[path if host == ANY_HOST else host + path] = _whose(taker)
    return found


def loses(rule: ListenerRule, conditions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a rule would get nothing any more for one of its hosts and paths, if one with such conditions came before
    it."""
    first = replace(rule, arn="", priority=0, conditions=condition_sets(conditions))
    return bool(_taken(rule, [first]))


def _gets(other: ListenerRule, host: str, path: str) -> bool:
    """Whether all requests for a host and path, both of which may be patterns, meet the conditions of a rule. A host is
    not case-sensitive, a path is ("Condition types for listener rules")."""
    asked = {HOST: host.lower(), PATH: path}
    return all(
        name in asked and any(fnmatchcase(asked[name], p.lower() if name == HOST else p) for p in patterns)
        for name, patterns in other.conditions.items()
    )


def _new(rules: Iterable[ListenerRule], known: Iterable[ListenerRule]) -> list[ListenerRule]:
    """Those that were not known, or with other conditions."""
    before = {rule.arn: rule.conditions for rule in known}
    return [rule for rule in rules if before.get(rule.arn) != rule.conditions]


def _whose(rule: ListenerRule) -> str:
    owner = rule.tags.get(tags.OWNER)
    return f"{owner} (priority {rule.priority})" if owner else f"the rule {rule.arn} (priority {rule.priority})"


def _numbered(rule: Answer) -> bool:
    return not rule.get("IsDefault", False)


def read(rule: Answer) -> ListenerRule:
    return ListenerRule(
        arn=rule["RuleArn"],
        priority=int(rule["Priority"]),
        conditions=condition_sets(rule["Conditions"]),
        target_groups=forwards_to(rule),
        rewrites=[r for t in rule.get("Transforms") or () for r in t.get("UrlRewriteConfig", {}).get("Rewrites", ())],
        tags=tags.parse(rule.get("Tags")),
        serving=_serving(rule),
    )


def _serving(rule: Answer) -> str:
    weighted = [g for action in rule["Actions"] for g in action.get("ForwardConfig", {}).get("TargetGroups", ())]
    most = max(weighted, key=lambda group: group.get("Weight", 1), default=None)
    return most["TargetGroupArn"] if most is not None else forwards_to(rule)[0]


def forwards_to(rule: Answer) -> list[str]:
    """ARNs of target groups; "" stands for an action that is another one."""
    return [group for action in rule["Actions"] for group in _forwards(action)]


def _forwards(action: Mapping[str, Any]) -> list[str]:
    groups = [g["TargetGroupArn"] for g in action.get("ForwardConfig", {}).get("TargetGroups", ())]
    return groups or [action.get("TargetGroupArn", "")]
