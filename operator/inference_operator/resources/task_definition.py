"""The task definition: what one task runs. Each different one is a revision; which revision runs is the service's
matter.

AWS writes defaults into what it answers, so revisions are compared by the hash of what we sent, kept as a tag.
RegisterTaskDefinition knows no idempotency token: before registering, the newest revision's hash is looked at.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from inference_operator.aws.errors import AwsError
from inference_operator.aws.ports import ANY_AGE
from inference_operator.domain import tags
from inference_operator.domain.names import digest
from inference_operator.domain.reasons import Reason
from inference_operator.domain.tags import Retag
from inference_operator.resources import log_router
from inference_operator.resources.base import Blocked, Change, Context, Fact, Scene, Settled, Wait, changed
from inference_operator.resources.containers import MODELS, SCRATCH, containers

LARGEST = 64 * 1024
"""Bytes of a task definition: a quota of ECS, "Task definition size limit"."""

KEPT = 10
"""Revisions of a family that stay active besides those in use; as many rollouts are in `status.history`."""
AT_A_TIME = 10
"""ECS lets an account register and deregister one task definition a second (developer guide, "Request throttling")."""
NO_SUCH_FAMILY = "ClientException"  # "Unable to describe task definition."


@dataclass(frozen=True, kw_only=True)
class Want:
    input: Mapping[str, Any]
    """RegisterTaskDefinition, without tags."""
    hash: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class TaskDefinition:
    arn: str
    hash: str | None
    tags: Mapping[str, str]
    content: Mapping[str, Any] = field(default_factory=dict)
    """What was registered, as far as AWS tells it; empty where the hash tells more."""
    tidied: bool = False


class TaskDefinitions:
    """The task-definition revision made from the spec."""

    name: ClassVar[str] = "TaskDefinition"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want | Wait | Blocked:
        missing = [fact.value for fact in (Fact.LOG_GROUP, Fact.ACCESS_POINT) if fact not in ctx.facts]
        if missing:
            return Wait(f"not there yet: {', '.join(missing)}", Reason.DEPENDENCY_NOT_READY)
        rendered = render(ctx)
        size = len(json.dumps(rendered, separators=(",", ":")).encode())
        if size > LARGEST:
            return Blocked(Reason.LIMIT_EXCEEDED, _too_large(rendered, size))
        spec_hash = digest(rendered)
        return Want(input=rendered, hash=spec_hash, tags={**ctx.tags, tags.SPEC_HASH: spec_hash})

    def diff(self, want: Want, have: TaskDefinition) -> Change:
        if have.hash is None and have.content == essence(want.input):
            return Change()  # somebody else has registered the same
        return changed({"revision": (want.hash, have.hash)}, replace=True)

    def settled(self, ctx: Context, want: Want, have: TaskDefinition) -> Settled:
        return Settled(f"{revision_of(have.arn)}, hash {want.hash[:12]}")

    def facts(self, have: TaskDefinition) -> Mapping[Fact, str]:
        return {Fact.TASK_DEFINITION: have.arn}

    def observe(self, scene: Scene) -> TaskDefinition | None:
        """The newest revision of the family; of the object's own, if somebody else has registered one after it."""
        newest = _described(scene, scene.identity.service)
        if newest is None or tags.owned(newest.tags, scene.identity):
            return newest
        own = (_described(scene, arn) for arn in _known(scene))
        return next((each for each in own if each is not None and tags.owned(each.tags, scene.identity)), newest)

    def create(self, ctx: Context, want: Want) -> TaskDefinition:
        listed = tags.list_of(want.tags, key="key", value="value")
        answer = ctx.aws.ecs.register_task_definition(**want.input, tags=listed)
        return TaskDefinition(arn=answer["taskDefinition"]["taskDefinitionArn"], hash=want.hash, tags=want.tags)

    def update(self, ctx: Context, want: Want, have: TaskDefinition, change: Change) -> TaskDefinition:
        return self.create(ctx, want)

    def retag(self, scene: Scene, have: TaskDefinition, retag: Retag) -> TaskDefinition:
        if retag.remove:
            scene.aws.ecs.untag_resource(resourceArn=have.arn, tagKeys=list(retag.remove))
        if retag.put:
            scene.aws.ecs.tag_resource(resourceArn=have.arn, tags=tags.list_of(retag.put, key="key", value="value"))
        found = retag.applied(have.tags)
        return replace(have, tags=found, hash=found.get(tags.SPEC_HASH))

    def delete(self, scene: Scene, have: TaskDefinition) -> None:
        """Deregisters the family's active revisions that are ours. AWS keeps inactive ones as a record."""
        members: dict[str, str] = {"familyPrefix": scene.identity.service, "status": "ACTIVE"}
        while True:
            page = scene.aws.ecs.list_task_definitions(**members)
            for arn in page["taskDefinitionArns"]:
                # The prefix matches longer names too.
                if family_of(arn) == scene.identity.service and _is_of(scene, arn, have):
                    scene.aws.ecs.deregister_task_definition(taskDefinition=arn)
            if not page.get("nextToken"):
                return
            members["nextToken"] = page["nextToken"]

    def tidy(self, ctx: Context, want: Want, have: TaskDefinition) -> TaskDefinition:
        """Deregisters what is older than the newest KEPT revisions, is ours and is not in use."""
        if have.tidied or int(have.arn.rpartition(":")[2]) <= KEPT:
            return have
        old = [arn for arn in _active(ctx) if arn not in _in_use(ctx)][KEPT:]
        for arn in old[:AT_A_TIME]:
            if _is_of(ctx, arn, have):
                ctx.aws.ecs.deregister_task_definition(taskDefinition=arn)
        return replace(have, tidied=len(old) <= AT_A_TIME)


def render(ctx: Context) -> dict[str, Any]:
    """RegisterTaskDefinition for a spec. Pure, and free of everything that differs from pass to pass."""
    spec, environment = ctx.spec, ctx.environment
    storage = spec.ephemeral_storage
    return {
        "family": ctx.identity.service,
        "requiresCompatibilities": ["FARGATE"],
        "networkMode": "awsvpc",
        "cpu": str(spec.cpu.units),
        "memory": str(spec.memory.mib),
        "runtimePlatform": {"cpuArchitecture": spec.architecture, "operatingSystemFamily": "LINUX"},
        "executionRoleArn": environment.execution_role_arn,
        "taskRoleArn": spec.task_role_arn or environment.task_role_arn,
        "containerDefinitions": containers(ctx),
        "volumes": [_models_volume(ctx), {"name": SCRATCH}, *_router_volume(ctx)],
        **({"ephemeralStorage": {"sizeInGiB": int(storage.removesuffix("Gi"))}} if storage else {}),
    }


def _described(scene: Scene, family_or_arn: str) -> TaskDefinition | None:
    """None if there is no such one that is active."""
    try:
        answer = scene.aws.ecs.describe_task_definition(taskDefinition=family_or_arn, include=["TAGS"])
    except AwsError as error:
        if error.code == NO_SUCH_FAMILY:
            return None
        raise
    return _read(answer) if answer["taskDefinition"].get("status", "ACTIVE") == "ACTIVE" else None


def _known(scene: Scene) -> list[str]:
    """Revisions that the object had when its status was written, the newest first."""
    previous = scene.previous
    known = (named.revision for named in (previous.desired, previous.deployment, previous.running) if named is not None)
    return list(dict.fromkeys(arn for arn in known if arn is not None))


def _is_of(scene: Scene, arn: str, have: TaskDefinition) -> bool:
    """Whether a revision of the family is the object's: anybody may register one."""
    shown = have if arn == have.arn else _described(scene, arn)
    return shown is not None and shown.tags.get(tags.OWNER) == scene.identity.key


def _router_volume(ctx: Context) -> list[dict[str, str]]:
    return [{"name": log_router.VOLUME}] if ctx.spec.logging.routed else []


def _active(ctx: Context) -> list[str]:
    """ARNs of the family's active revisions, newest first."""
    members: dict[str, str] = {"familyPrefix": ctx.identity.service, "status": "ACTIVE", "sort": "DESC"}
    found: list[str] = []
    while True:
        page = ctx.aws.ecs.list_task_definitions(**members)
        found += [arn for arn in page["taskDefinitionArns"] if family_of(arn) == ctx.identity.service]
        if not page.get("nextToken"):
            return sorted(found, key=lambda arn: int(arn.rpartition(":")[2]), reverse=True)
        members["nextToken"] = page["nextToken"]


def _in_use(ctx: Context) -> set[str | None]:
    """Revisions that the service runs, or that it may go back to."""
    service = ctx.aws.services.get(ctx.environment.cluster, ctx.identity.service, max_age=ANY_AGE)
    used: set[str | None] = {d["taskDefinition"] for d in (service or {}).get("deployments", ())}
    previous = ctx.previous
    used |= {named.revision for named in (previous.running, previous.desired, previous.deployment) if named is not None}
    return used


def _models_volume(ctx: Context) -> dict[str, Any]:
    """EFS through the access point: then TLS is required and the directory is the access point's
    (API_EFSVolumeConfiguration: transitEncryption, rootDirectory). `iam` makes the task role count."""
    return {
        "name": MODELS,
        "efsVolumeConfiguration": {
            "fileSystemId": ctx.environment.models.file_system_id,
            "transitEncryption": "ENABLED",
            "authorizationConfig": {"accessPointId": ctx.facts[Fact.ACCESS_POINT], "iam": "ENABLED"},
        },
    }


def _too_large(rendered: Mapping[str, Any], size: int) -> str:
    parts = {each["name"]: len(json.dumps(each)) for each in rendered["containerDefinitions"]}
    largest = max(parts, key=lambda name: parts[name])
    what = "spec.logging" if largest == log_router.ROUTER else "env and command"
    return (
        f"the task definition would have {size} bytes, and ECS takes {LARGEST} at most; the container {largest} has "
        f"{parts[largest]} of them. Next: make {what} of it shorter"
    )


def _read(answer: Mapping[str, Any]) -> TaskDefinition:
    found = tags.parse(answer.get("tags"))
    shown = answer["taskDefinition"]
    return TaskDefinition(
        arn=shown["taskDefinitionArn"],
        hash=found.get(tags.SPEC_HASH),
        tags=found,
        content=essence(shown) if tags.SPEC_HASH not in found else {},
    )


MEMBERS = (
    "family",
    "taskRoleArn",
    "executionRoleArn",
    "networkMode",
    "containerDefinitions",
    "volumes",
    "placementConstraints",
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
"""Members that RegisterTaskDefinition takes and DescribeTaskDefinition shows: what tasks are made of."""

DEFAULTS: Mapping[str, Any] = {
    "cpu": 0,
    "protocol": "tcp",
    "essential": True,
    "readOnly": False,
    "rootDirectory": "/",
    "enableFaultInjection": False,
    "readonlyRootFilesystem": False,
    "operatingSystemFamily": "LINUX",
    "cpuArchitecture": "X86_64",
}
"""What AWS fills in (API reference, RegisterTaskDefinition and ContainerDefinition)."""


def essence(definition: Mapping[str, Any]) -> dict[str, Any]:
    """What a task definition says, the same whether it is to be registered or is shown by AWS, which fills in defaults
    and answers lists of named things in any order."""
    found: dict[str, Any] = _essence({member: definition[member] for member in MEMBERS if member in definition})
    return found


def _essence(value: Any) -> Any:
    if isinstance(value, Mapping):
        parts = {member: _essence(part) for member, part in value.items()}
        if parts.get("hostPort") == parts.get("containerPort"):
            parts.pop("hostPort", None)
        return {m: p for m, p in parts.items() if p not in (None, "", [], {}) and DEFAULTS.get(m, _NONE) != p}
    if isinstance(value, list | tuple):
        items = [_essence(item) for item in value]
        named = all(isinstance(item, dict) for item in items)
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True)) if named else items
    return value


_NONE = object()


def revision_of(arn: str) -> str:
    """`family:revision`."""
    return arn.rpartition("/")[2]


def family_of(arn: str) -> str:
    return revision_of(arn).rpartition(":")[0]
