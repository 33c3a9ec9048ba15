"""The operations of ECS on services, deployments, tasks, task definitions, clusters and tags.

Each method takes the caller and the request as the API reference shapes it, and returns the response likewise, or
raises AwsError. This module must not know HTTP, nor how a deployment proceeds (`scheduler` does).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from inference_sandbox.ecs import account_settings, placement, requests, texts, views
from inference_sandbox.ecs.account_settings import AccountSettings
from inference_sandbox.ecs.errors import AwsError, client_error, invalid_parameter
from inference_sandbox.ecs.failures import Failure
from inference_sandbox.ecs.scheduler import Scheduler
from inference_sandbox.ecs.state import Cluster, Revision, Service, ServiceDeployment, Task, TaskDefinition
from inference_sandbox.ecs.surroundings import Surroundings
from inference_sandbox.ecs.task_definitions import Registry, check_tags, not_found, tags_from

Request = dict[str, Any]
Response = dict[str, Any]


@dataclass(frozen=True)
class Caller:
    account: str
    region: str
    arn: str

    @property
    def prefix(self) -> str:
        return f"arn:aws:ecs:{self.region}:{self.account}:"


class Ecs:
    """All accounts and regions; a cluster's ARN says which it belongs to."""

    def __init__(self, scheduler: Scheduler, surroundings: Surroundings) -> None:
        self.scheduler = scheduler
        self._surroundings = surroundings
        self._clusters: dict[tuple[str, str, str], Cluster] = {}
        self._registries: dict[tuple[str, str], Registry] = {}
        self._settings: dict[tuple[str, str], AccountSettings] = {}

    # -- clusters

    def create_cluster(self, caller: Caller, request: Request) -> Response:
        name = request.get("clusterName") or "default"
        key = (caller.account, caller.region, name)
        record = self._clusters.get(key)
        if record is None or record.status == "INACTIVE":
            _check_providers(request.get("capacityProviders") or [])
            insights = self.settings(caller).effective(caller.arn, "containerInsights")
            record = self._clusters[key] = Cluster(
                arn=f"{caller.prefix}cluster/{name}",
                name=name,
                account=caller.account,
                region=caller.region,
                settings=request.get("settings") or [{"name": "containerInsights", "value": insights}],
                configuration=request.get("configuration"),
                capacity_providers=request.get("capacityProviders") or [],
                default_strategy=request.get("defaultCapacityProviderStrategy") or [],
                service_connect_defaults=request.get("serviceConnectDefaults"),
                tags=tags_from(request.get("tags")),
            )
        return {"cluster": views.cluster(record) | {"tags": views.tag_list(record.tags)}}

    def describe_clusters(self, caller: Caller, request: Request) -> Response:
        names = request.get("clusters") or ["default"]
        if len(names) > 100:  # noqa: PLR2004 - "up to 100 cluster names"
            raise invalid_parameter("clusters can have at most 100 items.")
        found, failures = [], []
        for name in names:
            record = self._find_cluster(caller, name)
            if record is None:
                failures.append({"arn": _arn(caller, "cluster", name), "reason": "MISSING"})
                continue
            shown = views.cluster(record)
            if "TAGS" in (request.get("include") or []):
                shown["tags"] = views.tag_list(record.tags)
            found.append(shown)
        return {"clusters": found, "failures": failures}

    def list_clusters(self, caller: Caller, request: Request) -> Response:
        arns = [
            each.arn
            for (account, region, _), each in self._clusters.items()
            if (account, region) == (caller.account, caller.region) and each.status == "ACTIVE"
        ]
        return _page(arns, request, "clusterArns", 100)

    def update_cluster(self, caller: Caller, request: Request) -> Response:
        record = self._cluster(caller, request.get("cluster"))
        record.settings = request.get("settings") or record.settings
        record.configuration = request.get("configuration") or record.configuration
        record.service_connect_defaults = request.get("serviceConnectDefaults") or record.service_connect_defaults
        return {"cluster": views.cluster(record)}

    def update_cluster_settings(self, caller: Caller, request: Request) -> Response:
        record = self._cluster(caller, request.get("cluster"))
        record.settings = request["settings"]
        return {"cluster": views.cluster(record)}

    def put_cluster_capacity_providers(self, caller: Caller, request: Request) -> Response:
        record = self._cluster(caller, request.get("cluster"))
        providers, strategy = request["capacityProviders"], request["defaultCapacityProviderStrategy"]
        for item in strategy:
            if item["capacityProvider"] not in providers:
                raise invalid_parameter(
                    f"The specified capacity provider {item['capacityProvider']} is not associated with the cluster."
                )
        _check_providers(providers)
        used = {task.capacity_provider for task in record.tasks.values() if task.last_status != "STOPPED"}
        for name in record.capacity_providers:
            if name not in providers and name in used:
                raise AwsError(
                    "ResourceInUseException", "The specified capacity provider is in use and cannot be removed."
                )
        record.capacity_providers, record.default_strategy = providers, strategy
        return {"cluster": views.cluster(record)}

    def delete_cluster(self, caller: Caller, request: Request) -> Response:
        record = self._cluster(caller, request.get("cluster"))
        if any(service.status != "INACTIVE" for service in record.services.values()):
            raise AwsError(
                "ClusterContainsServicesException", "The Cluster cannot be deleted while Services are active."
            )
        if any(task.last_status != "STOPPED" for task in record.tasks.values()):
            raise AwsError("ClusterContainsTasksException", "The Cluster cannot be deleted while Tasks are active.")
        record.status = "INACTIVE"
        return {"cluster": views.cluster(record)}

    def describe_capacity_providers(self, caller: Caller, request: Request) -> Response:
        """Those of Fargate, which every account has; with `cluster`, those associated with it."""
        known: Iterable[str] = requests.FARGATE_PROVIDERS
        if request.get("cluster"):
            known = self._cluster(caller, request["cluster"]).capacity_providers
        asked = [name.rsplit("/", 1)[-1] for name in request.get("capacityProviders") or known]
        found = [views.capacity_provider(caller.prefix, name) for name in asked if name in known]
        missing = [name for name in asked if name not in known]
        failures = [{"arn": f"{caller.prefix}capacity-provider/{name}", "reason": "MISSING"} for name in missing]
        return _page(found, request, "capacityProviders", 10) | {"failures": failures}

    # -- account settings

    def put_account_setting(self, caller: Caller, request: Request) -> Response:
        principal = request.get("principalArn") or caller.arn
        self.settings(caller).put(principal, request["name"], request["value"])
        return {"setting": views.setting(request["name"], request["value"], principal)}

    def put_account_setting_default(self, caller: Caller, request: Request) -> Response:
        root = self.settings(caller).root
        self.settings(caller).put(root, request["name"], request["value"])
        return {"setting": views.setting(request["name"], request["value"], root)}

    def delete_account_setting(self, caller: Caller, request: Request) -> Response:
        principal = request.get("principalArn") or caller.arn
        value = self.settings(caller).delete(principal, request["name"])
        return {"setting": views.setting(request["name"], value, principal)}

    def list_account_settings(self, caller: Caller, request: Request) -> Response:
        """Those that the principal has of its own, or with `effectiveSettings` all that hold for it."""
        principal, wanted = request.get("principalArn") or caller.arn, request.get("value")
        if wanted is not None and request.get("name") is None:
            raise invalid_parameter("You must also specify an account setting name to use value.")
        settings, shown = self.settings(caller), []
        for name in [request["name"]] if request.get("name") else account_settings.DEFAULTS:
            look = settings.effective if request.get("effectiveSettings") else settings.own
            value = look(principal, name)
            if value is not None and wanted in (None, value):
                shown.append(views.setting(name, value, principal))
        return _page(shown, request, "settings", 10)

    def settings(self, caller: Caller) -> AccountSettings:
        key = (caller.account, caller.region)
        if key not in self._settings:
            self._settings[key] = AccountSettings(f"arn:aws:iam::{caller.account}:root")
        return self._settings[key]

    # -- task definitions

    def register_task_definition(self, caller: Caller, request: Request) -> Response:
        record = self._registry(caller).register(request, self._now(), caller.arn)
        shown: Response = {"taskDefinition": views.task_definition(record)}
        if record.tags:
            shown["tags"] = views.tag_list(record.tags)
        return shown

    def describe_task_definition(self, caller: Caller, request: Request) -> Response:
        record = self._registry(caller).find(request["taskDefinition"])
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
        record = self._registry(caller).find(name)
        if record is None:
            raise client_error("The specified task definition does not exist.")
        if record.status == "ACTIVE":
            record.status, record.deregistered_at = "INACTIVE", self._now()
        return {"taskDefinition": views.task_definition(record)}

    def delete_task_definitions(self, caller: Caller, request: Request) -> Response:
        names = request["taskDefinitions"]
        if not 1 <= len(names) <= 10:  # noqa: PLR2004 - "up to 10 task definitions"
            raise invalid_parameter("taskDefinitions can have 1 to 10 items.")
        deleted, failures = [], []
        for name in names:
            record = self._registry(caller).find(name)
            if record is None or ":" not in name.rsplit("/", 1)[-1]:
                failures.append({"arn": name, "reason": "MISSING"})
            elif record.status == "ACTIVE":
                failures.append(
                    {"arn": record.arn, "reason": "TASK_DEFINITION_IN_USE", "detail": "Deregister it first."}
                )
            else:
                record.status, record.delete_requested_at = "DELETE_IN_PROGRESS", self._now()
                deleted.append(views.task_definition(record))
        return {"taskDefinitions": deleted, "failures": failures}

    def list_task_definitions(self, caller: Caller, request: Request) -> Response:
        status, family = request.get("status") or "ACTIVE", request.get("familyPrefix")
        # "familyPrefix: The full family name" - not a prefix, despite its name.
        arns = [
            each.arn
            for each in self._registry(caller).all()
            if each.status == status and (family is None or each.family == family)
        ]
        if request.get("sort") == "DESC":
            arns.reverse()
        return _page(arns, request, "taskDefinitionArns", 100)

    def list_task_definition_families(self, caller: Caller, request: Request) -> Response:
        status, prefix = request.get("status") or "ALL", request.get("familyPrefix") or ""
        names = []
        for name, revisions in sorted(self._registry(caller).families.items()):
            live = any(each.status == "ACTIVE" for each in revisions)
            if name.startswith(prefix) and (status == "ALL" or live == (status == "ACTIVE")):
                names.append(name)
        return _page(names, request, "families", 100)

    # -- services

    def create_service(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
        if not request.get("taskDefinition"):
            raise invalid_parameter("TaskDefinition can not be blank.")
        existing = cluster.services.get(request.get("serviceName") or "")
        if existing is not None and existing.status != "INACTIVE":
            return {"service": self._shown(_idempotent(existing, request), tags=True)}
        definition = self._registry(caller).usable(request["taskDefinition"])
        document = requests.new_document(request, cluster, definition)
        requests.check_create(request, document, cluster, definition, self._surroundings)
        service = Service(
            arn=f"{caller.prefix}service/{cluster.name}/{request['serviceName']}",
            name=request["serviceName"],
            cluster=cluster,
            created_at=self._now(),
            created_by=caller.arn,
            desired_count=request["desiredCount"],
            document=document,
            client_token=request.get("clientToken"),
            request={name: value for name, value in request.items() if value is not None},
            tags=tags_from(request.get("tags")),
        )
        cluster.services[service.name] = service
        self.scheduler.deployments.begin(service, self._revision(service, definition))
        return {"service": self._shown(service, tags=True)}

    def update_service(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
        service = self._service(cluster, request.get("service"))
        if service.status != "ACTIVE":
            raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
        name = request.get("taskDefinition")
        current = self._registry(caller).find(service.document["taskDefinition"])
        definition = self._registry(caller).usable(name) if name else current
        if definition is None:
            raise client_error("TaskDefinition not found.")
        requests.check_count(request.get("desiredCount"))
        document = requests.updated_document(service.document, request, definition)
        requests.check_all(document, cluster, definition, self._surroundings)
        before, service.document = service.document, document
        desired = request.get("desiredCount")
        if desired is not None and desired != service.desired_count:
            self.scheduler.deployments.scale(service, desired)
        if request.get("forceNewDeployment") or requests.needs_deployment(before, document):
            self.scheduler.deployments.begin(service, self._revision(service, definition))
        self.scheduler.look_at(service)
        return {"service": self._shown(service, tags=True)}

    def delete_service(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
        service = self._service(cluster, request.get("service"))
        if service.status == "INACTIVE":
            raise AwsError("ServiceNotFoundException", "Service not found.")
        if service.status == "ACTIVE":
            if service.desired_count > 0 and not request.get("force"):
                raise invalid_parameter("The service cannot be stopped while it is scaled above 0.")
            service.status, service.desired_count, service.steady = "DRAINING", 0, False
            for deployment in service.deployments:
                deployment.desired = 0
            self.scheduler.look_at(service)
        return {"service": self._shown(service, tags=True)}

    def describe_services(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
        names = request["services"]
        if not names:
            raise invalid_parameter("Services cannot be empty.")
        if len(names) > 10:  # noqa: PLR2004 - "You may specify up to 10 services to describe in a single operation."
            raise invalid_parameter("services can have at most 10 items.")
        tags = "TAGS" in (request.get("include") or [])
        found, failures = [], []
        for name in dict.fromkeys(names):
            service = cluster.services.get(name.rsplit("/", 1)[-1])
            if service is None:
                failures.append({"arn": _arn(caller, f"service/{cluster.name}", name), "reason": "MISSING"})
            else:
                found.append(self._shown(service, tags=tags))
        return {"services": found, "failures": failures}

    def list_services(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
        launch, strategy = request.get("launchType"), request.get("schedulingStrategy")
        arns = [
            each.arn
            for each in cluster.services.values()
            if each.status == "ACTIVE"  # a DRAINING service is no longer listed (DeleteService)
            and launch in (None, each.document.get("launchType"))
            and strategy in (None, each.document["schedulingStrategy"])
        ]
        return _page(arns, request, "serviceArns", 100, default=10)

    def _revision(self, service: Service, definition: TaskDefinition) -> Revision:
        return Revision(
            arn=service.arn.replace(":service/", ":service-revision/") + f"/{self.scheduler.ids.digits(19)}",
            task_definition=definition,
            document=requests.revision_document(service.document),
            created_at=self._now(),
        )

    def _shown(self, service: Service, *, tags: bool) -> Response:
        shown = views.service(service)
        if tags:
            shown["tags"] = views.tag_list(service.tags)
        return shown

    # -- service deployments

    def list_service_deployments(self, caller: Caller, request: Request) -> Response:
        service = self._service(self._cluster(caller, request.get("cluster")), request.get("service"))
        wanted, created = request.get("status") or [], request.get("createdAt") or {}
        shown = [
            views.service_deployment_brief(each, service)
            for each in service.records
            if (not wanted or each.status in wanted) and _within(each.created_at, created)
        ]
        return _page(shown, request, "serviceDeployments", 100, default=20)

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
            service = self._service_of(caller, arn)
            revision = service.revisions.get(arn) if service else None
            if service is None or revision is None:
                failures.append({"arn": arn, "reason": "MISSING"})
            else:
                found.append(views.revision(revision, service))
        return {"serviceRevisions": found, "failures": failures}

    def stop_service_deployment(self, caller: Caller, request: Request) -> Response:
        arn, kind = request["serviceDeploymentArn"], request.get("stopType") or "ROLLBACK"
        pair = self._deployment_record(caller, arn)
        if pair is None:
            raise AwsError(
                "ServiceDeploymentNotFoundException", "The service deploy ARN that you specified doesn't exist."
            )
        record, service = pair
        if kind != "ROLLBACK":
            raise invalid_parameter(f"Invalid stopType {kind}: the valid value is ROLLBACK.")
        if record.status not in ("PENDING", "IN_PROGRESS"):
            raise AwsError(
                "ConflictException", f"The service deployment can't be stopped: its status is {record.status}."
            )
        record.status = "ROLLBACK_REQUESTED"
        if not self.scheduler.deployments.roll_back(service, record, texts.STOP_REQUESTED):
            record.status = "IN_PROGRESS"
            raise AwsError("ConflictException", "There is no completed service revision to roll back to.")
        return {"serviceDeploymentArn": arn}

    def continue_service_deployment(self, caller: Caller, request: Request) -> Response:
        arn, action = request["serviceDeploymentArn"], request.get("action") or "CONTINUE"
        pair = self._deployment_record(caller, arn)
        if pair is None:
            raise AwsError(
                "ServiceDeploymentNotFoundException", "The service deploy ARN that you specified doesn't exist."
            )
        record, service = pair
        hook = next((each for each in record.hooks if each.id == request["hookId"]), None)
        if hook is None or hook.kind != "PAUSE" or hook.status != "AWAITING_ACTION":
            raise invalid_parameter(f"No paused lifecycle hook {request['hookId']} awaits an action.")
        if action not in ("CONTINUE", "ROLLBACK"):
            raise invalid_parameter(f"Invalid action {action}: use CONTINUE or ROLLBACK.")
        self.scheduler.shifts.resolve(service, hook, action)
        self.scheduler.look_at(service)
        return {"serviceDeploymentArn": arn}

    def _deployment_record(self, caller: Caller, arn: str) -> tuple[ServiceDeployment, Service] | None:
        service = self._service_of(caller, arn)
        record = next((each for each in service.records if each.arn == arn), None) if service else None
        return (record, service) if record is not None and service is not None else None

    def _service_of(self, caller: Caller, arn: str) -> Service | None:
        """The service in `…:service-deployment/CLUSTER/SERVICE/ID` and `…:service-revision/CLUSTER/SERVICE/ID`."""
        parts = arn.split("/")
        if len(parts) != 4:  # noqa: PLR2004 - the four parts above
            raise invalid_parameter(f"Invalid identifier: {arn}")
        cluster = self._find_cluster(caller, parts[1])
        return cluster.services.get(parts[2]) if cluster else None

    # -- tasks

    def run_task(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
        definition = self._registry(caller).usable(request["taskDefinition"])
        count = request.get("count") or 1
        if not 1 <= count <= 10:  # noqa: PLR2004 - "You can specify up to 10 tasks for each call."
            raise invalid_parameter("count must be between 1 and 10.")
        document = requests.new_document(request | {"desiredCount": count}, cluster, definition)
        requests.check_all(document | {"loadBalancers": []}, cluster, definition, self._surroundings)
        revision = Revision(
            arn="", task_definition=definition, document=requests.revision_document(document), created_at=self._now()
        )
        tasks = []
        zones = self.scheduler.placement.zones(cluster, revision.document)
        for _ in range(count):
            provider = placement.provider(revision.document, None)
            task = self.scheduler.placement.new_task(cluster, revision, zones, provider)
            task.group, task.started_by = request.get("group") or task.group, request.get("startedBy") or ""
            task.overrides = request.get("overrides") or {}
            task.tags = tags_from(request.get("tags"))
            task.enable_execute_command = bool(request.get("enableExecuteCommand"))
            self.scheduler.fleet.launch(task)
            tasks.append(views.task(task))
        return {"tasks": tasks, "failures": []}

    def describe_tasks(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
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
                failures.append({"arn": _arn(caller, f"task/{cluster.name}", name), "reason": "MISSING"})
                continue
            shown = views.task(task)
            if not with_tags:
                shown["tags"] = []
            found.append(shown)
        return {"tasks": found, "failures": failures}

    def list_tasks(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
        wanted = request.get("desiredStatus") or "RUNNING"
        tasks: Iterable[Task] = cluster.tasks.values()
        if request.get("serviceName"):
            service = self._service(cluster, request["serviceName"])
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
        return _page(arns, request, "taskArns", 100)

    def stop_task(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
        task = cluster.tasks.get(request["task"].rsplit("/", 1)[-1])
        if task is None:
            raise invalid_parameter("The referenced task was not found.")
        reason = request.get("reason")
        self.scheduler.fleet.stop(task, "UserInitiated", reason or texts.STOPPED_BY_USER)
        return {"task": views.task(task)}

    def execute_command(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request.get("cluster"))
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
        session = f"ecs-execute-command-{self.scheduler.ids.hex(17)}"
        return {
            "clusterArn": cluster.arn,
            "containerArn": container.arn,
            "containerName": name,
            "interactive": True,
            "session": {
                "sessionId": session,
                "streamUrl": f"wss://ssmmessages.{caller.region}.amazonaws.com/v1/data-channel/{session}",
                "tokenValue": self.scheduler.ids.token(40),
            },
            "taskArn": task.arn,
        }

    # -- task protection

    def update_task_protection(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request["cluster"])
        minutes = request.get("expiresInMinutes") or 120  # "the default expiration time is 2 hours"
        if not 1 <= minutes <= 2880:  # noqa: PLR2004 - "up to 2,880 minutes (48 hours)"
            raise invalid_parameter("expiresInMinutes must be between 1 and 2880.")
        until = self._now() + timedelta(minutes=minutes) if request["protectionEnabled"] else None

        def protect(task: Task) -> None:
            task.protection_enabled, task.protected_until = request["protectionEnabled"], until
            if task.service is not None:
                self.scheduler.look_at(task.service)
                if until is not None:
                    self.scheduler.look_later(until, task.service)

        return self._protection(caller, cluster, request["tasks"], protect)

    def get_task_protection(self, caller: Caller, request: Request) -> Response:
        cluster = self._cluster(caller, request["cluster"])
        names = request.get("tasks") or list(cluster.tasks)
        return self._protection(caller, cluster, names, lambda _task: None)

    def _protection(self, caller: Caller, cluster: Cluster, names: list[str], act: Callable[[Task], None]) -> Response:
        shown, failures = [], []
        for name in names:
            task = cluster.tasks.get(name.rsplit("/", 1)[-1])
            if task is None:
                failures.append({"arn": _arn(caller, f"task/{cluster.name}", name), "reason": "MISSING"})
            elif task.service is None:
                failures.append(
                    {"arn": task.arn, "reason": "TASK_NOT_VALID", "detail": "Only service tasks can be protected."}
                )
            else:
                act(task)
                shown.append(
                    views.present(
                        taskArn=task.arn,
                        protectionEnabled=task.protected(self._now()),
                        expirationDate=task.protected_until,
                    )
                )
        return {"protectedTasks": shown, "failures": failures}

    # -- tags

    def tag_resource(self, caller: Caller, request: Request) -> Response:
        tags = self._tags(caller, request["resourceArn"])
        merged = tags | tags_from(request["tags"])
        check_tags({key: value for key, value in merged.items() if not key.startswith("aws:")})
        tags.update(merged)
        return {}

    def untag_resource(self, caller: Caller, request: Request) -> Response:
        tags = self._tags(caller, request["resourceArn"])
        for key in request["tagKeys"]:
            tags.pop(key, None)
        return {}

    def list_tags_for_resource(self, caller: Caller, request: Request) -> Response:
        return {"tags": views.tag_list(self._tags(caller, request["resourceArn"]))}

    def _tags(self, caller: Caller, arn: str) -> dict[str, str]:
        kind, *path = arn.rsplit(":", 1)[-1].split("/") if ":task-definition/" not in arn else ["task-definition", arn]
        if not arn.startswith(caller.prefix):
            raise invalid_parameter("Invalid arn syntax.")
        match kind, path:
            case "cluster", [name]:
                return self._cluster(caller, name).tags
            case "task-definition", [name]:
                definition = self._registry(caller).find(name)
                if definition is not None:
                    return definition.tags
                raise invalid_parameter("The specified task definition was not found.")
            case "service", [cluster, name]:
                service = self._cluster(caller, cluster).services.get(name)
                if service is not None and service.status != "INACTIVE":
                    return service.tags
                raise AwsError("ServiceNotFoundException", "Service not found.")
            case "task", [cluster, identifier]:
                task = self._cluster(caller, cluster).tasks.get(identifier)
                if task is not None:
                    return task.tags
                raise invalid_parameter("The specified task is stopped or was not found.")
        raise invalid_parameter("Invalid arn syntax.")

    # -- looking up

    def clusters(self) -> Iterable[Cluster]:
        return self._clusters.values()

    def fail(self, failure: Failure) -> None:
        """Rehearse a failure with every service that its pattern matches."""
        services = [each for cluster in self._clusters.values() for each in cluster.services.values()]
        self.scheduler.inject(failure, services)

    def shown(self, caller: Caller, cluster: str, name: str) -> Response | None:
        """A service as DescribeServices shows it now, without its tags."""
        found = self._find_cluster(caller, cluster)
        service = found.services.get(name) if found else None
        return self._shown(service, tags=False) if service is not None else None

    def tags_or_none(self, caller: Caller, arn: str) -> dict[str, str]:
        """The tags of a resource; none if there is no such resource."""
        try:
            return self._tags(caller, arn)
        except AwsError:
            return {}

    def desired(self, name: tuple[str, str, str, str]) -> int | None:
        """The desired count of an ACTIVE service by account, region, cluster and name."""
        account, region, cluster, service = name
        found = self._clusters.get((account, region, cluster))
        record = found.services.get(service) if found else None
        return record.desired_count if record is not None and record.status == "ACTIVE" else None

    def scale(self, name: tuple[str, str, str, str], count: int) -> None:
        """Set it, as Application Auto Scaling does with its service-linked role."""
        account, region, cluster, service = name
        role = f"arn:aws:sts::{account}:assumed-role/AWSServiceRoleForApplicationAutoScaling_ECSService/autoscaling"
        caller = Caller(account, region, role)
        self.update_service(caller, {"cluster": cluster, "service": service, "desiredCount": count})

    def target_groups(self, name: tuple[str, str, str, str]) -> list[str]:
        """ARNs of the target groups that a service registers its tasks with."""
        account, region, cluster, service = name
        found = self._clusters.get((account, region, cluster))
        record = found.services.get(service) if found else None
        balancers = record.document["loadBalancers"] if record is not None else []
        return [each["targetGroupArn"] for each in balancers if each.get("targetGroupArn")]

    def _now(self) -> datetime:
        return self.scheduler.clock.now()

    def _registry(self, caller: Caller) -> Registry:
        key = (caller.account, caller.region)
        if key not in self._registries:
            self._registries[key] = Registry(*key)
        return self._registries[key]

    def _find_cluster(self, caller: Caller, name: str | None) -> Cluster | None:
        short = (name or "default").rsplit("/", 1)[-1]
        return self._clusters.get((caller.account, caller.region, short))

    def _cluster(self, caller: Caller, name: str | None) -> Cluster:
        found = self._find_cluster(caller, name)
        if found is None or found.status != "ACTIVE":
            raise AwsError("ClusterNotFoundException", "Cluster not found.")
        return found

    def _service(self, cluster: Cluster, name: str | None) -> Service:
        service = cluster.services.get((name or "").rsplit("/", 1)[-1])
        if service is None:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        return service


def _check_providers(names: Iterable[str]) -> None:
    for name in names:
        if name not in requests.FARGATE_PROVIDERS:
            raise invalid_parameter(f"The specified capacity provider {name} does not exist or is not ACTIVE.")


def _idempotent(existing: Service, request: Request) -> Service:
    """The same token with the same parameters returns the service; anything else with its name is refused."""
    if existing.status == "DRAINING":
        raise invalid_parameter("Unable to Start a service that is still Draining.")
    same = existing.client_token is not None and existing.client_token == request.get("clientToken")
    if not same or existing.request != {name: value for name, value in request.items() if value is not None}:
        raise invalid_parameter("Creation of service was not idempotent.")
    return existing


def _arn(caller: Caller, kind: str, name: str) -> str:
    return name if name.startswith("arn:") else f"{caller.prefix}{kind}/{name}"


def _few(arns: list[str], member: str) -> list[str]:
    if not 1 <= len(arns) <= 20:  # noqa: PLR2004 - "You can specify a maximum of 20 ARNs."
        raise invalid_parameter(f"{member} can have 1 to 20 items.")
    return list(dict.fromkeys(arns))


def _within(when: datetime, window: dict[str, Any]) -> bool:
    after, before = _time(window.get("after")), _time(window.get("before"))
    return (after is None or when > after) and (before is None or when < before)


def _time(value: Any) -> datetime | None:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


def _page(items: list[Any], request: Request, member: str, maximum: int, *, default: int | None = None) -> Response:
    """`maxResults` up to `maximum`; a token says where the next page begins, and for which list."""
    size = request.get("maxResults") or default or maximum
    if not 1 <= size <= maximum:
        raise invalid_parameter(f"maxResults must be between 1 and {maximum}.")
    start = 0
    token = request.get("nextToken")
    if token:
        try:
            start = json.loads(base64.urlsafe_b64decode(token))[member]
        except (ValueError, KeyError, TypeError) as error:
            raise invalid_parameter("Invalid token") from error
    response: Response = {member: items[start : start + size]}
    if start + size < len(items):
        response["nextToken"] = base64.urlsafe_b64encode(json.dumps({member: start + size}).encode()).decode()
    return response
