"""Bodies that come or go compressed: gzip, and deflate (which in HTTP means zlib). Pure."""

from __future__ import annotations

import zlib

from inference_server.protocol.errors import InvalidRequestError, TooLargeError, UnsupportedEncodingError

_WINDOW_BITS = {"gzip": 31, "deflate": 15}
"""Of zlib: 16 more than the window's 15 bits is a gzip stream."""

_BLOCK = 65536
"""Inflated at once: what is left of it at the end of a member is copied, and a body may have thousands of members."""

_MEMBERS = 10_000

_LEVEL = 1
"""Numbers as text shrink to a third at the cheapest level; more effort costs more time than it saves bytes."""


def inflate(body: bytes, encoding: str, limit: int) -> bytes:
    """Undo a Content-Encoding. No more than `limit` bytes are ever made, whatever the body claims."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return body
    bits = _WINDOW_BITS.get("gzip" if name == "x-gzip" else name)  # the same: RFC 9110, section 8.4.1
    if bits is None:
        raise UnsupportedEncodingError(f"Content-Encoding {encoding[:40]!r} is not known; send gzip, deflate or none")
    parts: list[bytes] = []
    size = position = 0
    source = memoryview(body)
    try:
        # A gzip file may have several members, one after the other.
        for _ in range(_MEMBERS):
            if position == len(body):
                return b"".join(parts)
            stream = zlib.decompressobj(bits)
            while not stream.eof:
                block = source[position : position + _BLOCK]
                if not block:
                    raise InvalidRequestError(f"the {name} body ends early")
                part = stream.decompress(block, limit - size + 1)
                position += len(block) - len(stream.unused_data)
                size += len(part)
                if size > limit:
                    raise TooLargeError(
                        f"the inflated body has more than {limit} bytes, the limit (INFERENCE_MAX_BODY_BYTES)"
                    )
                parts.append(part)
    except zlib.error as error:
        raise InvalidRequestError(f"the body is not {name}: {error}") from None
    raise InvalidRequestError(f"the body has {_MEMBERS} {name} members or more; compress it in one")


def compress(body: bytes, encoding: str) -> bytes:
    stream = zlib.compressobj(_LEVEL, wbits=_WINDOW_BITS[encoding])
    return stream.compress(body) + stream.flush()


def choose_encoding(accept_encoding: str) -> str | None:
    """The encoding that the caller likes best among those that we have; None if it wants none of them.

    Source: RFC 9110, section 12.5.3. Of equals gzip is taken, and `identity`, which is none, last.
    """
    weights: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameters = part.partition(";")
        weights[name.strip()] = _weight(parameters)
    fallback = weights.get("*", 0.0)
    best = max(_WINDOW_BITS, key=lambda name: weights.get(name, fallback))
    weight = weights.get(best, fallback)
    return best if weight > 0 and weight >= weights.get("identity", 0.0) else None


def _weight(parameters: str) -> float:
    name, _, value = parameters.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0
