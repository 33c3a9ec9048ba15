"""Names of AWS things, from the identity of the object that they belong to. Deterministic: the same object always
gets the same names, so that a create that is tried again finds what the first try made. Knows no AWS client.

A Kubernetes name holds no underscore, so `namespace_name` can't be two different objects.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

TARGET_GROUP_LIMIT = 32  # CreateTargetGroup: Name, 32 letters, digits and hyphens


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Who an object is, for as long as it lives; enough to find and to delete everything that was made for it."""

    namespace: str
    name: str
    uid: str

    @property
    def key(self) -> str:
        """`<namespace>/<name>`; of what has no namespace its name."""
        return f"{self.namespace}/{self.name}" if self.namespace else self.name

    @property
    def service(self) -> str:
        """ECS service name and task-definition family (up to 255 letters, digits, hyphens and underscores)."""
        return f"{self.namespace}_{self.name}"

    @property
    def log_group(self) -> str:
        return f"/inference/{self.namespace}/{self.name}"

    @property
    def router_log_group(self) -> str:
        """Of the log router itself."""
        return f"{self.log_group}/router"

    @property
    def discovery_name(self) -> str:
        """In the namespace of Cloud Map."""
        return f"{self.name}.{self.namespace}"

    @property
    def path(self) -> str:
        """That callers use behind a shared load balancer, unless the spec names others."""
        return f"/{self.namespace}/{self.name}/*"

    @property
    def target_group(self) -> str:
        return self._target_group(short_hash(self.key))

    @property
    def alternate_target_group(self) -> str:
        return self._target_group(f"{short_hash(self.key)}-b")

    def _target_group(self, suffix: str) -> str:
        return f"{self.name[: TARGET_GROUP_LIMIT - len(suffix) - 1].strip('-')}-{suffix}"

    def client_token(self, *parts: object) -> str:
        """An idempotency token for a create of this object: 36 characters (CreateService's limit, the smallest)."""
        return digest([self.uid, *map(str, parts)])[:36]


def short_hash(text: str) -> str:
    """Eight hexadecimal digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def digest(value: Mapping[str, Any] | list[Any]) -> str:
    """64 hexadecimal digits of a JSON value, the same whatever the order of its members."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
