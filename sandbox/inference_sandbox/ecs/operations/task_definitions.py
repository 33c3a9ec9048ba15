"""Task definitions: registered, shown, deregistered, deleted."""

from __future__ import annotations

from collections.abc import Mapping

from inference_sandbox.ecs import views
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import client_error, invalid_parameter
from inference_sandbox.ecs.operations import Operation, Request, Response
from inference_sandbox.ecs.paging import page
from inference_sandbox.ecs.task_definitions import not_found
from inference_sandbox.ports import Clock


class TaskDefinitions:
    def __init__(self, accounts: Accounts, clock: Clock) -> None:
        self._accounts = accounts
        self._clock = clock

    def operations(self) -> Mapping[str, Operation]:
        return {
            "RegisterTaskDefinition": self.register_task_definition,
            "DescribeTaskDefinition": self.describe_task_definition,
            "DeregisterTaskDefinition": self.deregister_task_definition,
            "DeleteTaskDefinitions": self.delete_task_definitions,
            "ListTaskDefinitions": self.list_task_definitions,
            "ListTaskDefinitionFamilies": self.list_task_definition_families,
        }

    def register_task_definition(self, caller: Caller, request: Request) -> Response:
        record = self._accounts.registry(caller).register(request, self._clock.now(), caller.arn)
        shown: Response = {"taskDefinition": views.task_definition(record)}
        if record.tags:
            shown["tags"] = views.tag_list(record.tags)
        return shown

    def describe_task_definition(self, caller: Caller, request: Request) -> Response:
        record = self._accounts.registry(caller).find(request["taskDefinition"])
        if record is None:
            raise not_found()
        shown: Response = {"taskDefinition": views.task_definition(record)}
        if "TAGS" in (request.get("include") or []):
            shown["tags"] = views.tag_list(record.tags)
        return shown

    def deregister_task_definition(self, caller: Caller, request: Request) -> Response:
        name = request["taskDefinition"]
        if ":" not in name.rsplit("/", 1)[-1]:
            raise client_error("Revision is missing.")
        record = self._accounts.registry(caller).find(name)
        if record is None:
            raise client_error("The specified task definition does not exist.")
        if record.status == "ACTIVE":
            record.status, record.deregistered_at = "INACTIVE", self._clock.now()
        return {"taskDefinition": views.task_definition(record)}

    def delete_task_definitions(self, caller: Caller, request: Request) -> Response:
        names = request["taskDefinitions"]
        if not 1 <= len(names) <= 10:  # noqa: PLR2004 - "up to 10 task definitions"
            raise invalid_parameter("taskDefinitions can have 1 to 10 items.")
        deleted, failures = [], []
        for name in names:
            record = self._accounts.registry(caller).find(name)
            if record is None or ":" not in name.rsplit("/", 1)[-1]:
                failures.append({"arn": name, "reason": "MISSING"})
            elif record.status == "ACTIVE":
                failures.append(
                    {"arn": record.arn, "reason": "TASK_DEFINITION_IN_USE", "detail": "Deregister it first."}
                )
            else:
                record.status, record.delete_requested_at = "DELETE_IN_PROGRESS", self._clock.now()
                deleted.append(views.task_definition(record))
        return {"taskDefinitions": deleted, "failures": failures}

    def list_task_definitions(self, caller: Caller, request: Request) -> Response:
        status, family = request.get("status") or "ACTIVE", request.get("familyPrefix")
        # "familyPrefix: The full family name" - not a prefix, despite its name.
        arns = [
            each.arn
            for each in self._accounts.registry(caller).all()
            if each.status == status and (family is None or each.family == family)
        ]
        if request.get("sort") == "DESC":
            arns.reverse()
        return page(arns, request, "taskDefinitionArns", 100)

    def list_task_definition_families(self, caller: Caller, request: Request) -> Response:
        status, prefix = request.get("status") or "ALL", request.get("familyPrefix") or ""
        names = []
        for name, revisions in sorted(self._accounts.registry(caller).families.items()):
            live = any(each.status == "ACTIVE" for each in revisions)
            if name.startswith(prefix) and (status == "ALL" or live == (status == "ACTIVE")):
                names.append(name)
        return page(names, request, "families", 100)
