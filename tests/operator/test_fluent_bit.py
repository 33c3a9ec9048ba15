"""The rule and the rendered configuration, in a real Fluent Bit wrapped as FireLens wraps it.

`FLUENT_BIT=/path/to/fluent-bit pytest tests/operator/test_fluent_bit.py`
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from inference_operator.api.logging import CustomRouter, Logging
from inference_operator.fluentbit import custom
from inference_operator.fluentbit.intent import Intent
from inference_operator.fluentbit.rendering import DEBUG, render
from inference_operator.fluentbit.routing import Line, goes_to, joined, understood
from tests.eventually import eventually
from tests.operator.firelens import free_port, hasty, needs_fluent_bit, read, running, to_files
from tests.operator.log_samples import DESTINATIONS, intents, texts
from tests.operator.simulated_router import masked

pytestmark = needs_fluent_bit

NOWHERE = "nowhere"
LAST = "the last line"
PLACES = (*DESTINATIONS, DEBUG, NOWHERE)


def sent(intent: Intent, lines: Sequence[Line]) -> dict[str, list[dict[str, Any]]]:
    """The records that each destination got. A last line of each container ends the wait for more of a traceback."""
    rendered = render(intent)
    configuration = replace(rendered, main=hasty(rendered.main))
    ends = [Line(text=json.dumps({"end": LAST}), container=container) for container in intent.containers]
    with TemporaryDirectory() as folder, running(Path(folder), to_files(configuration, Path(folder))) as router:
        router.send(*lines, *ends)
        eventually(lambda: all(_arrived(router.folder, intent, end) for end in ends), 20)
        code = router.stop()
        assert code == 0, router.log()
        found = {name: read(router.folder, name) for name in PLACES}
    return {name: [record for record in records if record.get("end") != LAST] for name, records in found.items()}


def _arrived(folder: Path, intent: Intent, end: Line) -> bool:
    _, names = goes_to(understood(end), intent.routes, dice=0)
    found = read(folder, next(iter(names), NOWHERE))
    return any(record.get("end") == LAST and record["container"] == end.container for record in found)


def essence(record: dict[str, Any]) -> str:
    """A record without what the router and FireLens add, told apart from others of other lines."""
    added = (
        "line_id",
        "inference_service",
        "stream",
        "container",
        "ecs_cluster",
        "ecs_task_arn",
        "ecs_task_definition",
    )
    return json.dumps({name: value for name, value in record.items() if name not in added}, sort_keys=True)


def expected(intent: Intent, line: Line) -> str:
    members: Any = understood(line).members
    for path in intent.redact:
        members = masked(members, path, "[redacted]")
    for path in intent.remove:
        members = masked(members, path, None)
    return essence(members)


@given(intent=intents(), written=st.lists(texts(), min_size=40, max_size=60), chance=st.randoms(use_true_random=False))
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    phases=[Phase.explicit, Phase.generate],  # to shrink takes a router for each try
)
def test_every_line_goes_exactly_where_its_route_says(intent: Intent, written: list[str], chance: Any) -> None:
    lines = [
        Line(text=text, container=chance.choice(intent.containers), source=chance.choice(["stdout", "stderr"]))
        for text in written
    ]
    got = sent(intent, lines)
    wanted: dict[str, Counter[str]] = {name: Counter() for name in PLACES}
    for line in lines:
        _, names = goes_to(understood(line), intent.routes, dice=0)
        for name in [*(names or [NOWHERE]), *([DEBUG] if intent.debug_group is not None else [])]:
            wanted[name][expected(intent, line)] += 1
    for name in PLACES:
        found = Counter(map(essence, got[name]))
        assert (found - wanted[name], wanted[name] - found) == (Counter(), Counter()), f"too much, too little: {name}"


def intent_of(*routes: dict[str, object]) -> Intent:
    return Intent(
        namespace="shop",
        name="recommender",
        region="eu-west-1",
        containers=("app",),
        routes=Logging.model_validate({"routes": routes}).routes,
        destinations=DESTINATIONS,
    )


def test_lines_beyond_16_kib_come_out_whole() -> None:
    long = ["x" * 16384, "y" * 16385 + " ERROR", json.dumps({"level": "ERROR", "text": "z" * 100_000})]
    got = sent(
        intent_of({"match": {"levels": ["ERROR"]}, "to": ["errors"]}, {"to": ["archive"]}), list(map(as_line, long))
    )
    assert [record["log"] for record in got["archive"]] == long[:2], "the level stands beyond the first 100 characters"
    assert [record["text"] for record in got["errors"]] == ["z" * 100_000]


def test_bytes_that_are_no_text_neither_stop_the_router_nor_a_line() -> None:
    """A part of a long line ends within a character; some lines hold no characters at all."""
    odd = [b"\xff\xfe ERROR", b'{"level": "ERROR", "text": "\xe6"}', b"\xe6\x97", b"ERROR \xc3", b"\x80" * 20_000]
    long = json.dumps({"level": "ERROR", "text": "日" * 20_000}, ensure_ascii=False)
    got = sent(
        intent_of({"match": {"levels": ["ERROR"]}, "to": ["errors"]}, {"to": ["archive"]}),
        [as_line(text.decode(errors="surrogateescape")) for text in odd] + [as_line(long)],
    )
    assert "日" * 20_000 in [record.get("text") for record in got["errors"]]
    assert len(got["errors"]) == 4
    assert len(got["archive"]) == 2


def test_a_counted_repeat_that_is_not_greedy_is_the_same_as_a_greedy_one() -> None:
    route: dict[str, object] = {"match": {"regex": "^took [0-9]{2}? ms$"}, "to": ["errors"]}
    got = sent(intent_of(route, {"to": ["archive"]}), list(map(as_line, ["took 12 ms", "took  ms"])))
    assert [record["log"] for record in got["errors"]] == ["took 12 ms"]


def test_a_long_run_of_what_an_expression_begins_with_keeps_no_line_waiting() -> None:
    """Tried from each of its characters, it would for hours."""
    written = [" " * 1_000_000 + "x", "x" + " " * 1_000_000]
    got = sent(
        intent_of({"match": {"regex": r"\s+$"}, "to": ["errors"]}, {"to": ["archive"]}), list(map(as_line, written))
    )
    assert [record["log"] for record in got["errors"]] == written[1:]
    assert [record["log"] for record in got["archive"]] == written[:1]


@pytest.mark.parametrize("name", ["user", "@meta", "a@b", "TAG", "x-key"])
def test_a_member_of_an_inner_object_is_no_text_and_found_whatever_the_object_s_name_is(name: str) -> None:
    field = {"name": f"{name}.id", "values": ["a"]}
    lines = [json.dumps(each) for each in ({name: {"id": "a"}}, {name: "a"}, {"a": {"id": "a"}, "meta": {"id": "a"}})]
    got = sent(
        intent_of({"match": {"fields": [field]}, "to": ["errors"]}, {"to": ["archive"]}), list(map(as_line, lines))
    )
    assert list(map(essence, got["errors"])) == lines[:1]
    assert list(map(essence, got["archive"])) == lines[1:]


def nested(opening: str, closing: str, depth: int) -> str:
    return f'{{"level": "ERROR", "a": {opening * depth}1{closing * depth}}}'


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a": ', "}")], ids=["lists", "objects"])
def test_a_line_that_is_nested_too_deep_stays_text_and_takes_no_other_line_along(opening: str, closing: str) -> None:
    """It is with 64 that others would be lost. With 20,000 the router would end, or take minutes."""
    deep = [nested(opening, closing, depth) for depth in (60, 62, 63, 64, 20_000)]
    lines = [nested(opening, closing, 59), *deep, '{"level": "ERROR", "end": 1}']
    got = sent(intent_of({"match": {"levels": ["ERROR"]}, "to": ["errors"]}, {"drop": True}), list(map(as_line, lines)))
    texts = [record["log"] for record in got["errors"] if "log" in record]
    assert sorted(texts) == sorted(deep)
    assert [record["level"] for record in got["errors"] if "level" in record] == ["ERROR", "ERROR"]


@pytest.mark.parametrize("members", [{"a": "x" * 3_000_000}, {"a": ["xy"] * 500_000}], ids=["a text", "a list"])
def test_a_long_json_line_takes_a_few_times_its_length_of_memory(members: Any, tmp_path: Path) -> None:
    """The task's memory is the server's. Tried as one object, a line of 5 MB took up to 590 MB."""
    rendered = render(intent_of({"to": ["archive"]}))
    configuration = to_files(replace(rendered, main=hasty(rendered.main)), tmp_path)
    with running(tmp_path, configuration) as router:
        router.send(as_line(json.dumps(members)))
        eventually(lambda: [record["a"] for record in read(tmp_path, "archive")] == [members["a"]], 20)
        assert router.peak_mib() < 150


def test_a_member_without_a_name_does_not_end_the_router() -> None:
    got = sent(intent_of({"to": ["archive"]}), list(map(as_line, ['{"": 1}', '{"_rt": 95, "b": {"": ""}}'])))
    assert list(map(essence, got["archive"])) == ['{"": 1}', '{"_rt": 95, "b": {"": ""}}']


MASKED = [
    ('{"user": {"email": "a", "id": 1}, "trace": 18446744073709551615, "big": -9007199254740993, "f": 1.0}',) * 2,
    ('{"user": {"email": {"a": [1, {}]}, "n": null, "o": {}, "s": "x\\"}]\\\\"} , "b": [{"user": {"email": 1}}]}',) * 2,
    ('{"user": [{"email": null}, 3, "email", [{ "email" : 1e3 , "id" : -0.5 }]]}',) * 2,
    ('{"us\\u0065r": {"\\u0065mail": "a"}}', '{"user": {"email": "a"}}'),
    ('{"user.email": "a", "user": {"emails": "b", "an": {"email": "c"}}}',) * 2,
    ('{"user": {"email": "a", "email": "b"}}', '{"user": {"email": "b"}}'),
    ('{"user": {"email": "a"}, "user": {"id": 1}}', '{"user": {"id": 1}}'),
    ('{"user": {"id": 1}, "user": {"email": "a"}}', '{"user": {"email": "a"}}'),
    ('{"http": {"headers": {"cookie": "a", "host": "b"}}, "http.headers": {"cookie": "c"}}',) * 2,
    ('{"http": {"headers": [{"cookie": "a"}], "cookie": "b"}}',) * 2,
    ('{"http.headers.cookie": "a"}',) * 2,
    ('{"email": "a", "an": {"user": {"email": "b"}}}',) * 2,
    ('{"user": "email"}',) * 2,
    ('{"user": {"email": "a",}}', '{"log": "{\\"user\\": {\\"email\\": \\"a\\",}}"}'),
    ('{"user" {"email": "a"}}', '{"log": "{\\"user\\" {\\"email\\": \\"a\\"}}"}'),
    ('{user: {"email": "a"}}', '{"log": "{user: {\\"email\\": \\"a\\"}}"}'),
    ('{"user": {"email": "a", "text": "' + "y" * 100_000 + '"}}',) * 2,
]
"""Lines, and each as it would go out if nothing were redacted."""


def test_members_of_inner_objects_are_redacted_or_removed_and_all_else_is_as_it_was() -> None:
    """Of two of a name one goes out. What is no JSON stays text, whole."""
    asked = replace(intent_of({"to": ["archive"]}), redact=("user.email", "text"), remove=("http.headers.cookie",))
    got = sent(asked, [Line(text=text) for text, _ in MASKED])["archive"]
    wanted = [
        masked(masked(json.loads(text), "user.email", "[redacted]"), "http.headers.cookie", None) for _, text in MASKED
    ]
    assert list(map(essence, got)) == list(map(essence, wanted))


def test_routes_see_members_of_inner_objects_before_they_are_redacted() -> None:
    field = {"name": "user.email", "regex": "@example"}
    asked = intent_of({"match": {"fields": [field]}, "to": ["errors"]}, {"to": ["archive"]})
    got = sent(
        replace(asked, redact=("user.email",)), list(map(as_line, ['{"user": {"email": "a@example.com"}}', "x"]))
    )
    assert list(map(essence, got["errors"])) == ['{"user": {"email": "[redacted]"}}']
    assert list(map(essence, got["archive"])) == ['{"log": "x"}']


def as_line(text: str) -> Line:
    return Line(text=text, source="stderr")


TRACEBACKS = """\
Traceback (most recent call last):
  File "/app.py", line 3, in first
    raise KeyError("a")
KeyError: 'a'

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "/app.py", line 5, in second
    boom()
app.errors.BoomError: slow"""
GROUP = """\
  + Exception Group Traceback (most recent call last):
  |   File "/app.py", line 7, in <module>
  | ExceptionGroup: two (2 sub-exceptions)
  +-+---------------- 1 ----------------
    | ValueError: one
    +---------------- 2 ----------------
    | KeyError: 'two'
    +------------------------------------"""
CHAIN = f"{GROUP}\n\nThe above exception was the direct cause of the following exception:\n\n{TRACEBACKS}"


@pytest.mark.parametrize("written", [TRACEBACKS, GROUP, CHAIN], ids=["chained", "group", "group in a chain"])
def test_a_traceback_is_one_record_and_what_follows_is_another(written: str) -> None:
    lines = ["before", *written.splitlines(), "INFO: after"]
    assert list(joined(lines)) == ["before", written, "INFO: after"]
    got = sent(
        intent_of({"match": {"levels": ["ERROR"]}, "to": ["errors"]}, {"to": ["archive"]}), list(map(as_line, lines))
    )
    assert [record["log"].removesuffix("\n") for record in got["errors"]] == [written]
    assert [record["log"] for record in got["archive"]] == ["before", "INFO: after"]


def test_labels_and_the_metadata_of_ecs_come_along() -> None:
    got = sent(intent_of({"to": ["archive"]}), [Line(text="hello", source="stderr")])
    assert got["archive"] == [
        {
            "log": "hello",
            "stream": "stderr",
            "container": "app",
            "inference_service": "shop/recommender",
            "ecs_cluster": "inference",
            "ecs_task_arn": "arn:aws:ecs:eu-west-1:123456789012:task/inference/0123456789abcdef0123456789abcdef",
            "ecs_task_definition": "shop_recommender:1",
        }
    ]


def test_a_destination_that_is_not_reached_holds_up_no_other(tmp_path: Path) -> None:
    """Of each route, container and moment a chunk waits for it: more than the 128 that Fluent Bit has open at most."""
    levels, containers = ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], [f"app-{number}" for number in range(10)]
    routes: list[dict[str, object]] = [{"match": {"levels": [level]}, "to": ["errors", "search"]} for level in levels]
    asked = replace(intent_of(*routes, {"drop": True}), containers=containers)
    rendered = render(asked)
    configuration = replace(rendered, main=hasty(rendered.main))
    lines = [Line(text=level, container=container) for level in levels for container in containers]
    proxy = {"HTTP_PROXY": f"http://127.0.0.1:{free_port()}", "NO_PROXY": "169.254.169.254,169.254.170.2"}
    with running(tmp_path, to_files(configuration, tmp_path, but="search"), proxy) as router:
        for count in range(1, 5):
            router.send(*lines)
            eventually(partial(_holds, tmp_path, count * len(lines)), 20)
        assert "paused (" not in router.log()


def test_more_lines_than_may_wait_for_a_destination_that_is_not_reached_reach_the_others(tmp_path: Path) -> None:
    rendered = render(replace(intent_of({"to": ["errors", "search"]}), buffer_mib=1))
    proxy = {"HTTP_PROXY": f"http://127.0.0.1:{free_port()}", "NO_PROXY": "169.254.169.254,169.254.170.2"}
    configuration = to_files(replace(rendered, main=hasty(rendered.main)), tmp_path, but="search")
    with running(tmp_path, configuration, proxy) as router:
        for count in range(100, 600, 100):
            router.send(*[Line(text="x" * 10_000)] * 100)
            eventually(partial(_holds, tmp_path, count), 20)


def _holds(folder: Path, count: int) -> bool:
    return len(read(folder, "errors")) == count


@pytest.mark.parametrize("indent", ["  ", "\t", "      "], ids=["two blanks", "a tab", "six blanks"])
def test_a_configuration_of_ones_own_is_indented_as_one_likes(tmp_path: Path, indent: str) -> None:
    """As a whole too, and its parsers."""
    outputs = (
        f"  @SET format=plain\n  [OUTPUT]\n    Name file\n  \n    Match app-firelens-*\n    Path {tmp_path}\n"
        "    Format ${format}\n    File out\n"
    )
    parse = "[FILTER]\n    Name parser\n    Match *\n    Key_Name log\n    Parser first\n    Reserve_Data On\n"
    parsers = "[PARSER]\n    Name first\n    Format json\n  \n[PARSER]\n Name second\n Format json\n"
    own = CustomRouter(configuration=(outputs + parse).replace("    ", indent), parsers=parsers.replace("    ", indent))
    assert custom.refusals(own) == []
    with running(tmp_path, custom.wrapped(own)) as router:
        router.send(Line(text='{"said": "hello"}'))
        eventually(lambda: [record["said"] for record in read(tmp_path, "out")] == ["hello"], 20)


def test_a_share_of_the_lines_is_about_that_share() -> None:
    route = {"match": {"levels": ["INFO"]}, "to": ["archive"], "samplePercent": 10}
    got = sent(intent_of(route, {"to": ["errors"]}), [Line(text="INFO x")] * 2000)
    assert got["errors"] == []
    assert len(got["archive"]) + len(got[NOWHERE]) == 2000
    assert 130 < len(got["archive"]) < 270
