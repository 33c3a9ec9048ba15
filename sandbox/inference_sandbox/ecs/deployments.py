"""The life of a deployment: it begins, is superseded, completes, fails, is rolled back; and the record behind
DescribeServiceDeployments that tells of it.

This module must not know tasks, nor who decides that a deployment has failed or is done.
"""

from __future__ import annotations

from collections.abc import Callable

from inference_sandbox.ecs import alarms, breaker, texts
from inference_sandbox.ecs.ids import Ids
from inference_sandbox.ecs.state import Deployment, Revision, Service, ServiceDeployment, ServiceDeploymentStatus
from inference_sandbox.ecs.voice import Voice
from inference_sandbox.ports import Clock


class Deployments:
    """`look_at` is told of every service whose deployments changed."""

    def __init__(self, *, clock: Clock, ids: Ids, voice: Voice, look_at: Callable[[Service], None]) -> None:
        self._clock = clock
        self._ids = ids
        self._voice = voice
        self._look_at = look_at

    def begin(self, service: Service, revision: Revision) -> Deployment:
        """A new deployment of `revision`; it becomes PRIMARY, and what was PRIMARY is to be replaced."""
        now = self._clock.now()
        deployment = Deployment(
            id=f"ecs-svc/{self._ids.digits(19)}",
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
        service.rebalancing, service.surplus = False, 0
        service.said.clear()
        service.steady = False
        self._voice.rolled(deployment, "IN_PROGRESS", texts.in_progress(deployment.id))
        self._look_at(service)
        return deployment

    def _new_record(self, service: Service, revision: Revision) -> ServiceDeployment:
        now = self._clock.now()
        configuration = service.document["deploymentConfiguration"]
        record = ServiceDeployment(
            arn=service.arn.replace(":service/", ":service-deployment/") + f"/{self._ids.token(21)}",
            target=revision,
            sources=[each.revision for each in service.deployments],
            created_at=now,
            started_at=now,
            updated_at=now,
            status="IN_PROGRESS",
            configuration=configuration,
            breaker_status="MONITORING" if breaker.watches(configuration) else "DISABLED",
            breaker_threshold=breaker.threshold(configuration, service.desired_count),
            alarms=alarms.shown(configuration),
        )
        service.records.insert(0, record)
        return record

    def _supersede(self, deployment: Deployment) -> None:
        deployment.status = "ACTIVE"
        deployment.updated_at = self._clock.now()
        if deployment.record.finished_at is None:
            self._close(deployment.record, "STOPPED", "A newer service deployment was started.")

    def drop_ended(self, service: Service) -> None:
        """A deployment that is not PRIMARY and has no task left is INACTIVE: gone from the list."""
        for deployment in service.deployments[1:]:
            if not deployment.tasks:
                deployment.status = "INACTIVE"
                service.deployments.remove(deployment)

    def source(self, service: Service) -> Deployment | None:
        """The deployment that completed last, if a newer one replaces it."""
        last = service.last_completed
        return last if last in service.deployments[1:] else None

    def scale(self, service: Service, desired: int) -> None:
        """Want so many tasks; while a rolling update is under way more of either revision, fewer as the update goes."""
        source, more = self.source(service), desired - service.desired_count
        service.desired_count = desired
        service.rebalancing, service.surplus = False, 0
        if source is not None and source.desired and more > 0:
            # "ECS applies scale-out to both service revisions" (What's New, November 2025, as in `rolling`)
            source.desired += more
        self._voice.action(service, "INFO", "SERVICE_DESIRED_COUNT_UPDATED", desiredCount=desired)

    def complete(self, deployment: Deployment) -> None:
        service, record = deployment.service, deployment.record
        self._voice.rolled(deployment, "COMPLETED", texts.rollout_completed(deployment.id))
        self._voice.say(service, texts.completed(deployment.id))
        if record.finished_at is None:
            self._close(record, "ROLLBACK_SUCCESSFUL" if record.rollback else "SUCCESSFUL")
        service.last_completed = deployment

    def fail(self, deployment: Deployment, reason: str, cause: str, *, roll_back: bool) -> None:
        """The deployment has failed: it launches nothing more; it is rolled back if that is wanted and possible."""
        service, record = deployment.service, deployment.record
        self._voice.rolled(deployment, "FAILED", reason)
        self._voice.say(service, texts.failed(deployment.id, cause))
        if not (roll_back and self.roll_back(service, record, reason)):
            # STOPPED also means "failed, with no way back": ServiceDeployment.status has no FAILED.
            self._close(record, "ROLLBACK_FAILED" if record.rollback else "STOPPED", reason)

    def roll_back(self, service: Service, record: ServiceDeployment, reason: str) -> bool:
        """Go back to the last COMPLETED deployment: it returns under its old id as PRIMARY. False if there is none."""
        good, failed = service.last_completed, service.primary
        if good is None or good is failed:
            return False
        now = self._clock.now()
        self._voice.say(service, texts.rolling_back(good.id))
        failed.status = "ACTIVE"
        if good in service.deployments:
            service.deployments.remove(good)
        service.deployments.insert(0, good)
        good.status, good.failed_tasks, good.breaker_failures, good.start_failures = "PRIMARY", 0, 0, 0
        good.start_not_before = good.settled_at = None
        good.ignored_alarms = None  # what is in ALARM as the rollback begins is ignored, as for any deployment
        good.weight = 0.0  # if traffic was shifted away from it, it is to be shifted back
        good.record = record
        service.last_completed = None  # "not eligible for another rollback until it reaches a COMPLETED state"
        service.document |= good.revision.document | {"taskDefinition": good.revision.task_definition.arn}
        service.steady = False
        record.status, record.updated_at = "ROLLBACK_IN_PROGRESS", now
        record.rollback = {"reason": reason, "startedAt": now, "serviceRevisionArn": good.revision.arn}
        self._voice.rolled(good, "IN_PROGRESS", texts.rollback_in_progress(good.id))
        self._look_at(service)
        return True

    def _close(self, record: ServiceDeployment, status: ServiceDeploymentStatus, reason: str | None = None) -> None:
        now = self._clock.now()
        record.status, record.status_reason = status, reason
        record.finished_at = record.updated_at = now
        if status == "STOPPED":
            record.stopped_at = now
        if record.breaker_status == "MONITORING":
            record.breaker_status = "MONITORING_COMPLETE"
        if record.alarms["status"] == "MONITORING":
            record.alarms["status"] = "MONITORING_COMPLETE"
