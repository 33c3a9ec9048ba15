from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from inference_operator.domain.names import Identity, digest

labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
identities = st.builds(lambda namespace, name: Identity(namespace=namespace, name=name, uid="u"), labels, labels)


@given(identities)
def test_every_name_is_one_that_aws_accepts(identity: Identity) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,255}", identity.service)
    assert re.fullmatch(r"[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?", identity.target_group)
    assert re.fullmatch(r"[A-Za-z0-9_/.#-]{1,512}", identity.log_group)
    assert re.fullmatch(r"[!-~]{1,36}", identity.client_token("x", 1))


@given(identities, identities)
def test_two_objects_never_share_a_service_or_a_log_group(one: Identity, other: Identity) -> None:
    if one.key != other.key:
        assert one.service != other.service
        assert one.log_group != other.log_group


def test_names_do_not_depend_on_the_uid_but_tokens_do() -> None:
    one = Identity(namespace="a", name="b", uid="1")
    other = Identity(namespace="a", name="b", uid="2")
    assert one.target_group == other.target_group
    assert one.client_token("x") != other.client_token("x")
    assert one.client_token("x") != one.client_token("y")


def test_a_digest_does_not_depend_on_the_order_of_members() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})
