"""A task's volumes: those of its own, and what AWS says when an EFS volume can't be mounted."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference_sandbox.ports import EfsMount, TaskLaunch


def mount_failure(task: TaskLaunch) -> str | None:
    """The stoppedReason for the first mount whose folder is not there, None if all are."""
    for container in task.containers:
        for mount in container.mounts:
            if not Path(mount.host_path).is_dir():
                return _missing(_volume(task, container.definition, mount), region=task.arn.split(":")[3])
    return None


def task_volumes(task: TaskLaunch, definition: Mapping[str, Any], folder: Path) -> list[EfsMount]:
    """A container's mounts of the volumes that live and go with its task: one folder each, made in `folder`."""
    mounts = []
    for point in own_volumes(task, definition):
        own = folder / point["sourceVolume"]
        own.mkdir(parents=True, exist_ok=True)
        mounts.append(
            EfsMount(container_path=point["containerPath"], host_path=str(own), read_only=bool(point.get("readOnly")))
        )
    return mounts


def own_volumes(task: TaskLaunch, definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The `mountPoints` of a container whose volumes are no EFS, but the task's own."""
    volumes = task.task_definition.get("volumes") or ()
    efs = {volume["name"] for volume in volumes if volume.get("efsVolumeConfiguration")}
    return [point for point in definition.get("mountPoints") or () if point["sourceVolume"] not in efs]


def _volume(task: TaskLaunch, definition: Mapping[str, Any], mount: EfsMount) -> Mapping[str, Any]:
    """The `efsVolumeConfiguration` behind a mount."""
    sources = {point["containerPath"]: point["sourceVolume"] for point in definition.get("mountPoints") or ()}
    for volume in task.task_definition.get("volumes") or ():
        if volume["name"] == sources.get(mount.container_path):
            found: Mapping[str, Any] = volume.get("efsVolumeConfiguration") or {}
            return found
    return {}


def _missing(volume: Mapping[str, Any], *, region: str) -> str:
    """With TLS the mount helper speaks to its tunnel. A missing access-point folder is a refusal, not an absence."""
    server = (
        "127.0.0.1"
        if volume.get("transitEncryption") == "ENABLED"
        else f"{volume.get('fileSystemId')}.efs.{region}.amazonaws.com"
    )
    if (volume.get("authorizationConfig") or {}).get("accessPointId"):
        trouble = f"mount.nfs4: access denied by server while mounting {server}:/"
    else:
        folder = volume.get("rootDirectory") or "/"
        trouble = f"mount.nfs4: mounting {server}:{folder} failed, reason given by server: No such file or directory"
    return (
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: "
        f"stderr: b'{trouble}' : unsuccessful EFS utils command execution; code: 32"
    )
