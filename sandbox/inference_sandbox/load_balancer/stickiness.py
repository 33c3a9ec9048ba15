"""Cookies that keep a client with its target, or with its target group (ELB user guide, "Sticky sessions"). Pure.

A cookie's value names nobody: it is a signature over who is meant and until when, and whoever may be meant is tried.
AWS encrypts it; to clients both are opaque.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import TypeVar

from inference_sandbox.load_balancer.targets import TargetGroup

BY_BALANCER = "AWSALB"
BY_APPLICATION = "AWSALBAPP-0"
BY_GROUP = "AWSALBTG"
_DAY = 86_400

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Sticky:
    """A target group's setting. `cookie`: the application's own, None where the load balancer alone decides."""

    lasts: timedelta
    cookie: str | None = None

    @classmethod
    def of(cls, group: TargetGroup) -> Sticky | None:
        attributes = group.settings.attributes
        if attributes.get("stickiness.enabled") != "true":
            return None
        kind = attributes.get("stickiness.type") or "lb_cookie"
        seconds = int(attributes.get(f"stickiness.{kind}.duration_seconds") or _DAY)
        cookie = attributes.get("stickiness.app_cookie.cookie_name") if kind == "app_cookie" else None
        return cls(lasts=timedelta(seconds=seconds), cookie=cookie)

    def is_meant(self, cookies: Mapping[str, str]) -> bool:
        """Whether a request with these cookies may be kept where it was: without the application's own it may not."""
        return self.cookie is None or self.cookie in cookies

    @property
    def name(self) -> str:
        return BY_BALANCER if self.cookie is None else BY_APPLICATION


class Seal:
    """What one load balancer signs its cookies with."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def value(self, who: str, until: datetime) -> str:
        expires = f"{int(until.timestamp()):x}"
        signature = hmac.digest(self._key, f"{expires} {who}".encode(), hashlib.sha256).hex()
        return f"{expires}-{signature}"

    def meant(self, value: str | None, candidates: Sequence[tuple[str, T]], now: datetime) -> T | None:
        """The one of the candidates, each with its name, that a cookie's value stands for; None if it has expired."""
        try:
            until = datetime.fromtimestamp(int((value or "").partition("-")[0], 16), UTC)
        except (ValueError, OverflowError, OSError):
            return None
        if until <= now:
            return None
        return next(
            (candidate for who, candidate in candidates if hmac.compare_digest(self.value(who, until), value or "")),
            None,
        )

    def cookies(self, name: str, who: str, now: datetime, lasts: timedelta) -> list[str]:
        """The values of the Set-Cookie headers. Those of the load balancer come twice, once for requests from other
        origins."""
        until = now + lasts
        plain = f"{self.value(who, until)}; Expires={format_datetime(until, usegmt=True)}; Path=/"
        if name == BY_APPLICATION:
            return [f"{name}={plain}"]
        return [f"{name}={plain}", f"{name}CORS={plain}; SameSite=None"]
