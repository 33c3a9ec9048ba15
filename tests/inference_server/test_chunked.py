"""The chunked coding: what is undone, whatever the pieces in which it comes, and what is refused."""

from __future__ import annotations

from itertools import repeat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference_server.chunked import MalformedError, Receive, TooManyBytesError, read_chunked

LIMIT = 10_000


def arriving(raw: bytes, sizes: list[int] | None = None) -> Receive:
    """`raw` in pieces of these sizes, over and over; then the end of the connection."""
    left = bytearray(raw)
    pieces = iter(size for each in repeat(sizes or [65536]) for size in each)

    def receive(most: int) -> bytes:
        size = min(most, next(pieces))
        piece = bytes(left[:size])
        del left[:size]
        return piece

    return receive


def chunks(parts: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    body = b"".join(b"%x%s\r\n%s\r\n" % (len(part), extension, part) for part in parts if part)
    return body + b"0" + extension + b"\r\n" + trailer + b"\r\n"


@given(
    st.lists(st.binary(max_size=300), max_size=8),
    st.sampled_from([b"", b";a", b" ; a=b", b';a="x; y"', b";\xff"]),
    st.sampled_from([b"", b"X: 1\r\n", b"X: 1\r\nY: 2\r\n"]),
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_a_body_is_what_its_chunks_hold_however_it_arrives(
    parts: list[bytes], extension: bytes, trailer: bytes, sizes: list[int]
) -> None:
    raw = chunks(parts, extension, trailer)
    assert read_chunked(arriving(raw, sizes), LIMIT) == b"".join(parts)


def test_nothing_is_left_on_the_connection() -> None:
    receive = arriving(chunks([b"abc"], trailer=b"X: 1\r\n"), [1])
    assert read_chunked(receive, LIMIT) == b"abc"
    assert receive(1) == b""


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"zz\r\n\r\n", "no hexadecimal number"),
        (b"-1\r\na\r\n0\r\n\r\n", "no hexadecimal number"),
        (b"0x1\r\na\r\n0\r\n\r\n", "no hexadecimal number"),
        (b"\r\n", "no hexadecimal number"),
        (b"1" + b"0" * 16 + b"\r\n", "no hexadecimal number"),
        (b"1\r\nab\r\n0\r\n\r\n", "longer than its size says"),
        (b"1\na\n0\n\n", "does not end with CR and LF"),
        (b"1;" + b"x" * 10_000, "a line is longer"),
        (b"0\r\n" + b"X: 1\r\n" * 101 + b"\r\n", "more than 100 lines"),
        (b"1\r\na\r\n" * 200_001 + b"0\r\n\r\n", "more than 200000 chunks"),
        (b"5\r\nab", "ends early"),
        (b"5", "ends early"),
        (b"1\r\na\r\n0\r\n", "ends early"),
        (b"", "ends early"),
    ],
)
def test_what_is_not_chunked_as_it_should_be_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(MalformedError, match=words):
        read_chunked(arriving(raw), 1_000_000)


@pytest.mark.parametrize("raw", [b"2711\r\n", b"ffffffffffffffff\r\n", b"2710\r\n" + b"x" * LIMIT + b"\r\n1\r\n"])
def test_what_is_too_large_is_refused_before_it_is_read(raw: bytes) -> None:
    with pytest.raises(TooManyBytesError):
        read_chunked(arriving(raw), LIMIT)


@given(st.binary(max_size=200), st.lists(st.integers(1, 50), min_size=1))
def test_any_bytes_are_read_or_refused(raw: bytes, sizes: list[int]) -> None:
    try:
        body = read_chunked(arriving(raw, sizes), LIMIT)
    except (MalformedError, TooManyBytesError):
        return
    assert len(body) < len(raw)
