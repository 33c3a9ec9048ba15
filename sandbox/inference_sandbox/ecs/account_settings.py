"""ECS account settings (API reference, PutAccountSetting; developer guide, "Access Amazon ECS features with account
settings").

Kept for an account and Region by principal; the root user's are what holds for everybody without one of their own. This
module must not know what a setting changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from inference_sandbox.ecs.errors import invalid_parameter

ON_OR_OFF = ("enabled", "disabled", "on", "off")
VALUES: Mapping[str, tuple[str, ...]] = {
    "serviceLongArnFormat": ON_OR_OFF,
    "taskLongArnFormat": ON_OR_OFF,
    "containerInstanceLongArnFormat": ON_OR_OFF,
    "awsvpcTrunking": ON_OR_OFF,
    "containerInsights": (*ON_OR_OFF, "enhanced"),
    "fargateFIPSMode": ON_OR_OFF,
    "tagResourceAuthorization": ON_OR_OFF,
    "fargateTaskRetirementWaitPeriod": ("0", "7", "14"),
    "guardDutyActivate": (),
    "defaultLogDriverMode": ("blocking", "non-blocking"),
    "fargateEventWindows": ON_OR_OFF,
}
"""Which values a setting takes; none where AWS manages it."""
DEFAULTS: Mapping[str, str] = {
    "serviceLongArnFormat": "enabled",
    "taskLongArnFormat": "enabled",
    "containerInstanceLongArnFormat": "enabled",
    "awsvpcTrunking": "disabled",
    "containerInsights": "disabled",
    "fargateFIPSMode": "disabled",
    "tagResourceAuthorization": "on",
    "fargateTaskRetirementWaitPeriod": "7",
    "guardDutyActivate": "off",
    "defaultLogDriverMode": "non-blocking",
    "fargateEventWindows": "disabled",
}


@dataclass
class AccountSettings:
    """Of one account and Region; `root` is the ARN of its root user."""

    root: str
    _own: dict[tuple[str, str], str] = field(default_factory=dict)
    """By principal and name."""

    def put(self, principal: str, name: str, value: str) -> None:
        if name not in VALUES:
            raise invalid_parameter(f"Invalid setting name '{name}': use one of {', '.join(VALUES)}.")
        if not VALUES[name]:
            raise invalid_parameter(f"The setting {name} is managed by AWS and can't be changed.")
        if value not in VALUES[name]:
            raise invalid_parameter(f"Invalid value '{value}' for {name}: use one of {', '.join(VALUES[name])}.")
        self._own[principal, name] = value

    def delete(self, principal: str, name: str) -> str:
        """The value that holds from now on."""
        if name not in VALUES:
            raise invalid_parameter(f"Invalid setting name '{name}': use one of {', '.join(VALUES)}.")
        self._own.pop((principal, name), None)
        return self.effective(principal, name)

    def effective(self, principal: str, name: str) -> str:
        """The principal's own, else the root user's, else AWS's default."""
        return self._own.get((principal, name)) or self._own.get((self.root, name)) or DEFAULTS[name]

    def own(self, principal: str, name: str) -> str | None:
        return self._own.get((principal, name))
