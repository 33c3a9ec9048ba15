"""What AWS refuses of a request before any operation looks at it: values outside the enums, lengths, ranges and
patterns of the service's model.

The words are those of AWS's own front ends ("1 validation error detected: Value '…' at '…' failed to satisfy
constraint: …"), under the code that each API reference has for invalid input. Services with words of
their own (SQS, EC2, S3) are not looked at here. This module must not know what an operation means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from inference_sandbox.aws.faults import ErrorAnswer

CODES: Mapping[str, str] = {
    "application-autoscaling": "ValidationException",
    "ecs": "InvalidParameterException",
    "elasticfilesystem": "ValidationException",
    "elasticloadbalancing": "ValidationError",
    "events": "ValidationException",
    "iam": "ValidationError",
    "logs": "InvalidParameterException",
    "monitoring": "ValidationError",
    "secretsmanager": "ValidationException",
    "servicediscovery": "InvalidInput",
    "ssm": "ValidationException",
    "sts": "ValidationError",
}
# Java's classes in patterns, which Python's expressions lack; `\w` is letters, numbers and the underscore.
CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\w",
    r"\p{Z}": " \xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000",
    r"\p{Print}": r"[\x20-\x7e]",
    r"\uD800\uDC00-\uDBFF\uDFFF": "\U00010000-\U0010ffff",
}


def refusal(service: str, shape: Any, parameters: Mapping[str, Any]) -> ErrorAnswer | None:
    """`shape`: of the operation's input, None if it takes none."""
    code = CODES.get(service)
    found = next(_violations(shape, parameters, ""), None) if code is not None and shape is not None else None
    if code is None or found is None:
        return None
    where, value, constraint = found
    message = f"1 validation error detected: Value '{value}' at '{where}' failed to satisfy constraint: {constraint}"
    return ErrorAnswer(code=code, message=message, status=400)


KINDS: Mapping[str, type | tuple[type, ...]] = {
    "structure": dict,
    "list": list,
    "map": dict,
    "string": str,
    "integer": int,
    "long": int,
    "double": (int, float),
}


def _violations(shape: Any, value: Any, where: str) -> Iterator[tuple[str, Any, str]]:
    """Where, which value, and the constraint that it does not satisfy."""
    fits = isinstance(value, KINDS.get(shape.type_name, ()))
    if not fits:
        return  # nothing, or of another type: that is for whoever reads it
    yield from ((where, value, constraint) for constraint in _broken(shape, value))
    match shape.type_name:
        case "structure":
            for name, each in value.items():
                if name in shape.members:
                    lower = name[:1].lower() + name[1:]
                    yield from _violations(shape.members[name], each, f"{where}.{lower}" if where else lower)
        case "list":
            for number, each in enumerate(value, start=1):
                yield from _violations(shape.member, each, f"{where}.{number}.member")
        case "map":
            for key, each in value.items():
                yield from _violations(shape.key, key, where)
                yield from _violations(shape.value, each, f"{where}.{key}.member")


def _broken(shape: Any, value: Any) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    size, measure = (value, "value") if isinstance(value, int | float) else (len(value), "length")
    if low is not None and size < low:
        yield f"Member must have {measure} greater than or equal to {low}"
    if high is not None and size > high:
        yield f"Member must have {measure} less than or equal to {high}"
    if shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield f"Member must satisfy enum value set: [{', '.join(shape.enum)}]"
        pattern = shape.metadata.get("pattern")
        if pattern is not None and not _compiled(pattern).fullmatch(value):
            yield f"Member must satisfy regular expression pattern: {pattern}"


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    for java, python in CLASSES.items():
        pattern = pattern.replace(java, python)
    try:
        return re.compile(re.sub(r"\\w-(?=[^\]])", r"\\w\\-", pattern))
    except re.error:
        return re.compile(".*", re.DOTALL)  # a class that is not known here, in nothing that a service of ECS needs
