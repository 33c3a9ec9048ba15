"""Records as the API shows them: members named and shaped as in the service model, absent where AWS leaves them out.

This module must not change a record.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from inference_sandbox.ecs.health import task_health
from inference_sandbox.ecs.state import (
    Cluster,
    Container,
    Deployment,
    Hook,
    Revision,
    Service,
    ServiceDeployment,
    Task,
    TaskDefinition,
)
from inference_sandbox.ecs.surroundings import Event

PENDING = ("PROVISIONING", "PENDING", "ACTIVATING")
WHOLE = 100.0
"""Percent of the traffic."""
REVISION_EXTRAS = ("serviceConnectConfiguration", "volumeConfigurations", "vpcLatticeConfigurations")
REVISION_MEMBERS = ("capacityProviderStrategy", "launchType", "networkConfiguration")
SERVICE_MEMBERS = (
    "loadBalancers",
    "serviceRegistries",
    "launchType",
    "capacityProviderStrategy",
    "platformVersion",
    "platformFamily",
    "deploymentConfiguration",
    "placementConstraints",
    "placementStrategy",
    "networkConfiguration",
    "healthCheckGracePeriodSeconds",
    "schedulingStrategy",
    "deploymentController",
    "enableECSManagedTags",
    "propagateTags",
    "enableExecuteCommand",
    "availabilityZoneRebalancing",
)


def present(**members: Any) -> dict[str, Any]:
    """Without the members that are None: AWS leaves them out."""
    return {name: value for name, value in members.items() if value is not None}


def tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in tags.items()]


def running(tasks: Iterable[Task]) -> int:
    return sum(task.last_status == "RUNNING" for task in tasks)


def pending(tasks: Iterable[Task]) -> int:
    return sum(task.last_status in PENDING and task.active for task in tasks)


def cluster(record: Cluster) -> dict[str, Any]:
    return present(
        clusterArn=record.arn,
        clusterName=record.name,
        status=record.status,
        registeredContainerInstancesCount=0,
        runningTasksCount=running(record.tasks.values()),
        pendingTasksCount=pending(record.tasks.values()),
        activeServicesCount=sum(service.status == "ACTIVE" for service in record.services.values()),
        statistics=[],
        settings=record.settings,
        configuration=record.configuration,
        capacityProviders=record.capacity_providers,
        defaultCapacityProviderStrategy=record.default_strategy,
        serviceConnectDefaults=record.service_connect_defaults,
    )


def capacity_provider(prefix: str, name: str) -> dict[str, Any]:
    return {
        "capacityProviderArn": f"{prefix}capacity-provider/{name}",
        "name": name,
        "status": "ACTIVE",
        "type": name,
        "tags": [],
    }


def setting(name: str, value: str, principal: str) -> dict[str, Any]:
    kind = "aws_managed" if name == "guardDutyActivate" else "user"
    return {"name": name, "value": value, "principalArn": principal, "type": kind}


def task_definition(record: TaskDefinition) -> dict[str, Any]:
    return present(
        taskDefinitionArn=record.arn,
        **record.document,
        revision=record.revision,
        status=record.status,
        registeredAt=record.registered_at,
        registeredBy=record.registered_by,
        deregisteredAt=record.deregistered_at,
        deleteRequestedAt=record.delete_requested_at,
    )


def service(record: Service) -> dict[str, Any]:
    tasks = record.tasks
    current = record.primary.record if record.deployments else None
    return present(
        serviceArn=record.arn,
        serviceName=record.name,
        clusterArn=record.cluster.arn,
        status=record.status,
        desiredCount=record.desired_count,
        runningCount=running(tasks),
        pendingCount=pending(tasks),
        taskDefinition=record.document["taskDefinition"],
        **{name: record.document[name] for name in SERVICE_MEMBERS if record.document.get(name) is not None},
        deployments=[deployment(each) for each in record.deployments],
        roleArn=record.document.get("roleArn"),
        events=[{"id": event.id, "createdAt": event.at, "message": event.message} for event in record.events],
        createdAt=record.created_at,
        createdBy=record.created_by,
        currentServiceDeployment=current.arn if current and current.finished_at is None else None,
        currentServiceRevisions=[
            {
                "arn": each.revision.arn,
                "requestedTaskCount": each.desired,
                "runningTaskCount": running(each.tasks.values()),
                "pendingTaskCount": pending(each.tasks.values()),
            }
            for each in record.deployments
        ],
    )


def deployment(record: Deployment) -> dict[str, Any]:
    document = record.revision.document
    return present(
        id=record.id,
        status=record.status,
        taskDefinition=record.revision.task_definition.arn,
        desiredCount=record.desired,
        pendingCount=pending(record.tasks.values()),
        runningCount=running(record.tasks.values()),
        failedTasks=record.failed_tasks,
        createdAt=record.created_at,
        updatedAt=record.updated_at,
        **{name: document[name] for name in REVISION_MEMBERS if document.get(name)},
        platformVersion=platform(document.get("platformVersion")),
        platformFamily="Linux",
        rolloutState=record.rollout_state,
        rolloutStateReason=record.rollout_reason,
    )


def platform(version: str | None) -> str:
    """LATEST resolves to 1.4.0 for Linux tasks on Fargate (developer guide, "Fargate platform versions")."""
    return "1.4.0" if version in (None, "LATEST") else str(version)


def container(record: Container, task: Task) -> dict[str, Any]:
    interface = {"attachmentId": task.attachment, "privateIpv4Address": task.address} if task.address else None
    return present(
        containerArn=record.arn,
        taskArn=task.arn,
        name=record.name,
        image=record.definition["image"],
        imageDigest=digest(record.definition["image"]),
        runtimeId=record.runtime_id,
        lastStatus=record.last_status,
        exitCode=record.exit_code,
        reason=record.reason,
        networkBindings=[],
        networkInterfaces=[interface] if interface else [],
        healthStatus=record.health,
        managedAgents=_managed_agents(record, task),
        cpu=str(record.definition.get("cpu", 0)),
        memory=_text(record.definition.get("memory")),
        memoryReservation=_text(record.definition.get("memoryReservation")),
    )


def _managed_agents(record: Container, task: Task) -> list[dict[str, Any]] | None:
    if not task.enable_execute_command:
        return None
    return [present(name="ExecuteCommandAgent", lastStatus=record.last_status, lastStartedAt=task.started_at)]


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def task(record: Task) -> dict[str, Any]:
    document = record.task_definition.document
    storage = document.get("ephemeralStorage") or {"sizeInGiB": 20}
    return present(
        **_task_core(record),
        attributes=[{"name": "ecs.cpu-architecture", "value": _architecture(document)}],
        connectivity="CONNECTED" if record.address else None,
        enableExecuteCommand=record.enable_execute_command,
        healthStatus=task_health(record),
        tags=tag_list(record.tags),
        ephemeralStorage=storage,
        fargateEphemeralStorage=storage,
    )


def _architecture(document: dict[str, Any]) -> str:
    return str((document.get("runtimePlatform") or {}).get("cpuArchitecture", "X86_64")).lower()


def _task_core(record: Task) -> dict[str, Any]:
    document = record.task_definition.document
    return present(
        attachments=[_attachment(record)],
        availabilityZone=record.zone,
        capacityProviderName=record.capacity_provider,
        clusterArn=record.cluster.arn,
        containers=[container(each, record) for each in record.containers],
        cpu=document.get("cpu"),
        memory=document.get("memory"),
        createdAt=record.created_at,
        desiredStatus=record.desired_status,
        executionStoppedAt=record.execution_stopped_at,
        group=record.group,
        lastStatus=record.last_status,
        launchType=record.launch_type,
        overrides=record.overrides or {"containerOverrides": [{"name": c.name} for c in record.containers]},
        platformVersion=record.platform_version,
        platformFamily="Linux",
        pullStartedAt=record.pull_started_at,
        pullStoppedAt=record.pull_stopped_at,
        startedAt=record.started_at,
        startedBy=record.started_by or None,
        stopCode=record.stop_code,
        stoppedAt=record.stopped_at,
        stoppedReason=record.stopped_reason,
        stoppingAt=record.stopping_at,
        taskArn=record.arn,
        taskDefinitionArn=record.task_definition.arn,
        version=record.version,
    )


def _attachment(record: Task) -> dict[str, Any]:
    details = {
        "subnetId": record.subnet,
        "networkInterfaceId": record.eni,
        "macAddress": record.mac,
        "privateIPv4Address": record.address,
    }
    status = {"PROVISIONING": "PRECREATED", "DEPROVISIONING": "DETACHING", "STOPPED": "DELETED"}
    return {
        "id": record.attachment,
        "type": "ElasticNetworkInterface",
        "status": status.get(record.last_status, "ATTACHED"),
        "details": [{"name": name, "value": value} for name, value in details.items() if value],
    }


def task_event(record: Task, at: datetime) -> Event:
    """ECS Task State Change: the task as DescribeTasks shows it, without its health (guide, "Amazon ECS events")."""
    return Event(
        account=record.cluster.account,
        region=record.cluster.region,
        detail_type="ECS Task State Change",
        resources=[record.arn],
        detail=_without_health(_task_core(record) | {"updatedAt": at}),
        at=at,
    )


def instance_attributes(record: Task, registry: dict[str, Any]) -> dict[str, str]:
    """Of the task as an instance of Cloud Map."""
    port = registry.get("port") or registry.get("containerPort")
    return present(
        AWS_INSTANCE_IPV4=record.address,
        AWS_INSTANCE_PORT=str(port) if port else None,
        AVAILABILITY_ZONE=record.zone,
        REGION=record.cluster.region,
        ECS_CLUSTER_NAME=record.cluster.name,
        ECS_SERVICE_NAME=record.service.name if record.service else None,
        ECS_TASK_DEFINITION_FAMILY=record.task_definition.family,
    )


def _without_health(detail: dict[str, Any]) -> dict[str, Any]:
    for each in detail["containers"]:
        each.pop("healthStatus", None)
    for each in detail["attachments"]:
        each["type"] = "eni"
    return detail


def revision(record: Revision, service_record: Service) -> dict[str, Any]:
    document = record.document
    return present(
        serviceRevisionArn=record.arn,
        serviceArn=service_record.arn,
        clusterArn=service_record.cluster.arn,
        taskDefinition=record.task_definition.arn,
        **{name: document[name] for name in REVISION_MEMBERS if document.get(name)},
        loadBalancers=document.get("loadBalancers") or [],
        serviceRegistries=document.get("serviceRegistries") or [],
        platformVersion=platform(document.get("platformVersion")),
        platformFamily="Linux",
        containerImages=[
            present(containerName=each["name"], image=each["image"], imageDigest=digest(each["image"]))
            for each in record.task_definition.document["containerDefinitions"]
        ],
        **{name: document[name] for name in REVISION_EXTRAS if document.get(name)},
        resolvedConfiguration={"loadBalancers": resolved} if (resolved := _resolved(record)) else None,
        guardDutyEnabled=False,
        createdAt=record.created_at,
    )


def _resolved(record: Revision) -> list[dict[str, Any]]:
    """Which target groups serve the revision, and which rules lead to them."""
    found = []
    for balancer in record.document.get("loadBalancers") or []:
        advanced = balancer.get("advancedConfiguration") or {}
        alternate = advanced.get("alternateTargetGroupArn")
        group = alternate if record.side and alternate else balancer["targetGroupArn"]
        found.append(present(targetGroupArn=group, productionListenerRule=advanced.get("productionListenerRule")))
    return found


def digest(image: str) -> str | None:
    """Of an image that is named by it; the sandbox asks no registry for that of a tag."""
    return image.partition("@")[2] or None


def _summary(wanted: Revision, record: ServiceDeployment, service_record: Service) -> dict[str, Any]:
    """What runs of a revision now, and its traffic if the deployment shifts that."""
    live = [each for each in service_record.deployments if each.revision is wanted]
    tasks = [task_record for each in live for task_record in each.tasks.values()]
    return {
        "arn": wanted.arn,
        "requestedTaskCount": sum(each.desired for each in live),
        "runningTaskCount": running(tasks),
        "pendingTaskCount": pending(tasks),
    } | _traffic(wanted, record, service_record)


def _traffic(wanted: Revision, record: ServiceDeployment, service_record: Service) -> dict[str, float]:
    """The source has what the target revision does not have."""
    green = next((each for each in service_record.deployments if each.revision is record.target), None)
    if record.lifecycle_stage is None or green is None:
        return {}
    back = record.rollback is not None
    production, test = (0.0, 0.0) if back else (green.weight, green.test_weight)
    if wanted is not record.target:
        blue = len(record.sources) == 1 or (back and wanted.arn == (record.rollback or {})["serviceRevisionArn"])
        production, test = (WHOLE - production if blue else 0.0), 0.0
    return {"requestedProductionTrafficWeight": production, "requestedTestTrafficWeight": test}


def _hook(record: Hook) -> dict[str, Any]:
    return present(
        hookId=record.id,
        targetType=record.kind,
        targetArn=record.target,
        status=record.status,
        expiresAt=record.expires_at,
        timeoutAction=record.timeout_action,
    )


def service_deployment(record: ServiceDeployment, service_record: Service) -> dict[str, Any]:
    return present(
        **service_deployment_brief(record, service_record, brief=False),
        updatedAt=record.updated_at,
        stoppedAt=record.stopped_at,
        sourceServiceRevisions=[_summary(each, record, service_record) for each in record.sources],
        targetServiceRevision=_summary(record.target, record, service_record),
        lifecycleStage=record.lifecycle_stage,
        lifecycleHookDetails=[_hook(each) for each in record.hooks] or None,
        deploymentConfiguration=record.configuration,
        rollback=record.rollback,
        deploymentCircuitBreaker={
            "status": record.breaker_status,
            "failureCount": record.breaker_failures,
            "threshold": record.breaker_threshold,
        },
        alarms=record.alarms,
    )


def service_deployment_brief(
    record: ServiceDeployment, service_record: Service, *, brief: bool = True
) -> dict[str, Any]:
    return present(
        serviceDeploymentArn=record.arn,
        serviceArn=service_record.arn,
        clusterArn=service_record.cluster.arn,
        startedAt=record.started_at,
        createdAt=record.created_at,
        finishedAt=record.finished_at,
        targetServiceRevisionArn=record.target.arn if brief else None,
        status=record.status,
        statusReason=record.status_reason,
    )
