"""The service scheduler: what each service does with its tasks and deployments.

`tick` handles what is due, then looks once at each service that something happened to; one at rest costs nothing.
It must not know the API's requests (`api` does), how a task lives (`fleet` does), nor when a deployment has failed
(`judge` does).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from functools import partial

from inference_sandbox.ecs import placement, rebalancing, rolling, texts
from inference_sandbox.ecs.agenda import Agenda
from inference_sandbox.ecs.deployments import Deployments
from inference_sandbox.ecs.failures import STRIKES, Failure, Failures
from inference_sandbox.ecs.fleet import Fleet
from inference_sandbox.ecs.health import counts_as_healthy, failed_check, grace_period
from inference_sandbox.ecs.ids import Ids
from inference_sandbox.ecs.judge import Judge
from inference_sandbox.ecs.placement import Placement
from inference_sandbox.ecs.state import Deployment, Service, Target, Task
from inference_sandbox.ecs.surroundings import Settings, Surroundings
from inference_sandbox.ecs.traffic import Shifts
from inference_sandbox.ecs.voice import Voice
from inference_sandbox.ports import Clock, LoadBalancer, Runner

Sorted = tuple[list[Task], list[Task], list[Task]]
"""The wanted tasks of a deployment: healthy, not yet decided, unhealthy."""


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
        self._agenda = Agenda()
        self._dirty: dict[str, Service] = {}
        self.failures = Failures()
        self.placement = Placement(clock=clock, ids=self.ids, surroundings=surroundings)
        self.voice = Voice(clock=clock, ids=self.ids, surroundings=surroundings, settings=self.settings)
        self.deployments = Deployments(clock=clock, ids=self.ids, voice=self.voice, look_at=self.look_at)
        self.judge = Judge(
            clock=clock,
            voice=self.voice,
            deployments=self.deployments,
            surroundings=surroundings,
            settings=self.settings,
            look_later=self.look_later,
        )
        self.shifts = Shifts(
            clock=clock,
            ids=self.ids,
            deployments=self.deployments,
            surroundings=surroundings,
            settings=self.settings,
            look_later=self.look_later,
        )
        self.fleet = Fleet(
            clock=clock,
            agenda=self._agenda,
            ids=self.ids,
            runner=runner,
            load_balancer=load_balancer,
            surroundings=surroundings,
            settings=self.settings,
            changed=self._task_changed,
            note=self.voice.note,
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

    def look_later(self, when: datetime, service: Service) -> None:
        self._agenda.at(when, partial(self.look_at, service))

    def _task_changed(self, task: Task) -> None:
        self.judge.note_task(task)
        if task.service is not None:
            self.look_at(task.service)

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
            self.fleet.strike(task, failure.cause, failure.exit_code)

    def clear_failures(self) -> None:
        """Let tasks live again, and zones take them."""
        self.failures.waiting.clear()
        for task in self.fleet.tasks.values():
            if task.service is not None:
                self.look_at(task.service)

    # -- one service

    def _reconcile(self, service: Service) -> None:
        self.voice.flush(service)
        self.deployments.drop_ended(service)
        if service.status != "ACTIVE":
            self._drain(service)
            return
        self.judge.judge(service)
        if self.shifts.apply(service):
            self._keep_all(service)
        else:
            self._roll(service)
        self.voice.flush(service)
        self._conclude(service)
        if service.steady and service.document["availabilityZoneRebalancing"] == "ENABLED":
            self._rebalance(service)

    def _drain(self, service: Service) -> None:
        """DRAINING until every task is STOPPING or STOPPED, then INACTIVE (API reference, DeleteService)."""
        for task in service.tasks:
            self.fleet.stop(task, "ServiceSchedulerInitiated", texts.SERVICE_DELETED)
        waiting = any(task.last_status not in ("STOPPING", "DEPROVISIONING", "STOPPED") for task in service.tasks)
        if service.status == "DRAINING" and not waiting:
            service.status = "INACTIVE"

    def _roll(self, service: Service) -> None:
        """Replace old tasks by those of the PRIMARY deployment within the percentages."""
        primary, desired = service.primary, service.desired_count
        source = self.deployments.source(service)
        stalled = primary.rollout_state == "FAILED"
        if not stalled:
            primary.desired = desired
        healthy, pending, unhealthy = self._sorted(primary)
        old_healthy, old_other = self._sort_older(service)
        kept: Sorted = self._sorted(source) if source else ([], [], [])
        configuration = service.document["deploymentConfiguration"]
        if service.surplus and len(healthy) >= desired + service.surplus:
            service.surplus = 0  # they are healthy: as many stop elsewhere
        counts = rolling.Counts(
            primary_healthy=len(healthy),
            primary_pending=len(pending),
            primary_unhealthy=len(unhealthy),
            old_healthy=len(old_healthy) + len(kept[0]),
            old_other=len(old_other),
            source=_counted(source.desired, kept) if source else rolling.Source(),
        )
        plan = rolling.plan(
            desired + service.surplus,
            counts,
            lower=rolling.lower_limit(desired, configuration["minimumHealthyPercent"]),
            upper=rolling.upper_limit(desired, configuration["maximumPercent"]),
            may_start=self.judge.may_start(primary),
            may_start_source=source is not None and self.judge.may_start(source),
            stalled=stalled,
        )
        self._stop_unhealthy(service, unhealthy[: plan.stop_primary_unhealthy] + kept[2][: plan.stop_source_unhealthy])
        if plan.stop_primary_extra:
            self._scale_in(service, _stop_order(pending, healthy), plan.stop_primary_extra)
        stopped = self._scale_in(service, old_other, plan.stop_old_other)
        stopped += self._scale_in(service, kept[1], plan.stop_source_pending)
        stopped += self._scale_in(service, _stop_order([], old_healthy + kept[0]), plan.stop_old_healthy)
        if source is not None and not stalled:
            of_source = sum(task.deployment is source for task in stopped)
            source.desired = rolling.left_of_source(desired, counts, of_source)
        if source is not None:
            self._start(service, source, plan.start_source)
        self._start(service, primary, plan.start)
        if plan.blocked:
            self.voice.warn(service, texts.BLOCKED)
        for older in service.deployments[1:]:
            if older is not source:
                older.desired = sum(task.active for task in older.tasks.values())

    def _sort_older(self, service: Service) -> tuple[list[Task], list[Task]]:
        """The wanted tasks of older deployments but the source: healthy, and not yet decided. Unhealthy ones stop."""
        healthy: list[Task] = []
        other: list[Task] = []
        source = self.deployments.source(service)
        for older in service.deployments[1:]:
            if older is source:
                continue
            good, pending, unhealthy = self._sorted(older)
            self._stop_unhealthy(service, unhealthy)
            healthy += good
            other += pending
        return healthy, other

    def _keep_all(self, service: Service) -> None:
        """While traffic shifts, each deployment keeps as many tasks as it is told, whatever the others do."""
        configuration = service.document["deploymentConfiguration"]
        for deployment in list(service.deployments):
            healthy, pending, unhealthy = self._sorted(deployment)
            counts = rolling.Counts(
                primary_healthy=len(healthy),
                primary_pending=len(pending),
                primary_unhealthy=len(unhealthy),
                old_healthy=0,
                old_other=0,
            )
            desired = deployment.desired
            plan = rolling.plan(
                desired,
                counts,
                lower=rolling.lower_limit(desired, configuration["minimumHealthyPercent"]),
                upper=rolling.upper_limit(desired, configuration["maximumPercent"]),
                may_start=self.judge.may_start(deployment),
            )
            self._stop_unhealthy(service, unhealthy[: plan.stop_primary_unhealthy])
            if plan.stop_primary_extra:
                self._scale_in(service, _stop_order(pending, healthy), plan.stop_primary_extra)
            self._start(service, deployment, plan.start)

    # -- starting and stopping

    def _sorted(self, deployment: Deployment) -> Sorted:
        """Those wanted: healthy, not yet decided, unhealthy."""
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

    def _start(self, service: Service, deployment: Deployment, count: int) -> None:
        """Start them one by one: each choice of zone and provider sees the tasks before it."""
        if not count:
            return
        zones = self._open_zones(service, deployment)
        started = []
        for _ in range(count):
            provider = placement.provider(deployment.revision.document, deployment)
            refused = self.failures.take(service.name, "unplaced") if zones else texts.CAPACITY
            if refused is not None:
                self._unplaced(service, deployment, refused, provider)
                break
            task = self.placement.new_task(service.cluster, deployment.revision, zones, provider, deployment)
            self.fleet.launch(task)
            started.append(task)
        service.steady = False
        if started and service.surplus:
            self._tell_by_zone(service, "TASKS_STARTED", texts.started_to_rebalance, started)
        elif started:
            self.voice.say(service, texts.started([task.id for task in started]))

    def _open_zones(self, service: Service, deployment: Deployment) -> placement.Zones:
        """The zones that take its tasks, by subnet."""
        zones = self.placement.zones(service.cluster, deployment.revision.document)
        closed = self.failures.closed_zones(service.name)
        return {subnet: zone for subnet, zone in zones.items() if zone not in closed} if closed else zones

    def _unplaced(self, service: Service, deployment: Deployment, reason: str, provider: str | None) -> None:
        """No task, but a failure to launch one; it is tried again later."""
        self.voice.warn(service, texts.unplaced(reason))
        more = {"capacityProviderArns": [_provider_arn(service, provider)]} if provider else {}
        self.voice.action(service, "ERROR", "SERVICE_TASK_PLACEMENT_FAILURE", reason="RESOURCE:FARGATE", **more)
        self.judge.count_failure(deployment, never_ran=True)
        if self.judge.may_start(deployment):
            self.judge.delay(deployment, self.settings.throttle_first)

    def _stop_unhealthy(self, service: Service, tasks: Sequence[Task]) -> None:
        for task in tasks:
            check = failed_check(task)
            if isinstance(check, Target):
                reason = check.description or "Health checks failed"
                self.voice.say(service, texts.target_unhealthy(task.id, check.port, check.group_arn, reason))
                self.fleet.stop(task, "ServiceSchedulerInitiated", texts.target_health(check.group_arn))
            else:
                self.voice.say(service, texts.container_unhealthy(task.id))
                self.fleet.stop(task, "ServiceSchedulerInitiated", texts.CONTAINER_HEALTH)
        self._tell_stopped(service, tasks)

    def _scale_in(self, service: Service, candidates: Sequence[Task], count: int) -> list[Task]:
        """Stop and return the first `count` that are not protected (guide, "Task scale-in protection")."""
        if not count:
            return []
        now = self.clock.now()
        tasks = [task for task in candidates if not task.protected(now)][:count]
        if len(tasks) < count:
            self.voice.warn(service, texts.scale_in_protected(service.primary.id))
        for task in tasks:
            self.fleet.stop(task, "ServiceSchedulerInitiated", texts.scaling_activity(service.primary.id))
        self._tell_stopped(service, tasks)
        return tasks

    def _tell_stopped(self, service: Service, tasks: Sequence[Task]) -> None:
        """Tasks with targets are said to be stopped when they have drained; until then they are draining."""
        if not tasks:
            return
        service.steady = False
        draining = [task for task in tasks if task.last_status == "DEACTIVATING"]
        if draining:
            self.voice.say(service, texts.draining(len(draining)))
        gone = [task.id for task in tasks if task.last_status != "DEACTIVATING"]
        if service.rebalancing:
            self._tell_by_zone(service, "TASKS_STOPPED", texts.stopped_to_rebalance, tasks)
        elif gone:
            self.voice.say(service, texts.stopped(gone))
        self.look_at(service)

    # -- availability zones

    def _rebalance(self, service: Service) -> None:
        """In steady state: start tasks in the emptiest zones, as many as maximumPercent leaves room for; once they are
        healthy, as many stop in the fullest ones (developer guide, "Balancing an Amazon ECS service across Availability
        Zones")."""
        zones = self._open_zones(service, service.primary)
        counts = rebalancing.by_zone(zones.values(), (task.zone for task in service.primary.tasks.values()))
        if not rebalancing.is_uneven(counts):
            if service.rebalancing:
                service.rebalancing = False
                self.voice.say(service, texts.balanced(counts))
                self.voice.action(service, "INFO", "SERVICE_REBALANCING_COMPLETED")
            return
        desired = service.desired_count
        upper = rolling.upper_limit(desired, service.document["deploymentConfiguration"]["maximumPercent"])
        needed = min(rebalancing.moves(counts), upper - desired)
        if needed < 1 or not set(zones.values()) & _emptiest(counts) or not self.judge.may_start(service.primary):
            return
        if not service.rebalancing:
            service.rebalancing = True
            self.voice.say(service, texts.unbalanced(counts))
            self.voice.action(service, "INFO", "SERVICE_REBALANCING_STARTED")
        service.surplus = needed
        self._start(service, service.primary, needed)

    def _tell_by_zone(
        self, service: Service, name: str, said: Callable[[str, list[str]], str], tasks: Sequence[Task]
    ) -> None:
        for zone in sorted({task.zone for task in tasks}):
            self.voice.say(service, said(zone, [task.id for task in tasks if task.zone == zone]))
        self.voice.action(service, "INFO", name, taskArns=[task.arn for task in tasks])

    # -- the end of a deployment

    def _conclude(self, service: Service) -> None:
        primary = service.primary
        if primary.rollout_state == "IN_PROGRESS" and self._done(service) and self.judge.baked(primary):
            self.deployments.complete(primary)
        if primary.rollout_state != "COMPLETED" or not self._settled(service):
            service.steady = False
        elif not service.steady:
            service.steady = True
            service.said.clear()
            self._say_steady(service, self.clock.now())

    def _settled(self, service: Service) -> bool:
        """Nothing old is left and every task wanted is there, healthy."""
        primary, desired = service.primary, service.desired_count
        healthy = sum(counts_as_healthy(task) for task in primary.tasks.values())
        return len(service.deployments) == 1 and healthy == len(primary.tasks) == desired

    def _done(self, service: Service) -> bool:
        """Whether the deployment may complete: settled, or as early as it was told (DeploymentEarlySuccessCriteria)."""
        early = service.document["deploymentConfiguration"].get("earlySuccessCriteria") or {}
        if self.shifts.under_way(service):
            return self.shifts.at_the_end(service) and self._settled(service)
        if not early.get("enable"):
            return self._settled(service)
        needed = rolling.lower_limit(service.desired_count, early["healthyPercent"])
        healthy = sum(counts_as_healthy(task) for task in service.primary.tasks.values())
        old_gone = len(service.deployments) == 1
        return healthy >= needed and (old_gone or early.get("sourceServiceRevisionCleanup") == "DEFERRED")

    def _say_steady(self, service: Service, since: datetime) -> None:
        """Said on reaching it, and again about every six hours while it lasts."""
        if not service.steady or service.status != "ACTIVE":
            return
        latest = service.events[0] if service.events else None
        if latest is not None and latest.message.endswith(texts.STEADY) and latest.at > since:
            return  # it was lost and reached again meanwhile: that one repeats by itself
        self.voice.say(service, texts.STEADY)
        self.voice.action(service, "INFO", "SERVICE_STEADY_STATE")
        now = self.clock.now()
        self._agenda.at(now + timedelta(hours=6), partial(self._say_steady, service, now))


def _counted(desired: int, kept: Sorted) -> rolling.Source:
    healthy, pending, unhealthy = kept
    return rolling.Source(desired=desired, healthy=len(healthy), pending=len(pending), unhealthy=len(unhealthy))


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


def _emptiest(counts: Mapping[str, int]) -> set[str]:
    return {zone for zone, count in counts.items() if count == min(counts.values())}


def _provider_arn(service: Service, provider: str) -> str:
    return f"arn:aws:ecs:{service.cluster.region}:{service.cluster.account}:capacity-provider/{provider}"
