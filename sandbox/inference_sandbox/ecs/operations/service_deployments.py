"""Service deployments and service revisions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from inference_sandbox.ecs import texts, views
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import AwsError, invalid_parameter
from inference_sandbox.ecs.operations import Operation, Request, Response
from inference_sandbox.ecs.paging import page
from inference_sandbox.ecs.scheduler import Scheduler
from inference_sandbox.ecs.state import Service, ServiceDeployment


class ServiceDeployments:
    def __init__(self, accounts: Accounts, scheduler: Scheduler) -> None:
        self._accounts = accounts
        self._scheduler = scheduler

    def operations(self) -> Mapping[str, Operation]:
        return {
            "ListServiceDeployments": self.list_service_deployments,
            "DescribeServiceDeployments": self.describe_service_deployments,
            "DescribeServiceRevisions": self.describe_service_revisions,
            "StopServiceDeployment": self.stop_service_deployment,
            "ContinueServiceDeployment": self.continue_service_deployment,
        }

    def list_service_deployments(self, caller: Caller, request: Request) -> Response:
        service = self._accounts.service(caller, request.get("cluster"), request.get("service"))
        wanted, created = request.get("status") or [], request.get("createdAt") or {}
        shown = [
            views.service_deployment_brief(each, service)
            for each in service.records
            if (not wanted or each.status in wanted) and _within(each.created_at, created)
        ]
        return page(shown, request, "serviceDeployments", 100, default=20)

    def describe_service_deployments(self, caller: Caller, request: Request) -> Response:
        found, failures = [], []
        for arn in _few(request["serviceDeploymentArns"], "serviceDeploymentArns"):
            pair = self._deployment_record(caller, arn)
            if pair is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(views.service_deployment(*pair))
        return {"serviceDeployments": found, "failures": failures}

    def describe_service_revisions(self, caller: Caller, request: Request) -> Response:
        found, failures = [], []
        for arn in _few(request["serviceRevisionArns"], "serviceRevisionArns"):
            service = self._accounts.service_of(caller, arn)
            revision = service.revisions.get(arn) if service else None
            if service is None or revision is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(views.revision(revision, service))
        return {"serviceRevisions": found, "failures": failures}

    def stop_service_deployment(self, caller: Caller, request: Request) -> Response:
        arn, kind = request["serviceDeploymentArn"], request.get("stopType") or "ROLLBACK"
        record, service = self._existing(caller, arn)
        if kind != "ROLLBACK":
            raise invalid_parameter(f"Invalid stopType {kind}: the valid value is ROLLBACK.")
        if record.status not in ("PENDING", "IN_PROGRESS"):
            raise AwsError(
                "ConflictException", f"The service deployment can't be stopped: its status is {record.status}."
            )
        record.status = "ROLLBACK_REQUESTED"
        if not self._scheduler.deployments.roll_back(service, record, texts.STOP_REQUESTED):
            record.status = "IN_PROGRESS"
            raise AwsError("ConflictException", "There is no completed service revision to roll back to.")
        return {"serviceDeploymentArn": arn}

    def continue_service_deployment(self, caller: Caller, request: Request) -> Response:
        arn, action = request["serviceDeploymentArn"], request.get("action") or "CONTINUE"
        record, service = self._existing(caller, arn)
        hook = next((each for each in record.hooks if each.id == request["hookId"]), None)
        if hook is None or hook.kind != "PAUSE" or hook.status != "AWAITING_ACTION":
            raise invalid_parameter(f"No paused lifecycle hook {request['hookId']} awaits an action.")
        if action not in ("CONTINUE", "ROLLBACK"):
            raise invalid_parameter(f"Invalid action {action}: use CONTINUE or ROLLBACK.")
        self._scheduler.shifts.resolve(service, hook, action)
        self._scheduler.look_at(service)
        return {"serviceDeploymentArn": arn}

    def _existing(self, caller: Caller, arn: str) -> tuple[ServiceDeployment, Service]:
        pair = self._deployment_record(caller, arn)
        if pair is None:
            raise AwsError(
                "ServiceDeploymentNotFoundException", "The service deploy ARN that you specified doesn't exist."
            )
        return pair

    def _deployment_record(self, caller: Caller, arn: str) -> tuple[ServiceDeployment, Service] | None:
        service = self._accounts.service_of(caller, arn)
        record = next((each for each in service.records if each.arn == arn), None) if service else None
        return (record, service) if record is not None and service is not None else None


def _few(arns: list[str], member: str) -> list[str]:
    if not 1 <= len(arns) <= 20:  # noqa: PLR2004 - "You can specify a maximum of 20 ARNs."
        raise invalid_parameter(f"{member} can have 1 to 20 items.")
    return list(dict.fromkeys(arns))


def _within(when: datetime, window: dict[str, Any]) -> bool:
    after, before = _time(window.get("after")), _time(window.get("before"))
    return (after is None or when > after) and (before is None or when < before)


def _time(value: Any) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value
