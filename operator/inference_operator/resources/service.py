"""The ECS service: how many tasks of which revision run, how they are replaced, and what became of the latest rollout.

After a circuit-breaker rollback the service shows the old revision again. That is no drift: a revision that failed is
held, and not sent again until the spec or `reconcile-at` changes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

from inference_operator.api import meta
from inference_operator.api.v1alpha1 import Failure, InferenceDeploymentStatus
from inference_operator.aws.errors import NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import failures, rollout, tags
from inference_operator.domain.reasons import Reason
from inference_operator.domain.rollout import Known, Rollout, State
from inference_operator.domain.tags import Retag
from inference_operator.resources import service_input, service_tasks
from inference_operator.resources.base import Change, Context, Fact, Failed, Scene, Settled, Wait, differing
from inference_operator.resources.task_definition import revision_of


@dataclass(frozen=True, kw_only=True)
class Want:
    cluster: str
    name: str
    settings: Mapping[str, Any]
    """The members that CreateService and UpdateService share."""
    tags: Mapping[str, str]
    known: Known
    deadline: timedelta
    retry: bool

    @property
    def revision(self) -> str:
        return str(self.settings["taskDefinition"])


@dataclass(frozen=True, kw_only=True)
class Service:
    arn: str
    cluster: str
    name: str
    status: str
    answer: Answer
    """As DescribeServices shows it."""
    tags: Mapping[str, str]
    stopped_tasks: Sequence[Answer] = ()
    """As DescribeTasks shows them, newest first; read only while there is a failure to explain."""
    running_tasks: Sequence[Answer] = ()
    """As DescribeTasks shows them; read only where ECS Exec is asked for, whose agents are told of there alone."""

    @property
    def deployments(self) -> Sequence[rollout.Deployment]:
        deployments: Sequence[rollout.Deployment] = self.answer["deployments"]
        return deployments

    @property
    def primary(self) -> rollout.Deployment | None:
        return next((d for d in self.deployments if d["status"] == "PRIMARY"), None)


class Services:
    """The ECS service, and its latest rollout."""

    name: ClassVar[str] = "Service"
    volatile: ClassVar[bool] = True

    def desire(self, ctx: Context) -> Want | Wait:
        needed = [Fact.TASK_DEFINITION]
        if ctx.environment.load_balancer is not None:
            # CreateService refuses a target group that no load balancer uses.
            needed += [Fact.TARGET_GROUP, Fact.LISTENER_RULE]
        missing = [fact.value for fact in needed if fact not in ctx.facts]
        if missing:
            return Wait(f"not there yet: {', '.join(missing)}", Reason.DEPENDENCY_NOT_READY)
        return Want(
            cluster=ctx.environment.cluster,
            name=ctx.identity.service,
            settings=service_input.settings(ctx),
            tags=ctx.tags,
            known=_known(ctx),
            deadline=ctx.spec.rollout.progress_deadline,
            retry=ctx.retry is not None,
        )

    def diff(self, want: Want, have: Service) -> Change:
        if have.status != "ACTIVE":
            return Change()  # a draining service takes no update; its name is free once it is gone
        paths = differing(service_input.compared(want.settings, have.answer))
        held = _held(want, have)
        if held and want.retry:
            return Change((*(p for p in paths if p != "taskDefinition"), "taskDefinition", service_input.FORCE))
        if held:
            return Change(tuple(p for p in paths if p != "taskDefinition"))
        return Change(paths)

    def settled(self, ctx: Context, want: Want, have: Service) -> Settled | Wait | Failed:
        if have.status != "ACTIVE":
            return Wait(f"the service is {have.status}; it is made again when it is gone")
        seen = follow(ctx, want, have)
        if seen.state is not State.COMPLETED:
            return _unfinished(ctx, want, have, seen)
        desired, running = have.answer["desiredCount"], have.answer["runningCount"]
        if running != desired or len(have.deployments) > 1:
            return Wait(f"{running} of {desired} tasks run", Reason.REPLICAS_UNAVAILABLE)
        return Settled(f"{revision_of(want.revision)}, {running} of {desired} tasks run")

    def facts(self, have: Service) -> Mapping[Fact, str]:
        return {Fact.SERVICE: have.arn}

    def observe(self, scene: Scene) -> Service | None:
        cluster, name = scene.environment.cluster, scene.identity.service
        answer = scene.aws.services.get(cluster, name, max_age=scene.freshness)
        if answer is None:
            return None
        have = _read(answer)
        if _unexplained(have, scene.previous):
            have = replace(have, stopped_tasks=service_tasks.stopped(scene.aws.ecs, cluster, name))
        if answer.get("enableExecuteCommand") and answer["runningCount"]:
            have = replace(have, running_tasks=service_tasks.running(scene.aws.ecs, cluster, name))
        return have

    def create(self, ctx: Context, want: Want) -> Service:
        # No client token: a service's name is unique in its cluster while it is there, and that is the better guard.
        answer = ctx.aws.ecs.create_service(
            cluster=want.cluster,
            serviceName=want.name,
            **service_input.create_input(want.settings),
            tags=tags.list_of(want.tags, key="key", value="value"),
        )["service"]
        return self._written(ctx, want, {**answer, "tags": answer.get("tags") or tags.list_of(want.tags)})

    def update(self, ctx: Context, want: Want, have: Service, change: Change) -> Service:
        members = service_input.update_input(want.settings, change.paths)
        try:
            answer = ctx.aws.ecs.update_service(cluster=want.cluster, service=want.name, **members)["service"]
        except NotFound:
            ctx.aws.services.record(want.cluster, want.name, None)  # gone since we looked
            raise
        return self._written(ctx, want, {**answer, "tags": answer.get("tags") or tags.list_of(have.tags)})

    def retag(self, scene: Scene, have: Service, retag: Retag) -> Service:
        if retag.put:
            scene.aws.ecs.tag_resource(resourceArn=have.arn, tags=tags.list_of(retag.put, key="key", value="value"))
        if retag.remove:
            scene.aws.ecs.untag_resource(resourceArn=have.arn, tagKeys=list(retag.remove))
        listed = tags.list_of(retag.applied(have.tags), key="key", value="value")
        answer = {**have.answer, "tags": listed}
        scene.aws.services.record(have.cluster, have.name, answer)
        return replace(have, answer=answer, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: Service) -> Wait | None:
        cluster, name = scene.environment.cluster, scene.identity.service
        if have.status == "ACTIVE":
            try:
                answer = scene.aws.ecs.delete_service(cluster=cluster, service=name, force=True)["service"]
            except NotFound:
                return None
            scene.aws.services.record(cluster, name, {**answer, "tags": answer.get("tags") or tags.list_of(have.tags)})
            have = _read({**answer, "tags": answer.get("tags") or tags.list_of(have.tags)})
        tasks = have.answer["runningCount"] + have.answer["pendingCount"]
        return Wait(f"the service is {have.status}: {tasks} tasks have still to end")

    def tidy(self, ctx: Context, want: Want, have: Service) -> Service:
        return have

    def _written(self, ctx: Context, want: Want, answer: Answer) -> Service:
        ctx.aws.services.record(want.cluster, want.name, answer)
        return _read(answer)


def follow(ctx: Context, want: Want, have: Service) -> Rollout:
    """What became of the revision that is asked for."""
    return rollout.follow(have.deployments, wanted=want.revision, known=want.known, deadline=want.deadline, now=ctx.now)


def _held(want: Want, have: Service) -> bool:
    """Whether the revision asked for has failed. The deadline plays no part, so neither does the time."""
    now = max(d["createdAt"] for d in have.deployments)
    return rollout.follow(
        have.deployments, wanted=want.revision, known=want.known, deadline=want.deadline, now=now
    ).held


def _known(ctx: Context) -> Known:
    sent, failure = ctx.previous.deployment, ctx.previous.last_failure
    return Known(
        sent=sent.revision if sent else None,
        sent_state=sent.state if sent else None,
        failed=failure.revision if failure else None,
    )


def _read(answer: Answer) -> Service:
    return Service(
        arn=answer["serviceArn"],
        cluster=answer["clusterArn"].rpartition("/")[2],
        name=answer["serviceName"],
        status=answer["status"],
        answer=answer,
        tags=tags.parse(answer.get("tags")),
    )


def _unexplained(have: Service, previous: InferenceDeploymentStatus) -> bool:
    """Whether tasks fail, or a revision that we sent is no longer the primary one and no task says why yet."""
    if any(d.get("failedTasks") or d.get("rolloutState") == "FAILED" for d in have.deployments):
        return True
    sent, told = previous.deployment, previous.last_failure
    if sent is None or sent.state == State.COMPLETED.value or have.primary is None:
        return False
    if have.primary["taskDefinition"] == sent.revision:
        return False
    return told is None or told.revision != sent.revision


def failure_of(ctx: Context, have: Service, seen: Rollout) -> Failure | None:
    """Why a held revision failed: what is known already, unless newer tasks tell more."""
    previous = ctx.previous.last_failure
    told = previous if previous is not None and previous.revision == seen.revision else None
    shown = failures.failure(
        have.stopped_tasks,
        revision=seen.revision,
        generation=ctx.generation,
        reason=seen.reason,
        at=seen.updated_at or ctx.now,
    )
    is_news = told is None or (bool(shown.tasks) and shown.tasks[0] not in told.tasks)
    return shown if is_news else told


def _unfinished(ctx: Context, want: Want, have: Service, seen: Rollout) -> Wait | Failed:
    if seen.held:
        failure = failure_of(ctx, have, seen)
        cause = _cause(failure)
        next_step = (failure.next_step if failure is not None else None) or "Look at status.events."
        moving = len(have.deployments) > 1 or (have.primary or {}).get("rolloutState") == "IN_PROGRESS"
        reason = Reason.ROLLED_BACK if seen.state is State.ROLLED_BACK else Reason.ROLLOUT_FAILED
        return Failed(
            reason,
            f"{revision_of(want.revision)} failed: {cause}. {_what_serves(have, seen)}. Next: {next_step} {_HELD}.",
            at_rest=not moving,
        )
    if seen.overdue:
        return Failed(
            Reason.PROGRESS_DEADLINE_EXCEEDED,
            f"{_progress(want, have, seen)}, and that for longer than rollout.progressDeadline. "
            f"Next: look at status.stoppedTasks and status.events; the rollout goes on meanwhile",
            at_rest=False,
        )
    return Wait(_progress(want, have, seen), Reason.ROLLING_OUT)


def _cause(failure: Failure | None) -> str:
    if failure is None or not failure.message:
        return "ECS gave no cause"
    return f"{failure.cause} ({failure.message.rstrip('.')})"


def _what_serves(have: Service, seen: Rollout) -> str:
    primary = have.primary
    if seen.state is State.FAILED or primary is None:
        return "Nothing was rolled back"
    return f"{revision_of(primary['taskDefinition'])} serves again"


def _progress(want: Want, have: Service, seen: Rollout) -> str:
    if seen.state is State.NOT_SENT:
        return f"{revision_of(want.revision)} has still to be rolled out"
    primary = have.primary or {}
    running, desired = primary.get("runningCount", 0), primary.get("desiredCount", 0)
    told = f"{revision_of(want.revision)}: {running} of {desired} tasks run"
    if seen.failed_tasks:
        return f"{told}, {seen.failed_tasks} failed to come up"
    if running < desired:
        return told
    if len(have.deployments) == 1:
        return f"{told}; ECS waits until they are healthy"
    return f"{told}; ECS waits until they are healthy and the tasks before them have ended"


_HELD = f"It is not tried again until the spec changes or the annotation {meta.RECONCILE_AT} gets a new value"
