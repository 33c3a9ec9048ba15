"""The engine's walk, over kinds that are only dictionaries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.aws.errors import AwsError, Denied, Unavailable
from inference_operator.aws.offline import Offline
from inference_operator.domain import tags
from inference_operator.domain.names import Identity
from inference_operator.domain.reasons import Reason
from inference_operator.engine.backoff import AUDIT
from inference_operator.engine.plan import Absent, Create, Delete, Hold, Keep, Replace, Trouble, Update
from inference_operator.engine.reconcile import Memory, finalize, reconcile
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled, Wait
from tests.operator.builders import NOW, deployment_document, environment_document

IDENTITY = Identity(namespace="shop", name="recommender", uid="u")
OURS = tags.ownership(IDENTITY)


@dataclass(frozen=True)
class Thing:
    value: str
    tags: Mapping[str, str]


@dataclass
class FakeKind:
    """A kind whose one resource is `there`."""

    name: str = "Thing"
    volatile: bool = False
    want: Any = "v1"
    there: Thing | None = None
    replace: bool = False
    fails: dict[str, Exception] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    goes_at_once: bool = True
    ready: bool = True
    provides: ClassVar[Fact] = Fact.LOG_GROUP

    def _called(self, what: str) -> None:
        self.calls.append(what)
        if what in self.fails:
            raise self.fails[what]

    def desire(self, ctx: Context) -> Any:
        return Thing(self.want, OURS) if isinstance(self.want, str) else self.want

    def diff(self, want: Thing, have: Thing) -> Change:
        return Change(("value",) if want.value != have.value else (), replace=self.replace)

    def settled(self, ctx: Context, want: Thing, have: Thing) -> Settled | Wait:
        return Settled() if self.ready else Wait("being made")

    def facts(self, have: Thing) -> Mapping[Fact, str]:
        return {self.provides: have.value}

    def observe(self, scene: Scene) -> Thing | None:
        self._called("observe")
        return self.there

    def create(self, ctx: Context, want: Thing) -> Thing:
        self._called("create")
        self.there = want
        return self.there

    def update(self, ctx: Context, want: Thing, have: Thing, change: Change) -> Thing:
        self._called("update")
        self.there = Thing(want.value, have.tags)
        return self.there

    def retag(self, scene: Scene, have: Thing, retag: tags.Retag) -> Thing:
        self._called("retag")
        self.there = Thing(have.value, retag.applied(have.tags))
        return self.there

    def delete(self, scene: Scene, have: Thing) -> Wait | None:
        self._called("delete")
        if not self.goes_at_once:
            return Wait("draining")
        self.there = None
        return None

    def tidy(self, ctx: Context, want: Thing, have: Thing) -> Thing:
        self._called("tidy")
        return have


def context(**members: Any) -> Context:
    defaults: dict[str, Any] = {
        "identity": IDENTITY,
        "environment": InferenceEnvironmentSpec.model_validate(environment_document()["spec"]),
        "aws": Offline("eu-west-1").aws(),
        "now": NOW,
        "freshness": timedelta(),
        "spec": InferenceDeploymentSpec.model_validate(deployment_document()["spec"]),
        "generation": 1,
    }
    return Context(**{**defaults, **members})


def error(family: type[AwsError], operation: str = "x:Y") -> AwsError:
    return family(code="Code", message="what AWS says", operation=operation)


@pytest.mark.parametrize(
    ("kind", "step"),
    [
        (FakeKind(), Create()),
        (FakeKind(there=Thing("v1", OURS)), Keep()),
        (FakeKind(there=Thing("v0", OURS)), Update(Change(("value",)))),
        (FakeKind(there=Thing("v1", {**OURS, tags.KEYS: ""})), Update(Change(("tags",)))),
        (FakeKind(there=Thing("v1", {**OURS, "somebody": "else's"})), Keep()),
        (FakeKind(there=Thing("v0", OURS), replace=True), Replace(Change(("value",), replace=True))),
        (FakeKind(want=None, there=Thing("v1", OURS)), Delete()),
        (FakeKind(want=None), Absent()),
        (FakeKind(want=None, there=Thing("v1", {})), Absent()),
        (FakeKind(want=Wait("later")), Hold(Reason.WAITING, "later")),
    ],
)
def test_the_step_follows_from_what_is_wanted_and_what_is_there(kind: FakeKind, step: Any) -> None:
    assert reconcile([kind], context(), Memory()).results[0].step == step


def test_a_second_pass_over_what_the_first_made_keeps_all_and_calls_nothing() -> None:
    kind, memory = FakeKind(), Memory()
    reconcile([kind], context(), memory)
    kind.calls.clear()
    second = reconcile([kind], context(), memory)
    assert [r.step for r in second.results] == [Keep()]
    assert kind.calls == ["tidy"]
    assert not second.wrote


def test_what_changes_by_itself_is_looked_at_in_each_pass_and_the_rest_when_an_audit_is_due() -> None:
    quiet, lively, memory = FakeKind(name="Quiet"), FakeKind(name="Lively", volatile=True), Memory()
    for minutes in (0, 5, 10):
        reconcile([quiet, lively], context(now=NOW + timedelta(minutes=minutes)), memory)
    assert quiet.calls.count("observe") == 1
    assert lively.calls.count("observe") == 3
    reconcile([quiet], context(now=NOW + AUDIT + timedelta(minutes=1)), memory)
    assert quiet.calls.count("observe") == 2


def test_a_thing_without_our_tag_is_left_alone_and_whose_it_is_is_said() -> None:
    stranger = Thing("v0", {tags.OWNER: "other/one", tags.UID: "z"})
    kind = FakeKind(there=stranger)
    result = reconcile([kind], context(), Memory()).results[0]
    assert isinstance(result.step, Hold)
    assert result.step.reason is Reason.NOT_OWNED
    assert "other/one" in result.step.message
    assert kind.there is stranger
    assert kind.calls == ["observe"]


def test_one_kinds_failure_does_not_stop_the_others_and_is_told_with_the_next_step() -> None:
    broken = FakeKind(name="Broken", fails={"create": error(Denied, "elasticfilesystem:CreateAccessPoint")})
    sound = FakeKind(name="Sound")
    done = reconcile([broken, sound], context(), Memory())
    trouble = done.results[0].outcome
    assert isinstance(trouble, Trouble)
    assert trouble.reason is Reason.ACCESS_DENIED
    assert "elasticfilesystem:CreateAccessPoint" in trouble.message
    assert "Next: " in trouble.message
    assert sound.there is not None


def test_a_bug_in_one_kind_is_contained(capsys: pytest.CaptureFixture[str]) -> None:
    broken, sound = FakeKind(name="Broken", fails={"observe": ZeroDivisionError()}), FakeKind(name="Sound")
    done = reconcile([broken, sound], context(), Memory())
    assert isinstance(done.results[0].outcome, Trouble)
    assert done.results[0].outcome.reason is Reason.INTERNAL_ERROR
    assert sound.there is not None
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_after_a_write_in_doubt_the_thing_is_looked_at_again() -> None:
    kind, memory = FakeKind(fails={"create": error(Unavailable)}), Memory()
    reconcile([kind], context(), memory)
    kind.there, kind.fails = Thing("v1", OURS), {}  # it had taken effect after all
    assert reconcile([kind], context(), memory).results[0].step == Keep()
    assert kind.calls.count("create") == 1


def test_nothing_is_tidied_before_all_is_settled() -> None:
    settled, waiting = FakeKind(name="Settled"), FakeKind(name="Waiting", want=Wait("for somebody"))
    reconcile([settled, waiting], context(), Memory())
    assert "tidy" not in settled.calls


def test_a_dry_run_changes_nothing() -> None:
    kind = FakeKind(there=Thing("v0", OURS))
    done = reconcile([kind], context(), Memory(), act=False)
    assert done.results[0].step == Update(Change(("value",)))
    assert kind.calls == ["observe"]


def test_teardown_goes_in_reverse_and_waits_for_what_drains() -> None:
    first, last = FakeKind(name="First", there=Thing("v1", OURS)), FakeKind(name="Last", there=Thing("v1", OURS))
    last.goes_at_once = False
    memory = Memory()
    results = finalize([first, last], context(), memory)
    assert [r.kind for r in results] == ["Last"]
    assert results[0].outcome == Wait("draining")
    last.goes_at_once = True
    results = finalize([first, last], context(), memory)
    assert [(r.kind, r.step, r.outcome) for r in results] == [("Last", Delete(), None), ("First", Delete(), None)]


def test_teardown_of_what_is_gone_is_done_and_so_is_doing_it_again() -> None:
    kind = FakeKind()
    for memory in (Memory(), Memory()):
        assert [r.outcome for r in finalize([kind], context(), memory)] == [None]
    assert "delete" not in kind.calls


def test_teardown_leaves_what_is_not_ours() -> None:
    kind = FakeKind(there=Thing("v1", {}))
    assert [r.outcome for r in finalize([kind], context(), Memory())] == [None]
    assert kind.there is not None


def test_what_is_waited_for_is_looked_at_in_the_next_pass_however_quiet_its_kind() -> None:
    kind, memory = FakeKind(ready=False), Memory()
    assert reconcile([kind], context(), memory).results[0].outcome == Wait("being made")
    kind.ready = True
    assert reconcile([kind], context(), memory).results[0].outcome == Settled()
    assert kind.calls.count("observe") == 2
