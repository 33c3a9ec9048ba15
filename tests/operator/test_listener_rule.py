"""The listener rule: where it stands among others, what it takes away from the path, and who gets what."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from inference_operator.api.ingress import Ingress
from inference_operator.domain.names import Identity
from inference_operator.engine.plan import Create, Keep, Update
from inference_operator.engine.reconcile import Memory, reconcile
from inference_operator.resources import KINDS
from inference_operator.resources.listener_rule import BAND, ListenerRules, paths_of, priority_of
from inference_sandbox.aws import in_process
from tests.operator.builders import deployment_document
from tests.operator.world import Object, World

IDENTITY = Identity(namespace="shop", name="recommender", uid="u-1")


def priority(path: str, name: str = "recommender") -> int:
    return priority_of([path], Identity(namespace="shop", name=name, uid="u"))


def rules(world: World) -> dict[int, list[str]]:
    """By priority, the paths."""
    found = {}
    for rule, _tags in world.holdings()["ListenerRule"].values():
        condition = next(c for c in rule["Conditions"] if c["Field"] == "path-pattern")
        found[int(rule["Priority"])] = condition["PathPatternConfig"]["Values"]
    return found


def rewritten(world: World, path: str) -> str:
    [(rule, _tags)] = world.holdings()["ListenerRule"].values()
    [transform] = rule["Transforms"]
    [rewrite] = transform["UrlRewriteConfig"]["Rewrites"]
    return re.sub(rewrite["Regex"], rewrite["Replace"].replace("$", "\\"), path)


def theirs(world: World, priority: int, **values: list[str]) -> None:
    """A rule that somebody made by hand."""
    fields = {"paths": ("path-pattern", "PathPatternConfig"), "hosts": ("host-header", "HostHeaderConfig")}
    conditions: list[Any] = [
        {"Field": fields[name][0], fields[name][1]: {"Values": patterns}} for name, patterns in values.items()
    ]
    world.client("elbv2").create_rule(
        ListenerArn=world.account.listener,
        Priority=priority,
        Conditions=conditions,
        Actions=[{"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}],
    )


def test_a_longer_path_comes_first_whatever_the_names_are() -> None:
    for short, long in itertools.pairwise(["/a", "/a/b", "/a/b/c"]):
        for one, other in itertools.permutations(["x", "y", "recommender"], 2):
            assert priority(long, one) < priority(short, other)


def test_of_several_paths_the_shortest_decides_the_place() -> None:
    assert priority_of(["/a/b/c", "/a"], IDENTITY) == priority_of(["/a"], IDENTITY)


def test_the_first_path_is_the_url_and_the_default_has_the_objects_name() -> None:
    assert paths_of(Ingress(paths=("/b/*", "/a/*")), IDENTITY) == ("/b", "/a")
    assert paths_of(Ingress(), IDENTITY) == ("/shop/recommender",)


@pytest.mark.parametrize(
    ("asked", "seen"),
    [
        ("/films", "/"),
        ("/films?all=1", "/?all=1"),
        ("/films/", "/"),
        ("/films/v2/models", "/v2/models"),
        ("/film/v2/films/x", "/v2/films/x"),
        ("/film", "/"),
    ],
)
def test_of_several_paths_the_one_asked_for_is_taken_away(world: World, asked: str, seen: str) -> None:
    it = Object(world, deployment_document(ingress={"paths": ["/film/*", "/films/*"]}))
    it.live(lambda: it.ready)
    assert rewritten(world, asked) == seen


def test_methods_of_grpc_are_sent_on_as_they_are(world: World) -> None:
    paths = ["/inference.GRPCInferenceService/*"]
    reconcile(KINDS, world.context(ingress={"protocolVersion": "GRPC", "paths": paths}), Memory())
    [(rule, _tags)] = world.holdings()["ListenerRule"].values()
    assert not rule.get("Transforms")
    [(group, _attributes, _tags)] = world.holdings()["TargetGroup"].values()
    assert (group["ProtocolVersion"], group["Matcher"]) == ("GRPC", {"GrpcCode": "0"})


def test_a_taken_place_is_left_to_its_owner_and_the_next_one_used(world: World) -> None:
    wanted = priority("/shop/recommender")
    theirs(world, wanted, paths=["/theirs/*"])
    theirs(world, wanted + 1, paths=["/theirs/too/*"])
    it = Object(world)
    it.live(lambda: it.ready)
    assert sorted(rules(world)) == [wanted, wanted + 1, wanted + 2]


def test_a_rule_keeps_its_place_while_its_paths_are_as_long_and_moves_to_a_free_one_when_they_are_not(
    world: World,
) -> None:
    it = Object(world, deployment_document(ingress={"paths": ["/a/b/*"]}))
    it.live(lambda: it.ready)
    theirs(world, priority("/a/b") - 1, paths=["/theirs/*"])
    it.change(ingress={"paths": ["/c/d/*"]})
    it.live(lambda: it.ready)
    assert priority("/a/b") in rules(world)
    it.change(ingress={"paths": ["/c/d/e/*"]})
    it.live(lambda: it.ready)
    assert sorted(rules(world)) == sorted([priority("/c/d/e"), priority("/a/b") - 1])
    assert priority("/c/d/e") // BAND < priority("/a/b") // BAND


@pytest.mark.parametrize(
    ("other", "ours", "goes"),
    [
        ({"paths": ["/films/*", "/films"]}, {"paths": ["/films/*"]}, "/films/* goes to"),
        ({"paths": ["/*"]}, {"paths": ["/films/*"]}, "/films goes to"),
        (
            {"hosts": ["*.example.com"]},
            {"hosts": ["films.example.com"], "paths": ["/*"]},
            "films.example.com/* goes to",
        ),
        (
            {"hosts": ["Films.Example.COM"]},
            {"hosts": ["films.example.com"], "paths": ["/*"]},
            "films.example.com/* goes to",
        ),
    ],
)
def test_a_path_that_another_rule_gets_first_is_told_with_its_owner_and_the_next_step(
    other: dict[str, Any], ours: dict[str, Any], goes: str, world: World
) -> None:
    theirs(world, 1, **other)
    it = Object(world, deployment_document(ingress=ours))
    it.live(lambda: it.status.get("readyReplicas") == 1)
    assert it.stands("ListenerRuleReady") == ("False", "PathTaken")
    assert it.stands("Ready") == ("False", "PathTaken")
    message = it.condition("ListenerRuleReady")["message"]
    assert goes in message
    assert "priority 1)" in message
    assert "Next: " in message
    arn = next(arn for arn, (rule, _) in world.holdings()["ListenerRule"].items() if rule["Priority"] == "1")
    world.client("elbv2").delete_rule(RuleArn=arn)
    it.live(lambda: it.ready)


def test_a_path_in_other_letters_is_another_path(world: World) -> None:
    theirs(world, 1, paths=["/Films", "/Films/*"])
    it = Object(world, deployment_document(ingress={"paths": ["/films/*"]}))
    it.live(lambda: it.ready)


def test_a_rule_that_would_take_the_host_of_another_which_is_written_in_other_letters_comes_behind_it(
    world: World,
) -> None:
    place = priority("/films") + 5
    theirs(world, place, hosts=["Films.Example.COM"], paths=["/films/*"])
    it = Object(world, deployment_document(ingress={"hosts": ["*.example.com"], "paths": ["/films/*"]}))
    it.live(lambda: it.ready)
    assert [ours for ours in rules(world) if ours != place] == [place + 1]


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")], ids=" before ".join)
@pytest.mark.parametrize("asked", ["from the start", "by an edit"])
def test_of_two_objects_that_ask_for_one_path_the_later_one_says_whose_it_is(
    names: tuple[str, str], asked: str, world: World
) -> None:
    films = {"paths": ["/films/*"]}
    first, second = (Object(world, deployment_document(name=name, ingress=films)) for name in names)
    if asked == "by an edit":
        second.change(ingress={"paths": ["/other/*"]})
        second.live(lambda: second.ready)
    first.live(lambda: first.ready)
    second.change(ingress=films)
    second.live(lambda: second.status.get("readyReplicas") == 1)
    assert second.stands("ListenerRuleReady") == ("False", "PathTaken")
    assert f"goes to shop/{names[0]}" in second.condition("ListenerRuleReady")["message"]
    first.restart()
    first.look()
    assert first.ready, "who has a path keeps it"
    first.vanish()
    second.live(lambda: second.ready)


@pytest.mark.parametrize("names", [("a", "b"), ("b", "a")], ids=" within ".join)
@pytest.mark.parametrize("asked", ["from the start", "by an edit"])
def test_of_two_objects_that_ask_for_one_path_at_the_same_moment_one_has_it_and_the_other_says_so(
    names: tuple[str, str], asked: str, world: World
) -> None:
    films = {"paths": ["/films/*"]}
    slow, quick = (Object(world, deployment_document(name=name, ingress=films)) for name in names)
    operation = "CreateRule"
    if asked == "by an edit":
        operation = "ModifyRule"
        slow.change(ingress={"paths": ["/other/*"]})
        slow.live(lambda: slow.ready)
        slow.change(ingress=films)

    def send(request: AWSPreparedRequest) -> AWSResponse:
        """While AWS makes the slow one's rule, the quick one's is made."""
        if f"Action={operation}" in str(request.body):
            world.answer_with(in_process.send)
            quick.look()
        return in_process.send(request)

    world.answer_with(send)
    slow.look()
    slow.live(lambda: slow.status.get("readyReplicas") == 1)
    quick.live(lambda: quick.ready)
    assert slow.stands("ListenerRuleReady") == ("False", "PathTaken")
    first, second = sorted(rules(world))
    assert f"/films/* goes to shop/{names[1]} (priority {first})" in slow.condition("ListenerRuleReady")["message"]
    assert rules(world)[second] == rules(world)[first]


def test_a_rule_that_can_not_be_moved_behind_is_made_again(world: World) -> None:
    """Else it would keep what it has taken, and the other one would not know."""
    films = {"paths": ["/films/*"]}
    names = sorted(["a", "b"], key=lambda name: priority("/films", name))
    first, second = (Object(world, deployment_document(name=name, ingress=films)) for name in names)

    def send(request: AWSPreparedRequest) -> AWSResponse:
        if "Action=CreateRule" in str(request.body):
            world.answer_with(in_process.send)
            second.look()
        return in_process.send(request)

    world.answer_with(send)
    world.fault("throttle", "elasticloadbalancing:SetRulePriorities", times=1)
    first.look()
    assert first.stands("ListenerRuleReady") == ("False", "Throttled")
    first.live(lambda: first.status.get("readyReplicas") == 1)
    second.live(lambda: second.ready)
    assert first.stands("ListenerRuleReady") == ("False", "PathTaken")


def test_a_place_that_others_want_too_is_looked_for_again(world: World) -> None:
    films = {"paths": ["/films/*"]}
    names = sorted(["a", "b"], key=lambda name: priority("/films", name))
    first, second = (Object(world, deployment_document(name=name, ingress=films)) for name in names)
    places = [priority("/films", names[1]) + 1, priority("/films", names[1]) + 2]

    def send(request: AWSPreparedRequest) -> AWSResponse:
        if "Action=CreateRule" in str(request.body):
            world.answer_with(send_on)
            second.look()
        return in_process.send(request)

    def send_on(request: AWSPreparedRequest) -> AWSResponse:
        """Somebody else is quicker, twice."""
        if "Action=SetRulePriorities" in str(request.body) and places:
            theirs(world, places.pop(0), paths=["/theirs/*"])
        return in_process.send(request)

    world.answer_with(send)
    first.look()
    assert places == []
    assert max(rules(world)) == priority("/films", names[1]) + 3
    assert first.stands("ListenerRuleReady") == ("False", "PathTaken")


def test_a_new_rule_takes_no_path_away_from_one_that_somebody_else_has_put_behind_its_place(world: World) -> None:
    theirs(world, 49_000, paths=["/films/old"])
    it = Object(world, deployment_document(ingress={"paths": ["/films/*"]}))
    it.live(lambda: it.ready)
    assert sorted(rules(world)) == [49_000, 49_001]


@pytest.mark.parametrize(
    ("other", "ours"),
    [
        ({"paths": ["/films/old/*"]}, {"paths": ["/films/*"]}),
        ({"paths": ["/*"], "hosts": ["elsewhere.example.com"]}, {"paths": ["/films/*"]}),
        ({"paths": ["/film?"]}, {"paths": ["/film/*"]}),
    ],
)
def test_a_rule_that_gets_a_part_of_the_requests_is_no_trouble(
    other: dict[str, Any], ours: dict[str, Any], world: World
) -> None:
    theirs(world, 1, **other)
    it = Object(world, deployment_document(ingress=ours))
    it.live(lambda: it.ready)


def test_when_the_listener_is_full_that_is_told_with_the_next_step(world: World) -> None:
    for number in range(1, 101):
        theirs(world, number, paths=[f"/theirs/{number}"])
    it = Object(world)
    it.look()
    assert it.stands("ListenerRuleReady") == ("False", "LimitExceeded")
    assert "Service Quotas" in it.condition("ListenerRuleReady")["message"]


def test_another_process_knows_the_moved_rule_for_what_is_wanted(world: World) -> None:
    kind = next(kind for kind in KINDS if kind.name == ListenerRules.name)
    before = KINDS[: KINDS.index(kind)]

    def brought_to(path: str) -> Any:
        world.restart()
        ctx = world.context(ingress={"paths": [path]})
        reconcile(before, ctx, Memory())
        return reconcile([kind], ctx, Memory()).results[0].step

    assert brought_to("/a/*") == Create()
    world.fault("error", "elasticloadbalancing:ModifyRule", times=1)
    brought_to("/a/b/*")
    assert isinstance(brought_to("/a/b/*"), Update)
    assert brought_to("/a/b/*") == Keep()
    assert list(rules(world)) == [priority("/a/b")]
