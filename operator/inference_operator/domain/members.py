"""Members of ECS's API that came late: what of a spec needs which, and since when botocore knows it. Pure.

The versions are those of boto3's changelog. An installation may have an older botocore than the operator was made for;
then what nobody asks for is not sent, and what somebody asks for is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from inference_operator.api.rollout import CircuitBreaker, Rollout


@dataclass(frozen=True)
class Member:
    path: str
    """In what UpdateService takes; `=X` is a value of an enumeration."""
    since: str
    """The first botocore that knows it."""
    field: str
    """What of a spec needs it."""
    asked: Callable[[Rollout], bool]


_STRATEGY = "deploymentConfiguration.strategy"
_HOOK = "deploymentConfiguration.lifecycleHooks.targetType"
_BREAKER = "deploymentConfiguration.deploymentCircuitBreaker"

BLUE_GREEN = Member(
    f"{_STRATEGY}=BLUE_GREEN", "1.39.5", "rollout.strategy BLUE_GREEN", lambda asked: asked.strategy == "BLUE_GREEN"
)
LINEAR = Member(f"{_STRATEGY}=LINEAR", "1.40.61", "rollout.strategy LINEAR", lambda asked: asked.strategy == "LINEAR")
CANARY = Member(f"{_STRATEGY}=CANARY", "1.40.61", "rollout.strategy CANARY", lambda asked: asked.strategy == "CANARY")
PAUSE = Member(f"{_HOOK}=PAUSE", "1.43.10", "rollout.pauses", lambda asked: bool(asked.pauses))
THRESHOLD = Member(
    f"{_BREAKER}.thresholdConfiguration",
    "1.43.37",
    "rollout.circuitBreaker.threshold",
    lambda asked: asked.circuit_breaker.threshold is not None,
)
RESET = Member(
    f"{_BREAKER}.resetOnHealthyTask",
    "1.43.37",
    "rollout.circuitBreaker.resetOnHealthyTask",
    lambda asked: asked.circuit_breaker.reset_on_healthy_task != CircuitBreaker().reset_on_healthy_task,
)
MEMBERS = (BLUE_GREEN, LINEAR, CANARY, PAUSE, THRESHOLD, RESET)


def refusals(asked: Rollout, lacking: Collection[Member]) -> Iterator[str]:
    """A sentence for each thing that is asked for and that the installed botocore can't send."""
    for member in MEMBERS:
        if member in lacking and member.asked(asked):
            yield f"{member.field} needs botocore {member.since} or later, which this operator does not have"
