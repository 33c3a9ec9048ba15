"""Conditions, rewrites and redirects of listener rules, as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from inference_sandbox.load_balancer.rules import Asked, Redirect, compile_rule
from tests.sandbox.load_balancer.conftest import path_is, rule, text


def asked(target: str = "/", **changes: Any) -> Asked:
    return Asked(
        **{"method": "GET", "host": "shop.example:8080", "headers": {}, "source_ip": "127.0.0.1", **changes},
        target=target,
    )


def meets(condition: Mapping[str, Any], request: Asked) -> bool:
    return compile_rule(rule(text("x"), condition, priority=1)).meets(request)


@pytest.mark.parametrize(
    ("pattern", "path", "met"),
    [
        ("/models/*", "/models/", True),
        ("/models/*", "/models/a/b", True),
        ("/models/*", "/models", False),
        ("/models*", "/models", True),
        ("/models/*", "/Models/a", False),
        ("/v?/x", "/v2/x", True),
        ("/v?/x", "/v/x", False),
        ("/v?/x", "/v22/x", False),
        ("/*.json", "/a.json", True),
        ("/a.json", "/axjson", False),
        ("/a", "/a/b", False),
        (r"/a\*", "/a*", True),
        (r"/a\*", "/ab", False),
        ("/a", "/a?x=/b", True),
        ("*b", "/a?b", False),
    ],
)
def test_a_path_pattern_fits_the_whole_path_and_never_the_query(pattern: str, path: str, met: bool) -> None:
    assert meets(path_is(pattern), asked(path)) is met


def test_patterns_may_come_in_the_old_member_values() -> None:
    assert meets({"Field": "path-pattern", "Values": ["/a", "/b"]}, asked("/b"))


@pytest.mark.parametrize(
    ("pattern", "host", "met"),
    [
        ("shop.example", "SHOP.example", True),
        ("shop.example", "shop.example:8080", True),
        ("*.example", "a.b.example", True),
        ("*.example", "example", False),
        ("shop.example", "shop-example", False),
    ],
)
def test_a_host_pattern_ignores_case_and_port(pattern: str, host: str, met: bool) -> None:
    assert meets({"Field": "host-header", "HostHeaderConfig": {"Values": [pattern]}}, asked(host=host)) is met


def test_a_header_condition_looks_at_every_value_of_the_header_and_ignores_case() -> None:
    condition = {"Field": "http-header", "HttpHeaderConfig": {"HttpHeaderName": "X-Version", "Values": ["beta*"]}}

    assert meets(condition, asked(headers={"x-version": ["stable", "BETA-2"]}))
    assert not meets(condition, asked(headers={"x-version": ["stable"]}))
    assert not meets(condition, asked())


def test_a_method_must_be_the_same_to_the_letter() -> None:
    condition = {"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["GET", "POST"]}}

    assert meets(condition, asked(method="POST"))
    assert not meets(condition, asked(method="get"))


@pytest.mark.parametrize(
    ("pair", "query", "met"),
    [
        ({"Key": "version", "Value": "v1"}, "a=b&version=V1", True),
        ({"Key": "version", "Value": "v1"}, "version=v2", False),
        ({"Value": "*exam?le*"}, "x=an+example+text", True),
        ({"Value": "b"}, "b=c", False),
        ({"Key": "a", "Value": "x y"}, "a=x%20y", True),
        ({"Key": "a", "Value": r"\*"}, "a=*", True),
        ({"Key": "a", "Value": r"\*"}, "a=b", False),
        ({"Key": "a", "Value": "*"}, "", False),
    ],
)
def test_a_query_condition_looks_for_a_pair_or_a_value(pair: Mapping[str, str], query: str, met: bool) -> None:
    condition = {"Field": "query-string", "QueryStringConfig": {"Values": [pair]}}

    assert meets(condition, asked(f"/?{query}")) is met


def test_a_source_condition_is_about_the_peer_not_about_forwarded_for() -> None:
    condition = {"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8", "2001:db8::/32"]}}
    forwarded = {"x-forwarded-for": ["10.1.2.3"]}

    assert meets(condition, asked(source_ip="10.1.2.3"))
    assert not meets(condition, asked(source_ip="127.0.0.1", headers=forwarded))


def test_all_conditions_of_a_rule_must_be_met() -> None:
    both = compile_rule(rule(text("x"), path_is("/a"), {"Field": "host-header", "Values": ["a.example"]}, priority=1))

    assert both.meets(asked("/a", host="a.example"))
    assert not both.meets(asked("/a", host="b.example"))
    assert not both.meets(asked("/b", host="a.example"))


def test_a_regular_expression_condition_is_searched_for() -> None:
    condition = {"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["^/models/[a-z]+$"]}}

    assert meets(condition, asked("/models/abc"))
    assert not meets(condition, asked("/models/abc1"))


def test_an_invalid_expression_is_refused_with_the_rule_and_the_expression() -> None:
    condition = {"Field": "path-pattern", "PathPatternConfig": {"RegexValues": ["("]}}

    with pytest.raises(ValueError, match=r"rule .*/1: regular expression '\(' is not valid"):
        compile_rule(rule(text("x"), condition, priority=1))


@pytest.mark.parametrize(
    ("expression", "replacement", "target", "rewritten"),
    [
        ("^/shop/(.*)$", "/$1", "/shop/a/b?x=1", "/a/b?x=1"),
        ("^/shop(/|$)(.*)", "/$2", "/shop", "/"),
        ("^/a/([^/]+)/([^/?]+)", "/$2/$1", "/a/x/y?q", "/y/x?q"),
        ("[?]user=([^&]+)", "?id=$1", "/p?user=7&z=1", "/p?id=7&z=1"),
        ("^/none", "/some", "/other", "/other"),
        ("^/a$", "/b\\1", "/a", "/b\\1"),
    ],
)
def test_a_url_rewrite_replaces_what_its_expression_finds_in_path_and_query(
    expression: str, replacement: str, target: str, rewritten: str
) -> None:
    rewrites = {"Rewrites": [{"Regex": expression, "Replace": replacement}]}
    compiled = compile_rule(rule(text("x"), transforms=[{"Type": "url-rewrite", "UrlRewriteConfig": rewrites}]))

    assert compiled.rewrite_target(target) == rewritten
    assert compiled.rewrite_host("shop.example") == "shop.example"


def test_a_redirect_fills_its_placeholders_and_drops_an_empty_query() -> None:
    config = {"Host": "www.#{host}", "Path": "/#{path}/end", "Query": "#{query}", "StatusCode": "HTTP_302"}
    action = compile_rule(rule({"Type": "redirect", "RedirectConfig": config})).action

    assert isinstance(action, Redirect)
    assert action.status == 302
    assert action.location(asked("/a"), 8080) == "http://www.shop.example:8080/a/end"


def test_a_rule_that_authenticates_first_is_not_served_as_if_it_did_not() -> None:
    first = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": {}}
    route = rule(text("secret"))
    guarded = type(route)(arn="r", priority=None, conditions=[], actions=[first, {**text("secret"), "Order": 2}])

    assert compile_rule(guarded).action is None
