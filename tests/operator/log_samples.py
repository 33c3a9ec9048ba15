"""Any accepted routes, and lines that they may treat one way or another, for hypothesis."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from pydantic import ValidationError

from inference_operator.api.destinations import Destination
from inference_operator.api.logging import Logging
from inference_operator.fluentbit.intent import Intent
from inference_operator.fluentbit.routing import Line

DESTINATIONS = {
    "errors": Destination.model_validate({"cloudWatchLogs": {"logGroup": "/inference/{namespace}/{name}/errors"}}),
    "archive": Destination.model_validate({"s3": {"bucket": "inference-logs"}}),
    "stream": Destination.model_validate({"firehose": {"deliveryStream": "inference-logs"}}),
    "search": Destination.model_validate({"openSearch": {"endpoint": "search.example.com", "index": "inference"}}),
}
CONTAINERS = ("app", "app-firelens-x", "proxy")

WORDS = [
    "slow",
    "a b",
    "500",
    "-3",
    "true",
    "${X}",
    "$TAG",
    "[OUTPUT]",
    '"q"',
    "it's",
    "#",
    "日本",
    "日slow",
    "x.y",
    "`",
    "\\",
    "(",
]
PATHS = ["/healthz", "/healthz?full=1", "/healthzz", "/v2/models/a/infer", "/v2/", "/"]
LEVELS = ["ERROR", "error", "WARN", "info", "CRITICAL", "Traceback", "fatal", "bad", "", "30", "DEBUG"]
MEMBERS = ["status", "user", "x-key", "@type", "level", "message", "path", "log", "stream", "container", "source"]
ODD = [
    *('{"a": NaN}', '{"a": 1e400, "level": "ERROR"}', '{"a": "\t", "level": "ERROR"}', '{"a": 1,}', "{}", "[]", "3"),
    *(
        '"ERROR"',
        "null",
        "  ",
        '\ufeff{"level": "ERROR"}',
        '{"level": "ERROR"}\r',
        ' {"a": "}", "level": 50} ',
        "{{}}",
    ),
    *(
        '{"\\u005frt_route": "0"}',
        '{"_RT_x": 1, "level": "error"}',
        '{"message": "ERROR", "status": "film_rt_2", "level": "info"}',
        '{"status": "_rt_route", "level": "error"}',
        '{"status": "\\\\u005frt_", "path": "\\"_rt_x\\": ", "level": "error"}',
        '{"\\u005F\\u0072\\u0074_": 1, "level": "error"}',
        '{"user": {"_rt_x" : 1, "id": 1}, "level": "error"}',
        '{"log": {"level": "ERROR"}}',
        '{"level": ["ERROR"]}',
        "\x1b[1;31mERROR\x1b[0m: slow",
    ),
]
"""Lines at the edge of JSON."""
TRACEBACK = 'Traceback (most recent call last):\n  File "/app.py", line 1, in <module>\n    boom()\nValueError: {}'


def _pattern(word: str) -> str:
    return "".join(char if char.isalnum() or not char.isascii() else f"\\{char}" for char in word)


@st.composite
def regexes(draw: st.DrawFn) -> str:
    """Made of pieces that are each accepted."""
    pieces = st.sampled_from(
        [
            ".",
            r"\d+",
            r"\s+",
            r"\w{2,}",
            "[a-z ]{1,3}",
            "[0-9]{2}?",
            "[^0-9]",
            "(?:a|b)?",
            r"\bslow\b",
            *map(_pattern, WORDS),
        ]
    )
    middle = "".join(draw(st.lists(pieces, min_size=1, max_size=3)))
    return draw(st.sampled_from(["{}", "^{}", "{}$", "({})", "{}|^x"])).format(middle)


def fields() -> st.SearchStrategy[dict[str, Any]]:
    name = st.sampled_from([*MEMBERS, "user.id", "user.address.city", "@type.id", "TAG.id", "log.id"])
    values = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True)
    return st.one_of(
        st.fixed_dictionaries({"name": name, "values": values}),
        st.fixed_dictionaries({"name": name, "regex": regexes()}),
    )


def matches() -> st.SearchStrategy[dict[str, Any]]:
    levels = st.sampled_from(["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
    optional = {
        "levels": st.lists(levels, min_size=1, max_size=3, unique=True),
        "fields": st.lists(fields(), min_size=1, max_size=2, unique_by=lambda field: field["name"]),
        "source": st.sampled_from(["stdout", "stderr"]),
        "path": st.sampled_from(["/healthz", "/v2/*", "/healthz*", "/*", "/"]),
        "regex": regexes(),
        "container": st.sampled_from(CONTAINERS),
    }
    return st.fixed_dictionaries({}, optional=optional).filter(bool)


def ends() -> st.SearchStrategy[dict[str, Any]]:
    """Where a route leads. Shares are left to a test of their own: they are matters of chance."""
    to = st.lists(st.sampled_from(sorted(DESTINATIONS)), min_size=1, max_size=3, unique=True)
    return st.one_of(st.just({"drop": True}), st.fixed_dictionaries({"to": to}))


@st.composite
def intents(draw: st.DrawFn) -> Intent:
    routes = [{"match": draw(matches()), **draw(ends())} for _ in range(draw(st.integers(0, 5)))]
    try:
        logging = Logging.model_validate({"routes": [*routes, draw(ends())]})
    except ValidationError as error:
        raise AssertionError(f"the strategy makes what is not accepted: {error}") from error
    return Intent(
        namespace="shop",
        name="recommender",
        region="eu-west-1",
        containers=CONTAINERS,
        routes=logging.routes,
        destinations=DESTINATIONS,
        redact=draw(st.sampled_from([(), ("status",), ("status", "user.id", "@type.more.id")])),
        remove=draw(st.sampled_from([(), ("user", "@type"), ("user.address.city", "TAG.address")])),
        debug_group=draw(st.sampled_from([None, "/inference/shop/recommender"])),
    )


def members() -> st.SearchStrategy[dict[str, Any]]:
    scalars = st.one_of(
        st.sampled_from([*WORDS, *LEVELS, *PATHS]),
        st.integers(-1000, 1000),
        st.booleans(),
        st.sampled_from([500, 40, -3, 2**63, 2**64 - 1, 1.5, None]),
    )
    user: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
        {},
        optional={
            "id": scalars,
            "address": st.fixed_dictionaries({"city": scalars}),
            "more": st.just([{"": 1, "id": "a"}, [{"id": None}]]),
        },
    )
    return st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(MEMBERS, scalars),
            "level": st.one_of(st.sampled_from(LEVELS), st.sampled_from([10, 20, 30, 40, 50, 7])),
            "levelname": st.sampled_from(LEVELS),
            "severity": st.sampled_from(LEVELS),
            "path": st.sampled_from([*PATHS, 3]),
            "message": st.one_of(st.sampled_from(WORDS), st.text("ab slow\n${}[]()\"'", max_size=12)),
            **dict.fromkeys(("user", "@type", "TAG"), st.one_of(user, st.sampled_from(WORDS))),
            "_rt_route": st.just("0"),
            "_rt": st.just(95),
            "user.id": scalars,
            "": st.just(1),
        },
    )


def texts() -> st.SearchStrategy[str]:
    """Lines of all kinds but the parts of others: JSON and not quite, plain, requests, tracebacks whole."""
    level, word, path = st.sampled_from(LEVELS), st.sampled_from(WORDS), st.sampled_from(PATHS)
    objects = st.builds(lambda found, ascii_only: json.dumps(found, ensure_ascii=ascii_only), members(), st.booleans())
    return st.one_of(
        objects,
        objects,
        objects,
        st.builds(lambda text, more: f"{text} {more}", objects, word),
        st.builds(lambda text: text[:-1], objects.filter(lambda text: len(text) > 2)),
        st.builds(lambda a, b: f"[{a}, {b}]", objects, objects),
        st.builds("{}: {} {}".format, level, word, word),
        st.builds("{}{} {}".format, word, level, word),
        st.sampled_from(ODD),
        st.builds('127.0.0.1 - - "GET {} HTTP/1.1" 200 {}'.format, path, word),
        st.builds(TRACEBACK.format, st.sampled_from(["slow", "a b", "日本"])),
    )


def lines() -> st.SearchStrategy[Line]:
    return st.builds(
        Line, text=texts(), container=st.sampled_from(CONTAINERS), source=st.sampled_from(["stdout", "stderr"])
    )
