"""The status of an object, from what a pass found. One pure function, called once per pass, whatever happened in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference_operator.api import meta
from inference_operator.api.rollout import DEFAULT_THRESHOLD
from inference_operator.api.status import EVENTS_LIMIT, STOPPED_TASKS_LIMIT
from inference_operator.api.v1alpha1 import (
    Applied,
    DeploymentState,
    DesiredRevision,
    ExecState,
    Failure,
    HistoryEntry,
    InferenceDeploymentStatus,
    Resources,
    RunningRevision,
    StoppedTask,
    TargetsState,
    VerificationState,
)
from inference_operator.domain import failures, targets
from inference_operator.domain.agents import exec_agent
from inference_operator.domain.conditions import Said, Type, merged
from inference_operator.domain.reasons import Reason
from inference_operator.domain.rollout import UNDER_WAY, Rollout, State
from inference_operator.domain.service_deployment import Record
from inference_operator.engine import drift, log_health
from inference_operator.engine.log_health import Look
from inference_operator.engine.plan import Absent, Create, Hold, Keep, Step, StepResult, Trouble, Update, Withheld
from inference_operator.engine.reconcile import Pass
from inference_operator.engine.verification import said as verified
from inference_operator.resources import (
    discovery_service,
    listener_rule,
    log_group,
    service,
    service_input,
    service_rollout,
    task_definition,
)
from inference_operator.resources.base import Context, Fact, Failed, Settled, Wait

TASKS, SERVICE = task_definition.TaskDefinitions.name, service.Services.name
DISCOVERY = discovery_service.DiscoveryServices.name
RULE = listener_rule.ListenerRules.name
LOG_GROUPS = log_group.LogGroups.name


@dataclass(frozen=True)
class Refusal:
    """Why a spec is not acted on."""

    reason: Reason
    message: str


def refused(
    previous: InferenceDeploymentStatus,
    refusal: Refusal,
    running: service.Service | None = None,
    *,
    generation: int,
    now: Any,
) -> InferenceDeploymentStatus:
    """The spec can't be acted on. What runs goes on `running`; where it could not be looked at, what is known stays."""
    message = refusal.message
    if running is not None:
        previous = previous.model_copy(
            update={
                **_counts(running),
                "events": failures.merged(previous.events, running.answer.get("events", ()))[:EVENTS_LIMIT],
            }
        )
    said = [
        Said(Type.ACCEPTED, "False", refusal.reason, message),
        Said(Type.READY, "False", refusal.reason, message),
        Said(Type.PROGRESSING, "False", refusal.reason, "nothing is done until the object is accepted"),
        _degraded(refusal.reason, message, serving=previous.ready_replicas > 0),
        Said(Type.STALLED, "True", refusal.reason, message),
    ]
    return previous.model_copy(
        update={
            "observed_generation": generation,
            "conditions": merged(previous.conditions, said, generation=generation, now=now),
        }
    )


def broken(previous: InferenceDeploymentStatus, *, generation: int, now: Any) -> InferenceDeploymentStatus:
    """The operator itself failed. What is known stays; it is tried again."""
    message = "the operator failed on this object; its log has the details. Next: report it"
    said = [
        Said(Type.READY, "False", Reason.INTERNAL_ERROR, message),
        Said(Type.STALLED, "True", Reason.INTERNAL_ERROR, message),
    ]
    return previous.model_copy(update={"conditions": merged(previous.conditions, said, generation=generation, now=now)})


def blocked_deletion(trouble: Trouble, because: str = "InferenceEnvironment") -> StepResult:
    """A deletion that can't begin."""
    return StepResult(kind=because, step=Hold(trouble.reason, trouble.message), outcome=trouble)


def with_stopped(status: InferenceDeploymentStatus, tasks: Sequence[Mapping[str, Any]]) -> InferenceDeploymentStatus:
    """The same, with stopped tasks added, which are told of as DescribeTasks does."""
    if not tasks:
        return status
    merged_tasks = _stopped(status.stopped_tasks, tasks)[:STOPPED_TASKS_LIMIT]
    return status.model_copy(update={"stopped_tasks": merged_tasks})


def deleting(
    previous: InferenceDeploymentStatus, results: Sequence[StepResult], *, generation: int, now: Any
) -> InferenceDeploymentStatus:
    """What a deletion still waits for."""
    last = results[-1] if results else None
    waiting = last is not None and isinstance(last.outcome, Wait)
    outcome = last.outcome if last is not None else None
    message = f"{last.kind}: {outcome.message}" if last is not None and outcome is not None else "all is gone"
    trouble = outcome.reason if isinstance(outcome, Trouble) else Reason.DELETING
    said = [
        Said(Type.READY, "False", trouble, message),
        Said(Type.PROGRESSING, "True" if waiting or outcome is None else "False", trouble, message),
    ]
    if isinstance(outcome, Trouble) and not outcome.retry_soon:
        said.append(Said(Type.STALLED, "True", trouble, message))
    return previous.model_copy(update={"conditions": merged(previous.conditions, said, generation=generation, now=now)})


def summarize(
    ctx: Context,
    done: Pass,
    verification: VerificationState | None = None,
    logs: Look | None = None,
    keeps_changing: str | None = None,
) -> InferenceDeploymentStatus:
    """What a pass found, told; with what was checked before, what the log routers told, and what somebody else keeps
    changing."""
    previous, have = ctx.previous, done.have
    running: service.Service | None = have.get(SERVICE)
    rollout = _rollout(ctx, done)
    answer = running.answer if running is not None else {}
    failure = _last_failure(ctx, running, rollout)
    return InferenceDeploymentStatus(
        observed_generation=ctx.generation,
        conditions=merged(
            previous.conditions,
            [*_conditions(ctx, done, rollout, verification, logs), *contested(keeps_changing)],
            generation=ctx.generation,
            now=ctx.now,
        ),
        url=_url(ctx) if RULE in have else None,
        internal_host=have[DISCOVERY].host if DISCOVERY in have else None,
        **_counted(ctx, done),
        selector=f"ecs-inference.dev/deployment={ctx.identity.name}",
        desired=_desired(ctx, have),
        running=_running(ctx, running, rollout),
        deployment=_deployment(ctx, rollout, answer),
        last_failure=failure,
        history=_history(ctx, rollout, failure),
        events=failures.merged(previous.events, answer.get("events", ())),
        stopped_tasks=_stopped(previous.stopped_tasks, running.stopped_tasks if running is not None else ()),
        exec=_exec(ctx, running),
        targets=_targets(running),
        verification=verification,
        logs=log_health.state(ctx, logs),
        resources=_resources(ctx, done),
        notified=previous.notified,
        drift=drift.differences(done.results),
        applied=_applied(ctx, done),
        last_reconcile_at=ctx.retry
        if ctx.retry and _sent_again(done)
        else _answered(done, ctx.retry, previous.last_reconcile_at),
        last_rollback_at=_answered(done, ctx.rollback, previous.last_rollback_at),
        last_continue_at=_answered(done, ctx.proceed, previous.last_continue_at),
    )


def _counted(ctx: Context, done: Pass) -> dict[str, int]:
    """Where the service could not be looked at, its tasks are not known to be gone."""
    troubles = (r.outcome for r in done.results if r.kind == SERVICE and isinstance(r.outcome, Trouble))
    if SERVICE not in done.have and any(trouble.retry_soon for trouble in troubles):
        return {"replicas": ctx.previous.replicas, "ready_replicas": ctx.previous.ready_replicas}
    return _counts(done.have.get(SERVICE))


def _counts(found: service.Service | None) -> dict[str, int]:
    answer = found.answer if found is not None else {}
    return {
        "replicas": answer.get("runningCount", 0) + answer.get("pendingCount", 0),
        "ready_replicas": _ready_tasks(found),
    }


def _honoured(done: Pass, asked: str | None, before: str | None) -> str | None:
    """The value of an annotation that was last honoured."""
    failed = any(isinstance(result.outcome, Trouble) for result in done.results)
    return before if asked is None or failed else asked


def _answered(done: Pass, asked: str | None, before: str | None) -> str | None:
    """The same of those that act on the service: they wait as long as nothing can or may be done to it."""
    waits = any(result.kind == SERVICE and isinstance(result.step, Hold | Withheld) for result in done.results)
    return before if waits else _honoured(done, asked, before)


def _sent_again(done: Pass) -> bool:
    """Whether `reconcile-at` has begun a deployment: that is not to happen twice, whatever else went wrong."""
    return any(result.kind == SERVICE and _begins(result.step) for result in done.results)


def _begins(step: Step) -> bool:
    """Whether a step of the service's begins a deployment."""
    begins = {service_input.FORCE, *service_input.BEGINS_DEPLOYMENT}
    return isinstance(step, Create) or (isinstance(step, Update) and not begins.isdisjoint(step.change.paths))


def _applied(ctx: Context, done: Pass) -> Applied | None:
    if ctx.spec.drift_policy != "Report":
        return None
    if ctx.withheld is None and all(isinstance(result.step, Keep | Absent) for result in done.results):
        return Applied(generation=ctx.generation, environment_generation=ctx.environment_generation)
    return ctx.previous.applied


def _rollout(ctx: Context, done: Pass) -> Rollout | None:
    """None where there is nothing to follow. While a spec is kept back, what was sent before it is followed on."""
    want, have = done.want.get(SERVICE), done.have.get(SERVICE)
    if TASKS not in done.want or want is None or have is None:
        return None
    if any(isinstance(result.step, Withheld) for result in done.results):
        if want.known.asked is None:
            return None
        want = replace(want, asked=replace(want.asked, hash=want.known.asked))
    return service_rollout.follow(want, have, now=ctx.now)


def running_tasks(done: Pass) -> int:
    return int(done.have[SERVICE].answer["runningCount"]) if SERVICE in done.have else 0


def _ready_tasks(found: service.Service | None) -> int:
    """Those that run, but for those that the load balancer is known to send no requests to."""
    if found is None:
        return 0
    running: int = found.answer.get("runningCount", 0)
    return max(0, running - targets.not_healthy(found.targets))


def _conditions(
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
        said.append(_degraded(ready.reason, ready.message, serving=_ready_tasks(done.have.get(SERVICE)) > 0))
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


def _degraded(reason: Reason, message: str, *, serving: bool) -> Said:
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


def _url(ctx: Context) -> str | None:
    if ctx.environment.load_balancer is None:
        return None
    host = ctx.environment.load_balancer.url.rstrip("/")
    return host + listener_rule.paths_of(ctx.spec.ingress, ctx.identity)[0]


def _desired(ctx: Context, have: Mapping[str, Any]) -> DesiredRevision | None:
    if ctx.withheld is Reason.PAUSED:
        return ctx.previous.desired
    registered: task_definition.TaskDefinition | None = have.get(TASKS)
    return DesiredRevision(
        revision=registered.arn if registered is not None else None,
        spec_hash=registered.hash if registered is not None else None,
        image=ctx.spec.image,
        model=ctx.spec.models.path,
    )


def _running(ctx: Context, running: service.Service | None, rollout: Rollout | None) -> RunningRevision | None:
    """What serves: the last revision whose rollout completed, while it has tasks."""
    if running is None or running.answer["runningCount"] == 0:
        return None
    before = ctx.previous.running
    if rollout is not None and rollout.state is State.COMPLETED:
        since = before.since if before is not None and before.revision == rollout.revision else rollout.updated_at
        return RunningRevision(revision=rollout.revision, **_followed(ctx), since=since or ctx.now)
    completed = next((d for d in running.deployments if d.get("rolloutState") == "COMPLETED"), None)
    if completed is None or (before is not None and before.revision == completed["taskDefinition"]):
        return before
    known = next((e for e in ctx.previous.history if e.revision == completed["taskDefinition"]), HistoryEntry())
    return RunningRevision(
        revision=completed["taskDefinition"], image=known.image, model=known.model, since=completed.get("updatedAt")
    )


def _followed(ctx: Context) -> dict[str, str | None]:
    """Image and model of the revision that is followed: while paused, of what was asked for before."""
    if ctx.withheld is Reason.PAUSED and ctx.previous.desired is not None:
        return {"image": ctx.previous.desired.image, "model": ctx.previous.desired.model}
    return {"image": ctx.spec.image, "model": ctx.spec.models.path}


def _deployment(ctx: Context, rollout: Rollout | None, answer: Mapping[str, Any]) -> DeploymentState | None:
    previous = ctx.previous.deployment
    if rollout is None or rollout.state is State.NOT_SENT:
        return previous
    same = previous if previous is not None and _is_same(previous, rollout) else DeploymentState()
    record = rollout.record
    return DeploymentState(
        id=rollout.deployment or same.id,
        service_deployment=record.arn if record is not None else same.service_deployment,
        asked_hash=rollout.asked,
        revision=rollout.revision,
        generation=same.generation or ctx.generation,
        state=rollout.state.value,
        started_at=rollout.started_at or same.started_at,
        reason=rollout.reason or (same.reason if same.state == rollout.state.value else None),
        failed_tasks=max(rollout.failed_tasks, (same.failed_tasks or 0) if rollout.held else 0) or None,
        threshold=(record.threshold if record is not None else None) or _threshold(ctx, answer),
        strategy=same.strategy or ctx.spec.rollout.strategy,
        **(_stage(record) if record is not None and rollout.under_way else {}),
    )


def _stage(record: Record) -> dict[str, Any]:
    """How far a rollout is that shifts requests."""
    return {
        "stage": record.stage,
        "traffic_percent": round(record.traffic) if record.traffic is not None else None,
        "paused_until": record.pause.expires_at if record.pause is not None else None,
    }


def _is_same(known: DeploymentState, rollout: Rollout) -> bool:
    if rollout.deployment is None:  # forgotten by ECS
        return known.asked_hash == rollout.asked
    return known.id == rollout.deployment


def _threshold(ctx: Context, answer: Mapping[str, Any]) -> int | None:
    breaker = ctx.spec.rollout.circuit_breaker
    if not breaker.enabled or ctx.spec.rollout.shifts:
        return None
    return (breaker.threshold or DEFAULT_THRESHOLD).tasks(int(answer.get("desiredCount", ctx.spec.starts_with)))


def _last_failure(ctx: Context, running: service.Service | None, rollout: Rollout | None) -> Failure | None:
    previous = ctx.previous.last_failure
    if rollout is None or running is None:
        return previous
    if rollout.state is State.COMPLETED and previous is not None and previous.revision == rollout.revision:
        return None  # it was tried again, and this time it came up
    return service_rollout.failure_of(ctx, running, rollout) if rollout.held else previous


def _history(ctx: Context, rollout: Rollout | None, failure: Failure | None) -> tuple[HistoryEntry, ...]:
    history, before = ctx.previous.history, ctx.previous.deployment
    if rollout is None or rollout.state is State.NOT_SENT:
        return history
    same = before is not None and _is_same(before, rollout)
    if before is not None and not same and before.state in UNDER_WAY:
        history = (_cut_short(ctx, before, rollout), *history)
    told = any(e.deployment == rollout.deployment and e.outcome == rollout.state.value for e in history)
    if rollout.under_way or told or (before is not None and same and before.state == rollout.state):
        return history
    ended = HistoryEntry(
        deployment=rollout.deployment,
        revision=rollout.revision,
        generation=before.generation if before is not None and same else ctx.generation,
        **_followed(ctx),
        outcome=rollout.state.value,
        cause=failure.cause if rollout.held and failure is not None else None,
        started_at=rollout.started_at or (before.started_at if before is not None and same else None),
        finished_at=rollout.updated_at or ctx.now,
    )
    return (ended, *history)


def _cut_short(ctx: Context, before: DeploymentState, after: Rollout) -> HistoryEntry:
    """The deployment that was followed has given way to another: to a newer one, or to one that ECS went back to."""
    newer = not (before.started_at and after.started_at) or after.started_at.replace(microsecond=0) >= before.started_at
    asked = ctx.previous.desired or DesiredRevision()
    known = asked if asked.revision == before.revision else DesiredRevision()
    return HistoryEntry(
        deployment=before.id,
        revision=before.revision,
        generation=before.generation,
        image=known.image,
        model=known.model,
        outcome="Superseded" if newer else State.ROLLED_BACK.value,
        started_at=before.started_at,
        finished_at=ctx.now,
    )


def _stopped(known: Sequence[StoppedTask], shown: Sequence[Mapping[str, Any]]) -> tuple[StoppedTask, ...]:
    """Newest first. One that was still stopping is told of as it is shown now, or no more."""
    ended = (task for task in known if task.at is not None)
    merged_tasks = {task.task: task for task in (*ended, *map(failures.stopped_task, shown))}
    return tuple(sorted(merged_tasks.values(), key=lambda t: (t.at is None, t.at), reverse=True))


def _exec(ctx: Context, running: service.Service | None) -> ExecState | None:
    if not ctx.spec.exec.enabled:
        return None
    agents = [exec_agent(task, meta.CONTAINER) for task in (running.running_tasks if running else ())]
    ready = sum(agent.runs for agent in agents)
    lame = next((agent for agent in agents if not agent.runs), None)
    if lame is not None:
        return ExecState(ready_tasks=ready, message=lame.why)
    if not agents:
        return ExecState(message="no task runs")
    command = (
        f"aws ecs execute-command --region {ctx.environment.region} --cluster {ctx.environment.cluster} "
        f"--task {agents[0].task} --container {meta.CONTAINER} --interactive --command /bin/sh"
    )
    return ExecState(ready_tasks=ready, message=command)


def _targets(running: service.Service | None) -> TargetsState | None:
    """None once all is well again, so that nobody looks any more."""
    told = targets.summary(running.targets) if running is not None else None
    return told if told is not None and told.problems else None


def _resources(ctx: Context, done: Pass) -> Resources:
    facts = ctx.facts
    before = ctx.previous.resources or Resources()
    if any(isinstance(r.outcome, Trouble) for r in done.results):  # what could not be looked at is not known to be gone
        untold = (Fact.LOG_GROUP, Fact.SERVING_TARGET_GROUP)
        known = {fact.value: facts[fact] for fact in Fact if fact in facts and fact not in untold}
        kept = {k: v for k, v in before.document().items() if k not in known}
        groups = list(_log_groups(done) or before.log_groups)
        return Resources.model_validate({**kept, **known, "cluster": ctx.environment.cluster, "logGroups": groups})
    return Resources(
        cluster=ctx.environment.cluster,
        service=facts.get(Fact.SERVICE),
        task_definition=facts.get(Fact.TASK_DEFINITION),
        access_point=facts.get(Fact.ACCESS_POINT),
        target_group=facts.get(Fact.TARGET_GROUP),
        alternate_target_group=facts.get(Fact.ALTERNATE_TARGET_GROUP),
        listener_rule=facts.get(Fact.LISTENER_RULE),
        discovery_service=facts.get(Fact.DISCOVERY_SERVICE),
        scalable_target=facts.get(Fact.SCALABLE_TARGET),
        test_listener_rule=facts.get(Fact.TEST_LISTENER_RULE),
        log_groups=_log_groups(done),
    )


def _log_groups(done: Pass) -> tuple[str, ...]:
    found: log_group.Have | None = done.have.get(LOG_GROUPS)
    return tuple(sorted(found.groups)) if found is not None else ()
