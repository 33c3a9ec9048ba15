"""The conditions of an object, from what a pass found. Pure."""

from __future__ import annotations

from inference_operator.api import meta
from inference_operator.api.v1alpha1 import VerificationState
from inference_operator.domain import targets
from inference_operator.domain.conditions import Said, Type
from inference_operator.domain.reasons import Reason
from inference_operator.domain.rollout import Rollout, State
from inference_operator.engine import log_health
from inference_operator.engine.log_health import Look
from inference_operator.engine.plan import StepResult, Trouble
from inference_operator.engine.reconcile import Pass
from inference_operator.engine.verification import said as verified
from inference_operator.resources import service
from inference_operator.resources.base import Context, Failed, Settled, Wait

SERVICE = service.Services.name


def running_tasks(done: Pass) -> int:
    return int(done.have[SERVICE].answer["runningCount"]) if SERVICE in done.have else 0


def ready_tasks(found: service.Service | None) -> int:
    """Those that run, but for those that the load balancer is known to send no requests to."""
    if found is None:
        return 0
    running: int = found.answer.get("runningCount", 0)
    return max(0, running - targets.not_healthy(found.targets))


def of_pass(
    ctx: Context, done: Pass, rollout: Rollout | None, verification: VerificationState | None, logs: Look | None
) -> list[Said]:
    kinds = [of_kind(result) for result in done.results if result.outcome is not None]
    running = running_tasks(done)
    ready = _ready(ctx, done, running)
    progressing = _progressing(done)
    said = [Said(Type.ACCEPTED, "True", Reason.ACCEPTED, "the spec is valid and its environment allows it")]
    if verification is not None:
        said.append(verified(verification))
    said.append(ready)
    said.append(Said(Type.PROGRESSING, progressing.status, progressing.reason, progressing.message))
    rolling = rollout is not None and (rollout.under_way or rollout.state is State.NOT_SENT)
    below = ready.status == "False" and not (rolling and progressing.status == "True")
    if below:
        said.append(degraded(ready.reason, ready.message, serving=ready_tasks(done.have.get(SERVICE)) > 0))
    else:
        said.append(Said(Type.DEGRADED, "False", Reason.STEADY, "what runs is what is asked for, or on its way there"))
    if ctx.spec.logging.routed:
        said.append(log_health.said(logs))
    said += kinds
    if progressing.status == "True":
        said.append(Said(Type.RECONCILING, "True", progressing.reason, progressing.message))
    if ctx.withheld is Reason.PAUSED:
        said.append(Said(Type.PAUSED, "True", Reason.PAUSED, f"the annotation {meta.PAUSED} is set"))
    if ready.status == "False" and _stuck(done):
        said.append(Said(Type.STALLED, "True", ready.reason, ready.message))
    return said


def contested(told: str | None) -> list[Said]:
    return [Said(Type.CONTESTED, "True", Reason.CONTESTED, told)] if told is not None else []


def degraded(reason: Reason, message: str, *, serving: bool) -> Said:
    if serving:
        return Said(Type.DEGRADED, "True", reason, message)
    return Said(Type.DEGRADED, "False", reason, "nothing serves")


def of_kind(result: StepResult) -> Said:
    type_ = f"{result.kind}Ready"
    match result.outcome:
        case Settled(message):
            return Said(type_, "True", Reason.AS_SPECIFIED, message)
        case Wait(message, reason):
            return Said(type_, "False", reason, message)
        case Failed(reason, message):
            return Said(type_, "False", reason, message)
        case Trouble() as trouble:
            return Said(type_, "False", trouble.reason, trouble.message)
        case None:
            return Said(type_, "True", Reason.AS_SPECIFIED, "not asked for, and not there")


_URGENCY = (Failed, Trouble, Wait)
"""What of several outcomes the summary tells: a verdict, then what is wrong, then what is awaited."""


def _ready(ctx: Context, done: Pass, running: int) -> Said:
    for family in _URGENCY:
        for result in done.results:
            if isinstance(result.outcome, family) and _tells(result):
                said = of_kind(result)
                return Said(Type.READY, "False", said.reason, f"{result.kind}: {said.message}")
    desired = int(done.have[SERVICE].answer["desiredCount"])
    if desired == 0:
        why = "suspended" if ctx.spec.suspend else "scaled to zero"
        return Said(Type.READY, "True", Reason.SCALED_TO_ZERO, f"{why}, as asked")
    return Said(Type.READY, "True", Reason.READY, f"{running} of {desired} tasks run the revision asked for")


def _tells(result: StepResult) -> bool:
    """Not one that only waits for another of the list."""
    return not (isinstance(result.outcome, Wait) and result.outcome.reason is Reason.DEPENDENCY_NOT_READY)


def _progressing(done: Pass) -> Said:
    for result in done.results:
        outcome = result.outcome
        waits = isinstance(outcome, Wait) and _tells(result)
        if waits or (isinstance(outcome, Trouble) and outcome.retry_soon):
            said = of_kind(result)
            return Said(Type.PROGRESSING, "True", said.reason, f"{result.kind}: {said.message}")
    return Said(Type.PROGRESSING, "False", Reason.STEADY, "nothing is under way")


def _stuck(done: Pass) -> bool:
    """Whether somebody has to act before it can be as asked."""
    return any(
        (isinstance(r.outcome, Failed) and r.outcome.reason is not Reason.PAUSED)
        or (isinstance(r.outcome, Trouble) and not r.outcome.retry_soon)
        for r in done.results
    )
