"""What the access point's kind decides."""

from __future__ import annotations

import pytest

from inference_operator.resources.access_point import AccessPoint, AccessPoints
from inference_operator.resources.base import Fact


@pytest.mark.parametrize(("state", "facts"), [("creating", {}), ("available", {Fact.ACCESS_POINT: "fsap-1"})])
def test_nothing_is_told_of_an_access_point_that_can_not_be_mounted_yet(state: str, facts: dict[Fact, str]) -> None:
    have = AccessPoint(id="fsap-1", path="/m", uid=1, gid=1, state=state, tags={})
    assert AccessPoints().facts(have) == facts
