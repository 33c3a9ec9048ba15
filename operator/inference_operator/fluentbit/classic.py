"""Fluent Bit's classic format: sections, and values that stay in their place.

In that format a line ends a value, a space or a quote ends a part of one, `${X}` is replaced by an environment variable
everywhere, and regular expressions are Onigmo's (Ruby syntax). Source: Fluent Bit's configuration manual; flb_env.c,
flb_utils_split_quoted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

_PLAIN: Final = re.compile(r"[A-Za-z0-9_/\-]|[^\x00-\x7f]")
_UNWRITABLE: Final = re.compile(r"[\x00-\x1f\x7f]|\$\{")
_TOKEN: Final = re.compile(r"\\(.)|(.)", re.DOTALL)
_SPLITTING: Final = " \"'`#$"


@dataclass(frozen=True, kw_only=True)
class Section:
    kind: str
    entries: Sequence[tuple[str, str]]
    comments: Sequence[str] = ()

    def text(self) -> str:
        width = max(len(key) for key, _ in self.entries)
        lines = [f"# {comment}" for comment in self.comments]
        lines.append(f"[{self.kind}]")
        lines += [f"    {key:<{width}} {value}" for key, value in self.entries]
        for line in lines:
            if _UNWRITABLE.search(line):
                raise ValueError(f"a line of [{self.kind}] holds a control character or ${{: {line!r}")
        return "\n".join(lines) + "\n"


def document(sections: Iterable[Section]) -> str:
    return "\n".join(section.text() for section in sections)


def comment(text: str) -> str:
    """A text of any kind, as it can stand in a comment."""
    return _UNWRITABLE.sub(lambda found: found[0].encode("unicode_escape").decode().replace("${", "$ {"), text)


def literal(text: str) -> str:
    """A regular expression for just this text, in one word."""
    return "".join(_escaped(char) for char in text)


def _escaped(char: str) -> str:
    if char == ".":
        return r"\."
    return char if _PLAIN.fullmatch(char) else f"\\x{ord(char):02x}"


_WORD_EDGES: Final = {"b": r"(?:(?<=\w)(?!\w)|(?<!\w)(?=\w))", "B": r"(?:(?<=\w)(?=\w)|(?<!\w)(?!\w))"}
_COUNTED: Final = re.compile(r"\{[0-9]+\}\Z")
_REPEATED_FIRST: Final = re.compile(
    r"(\\x[0-9a-f]{2}|\\.|\[(?:\\.|[^\]\\])+\]|[^\\(){}\[\]|^$*+?])(?:[*+]|\{[0-9]+,\})"
)


def onigmo(pattern: str) -> str:
    r"""A pattern of the API's, in one word. `^` and `$` remain the ends of a line; the edges of words are ASCII's, as
    the letters of words are. In Ruby `{2}?` may be absent, elsewhere it is `{2}`. What begins with a repeat, as `\s+$`
    does, is tried where a run begins alone: from within it the same would be found, after the square of its length."""
    out, in_class = [], False
    for escaped, char in _TOKEN.findall(pattern):
        if escaped in _WORD_EDGES:
            out.append(_WORD_EDGES[escaped])
        elif escaped:
            out.append(f"\\x{ord(escaped):02x}" if escaped in _SPLITTING else f"\\{escaped}")
        elif char == "$" and not in_class:
            out.append(char)
        elif char == "?" and not in_class and _COUNTED.search("".join(out)):
            continue
        else:
            in_class = (in_class or char == "[") and char != "]"
            out.append(f"\\x{ord(char):02x}" if char in _SPLITTING else char)
    written = "".join(out)
    first = _REPEATED_FIRST.match(written)
    return f"(?:{f'(?<!{first[1]})' if first else ''}{written})"


def any_of(texts: Iterable[str]) -> str:
    """A regular expression for any of these texts, whole."""
    return rf"\A(?:{'|'.join(literal(text) for text in texts)})\z"


DICE_DIGITS: Final = 3


def share(percent: int) -> str:
    """A regular expression for so many of a hundred texts of random hexadecimal digits: those whose first digits, as a
    number, are below that share."""
    limit = f"{round(percent * 16**DICE_DIGITS / 100):0{DICE_DIGITS}x}"
    return rf"\A(?:{'|'.join(_below(limit))})"


def _below(limit: str) -> Iterable[str]:
    for place, digit in enumerate(limit):
        smaller = "0123456789abcdef"[: int(digit, 16)]
        if smaller:
            yield f"{limit[:place]}[{smaller}]"
