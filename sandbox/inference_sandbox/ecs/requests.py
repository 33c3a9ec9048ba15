"""What CreateService and UpdateService accept, and the defaults that they fill in (API reference, both operations).

Functions of a request and of what it refers to; this module must not keep anything.
"""

from __future__ import annotations

import re
from typing import Any

from inference_sandbox.ecs.errors import AwsError, client_error, invalid_parameter
from inference_sandbox.ecs.state import Cluster, TaskDefinition
from inference_sandbox.ecs.surroundings import Surroundings

SERVICE_NAME = re.compile(r"[A-Za-z0-9_-]{1,255}")
TOKEN = re.compile(r"[\x21-\x7e]{1,36}")
MAXIMUM_TARGET_GROUPS, MAXIMUM_SUBNETS, MAXIMUM_SECURITY_GROUPS, MAXIMUM_TASKS = 5, 16, 5, 5000
MAXIMUM_GRACE = 2**31 - 1
MAXIMUM_PROVIDERS = 20
ARN_COLONS = 5
FARGATE_PROVIDERS = ("FARGATE", "FARGATE_SPOT")
DEPLOYMENT_DEFAULTS: dict[str, Any] = {
    "deploymentCircuitBreaker": {"enable": False, "rollback": False},
    "maximumPercent": 200,
    "minimumHealthyPercent": 100,
    "strategy": "ROLLING",
    "bakeTimeInMinutes": 0,
}
STARTS_DEPLOYMENT = (
    "taskDefinition",
    "networkConfiguration",
    "platformVersion",
    "loadBalancers",
    "serviceRegistries",
    "serviceConnectConfiguration",
    "volumeConfigurations",
    "vpcLatticeConfigurations",
)
"""Members of UpdateService that start a new deployment when they change; the rest take effect in place."""
IN_PLACE = (
    "capacityProviderStrategy",
    "availabilityZoneRebalancing",
    "placementConstraints",
    "placementStrategy",
    "healthCheckGracePeriodSeconds",
    "enableExecuteCommand",
    "enableECSManagedTags",
    "propagateTags",
)
REVISION = (*STARTS_DEPLOYMENT[1:], "launchType", "capacityProviderStrategy")


def new_document(request: dict[str, Any], cluster: Cluster, definition: TaskDefinition) -> dict[str, Any]:
    """The service's members with the defaults that DescribeServices shows."""
    document: dict[str, Any] = {
        "taskDefinition": definition.arn,
        "loadBalancers": request.get("loadBalancers") or [],
        "serviceRegistries": request.get("serviceRegistries") or [],
        "platformFamily": "Linux",
        "deploymentConfiguration": deployment_configuration(request.get("deploymentConfiguration"), {}),
        "placementConstraints": request.get("placementConstraints") or [],
        "placementStrategy": request.get("placementStrategy") or [],
        "schedulingStrategy": request.get("schedulingStrategy") or "REPLICA",
        "deploymentController": request.get("deploymentController") or {"type": "ECS"},
        "enableECSManagedTags": bool(request.get("enableECSManagedTags")),
        "propagateTags": request.get("propagateTags") or "NONE",
        "enableExecuteCommand": bool(request.get("enableExecuteCommand")),
        # "If this value is null or empty, the default is ENABLED" for CreateService.
        "availabilityZoneRebalancing": request.get("availabilityZoneRebalancing") or "ENABLED",
        "roleArn": f"arn:aws:iam::{cluster.account}:role/aws-service-role/ecs.amazonaws.com/AWSServiceRoleForECS",
        "platformVersion": request.get("platformVersion") or "LATEST",
    }
    strategy = request.get("capacityProviderStrategy") or (
        None if request.get("launchType") else cluster.default_strategy or None
    )
    if strategy:
        document["capacityProviderStrategy"] = [{"weight": 0, "base": 0} | item for item in strategy]
    else:
        document["launchType"] = request.get("launchType") or "EC2"
    grace = request.get("healthCheckGracePeriodSeconds")
    if grace is not None or document["loadBalancers"]:
        document["healthCheckGracePeriodSeconds"] = grace or 0
    for name in (
        "networkConfiguration",
        "serviceConnectConfiguration",
        "volumeConfigurations",
        "vpcLatticeConfigurations",
    ):
        if request.get(name):
            document[name] = request[name]
    return document | {"networkConfiguration": network(document)} if document.get("networkConfiguration") else document


def network(document: dict[str, Any]) -> dict[str, Any]:
    vpc = document["networkConfiguration"].get("awsvpcConfiguration") or {}
    return {"awsvpcConfiguration": {"securityGroups": [], "assignPublicIp": "DISABLED"} | vpc}


def deployment_configuration(given: dict[str, Any] | None, current: dict[str, Any]) -> dict[str, Any]:
    """Given members replace the current ones whole; those left out keep their value, at first the default."""
    merged = DEPLOYMENT_DEFAULTS | current | {k: v for k, v in (given or {}).items() if v is not None}
    _check_percentages(merged)
    breaker = merged["deploymentCircuitBreaker"]
    if breaker.get("rollback") and not breaker.get("enable"):
        raise invalid_parameter("deploymentCircuitBreaker.rollback can't be true while enable is false.")
    threshold = breaker.get("thresholdConfiguration")
    if threshold:
        _check_threshold(threshold)
    _check_alarms(merged.get("alarms"))
    _check_strategy_settings(merged)
    _check_hooks(merged.get("lifecycleHooks") or [])
    _check_early_success(merged)
    return merged


def _check_percentages(merged: dict[str, Any]) -> None:
    low, high = merged["minimumHealthyPercent"], merged["maximumPercent"]
    if low < 0 or high < 0:
        raise invalid_parameter("minimumHealthyPercent and maximumPercent can't be negative.")
    if merged["strategy"] == "ROLLING" and low == high == 100:  # noqa: PLR2004 - percent
        raise invalid_parameter(
            "Both maximumPercent and minimumHealthyPercent cannot be 100 as this will block deployments."
        )
    if high < 100 or low > 100:  # noqa: PLR2004 - percent
        raise invalid_parameter(
            "minimumHealthyPercent takes 0 to 100 and maximumPercent at least 100 for a REPLICA service."
        )


def _check_threshold(threshold: dict[str, Any]) -> None:
    kind, value = threshold.get("type"), threshold.get("value")
    if not isinstance(value, int) or value < 1 or (kind != "COUNT" and value > 100):  # noqa: PLR2004 - percent
        raise invalid_parameter(f"Invalid threshold value {value}: {kind} takes 1 to 100, COUNT at least 1.")


def _check_alarms(alarms: dict[str, Any] | None) -> None:
    if alarms and alarms.get("enable") and not alarms.get("alarmNames"):
        raise invalid_parameter("alarmNames can't be empty when deployment alarms are enabled.")


def _check_strategy_settings(merged: dict[str, Any]) -> None:
    """LinearConfiguration, CanaryConfiguration and DeploymentConfiguration give the ranges."""
    strategy = merged["strategy"]
    linear, canary = merged.get("linearConfiguration") or {}, merged.get("canaryConfiguration") or {}
    for name, value, low, high in (
        ("stepPercent", linear.get("stepPercent"), 3.0, 100.0),
        ("stepBakeTimeInMinutes", linear.get("stepBakeTimeInMinutes"), 0, 1440),
        ("canaryPercent", canary.get("canaryPercent"), 0.1, 100.0),
        ("canaryBakeTimeInMinutes", canary.get("canaryBakeTimeInMinutes"), 0, 1440),
        ("bakeTimeInMinutes", merged.get("bakeTimeInMinutes"), 0, 1440),
    ):
        if value is not None and not low <= value <= high:
            raise invalid_parameter(f"Invalid {name} {value}: it must be between {low} and {high}.")
    if strategy == "ROLLING" and merged.get("lifecycleHooks"):
        raise invalid_parameter("lifecycleHooks can't be used with the ROLLING strategy.")


def _check_hooks(hooks: list[dict[str, Any]]) -> None:
    for hook in hooks:
        if not hook.get("lifecycleStages"):
            raise invalid_parameter("A lifecycle hook needs at least one of lifecycleStages.")
        if hook.get("targetType") != "PAUSE" and not (hook.get("hookTargetArn") and hook.get("roleArn")):
            raise invalid_parameter("A lifecycle hook of type AWS_LAMBDA needs hookTargetArn and roleArn.")


def _check_early_success(merged: dict[str, Any]) -> None:
    early = merged.get("earlySuccessCriteria") or {}
    if not early.get("enable"):
        return
    if merged["strategy"] != "ROLLING":
        raise invalid_parameter("earlySuccessCriteria can only be used with the ROLLING strategy.")
    percent = early.get("healthyPercent")
    if percent is None or not early.get("sourceServiceRevisionCleanup"):
        raise invalid_parameter("earlySuccessCriteria needs healthyPercent and sourceServiceRevisionCleanup.")
    if not merged["minimumHealthyPercent"] <= percent <= 100:  # noqa: PLR2004 - percent
        raise invalid_parameter(
            f"Invalid healthyPercent {percent}: it must be at least minimumHealthyPercent and at most 100."
        )


def check_create(
    request: dict[str, Any],
    document: dict[str, Any],
    cluster: Cluster,
    definition: TaskDefinition,
    around: Surroundings,
) -> None:
    token = request.get("clientToken")
    if token is not None and not TOKEN.fullmatch(token):
        raise invalid_parameter("clientToken takes up to 36 ASCII characters in the range of 33-126.")
    if not SERVICE_NAME.fullmatch(request.get("serviceName") or ""):
        raise invalid_parameter(
            "Invalid service name: up to 255 letters, numbers, underscores, and hyphens are allowed."
        )
    if document["schedulingStrategy"] == "REPLICA" and request.get("desiredCount") is None:
        raise invalid_parameter("desiredCount is required when schedulingStrategy is REPLICA.")
    if document["schedulingStrategy"] == "DAEMON":
        # "Tasks using the Fargate launch type or the CODE_DEPLOY or EXTERNAL deployment controller types don't support
        # the DAEMON scheduling strategy."
        raise invalid_parameter(
            "The daemon scheduling strategy is not supported by tasks using the Fargate launch type."
        )
    if document["deploymentController"].get("type") != "ECS":
        raise AwsError("UnsupportedFeatureException", "The sandbox runs the ECS deployment controller only.")
    if request.get("launchType") and request.get("capacityProviderStrategy"):
        raise invalid_parameter(
            "Specifying both a launch type and capacity provider strategy is not supported. Remove one and try again."
        )
    if request.get("role"):
        raise invalid_parameter("You cannot specify an IAM role for services that require a service linked role.")
    check_count(request.get("desiredCount"))
    check_all(document, cluster, definition, around)


def check_count(desired: int | None) -> None:
    if desired is not None and not 0 <= desired <= MAXIMUM_TASKS:
        raise invalid_parameter(f"Invalid desiredCount {desired}: a service takes 0 to {MAXIMUM_TASKS} tasks.")


def check_all(document: dict[str, Any], cluster: Cluster, definition: TaskDefinition, around: Surroundings) -> None:
    """What must hold for the service as a whole, whichever members a request changed."""
    _check_launch(document, cluster, definition)
    _check_network(document, cluster, definition, around)
    _check_load_balancers(document, definition, around)
    _check_registries(document, definition, around)
    grace = document.get("healthCheckGracePeriodSeconds")
    if grace is not None and not 0 <= grace <= MAXIMUM_GRACE:
        raise invalid_parameter(f"healthCheckGracePeriodSeconds {grace} is out of range: 0 to {MAXIMUM_GRACE}.")
    version = document.get("platformVersion")
    if version not in (None, "LATEST", "1.3.0", "1.4.0"):
        raise AwsError("PlatformUnknownException", f"The specified platform version {version} does not exist.")
    if definition.document["volumes"] and version == "1.3.0":
        raise AwsError(
            "PlatformTaskDefinitionIncompatibilityException",
            "One or more of the requested capabilities are not supported by platform version 1.3.0.",
        )
    rebalancing = document["availabilityZoneRebalancing"] == "ENABLED"
    if rebalancing and document["deploymentConfiguration"]["maximumPercent"] <= 100:  # noqa: PLR2004 - percent
        raise invalid_parameter("Availability Zone rebalancing needs a maximumPercent greater than 100.")


def _check_launch(document: dict[str, Any], cluster: Cluster, definition: TaskDefinition) -> None:
    strategy = document.get("capacityProviderStrategy")
    if strategy:
        _check_strategy(strategy, cluster)
    elif document.get("launchType") != "FARGATE":
        raise invalid_parameter("No Container Instances were found in your cluster.")
    if "FARGATE" not in definition.document["compatibilities"]:
        raise invalid_parameter("Task definition does not support launch_type FARGATE.")
    for member, name in (("placementStrategy", "strategies"), ("placementConstraints", "constraints")):
        if document[member]:
            raise invalid_parameter(f"Placement {name} are not supported with FARGATE launch type.")


def _check_strategy(strategy: list[dict[str, Any]], cluster: Cluster) -> None:
    if len(strategy) > MAXIMUM_PROVIDERS:
        raise invalid_parameter(f"A capacity provider strategy can have at most {MAXIMUM_PROVIDERS} items.")
    for item in strategy:
        name = item["capacityProvider"]
        if name not in cluster.capacity_providers:
            # FARGATE and FARGATE_SPOT too "must be associated with the cluster" before a strategy may name them.
            raise invalid_parameter(
                "The specified capacity provider strategy cannot contain a capacity provider that is not associated "
                f"with the cluster. Associate the capacity provider with the cluster and try again. ({name})"
            )
    if not any(item.get("weight", 0) > 0 for item in strategy):
        raise invalid_parameter(
            "The specified capacity provider strategy must have a capacity provider with a weight greater than 0."
        )
    if sum(item.get("base", 0) > 0 for item in strategy) > 1:
        raise invalid_parameter("Only one capacity provider in a capacity provider strategy can have a base defined.")


def _check_network(
    document: dict[str, Any], cluster: Cluster, definition: TaskDefinition, around: Surroundings
) -> None:
    if definition.document["networkMode"] != "awsvpc":
        return
    vpc = (document.get("networkConfiguration") or {}).get("awsvpcConfiguration")
    if not vpc:
        raise invalid_parameter("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    subnets, groups = vpc.get("subnets") or [], vpc.get("securityGroups") or []
    if not 1 <= len(subnets) <= MAXIMUM_SUBNETS:
        raise invalid_parameter(f"subnets can have 1 to {MAXIMUM_SUBNETS} items.")
    if len(groups) > MAXIMUM_SECURITY_GROUPS:
        raise invalid_parameter(f"securityGroups can have at most {MAXIMUM_SECURITY_GROUPS} items.")
    for subnet in subnets:
        if around.zone(cluster.account, cluster.region, subnet) is None:
            raise invalid_parameter(
                f"Error retrieving subnet information for [{subnet}]: The subnet ID '{subnet}' does not exist "
                "(ErrorCode: InvalidSubnetID.NotFound)"
            )
    missing = around.missing_security_group(cluster.account, cluster.region, groups)
    if missing:
        raise invalid_parameter(
            f"Error retrieving security group information for [{missing}]: The security group '{missing}' does not "
            "exist (ErrorCode: InvalidGroup.NotFound)"
        )


def _check_load_balancers(document: dict[str, Any], definition: TaskDefinition, around: Surroundings) -> None:
    balancers = document["loadBalancers"]
    if len(balancers) > MAXIMUM_TARGET_GROUPS:
        raise invalid_parameter(f"load balancers can have at most {MAXIMUM_TARGET_GROUPS} items.")
    containers = {each["name"]: each for each in definition.document["containerDefinitions"]}
    shifting = document["deploymentConfiguration"]["strategy"] != "ROLLING"
    for balancer in balancers:
        _check_load_balancer(balancer, containers, definition, around)
        if shifting:
            _check_advanced(balancer, around)


def _check_load_balancer(
    balancer: dict[str, Any], containers: dict[str, Any], definition: TaskDefinition, around: Surroundings
) -> None:
    arn = balancer.get("targetGroupArn")
    if not arn:
        raise invalid_parameter(
            "Classic Load Balancers are not supported with the awsvpc network mode: use targetGroupArn."
        )
    name, port = balancer.get("containerName"), balancer.get("containerPort")
    container = containers.get(str(name))
    if container is None:
        raise invalid_parameter(f"The container {name} does not exist in the task definition.")
    if port not in [each.get("containerPort") for each in container["portMappings"]]:
        raise invalid_parameter(f"The container {name} did not have a container port {port} defined.")
    facts = around.target_group(arn)
    if facts is None:
        raise invalid_parameter(f"Unable to find target group with targetGroupArn {arn}.")
    if definition.document["networkMode"] == "awsvpc" and facts.target_type != "ip":
        raise invalid_parameter(
            f"The provided target group {arn} has target type {facts.target_type}, which is incompatible with the "
            "awsvpc network mode specified in the task definition."
        )
    if not facts.attached:
        raise invalid_parameter(
            f"The target group with targetGroupArn {arn} does not have an associated load balancer."
        )


def _check_registries(document: dict[str, Any], definition: TaskDefinition, around: Surroundings) -> None:
    """ServiceRegistry; a service takes one (developer guide, "Use service discovery")."""
    registries = document["serviceRegistries"]
    if len(registries) > 1:
        raise invalid_parameter("service registries can have at most 1 items.")
    ports = {
        (each["name"], mapping.get("containerPort"))
        for each in definition.document["containerDefinitions"]
        for mapping in each["portMappings"]
    }
    for registry in registries:
        arn, name, port = registry.get("registryArn"), registry.get("containerName"), registry.get("containerPort")
        types = around.record_types(arn) if str(arn).count(":") == ARN_COLONS else None
        if types is None:
            raise invalid_parameter(f"Unable to find service registry with registryArn {arn}.")
        if (name is None) != (port is None):
            raise invalid_parameter("A service registry takes containerName and containerPort together.")
        if name is not None and (name, port) not in ports:
            raise invalid_parameter(f"The container {name} did not have a container port {port} defined.")
        if "SRV" in types and name is None and registry.get("port") is None:
            raise invalid_parameter(
                "When specifying awsvpc networkMode and a type SRV DNS record, you must specify either a containerName "
                "and containerPort combination or a port value, but not both."
            )


def _check_advanced(balancer: dict[str, Any], around: Surroundings) -> None:
    """AdvancedConfiguration: what traffic is shifted with."""
    advanced = balancer.get("advancedConfiguration") or {}
    for name in ("alternateTargetGroupArn", "productionListenerRule", "roleArn"):
        if not advanced.get(name):
            raise invalid_parameter(
                f"advancedConfiguration.{name} is required for the deployment strategy of this service."
            )
    if around.target_group(advanced["alternateTargetGroupArn"]) is None:
        raise invalid_parameter(
            f"Unable to find target group with targetGroupArn {advanced['alternateTargetGroupArn']}."
        )
    for name in ("productionListenerRule", "testListenerRule"):
        if advanced.get(name) and not around.rule(advanced[name]):
            raise invalid_parameter(f"Unable to find the {name} {advanced[name]}.")


def updated_document(current: dict[str, Any], request: dict[str, Any], definition: TaskDefinition) -> dict[str, Any]:
    """The service's members after UpdateService: what is left out, or null, stays."""
    document = dict(current)
    document["taskDefinition"] = definition.arn
    for name in (*STARTS_DEPLOYMENT[1:], *IN_PLACE):
        if request.get(name) is not None:
            document[name] = request[name]
    document["deploymentConfiguration"] = deployment_configuration(
        request.get("deploymentConfiguration"), current["deploymentConfiguration"]
    )
    if document.get("networkConfiguration"):
        document["networkConfiguration"] = network(document)
    strategy = request.get("capacityProviderStrategy")
    if strategy:
        document["capacityProviderStrategy"] = [{"weight": 0, "base": 0} | item for item in strategy]
        document.pop("launchType", None)
    elif strategy is not None:  # an empty list goes back to the launch type
        document.pop("capacityProviderStrategy", None)
        document["launchType"] = "FARGATE"
    controller = request.get("deploymentController")
    if controller and controller.get("type") != "ECS":
        raise client_error("The deployment controller of this sandbox is ECS; it can't be changed.")
    return document


def revision_document(document: dict[str, Any]) -> dict[str, Any]:
    return {name: document[name] for name in REVISION if document.get(name) is not None}


def needs_deployment(before: dict[str, Any], after: dict[str, Any]) -> bool:
    return any(before.get(name) != after.get(name) for name in STARTS_DEPLOYMENT)
