r"""Regular expressions of users', in the syntax that the API server (RE2), Python and the log router (Onigmo) share.

What the three read differently is left out: look-around, back-references, inline options, `\A` and `\z`, classes in
classes, possessive quantifiers. Sources: RE2's syntax page, Python's `re`, Onigmo's doc/RE.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import AfterValidator, StringConstraints, WithJsonSchema

from inference_operator.api.ambiguity import is_ambiguous
from inference_operator.api.constraints import must_be, refuse

LENGTH: Final = 256

_ESCAPED: Final = r"\\[dDwWsS]|\\[][(){}*+?|^$.\\/\-&~#%@!:;,=<>'\"`_ ]"
_LITERAL: Final = r"[^][\\(){}*+?|^$.\x00-\x1f\x7f]"
_MEMBER: Final = r"(?:[^][\\^&~|\-\x00-\x1f\x7f]|\\[][(){}*+?|^$.\\/\-&~#%@!:;,=<>'\"`_ ])"
_CLASS: Final = rf"\[\^?-?(?:{_MEMBER}-{_MEMBER}|{_MEMBER}|\\[dDwWsS])+-?\]"
_REPEAT: Final = r"(?:[*+?]|\{[0-9]{1,3}(?:,(?:[0-9]{1,3})?)?\})\??"
_SHAPE: Final = rf"(?:(?:{_LITERAL}|{_ESCAPED}|{_CLASS}|\.|\))(?:{_REPEAT})?|\((?:\?:)?|\||\^|\$|\\[bB])+"

_MUST_BE: Final = (
    "a regular expression that RE2, Python and Onigmo read alike: no look-around, (?…) other than (?:…), "
    "\\A, \\z, back-references or possessive quantifiers, such as ^(GET|POST) /v2/"
)

_AMBIGUOUS: Final = (
    "matches some texts in so many ways that the log router would never have tried them all; let no two of its parts "
    "that repeat match the same text one after the other, such as a+ in place of (a+)+"
)


def _check(pattern: str) -> str:
    if not re.fullmatch(_SHAPE, pattern, re.ASCII):
        raise refuse(f"must be {_MUST_BE}")
    try:
        compiled(pattern)
    except re.error as error:
        raise refuse(f"is no regular expression: {error}; mend it. It must be {_MUST_BE}") from None
    if is_ambiguous(pattern):
        raise refuse(_AMBIGUOUS)
    return pattern


def compiled(pattern: str) -> re.Pattern[str]:
    """As the log router reads it: `^` and `$` are the ends of a line, classes are ASCII's."""
    return re.compile(pattern, re.ASCII | re.MULTILINE)


def _schema() -> dict[str, Any]:
    node = must_be(
        {"type": "string", "minLength": 1, "maxLength": LENGTH},
        _MUST_BE,
        f'self.matches(r"""^(?:{_SHAPE})$""")',
    )
    # The server compiles it; what RE2 can't compile makes the rule fail.
    compiles = {"rule": "''.matches(self) in [true, false]", "message": f"must be {_MUST_BE}"}
    node["x-kubernetes-validations"].append(compiles)
    return node


Pattern = Annotated[
    str, StringConstraints(min_length=1, max_length=LENGTH), AfterValidator(_check), WithJsonSchema(_schema())
]
"""A regular expression, searched for anywhere in a text."""
