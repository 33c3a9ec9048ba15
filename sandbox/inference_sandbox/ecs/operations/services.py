"""Services: created, changed, deleted, shown. How their deployments proceed is the scheduler's."""

from __future__ import annotations

from collections.abc import Mapping

from inference_sandbox.ecs import requests, views
from inference_sandbox.ecs.accounts import Accounts, Caller
from inference_sandbox.ecs.errors import AwsError, client_error, invalid_parameter
from inference_sandbox.ecs.operations import Operation, Request, Response
from inference_sandbox.ecs.paging import page
from inference_sandbox.ecs.scheduler import Scheduler
from inference_sandbox.ecs.state import Revision, Service, TaskDefinition
from inference_sandbox.ecs.surroundings import Surroundings
from inference_sandbox.ecs.task_definitions import tags_from


class Services:
    def __init__(self, accounts: Accounts, scheduler: Scheduler, surroundings: Surroundings) -> None:
        self._accounts = accounts
        self._scheduler = scheduler
        self._surroundings = surroundings

    def operations(self) -> Mapping[str, Operation]:
        return {
            "CreateService": self.create_service,
            "UpdateService": self.update_service,
            "DeleteService": self.delete_service,
            "DescribeServices": self.describe_services,
            "ListServices": self.list_services,
        }

    def create_service(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request.get("cluster"))
        if not request.get("taskDefinition"):
            raise invalid_parameter("TaskDefinition can not be blank.")
        existing = cluster.services.get(request.get("serviceName") or "")
        if existing is not None and existing.status != "INACTIVE":
            return {"service": self._shown(_idempotent(existing, request), tags=True)}
        definition = self._accounts.registry(caller).usable(request["taskDefinition"])
        document = requests.new_document(request, cluster, definition)
        requests.check_create(request, document, cluster, definition, self._surroundings)
        service = Service(
            arn=f"{caller.prefix}service/{cluster.name}/{request['serviceName']}",
            name=request["serviceName"],
            cluster=cluster,
            created_at=self._scheduler.clock.now(),
            created_by=caller.arn,
            desired_count=request["desiredCount"],
            document=document,
            client_token=request.get("clientToken"),
            request={name: value for name, value in request.items() if value is not None},
            tags=tags_from(request.get("tags")),
        )
        cluster.services[service.name] = service
        self._scheduler.deployments.begin(service, self._revision(service, definition))
        return {"service": self._shown(service, tags=True)}

    def update_service(self, caller: Caller, request: Request) -> Response:
        service = self._accounts.service(caller, request.get("cluster"), request.get("service"))
        if service.status != "ACTIVE":
            raise AwsError("ServiceNotActiveException", "Service was not ACTIVE.")
        name = request.get("taskDefinition")
        current = self._accounts.registry(caller).find(service.document["taskDefinition"])
        definition = self._accounts.registry(caller).usable(name) if name else current
        if definition is None:
            raise client_error("TaskDefinition not found.")
        requests.check_count(request.get("desiredCount"))
        document = requests.updated_document(service.document, request, definition)
        requests.check_all(document, service.cluster, definition, self._surroundings)
        before, service.document = service.document, document
        desired = request.get("desiredCount")
        if desired is not None and desired != service.desired_count:
            self._scheduler.deployments.scale(service, desired)
        if request.get("forceNewDeployment") or requests.needs_deployment(before, document):
            self._scheduler.deployments.begin(service, self._revision(service, definition))
        self._scheduler.look_at(service)
        return {"service": self._shown(service, tags=True)}

    def delete_service(self, caller: Caller, request: Request) -> Response:
        service = self._accounts.service(caller, request.get("cluster"), request.get("service"))
        if service.status == "INACTIVE":
            raise AwsError("ServiceNotFoundException", "Service not found.")
        if service.status == "ACTIVE":
            if service.desired_count > 0 and not request.get("force"):
                raise invalid_parameter("The service cannot be stopped while it is scaled above 0.")
            service.status, service.desired_count, service.steady = "DRAINING", 0, False
            for deployment in service.deployments:
                deployment.desired = 0
            self._scheduler.look_at(service)
        return {"service": self._shown(service, tags=True)}

    def describe_services(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request.get("cluster"))
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
                failures.append({"arn": caller.arn_of(f"service/{cluster.name}", name), "reason": "MISSING"})
            else:
                found.append(self._shown(service, tags=tags))
        return {"services": found, "failures": failures}

    def list_services(self, caller: Caller, request: Request) -> Response:
        cluster = self._accounts.cluster(caller, request.get("cluster"))
        launch, strategy = request.get("launchType"), request.get("schedulingStrategy")
        arns = [
            each.arn
            for each in cluster.services.values()
            if each.status == "ACTIVE"  # a DRAINING service is no longer listed (DeleteService)
            and launch in (None, each.document.get("launchType"))
            and strategy in (None, each.document["schedulingStrategy"])
        ]
        return page(arns, request, "serviceArns", 100, default=10)

    def _revision(self, service: Service, definition: TaskDefinition) -> Revision:
        return Revision(
            arn=service.arn.replace(":service/", ":service-revision/") + f"/{self._scheduler.ids.digits(19)}",
            task_definition=definition,
            document=requests.revision_document(service.document),
            created_at=self._scheduler.clock.now(),
        )

    def _shown(self, service: Service, *, tags: bool) -> Response:
        shown = views.service(service)
        if tags:
            shown["tags"] = views.tag_list(service.tags)
        return shown


def _idempotent(existing: Service, request: Request) -> Service:
    """The same token with the same parameters returns the service; anything else with its name is refused."""
    if existing.status == "DRAINING":
        raise invalid_parameter("Unable to Start a service that is still Draining.")
    same = existing.client_token is not None and existing.client_token == request.get("clientToken")
    if not same or existing.request != {name: value for name, value in request.items() if value is not None}:
        raise invalid_parameter("Creation of service was not idempotent.")
    return existing
