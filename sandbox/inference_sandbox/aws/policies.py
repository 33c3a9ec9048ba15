"""IAM's evaluation of policies: documents and a request in, a verdict out.

Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements". This module must not know services.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal

Policy = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Access:
    """One thing that a call does: an action on a resource, with the condition keys that the request carries."""

    action: str
    resource: str = "*"
    context: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By key in lower case; several values for keys such as aws:TagKeys."""


Verdict = Literal["explicitDeny", "implicitDeny", "allowed"]


def allowed(policies: Sequence[Policy], access: Access) -> bool:
    return verdict(policies, access) == "allowed"


def verdict(policies: Sequence[Policy], access: Access) -> Verdict:
    """An explicit deny wins, then an allow; without either it is denied."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in _listed(policy.get("Statement"))
        if _applies(statement, access)
    }
    if "Deny" in effects:
        return "explicitDeny"
    return "allowed" if "Allow" in effects else "implicitDeny"


def keys_of(policy: Policy) -> set[str]:
    """The condition keys that its statements ask for, in lower case."""
    conditions = (statement.get("Condition") or {} for statement in _listed(policy.get("Statement")))
    return {key.lower() for condition in conditions for keys in condition.values() for key in keys}


def granted(policy: Policy, service: str, access: Access) -> bool:
    """Whether the policy of a resource lets an AWS service do it; `service` such as events.amazonaws.com."""
    statements = [each for each in _listed(policy.get("Statement")) if _names(each.get("Principal"), service)]
    return allowed([{"Statement": statements}], access)


def _names(principal: Any, service: str) -> bool:
    if isinstance(principal, Mapping):
        return bool(service in _listed(principal.get("Service")) or "*" in _listed(principal.get("AWS")))
    return bool(principal == "*")


def _applies(statement: Mapping[str, Any], access: Access) -> bool:
    return (
        _named(statement, "Action", access.action, ignore_case=True)
        and _named(statement, "Resource", access.resource, ignore_case=False)
        and all(
            _condition(operator, keys, access.context) for operator, keys in (statement.get("Condition") or {}).items()
        )
    )


def _named(statement: Mapping[str, Any], element: str, value: str, *, ignore_case: bool) -> bool:
    if element in statement:
        return any(matches(pattern, value, ignore_case=ignore_case) for pattern in _listed(statement[element]))
    if f"Not{element}" in statement:
        return not any(matches(each, value, ignore_case=ignore_case) for each in _listed(statement[f"Not{element}"]))
    return element == "Resource"  # a trust policy has none


def matches(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """`*` for any characters, `?` for one."""
    return _pattern(pattern, ignore_case).fullmatch(value) is not None


@lru_cache(maxsize=4096)
def _pattern(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    text = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.compile(text, re.IGNORECASE | re.DOTALL if ignore_case else re.DOTALL)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [] if value is None else [value]


# -- conditions

Compare = Callable[[str, str], bool]
OPERATORS: Mapping[str, Compare] = {
    "StringEquals": lambda wanted, value: wanted == value,
    "StringEqualsIgnoreCase": lambda wanted, value: wanted.lower() == value.lower(),
    "StringLike": matches,
    "ArnEquals": matches,  # ArnEquals and ArnLike behave alike
    "ArnLike": matches,
    "Bool": lambda wanted, value: wanted.lower() == value.lower(),
    "NumericEquals": lambda wanted, value: float(wanted) == float(value),
    "NumericLessThan": lambda wanted, value: float(value) < float(wanted),
    "NumericLessThanEquals": lambda wanted, value: float(value) <= float(wanted),
    "NumericGreaterThan": lambda wanted, value: float(value) > float(wanted),
    "NumericGreaterThanEquals": lambda wanted, value: float(value) >= float(wanted),
}
NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NumericNotEquals": "NumericEquals",
}


def _condition(operator: str, keys: Mapping[str, Any], context: Mapping[str, Sequence[str]]) -> bool:
    """Every key of the operator must hold; its values are alternatives."""
    quantifier, _, name = operator.rpartition(":")
    optional = name.endswith("IfExists")
    name = name.removesuffix("IfExists")
    return all(
        _holds(quantifier, name, optional, [_text(each) for each in _listed(wanted)], context.get(key.lower()))
        for key, wanted in keys.items()
    )


def _holds(quantifier: str, name: str, optional: bool, wanted: list[str], values: Sequence[str] | None) -> bool:
    if name == "Null":
        return (values is None) == (wanted[0].lower() == "true")
    if values is None:
        # A missing key fails a condition, unless it is negated, "…IfExists", or asks of all values there are.
        return optional or name in NEGATED or quantifier == "ForAllValues"
    negated = name in NEGATED
    compare = OPERATORS.get(NEGATED.get(name, name))
    if compare is None:
        raise ValueError(f"the condition operator {name} is not known to the sandbox")
    hits = [any(compare(each, value) for each in wanted) != negated for value in values]
    return all(hits) if quantifier == "ForAllValues" or (negated and quantifier != "ForAnyValue") else any(hits)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
