"""The load balancer from outside: real listeners, real targets, real requests."""

from __future__ import annotations

import re
import socket
import threading
import uuid
from collections import Counter
from collections.abc import Iterator

import httpx
import pytest

from inference_sandbox.load_balancer import access_log
from inference_sandbox.load_balancer.balancer import HttpLoadBalancer
from inference_sandbox.ports import ListenerRoutes
from tests.sandbox.load_balancer.conftest import (
    DEADLINE,
    LISTENER,
    Backend,
    Balanced,
    forward,
    group,
    path_is,
    poll,
    rule,
    text,
)


def answers(balanced: Balanced, count: int, path: str = "/") -> Counter[str]:
    return Counter(balanced.client.get(path).text for _ in range(count))


def test_requests_go_round_the_healthy_targets(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, *backends)

    assert answers(balanced, 10) == {"a": 5, "b": 5}


def test_a_target_sees_the_request_and_the_headers_of_a_load_balancer(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])

    answer = balanced.client.post(
        "/a%20b?x=1&y=%2F",
        content=b"body",
        headers={"X-Forwarded-For": "203.0.113.9", "X-Custom": "kept", "Connection": "X-Hop", "X-Hop": "not for you"},
    )

    method, path, headers, body = backends[0].seen[0]
    assert (method, path, body, answer.content) == ("POST", "/a%20b?x=1&y=%2F", b"body", b"body")
    assert headers["Host"] == answer.request.headers["Host"]
    assert headers["X-Forwarded-For"] == "203.0.113.9, 127.0.0.1"
    assert headers["X-Forwarded-Proto"] == "http"
    assert headers["X-Forwarded-Port"] == str(balanced.balancer.port(LISTENER))
    assert headers["X-Amzn-Trace-Id"].startswith("Root=1-")
    assert headers["X-Custom"] == "kept"
    assert "X-Hop" not in headers
    assert "X-Private" not in answer.headers
    assert answer.headers["Server"].startswith("BaseHTTP")


def test_a_new_target_is_initial_and_healthy_after_one_passed_check(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group(HealthCheckIntervalSeconds=600, HealthyThresholdCount=5)
    balanced.configure(one)

    balanced.register(one, backends[0], wait=False)

    assert balanced.state(one, backends[0].port).state in {"initial", "healthy"}
    balanced.wait(one, backends[0].port, "healthy")
    assert backends[0].checks[0]["User-Agent"] == "ELB-HealthChecker/2.0"
    assert len(backends[0].checks) == 1


def test_a_target_turns_unhealthy_with_the_codes_it_gave_and_healthy_again(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, *backends)

    backends[0].health = 503
    balanced.wait(one, backends[0].port, "unhealthy")
    told = balanced.state(one, backends[0].port)

    assert told.reason == "Target.ResponseCodeMismatch"
    assert told.description == "Health checks failed with these codes: [503]"
    assert answers(balanced, 4) == {"b": 4}
    backends[0].health = 200
    balanced.wait(one, backends[0].port, "healthy")


def test_a_target_that_is_made_to_fail_is_unhealthy_whatever_it_answers(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, *backends)

    balanced.balancer.fail(one.arn, "127.0.0.1", backends[0].port)
    balanced.wait(one, backends[0].port, "unhealthy")

    assert balanced.state(one, backends[0].port).description == "Health checks failed with these codes: [503]"
    assert answers(balanced, 4) == {"b": 4}


def test_a_target_that_does_not_answer_its_check_in_time_is_unhealthy_for_timeout(balanced: Balanced) -> None:
    one = group(HealthCheckTimeoutSeconds=0.1)
    balanced.configure(one)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        balanced.balancer.register(one.arn, "127.0.0.1", port)
        balanced.wait(one, port, "unhealthy")
        told = balanced.state(one, port)

    assert (told.reason, told.description) == ("Target.Timeout", "Request timed out")


def test_a_target_that_refuses_connections_is_unhealthy_for_failed_checks(balanced: Balanced, closed_port: int) -> None:
    one = group()
    balanced.configure(one)
    balanced.balancer.register(one.arn, "127.0.0.1", closed_port)

    balanced.wait(one, closed_port, "unhealthy")

    assert balanced.state(one, closed_port).reason == "Target.FailedHealthChecks"


def test_without_a_healthy_target_requests_go_to_all_that_are_registered(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    for backend in backends:
        backend.health = 500
    balanced.configure(one)
    balanced.register(one, *backends, wait=False)
    for backend in backends:
        balanced.wait(one, backend.port, "unhealthy")

    assert answers(balanced, 4) == {"a": 2, "b": 2}


def test_a_group_without_targets_is_a_503_in_the_words_of_an_alb(balanced: Balanced) -> None:
    balanced.configure(group())

    answer = balanced.client.get("/")

    assert (answer.status_code, answer.reason_phrase) == (503, "Service Temporarily Unavailable")
    assert answer.headers["Server"] == "awselb/2.0"
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.text.splitlines()[:4] == [
        "<html>",
        "<head><title>503 Service Temporarily Unavailable</title></head>",
        "<body>",
        "<center><h1>503 Service Temporarily Unavailable</h1></center>",
    ]


def test_a_target_that_refuses_a_connection_is_a_502(balanced: Balanced, closed_port: int) -> None:
    one = group()
    balanced.configure(one)
    balanced.balancer.register(one.arn, "127.0.0.1", closed_port)

    answer = balanced.client.get("/")

    assert (answer.status_code, answer.reason_phrase) == (502, "Bad Gateway")
    assert poll(lambda: balanced.balancer.counters(one.arn).http_code_elb_5xx)
    counters = balanced.balancer.counters(one.arn)
    assert (counters.http_code_elb_5xx, counters.target_connection_error_count) == (1, 1)


def test_a_target_that_hangs_up_is_a_502_and_is_not_asked_again(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])
    assert balanced.client.get("/").status_code == 200

    assert balanced.client.get("/hang-up").status_code == 502

    assert [path for _, path, *_ in backends[0].seen] == ["/", "/hang-up"]


def test_a_target_that_is_silent_too_long_is_a_504(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])

    answer = balanced.client.get("/held")

    assert (answer.status_code, answer.reason_phrase) == (504, "Gateway Time-out")


def test_a_body_that_a_target_cuts_short_is_cut_short_for_the_client(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])

    with pytest.raises(httpx.TransportError):
        balanced.client.get("/cut")


def test_a_target_s_own_errors_pass_through(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])

    answer = balanced.client.get("/status/503")

    assert (answer.status_code, answer.text) == (503, "a")
    assert poll(lambda: balanced.balancer.counters(one.arn).http_code_target_5xx) == 1


def test_a_head_request_keeps_its_content_length_and_has_no_body(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])

    answer = balanced.client.head("/")

    assert (answer.status_code, answer.headers["Content-Length"], answer.content) == (200, "1", b"")


@pytest.mark.parametrize("status", [204, 304])
def test_an_answer_that_may_have_no_body_leaves_the_connection_fit_for_the_next(
    balanced: Balanced, backends: list[Backend], status: int
) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])

    answer = balanced.client.get(f"/empty/{status}")

    assert (answer.status_code, answer.content) == (status, b"")
    assert balanced.client.get("/").text == "a"


def test_a_client_s_connection_is_kept_for_the_next_request_and_closed_when_idle(balanced: Balanced) -> None:
    balanced.configure(group(), rules=[rule(text("hello"))])
    with socket.create_connection(("127.0.0.1", balanced.balancer.port(LISTENER)), timeout=20) as client:
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.recv(1000).endswith(b"hello")

        assert client.recv(1000) == b""


def test_a_client_of_http_1_0_gets_a_body_that_ends_with_the_connection(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])
    with socket.create_connection(("127.0.0.1", balanced.balancer.port(LISTENER)), timeout=20) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with client.makefile("rb") as answer:
            status, *_, body = answer.read().split(b"\r\n")

    assert status == b"HTTP/1.0 200 OK"
    assert body == b"a"


def test_a_chunked_body_is_streamed_to_the_target_before_it_is_complete(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])

    def parts() -> Iterator[bytes]:
        yield b"x" * 200_000
        yield b"y" * 200_000

    answer = balanced.client.post("/", content=parts())

    assert answer.content == b"x" * 200_000 + b"y" * 200_000
    assert backends[0].seen[0][2]["Transfer-Encoding"] == "chunked"


def test_a_deregistered_target_ends_its_request_gets_no_new_one_and_is_gone_after_the_delay(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group(attributes={"deregistration_delay.timeout_seconds": "1"})
    balanced.configure(one)
    balanced.register(one, *backends)
    got: list[str] = []
    held = threading.Thread(target=lambda: got.extend(answers(balanced, 2, "/held")))
    backends[1].gate.set()
    held.start()
    poll(lambda: backends[0].seen)

    balanced.balancer.deregister(one.arn, backends[0].address, backends[0].port)
    told = balanced.state(one, backends[0].port)
    with httpx.Client(base_url=balanced.client.base_url) as other:
        meanwhile = {other.get("/").text for _ in range(4)}
    backends[0].gate.set()
    held.join()

    assert (told.state, told.reason) == ("draining", "Target.DeregistrationInProgress")
    assert told.description == "Target deregistration is in progress"
    assert meanwhile == {"b"}
    assert set(got) == {"a", "b"}
    poll(lambda: len(balanced.balancer.targets(one.arn)) == 1)


def test_a_request_that_outlasts_the_deregistration_delay_is_broken_off(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group(attributes={"deregistration_delay.timeout_seconds": "0.1"})
    balanced.configure(one)
    balanced.register(one, backends[0])
    errors: list[Exception] = []

    def ask() -> None:
        try:
            balanced.client.get("/held")
        except httpx.TransportError as error:
            errors.append(error)

    held = threading.Thread(target=ask)
    held.start()
    poll(lambda: backends[0].seen)

    balanced.balancer.deregister(one.arn, backends[0].address, backends[0].port)
    held.join()

    assert len(errors) == 1


def test_a_target_registered_again_while_it_drains_is_checked_anew(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])
    balanced.balancer.deregister(one.arn, backends[0].address, backends[0].port)

    balanced.register(one, backends[0])

    assert len(balanced.balancer.targets(one.arn)) == 1


def test_a_group_that_no_rule_forwards_to_is_unused_until_one_does(balanced: Balanced, backends: list[Backend]) -> None:
    one, other = group("one"), group("other")
    balanced.configure(one, other)
    balanced.register(other, backends[0], wait=False)
    told = balanced.state(other, backends[0].port)

    balanced.configure(one, other, rules=[rule(forward(one, other, weights=[1, 0]))])

    assert (told.state, told.reason) == ("unused", "Target.NotInUse")
    balanced.wait(other, backends[0].port, "healthy")


def test_weights_share_the_requests_out_and_a_weight_of_nought_gets_none(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one, other = group("one"), group("other")
    balanced.configure(one, other, rules=[rule(forward(one, other, weights=[3, 1]))])
    balanced.register(one, backends[0])
    balanced.register(other, backends[1])

    assert answers(balanced, 20) == {"a": 15, "b": 5}
    balanced.configure(one, other, rules=[rule(forward(one, other, weights=[0, 100]))])
    assert answers(balanced, 5) == {"b": 5}


def test_least_outstanding_requests_spares_a_target_that_is_busy(balanced: Balanced, backends: list[Backend]) -> None:
    one = group(attributes={"load_balancing.algorithm.type": "least_outstanding_requests"})
    balanced.configure(one)
    balanced.register(one, *backends)
    held = threading.Thread(target=balanced.client.get, args=["/held"])
    held.start()
    poll(lambda: backends[0].seen or backends[1].seen)
    busy, idle = sorted(backends, key=lambda backend: not backend.seen)

    with httpx.Client(base_url=balanced.client.base_url) as other:
        names = {other.get("/").text for _ in range(4)}
    busy.gate.set()
    held.join()

    assert names == {idle.name}


def test_a_client_with_the_load_balancer_s_cookie_keeps_its_target_until_it_expires(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group(attributes={"stickiness.enabled": "true", "stickiness.lb_cookie.duration_seconds": "600"})
    balanced.configure(one)
    balanced.register(one, *backends)

    first = balanced.client.get("/")
    cookie = first.cookies["AWSALB"]

    assert first.cookies["AWSALBCORS"] == cookie
    assert answers(balanced, 6) == {first.text: 6}
    balanced.client.cookies.clear()
    balanced.advance(seconds=601)
    expired = {"Cookie": f"AWSALB={cookie}"}
    assert {balanced.client.get("/", headers=expired).text for _ in range(2)} == {"a", "b"}


def test_a_sticky_client_gets_another_target_once_its_own_drains(balanced: Balanced, backends: list[Backend]) -> None:
    one = group(attributes={"stickiness.enabled": "true", "stickiness.type": "lb_cookie"})
    balanced.configure(one)
    balanced.register(one, *backends)
    mine = balanced.client.get("/").text
    kept, other = sorted(backends, key=lambda backend: backend.name != mine)

    balanced.balancer.deregister(one.arn, kept.address, kept.port)

    assert answers(balanced, 3) == {other.name: 3}


@pytest.mark.parametrize("forged", ["", "-", "x", "ffffffff-00", "f" * 40 + "-00"])
def test_a_cookie_that_is_not_the_load_balancer_s_is_no_cookie(
    balanced: Balanced, backends: list[Backend], forged: str
) -> None:
    one = group(attributes={"stickiness.enabled": "true"})
    balanced.configure(one)
    balanced.register(one, *backends)

    headers = {"Cookie": f"AWSALB={forged}"}
    with httpx.Client(base_url=balanced.client.base_url) as client:
        names = set()
        for _ in range(2):
            names.add(client.get("/", headers=headers).text)
            client.cookies.clear()

    assert names == {"a", "b"}


def test_an_application_s_cookie_keeps_its_client_for_as_long_as_it_has_it(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group(
        attributes={
            "stickiness.enabled": "true",
            "stickiness.type": "app_cookie",
            "stickiness.app_cookie.cookie_name": "session",
        }
    )
    balanced.configure(one)
    balanced.register(one, *backends)
    assert answers(balanced, 2) == {"a": 1, "b": 1}
    assert not balanced.client.cookies

    mine = balanced.client.get("/cookie/session")

    assert {"session", "AWSALBAPP-0"} == set(mine.cookies)
    assert answers(balanced, 4) == {mine.text: 4}
    balanced.client.cookies.delete("session")
    assert answers(balanced, 2) == {"a": 1, "b": 1}


def test_a_sticky_rule_keeps_a_client_in_its_target_group(balanced: Balanced, backends: list[Backend]) -> None:
    one, other = group("one"), group("other")
    action = forward(one, other, weights=[1, 1])
    action["ForwardConfig"]["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": 60}
    balanced.configure(one, other, rules=[rule(action)])
    balanced.register(one, backends[0])
    balanced.register(other, backends[1])

    mine = balanced.client.get("/")

    assert set(mine.cookies) == {"AWSALBTG", "AWSALBTGCORS"}
    assert answers(balanced, 6) == {mine.text: 6}
    balanced.client.cookies.clear()
    assert balanced.client.get("/").text != mine.text


def test_time_that_is_skipped_brings_health_checks_on(balanced: Balanced, backends: list[Backend]) -> None:
    one = group(HealthCheckIntervalSeconds=30)
    balanced.configure(one)
    balanced.register(one, backends[0])
    poll(balanced.balancer.settled)
    due = balanced.balancer.next_due()

    assert due is not None
    assert 0 < (due - balanced.clock.now()).total_seconds() <= 30
    backends[0].health = 503
    for _ in range(2):
        balanced.advance(seconds=30)
        poll(balanced.balancer.settled)
    assert balanced.state(one, backends[0].port).state == "unhealthy"


def test_time_that_is_skipped_ends_draining(balanced: Balanced, backends: list[Backend]) -> None:
    one = group(attributes={"deregistration_delay.timeout_seconds": "300"})
    balanced.configure(one)
    balanced.register(one, backends[0])
    balanced.balancer.deregister(one.arn, backends[0].address, backends[0].port)

    balanced.advance(seconds=299)
    assert balanced.state(one, backends[0].port).state == "draining"
    balanced.advance(seconds=1)

    poll(lambda: not balanced.balancer.targets(one.arn))


def test_rules_are_tried_in_order_and_the_default_comes_last(balanced: Balanced) -> None:
    balanced.configure(
        group(),
        rules=[
            rule(text("narrow"), path_is("/a/b"), priority=1),
            rule(text("wide"), path_is("/a/*"), priority=2),
            rule(text("default", "404")),
        ],
    )

    assert [balanced.client.get(path).text for path in ("/a/b", "/a/c", "/A/b")] == ["narrow", "wide", "default"]
    assert balanced.client.get("/").status_code == 404


def test_a_redirect_keeps_the_parts_that_are_not_replaced(balanced: Balanced) -> None:
    config = {"Protocol": "HTTPS", "Port": "443", "Path": "/new/#{path}", "StatusCode": "HTTP_301"}
    balanced.configure(group(), rules=[rule({"Type": "redirect", "RedirectConfig": config})])

    answer = balanced.client.get("/old?x=1", headers={"Host": "shop.example:8000"})

    assert answer.status_code == 301
    assert answer.headers["Location"] == "https://shop.example:443/new/old?x=1"


def test_a_url_rewrite_changes_what_the_target_sees(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    rewrites = [{"Regex": "^/shop/(.*)$", "Replace": "/$1"}]
    hosts = [{"Regex": "^(.+)[.]example$", "Replace": "$1.internal"}]
    balanced.configure(
        one,
        rules=[
            rule(
                forward(one),
                path_is("/shop/*"),
                priority=1,
                transforms=[
                    {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": rewrites}},
                    {"Type": "host-header-rewrite", "HostHeaderRewriteConfig": {"Rewrites": hosts}},
                ],
            ),
            rule(text("default")),
        ],
    )
    balanced.register(one, backends[0])

    balanced.client.get("/shop/v2/models?x=%20", headers={"Host": "shop.example"})

    _, path, headers, _ = backends[0].seen[0]
    assert (path, headers["Host"]) == ("/v2/models?x=%20", "shop.internal")


def test_a_rewrite_that_leaves_no_path_is_a_500(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    rewrite = {"Type": "url-rewrite", "UrlRewriteConfig": {"Rewrites": [{"Regex": "^/", "Replace": "$7"}]}}
    balanced.configure(one, rules=[rule(forward(one), transforms=[rewrite])])
    balanced.register(one, backends[0])

    assert balanced.client.get("/").status_code == 500


def test_a_new_configuration_does_not_disturb_connections_and_requests_under_way(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one, other = group("one"), group("other")
    balanced.configure(one)
    balanced.register(one, backends[0])
    port = balanced.balancer.port(LISTENER)
    got: list[str] = []
    held = threading.Thread(target=lambda: got.append(balanced.client.get("/held").text))
    held.start()
    poll(lambda: backends[0].seen)
    checks = len(backends[0].checks)

    balanced.configure(one, other, rules=[rule(text("new"), path_is("/new"), priority=1), rule(forward(one))])
    balanced.configure(one, other, rules=[rule(text("new"), path_is("/new"), priority=1), rule(forward(one))])
    state = balanced.state(one, backends[0].port).state
    backends[0].gate.set()
    held.join()

    assert got == ["a"]
    assert state == "healthy"
    assert balanced.balancer.port(LISTENER) == port
    assert balanced.client.get("/new").text == "new"
    poll(lambda: len(backends[0].checks) > checks)


def test_a_listener_and_a_group_that_are_no_longer_configured_are_gone(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one, mark = group(), uuid.uuid4().hex
    balanced.configure(one, rules=[rule(text(mark), path_is("/mark"), priority=1), rule(forward(one))])
    balanced.register(one, backends[0])
    assert _answer_at(balanced.client.base_url) == mark

    balanced.balancer.configure([], [])

    assert list(balanced.balancer.targets(one.arn)) == []
    with pytest.raises(KeyError):
        balanced.balancer.port(LISTENER)
    poll(lambda: _answer_at(balanced.client.base_url) != mark)


def test_a_port_that_is_taken_is_an_error_that_names_listener_and_port(balanced: Balanced) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        routes = ListenerRoutes(arn=LISTENER, port=port, rules=[rule(text("x"))])
        with pytest.raises(OSError, match=rf"listener {LISTENER}: can't listen on 127\.0\.0\.1:{port}"):
            balanced.balancer.configure([routes], [])


def test_a_rule_that_is_not_understood_is_refused_and_changes_nothing(balanced: Balanced) -> None:
    balanced.configure(group(), rules=[rule(text("before"))])

    with pytest.raises(ValueError, match="condition field 'colour' is not known"):
        balanced.configure(group(), rules=[rule(text("after"), {"Field": "colour", "Values": ["red"]}, priority=1)])

    assert balanced.client.get("/").text == "before"


def test_a_target_registered_before_its_group_is_known_waits_for_it(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    balanced.balancer.register(one.arn, backends[0].address, backends[0].port)
    assert balanced.state(one, backends[0].port).state == "unused"

    balanced.configure(one)

    balanced.wait(one, backends[0].port, "healthy")


def test_the_access_log_and_the_counters_tell_of_each_request(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])

    balanced.client.post("/x?y", content=b"1234", headers={"User-Agent": "test"})
    entry = poll(lambda: balanced.log)[0]

    assert (entry.method, entry.elb_status_code, entry.target_status_code) == ("POST", 200, 200)
    assert entry.url == f"http://127.0.0.1:{balanced.balancer.port(LISTENER)}/x?y"
    assert entry.target == f"127.0.0.1:{backends[0].port}"
    assert (entry.received_bytes, entry.sent_bytes, entry.user_agent) == (4, 4, "test")
    assert min(entry.request_processing_time, entry.target_processing_time, entry.response_processing_time) >= 0
    counters = balanced.balancer.counters(one.arn)
    assert (counters.request_count, counters.http_code_target_2xx, counters.target_responses) == (1, 1, 1)
    assert counters.target_response_time == entry.target_processing_time


def test_the_access_log_has_the_fields_and_the_order_of_an_alb(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    moved = {"Type": "redirect", "RedirectConfig": {"Path": "/new", "StatusCode": "HTTP_302"}}
    balanced.configure(one, rules=[rule(moved, path_is("/old"), priority=7), rule(forward(one))])
    balanced.register(one, backends[0])
    port = balanced.balancer.port(LISTENER)

    balanced.client.post("/x?y", content=b"1234", headers={"User-Agent": 'a "test"', "X-Amzn-Trace-Id": "Root=1-2-3"})
    balanced.client.get("/old")
    forwarded, redirected = (
        _fields(access_log.line(entry)) for entry in poll(lambda: balanced.log[1:] and balanced.log)
    )

    at = balanced.log[0].time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert forwarded[:3] == ["http", at, "app/test/1"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", forwarded[3])
    assert forwarded[4] == f"127.0.0.1:{backends[0].port}"
    assert all(re.fullmatch(r"\d\.\d{3}", seconds) for seconds in forwarded[5:8])
    assert forwarded[8:12] == ["200", "200", "4", "4"]
    assert forwarded[12:14] == [f'"POST http://127.0.0.1:{port}/x?y HTTP/1.1"', '"a \\x22test\\x22"']
    assert forwarded[14:17] == ["-", "-", one.arn]
    assert forwarded[17].endswith(';Root=1-2-3"')
    assert forwarded[18:22] == ['"-"', '"-"', "0", at]
    assert forwarded[22:] == ['"forward"', '"-"', '"-"', f'"{forwarded[4]}"', '"200"', '"-"', '"-"', "-"]
    assert (redirected[4:8], redirected[9], redirected[20]) == (["-", "-1", "-1", "-1"], "-", "7")
    assert redirected[22:24] == ['"redirect"', f'"http://127.0.0.1:{port}/new"']


def _fields(line: str) -> list[str]:
    return re.findall(r'"[^"]*"|\S+', line)


def test_a_client_that_goes_away_is_logged_as_460_and_frees_its_target(
    balanced: Balanced, backends: list[Backend]
) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])
    with socket.create_connection(("127.0.0.1", balanced.balancer.port(LISTENER))) as client:
        client.sendall(b"GET /held HTTP/1.1\r\nHost: x\r\n\r\n")
        poll(lambda: backends[0].seen)

    assert poll(lambda: balanced.log)[0].elb_status_code == 460


def test_a_client_that_expects_100_continue_is_told_to_go_on(balanced: Balanced, backends: list[Backend]) -> None:
    one = group()
    balanced.configure(one)
    balanced.register(one, backends[0])
    with socket.create_connection(("127.0.0.1", balanced.balancer.port(LISTENER)), timeout=20) as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        first = client.recv(100)
        client.sendall(b"ok")
        rest = poll(lambda: client.recv(1000))

    assert first == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert rest.startswith(b"HTTP/1.1 200 OK")
    assert "Expect" not in backends[0].seen[0][2]


def test_closing_twice_is_well() -> None:
    balancer = HttpLoadBalancer()

    balancer.close()
    balancer.close()


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections and that nobody else can get: bound, and not listened on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def _answer_at(url: httpx.URL) -> str | None:
    """What a new connection gets for /mark; None where it is refused, or answered with something that is no HTTP."""
    try:
        return httpx.get(url.join("/mark"), timeout=DEADLINE).text
    except httpx.TransportError:
        return None
