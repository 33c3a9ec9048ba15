"""The ECS service: how many tasks of which revision run, and how they are replaced.

After a rollback the service shows the old deployment again. That is no drift: a deployment that failed is held, and not
sent again until what is asked for changes, or `reconcile-at` does. What became of it is told by `service_rollout`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import ClassVar

import structlog

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, Sidecar
from inference_operator.aws.errors import AlreadyExists, AwsError, Busy, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import failures, rollout, tags
from inference_operator.domain.conditions import Type, find
from inference_operator.domain.reasons import Reason
from inference_operator.domain.rollout import Rollout, State
from inference_operator.domain.tags import Retag
from inference_operator.resources import service_deployments, service_input, service_targets, service_tasks
from inference_operator.resources.base import (
    Change,
    Context,
    Fact,
    Failed,
    Scene,
    Settled,
    Wait,
    differing,
    shifts_requests,
)
from inference_operator.resources.scalable_target import Moved, moved
from inference_operator.resources.service_rollout import Service, Want, below, follow, unfinished
from inference_operator.resources.task_definition import revision_of

__all__ = ["Service", "Services", "Want"]


log = structlog.get_logger(__name__)

ACTIVE = "ACTIVE"
DIGEST = "@sha256:"


class Services:
    """The ECS service, and its latest rollout."""

    name: ClassVar[str] = "Service"
    volatile: ClassVar[bool] = True

    def desire(self, ctx: Context) -> Want | Wait:
        needed, balancer = [Fact.TASK_DEFINITION], ctx.environment.load_balancer
        if balancer is not None:
            # CreateService refuses a target group that no load balancer uses.
            needed += [Fact.TARGET_GROUP, Fact.LISTENER_RULE]
        if ctx.environment.service_discovery is not None:
            needed.append(Fact.DISCOVERY_SERVICE)
        if shifts_requests(ctx):
            needed.append(Fact.ALTERNATE_TARGET_GROUP)
        if balancer is not None and balancer.test_listener_arn is not None:
            needed.append(Fact.TEST_LISTENER_RULE)  # to name it later would be another deployment
        missing = [fact.value for fact in needed if fact not in ctx.facts]
        if missing:
            return Wait(f"not there yet: {', '.join(missing)}", Reason.DEPENDENCY_NOT_READY)
        settings = service_input.settings(ctx)
        return Want(
            cluster=ctx.environment.cluster,
            name=ctx.identity.service,
            settings=settings,
            tags=ctx.tags,
            asked=rollout.Asked(
                revision=settings["taskDefinition"],
                hash=service_input.asked_hash(ctx, settings),
                deadline=ctx.spec.rollout.deadline,
            ),
            known=_known(ctx),
            retry=ctx.retry is not None,
            refresh=ctx.retry is not None and _may_change_behind_its_name(ctx.spec),
            rollback=ctx.rollback is not None,
            bounds=ctx.spec.bounds,
            proceed=ctx.proceed is not None,
        )

    def diff(self, want: Want, have: Service) -> Change:
        if have.status != ACTIVE:
            return Change()  # a draining service takes no update; its name is free once it is gone
        pairs = service_input.compared({**want.settings, "desiredCount": _count(want, have)}, have.answer)
        return Change(
            self._paths(want, have, differing(pairs)),
            values=pairs,
            unsuitable=unsuitable(have, want.settings["capacityProviderStrategy"]),
        )

    def _paths(self, want: Want, have: Service, paths: tuple[str, ...]) -> tuple[str, ...]:
        seen = follow(want, have)
        if seen.under_way and want.rollback:
            return (service_input.ROLL_BACK,)
        if seen.state is State.PAUSED and want.proceed:
            return (*paths, service_input.CONTINUE)
        if seen.held and not want.retry:
            return tuple(p for p in paths if p not in service_input.BEGINS_DEPLOYMENT)
        # What failed and stands is asked for no more if something has changed since, maybe in the health check alone.
        stands = seen.state is State.NOT_SENT and seen.deployment is not None
        if seen.held or stands:
            return _anew(paths)
        # A deployment that the status does not know yet may be the one that was asked for: it is not begun again.
        earlier = seen.state is State.COMPLETED or (seen.under_way and seen.deployment == want.known.id)
        return (*paths, service_input.FORCE) if want.refresh and earlier else paths

    def settled(self, ctx: Context, want: Want, have: Service) -> Settled | Wait | Failed:
        if have.status != ACTIVE:
            return Wait(f"the service is {have.status}; it is made again when it is gone")
        seen = follow(want, have, now=ctx.now)
        if seen.state is not State.COMPLETED:
            return unfinished(ctx, have, seen)
        desired, running = have.answer["desiredCount"], have.answer["runningCount"]
        if have.moved is not None and _count(want, have) == desired:
            low, high = have.moved.limits
            return Failed(
                Reason.SCALED_BY_OTHERS,
                f"{running} of {desired} tasks run: Application Auto Scaling scales between {low} and {high}, by what "
                f"is somebody else's ({', '.join(have.moved.by)}). It is left so. "
                f"Next: put it into spec.autoscaling, or delete it",
            )
        lowest, highest = want.bounds
        surplus = running > max(desired, highest) and not _was_ready(ctx)
        if running < min(desired, lowest) or surplus or len(have.deployments) > 1:
            return Wait(below(ctx, have, seen), Reason.REPLICAS_UNAVAILABLE)
        return Settled(f"{revision_of(want.revision)}, {running} of {desired} tasks run")

    def facts(self, have: Service) -> Mapping[Fact, str]:
        return {Fact.SERVICE: have.arn}

    def observe(self, scene: Scene) -> Service | None:
        cluster, name = scene.environment.cluster, scene.identity.service
        answer = scene.aws.services.get(cluster, name, max_age=scene.freshness)
        if answer is None:
            return None
        have = _read(answer)
        want = self.desire(scene) if isinstance(scene, Context) else None
        if isinstance(want, Want) and have.status == ACTIVE:
            have = _looked_into(scene, want, have)
            have = replace(have, targets=service_targets.troubled(scene, have), moved=_moved(scene, have))
        if scene.told:
            have = replace(have, stopped_tasks=service_tasks.newest_first(scene.told, have.stopped_tasks))
        if answer.get("enableExecuteCommand") and answer["runningCount"]:
            have = replace(have, running_tasks=service_tasks.running(scene.aws, cluster, name))
        return have

    def create(self, ctx: Context, want: Want) -> Service:
        # No client token: a service's name is unique in its cluster while it is there, and that is the better guard.
        try:
            answer = ctx.aws.ecs.create_service(
                cluster=want.cluster,
                serviceName=want.name,
                **service_input.create_input(want.settings),
                tags=tags.list_of(want.tags, key="key", value="value"),
            )["service"]
        except AlreadyExists as error:  # made by a process that was killed then: soon it is shown
            message = "there is a service of this name, which DescribeServices does not show yet"
            raise Busy(code=error.code, message=message, operation=error.operation) from error
        return self._written(ctx, want, {**answer, "tags": answer.get("tags") or tags.list_of(want.tags)})

    def update(self, ctx: Context, want: Want, have: Service, change: Change) -> Service:
        if service_input.ROLL_BACK in change.paths:
            return self._rolled_back(ctx, want, have)
        if service_input.CONTINUE in change.paths:
            have = self._continued(ctx, have)
        settings = {**want.settings, "desiredCount": _count(want, have)}
        members = service_input.update_input(settings, change.paths)
        if not members:
            return have
        try:
            answer = ctx.aws.ecs.update_service(cluster=want.cluster, service=want.name, **members)["service"]
        except (NotFound, Busy):
            ctx.aws.services.record(want.cluster, want.name, None)  # gone since we looked, or going
            raise
        return self._written(ctx, want, {**answer, "tags": answer.get("tags") or tags.list_of(have.tags)})

    def retag(self, scene: Scene, have: Service, retag: Retag) -> Service:
        if retag.remove:
            scene.aws.ecs.untag_resource(resourceArn=have.arn, tagKeys=list(retag.remove))
        if retag.put:
            scene.aws.ecs.tag_resource(resourceArn=have.arn, tags=tags.list_of(retag.put, key="key", value="value"))
        listed = tags.list_of(retag.applied(have.tags), key="key", value="value")
        answer = {**have.answer, "tags": listed}
        scene.aws.services.record(have.cluster, have.name, answer)
        return replace(have, answer=answer, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: Service) -> Wait | None:
        cluster, name = scene.environment.cluster, scene.identity.service
        if have.status == ACTIVE:
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

    def _rolled_back(self, ctx: Context, want: Want, have: Service) -> Service:
        """ECS does so whether or not the deployment has the rollback option (API reference, StopServiceDeployment)."""
        service_deployments.roll_back(ctx.aws.ecs, have.answer)
        found = self.observe(replace(ctx, freshness=timedelta(seconds=-1)))
        return replace(found if found is not None else have, asked_back=True)

    def _continued(self, ctx: Context, have: Service) -> Service:
        if have.record is not None and have.record.pause is not None:
            ctx.aws.ecs.continue_service_deployment(
                serviceDeploymentArn=have.record.arn, hookId=have.record.pause.id, action="CONTINUE"
            )
        found = self.observe(replace(ctx, freshness=timedelta(seconds=-1)))
        return found if found is not None else have

    def _written(self, ctx: Context, want: Want, answer: Answer) -> Service:
        ctx.aws.services.record(want.cluster, want.name, answer)
        return _read(answer)


def unsuitable(have: Service, capacity: Sequence[object]) -> str:
    """Why a service can't be the object's, whatever is done to it; such as others have made."""
    controller = have.answer.get("deploymentController", {}).get("type", "ECS")
    if controller != "ECS":  # API reference, UpdateService: of all that matters only the count can be changed then
        return (
            f"the service has the deployment controller {controller}, and ECS lets nobody else deploy it. "
            f"Next: give it the controller ECS (aws ecs update-service --cluster {have.cluster} --service {have.name} "
            f"--deployment-controller type=ECS), or rename this object."
        )
    launch = have.answer.get("launchType", "FARGATE")
    if launch != "FARGATE" and not capacity:  # the same, capacityProviderStrategy
        return (
            f"the service has the launch type {launch}, which ECS changes to a capacity provider of Fargate alone. "
            f"Next: put the provider FARGATE into spec.capacity, or rename this object."
        )
    return ""


def _may_change_behind_its_name(spec: InferenceDeploymentSpec) -> bool:
    """Whether new tasks may be made of something else than those that run: a tag can be moved, a secret changed."""
    containers: tuple[InferenceDeploymentSpec | Sidecar, ...] = (spec, *spec.sidecars)
    router = spec.logging.custom
    return any(DIGEST not in container.image or container.secrets for container in containers) or bool(
        router is not None and router.secrets
    )


def _count(want: Want, have: Service) -> int:
    """The number of tasks to ask for: the one that there is, as far as it is within the bounds."""
    lowest, highest = have.moved.limits if have.moved is not None else want.bounds
    return min(max(int(have.answer["desiredCount"]), lowest), highest)


def _was_ready(ctx: Context) -> bool:
    """Then tasks beyond those asked for are ECS's way to move some: to another availability zone, or off a host that
    AWS takes away. It starts new ones before it stops others, and all replicas serve."""
    ready = find(ctx.previous.conditions, Type.READY)
    return ready is not None and ready.status == "True" and ready.observed_generation == ctx.generation


def _moved(ctx: Scene, have: Service) -> Moved | None:
    if not isinstance(ctx, Context) or ctx.spec.suspend:
        return None
    lowest, highest = ctx.spec.bounds
    return None if lowest <= have.answer["desiredCount"] <= highest else moved(ctx)


def _anew(paths: tuple[str, ...]) -> tuple[str, ...]:
    """A deployment is begun, even if nothing differs that would begin one."""
    return (*(p for p in paths if p != "taskDefinition"), "taskDefinition", service_input.FORCE)


def _known(ctx: Context) -> rollout.Known:
    sent = ctx.previous.deployment
    if sent is None:
        return rollout.Known()
    return rollout.Known(
        id=sent.id,
        record=sent.service_deployment,
        asked=sent.asked_hash,
        state=sent.state,
        started_at=sent.started_at,
        reason=sent.reason,
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


def _looked_into(scene: Scene, want: Want, have: Service) -> Service:
    """With what DescribeServices does not tell, where it matters: of a rollout that is under way, of one that has ended
    badly and has not been told of yet, or of tasks that were lost since."""
    ecs, seen = scene.aws.ecs, follow(want, have)
    told = seen.held and seen.state.value == want.known.state and want.known.asked == want.asked.hash
    if seen.state is not State.COMPLETED and not told and not _is_plain(scene, want, have, seen):

        def brings(revision: Mapping[str, object]) -> bool:
            return service_input.brings(want.settings, revision)

        def describe(arn: str) -> list[Answer]:
            return scene.aws.services.beside(
                have.cluster,
                have.name,
                ("service deployment", arn),
                lambda: ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"],
                moves=lambda _: _shifts(want),
            )

        record = service_deployments.latest(ecs, have.answer, want.asked.hash, want.known, brings, describe)
        have = replace(have, record=record)
    unexplained = failures.unexplained(scene.previous.last_failure, scene.now)
    ended_now = follow(want, have).held and (unexplained or not told)
    if _has_failing_tasks(have) or ended_now:
        have = replace(have, stopped_tasks=service_tasks.stopped(scene.aws, have.cluster, have.name, awaited=ended_now))
    elif _has_lost_tasks(scene, want, have):
        have = replace(have, stopped_tasks=_lost(scene, have))
    return have


def _lost(scene: Scene, have: Service) -> Sequence[Answer]:
    """None where they may not be looked at: what runs is as it should be all the same."""
    try:
        return service_tasks.lost(scene.aws.ecs, have.cluster, have.name)
    except AwsError as error:
        if error.retry_soon:
            raise
        log.warning("lost tasks can't be looked at", operation=error.operation, code=error.code)
        return ()


def _has_lost_tasks(scene: Scene, want: Want, have: Service) -> bool:
    """Whether tasks have ended at rest, of which the status does not tell yet. Where events of ECS come, these do."""
    if any(task.at is None for task in scene.previous.stopped_tasks):
        return True  # at the last look it was still stopping
    known = want.known
    rested = known.state == State.COMPLETED.value and known.asked == want.asked.hash
    if scene.told or not rested or follow(want, have).state is not State.COMPLETED:
        return False
    told = {event.id for event in scene.previous.events}
    news = [failures.service_event(event) for event in have.answer.get("events", ()) if event["id"] not in told]
    tasks, desired = have.answer["runningCount"] + have.answer["pendingCount"], have.answer["desiredCount"]
    return failures.tells_of_a_loss(news, before=scene.previous.replicas, now=tasks, desired=desired)


def _is_plain(scene: Scene, want: Want, have: Service, seen: Rollout) -> bool:
    """Whether DescribeServices, which ten services share, tells all that there is to tell."""
    if seen.state is State.NOT_SENT:
        return isinstance(scene, Context) and scene.followed
    return seen.state is State.IN_PROGRESS and not _shifts(want) and not _has_failing_tasks(have)


def _shifts(want: Want) -> bool:
    """Whether a rollout goes on in ways that DescribeServices does not show."""
    asked = want.settings.get("deploymentConfiguration", {})
    return bool(asked.get("strategy", "ROLLING") != "ROLLING" or asked.get("alarms", {}).get("enable", False))


def _has_failing_tasks(have: Service) -> bool:
    return any(d.get("failedTasks") or d.get("rolloutState") == "FAILED" for d in have.deployments)
