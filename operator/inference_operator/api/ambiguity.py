r"""Whether a regular expression matches some texts in so many ways that an engine which tries them never ends.

The log router's engine does: at `^(\w+\s?)*$` it does not come back from a sentence that ends with a full stop.
An expression is an automaton whose states are its characters (Glushkov's). If one text leads from a state back to it on
two ways, the ways double with each time that it is there (Weber and Seidl, "On the degree of ambiguity of finite
automata"). What takes the square of a text's length, such as `[0-9]\s*[0-9\s]*$`, is let be.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import Final

_TOKEN: Final = re.compile(
    r"(?P<atom>\(\?:|\\[\s\S]|\[\^?(?:\\[\s\S]|[^\]\\])+\]|[\s\S])"
    r"(?P<repeat>[*+?]|\{(?P<least>[0-9]+)(?P<range>,(?P<most>[0-9]*))?\})?\??"
)
_EDGES: Final = ("^", "$", r"\b", r"\B")
_FEW: Final = 10
"""So many times something may be repeated and count as not repeated."""
_STEPS: Final = 500_000
"""After so many it is too tangled to tell."""

Pair = tuple[int, int]
Edges = Mapping[int, list[int]]


@dataclass(frozen=True)
class _Part:
    """Of an expression: with which states it can begin and end, each as often as there are ways to."""

    empty: bool
    first: tuple[int, ...] = ()
    last: tuple[int, ...] = ()


@lru_cache(maxsize=1024)
def is_ambiguous(pattern: str) -> bool:
    """Of a pattern that is a regular expression of the API's."""
    automaton = _Automaton(pattern)
    automaton.either()
    return automaton.has_two_ways_round()


class _Automaton:
    def __init__(self, pattern: str) -> None:
        self._tokens = deque(_TOKEN.finditer(pattern))
        self._alphabet = "".join({*map(chr, range(128)), *pattern, "\uffff"})
        self._texts: list[frozenset[str]] = []
        """What each state matches."""
        self._steps: Counter[Pair] = Counter()
        """From state to state, and on how many ways."""

    def either(self) -> _Part:
        part = self._sequence()
        while self._tokens and self._tokens[0]["atom"] == "|":
            self._tokens.popleft()
            other = self._sequence()
            part = _Part(part.empty or other.empty, part.first + other.first, part.last + other.last)
        return part

    def _sequence(self) -> _Part:
        part = _Part(empty=True)
        while self._tokens and self._tokens[0]["atom"] not in ("|", ")"):
            following = self._repeated()
            self._steps.update(product(part.last, following.first))
            part = _Part(
                part.empty and following.empty,
                part.first + (following.first if part.empty else ()),
                following.last + (part.last if following.empty else ()),
            )
        return part

    def _repeated(self) -> _Part:
        token = self._tokens.popleft()
        if token["atom"] in ("(", "(?:"):
            part = self.either()
            token = self._tokens.popleft()
        else:
            part = _Part(empty=True) if token["atom"] in _EDGES else self._state(token["atom"])
        if _repeats(token):
            self._steps.update(product(part.last, part.first))
        optional = token["repeat"] in ("*", "?") or (token["least"] is not None and int(token["least"]) == 0)
        return replace(part, empty=part.empty or optional)

    def _state(self, atom: str) -> _Part:
        self._texts.append(frozenset(re.findall(atom, self._alphabet, re.ASCII)))
        number = len(self._texts) - 1
        return _Part(empty=False, first=(number,), last=(number,))

    def has_two_ways_round(self) -> bool:
        """One state of each ring tells: the others are on its way."""
        after, before = _edges(self._steps), _edges((to, start) for start, to in self._steps)
        doubled = [step for step, ways in self._steps.items() if ways > 1]
        seen: set[int] = set()
        for state in range(len(self._texts)):
            ring = _reached(after, state) & _reached(before, state)
            if state in seen or state not in ring:
                continue
            seen |= ring
            if any(map(ring.issuperset, doubled)):
                return True
            ahead, behind = (self._together(_within(ring, steps), state) for steps in (after, before))
            if ahead is None or behind is None or any(one != other for one, other in ahead & behind):
                return True
        return False

    def _together(self, steps: Edges, state: int) -> set[Pair] | None:
        """The pairs of states that one text leads to from a state. None: it is too tangled to tell."""
        found: set[Pair] = set()
        left, taken = [(state, state)], 0
        while left:
            one, other = left.pop()
            for pair in product(steps[one], steps[other]):
                taken += 1
                if pair not in found and self._texts[pair[0]] & self._texts[pair[1]]:
                    found.add(pair)
                    left.append(pair)
            if taken > _STEPS:
                return None
        return found


def _repeats(token: re.Match[str]) -> bool:
    """Whether it can be there many times."""
    if token["least"] is None:
        return token["repeat"] in ("*", "+")
    most = token["most"] if token["range"] else token["least"]
    return most == "" or int(most) > _FEW


def _edges(steps: Iterable[Pair]) -> Edges:
    out: dict[int, list[int]] = {}
    for start, to in steps:
        out.setdefault(start, []).append(to)
    return out


def _within(ring: set[int], steps: Edges) -> Edges:
    return {state: [to for to in steps[state] if to in ring] for state in ring}


def _reached(steps: Edges, state: int) -> set[int]:
    found: set[int] = set()
    left = [state]
    while left:
        further = set(steps.get(left.pop(), ())) - found
        found |= further
        left.extend(further)
    return found
