"""Tasks of services that ask not to be stopped for a while."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from inference_sandbox.ecs import views
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import invalid_parameter
from inference_sandbox.ecs.operations import Operation, Request, Response
from inference_sandbox.ecs.scheduler import Scheduler
from inference_sandbox.ecs.state import Cluster, Task


class TaskProtection:
    def __init__(self, accounts: Accounts, scheduler: Scheduler) -> None:
        self._accounts = accounts
        self._scheduler = scheduler

    def operations(self) -> Mapping[str, Operation]:
        return {
            "UpdateTaskProtection": self.update_task_protection,
            "GetTaskProtection": self.get_task_protection,
        }

    def update_task_protection(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request["cluster"])
        minutes = request.get("expiresInMinutes") or 120  # "the default expiration time is 2 hours"
        if not 1 <= minutes <= 2880:  # noqa: PLR2004 - "up to 2,880 minutes (48 hours)"
            raise invalid_parameter("expiresInMinutes must be between 1 and 2880.")
        until = self._scheduler.clock.now() + timedelta(minutes=minutes) if request["protectionEnabled"] else None

        def protect(task: Task) -> None:
            task.protection_enabled, task.protected_until = request["protectionEnabled"], until
            if task.service is not None:
                self._scheduler.look_at(task.service)
                if until is not None:
                    self._scheduler.look_later(until, task.service)

        return self._protection(caller, cluster, request["tasks"], protect)

    def get_task_protection(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request["cluster"])
        names = request.get("tasks") or list(cluster.tasks)
        return self._protection(caller, cluster, names, lambda _task: None)

    def _protection(self, caller: Caller, cluster: Cluster, names: list[str], act: Callable[[Task], None]) -> Response:
        shown, failures = [], []
        for name in names:
            task = cluster.tasks.get(name.rsplit("/", 1)[-1])
            if task is None:
                failures.append({"arn": caller.arn_of(f"task/{cluster.name}", name), "reason": "MISSING"})
            elif task.service is None:
                failures.append(
                    {"arn": task.arn, "reason": "TASK_NOT_VALID", "detail": "Only service tasks can be protected."}
                )
            else:
                act(task)
                shown.append(
                    views.present(
                        taskArn=task.arn,
                        protectionEnabled=task.protected(self._scheduler.clock.now()),
                        expirationDate=task.protected_until,
                    )
                )
        return {"protectedTasks": shown, "failures": failures}
