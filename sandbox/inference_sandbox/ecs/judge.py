"""Judges deployments: counts failures and successes of their tasks, throttles restarts, trips the circuit breaker,
heeds alarms.

Sources: developer guide, "How the Amazon ECS deployment circuit breaker detects failures", "Service throttle logic".

This module must not start or stop tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from inference_sandbox.ecs import alarms, breaker, texts
from inference_sandbox.ecs.deployments import Deployments
from inference_sandbox.ecs.health import counts_as_healthy, has_check
from inference_sandbox.ecs.state import Deployment, Service, Task
from inference_sandbox.ecs.surroundings import Settings, Surroundings
from inference_sandbox.ecs.voice import Voice
from inference_sandbox.ports import Clock

LookLater = Callable[[datetime, Service], None]


class Judge:
    """`look_later(when, service)` has a service looked at again at that time."""

    def __init__(
        self,
        *,
        clock: Clock,
        voice: Voice,
        deployments: Deployments,
        surroundings: Surroundings,
        settings: Settings,
        look_later: LookLater,
    ) -> None:
        self._clock = clock
        self._voice = voice
        self._deployments = deployments
        self._surroundings = surroundings
        self._settings = settings
        self._look_later = look_later

    # -- tasks

    def note_task(self, task: Task) -> None:
        """Count each task once: a success when it first is healthy, a failure when it stops as `_is_failure` says."""
        deployment = task.deployment
        if deployment is None:
            return
        if not task.was_healthy and counts_as_healthy(task):
            task.was_healthy = True
            self._succeeded(deployment)
        if not task.active and not task.counted:
            task.counted = True
            if _is_failure(task):
                self.count_failure(deployment, never_ran=task.started_at is None)
        if task.last_status == "RUNNING" and deployment.start_failures:
            deployment.start_failures, deployment.start_not_before = 0, None

    def _succeeded(self, deployment: Deployment) -> None:
        deployment.failed_tasks = 0
        if breaker.resets(deployment.service.document["deploymentConfiguration"]):
            deployment.breaker_failures = 0

    def count_failure(self, deployment: Deployment, *, never_ran: bool) -> None:
        deployment.failed_tasks += 1
        some_run = any(each.last_status == "RUNNING" for each in deployment.tasks.values())
        # Stage 1 counts tasks that do not reach RUNNING while none of the deployment is; stage 2, with at least one
        # RUNNING, counts tasks replaced for their health checks.
        if not never_ran or not some_run:
            deployment.breaker_failures += 1
        if never_ran:
            self._throttle(deployment)

    def _throttle(self, deployment: Deployment) -> None:
        """Delay the next start, longer each time; not while the circuit breaker counts the failures."""
        deployment.start_failures += 1
        configuration = deployment.service.document["deploymentConfiguration"]
        counted = deployment.rollout_state == "IN_PROGRESS" and breaker.is_on(configuration)
        beyond = deployment.start_failures - self._settings.throttle_after
        if beyond < 0 or counted:
            return
        self.delay(
            deployment, min(self._settings.throttle_maximum, self._settings.throttle_first * 2 ** min(beyond, 20))
        )
        if self._voice.warn(deployment.service, texts.IMPAIRED):
            self._voice.action(deployment.service, "WARN", "SERVICE_TASK_START_IMPAIRED")

    def delay(self, deployment: Deployment, wait: timedelta) -> None:
        """Start nothing for the deployment until then."""
        deployment.start_not_before = self._clock.now() + wait
        self._look_later(deployment.start_not_before, deployment.service)

    def may_start(self, deployment: Deployment) -> bool:
        waiting = deployment.start_not_before is not None and self._clock.now() < deployment.start_not_before
        return deployment.rollout_state != "FAILED" and not waiting

    # -- deployments

    def judge(self, service: Service) -> None:
        """Fail the deployment under way if the breaker or an alarm says so: the first to say it wins."""
        primary = service.primary
        if primary.rollout_state != "IN_PROGRESS":
            return
        began_with = primary.record.configuration["strategy"]
        configuration = service.document["deploymentConfiguration"] | {"strategy": began_with}
        if not (breaker.watches(configuration) and self._tripped(primary)) and alarms.are_on(configuration):
            self._heed_alarms(primary)

    def _tripped(self, primary: Deployment) -> bool:
        """Compare the count with the threshold, which follows the latest desired count; whether that failed it."""
        service, record = primary.service, primary.record
        configuration = service.document["deploymentConfiguration"]
        limit = breaker.threshold(configuration, service.desired_count)
        if record.breaker_status == "MONITORING":  # a rollback keeps the figures that triggered it
            record.breaker_failures, record.breaker_threshold = primary.breaker_failures, limit
        if primary.breaker_failures < limit:
            return False
        if record.breaker_status == "MONITORING":
            record.breaker_status = "TRIGGERED"
        back = breaker.rolls_back(configuration)
        self._deployments.fail(primary, texts.BREAKER_FAILED, "tasks failed to start.", roll_back=back)
        return True

    def _heed_alarms(self, primary: Deployment) -> None:
        watch = self._watch(primary)
        if not watch.triggered:
            self._look_later(self._clock.now() + self._settings.alarm_poll, primary.service)
            return
        primary.record.alarms |= {"status": "TRIGGERED", "triggeredAlarmNames": list(watch.triggered)}
        back = alarms.roll_back(primary.service.document["deploymentConfiguration"])
        self._deployments.fail(primary, texts.ALARM_FAILED, "alarm detected.", roll_back=back)

    def _watch(self, deployment: Deployment) -> alarms.Watch:
        cluster = deployment.service.cluster
        names = alarms.settings(deployment.service.document["deploymentConfiguration"])["alarmNames"]
        return alarms.watch(deployment, self._surroundings.alarms(cluster.account, cluster.region, names))

    def baked(self, deployment: Deployment) -> bool:
        """Whether a deployment that has settled has been watched long enough by its alarms."""
        now = self._clock.now()
        if deployment.settled_at is None:
            deployment.settled_at = now
        if not alarms.are_on(deployment.service.document["deploymentConfiguration"]):
            return True
        end = deployment.settled_at + self._watch(deployment).bake
        if now < end:
            self._look_later(end, deployment.service)
        return now >= end


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
    return str(task.stopped_reason).startswith("Task failed ")
