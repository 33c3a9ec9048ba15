"""A load balancer for tests: targets become what the script says, on an injected clock. No socket, no thread.

It must not know the scheduler; it only speaks the load balancer's port.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from inference_sandbox.ports import Clock, ListenerRoutes, TargetGroupSettings, TargetState


@dataclass(frozen=True, kw_only=True)
class _Target:
    state: TargetState
    due: datetime
    becomes: TargetState | None
    """None: it goes when it is due."""


class ScriptedLoadBalancer:
    """`verdict` is what new targets become after `decides_after`; draining takes the group's deregistration delay."""

    def __init__(self, clock: Clock, *, decides_after: timedelta = timedelta(seconds=10)) -> None:
        self._clock = clock
        self.decides_after = decides_after
        self.verdict: Literal["healthy", "unhealthy"] = "healthy"
        self.reason = "Health checks failed with these codes: [503]"
        self.listeners: Sequence[ListenerRoutes] = ()
        self.target_groups: dict[str, TargetGroupSettings] = {}
        self._targets: dict[str, dict[tuple[str, int], _Target]] = defaultdict(dict)

    def configure(self, listeners: Sequence[ListenerRoutes], target_groups: Sequence[TargetGroupSettings]) -> None:
        self.listeners = listeners
        self.target_groups = {group.arn: group for group in target_groups}

    def register(self, target_group_arn: str, address: str, port: int) -> None:
        first = TargetState(address=address, port=port, state="initial", reason="Elb.RegistrationInProgress")
        due = self._clock.now() + self.decides_after
        becomes = self._verdict(first, self.verdict)
        self._targets[target_group_arn][address, port] = _Target(state=first, due=due, becomes=becomes)

    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        held = self._targets[target_group_arn].get((address, port))
        if held is None:
            return
        group = self.target_groups.get(target_group_arn)
        delay = float(group.attributes.get("deregistration_delay.timeout_seconds", 300)) if group else 300.0
        state = replace(held.state, state="draining", reason="Target.DeregistrationInProgress", description=None)
        due = self._clock.now() + timedelta(seconds=delay)
        self._targets[target_group_arn][address, port] = _Target(state=state, due=due, becomes=None)

    def set(self, target_group_arn: str, address: str, port: int, verdict: Literal["healthy", "unhealthy"]) -> None:
        """The target's next health check says this."""
        held = self._targets[target_group_arn][address, port]
        state = self._verdict(held.state, verdict)
        self._targets[target_group_arn][address, port] = _Target(state=state, due=self._clock.now(), becomes=state)

    def fail(self, target_group_arn: str, address: str, port: int) -> None:
        self.set(target_group_arn, address, port, "unhealthy")

    def targets(self, target_group_arn: str) -> Sequence[TargetState]:
        now, held = self._clock.now(), self._targets[target_group_arn]
        for key, target in list(held.items()):
            if target.due > now:
                continue
            if target.becomes is None:
                del held[key]
            else:
                held[key] = replace(target, state=target.becomes)
        return [target.state for target in held.values()]

    def close(self) -> None:
        self._targets.clear()

    def _verdict(self, state: TargetState, verdict: Literal["healthy", "unhealthy"]) -> TargetState:
        if verdict == "healthy":
            return replace(state, state="healthy", reason=None, description=None)
        return replace(state, state="unhealthy", reason="Target.ResponseCodeMismatch", description=self.reason)
