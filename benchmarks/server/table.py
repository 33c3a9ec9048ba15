"""Lines of the table: a figure, its target, and whether it was met. Knows no server."""

from __future__ import annotations

from dataclasses import dataclass

_WIDTH = 58


@dataclass(frozen=True, slots=True)
class Target:
    limit: float
    at_least: bool = False
    """The figure is to be at least the limit; else at most."""

    def met(self, figure: float) -> bool:
        return figure >= self.limit if self.at_least else figure <= self.limit

    def __str__(self) -> str:
        return f"{'>=' if self.at_least else '<='} {self.limit:g}"


def at_least(limit: float) -> Target:
    return Target(limit, at_least=True)


def at_most(limit: float) -> Target:
    return Target(limit)


def heading(text: str) -> None:
    print(f"\n{text}\n{'-' * len(text)}")


def figure(what: str, value: float, target: Target | None = None, note: str = "") -> None:
    verdict = "" if target is None else f"target {target!s:9} {'met' if target.met(value) else 'MISSED'}"
    print(f"{what:{_WIDTH}} {value:9.4g}  {verdict:25} {note}".rstrip(), flush=True)


def remark(text: str) -> None:
    print(text, flush=True)
