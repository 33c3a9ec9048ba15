"""For any accepted routes every line goes exactly where the rule says: `goes_to` is held against what the rendered
configuration does, played in Python here, and in a real Fluent Bit in `test_fluent_bit.py`."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings

from inference_operator.api.logging import Logging, Match
from inference_operator.fluentbit.classic import onigmo, share
from inference_operator.fluentbit.intent import Intent
from inference_operator.fluentbit.rendering import DEBUG, render
from inference_operator.fluentbit.routing import Line, goes_to, takes, understood
from tests.operator.log_samples import CONTAINERS, DESTINATIONS, intents, lines
from tests.operator.simulated_router import received, sections


@given(intent=intents(), line=lines())
@settings(max_examples=300, deadline=None)
def test_every_line_goes_exactly_where_its_route_says(intent: Intent, line: Line) -> None:
    number, wanted = goes_to(understood(line), intent.routes, dice=0.5)
    got = received(render(intent), line)
    names = [name for name, _ in got]
    debug = [DEBUG] if intent.debug_group is not None else []
    nowhere = [] if wanted else ["null"]
    assert sorted(names) == sorted([*wanted, *debug, *nowhere]), f"route {number}"
    for _, record in got:
        assert not [name for name in record if name.startswith("_rt_")], "helpers go out"
        assert record["inference_service"] == "shop/recommender"


@given(intent=intents(), line=lines())
@settings(max_examples=100, deadline=None)
def test_what_is_redacted_or_removed_goes_nowhere(intent: Intent, line: Line) -> None:
    for _, record in received(render(intent), line):
        assert {text for name in intent.redact for text in map(str, at(record, name))} <= {"[redacted]"}
        assert not [value for name in intent.remove for value in at(record, name)]


def at(value: Any, path: str) -> list[Any]:
    """The values of all members of a path."""
    if isinstance(value, list):
        return [found for each in value for found in at(each, path)]
    if not isinstance(value, dict):
        return []
    inner = [found for name in value for found in at(value[name], path[len(name) + 1 :]) if path.startswith(f"{name}.")]
    return inner + ([value[path]] if path in value else [])


@pytest.mark.parametrize("path", ["/start_rt_", "_rt_route", r"/\u005frt_", '"_rt_x": ', '\\"_rt_x": "'])
def test_a_secret_is_redacted_whatever_else_its_line_holds(path: str) -> None:
    asked = replace(_intent({"to": ["archive"]}), redact=["authorization"])
    [(_, record)] = received(render(asked), Line(text=json.dumps({"path": path, "authorization": "Bearer x"})))
    assert record["path"] == path
    assert record["authorization"] == "[redacted]"


@given(intent=intents())
@settings(max_examples=100, deadline=None)
def test_no_value_of_a_spec_breaks_out_of_its_place(intent: Intent) -> None:
    configuration = render(intent)
    plain = [re.sub(r"^ *(?:Condition|Add|Set|Remove) .*$|^#.*$", "", line) for line in configuration.main.splitlines()]
    assert "${" not in configuration.main
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", configuration.main)
    assert all(re.match(r"$|\[(?:SERVICE|FILTER|OUTPUT)\]$|    \S+ +\S", line) for line in plain)
    for section in sections(configuration.main):
        for condition in section.all("Condition"):
            assert len(condition.split(" ")) <= 3, "a space or a quote would split it"
            assert not set("\"'`") & set(condition.split(" ")[-1])


@given(intent=intents())
@settings(max_examples=50, deadline=None)
def test_the_same_intent_is_the_same_text(intent: Intent) -> None:
    assert render(intent).hash == render(intent).hash


def test_what_goes_to_s3_when_the_router_stops_waits_for_no_destination_that_hangs() -> None:
    """A router with Fluent Bit 5.1 ends its outputs one after the other."""
    named = {"a": DESTINATIONS["errors"], "b": DESTINATIONS["archive"], "c": DESTINATIONS["stream"]}
    asked = replace(_intent({"to": sorted(named)}), destinations=named)
    outputs = [section for section in sections(render(asked).main) if section.kind == "OUTPUT"]
    assert [section.get("Alias") for section in outputs] == ["b", "a", "c", ""]


def _intent(*routes: dict[str, object]) -> Intent:
    return Intent(
        namespace="shop",
        name="recommender",
        region="eu-west-1",
        containers=CONTAINERS,
        routes=Logging.model_validate({"routes": routes}).routes,
        destinations=DESTINATIONS,
    )


@pytest.mark.parametrize(
    ("pattern", "written"),
    [("a{2}?", "(?:a{2})"), ("a{2,3}?", "(?:a{2,3}?)"), ("a??", "(?:a??)"), ("[{2}?]", "(?:[{2}?])")],
)
def test_a_repeat_that_is_counted_is_not_made_optional(pattern: str, written: str) -> None:
    assert onigmo(pattern) == written


@pytest.mark.parametrize(
    ("pattern", "written"),
    [
        (r"\s+$", r"(?:(?<!\s)\s+$)"),
        ("[a-f ]{2,}x|a+", r"(?:(?<![a-f\x20])[a-f\x20]{2,}x|a+)"),
        (" *x", r"(?:(?<!\x20)\x20*x)"),
        (r"\.+?", r"(?:(?<!\.)\.+?)"),
        ("a{2,3}", "(?:a{2,3})"),
        ("ab+", "(?:ab+)"),
        ("^a+", "(?:^a+)"),
        ("(a)+", "(?:(a)+)"),
    ],
)
def test_what_begins_with_a_repeat_is_tried_where_a_run_begins(pattern: str, written: str) -> None:
    assert onigmo(pattern) == written


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
def test_a_share_is_kept_within_a_hundredth(percent: int) -> None:
    kept = sum(re.search(share(percent), f"{number:03x}") is not None for number in range(16**3))
    assert kept / 16**3 == pytest.approx(percent / 100, abs=0.001)


def test_of_a_sampled_route_the_others_go_nowhere() -> None:
    sampled = {"match": {"levels": ["INFO"]}, "to": ["archive"], "samplePercent": 25}
    configuration = render(_intent(sampled, {"to": ["errors"]}))
    got = [received(configuration, Line(text="INFO x"))[0][0] for _ in range(400)]
    assert set(got) == {"archive", "null"}
    assert 50 < got.count("archive") < 160


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ('{"level": "ERROR"}', "ERROR"),
        ('{"level": 40}', "40"),
        ('{"levelname": "WARNING", "severity": "info"}', "WARNING"),
        ('{"severity": "info"}', "info"),
        ('{"level": true}', "true"),
        ('{"message": "ERROR"}', ""),
        ("2026-11-24 WARN disk", "WARN"),
        ("Traceback (most recent call last):\n  File", "Traceback"),
        ("  + Exception Group Traceback (most recent call last):\n  |   File", "Traceback"),
        ("\x1b[32mINFO\x1b[0m:     started", "INFO"),
        ("12:00:00 | \x1b[31m\x1b[1mERROR   \x1b[0m | app:main", "ERROR"),
        ("mERROR", ""),
        ("nothing said", ""),
        ("x" * 101 + " ERROR", ""),
        ('{"level": "INFO"} {"level": "ERROR"}', "INFO"),
        ('{"message": "ERROR", "model": "film_rt_2", "level": "INFO"}', "INFO"),
        ('{"message": "ERROR", "_rt_2": "", "level": "INFO"}', "ERROR"),
        (f'{{"level": "INFO", "message": "ERROR", "a": {"[" * 59}{"]" * 59}}}', "INFO"),
        (f'{{"level": "other", "message": "ERROR", "a": {"[" * 60}{"]" * 60}}}', "ERROR"),
        ("[]", ""),
    ],
)
def test_the_level_of_a_line(text: str, level: str) -> None:
    assert understood(Line(text=text)).level == level


@pytest.mark.parametrize(
    ("match", "text", "taken"),
    [
        ({"path": "/healthz"}, '{"path": "/healthz?x=1"}', True),
        ({"path": "/healthz"}, '{"path": "/healthzz"}', False),
        ({"path": "/healthz"}, '10.0.0.1 - - "GET /healthz HTTP/1.1" 200', True),
        ({"path": "/v2/*"}, '{"path": "/v2/models"}', True),
        ({"fields": [{"name": "status", "values": ["500"]}]}, '{"status": 500}', True),
        ({"fields": [{"name": "status", "values": ["500"]}]}, '{"status": "500"}', True),
        ({"fields": [{"name": "status", "values": ["500"]}]}, '{"status": 500.0}', False),
        ({"fields": [{"name": "user.id", "values": ["a"]}]}, '{"user": {"id": "a"}}', True),
        ({"fields": [{"name": "user.id", "values": ["a"]}]}, '{"user.id": "a"}', False),
        ({"fields": [{"name": "user.id", "values": ["a"]}]}, '{"user": "a"}', False),
        ({"fields": [{"name": "log.id", "values": ["a"]}]}, "a", False),
        ({"fields": [{"name": "@meta.id", "values": ["a"]}]}, '{"@meta": {"id": "a"}}', True),
        ({"fields": [{"name": "@meta.id", "values": ["a"]}]}, '{"meta": {"id": "a"}}', False),
        ({"fields": [{"name": "a@b.id", "values": ["a"]}]}, '{"a@b": {"id": "a"}}', True),
        ({"fields": [{"name": "TAG.id", "values": ["a"]}]}, '{"TAG": {"id": "a"}}', True),
        ({"regex": "^slow"}, '{"message": "very\\nslow"}', True),
        ({"regex": "slow"}, "it is slow", True),
        ({"regex": "x*"}, "{}", False),
    ],
)
def test_what_a_match_takes(match: dict[str, object], text: str, taken: bool) -> None:
    record = understood(Line(text=text))
    assert takes(Match.model_validate(match), record) is taken
    got = received(render(_intent({"match": match, "to": ["errors"]}, {"drop": True})), Line(text=text))
    assert [name for name, _ in got] == (["errors"] if taken else ["null"])
