"""The tags that say whose an AWS thing is. What does not carry them is not ours and is never changed or deleted.

Tags are a plain `{key: value}` here; the AWS APIs spell them four ways (`list_of` writes two, `parse` reads all).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inference_operator.api.meta import OWNER_TAG as OWNER
from inference_operator.api.meta import SPEC_HASH_TAG as SPEC_HASH
from inference_operator.api.meta import UID_TAG as UID
from inference_operator.domain.names import Identity

Tags = Mapping[str, str]


__all__ = ["OWNER", "SPEC_HASH", "UID", "Tags", "list_of", "owned", "ownership", "parse"]


def ownership(identity: Identity) -> dict[str, str]:
    return {OWNER: identity.key, UID: identity.uid}


def owned(tags: Tags, identity: Identity) -> bool:
    return tags.get(OWNER) == identity.key and tags.get(UID) == identity.uid


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
