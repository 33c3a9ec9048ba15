"""Regular expressions that an engine like the log router's would never have tried through, and those like them."""

from __future__ import annotations

import pytest

from inference_operator.api.ambiguity import is_ambiguous


@pytest.mark.parametrize(
    "regex",
    [
        "^(a+)+$",
        r"^(\w+\s?)*$",
        "(a*)*b",
        "(a|a)*b",
        r"(\w|\d)*b",
        r"(\w+x)*b",
        "(a|b|ab)*c",
        "(a?b?)*c",
        r"(\s*\w*)*$",
        "(.*,)*b",
        "(?:a{1,20}){2,}b",
        "(a+){30}b",
        "(é|[^a])+b",
        r"^(([a-z])+.)+[A-Z]([a-z])+$",
    ],
)
def test_what_doubles_its_ways_with_each_repeat_is_found(regex: str) -> None:
    assert is_ambiguous(regex)


@pytest.mark.parametrize(
    "regex",
    [
        "took [0-9]{4,} ms$",
        "^(GET|POST) /v2/",
        r"(?:\w+,)*$",
        r"^(\s+\w+)*$",
        r"^(\w+ )+failed",
        r"(?:[0-9]{1,3}\.){3}[0-9]{1,3}",
        r"(?:[0-9a-f]{4}:?){8}",
        r"(\w{1,64}\.){1,64}",
        r"[a-z]+@[a-z]+(?:\.[a-z]+)+",
        r'"(?:[^"\\]|\\.)*"',
        "(?:error|warn)+",
        "(ab|cd|ac)*",
        "(?:[a-c]|[d-f])+?g",
        "^(^a|$)*",
        r".*foo.*bar.*",
        r"\s+$",
        r"[\]()]+\)",
        "(a|b|c|d|e|f|g|h|i|j|k|l|m|n|o|p|q|r|s|t|u|v|w|x|y|z)*",
        ".*" * 128,
        "x" * 256,
    ],
)
def test_what_does_not_is_let_be(regex: str) -> None:
    assert not is_ambiguous(regex)
