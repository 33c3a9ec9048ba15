"""The service scheduler: what each service does with its tasks, its deployments and its circuit breaker.

`tick` handles what is due, then looks once at each service that something happened to; one at rest costs nothing.
It must not know the API's requests (`api` does) nor how a task lives (`fleet` does).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial
from typing import Any

from inference_sandbox.ecs import breaker, placement, rolling, texts, views
from inference_sandbox.ecs.agenda import Agenda
from inference_sandbox.ecs.failures import STRIKES, Failure, Failures
from inference_sandbox.ecs.fleet import Fleet, Note
from inference_sandbox.ecs.health import counts_as_healthy, failed_check, grace_period, has_check
from inference_sandbox.ecs.ids import Ids
from inference_sandbox.ecs.placement import Placement
from inference_sandbox.ecs.state import (
    Deployment,
    Revision,
    Service,
    ServiceDeployment,
    ServiceEvent,
    Target,
    Task,
)
from inference_sandbox.ecs.surroundings import EcsEvent, Settings, Surroundings
from inference_sandbox.ports import Clock, LoadBalancer, Runner


class Scheduler:
    def __init__(
        self,
        *,
        clock: Clock,
        runner: Runner,
        load_balancer: LoadBalancer,
        surroundings: Surroundings,
        settings: Settings | None = None,
        seed: int = 0,
    ) -> None:
        self.clock = clock
        self.ids = Ids(seed)
        self.settings = settings or Settings()
        self._surroundings = surroundings
        self._agenda = Agenda()
        self._dirty: dict[str, Service] = {}
        self._notes: dict[str, dict[Note, list[str]]] = defaultdict(lambda: defaultdict(list))
        self.failures = Failures()
        self.placement = Placement(clock=clock, ids=self.ids, surroundings=surroundings)
        self.fleet = Fleet(
            clock=clock,
            agenda=self._agenda,
            ids=self.ids,
            runner=runner,
            load_balancer=load_balancer,
            surroundings=surroundings,
            settings=self.settings,
            changed=self._task_changed,
            note=self._note,
            failures=self.failures,
        )

    # -- time

    def tick(self) -> None:
        """Bring everything up to the clock's now."""
        while True:
            self.fleet.absorb()
            self._agenda.run(self.clock.now())
            if not self._dirty:
                return
            services, self._dirty = list(self._dirty.values()), {}
            for service in services:
                self._reconcile(service)

    def next_due(self) -> datetime | None:
        """When a tick will next have something to do by itself; None if only the runner or a call can bring work."""
        return self.clock.now() if self._dirty else self._agenda.next_due()

    def look_at(self, service: Service) -> None:
        """Something about the service changed: reconcile it in this tick, or the next."""
        self._dirty[service.arn] = service

    def look_at_after(self, when: datetime, service: Service) -> None:
        self._later(when, partial(self.look_at, service))

    def _later(self, when: datetime, action: Callable[[], None]) -> None:
        self._agenda.at(when, action)

    # -- failures on request

    def inject(self, failure: Failure, services: Iterable[Service]) -> None:
        """Strike running tasks of the services now, or let the failure wait for tasks to come."""
        if failure.cause not in STRIKES:
            self.failures.waiting.append(failure)
            return
        running = [
            task
            for service in services
            for task in service.tasks
            if task.last_status == "RUNNING" and task.active and fnmatchcase(service.name, failure.service)
        ]
        for task in running[: failure.times]:
            self.fleet.strike(task, failure.cause)

    # -- deployments

    def deploy(self, service: Service, revision: Revision) -> Deployment:
        """Start a new deployment of `revision`; it becomes PRIMARY, and what was PRIMARY is replaced."""
        now = self.clock.now()
        identifier = f"ecs-svc/{self.ids.digits(19)}"
        deployment = Deployment(
            id=identifier,
            service=service,
            revision=revision,
            record=self._new_record(service, revision),
            created_at=now,
            updated_at=now,
            desired=service.desired_count,
        )
        service.revisions[revision.arn] = revision
        for older in service.deployments:
            if older.status == "PRIMARY":
                self._supersede(older)
        service.deployments.insert(0, deployment)
        service.said.clear()
        service.steady = False
        self._roll(deployment, "IN_PROGRESS", texts.in_progress(identifier))
        self.look_at(service)
        return deployment

    def _new_record(self, service: Service, revision: Revision) -> ServiceDeployment:
        now = self.clock.now()
        configuration = service.document["deploymentConfiguration"]
        record = ServiceDeployment(
            arn=service.arn.replace(":service/", ":service-deployment/") + f"/{self.ids.token(21)}",
            target=revision,
            sources=[(each.revision, views.running(each.tasks.values())) for each in service.deployments],
            created_at=now,
            started_at=now,
            updated_at=now,
            status="IN_PROGRESS",
            configuration=configuration,
            breaker_status="MONITORING" if breaker.is_on(configuration) else "DISABLED",
        )
        service.records.insert(0, record)
        return record

    def _supersede(self, deployment: Deployment) -> None:
        deployment.status = "ACTIVE"
        deployment.updated_at = self.clock.now()
        if deployment.record.finished_at is None:
            self._close(deployment.record, "STOPPED", "A newer service deployment was started.")

    def _close(self, record: ServiceDeployment, status: Any, reason: str | None = None) -> None:
        now = self.clock.now()
        record.status, record.status_reason = status, reason
        record.finished_at = record.updated_at = now
        if status == "STOPPED":
            record.stopped_at = now
        if record.breaker_status == "MONITORING":
            record.breaker_status = "MONITORING_COMPLETE"

    def _roll(self, deployment: Deployment, state: Any, reason: str, *, cause: str = "INFO") -> None:
        """Set the rollout state and tell EventBridge (an ECS Deployment State Change)."""
        now = self.clock.now()
        deployment.rollout_state, deployment.rollout_reason, deployment.updated_at = state, reason, now
        self._publish(
            deployment.service,
            "ECS Deployment State Change",
            {
                "eventType": cause,
                "eventName": f"SERVICE_DEPLOYMENT_{state}",
                "deploymentId": deployment.id,
                "updatedAt": now,
                "reason": reason,
            },
        )

    def roll_back(self, service: Service, record: ServiceDeployment, reason: str) -> bool:
        """Go back to the last COMPLETED deployment: it returns under its old id as PRIMARY. False if there is none."""
        good, failed = service.last_completed, service.primary
        if good is None or good is failed:
            return False
        now = self.clock.now()
        self.say(service, texts.rolling_back(good.id))
        failed.status = "ACTIVE"
        if good in service.deployments:
            service.deployments.remove(good)
        service.deployments.insert(0, good)
        good.status, good.failed_tasks, good.breaker_failures, good.start_failures = "PRIMARY", 0, 0, 0
        good.start_not_before = None
        good.record = record
        service.last_completed = None  # "not eligible for another rollback until it reaches a COMPLETED state"
        service.document |= good.revision.document | {"taskDefinition": good.revision.task_definition.arn}
        record.status, record.updated_at = "ROLLBACK_IN_PROGRESS", now
        record.rollback = {"reason": reason, "startedAt": now, "serviceRevisionArn": good.revision.arn}
        service.steady = False
        self._roll(good, "IN_PROGRESS", texts.rollback_in_progress(good.id))
        self.look_at(service)
        return True

    def fail(self, deployment: Deployment, reason: str, cause: str) -> None:
        """The deployment has failed: it launches nothing more; roll back if that is asked for and possible."""
        service, record = deployment.service, deployment.record
        self._roll(deployment, "FAILED", reason, cause="ERROR")
        self.say(service, texts.failed(deployment.id, cause))
        if record.breaker_status == "MONITORING":
            record.breaker_status = "TRIGGERED"
        configuration = service.document["deploymentConfiguration"]
        if not (breaker.rolls_back(configuration) and self.roll_back(service, record, reason)):
            # "STOPPED" also means: failed, with no way back (ServiceDeployment.status has no FAILED).
            self._close(record, "ROLLBACK_FAILED" if record.rollback else "STOPPED", reason)

    # -- one service

    def _reconcile(self, service: Service) -> None:
        self._flush(service)
        self._drop_ended(service)
        if service.status != "ACTIVE":
            self._drain(service)
            return
        primary = service.primary
        primary.desired = service.desired_count if primary.rollout_state != "FAILED" else primary.desired
        self._judge(primary)
        self._place(service)
        for older in service.deployments[1:]:
            older.desired = sum(task.active for task in older.tasks.values())
        self._flush(service)
        self._conclude(service)

    def _drop_ended(self, service: Service) -> None:
        """A deployment that is not PRIMARY and has no task left is INACTIVE: gone from the list."""
        for deployment in service.deployments[1:]:
            if not deployment.tasks:
                deployment.status = "INACTIVE"
                service.deployments.remove(deployment)

    def _drain(self, service: Service) -> None:
        """DRAINING until every task is STOPPING or STOPPED, then INACTIVE (API reference, DeleteService)."""
        for task in service.tasks:
            self.fleet.stop(task, "ServiceSchedulerInitiated", texts.SERVICE_DELETED)
        waiting = any(task.last_status not in ("STOPPING", "DEPROVISIONING", "STOPPED") for task in service.tasks)
        if service.status == "DRAINING" and not waiting:
            service.status = "INACTIVE"

    # -- failures and the circuit breaker

    def _task_changed(self, task: Task) -> None:
        """Count each task once: a success when it first is healthy, a failure when it stops as `_is_failure` says."""
        deployment = task.deployment
        if deployment is None:
            return
        self.look_at(deployment.service)
        if not task.was_healthy and counts_as_healthy(task):
            task.was_healthy = True
            self._succeeded(deployment)
        if not task.active and not task.counted:
            task.counted = True
            if _is_failure(task):
                self._count_failure(deployment, never_ran=task.started_at is None)
        if task.last_status == "RUNNING" and deployment.start_failures:
            deployment.start_failures, deployment.start_not_before = 0, None

    def _succeeded(self, deployment: Deployment) -> None:
        deployment.failed_tasks = 0
        if breaker.resets(deployment.service.document["deploymentConfiguration"]):
            deployment.breaker_failures = 0

    def _count_failure(self, deployment: Deployment, *, never_ran: bool) -> None:
        deployment.failed_tasks += 1
        some_run = any(each.last_status == "RUNNING" for each in deployment.tasks.values())
        # Stage 1 counts tasks that do not reach RUNNING while none of the deployment is; stage 2, with at least one
        # RUNNING, counts tasks replaced for their health checks.
        if not never_ran or not some_run:
            deployment.breaker_failures += 1
        if never_ran:
            self._throttle(deployment)

    def _throttle(self, deployment: Deployment) -> None:
        """Delay the next start, longer each time (developer guide, "Service throttle logic")."""
        deployment.start_failures += 1
        monitored = deployment.rollout_state == "IN_PROGRESS" and breaker.is_on(
            deployment.service.document["deploymentConfiguration"]
        )
        beyond = deployment.start_failures - self.settings.throttle_after
        if beyond < 0 or monitored:
            return
        delay = min(self.settings.throttle_maximum, self.settings.throttle_first * 2 ** min(beyond, 20))
        deployment.start_not_before = self.clock.now() + delay
        self._later(deployment.start_not_before, partial(self.look_at, deployment.service))
        if self.warn(deployment.service, texts.IMPAIRED):
            self._action(deployment.service, "WARN", "SERVICE_TASK_START_IMPAIRED")

    def _judge(self, primary: Deployment) -> None:
        """Compare the count with the threshold, which follows the latest desired count."""
        service = primary.service
        configuration = service.document["deploymentConfiguration"]
        if primary.rollout_state != "IN_PROGRESS" or not breaker.is_on(configuration):
            return
        limit = breaker.threshold(configuration, service.desired_count)
        record = primary.record
        if record.breaker_status == "MONITORING":  # a rollback keeps the figures that triggered it
            record.breaker_failures, record.breaker_threshold = primary.breaker_failures, limit
        if primary.breaker_failures >= limit:
            self.fail(primary, texts.BREAKER_FAILED, "tasks failed to start.")

    # -- placement

    def _place(self, service: Service) -> None:
        primary = service.primary
        healthy, pending, unhealthy = self._sorted(primary)
        for older in service.deployments[1:]:
            self._stop_unhealthy(service, self._sorted(older)[2])
        old = [task for each in service.deployments[1:] for task in each.tasks.values() if task.active]
        old_healthy = [task for task in old if counts_as_healthy(task)]
        configuration = service.document["deploymentConfiguration"]
        desired = service.desired_count
        plan = rolling.plan(
            desired,
            rolling.Counts(
                primary_healthy=len(healthy),
                primary_pending=len(pending),
                primary_unhealthy=len(unhealthy),
                old_healthy=len(old_healthy),
                old_other=len(old) - len(old_healthy),
            ),
            lower=rolling.lower_limit(desired, configuration["minimumHealthyPercent"]),
            upper=rolling.upper_limit(desired, configuration["maximumPercent"]),
            may_start=primary.rollout_state != "FAILED" and self._may_start(primary),
        )
        self._stop_unhealthy(service, unhealthy[: plan.stop_primary_unhealthy])
        others = [task for task in old if not counts_as_healthy(task)]
        self._scale_in(service, _stop_order(pending, healthy), plan.stop_primary_extra)
        self._scale_in(service, others, plan.stop_old_other)
        self._scale_in(service, _stop_order([], old_healthy), plan.stop_old_healthy)
        self._start(service, primary, plan.start)
        if plan.blocked:
            self.warn(service, texts.BLOCKED)

    def _sorted(self, deployment: Deployment) -> tuple[list[Task], list[Task], list[Task]]:
        healthy, pending, unhealthy = [], [], []
        now = self.clock.now()
        for task in deployment.tasks.values():
            if not task.active:
                continue
            if counts_as_healthy(task):
                healthy.append(task)
            elif failed_check(task) and task.started_at and now >= task.started_at + grace_period(task):
                unhealthy.append(task)
            else:
                pending.append(task)
        return healthy, pending, unhealthy

    def _may_start(self, deployment: Deployment) -> bool:
        return deployment.start_not_before is None or self.clock.now() >= deployment.start_not_before

    def _start(self, service: Service, deployment: Deployment, count: int) -> None:
        """Start them one by one: each choice of zone and provider sees the tasks before it."""
        if not count:
            return
        document = deployment.revision.document
        zones = self.placement.zones(service.cluster, document)
        started = []
        for _ in range(count):
            provider = placement.provider(document, deployment)
            refused = self.failures.take(service.name, "unplaced")
            if refused is not None:
                self._unplaced(service, deployment, refused, provider)
                break
            task = self.placement.new_task(service.cluster, deployment.revision, zones, provider, deployment)
            self.fleet.launch(task)
            started.append(task.id)
        service.steady = False
        if started:
            self.say(service, texts.started(started))

    def _unplaced(self, service: Service, deployment: Deployment, reason: str, provider: str | None) -> None:
        """No task, but a failure to launch one; it is tried again later."""
        self.warn(service, texts.unplaced(reason))
        self._action(
            service,
            "ERROR",
            "SERVICE_TASK_PLACEMENT_FAILURE",
            reason="RESOURCE:FARGATE",
            **({"capacityProviderArns": [_provider_arn(service, provider)]} if provider else {}),
        )
        self._count_failure(deployment, never_ran=True)
        if self._may_start(deployment):
            deployment.start_not_before = self.clock.now() + self.settings.throttle_first
            self._later(deployment.start_not_before, partial(self.look_at, service))

    def _stop_unhealthy(self, service: Service, tasks: Sequence[Task]) -> None:
        for task in tasks:
            check = failed_check(task)
            if isinstance(check, Target):
                reason = f"{check.description or 'Health checks failed'}"
                self.say(service, texts.target_unhealthy(task.id, check.port, check.group_arn, reason))
                self.fleet.stop(task, "ServiceSchedulerInitiated", texts.target_health(check.group_arn))
            else:
                self.say(service, texts.container_unhealthy(task.id))
                self.fleet.stop(task, "ServiceSchedulerInitiated", texts.CONTAINER_HEALTH)
        self._tell_stopped(service, tasks)

    def _scale_in(self, service: Service, candidates: Sequence[Task], count: int) -> None:
        """Stop the first `count` of them that are not protected from scaling in (guide, "Task scale-in protection")."""
        now = self.clock.now()
        tasks = [task for task in candidates if not task.protected(now)][:count]
        if len(tasks) < count:
            self.warn(service, texts.scale_in_protected(service.primary.id))
        for task in tasks:
            self.fleet.stop(task, "ServiceSchedulerInitiated", texts.scaling_activity(service.primary.id))
        self._tell_stopped(service, tasks)

    def _tell_stopped(self, service: Service, tasks: Sequence[Task]) -> None:
        """Tasks with targets are said to be stopped when they have drained; until then they are draining."""
        if not tasks:
            return
        service.steady = False
        draining = [task for task in tasks if task.last_status == "DEACTIVATING"]
        if draining:
            self.say(service, texts.draining(len(draining)))
        gone = [task.id for task in tasks if task.last_status != "DEACTIVATING"]
        if gone:
            self.say(service, texts.stopped(gone))
        self.look_at(service)

    # -- the end of a deployment

    def _conclude(self, service: Service) -> None:
        primary = service.primary
        healthy = sum(counts_as_healthy(task) for task in primary.tasks.values())
        settled = (
            len(service.deployments) == 1
            and healthy == service.desired_count
            and len(primary.tasks) == service.desired_count
            and primary.rollout_state != "FAILED"
        )
        if not settled:
            service.steady = False
            return
        if primary.rollout_state == "IN_PROGRESS":
            self._complete(primary)
        if not service.steady:
            service.steady = True
            service.said.clear()
            self._say_steady(service, self.clock.now())

    def _complete(self, deployment: Deployment) -> None:
        service, record = deployment.service, deployment.record
        self._roll(deployment, "COMPLETED", texts.rollout_completed(deployment.id))
        self.say(service, texts.completed(deployment.id))
        if record.finished_at is None:
            self._close(record, "ROLLBACK_SUCCESSFUL" if record.rollback else "SUCCESSFUL")
        service.last_completed = deployment

    def _say_steady(self, service: Service, since: datetime) -> None:
        """Said on reaching it, and again about every six hours while it lasts."""
        if not service.steady or service.status != "ACTIVE":
            return
        latest = service.events[0] if service.events else None
        if latest is not None and latest.message.endswith(texts.STEADY) and latest.at > since:
            return  # it was lost and reached again meanwhile: that one repeats by itself
        self.say(service, texts.STEADY)
        self._action(service, "INFO", "SERVICE_STEADY_STATE")
        now = self.clock.now()
        self._later(now + timedelta(hours=6), partial(self._say_steady, service, now))

    # -- words

    def say(self, service: Service, message: str) -> None:
        event = ServiceEvent(id=self.ids.uuid(), at=self.clock.now(), message=f"(service {service.name}) {message}")
        service.events.appendleft(event)

    def _note(self, service: Service, note: Note, subject: str) -> None:
        """Something that happens to several tasks at once is said in one line."""
        self._notes[service.arn][note].append(subject)

    def _flush(self, service: Service) -> None:
        for note, subjects in self._notes.pop(service.arn, {}).items():
            if note.kind == "stopped":
                self.say(service, texts.stopped(subjects))
            else:
                said = texts.registered if note.kind == "registered" else texts.deregistered
                self.say(service, said(len(subjects), note.group))

    def warn(self, service: Service, message: str) -> bool:
        """Say it unless it was said within six hours and its cause still holds; whether it was said."""
        now = self.clock.now()
        last = service.said.get(message)
        if last is not None and now < last + self.settings.said_again:
            return False
        service.said[message] = now
        self.say(service, message)
        return True

    def _action(self, service: Service, kind: str, name: str, **more: Any) -> None:
        self._publish(
            service,
            "ECS Service Action",
            {
                "eventType": kind,
                "eventName": name,
                "clusterArn": service.cluster.arn,
                "createdAt": self.clock.now(),
                **more,
            },
        )

    def desired_count_updated(self, service: Service) -> None:
        self._action(service, "INFO", "SERVICE_DESIRED_COUNT_UPDATED", desiredCount=service.desired_count)
        self.look_at(service)

    def _publish(self, service: Service, detail_type: str, detail: dict[str, Any]) -> None:
        self._surroundings.publish(
            EcsEvent(
                account=service.cluster.account,
                region=service.cluster.region,
                detail_type=detail_type,
                resources=[service.arn],
                detail=detail,
                at=self.clock.now(),
            )
        )


def _is_failure(task: Task) -> bool:
    """As `Deployment.failedTasks` defines it: it could not be launched, did not reach RUNNING, or failed its checks.

    A task that reached RUNNING, has no check and exits later is not counted. One that has a check and exits before it
    has passed has failed it.
    """
    if task.stop_code in ("UserInitiated", "SpotInterruption", "TerminationNotice", "InfrastructureHealth"):
        return False
    if task.started_at is None:
        return task.stop_code in ("TaskFailedToStart", "EssentialContainerExited")
    if task.stop_code == "EssentialContainerExited":
        return has_check(task) and not task.was_healthy
    return bool(task.stopped_reason) and str(task.stopped_reason).startswith("Task failed ")


def _stop_order(pending: list[Task], healthy: list[Task]) -> list[Task]:
    """Who goes first when there are too many: those not yet healthy, then from the fullest zone, the oldest first."""
    zones = Counter(task.zone for task in healthy)
    order = list(pending)
    left = sorted(healthy, key=lambda task: task.created_at)
    while left:
        fullest = max(left, key=lambda task: zones[task.zone])
        zones[fullest.zone] -= 1
        left.remove(fullest)
        order.append(fullest)
    return order


def _provider_arn(service: Service, provider: str) -> str:
    return f"arn:aws:ecs:{service.cluster.region}:{service.cluster.account}:capacity-provider/{provider}"
