"""The life of a task (developer guide, "Amazon ECS task lifecycle"):
PROVISIONING → PENDING → ACTIVATING → RUNNING → DEACTIVATING → STOPPING → DEPROVISIONING → STOPPED.

A fleet starts and stops tasks through the runner, registers and drains their targets, and says which service to look at
again. It must not know why a service wants more or fewer tasks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from inference_sandbox.ecs import texts, views
from inference_sandbox.ecs.agenda import Agenda
from inference_sandbox.ecs.failures import Failures
from inference_sandbox.ecs.health import grace_period, has_container_check, task_health
from inference_sandbox.ecs.ids import Ids
from inference_sandbox.ecs.state import Cluster, Container, Service, Target, Task, TaskDefinition
from inference_sandbox.ecs.surroundings import NotLaunched, Settings, Surroundings
from inference_sandbox.ecs.voice import Note
from inference_sandbox.ports import (
    Clock,
    ContainerExited,
    ContainerHealth,
    LoadBalancer,
    Report,
    Runner,
    StopCode,
    TaskFailedToStart,
    TaskRunning,
)


class Fleet:
    """`changed` is told of every change of a task; `note` of what a service's events should tell."""

    def __init__(
        self,
        *,
        clock: Clock,
        agenda: Agenda,
        ids: Ids,
        runner: Runner,
        load_balancer: LoadBalancer,
        surroundings: Surroundings,
        settings: Settings,
        changed: Callable[[Task], None],
        note: Callable[[Service, Note, str], None],
        failures: Failures,
    ) -> None:
        self._clock = clock
        self._agenda = agenda
        self._ids = ids
        self._runner = runner
        self._load_balancer = load_balancer
        self._surroundings = surroundings
        self._settings = settings
        self._changed = changed
        self._note = note
        self._failures = failures
        self.tasks: dict[str, Task] = {}
        """By ARN."""
        self._targets: dict[str, dict[tuple[str, int], Task]] = defaultdict(dict)
        """By target group: who is registered or draining."""
        self._polled: set[str] = set()

    # -- starting

    def launch(self, task: Task) -> None:
        self.tasks[task.arn] = task
        task.cluster.tasks[task.id] = task
        if task.deployment is not None:
            task.deployment.tasks[task.arn] = task
        self._publish(task)  # whoever launches it knows: no service needs another look
        self._after(self._settings.latencies.provisioning, partial(self._pend, task))

    def _pend(self, task: Task) -> None:
        if task.last_status != "PROVISIONING" or not task.active:
            return
        self._move(task, "PENDING")
        task.pull_started_at = self._clock.now()
        self._after(self._settings.latencies.pulling, partial(self._hand_over, task))

    def _hand_over(self, task: Task) -> None:
        if task.last_status != "PENDING" or not task.active:
            return
        rehearsed = self._failures.take(task.service.name, "unstarted") if task.service else None
        if rehearsed is not None:
            container = task.containers[0]
            reason = rehearsed.format(image=container.definition["image"])
            self._failed_to_start(task, reason, container.name, reason)
            return
        prepared = self._surroundings.prepare(task)
        if isinstance(prepared, NotLaunched):
            self._failed_to_start(task, prepared.reason, prepared.container, prepared.container_reason)
            return
        task.handed_over = True
        self._runner.start(prepared)

    def _running(self, report: TaskRunning, task: Task) -> None:
        if task.last_status != "PENDING":
            return  # it was stopped meanwhile
        task.address = report.address
        task.pull_stopped_at = self._clock.now()
        for container in task.containers:
            container.last_status = "RUNNING"
            container.runtime_id = f"{task.id}-{self._ids.digits(10)}"
        self._move(task, "ACTIVATING")
        self._after(self._settings.latencies.activating, partial(self._enter_service, task))

    def _enter_service(self, task: Task) -> None:
        if task.last_status != "ACTIVATING" or not task.active:
            return
        task.started_at = self._clock.now()
        self._move(task, "RUNNING")
        for target in task.targets:
            self._register(task, target)
        self._discover(task)
        if not has_container_check(task.task_definition) and not task.targets:
            self._after(self._settings.healthy_after, partial(self._settle, task))
        grace = grace_period(task)
        if grace:
            self._after(grace, partial(self._notify, task))

    def _settle(self, task: Task) -> None:
        if task.last_status == "RUNNING" and task.active:
            task.settled = True
            self._notify(task)

    # -- stopping

    def stop(self, task: Task, code: StopCode, reason: str) -> None:
        """Begin to stop it; the first reason given is the one that stays."""
        if not task.active:
            return
        task.desired_status = "STOPPED"
        task.stop_code = code
        task.stopped_reason = reason
        task.stopping_at = self._clock.now()
        if task.last_status == "RUNNING":
            self._deactivate(task, drain=code != "EssentialContainerExited")
        elif task.handed_over:
            self._stop_containers(task)
        else:
            self._deprovision(task)

    def _deactivate(self, task: Task, *, drain: bool) -> None:
        """Deregister the targets and wait for them to drain; a task that is dead already does not wait."""
        self._move(task, "DEACTIVATING")
        self._undiscover(task)
        groups = [target for target in task.targets if target.registered]
        for target in groups:
            self._deregister(task, target)
        if not (drain and groups):
            self._stop_containers(task)

    def _stop_containers(self, task: Task) -> None:
        self._move(task, "STOPPING")
        self._runner.stop(task.arn)
        self._deprovision_if_ended(task)

    def _deprovision_if_ended(self, task: Task) -> None:
        if task.last_status == "STOPPING" and all(c.last_status == "STOPPED" for c in task.containers):
            self._deprovision(task)

    def _deprovision(self, task: Task) -> None:
        task.execution_stopped_at = self._clock.now()
        for container in task.containers:
            container.last_status = "STOPPED"
        self._move(task, "DEPROVISIONING")
        self._after(self._settings.latencies.deprovisioning, partial(self._ended, task))

    def _ended(self, task: Task) -> None:
        task.stopped_at = self._clock.now()
        self._move(task, "STOPPED")
        if task.deployment is not None:
            task.deployment.tasks.pop(task.arn, None)
        self._after(self._settings.stopped_kept, partial(self._forget, task))

    def _forget(self, task: Task) -> None:
        self.tasks.pop(task.arn, None)
        task.cluster.tasks.pop(task.id, None)

    def _failed_to_start(self, task: Task, reason: str, container: str | None, container_reason: str | None) -> None:
        if task.active:
            task.desired_status = "STOPPED"
            task.stop_code = "TaskFailedToStart"
            task.stopped_reason = reason
            task.stopping_at = self._clock.now()
        for each in task.containers:
            if each.name == container:
                each.reason = container_reason or reason
        self._deprovision(task)

    # -- what befalls a running task on request

    def strike(self, task: Task, cause: str, exit_code: int | None = None) -> None:
        container = next(each for each in task.containers if each.essential)
        now = self._clock.now()
        match cause:
            case "oom":
                self._exited(_exit(task, container, 137, texts.OUT_OF_MEMORY, now), task)
            case "crash":
                self._exited(_exit(task, container, 1 if exit_code is None else exit_code, None, now), task)
            case "container-health":
                self._health(ContainerHealth(arn=task.arn, container=container.name, status="UNHEALTHY", at=now), task)
            case "target-health":
                self._fail_targets(task)
            case "spot":
                self._warn_of_interruption(task)
            case _:
                self.stop(task, "InfrastructureHealth", texts.MAINTENANCE)

    def _fail_targets(self, task: Task) -> None:
        for target in task.targets:
            if target.registered and target.state != "draining" and task.address is not None:
                self._load_balancer.fail(target.group_arn, task.address, target.port)
                self._watch(target.group_arn)

    def _warn_of_interruption(self, task: Task) -> None:
        """Two minutes ahead the task is RUNNING and wanted STOPPED (guide, "Amazon ECS clusters for Fargate")."""
        if not task.active:
            return
        task.desired_status, task.stop_code, task.stopped_reason = "STOPPED", "TerminationNotice", texts.SPOT
        task.version += 1
        self._tell(task)
        for target in task.targets:
            if target.registered:
                self._deregister(task, target)
        self._undiscover(task)
        self._after(self._settings.latencies.spot_warning, partial(self._interrupt, task))

    def _interrupt(self, task: Task) -> None:
        if task.last_status == "RUNNING":
            task.stop_code, task.stopping_at = "SpotInterruption", self._clock.now()
            self._stop_containers(task)

    # -- what the runner reports

    def absorb(self) -> None:
        for report in self._runner.poll():
            task = self.tasks.get(report.arn)
            if task is not None and task.last_status not in ("DEPROVISIONING", "STOPPED"):
                self._absorb(report, task)

    def _absorb(self, report: Report, task: Task) -> None:
        match report:
            case TaskRunning():
                self._running(report, task)
            case TaskFailedToStart():
                self._failed_to_start(task, report.reason, report.container, report.container_reason)
            case ContainerExited():
                self._exited(report, task)
            case ContainerHealth():
                self._health(report, task)

    def _exited(self, report: ContainerExited, task: Task) -> None:
        container = _container(task, report.container)
        container.last_status = "STOPPED"
        container.exit_code = report.exit_code
        container.reason = report.reason
        if container.essential and task.active:
            self.stop(task, "EssentialContainerExited", texts.ESSENTIAL_EXITED)
        else:
            self._tell(task)
        self._deprovision_if_ended(task)

    def _health(self, report: ContainerHealth, task: Task) -> None:
        container = _container(task, report.container)
        if container.health == report.status:
            return
        container.health = report.status
        task.version += 1
        for registry in task.registries:
            healthy = task_health(task) == "HEALTHY"
            self._surroundings.set_health(registry["registryArn"], task.id, healthy=healthy)
        self._notify(task)

    # -- targets

    def _register(self, task: Task, target: Target) -> None:
        assert task.address is not None  # noqa: S101 - a RUNNING task has its address: TaskRunning carries it
        self._load_balancer.register(target.group_arn, task.address, target.port)
        target.registered = True
        self._targets[target.group_arn][task.address, target.port] = task
        if task.service is not None:
            self._note(task.service, Note("registered", target.group_arn), task.id)
        self._watch(target.group_arn)

    def _deregister(self, task: Task, target: Target) -> None:
        assert task.address is not None  # noqa: S101 - as in _register
        self._load_balancer.deregister(target.group_arn, task.address, target.port)
        target.state = "draining"
        if task.service is not None:
            self._note(task.service, Note("deregistered", target.group_arn), task.id)
        self._watch(target.group_arn)

    def _watch(self, group: str, *, delay: timedelta = timedelta()) -> None:
        if group not in self._polled:
            self._polled.add(group)
            self._after(delay, partial(self._poll_targets, group))

    def _poll_targets(self, group: str) -> None:
        """Ask for the group's health; soon again while anything is unsettled, else at the health check's own pace."""
        self._polled.discard(group)
        known, facts = self._targets[group], self._surroundings.target_group(group)
        states = {(state.address, state.port): state for state in self._load_balancer.targets(group)}
        unsettled = False
        for key, task in list(known.items()):
            target = next(t for t in task.targets if (t.group_arn, t.port) == (group, key[1]))
            state = states.get(key)
            if target.state == "draining" and (state is None or state.state == "unused"):
                target.registered = False
                del known[key]
                self._drained(task)
                continue
            if state is None:
                if facts is not None:  # somebody else has deregistered it, and it has drained
                    self._register(task, target)
            elif state.state != "draining" and target.state not in {"draining", state.state}:
                target.state, target.reason, target.description = state.state, state.reason, state.description
                self._notify(task)
            unsettled |= target.state != "healthy"
        if known:
            slow = facts.health_check_interval if facts else self._settings.target_poll
            self._watch(group, delay=self._settings.target_poll if unsettled else slow)

    def _drained(self, task: Task) -> None:
        if task.last_status == "DEACTIVATING" and not any(target.registered for target in task.targets):
            if task.service is not None and task.stop_code == "ServiceSchedulerInitiated":
                self._note(task.service, Note("stopped"), task.id)
            self._stop_containers(task)

    # -- service discovery (developer guide, "Use service discovery to connect Amazon ECS services with DNS names")

    def _discover(self, task: Task) -> None:
        for registry in task.registries:
            attributes = views.instance_attributes(task, registry)
            self._surroundings.register(registry["registryArn"], task.id, attributes)
            if has_container_check(task.task_definition):
                self._surroundings.set_health(registry["registryArn"], task.id, healthy=False)

    def _undiscover(self, task: Task) -> None:
        for registry in task.registries:
            self._surroundings.deregister(registry["registryArn"], task.id)

    # -- common

    def _after(self, delay: timedelta, action: Callable[[], None]) -> None:
        self._agenda.at(self._clock.now() + delay, action)

    def _move(self, task: Task, status: Any) -> None:
        task.last_status = status
        task.version += 1
        self._tell(task)

    def _tell(self, task: Task) -> None:
        self._publish(task)
        self._notify(task)

    def _publish(self, task: Task) -> None:
        if self._surroundings.listening(task.cluster.account, task.cluster.region):
            self._surroundings.publish(views.task_event(task, self._clock.now()))

    def _notify(self, task: Task) -> None:
        self._changed(task)


def _exit(task: Task, container: Container, code: int, reason: str | None, at: datetime) -> ContainerExited:
    return ContainerExited(arn=task.arn, container=container.name, exit_code=code, at=at, reason=reason)


def _container(task: Task, name: str) -> Container:
    return next(container for container in task.containers if container.name == name)


def new_containers(definition: TaskDefinition, cluster: Cluster, task: str, ids: Ids) -> list[Container]:
    prefix = f"arn:aws:ecs:{cluster.region}:{cluster.account}:container/{cluster.name}/{task}"
    return [
        Container(
            arn=f"{prefix}/{ids.uuid()}",
            name=container["name"],
            definition=container,
            essential=container.get("essential", True),
        )
        for container in definition.document["containerDefinitions"]
    ]
