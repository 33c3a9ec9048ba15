"""Services through the raw API (API reference: CreateService, UpdateService, DeleteService, DescribeServices, …)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.world import World, refusal


@follows("API reference, CreateService")
def test_a_created_service_shows_the_defaults(world: World) -> None:
    shown = world.create()
    assert shown["status"] == "ACTIVE"
    assert shown["deploymentConfiguration"]["maximumPercent"] == 200
    assert shown["deploymentConfiguration"]["minimumHealthyPercent"] == 100
    assert shown["deploymentConfiguration"]["deploymentCircuitBreaker"] == {"enable": False, "rollback": False}
    assert shown["schedulingStrategy"] == "REPLICA"
    assert shown["deploymentController"] == {"type": "ECS"}
    assert shown["platformVersion"] == "LATEST"
    assert shown["propagateTags"] == "NONE"
    assert shown["availabilityZoneRebalancing"] == "ENABLED"
    assert shown["enableExecuteCommand"] is False
    assert shown["networkConfiguration"]["awsvpcConfiguration"]["assignPublicIp"] == "DISABLED"
    assert shown["serviceArn"] == "arn:aws:ecs:us-east-1:123456789012:service/inference/web"
    assert shown["taskDefinition"].endswith("task-definition/app:1")


@follows("API reference, CreateService.clientToken")
def test_the_same_token_and_parameters_return_the_same_service(world: World) -> None:
    request = world.service_request(clientToken="token-1")
    first = world.ecs.create_service(**request)["service"]
    second = world.ecs.create_service(**request)["service"]
    assert first["serviceArn"] == second["serviceArn"]
    assert first["createdAt"] == second["createdAt"]
    assert len(second["deployments"]) == 1


@follows("API reference, CreateService.clientToken")
@pytest.mark.parametrize("change", [{"clientToken": "token-2"}, {"desiredCount": 2}, {"clientToken": None}])
def test_another_request_for_a_name_in_use_is_not_idempotent(world: World, change: dict[str, Any]) -> None:
    request = world.service_request(clientToken="token-1")
    world.ecs.create_service(**request)
    again = {name: value for name, value in (request | change).items() if value is not None}
    assert refusal(world.ecs.create_service, **again) == (
        "InvalidParameterException",
        "Creation of service was not idempotent.",
        400,
    )


@follows("API reference, CreateService: Errors")
def test_a_missing_cluster_is_named(world: World) -> None:
    assert refusal(world.ecs.create_service, **world.service_request(cluster="nowhere"))[:2] == (
        "ClusterNotFoundException",
        "Cluster not found.",
    )


@follows("API reference, DeregisterTaskDefinition")
@differs("AWS may go on accepting a deregistered revision for up to ten minutes; the sandbox refuses at once.")
def test_a_missing_or_deregistered_task_definition_is_refused(world: World) -> None:
    assert refusal(world.ecs.create_service, **world.service_request(taskDefinition="none:1"))[:2] == (
        "ClientException",
        "TaskDefinition not found.",
    )
    arn = world.register()
    world.ecs.deregister_task_definition(taskDefinition=arn)
    assert refusal(world.ecs.create_service, **world.service_request(taskDefinition=arn))[:2] == (
        "ClientException",
        "TaskDefinition is inactive",
    )


@follows("Developer guide, “Troubleshooting service load balancers in Amazon ECS”")
def test_a_target_group_without_listener_is_refused(world: World) -> None:
    group = world.target_group()
    balancers = [{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}]
    code, message, _ = refusal(world.ecs.create_service, **world.service_request(loadBalancers=balancers))
    assert code == "InvalidParameterException"
    assert message == f"The target group with targetGroupArn {group} does not have an associated load balancer."
    world.rule(world.listener(), group)
    assert world.create(loadBalancers=balancers)["healthCheckGracePeriodSeconds"] == 0


@follows("API reference, LoadBalancer")
@pytest.mark.parametrize(
    ("balancer", "message"),
    [
        ({"containerName": "other"}, "The container other does not exist in the task definition."),
        ({"containerPort": 9}, "The container app did not have a container port 9 defined."),
    ],
)
def test_a_load_balancer_must_name_a_container_and_its_port(
    world: World, balancer: dict[str, Any], message: str
) -> None:
    given = {"targetGroupArn": world.target_group(), "containerName": "app", "containerPort": 8080} | balancer
    assert refusal(world.ecs.create_service, **world.service_request(loadBalancers=[given]))[1] == message


@follows("API reference, LoadBalancer")
def test_a_target_group_of_instances_cannot_take_fargate_tasks(world: World) -> None:
    group = world.target_group(TargetType="instance")
    world.rule(world.listener(), group)
    balancers = [{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}]
    code, message, _ = refusal(world.ecs.create_service, **world.service_request(loadBalancers=balancers))
    assert code == "InvalidParameterException"
    assert "has target type instance, which is incompatible with the awsvpc network mode" in message


@follows("API reference, CreateService")
@differs("The wording of some refusals is not documented.")
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"networkConfiguration": None},
            "Network Configuration must be provided when networkMode 'awsvpc' is specified.",
        ),
        (
            {"capacityProviderStrategy": [{"capacityProvider": "FARGATE", "weight": 1}]},
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again.",
        ),
        (
            {"deploymentConfiguration": {"minimumHealthyPercent": 100, "maximumPercent": 100}},
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments.",
        ),
        ({"schedulingStrategy": "DAEMON"}, "daemon scheduling strategy is not supported"),
        ({"placementStrategy": [{"type": "random"}]}, "Placement strategies are not supported with FARGATE"),
        ({"placementConstraints": [{"type": "distinctInstance"}]}, "Placement constraints are not supported with"),
        ({"role": "ecsServiceRole"}, "You cannot specify an IAM role for services that require a service linked role."),
        ({"tags": [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]}, "Tag keys must be unique"),
        ({"serviceName": "not a name"}, "Invalid service name"),
        ({"desiredCount": None}, "desiredCount is required"),
        ({"desiredCount": 5001}, "Invalid desiredCount 5001"),
        ({"clientToken": "x" * 37}, "clientToken takes up to 36 ASCII characters"),
        (
            {"networkConfiguration": {"awsvpcConfiguration": {"subnets": ["subnet-00000000"]}}},
            "The subnet ID 'subnet-00000000' does not exist",
        ),
        ({"platformVersion": "9.9.9"}, "The specified platform version 9.9.9 does not exist."),
        (
            {
                "deploymentConfiguration": {"minimumHealthyPercent": 50, "maximumPercent": 100},
                "availabilityZoneRebalancing": "ENABLED",
            },
            "rebalancing needs a maximumPercent greater than 100",
        ),
    ],
)
def test_a_service_that_cannot_be_is_refused(world: World, change: dict[str, Any], message: str) -> None:
    request = world.service_request(**change)
    given = {name: value for name, value in request.items() if value is not None}
    code, said, status = refusal(world.ecs.create_service, **given)
    assert message in said
    assert status == 400
    assert code in {"InvalidParameterException", "PlatformUnknownException"}


@follows("API reference, CapacityProviderStrategyItem")
def test_a_capacity_provider_must_belong_to_the_cluster(world: World) -> None:
    request = world.service_request(capacityProviderStrategy=[{"capacityProvider": "mine", "weight": 1}])
    del request["launchType"]
    assert "not associated" in refusal(world.ecs.create_service, **request)[1]


@follows("API reference, CapacityProviderStrategyItem")
def test_a_strategy_spreads_tasks_by_base_and_weight(world: World) -> None:
    strategy = [
        {"capacityProvider": "FARGATE", "base": 1, "weight": 1},
        {"capacityProvider": "FARGATE_SPOT", "weight": 3},
    ]
    request = world.service_request(desiredCount=9, capacityProviderStrategy=strategy)
    del request["launchType"]
    shown = world.ecs.create_service(**request)["service"]
    assert "launchType" not in shown
    world.advance(60)
    providers = sorted(task["capacityProviderName"] for task in world.tasks())
    assert providers == ["FARGATE"] * 3 + ["FARGATE_SPOT"] * 6


@follows("API reference, UpdateService")
def test_an_update_of_a_service_that_is_not_active_is_refused(world: World) -> None:
    assert refusal(world.ecs.update_service, cluster="inference", service="web", desiredCount=1)[:2] == (
        "ServiceNotFoundException",
        "Service not found.",
    )
    world.create()
    world.ecs.delete_service(cluster="inference", service="web", force=True)
    world.advance(60)
    assert refusal(world.ecs.update_service, cluster="inference", service="web", desiredCount=1)[:2] == (
        "ServiceNotActiveException",
        "Service was not ACTIVE.",
    )


@follows("API reference, UpdateService")
def test_an_update_keeps_what_it_does_not_name(world: World) -> None:
    world.create(healthCheckGracePeriodSeconds=30, enableExecuteCommand=True)
    shown = world.ecs.update_service(cluster="inference", service="web", desiredCount=2)["service"]
    assert shown["healthCheckGracePeriodSeconds"] == 30
    assert shown["enableExecuteCommand"] is True
    assert shown["desiredCount"] == 2


@follows("API reference, UpdateService.taskDefinition")
def test_a_family_name_is_resolved_to_its_latest_active_revision(world: World) -> None:
    world.create()
    world.register()
    shown = world.ecs.update_service(cluster="inference", service="web", taskDefinition="app")["service"]
    assert shown["taskDefinition"].endswith("task-definition/app:2")


@follows("API reference, DeleteService")
def test_a_service_with_tasks_is_deleted_only_by_force_and_drains_first(world: World) -> None:
    world.create()
    world.advance(120)
    assert refusal(world.ecs.delete_service, cluster="inference", service="web")[:2] == (
        "InvalidParameterException",
        "The service cannot be stopped while it is scaled above 0.",
    )
    assert world.ecs.delete_service(cluster="inference", service="web", force=True)["service"]["status"] == "DRAINING"
    assert world.ecs.list_services(cluster="inference")["serviceArns"] == []
    world.advance(60)
    shown = world.describe()
    assert (shown["status"], shown["runningCount"], shown["desiredCount"]) == ("INACTIVE", 0, 0)
    assert refusal(world.ecs.delete_service, cluster="inference", service="web")[0] == "ServiceNotFoundException"


@follows("API reference, DeleteService")
def test_a_draining_name_cannot_be_used_and_an_inactive_one_can(world: World) -> None:
    group = world.target_group()
    world.rule(world.listener(), group)
    balancers = [{"targetGroupArn": group, "containerName": "app", "containerPort": 8080}]
    world.create(loadBalancers=balancers)
    world.advance(120)
    world.ecs.delete_service(cluster="inference", service="web", force=True)
    world.advance(10)  # its task drains for five minutes
    assert world.describe()["status"] == "DRAINING"
    assert "still Draining" in refusal(world.ecs.create_service, **world.service_request())[1]
    world.advance(400)
    assert world.describe()["status"] == "INACTIVE"
    assert world.create()["status"] == "ACTIVE"


@follows("API reference, DescribeServices")
def test_describe_takes_ten_services_and_tells_of_missing_ones(world: World) -> None:
    world.create()
    answer = world.ecs.describe_services(cluster="inference", services=["web", "none"])
    assert [each["serviceName"] for each in answer["services"]] == ["web"]
    arn = "arn:aws:ecs:us-east-1:123456789012:service/inference/none"
    assert answer["failures"] == [{"arn": arn, "reason": "MISSING"}]
    names = [f"s{number}" for number in range(11)]
    assert refusal(world.ecs.describe_services, cluster="inference", services=names)[0] == "InvalidParameterException"


@follows("API reference, DescribeServices")
def test_tags_are_described_only_when_asked_for(world: World) -> None:
    world.create(tags=[{"key": "team", "value": "shop"}])
    assert "tags" not in world.describe()
    answer = world.ecs.describe_services(cluster="inference", services=["web"], include=["TAGS"])
    assert answer["services"][0]["tags"] == [{"key": "team", "value": "shop"}]
    arn = answer["services"][0]["serviceArn"]
    world.ecs.tag_resource(resourceArn=arn, tags=[{"key": "team", "value": "search"}, {"key": "tier", "value": "1"}])
    world.ecs.untag_resource(resourceArn=arn, tagKeys=["tier"])
    assert world.ecs.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "team", "value": "search"}]


@follows("API reference, Tag")
def test_reserved_tag_keys_are_refused(world: World) -> None:
    tags = [{"key": "aws:team", "value": "shop"}]
    assert "reserved for AWS use" in refusal(world.ecs.create_service, **world.service_request(tags=tags))[1]


@follows("API reference, ListServices")
def test_services_are_listed_in_pages_of_ten(world: World) -> None:
    definition = world.register()
    for number in range(12):
        world.create(serviceName=f"s{number}", taskDefinition=definition, desiredCount=0)
    first = world.ecs.list_services(cluster="inference")
    assert len(first["serviceArns"]) == 10
    second = world.ecs.list_services(cluster="inference", nextToken=first["nextToken"])
    assert len(second["serviceArns"]) == 2
    assert "nextToken" not in second
    assert refusal(world.ecs.list_services, cluster="inference", nextToken="nonsense")[0] == "InvalidParameterException"


@follows("API reference, DeleteCluster")
def test_a_cluster_with_services_or_tasks_cannot_be_deleted(world: World) -> None:
    world.create()
    world.advance(60)
    assert refusal(world.ecs.delete_cluster, cluster="inference")[0] == "ClusterContainsServicesException"
    shown = world.ecs.describe_clusters(clusters=["inference"])["clusters"][0]
    assert (shown["activeServicesCount"], shown["runningTasksCount"]) == (1, 1)
    world.ecs.delete_service(cluster="inference", service="web", force=True)
    world.advance(60)
    assert world.ecs.delete_cluster(cluster="inference")["cluster"]["status"] == "INACTIVE"


@follows("API reference, ListServiceDeployments, DescribeServiceDeployments, DescribeServiceRevisions")
def test_service_deployments_and_revisions_are_listed_and_described(world: World) -> None:
    world.create()
    world.advance(120)
    world.ecs.update_service(cluster="inference", service="web", forceNewDeployment=True)
    listed = world.ecs.list_service_deployments(cluster="inference", service="web")["serviceDeployments"]
    assert [each["status"] for each in listed] == ["IN_PROGRESS", "SUCCESSFUL"]
    done = world.ecs.list_service_deployments(cluster="inference", service="web", status=["SUCCESSFUL"])
    assert len(done["serviceDeployments"]) == 1
    arns = [each["serviceDeploymentArn"] for each in listed]
    described = world.ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"]
    assert world.describe()["currentServiceDeployment"] == described[0]["serviceDeploymentArn"]
    revision = described[0]["targetServiceRevision"]["arn"]
    shown = world.ecs.describe_service_revisions(serviceRevisionArns=[revision])["serviceRevisions"][0]
    assert shown["taskDefinition"].endswith("app:1")
    assert shown["containerImages"] == [{"containerName": "app", "image": "app:1"}]
    many = arns * 11
    assert refusal(world.ecs.describe_service_deployments, serviceDeploymentArns=many)[0] == "InvalidParameterException"


@follows("API reference, StopServiceDeployment")
def test_a_finished_service_deployment_cannot_be_stopped(world: World) -> None:
    world.create()
    world.advance(120)
    arn = world.ecs.list_service_deployments(cluster="inference", service="web")["serviceDeployments"][0]
    arn = arn["serviceDeploymentArn"]
    assert refusal(world.ecs.stop_service_deployment, serviceDeploymentArn=arn)[0] == "ConflictException"
    missing = arn[:-3] + "xyz"
    code = refusal(world.ecs.stop_service_deployment, serviceDeploymentArn=missing)[0]
    assert code == "ServiceDeploymentNotFoundException"
