"""The status of an object, from what a pass found. One pure function, called once per pass, whatever happened in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from inference_operator.api import meta
from inference_operator.api.status import EVENTS_LIMIT, STOPPED_TASKS_LIMIT
from inference_operator.api.v1alpha1 import (
    Applied,
    ExecState,
    InferenceDeploymentStatus,
    Resources,
    StoppedTask,
    TargetsState,
    VerificationState,
)
from inference_operator.domain import failures, targets
from inference_operator.domain.agents import exec_agent
from inference_operator.domain.conditions import Said, Type, merged
from inference_operator.domain.reasons import Reason
from inference_operator.domain.rollout import Rollout
from inference_operator.engine import conditions, drift, log_health, revisions
from inference_operator.engine.log_health import Look
from inference_operator.engine.plan import Absent, Create, Hold, Keep, Step, StepResult, Trouble, Update, Withheld
from inference_operator.engine.reconcile import Pass
from inference_operator.resources import (
    discovery_service,
    listener_rule,
    log_group,
    service,
    service_input,
    service_rollout,
    task_definition,
)
from inference_operator.resources.base import Context, Fact, Wait

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
        conditions.degraded(refusal.reason, message, serving=previous.ready_replicas > 0),
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
    failure = revisions.last_failure(ctx, running, rollout)
    return InferenceDeploymentStatus(
        observed_generation=ctx.generation,
        conditions=merged(
            previous.conditions,
            [*conditions.of_pass(ctx, done, rollout, verification, logs), *conditions.contested(keeps_changing)],
            generation=ctx.generation,
            now=ctx.now,
        ),
        url=_url(ctx) if RULE in have else None,
        internal_host=have[DISCOVERY].host if DISCOVERY in have else None,
        **_counted(ctx, done),
        selector=f"ecs-inference.dev/deployment={ctx.identity.name}",
        desired=revisions.desired(ctx, have),
        running=revisions.running(ctx, running, rollout),
        deployment=revisions.deployment(ctx, rollout, answer),
        last_failure=failure,
        history=revisions.history(ctx, rollout, failure),
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
        "ready_replicas": conditions.ready_tasks(found),
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


def _url(ctx: Context) -> str | None:
    if ctx.environment.load_balancer is None:
        return None
    host = ctx.environment.load_balancer.url.rstrip("/")
    return host + listener_rule.paths_of(ctx.spec.ingress, ctx.identity)[0]


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
