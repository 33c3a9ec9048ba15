"""Identifiers in the shapes that AWS gives them, from a seeded generator: the same history gives the same ids."""

from __future__ import annotations

import random

_FIXED = 0xF << 76 | 0b11 << 62
_VERSION_4 = 4 << 76 | 0b10 << 62
"""RFC 9562: the bits of a UUID that say its version and variant."""


class Ids:
    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - identifiers, not secrets; repeatable on purpose

    def hex(self, length: int) -> str:
        return f"{self._random.getrandbits(4 * length):0{length}x}"

    def digits(self, length: int) -> str:
        return f"{self._random.randrange(10 ** (length - 1), 10**length)}"

    def uuid(self) -> str:
        """Of version 4, written without a `uuid.UUID`: that is most of the time it takes."""
        digits = f"{self._random.getrandbits(128) & ~_FIXED | _VERSION_4:032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def mac(self) -> str:
        digits = self.hex(10)
        return f"0a:{digits[:2]}:{digits[2:4]}:{digits[4:6]}:{digits[6:8]}:{digits[8:]}"

    def token(self, length: int) -> str:
        return "".join(
            self._random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", k=length)
        )
