"""How callers' requests reach a service through the shared load balancer. Knows no AWS call."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from inference_operator.api.constraints import Unique, refuse, text
from inference_operator.api.model import SpecModel
from inference_operator.api.quantities import DurationRange

EVERYTHING = "/*"
MOST_VALUES = 5
"""Condition values of one rule: a quota of Application Load Balancers that can't be raised."""

_SEGMENT = "[A-Za-z0-9_.~-]+"
_TAKES_ALL = "the path /* takes every request of the shared load balancer; add hosts or a path of its own"
_NESTED = "one of the paths lies below the other, so that it is sent here anyway; remove the longer one"
_TOO_MANY_VALUES = (
    f"a rule of the load balancer has at most {MOST_VALUES} values, of which each host takes 1, the path /* takes 1 "
    "and each other path takes 2 (one path if paths is absent); remove some, or make another InferenceDeployment"
)
_COOKIES_OF_AWS = "AWSALB"
_COOKIE_TAKEN = f"cookieName must not begin with {_COOKIES_OF_AWS}, which the load balancer keeps for itself"
_STAYS = (
    "protocolVersion can't be changed: tasks of both versions can't be behind one target group; "
    "make another object instead"
)
_GRPC_PATHS = (
    "with protocolVersion GRPC callers use the server's own paths; "
    "name them in paths, such as /inference.GRPCInferenceService/*"
)


class Stickiness(SpecModel):
    """Which requests of one caller go to one task."""

    duration: Annotated[timedelta, DurationRange(timedelta(seconds=1), timedelta(days=7))]
    """How long a caller's requests go to the same task."""

    cookie_name: (
        Annotated[str, *text(128, r"[A-Za-z0-9!#$%&*+.^_|~-]+", "the name of a cookie, such as session")] | None
    ) = None
    """Cookie of the server's own that begins it. If absent, a cookie of the load balancer's for every caller."""

    @model_validator(mode="after")
    def _cookie_is_not_the_load_balancers(self) -> Self:
        if (self.cookie_name or "").startswith(_COOKIES_OF_AWS):
            raise refuse(_COOKIE_TAKEN)
        return self

    rules = (
        {
            "rule": f"!has(self.cookieName) || !self.cookieName.startsWith('{_COOKIES_OF_AWS}')",
            "message": _COOKIE_TAKEN,
        },
    )


class Ingress(SpecModel):
    """How the shared load balancer finds this service."""

    paths: Annotated[
        tuple[
            Annotated[
                str, *text(128, rf"(/{_SEGMENT})*/\*", "an absolute URL path that ends in /*, such as /recommender/*")
            ],
            ...,
        ],
        Field(max_length=2),
        Unique(),
    ] = ()
    """URL paths that are sent to this service, which sees them without what is before the `/*`.
    `/<namespace>/<name>/*` if absent. `/*`, every path, needs a host."""

    hosts: Annotated[
        tuple[
            Annotated[
                str,
                *text(
                    128,
                    r"([a-z0-9*]([a-z0-9*-]*[a-z0-9*])?\.)+[a-z]{2,}",
                    "a host name in lower case, in which * stands for any text, such as api.example.com",
                ),
            ],
            ...,
        ],
        Field(max_length=4),
        Unique(),
    ] = ()
    """Host names under which requests are sent to this service. Every host if absent."""

    protocol_version: Literal["HTTP1", "HTTP2", "GRPC"] = "HTTP1"
    """Protocol that the tasks speak. HTTP2 and GRPC need a listener with TLS. It can't be changed."""

    deregistration_delay: Annotated[timedelta, DurationRange(timedelta(0), timedelta(hours=1))] | None = None
    """How long a task that is to stop gets no new requests and finishes those under way, before it is told to stop.
    `stopTimeout` if absent."""

    slow_start: Annotated[timedelta, DurationRange(timedelta(seconds=30), timedelta(minutes=15))] | None = None
    """How long a new task gets fewer requests than the others, more and more of them. Its full share at once if absent.
    Tasks then take turns, instead of the least busy one being chosen."""

    stickiness: Stickiness | None = None
    """Which requests of one caller go to one task. Any task if absent."""

    @property
    def values(self) -> int:
        """Condition values of the rule that it makes."""
        return sum(1 if path == EVERYTHING else 2 for path in self.paths or ("",)) + len(self.hosts)

    @model_validator(mode="after")
    def _one_rule_can_have_it(self) -> Self:
        if EVERYTHING in self.paths and not self.hosts:
            raise refuse(_TAKES_ALL)
        if any(one != other and other.startswith(one[:-1]) for one in self.paths for other in self.paths):
            raise refuse(_NESTED)
        if self.values > MOST_VALUES:
            raise refuse(_TOO_MANY_VALUES)
        if self.protocol_version == "GRPC" and not self.paths:
            raise refuse(_GRPC_PATHS)
        return self

    rules = (
        {
            "rule": "!has(self.paths) || !('/*' in self.paths) || (has(self.hosts) && self.hosts.size() > 0)",
            "message": _TAKES_ALL,
        },
        {
            "rule": "!has(self.paths) || self.paths.all(one, self.paths.all(other,"
            " one == other || !other.startsWith(one.substring(0, one.size() - 1))))",
            "message": _NESTED,
        },
        {
            "rule": "(has(self.paths) && self.paths.size() > 0"
            " ? 2 * self.paths.size() - ('/*' in self.paths ? 1 : 0) : 2)"
            f" + (has(self.hosts) ? self.hosts.size() : 0) <= {MOST_VALUES}",
            "message": _TOO_MANY_VALUES,
        },
        {  # the server tries it on the default, {}, before the members have theirs
            "rule": "!has(self.protocolVersion) || self.protocolVersion != 'GRPC'"
            " || (has(self.paths) && self.paths.size() > 0)",
            "message": _GRPC_PATHS,
        },
        {
            "rule": "!has(self.protocolVersion) || self.protocolVersion == oldSelf.protocolVersion",
            "message": _STAYS,
            "fieldPath": ".protocolVersion",
        },
    )
