"""Identifiers in the shapes that AWS gives them, from a seeded generator: the same history gives the same ids."""

from __future__ import annotations

import random
import uuid


class Ids:
    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - identifiers, not secrets; repeatable on purpose

    def hex(self, length: int) -> str:
        return f"{self._random.getrandbits(4 * length):0{length}x}"

    def digits(self, length: int) -> str:
        return f"{self._random.randrange(10 ** (length - 1), 10**length)}"

    def uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def mac(self) -> str:
        return "0a:" + ":".join(f"{self._random.getrandbits(8):02x}" for _ in range(5))

    def token(self, length: int) -> str:
        return "".join(
            self._random.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", k=length)
        )
