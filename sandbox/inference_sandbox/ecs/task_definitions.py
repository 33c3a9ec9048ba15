"""Task definitions: validation as RegisterTaskDefinition does it for Fargate, the defaults that Describe shows, and the
registry of families and revisions.

Limits come from the API reference (RegisterTaskDefinition, ContainerDefinition and what they contain) and the developer
guide ("Task definition differences for Fargate"). This module must not know services.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from inference_sandbox.ecs.errors import AwsError, client_error, invalid_parameter
from inference_sandbox.ecs.state import TaskDefinition

GIB = 1024
FARGATE_MEMORY: dict[int, list[int]] = {
    256: [512, 1024, 2048],
    512: [GIB * n for n in range(1, 5)],
    1024: [GIB * n for n in range(2, 9)],
    2048: [GIB * n for n in range(4, 17)],
    4096: [GIB * n for n in range(8, 31)],
    8192: [GIB * n for n in range(16, 61, 4)],
    16384: [GIB * n for n in range(32, 121, 8)],
}
"""Memory in MiB for each cpu in CPU units (RegisterTaskDefinition, `cpu`)."""

MAXIMUM_CONTAINERS = 10
MAXIMUM_BYTES = 64 * 1024
MAXIMUM_TAGS = 50
FAMILY = re.compile(r"[A-Za-z0-9_-]{1,255}")
ROLE = re.compile(r"(arn:aws[a-z-]*:iam::\d{12}:role/)?[\w+=,.@/-]+")
PORTS = range(1, 65_536)
UNSUPPORTED_ON_FARGATE = (
    "privileged",
    "links",
    "hostname",
    "dnsServers",
    "dnsSearchDomains",
    "extraHosts",
    "dockerSecurityOptions",
    "disableNetworking",
)
LOG_DRIVERS_ON_FARGATE = ("awslogs", "splunk", "awsfirelens")
MEMBERS = (
    "family",
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "containerDefinitions",
    "volumes",
    "placementConstraints",
    "requiresCompatibilities",
    "cpu",
    "memory",
    "pidMode",
    "ipcMode",
    "proxyConfiguration",
    "inferenceAccelerators",
    "ephemeralStorage",
    "runtimePlatform",
    "enableFaultInjection",
)


class Registry:
    """Families and revisions of one account and region."""

    def __init__(self, account: str, region: str) -> None:
        self._account = account
        self._region = region
        self.families: dict[str, list[TaskDefinition]] = {}
        """Every revision ever registered, oldest first; a number is never used twice."""

    def register(self, request: dict[str, Any], now: datetime, by: str) -> TaskDefinition:
        document = normalised(request)
        family = document["family"]
        revisions = self.families.setdefault(family, [])
        number = len(revisions) + 1
        record = TaskDefinition(
            arn=f"arn:aws:ecs:{self._region}:{self._account}:task-definition/{family}:{number}",
            family=family,
            revision=number,
            document=document,
            registered_at=now,
            registered_by=by,
            tags=tags_from(request.get("tags")),
        )
        revisions.append(record)
        return record

    def find(self, name: str) -> TaskDefinition | None:
        """By ARN, by `family:revision`, or the latest ACTIVE revision of a family."""
        short = name.rsplit("/", 1)[-1]
        if name.startswith("arn:") and not name.startswith(f"arn:aws:ecs:{self._region}:{self._account}:"):
            return None
        family, _, number = short.partition(":")
        revisions = self.families.get(family, [])
        if not number:
            return next((each for each in reversed(revisions) if each.status == "ACTIVE"), None)
        if not number.isdigit() or not 1 <= int(number) <= len(revisions):
            return None
        return revisions[int(number) - 1]

    def usable(self, name: str) -> TaskDefinition:
        """For a new task or service: an INACTIVE revision is refused (API reference, DeregisterTaskDefinition).

        AWS may go on accepting it for up to ten minutes after deregistration; the sandbox refuses at once.
        """
        found = self.find(name)
        if found is None:
            raise client_error("TaskDefinition not found.")
        if found.status != "ACTIVE":
            raise client_error("TaskDefinition is inactive")
        return found

    def all(self) -> Iterable[TaskDefinition]:
        for family in sorted(self.families):
            yield from self.families[family]


def tags_from(given: list[dict[str, str]] | None) -> dict[str, str]:
    tags = {tag["key"]: tag.get("value", "") for tag in given or []}
    if len(tags) < len(given or []):
        raise invalid_parameter("Tag keys must be unique.")
    check_tags(tags)
    return tags


def check_tags(tags: dict[str, str]) -> None:
    """API reference, Tag: at most 50; key up to 128 characters, value up to 256; `aws:` is reserved."""
    if len(tags) > MAXIMUM_TAGS:
        raise invalid_parameter(f"Tags can not have more than {MAXIMUM_TAGS} elements.")
    for key, value in tags.items():
        if not 1 <= len(key) <= 128 or len(value) > 256:  # noqa: PLR2004 - the documented limits
            raise invalid_parameter(f"Invalid tag: key '{key[:40]}' takes 1 to 128 characters, its value up to 256.")
        if key.lower().startswith("aws:"):
            raise invalid_parameter("Tag keys and values can't start with 'aws:'. These are reserved for AWS use.")


# -- validation and defaults


def normalised(request: dict[str, Any]) -> dict[str, Any]:
    """The request as Describe will show it, or the error with which AWS refuses it."""
    document = {name: request[name] for name in MEMBERS if request.get(name) is not None}
    if len(json.dumps(document, default=str)) > MAXIMUM_BYTES:
        raise client_error("Task definition is too large: its size must not exceed 64 KiB.")
    family = document.get("family") or ""
    if not FAMILY.fullmatch(family):
        raise client_error(
            f"Invalid revision number. Number: {family}" if ":" in family else "Family contains invalid characters."
        )
    containers = document.get("containerDefinitions") or []
    if not containers:
        raise client_error("Container list cannot be empty.")
    for member in ("taskRoleArn", "executionRoleArn"):
        if document.get(member) and not ROLE.fullmatch(document[member]):
            raise client_error("Role is not valid")
    fargate = "FARGATE" in (document.get("requiresCompatibilities") or [])
    if fargate:
        _check_fargate(document)
    document["containerDefinitions"] = [_container(each, document, fargate=fargate) for each in containers]
    _check_containers(document)
    document["volumes"] = [_volume(each) for each in document.get("volumes") or []]
    _check_mounts(document)
    document.setdefault("placementConstraints", [])
    document.setdefault("networkMode", "bridge")
    document["compatibilities"] = ["EC2", "FARGATE"] if fargate else ["EC2"]
    return document


def _check_fargate(document: dict[str, Any]) -> None:
    if document.get("networkMode") != "awsvpc":
        raise client_error("Fargate only supports network mode 'awsvpc'.")
    for name in ("cpu", "memory"):
        if not document.get(name):
            raise client_error(f"Fargate requires that '{name}' be defined at the task level.")
    cpu, memory = cpu_units(document["cpu"]), memory_mib(document["memory"])
    if memory not in FARGATE_MEMORY.get(cpu, []):
        raise client_error(
            f"No Fargate configuration exists for given values: {cpu} CPU, {memory} memory. "
            "See the Amazon ECS documentation for the valid values."
        )
    document["cpu"], document["memory"] = str(cpu), str(memory)
    storage = document.get("ephemeralStorage")
    if storage and not 21 <= storage["sizeInGiB"] <= 200:  # noqa: PLR2004 - EphemeralStorage.sizeInGiB
        raise client_error("Invalid ephemeral storage size. The value for sizeInGiB must be between 21 and 200.")
    for name in ("placementConstraints", "inferenceAccelerators", "ipcMode"):
        if document.get(name):
            raise client_error(
                f"Fargate does not support '{name}'." if name != "ipcMode" else "IPC mode is not supported on Fargate."
            )
    if any((volume.get("host") or {}).get("sourcePath") for volume in document.get("volumes") or []):
        raise client_error("host.sourcePath should not be set for volumes in Fargate.")
    if document.get("pidMode") not in (None, "task"):
        raise client_error("Fargate only supports pidMode 'task'.")


def cpu_units(value: str) -> int:
    """`"1024"` or `"1 vCPU"`."""
    text = str(value).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*vcpu", text, re.IGNORECASE)
    if match:
        return round(float(match[1]) * 1024)
    if not text.isdigit():
        raise client_error(f"Invalid 'cpu' setting for task: {value}")
    return int(text)


def memory_mib(value: str) -> int:
    """`"2048"` or `"2 GB"`."""
    text = str(value).strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*gb", text, re.IGNORECASE)
    if match:
        return round(float(match[1]) * GIB)
    if not text.isdigit():
        raise client_error(f"Invalid 'memory' setting for task: {value}")
    return int(text)


def _container(given: dict[str, Any], document: dict[str, Any], *, fargate: bool) -> dict[str, Any]:
    container: dict[str, Any] = {
        "cpu": 0,
        "portMappings": [],
        "essential": True,
        "environment": [],
        "mountPoints": [],
        "volumesFrom": [],
        "systemControls": [],
    } | given
    name = container.get("name") or ""
    if not name:
        raise client_error("Container.name should not be null or empty.")
    if not FAMILY.fullmatch(name):
        raise client_error(f"Invalid container name '{name}'.")
    if not container.get("image"):
        raise client_error("Container.image should not be null or blank.")
    container["portMappings"] = [_port(name, each, document) for each in container["portMappings"]]
    _check_memory(container, document)
    _check_secrets(container)
    if fargate:
        _check_container_on_fargate(container, document)
    if container.get("healthCheck"):
        container["healthCheck"] = _health_check(name, container["healthCheck"])
    _check_range(name, "stopTimeout", container.get("stopTimeout"), 2 if fargate else 0, 120)
    _check_range(name, "startTimeout", container.get("startTimeout"), 2 if fargate else 0, 120)
    _check_firelens(container, fargate=fargate)
    return container


def _check_range(name: str, member: str, value: int | None, low: int, high: int) -> None:
    if value is not None and not low <= value <= high:
        raise client_error(
            f"Invalid '{member}' setting for container '{name}': {value}. The value must be between {low} and {high}."
        )


def _port(name: str, given: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    port = {"protocol": "tcp"} | given
    if port.get("containerPort") is None and not port.get("containerPortRange"):
        raise client_error(f"Invalid 'containerPort' setting for container '{name}'")
    if port.get("containerPort") is not None and port["containerPort"] not in PORTS:
        raise client_error(f"Invalid 'containerPort' setting for container '{name}': {port['containerPort']}")
    if document.get("networkMode") == "awsvpc" and port.get("containerPort") is not None:
        host = port.setdefault("hostPort", port["containerPort"])
        if host != port["containerPort"]:
            raise client_error(
                "When networkMode=awsvpc, the host ports and container ports in port mappings must match."
            )
    return port


def _check_memory(container: dict[str, Any], document: dict[str, Any]) -> None:
    limit, soft, name = container.get("memory"), container.get("memoryReservation"), container["name"]
    if limit is None and soft is None and not document.get("memory"):
        raise client_error(
            f"Invalid setting for container '{name}'. At least one of 'memory' or 'memoryReservation' "
            "must be specified."
        )
    if limit is not None and soft is not None and limit <= soft:
        raise client_error(
            f"Invalid setting for container '{name}'. 'memory' should be greater than 'memoryReservation'."
        )
    for member, value in (("memory", limit), ("memoryReservation", soft)):
        if value is not None and value < 6:  # noqa: PLR2004 - "you should not specify fewer than 6 MiB"
            raise client_error(f"Invalid '{member}' setting for container '{name}': at least 6 MiB are needed.")


def _check_secrets(container: dict[str, Any]) -> None:
    taken = [each.get("name") for each in container["environment"]]
    for secret in container.get("secrets") or []:
        if secret["name"] in taken:
            raise client_error(
                "The secret name must be unique and not shared with any new or existing environment variables set on "
                f"the container, such as '{secret['name']}'."
            )
        taken.append(secret["name"])


def _check_container_on_fargate(container: dict[str, Any], document: dict[str, Any]) -> None:
    linux = container.get("linuxParameters") or {}
    unsupported = [member for member in UNSUPPORTED_ON_FARGATE if container.get(member)]
    unsupported += [member for member in ("devices", "sharedMemorySize", "tmpfs") if linux.get(member)]
    if unsupported:
        raise client_error(f"Fargate compatible task definitions do not support {unsupported[0]}")
    added = (linux.get("capabilities") or {}).get("add") or []
    if set(added) - {"SYS_PTRACE"}:
        raise client_error(
            "Fargate compatible task definitions support only SYS_PTRACE to be added as a Linux capability."
        )
    for limit in container.get("ulimits") or []:
        if limit["name"] != "nofile":
            raise client_error(f"Fargate compatible task definitions do not support ulimit '{limit['name']}'.")
    if any(each.get("type") == "GPU" for each in container.get("resourceRequirements") or []):
        raise client_error("Fargate compatible task definitions do not support GPU.")
    driver = (container.get("logConfiguration") or {}).get("logDriver")
    if driver is not None and driver not in LOG_DRIVERS_ON_FARGATE:
        raise client_error(f"Fargate compatible task definitions do not support log driver '{driver}'.")
    if not document.get("executionRoleArn"):
        _check_needs_no_execution_role(container)


def _check_needs_no_execution_role(container: dict[str, Any]) -> None:
    name, log = container["name"], container.get("logConfiguration") or {}
    if log.get("logDriver") == "awslogs":
        raise client_error("Fargate requires task definition to have execution role ARN to support log driver awslogs.")
    if re.match(r"\d{12}\.dkr\.ecr\.", container["image"]):
        raise client_error("Fargate requires task definition to have execution role ARN to support ECR images.")
    if container.get("secrets") or log.get("secretOptions"):
        raise client_error(
            f"When you are specifying container secrets, you must also specify a value for 'executionRoleArn'. ({name})"
        )


def _health_check(name: str, given: dict[str, Any]) -> dict[str, Any]:
    """API reference, HealthCheck: the ranges, and the defaults that are shown when a member is left out."""
    command = given.get("command") or []
    if not command or command[0] not in ("CMD", "CMD-SHELL", "NONE"):
        raise client_error(
            f"Invalid 'healthCheck.command' setting for container '{name}'. It must begin with CMD or CMD-SHELL."
        )
    check = {"interval": 30, "timeout": 5, "retries": 3} | given
    for member, low, high in (("interval", 5, 300), ("timeout", 2, 60), ("retries", 1, 10), ("startPeriod", 0, 300)):
        _check_range(name, f"healthCheck.{member}", check.get(member), low, high)
    return check


def _check_firelens(container: dict[str, Any], *, fargate: bool) -> None:
    firelens = container.get("firelensConfiguration")
    if not firelens:
        return
    name = container["name"]
    options = firelens.get("options") or {}
    kind = options.get("config-file-type")
    if kind is not None and kind not in ("s3", "file"):
        raise client_error(f"Invalid 'config-file-type' for container '{name}': use s3 or file.")
    if fargate and kind == "s3":
        # FirelensConfiguration: tasks on Fargate only support the `file` type.
        raise client_error(
            "Fargate compatible task definitions only support the 'file' config-file-type for firelensConfiguration."
        )
    if (kind is None) != ("config-file-value" not in options):
        raise client_error(f"Both 'config-file-type' and 'config-file-value' must be specified for container '{name}'.")
    if options.get("config-file-value") in ("/fluent-bit/etc/fluent-bit.conf", "/fluentd/etc/fluent.conf"):
        raise client_error(f"config-file-value '{options['config-file-value']}' is reserved for FireLens.")
    if (container.get("logConfiguration") or {}).get("logDriver") == "awsfirelens":
        raise client_error(f"Container '{name}' is the log router: it cannot use the awsfirelens log driver.")


def _check_containers(document: dict[str, Any]) -> None:
    containers = document["containerDefinitions"]
    names = [each["name"] for each in containers]
    if len(containers) > MAXIMUM_CONTAINERS:
        raise client_error(
            f"Too many containers: {len(containers)}. A task definition takes at most {MAXIMUM_CONTAINERS}."
        )
    for name in names:
        if names.count(name) > 1:
            raise client_error(f"Container name must be unique. '{name}' is used more than once.")
    if not any(each["essential"] for each in containers):
        raise client_error("At least one container in a task definition must be marked as essential.")
    routers = [each["name"] for each in containers if each.get("firelensConfiguration")]
    if len(routers) > 1:
        raise client_error("Task definition can only have one container with firelensConfiguration.")
    for each in containers:
        if (each.get("logConfiguration") or {}).get("logDriver") == "awsfirelens" and not routers:
            raise client_error(
                f"When you specify a log driver of 'awsfirelens' for container '{each['name']}', one container must "
                "have firelensConfiguration."
            )
    _check_dependencies(containers)
    _check_totals(document)


def _check_dependencies(containers: list[dict[str, Any]]) -> None:
    by_name = {each["name"]: each for each in containers}
    for each in containers:
        for dependency in each.get("dependsOn") or []:
            on = by_name.get(dependency["containerName"])
            if on is None:
                raise client_error(
                    f"Container '{each['name']}' depends on '{dependency['containerName']}', which does not exist."
                )
            if dependency["condition"] == "HEALTHY" and not on.get("healthCheck"):
                raise client_error(f"Container '{on['name']}' has no healthCheck, which condition HEALTHY needs.")
            if dependency["condition"] in ("COMPLETE", "SUCCESS") and on["essential"]:
                raise client_error(f"Condition {dependency['condition']} can't be set on an essential container.")
    _check_cycles(containers)


def _check_cycles(containers: list[dict[str, Any]]) -> None:
    needs = {each["name"]: {d["containerName"] for d in each.get("dependsOn") or []} for each in containers}
    while needs:
        free = [name for name, on in needs.items() if not on & needs.keys()]
        if not free:
            raise client_error("Container dependencies form a cycle.")
        for name in free:
            del needs[name]


def _check_totals(document: dict[str, Any]) -> None:
    containers = document["containerDefinitions"]
    if document.get("memory"):
        total = sum(each.get("memoryReservation") or each.get("memory") or 0 for each in containers)
        if total > memory_mib(document["memory"]):
            raise client_error(
                f"Invalid setting for task memory: containers need {total} MiB, the task has {document['memory']}."
            )
        for each in containers:
            if (each.get("memory") or 0) > memory_mib(document["memory"]):
                raise client_error(f"Invalid 'memory' setting for container '{each['name']}': more than the task has.")
    if document.get("cpu"):
        total = sum(each.get("cpu") or 0 for each in containers)
        if total > cpu_units(document["cpu"]):
            raise client_error(
                f"Invalid setting for task cpu: containers need {total} units, the task has {document['cpu']}."
            )


def _volume(given: dict[str, Any]) -> dict[str, Any]:
    efs = given.get("efsVolumeConfiguration")
    if efs is None:
        return given
    efs = {"rootDirectory": "/"} | efs
    authorization = efs.get("authorizationConfig") or {}
    encrypted = efs.get("transitEncryption", "DISABLED") == "ENABLED"
    if authorization.get("accessPointId") and not encrypted:
        raise client_error("EFS access points require transit encryption to be enabled.")
    if authorization.get("iam") == "ENABLED" and not encrypted:
        raise client_error("EFS IAM authorization requires transit encryption to be enabled.")
    if authorization.get("accessPointId") and efs["rootDirectory"] not in ("/", ""):
        raise client_error(
            "EFS access points can't be used with a root directory: omit rootDirectory or set it to '/'."
        )
    if not re.fullmatch(r"fs-[0-9a-f]{8,40}|arn:aws[-a-z]*:elasticfilesystem:.*", efs["fileSystemId"]):
        raise client_error(f"Invalid EFS file system ID: {efs['fileSystemId']}")
    return given | {"efsVolumeConfiguration": efs}


def _check_mounts(document: dict[str, Any]) -> None:
    volumes = [each["name"] for each in document["volumes"]]
    for name in volumes:
        if volumes.count(name) > 1:
            raise client_error(f"Volume name must be unique. '{name}' is used more than once.")
    for container in document["containerDefinitions"]:
        for mount in container["mountPoints"]:
            if mount.get("sourceVolume") not in volumes:
                raise client_error(f"Unknown volume '{mount.get('sourceVolume')}'.")
            if not mount.get("containerPath"):
                raise client_error(f"Container path of volume '{mount['sourceVolume']}' must not be empty.")


def not_found() -> AwsError:
    return client_error("Unable to describe task definition.")
