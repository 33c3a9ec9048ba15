"""What ECS needs of the rest of AWS, looked up in moto's backends: subnets, target groups, secrets, file systems, log
groups; EventBridge has a module of its own.

A task that lacks one of these fails as it does on Fargate, with AWS's words ("Stopped tasks error messages"). This
module must not know how a deployment proceeds.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

from moto.cloudwatch.models import cloudwatch_backends
from moto.core.exceptions import JsonRESTError, ServiceException
from moto.ec2.models import ec2_backends
from moto.efs.models import efs_backends
from moto.elbv2.models import elbv2_backends
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.ssm.models import ssm_backends

from inference_sandbox.aws import cloud_map, elbv2
from inference_sandbox.aws.event_bridge import EventBridge
from inference_sandbox.ecs.state import Task
from inference_sandbox.ecs.surroundings import AlarmFacts, Event, NotLaunched, TargetGroupFacts
from inference_sandbox.ports import ContainerLaunch, EfsMount, TaskLaunch

NO_SECRETS = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: "
)
RETRIED = "service call has been retried 1 time(s): "
NO_LOG_GROUP = (
    "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed to "
    "create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit status 1"
)
NO_EFS = "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: "

MotoError = (ServiceException, JsonRESTError)


class _Missing(Exception):
    """Something that a launch needs is not there; the text is the task's `stoppedReason`."""


class MotoSurroundings:
    """`routes_changed` is called after the weights of a listener rule were changed."""

    def __init__(self, efs_root: Path, routes_changed: Callable[[], None]) -> None:
        self._efs_root = efs_root
        self._routes_changed = routes_changed
        self.events = EventBridge()
        self.functions: dict[str, Mapping[str, Any]] = {}
        """What Lambda functions answer, by ARN: `{"hookStatus": "FAILED"}`."""
        self.invocations: list[tuple[str, Mapping[str, Any]]] = []

    # -- the network and the load balancer

    def zone(self, account: str, region: str, subnet: str) -> str | None:
        backends = ec2_backends.get(account)  # get() makes no backend where there is none, and takes no lock
        backend = backends.get(region) if backends is not None else None
        for zone in backend.subnets.values() if backend is not None else ():
            if subnet in zone:
                return str(zone[subnet].availability_zone)
        return None

    def missing_security_group(self, account: str, region: str, groups: Sequence[str]) -> str | None:
        backend = ec2_backends[account][region]
        return next((group for group in groups if backend.get_security_group_from_id(group) is None), None)

    def target_group(self, arn: str) -> TargetGroupFacts | None:
        _, _, _, region, account, *_ = arn.split(":")
        group = elbv2_backends[account][region].target_groups.get(arn)
        if group is None:
            return None
        return TargetGroupFacts(
            target_type=group.target_type,
            port=int(group.port) if group.port else None,
            attached=bool(group.load_balancer_arns),
            health_check_interval=timedelta(seconds=int(group.health_check_interval_seconds)),
        )

    def alarms(self, account: str, region: str, names: Sequence[str]) -> Mapping[str, AlarmFacts]:
        known = cloudwatch_backends[account][region].alarms
        return {name: _alarm(known[name]) for name in names if name in known}

    def rule(self, arn: str) -> bool:
        return elbv2.find_rule(arn) is not None

    def shift(self, rule: str, shares: Mapping[str, float]) -> None:
        elbv2.shift(rule, shares)
        self._routes_changed()

    def record_types(self, registry: str) -> Sequence[str] | None:
        return cloud_map.record_types(registry)

    def register(self, registry: str, instance: str, attributes: Mapping[str, str]) -> None:
        cloud_map.register(registry, instance, attributes)

    def deregister(self, registry: str, instance: str) -> None:
        cloud_map.deregister(registry, instance)

    def set_health(self, registry: str, instance: str, *, healthy: bool) -> None:
        cloud_map.set_health(registry, instance, healthy=healthy)

    def invoke(self, function: str, payload: Mapping[str, Any]) -> Mapping[str, Any]:
        """The sandbox runs no Lambda functions: one answers what it was told to answer, else that all is well."""
        self.invocations.append((function, payload))
        return self.functions.get(function, {"hookStatus": "SUCCEEDED"})

    # -- launching

    def prepare(self, task: Task) -> TaskLaunch | NotLaunched:
        try:
            containers = [self._container(task, each.definition) for each in task.containers]
        except _Missing as missing:
            return NotLaunched(reason=str(missing))
        definition = task.task_definition
        document = {**definition.document, "revision": definition.revision}
        return TaskLaunch(arn=task.arn, task_definition=document, containers=containers)

    def _container(self, task: Task, definition: dict[str, Any]) -> ContainerLaunch:
        override: dict[str, Any] = next(
            (each for each in task.overrides.get("containerOverrides", []) if each.get("name") == definition["name"]),
            {},
        )
        environment = {
            "AWS_REGION": task.cluster.region,
            "AWS_DEFAULT_REGION": task.cluster.region,
            "AWS_EXECUTION_ENV": "AWS_ECS_FARGATE",
        }
        for pair in (*definition["environment"], *(override.get("environment") or [])):
            environment[pair["name"]] = pair["value"]
        for secret in definition.get("secrets") or []:
            environment[secret["name"]] = self._secret(task, secret["valueFrom"])
        if override.get("command"):
            definition = definition | {"command": override["command"]}
        self._log_group(task, definition)
        mounts = [mount for each in definition["mountPoints"] if (mount := self._mount(task, each)) is not None]
        return ContainerLaunch(definition=definition, environment=environment, mounts=mounts)

    def _secret(self, task: Task, source: str) -> str:
        if ":secretsmanager:" in source:
            return _secrets_manager(source)
        account, region = task.cluster.account, task.cluster.region
        if source.startswith("arn:"):
            _, _, _, region, account, *_ = source.split(":")
        found = ssm_backends[account][region].get_parameters([source])
        if source not in found:
            raise _Missing(f"{NO_SECRETS}unable to retrieve secrets from ssm: {RETRIED}invalid parameters: {source}")
        return str(found[source].response_object(decrypt=True)["Value"])

    def _log_group(self, task: Task, definition: dict[str, Any]) -> None:
        """awslogs: the group must exist, or be asked for; the stream is made."""
        log = definition.get("logConfiguration") or {}
        if log.get("logDriver") != "awslogs":
            return
        options = log.get("options") or {}
        name, region = options.get("awslogs-group", ""), options.get("awslogs-region") or task.cluster.region
        backend = logs_backends[task.cluster.account][region]
        if name not in backend.groups:
            if options.get("awslogs-create-group") != "true":
                raise _Missing(NO_LOG_GROUP)
            backend.create_log_group(name, {})
        stream = f"{options.get('awslogs-stream-prefix', 'ecs')}/{definition['name']}/{task.id}"
        if stream not in backend.groups[name].streams:
            backend.create_log_stream(name, stream)

    # -- EFS

    def _mount(self, task: Task, mount: dict[str, Any]) -> EfsMount | None:
        volumes = task.task_definition.document["volumes"]
        efs = next(each for each in volumes if each["name"] == mount["sourceVolume"]).get("efsVolumeConfiguration")
        if efs is None:
            return None
        identifier = efs["fileSystemId"].rsplit("/", 1)[-1]
        backend = efs_backends[task.cluster.account][task.cluster.region]
        system = backend.file_systems_by_id.get(identifier)
        if system is None or task.zone not in system._mount_targets:  # noqa: SLF001 - moto keeps them by zone, here only
            raise _Missing(_unresolved(identifier, task.cluster.region))
        point_id = (efs.get("authorizationConfig") or {}).get("accessPointId")
        if not point_id:
            folder, user = self._directory(identifier, efs["rootDirectory"]), {}
        else:
            point = backend.access_points.get(point_id)
            if point is None or point.file_system_id != identifier:
                raise _Missing(_not_mounted("access denied by server while mounting 127.0.0.1:/"))
            folder, user = self._access_point(identifier, point.root_directory), point.posix_user or {}
        return EfsMount(
            container_path=mount["containerPath"],
            host_path=str(folder),
            read_only=bool(mount.get("readOnly")),
            uid=user.get("Uid"),
            gid=user.get("Gid"),
        )

    def _directory(self, file_system: str, path: str) -> Path:
        folder = self.folder(file_system, path)
        if path in ("", "/"):
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            why = f"mounting {file_system}:{path} failed, reason given by server: No such file or directory"
            raise _Missing(_not_mounted(why))
        return folder

    def _access_point(self, file_system: str, root: dict[str, Any]) -> Path:
        """A missing root directory is made from CreationInfo when a client connects; without it the mount fails
        (EFS API reference, RootDirectory).
        """
        folder = self.folder(file_system, root.get("Path") or "/")
        creation = root.get("CreationInfo")
        if folder.is_dir():
            return folder
        if folder == self.folder(file_system, "/"):
            folder.mkdir(parents=True)
            return folder
        if not creation:
            raise _Missing(_not_mounted(f"access denied by server while mounting 127.0.0.1:{root['Path']}"))
        folder.mkdir(parents=True)
        folder.chmod(int(creation["Permissions"], 8))
        with contextlib.suppress(PermissionError):  # only root may give a folder away; others keep it
            os.chown(folder, creation["OwnerUid"], creation["OwnerGid"])
        return folder

    def folder(self, file_system: str, path: str = "/") -> Path:
        """The folder that stands for a path of a file system; it never leaves the file system's own folder."""
        parts = [part for part in PurePosixPath("/", path).parts[1:] if part not in ("..", ".")]
        return self._efs_root.joinpath(file_system, *parts)

    # -- EventBridge

    def listening(self, account: str, region: str) -> bool:
        return self.events.listening(account, region)

    def publish(self, event: Event) -> None:
        self.events.publish(event)


def _alarm(alarm: Any) -> AlarmFacts:
    seconds = int(alarm.period or 60) * int(alarm.evaluation_periods or 1)
    return AlarmFacts(state=alarm.state_value, window=timedelta(seconds=seconds))


def _secrets_manager(source: str) -> str:
    """`arn:…:secret:NAME[:json-key[:version-stage[:version-id]]]`."""
    parts = source.split(":")
    _, _, _, region, account, _, name = parts[:7]
    key, stage, version = (*parts[7:], "", "", "")[:3]
    arn = ":".join(parts[:7])
    prefix = f"{NO_SECRETS}unable to retrieve secret from asm: {RETRIED}"
    try:
        backend: Any = secretsmanager_backends[account][region]  # its hints forbid the None that it expects
        found = backend.get_secret_value(arn, version or None, stage or None)
    except MotoError as error:
        raise _Missing(
            f"{prefix}failed to fetch secret {arn} from secrets manager: ResourceNotFoundException: "
            "Secrets Manager can't find the specified secret."
        ) from error
    value = str(found.get("SecretString") or "")
    if not key:
        return value
    try:
        document = json.loads(value)
    except ValueError as error:
        raise _Missing(f"{prefix}invalid character in secret {name}: retrieved secret is not JSON") from error
    if key not in document:
        raise _Missing(f"{prefix}retrieved secret from Secrets Manager did not contain json key {key}")
    return str(document[key])


def _unresolved(file_system: str, region: str) -> str:
    host = f"{file_system}.efs.{region}.amazonaws.com"
    return (
        f'{NO_EFS}Failed to resolve "{host}" - check that your file system ID is correct, and ensure that the VPC has '
        "an EFS mount target for this file system ID. See https://docs.aws.amazon.com/console/efs/mount-dns-name for "
        "more detail. : unsuccessful EFS utils command execution; code: 1"
    )


def _not_mounted(why: str) -> str:
    return f"{NO_EFS}b'mount.nfs4: {why}' : unsuccessful EFS utils command execution; code: 32"
