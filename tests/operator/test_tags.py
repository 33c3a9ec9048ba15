"""Whose a thing is, and which of its tags are ours to change."""

from __future__ import annotations

import pytest

from inference_operator.domain import tags
from inference_operator.domain.names import Identity

IDENTITY = Identity(namespace="shop", name="recommender", uid="u-1")
HAND_MADE = {"cost-center": "7", "made-by": "somebody"}


def applied(asked: dict[str, str], have: dict[str, str]) -> dict[str, str]:
    return tags.retag(tags.wanted(IDENTITY, asked), have).applied(have)


def test_what_is_asked_for_is_put_beside_whose_it_is() -> None:
    found = applied({"team": "search"}, {})
    assert found["team"] == "search"
    assert tags.owned(found, IDENTITY)


def test_what_is_no_longer_asked_for_goes_and_what_somebody_else_has_put_there_stays() -> None:
    had = {**applied({"team": "search", "stage": "test"}, {}), **HAND_MADE}
    found = applied({"stage": "live"}, had)
    assert "team" not in found
    assert found["stage"] == "live"
    assert HAND_MADE.items() <= found.items()
    assert applied({}, found) == {**tags.ownership(IDENTITY), **HAND_MADE}


def test_the_same_again_changes_nothing() -> None:
    for asked in ({}, {"team": "search"}):
        assert not tags.retag(tags.wanted(IDENTITY, asked), {**applied(asked, {}), **HAND_MADE})


OLDER = Identity(namespace="shop", name="recommender", uid="u-0")


@pytest.mark.parametrize(
    "had",
    [
        tags.wanted(IDENTITY, {"team": "search", "stage": "test"}),
        {**tags.wanted(OLDER, {"team": "search", "stage": "test"}), tags.RETAINED: "true"},
        {"team": "somebody's"},
    ],
    ids=["its own", "left by an earlier object", "nobody's"],
)
def test_cut_short_anywhere_it_ends_with_the_same_tags_when_it_is_tried_again(had: dict[str, str]) -> None:
    wanted = tags.wanted(IDENTITY, {"stage": "live", "cost": "1"})
    whole = tags.retag(wanted, had)
    calls = [call for step in whole.split() for call in (tags.Retag({}, step.remove), tags.Retag(step.put, ()))]
    for done in range(len(calls) + 1):
        found = had
        for call in calls[:done]:
            found = call.applied(found)
        adopt = tags.OWNER not in had
        assert tags.owned(found, IDENTITY) or tags.may_be_taken(found, IDENTITY, adopt=adopt)
        assert tags.retag(wanted, found).applied(found) == whole.applied(had)


@pytest.mark.parametrize("count", [1, 20])
def test_the_tag_that_remembers_them_is_no_longer_than_a_tag_may_be(count: int) -> None:
    asked = {f"key number {number:<100}": "x" for number in range(count)}
    assert len(tags.wanted(IDENTITY, asked)[tags.KEYS]) <= 256
