"""The tags that say whose an AWS thing is. What does not carry them is not ours and is never changed or deleted.

Tags are a plain `{key: value}` here; the AWS APIs spell them four ways (`list_of` writes two, `parse` reads all).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from inference_operator.api.meta import OWNER_TAG as OWNER
from inference_operator.api.meta import RETAINED_TAG as RETAINED
from inference_operator.api.meta import SPEC_HASH_TAG as SPEC_HASH
from inference_operator.api.meta import TAG_KEYS_TAG as KEYS
from inference_operator.api.meta import UID_TAG as UID
from inference_operator.domain.names import Identity, short_hash

Tags = Mapping[str, str]


__all__ = [
    "KEYS",
    "OWNER",
    "RETAINED",
    "SPEC_HASH",
    "UID",
    "Retag",
    "Tags",
    "common",
    "list_of",
    "may_be_taken",
    "owned",
    "ownership",
    "parse",
    "retag",
    "wanted",
]


@dataclass(frozen=True)
class Retag:
    """What brings a thing's tags up to date: keys to remove, and then tags to set. Tags of other people's are in
    neither."""

    put: Tags
    remove: tuple[str, ...]

    def __bool__(self) -> bool:
        return bool(self.put or self.remove)

    def applied(self, have: Tags) -> dict[str, str]:
        return {**{k: v for k, v in have.items() if k not in self.remove}, **self.put}

    def split(self) -> tuple[Retag, Retag]:
        """What makes the thing the object's own, and the rest. The first comes before all else that is done to it: the
        operator's policy allows to change only what is owned (`aws/iam.py`). In this order it may be cut short
        anywhere: what allowed to take the thing over goes last, and what is to go does so while KEYS still names it."""
        owner = {key: value for key, value in self.put.items() if key in (OWNER, UID)}
        rest = {key: value for key, value in self.put.items() if key not in owner}
        return Retag(put=owner, remove=()), Retag(put=rest, remove=self.remove)


def wanted(identity: Identity, asked: Tags) -> dict[str, str]:
    """The tags of what is made for an object whose spec asks for some of its own.

    Which ones those are is kept in a tag, as short hashes (a tag's value has 256 characters at most): what is no longer
    asked for can then be told from what somebody else has put there.
    """
    kept = {KEYS: " ".join(sorted(map(_mark, asked)))} if asked else {}
    return {**asked, **ownership(identity), **kept}


def retag(want: Tags, have: Tags) -> Retag:
    ours = have.get(KEYS, "").split()
    stale = [key for key in have if key not in want and (key in (KEYS, RETAINED) or _mark(key) in ours)]
    return Retag(put={k: v for k, v in want.items() if have.get(k) != v}, remove=tuple(stale))


def common(several: Sequence[Tags]) -> dict[str, str]:
    """The tags of several things that should have the same, as if they were one thing's: a tag that is not the same on
    all of them has no value, so that it is put again."""
    keys = {key for have in several for key in have}
    found = {key: several[0].get(key, "") if len({have.get(key) for have in several}) == 1 else "" for key in keys}
    marks = {mark for have in several for mark in have.get(KEYS, "").split()}
    return {**found, KEYS: " ".join(sorted(marks))} if marks else found


def _mark(key: str) -> str:
    return short_hash(key)


def ownership(identity: Identity) -> dict[str, str]:
    return {OWNER: identity.key, UID: identity.uid}


def owned(tags: Tags, identity: Identity) -> bool:
    return tags.get(OWNER) == identity.key and tags.get(UID) == identity.uid


def may_be_taken(tags: Tags, identity: Identity, *, adopt: bool) -> bool:
    """Whether what is not the object's own may become it: an earlier object of its name has left it behind; or it
    belongs to nobody, or to an object of this name that is not known to be gone, and adoption is asked for."""
    if OWNER not in tags:
        return adopt
    return tags[OWNER] == identity.key and (adopt or RETAINED in tags)


def list_of(tags: Tags, *, key: str = "Key", value: str = "Value") -> list[dict[str, str]]:
    """`[{"Key":…, "Value":…}]` as EFS and ELB want it; ECS wants `key="key", value="value"`."""
    return [{key: k, value: v} for k, v in sorted(tags.items())]


def parse(tags: Iterable[Mapping[str, str]] | Tags | None) -> dict[str, str]:
    """Tags in any of the spellings of AWS's answers."""
    if not tags:
        return {}
    if isinstance(tags, Mapping):
        return dict(tags)
    return {t.get("Key", t.get("key", "")): t.get("Value", t.get("value", "")) for t in tags}
