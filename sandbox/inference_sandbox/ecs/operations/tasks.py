"""Tasks, and commands in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from inference_sandbox.ecs import placement, requests, texts, views
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import AwsError, invalid_parameter
from inference_sandbox.ecs.operations import Operation, Request, Response
from inference_sandbox.ecs.paging import page
from inference_sandbox.ecs.scheduler import Scheduler
from inference_sandbox.ecs.state import Revision, Task
from inference_sandbox.ecs.surroundings import Surroundings
from inference_sandbox.ecs.task_definitions import tags_from


class Tasks:
    def __init__(self, accounts: Accounts, scheduler: Scheduler, surroundings: Surroundings) -> None:
        self._accounts = accounts
        self._scheduler = scheduler
        self._surroundings = surroundings

    def operations(self) -> Mapping[str, Operation]:
        return {
            "RunTask": self.run_task,
            "DescribeTasks": self.describe_tasks,
            "ListTasks": self.list_tasks,
            "StopTask": self.stop_task,
            "ExecuteCommand": self.execute_command,
        }

    def run_task(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request.get("cluster"))
        definition = self._accounts.registry(caller).usable(request["taskDefinition"])
        count = request.get("count") or 1
        if not 1 <= count <= 10:  # noqa: PLR2004 - "You can specify up to 10 tasks for each call."
            raise invalid_parameter("count must be between 1 and 10.")
        document = requests.new_document(request | {"desiredCount": count}, cluster, definition)
        requests.check_all(document | {"loadBalancers": []}, cluster, definition, self._surroundings)
        revision = Revision(
            arn="",
            task_definition=definition,
            document=requests.revision_document(document),
            created_at=self._scheduler.clock.now(),
        )
        tasks = []
        zones = self._scheduler.placement.zones(cluster, revision.document)
        for _ in range(count):
            provider = placement.provider(revision.document, None)
            task = self._scheduler.placement.new_task(cluster, revision, zones, provider)
            task.group, task.started_by = request.get("group") or task.group, request.get("startedBy") or ""
            task.overrides = request.get("overrides") or {}
            task.tags = tags_from(request.get("tags"))
            task.enable_execute_command = bool(request.get("enableExecuteCommand"))
            self._scheduler.fleet.launch(task)
            tasks.append(views.task(task))
        return {"tasks": tasks, "failures": []}

    def describe_tasks(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request.get("cluster"))
        names = request["tasks"]
        if not names:
            raise invalid_parameter("Tasks cannot be empty.")
        if len(names) > 100:  # noqa: PLR2004 - "A list of up to 100 task IDs or full ARN entries."
            raise invalid_parameter("tasks can have at most 100 items.")
        with_tags = "TAGS" in (request.get("include") or [])
        found, failures = [], []
        for name in dict.fromkeys(names):
            task = cluster.tasks.get(name.rsplit("/", 1)[-1])
            if task is None:
                failures.append({"arn": caller.arn_of(f"task/{cluster.name}", name), "reason": "MISSING"})
                continue
            shown = views.task(task)
            if not with_tags:
                shown["tags"] = []
            found.append(shown)
        return {"tasks": found, "failures": failures}

    def list_tasks(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request.get("cluster"))
        wanted = request.get("desiredStatus") or "RUNNING"
        tasks: Iterable[Task] = cluster.tasks.values()
        if request.get("serviceName"):
            service = self._accounts.service(caller, request.get("cluster"), request["serviceName"])
            group = f"service:{service.name}"
            tasks = service.tasks if wanted == "RUNNING" else (task for task in tasks if task.group == group)
        family, started_by = request.get("family"), request.get("startedBy")
        launch = request.get("launchType")
        arns = [
            task.arn
            for task in tasks
            if task.desired_status == wanted
            and family in (None, task.task_definition.family)
            and started_by in (None, task.started_by)
            and launch in (None, task.launch_type)
            and not request.get("containerInstance")
        ]
        return page(arns, request, "taskArns", 100)

    def stop_task(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request.get("cluster"))
        task = cluster.tasks.get(request["task"].rsplit("/", 1)[-1])
        if task is None:
            raise invalid_parameter("The referenced task was not found.")
        reason = request.get("reason")
        self._scheduler.fleet.stop(task, "UserInitiated", reason or texts.STOPPED_BY_USER)
        return {"task": views.task(task)}

    def execute_command(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request.get("cluster"))
        task = cluster.tasks.get(request["task"].rsplit("/", 1)[-1])
        if task is None:
            raise invalid_parameter("The specified task wasn't found.")
        if not request["interactive"]:
            raise invalid_parameter("Interactive is the only mode supported currently.")
        names = [each.name for each in task.containers]
        name = request.get("container") or (names[0] if len(names) == 1 else None)
        if name not in names:
            raise invalid_parameter("The container name is needed for a task with several containers.")
        container = next(each for each in task.containers if each.name == name)
        if not task.enable_execute_command or task.last_status != "RUNNING":
            raise invalid_parameter(texts.NO_EXECUTE_COMMAND)
        if container.last_status != "RUNNING":
            raise AwsError("TargetNotConnectedException", "The execute command agent of the container is not running.")
        session = f"ecs-execute-command-{self._scheduler.ids.hex(17)}"
        return {
            "clusterArn": cluster.arn,
            "containerArn": container.arn,
            "containerName": name,
            "interactive": True,
            "session": {
                "sessionId": session,
                "streamUrl": f"wss://ssmmessages.{caller.region}.amazonaws.com/v1/data-channel/{session}",
                "tokenValue": self._scheduler.ids.token(40),
            },
            "taskArn": task.arn,
        }
