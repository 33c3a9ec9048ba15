"""Tags of whatever ECS has."""

from __future__ import annotations

from collections.abc import Mapping

from inference_sandbox.ecs import views
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import AwsError, invalid_parameter
from inference_sandbox.ecs.operations import Operation, Request, Response
from inference_sandbox.ecs.task_definitions import check_tags, tags_from


class Tags:
    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def operations(self) -> Mapping[str, Operation]:
        return {
            "TagResource": self.tag_resource,
            "UntagResource": self.untag_resource,
            "ListTagsForResource": self.list_tags_for_resource,
        }

    def tag_resource(self, caller: Caller, request: Request) -> Response:
        tags = self.of(caller, request["resourceArn"])
        merged = tags | tags_from(request["tags"])
        check_tags({key: value for key, value in merged.items() if not key.startswith("aws:")})
        tags.update(merged)
        return {}

    def untag_resource(self, caller: Caller, request: Request) -> Response:
        tags = self.of(caller, request["resourceArn"])
        for key in request["tagKeys"]:
            tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, caller: Caller, request: Request) -> Response:
        return {"tags": views.tag_list(self.of(caller, request["resourceArn"]))}

    def of(self, caller: Caller, arn: str) -> dict[str, str]:
        kind, *path = arn.rsplit(":", 1)[-1].split("/") if ":task-definition/" not in arn else ["task-definition", arn]
        if not arn.startswith(caller.prefix):
            raise invalid_parameter("Invalid arn syntax.")
        match kind, path:
            case "cluster", [name]:
                return self._accounts.cluster(caller, name).tags
            case "task-definition", [name]:
                definition = self._accounts.registry(caller).find(name)
                if definition is not None:
                    return definition.tags
                raise invalid_parameter("The specified task definition was not found.")
            case "service", [cluster, name]:
                service = self._accounts.cluster(caller, cluster).services.get(name)
                if service is not None and service.status != "INACTIVE":
                    return service.tags
                raise AwsError("ServiceNotFoundException", "Service not found.")
            case "task", [cluster, identifier]:
                task = self._accounts.cluster(caller, cluster).tasks.get(identifier)
                if task is not None:
                    return task.tags
                raise invalid_parameter("The specified task is stopped or was not found.")
        raise invalid_parameter("Invalid arn syntax.")
