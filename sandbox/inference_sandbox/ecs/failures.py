"""Failures to rehearse: what can be made to go wrong with a service's tasks, in the words that AWS has for it.

Sources: developer guide, "Stopped tasks error messages" and "Amazon ECS service event messages". A cause either keeps
the next tasks from being placed, or from starting, or strikes tasks that run. This module must not know how a scheduler
takes a failure.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from inference_sandbox.ecs import texts

PULL = "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
SECRETS = (
    "ResourceInitializationError: unable to pull secrets or registry auth: execution resource retrieval failed: unable "
    "to retrieve secret from asm: service call has been retried 1 time(s): "
)
EFS = "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: stderr: "
EFS_END = " : unsuccessful EFS utils command execution; code: 32"

UNPLACED = {
    "capacity": texts.CAPACITY,
    "vcpu-limit": texts.VCPU_LIMIT,
    "task-limit": "You've reached the limit on the number of tasks you can run concurrently",
    "subnet": "Internal error.",
}
"""The task is never made: `was unable to place a task. Reason: …`."""

UNSTARTED = {
    "image-not-found": f"{PULL}failed to resolve ref {{image}}: {{image}}: not found",
    "image-platform": f"{PULL}image Manifest does not contain descriptor matching platform 'linux/amd64'",
    "image-denied": (
        f"{PULL}failed to resolve ref {{image}}: pulling from host failed with status code [manifests]: 403 Forbidden"
    ),
    "image-timeout": f"{PULL}failed to resolve ref {{image}}: failed to do request: dial tcp: i/o timeout",
    "image-rate": f"{PULL}toomanyrequests: You have reached your pull rate limit.",
    "disk-full": "CannotPullContainerError: failed to extract layer: write /var/lib: no space left on device",
    "secrets-denied": (
        f"{SECRETS}AccessDeniedException: User is not authorized to perform: secretsmanager:GetSecretValue on resource"
    ),
    "secrets-timeout": f"{SECRETS}RequestCanceled: request context canceled caused by: context deadline exceeded",
    "log-group": (
        "ResourceInitializationError: failed to validate logger args: create stream has been retried 1 times: failed "
        "to create Cloudwatch log stream: ResourceNotFoundException: The specified log group does not exist. : exit "
        "status 1"
    ),
    "efs-denied": f"{EFS}b'mount.nfs4: access denied by server while mounting 127.0.0.1:/'{EFS_END}",
    "efs-timeout": f"{EFS}Mount attempt 1/3 failed due to timeout after 15 sec, wait 0 sec before next.{EFS_END}",
    "efs-unresolved": (
        f'{EFS}Failed to resolve "fs-00000000.efs.amazonaws.com" - check that your file system ID is correct{EFS_END}'
    ),
    "network": "Timeout waiting for network interface provisioning to complete.",
    "entrypoint": (
        "CannotStartContainerError: ResourceInitializationError: failed to create new container runtime task: failed "
        'to create shim task: OCI runtime create failed: exec: "app": executable file not found in $PATH: unknown'
    ),
    "platform-fault": "InternalError: unable to create new container: internal error",
}
"""The task is made and stops as TaskFailedToStart with this reason."""

STRIKES = ("oom", "crash", "container-health", "target-health", "spot", "maintenance")
"""A running task: killed for its memory, exits with 1, fails its container check, fails its load balancer's check, its
Spot capacity is wanted back, its host is retired."""

CAUSES: tuple[str, ...] = (*UNPLACED, *UNSTARTED, *STRIKES)


@dataclass(kw_only=True)
class Failure:
    """`service` may hold wildcards. `times`: so many tasks; None until it is cleared. `zone`: of `capacity`, the one
    availability zone that has none, until it is cleared. `exit_code`: of `crash`, what it exits with."""

    service: str
    cause: str
    times: int | None = None
    zone: str | None = None
    exit_code: int | None = None

    def __post_init__(self) -> None:
        if self.cause not in CAUSES:
            raise ValueError(f"failure cause {self.cause!r} is unknown: use one of {', '.join(CAUSES)}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"failure times {self.times} must be at least 1, or left out for all until cleared")
        if self.zone is not None and (self.cause != "capacity" or self.times is not None):
            raise ValueError("a zone goes with the cause capacity, and without times: it lasts until it is cleared")
        if self.exit_code is not None and (self.cause != "crash" or not 0 <= self.exit_code <= 255):  # noqa: PLR2004 - a byte
            raise ValueError("an exit code goes with the cause crash, and is 0 to 255")


class Failures:
    """The failures waiting for tasks to come; strikes do not wait."""

    def __init__(self) -> None:
        self.waiting: list[Failure] = []

    def take(self, service: str, kind: Literal["unplaced", "unstarted"]) -> str | None:
        """The text of the failure that the service's next task meets, if one waits."""
        known = UNPLACED if kind == "unplaced" else UNSTARTED
        for failure in self.waiting:
            if failure.cause in known and failure.zone is None and fnmatchcase(service, failure.service):
                if failure.times is not None:
                    failure.times -= 1
                    if failure.times == 0:
                        self.waiting.remove(failure)
                return known[failure.cause]
        return None

    def closed_zones(self, service: str) -> set[str]:
        """Availability zones that take none of the service's tasks for now."""
        return {each.zone for each in self.waiting if each.zone is not None and fnmatchcase(service, each.service)}
