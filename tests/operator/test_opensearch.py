"""The OpenSearch output of a rendered configuration, in a real Fluent Bit, against an endpoint that speaks `_bulk`.

`FLUENT_BIT=/path/to/fluent-bit pytest tests/operator/test_opensearch.py`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("cryptography", reason="the extra `sandbox` is not installed")

from inference_operator.api.destinations import Destination
from inference_operator.api.logging import Logging
from inference_operator.fluentbit.intent import Intent
from inference_operator.fluentbit.rendering import Configuration, render
from inference_operator.fluentbit.routing import Line, goes_to, understood
from tests.eventually import eventually
from tests.operator.bulk_server import Index, serving
from tests.operator.firelens import Router, hasty, needs_fluent_bit, running

pytestmark = needs_fluent_bit

HOST = "search-logs-abc.eu-west-1.es.amazonaws.com"
FAILED: dict[str, object] = {"match": {"fields": [{"name": "status", "regex": "^5"}]}, "to": ["search"]}


def intent(*routes: dict[str, object]) -> Intent:
    return Intent(
        namespace="shop",
        name="recommender",
        region="eu-west-1",
        containers=("app",),
        routes=Logging.model_validate({"routes": routes}).routes,
        destinations={"search": Destination.model_validate({"openSearch": {"endpoint": HOST, "index": "inference"}})},
    )


@contextmanager
def searched(index: Index, folder: Path, asked: Intent, wait: Callable[[str], str] = hasty) -> Iterator[Router]:
    """A router whose domain is the test's. Its configuration is as rendered, but for whom it trusts and its waits."""
    rendered = render(asked)
    with serving(index, folder / "domain") as way:
        main = wait(rendered.main).replace(f" {HOST}\n", f" {HOST}\n    tls.ca_file {way.authority}\n")
        configuration = Configuration(main=main, parsers=rendered.parsers)
        proxy = {"HTTP_PROXY": way.proxy, "NO_PROXY": "169.254.169.254,169.254.170.2"}
        with running(folder, configuration, proxy) as router:
            yield router


def numbers(index: Index) -> list[int]:
    return sorted(document["number"] for document in index.documents.values())


def line(**members: object) -> Line:
    return Line(text=json.dumps(members))


def test_lines_arrive_where_the_rule_says_in_one_signed_and_typeless_form(tmp_path: Path) -> None:
    index = Index()
    asked = intent({"match": {"levels": ["ERROR"]}, "to": ["search"]}, FAILED, {"drop": True})
    lines = [
        line(number=number, level=level, status=status, inner={"a.b": [1, "日本"]})
        for number, (level, status) in enumerate([("ERROR", "200"), ("INFO", "503"), ("INFO", "200"), (40, "x")] * 5)
    ]
    wanted = [n for n, each in enumerate(lines) if goes_to(understood(each), asked.routes, dice=0)[1]]
    with searched(index, tmp_path, asked) as router:
        router.send(*lines)
        eventually(lambda: len(index.documents) >= len(wanted), 20)
        assert router.stop() == 0, router.log()
    assert numbers(index) == wanted
    assert {"create"} == {key for action in index.actions for key in action}
    assert {frozenset(action["create"]) for action in index.actions} == {frozenset({"_index", "_id"})}
    first = next(iter(index.documents.values()))
    assert first["inner"] == {"a.b": [1, "日本"]}
    assert first["ecs_cluster"] == "inference"
    assert first["@timestamp"].endswith("Z")
    for request in index.requests:
        assert request["path"] == "/_bulk"
        assert request["host"].partition(":")[0] == HOST
        assert request["content-type"] == "application/x-ndjson"
        assert "/eu-west-1/es/aws4_request" in request["authorization"]


def test_of_very_many_lines_each_is_there_once(tmp_path: Path) -> None:
    """The answer to what a second brings of short lines is longer than the client's usual buffer."""
    index = Index()
    with searched(index, tmp_path, intent({"to": ["search"]}), wait=str) as router:
        router.send(*(line(number=number) for number in range(20_000)))
        eventually(lambda: len(index.documents) >= 20_000, 60)
        assert router.stop() == 0, router.log()
        assert "[error]" not in router.log()
    assert numbers(index) == list(range(20_000))
    assert len(index.actions) == 20_000


def test_a_line_that_the_index_refuses_does_not_double_the_others(tmp_path: Path) -> None:
    index = Index(takes=lambda document: isinstance(document["status"], int))
    with searched(index, tmp_path, intent({"to": ["search"]})) as router:
        router.send(*(line(number=number, status="bad" if number == 3 else 200) for number in range(10)))
        eventually(lambda: len(index.requests) >= 2, 30)
    assert numbers(index) == [0, 1, 2, 4, 5, 6, 7, 8, 9]


def test_equal_lines_of_one_moment_are_all_kept(tmp_path: Path) -> None:
    index = Index()
    with searched(index, tmp_path, intent({"to": ["search"]})) as router:
        router.send(*[line(number=1)] * 50)
        eventually(lambda: len(index.documents) >= 50, 20)
        assert router.stop() == 0, router.log()
    assert len(index.documents) == 50


def test_a_domain_that_denies_is_told_in_the_router_s_log(tmp_path: Path) -> None:
    index = Index(denies=True)
    with searched(index, tmp_path, intent({"to": ["search"]})) as router:
        router.send(line(number=1))
        eventually(lambda: "not authorized to perform: es:ESHttpPost" in router.log(), 20)
        index.denies = False
        eventually(lambda: numbers(index) == [1], 20)
