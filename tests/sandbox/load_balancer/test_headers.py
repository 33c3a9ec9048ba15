"""The headers that change on the way."""

from __future__ import annotations

import re

from multidict import CIMultiDict, CIMultiDictProxy

from inference_sandbox.load_balancer.headers import end_to_end, for_target, trace_id

NEW_ID = r"1-[0-9a-f]{8}-[0-9a-f]{24}"


def test_hop_by_hop_headers_and_those_that_connection_names_are_dropped_and_others_kept_in_order() -> None:
    given = CIMultiDict(
        [
            ("A", "1"),
            ("Connection", "keep-alive, X-One"),
            ("x-one", "x"),
            ("Transfer-Encoding", "chunked"),
            ("TE", "trailers"),
            ("Set-Cookie", "a"),
            ("Set-Cookie", "b"),
        ]
    )

    assert list(end_to_end(given).items()) == [("A", "1"), ("Set-Cookie", "a"), ("Set-Cookie", "b")]


def test_forwarded_for_grows_by_the_client_and_the_port_and_protocol_can_not_be_forged() -> None:
    given = CIMultiDictProxy(
        CIMultiDict({"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Proto": "https", "x-forwarded-port": "443"})
    )

    sent = for_target(given, host="h", client="192.0.2.7", port=8080, trace="Root=1")

    assert sent.getall("X-Forwarded-For") == ["198.51.100.1, 192.0.2.7"]
    assert sent.getall("X-Forwarded-Proto") == ["http"]
    assert sent.getall("X-Forwarded-Port") == ["8080"]


def test_a_request_without_a_trace_gets_a_root() -> None:
    assert re.fullmatch(f"Root={NEW_ID}", trace_id({}))


def test_a_request_with_a_root_keeps_it_and_gets_a_self() -> None:
    traced = trace_id({"X-Amzn-Trace-Id": "Self=1-old;Root=1-67891233-abcdef012345678912345678;CalledFrom=app"})

    assert re.fullmatch(f"Self={NEW_ID};Root=1-67891233-abcdef012345678912345678;CalledFrom=app", traced)


def test_a_trace_without_a_root_gets_one_before_its_own_fields() -> None:
    assert re.fullmatch(f"Root={NEW_ID};CalledFrom=app", trace_id({"X-Amzn-Trace-Id": "CalledFrom=app"}))
