"""The EFS access point through which the tasks read their models: one path, one POSIX user.

An access point can't be changed. Another path is another access point, and the one before it goes once no task needs
it (`tidy`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from inference_operator.aws.errors import AlreadyExists, NotFound
from inference_operator.aws.ports import Answer
from inference_operator.domain import tags
from inference_operator.domain.tags import Retag
from inference_operator.resources.base import Change, Context, Fact, Scene, Settled, Wait, changed

TRANSIENT = ("creating", "updating")
PERMISSIONS = "0755"  # of a folder that EFS makes because it is missing


@dataclass(frozen=True, kw_only=True)
class Want:
    file_system: str
    path: str
    uid: int
    gid: int
    token: str
    tags: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class AccessPoint:
    id: str
    path: str
    uid: int
    gid: int
    state: str
    tags: Mapping[str, str]
    superseded: tuple[str, ...] = ()
    """Ids of our access points to other paths."""


class AccessPoints:
    """The EFS access point to the models."""

    name: ClassVar[str] = "AccessPoint"
    volatile: ClassVar[bool] = False

    def desire(self, ctx: Context) -> Want:
        models, user = ctx.environment.models, ctx.environment.models.posix_user
        path = "/" + "/".join(part for part in (models.root_directory + ctx.spec.models.path).split("/") if part)
        return Want(
            file_system=models.file_system_id,
            path=path,
            uid=user.uid,
            gid=user.gid,
            token=ctx.identity.client_token(models.file_system_id, path, user.uid, user.gid),
            tags={"Name": ctx.identity.key, **ctx.tags},
        )

    def diff(self, want: Want, have: AccessPoint) -> Change:
        return changed(
            {
                "rootDirectory.path": (want.path, have.path),
                "posixUser.uid": (want.uid, have.uid),
                "posixUser.gid": (want.gid, have.gid),
            },
            replace=True,
        )

    def settled(self, ctx: Context, want: Want, have: AccessPoint) -> Settled | Wait:
        if have.state in TRANSIENT:
            return Wait(f"access point {have.id} is {have.state}")
        return Settled(f"{have.id} shows {have.path}")

    def facts(self, have: AccessPoint) -> Mapping[Fact, str]:
        # A task that mounts it before that fails, and counts against the rollout.
        return {} if have.state in TRANSIENT else {Fact.ACCESS_POINT: have.id}

    def observe(self, scene: Scene) -> AccessPoint | None:
        listed = scene.aws.listings.access_points(scene.environment.models.file_system_id)
        there = [a for a in map(_read, listed) if a.state != "deleting"]
        known = scene.named(Fact.ACCESS_POINT)
        wanted = known if isinstance(scene, Context) else None  # what is to go is ours by its tags alone
        ours = [a for a in there if tags.owned(a.tags, scene.identity) or a.id == wanted]
        ours = ours or [a for a in there if tags.RETAINED in a.tags and scene.takes(a.tags)]
        if not ours and scene.adopt:  # AWS names access points: the one that the service mounts is meant
            mounted = _mounted(scene)
            ours = [a for a in there if a.id == mounted and scene.takes(a.tags)]
        if not ours:
            return None
        # The one in use is the one that the status names; after a crash before that was written, `create` finds the
        # newer one by its token.
        path = self.desire(scene).path if isinstance(scene, Context) else None
        current = next((a for a in ours if a.id == known), next((a for a in ours if a.path == path), ours[-1]))
        if current.state in TRANSIENT:  # for a moment, and the list may be some seconds old
            current = _read(self._describe(scene, current.id))
        return replace(current, superseded=tuple(a.id for a in ours if a.id != current.id))

    def create(self, ctx: Context, want: Want) -> AccessPoint:
        try:
            answer = ctx.aws.efs.create_access_point(**_input(want))
        except AlreadyExists as error:  # by an earlier try with the same token
            answer = self._describe(ctx, str(error.detail["AccessPointId"]))
        ctx.aws.listings.add("access points", answer, of=want.file_system)
        return _read(answer)

    def update(self, ctx: Context, want: Want, have: AccessPoint, change: Change) -> AccessPoint:
        if tags.OWNER in have.tags and not tags.owned(have.tags, ctx.identity):
            # Left by an earlier object of the name: as this one's own it goes once no task needs it.
            have = self.retag(ctx, have, Retag(put=tags.ownership(ctx.identity), remove=()))
        created = self.create(ctx, want)
        before = {have.id} if tags.owned(have.tags, ctx.identity) else set()
        return replace(created, superseded=tuple({*before, *have.superseded} - {created.id}))

    def retag(self, scene: Scene, have: AccessPoint, retag: Retag) -> AccessPoint:
        for access_point in (*have.superseded, have.id):  # whoever gets the one is to take away the others
            if retag.remove:
                scene.aws.efs.untag_resource(ResourceId=access_point, TagKeys=list(retag.remove))
            if retag.put:
                scene.aws.efs.tag_resource(ResourceId=access_point, Tags=tags.list_of(retag.put))
        scene.aws.listings.forget("access points")
        return replace(have, tags=retag.applied(have.tags))

    def delete(self, scene: Scene, have: AccessPoint) -> None:
        for access_point in (*have.superseded, have.id):
            self._delete(scene, access_point)

    def tidy(self, ctx: Context, want: Want, have: AccessPoint) -> AccessPoint:
        for access_point in have.superseded:
            self._delete(ctx, access_point)
        return replace(have, superseded=())

    def _delete(self, scene: Scene, access_point: str) -> None:
        with suppress(NotFound):
            scene.aws.efs.delete_access_point(AccessPointId=access_point)

    def _describe(self, scene: Scene, access_point: str) -> Answer:
        answer: Answer = scene.aws.efs.describe_access_points(AccessPointId=access_point)["AccessPoints"][0]
        return answer


def _mounted(scene: Scene) -> str | None:
    """The access point in the task definition that the service runs."""
    cluster, name = scene.environment.cluster, scene.identity.service
    service = scene.aws.services.get(cluster, name, max_age=scene.freshness)
    if service is None or "taskDefinition" not in service:  # one of an external controller has none
        return None
    answer = scene.aws.ecs.describe_task_definition(taskDefinition=service["taskDefinition"], include=["TAGS"])
    volumes = (v.get("efsVolumeConfiguration") or {} for v in answer["taskDefinition"].get("volumes", ()))
    found = ((v.get("authorizationConfig") or {}).get("accessPointId") for v in volumes)
    return next((access_point for access_point in found if access_point), None)


def _input(want: Want) -> dict[str, Any]:
    """CreateAccessPoint. Without CreationInfo a mount of a missing path fails; with it an empty folder would hide a
    wrong path, but the server then says which model it misses."""
    return {
        "ClientToken": want.token,
        "FileSystemId": want.file_system,
        "PosixUser": {"Uid": want.uid, "Gid": want.gid},
        "RootDirectory": {
            "Path": want.path,
            "CreationInfo": {"OwnerUid": want.uid, "OwnerGid": want.gid, "Permissions": PERMISSIONS},
        },
        "Tags": tags.list_of(want.tags),
    }


def _read(answer: Answer) -> AccessPoint:
    user = answer.get("PosixUser") or {}
    return AccessPoint(
        id=answer["AccessPointId"],
        path=answer.get("RootDirectory", {}).get("Path", "/"),
        uid=user.get("Uid", -1),
        gid=user.get("Gid", -1),
        state=answer.get("LifeCycleState", "available"),
        tags=tags.parse(answer.get("Tags")),
    )
