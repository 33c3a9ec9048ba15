"""The headers that change on the way through a load balancer. Pure."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping

from multidict import CIMultiDict, CIMultiDictProxy

_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""They belong to one connection (RFC 9110, 7.6.1), as do all that `Connection` names."""


def end_to_end(headers: CIMultiDictProxy[str] | CIMultiDict[str]) -> CIMultiDict[str]:
    """A copy without what belongs to the connection it came by."""
    named = {name.strip().lower() for value in headers.getall("Connection", ()) for name in value.split(",")}
    dropped = _HOP_BY_HOP | named
    return CIMultiDict([(name, value) for name, value in headers.items() if name.lower() not in dropped])


def for_target(headers: CIMultiDictProxy[str], *, host: str, client: str, port: int, trace: str) -> CIMultiDict[str]:
    """A client's headers as the target gets them: forwarded-for is added to, proto and port are an ALB's own word."""
    sent = end_to_end(headers)
    sent.popall("Expect", None)
    sent["Host"] = host
    forwarded = [*sent.getall("X-Forwarded-For", ()), client]
    sent["X-Forwarded-For"] = ", ".join(forwarded)
    sent["X-Forwarded-Proto"] = "http"
    sent["X-Forwarded-Port"] = str(port)
    sent["X-Amzn-Trace-Id"] = trace
    return sent


def trace_id(headers: Mapping[str, str]) -> str:
    """The request's X-Amzn-Trace-Id: a new Root if it has none, else what it has with our own Self before it."""
    given = headers.get("X-Amzn-Trace-Id", "")
    own = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    if not re.search(r"(?:^|;)\s*Root=", given):
        return f"Root={own};{given}" if given else f"Root={own}"
    others = [part for part in given.split(";") if not part.strip().startswith("Self=")]
    return ";".join([f"Self={own}", *others])
