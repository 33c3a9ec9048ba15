"""EFS through the raw API, and what tasks see of it (EFS API reference; "Use Amazon EFS volumes with Amazon ECS")."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.sandbox.aws.fidelity import differs, follows
from tests.sandbox.aws.world import World, refusal

CREATION = {"OwnerUid": os.getuid(), "OwnerGid": os.getgid(), "Permissions": "0750"}


def access_point(world: World, system: str, name: str = "models", **members: Any) -> str:
    return str(world.efs.create_access_point(ClientToken=name, FileSystemId=system, **members)["AccessPointId"])


def mounted(world: World, system: str, point: str | None = None, *, read_only: bool = False, root: str = "/") -> str:
    efs: dict[str, Any] = {"fileSystemId": system, "rootDirectory": root, "transitEncryption": "ENABLED"}
    if point:
        efs["authorizationConfig"] = {"accessPointId": point}
    mounts = [{"sourceVolume": "models", "containerPath": "/models", "readOnly": read_only}]
    volumes = [{"name": "models", "efsVolumeConfiguration": efs}]
    return world.register(container={"mountPoints": mounts}, volumes=volumes)


def reason(world: World) -> str:
    return str(world.tasks("STOPPED")[0]["stoppedReason"])


@follows("EFS API reference, CreateAccessPoint")
def test_a_repeated_token_is_a_conflict_that_names_the_access_point(world: World) -> None:
    system = world.file_system()
    point = access_point(world, system)
    with pytest.raises(ClientError) as refused:
        access_point(world, system)
    answer: Any = refused.value.response
    assert answer["Error"]["Code"] == "AccessPointAlreadyExists"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 409
    assert answer["AccessPointId"] == point
    assert len(world.efs.describe_access_points(FileSystemId=system)["AccessPoints"]) == 1


@follows("EFS API reference, CreateAccessPoint")
def test_an_unknown_file_system_is_not_found(world: World) -> None:
    for call, request in (
        (world.efs.create_access_point, {"ClientToken": "t", "FileSystemId": "fs-00000000"}),
        (world.efs.describe_access_points, {"FileSystemId": "fs-00000000"}),
    ):
        assert refusal(call, **request)[::2] == ("FileSystemNotFound", 404)


@follows("EFS API reference, DeleteAccessPoint, DescribeAccessPoints, DescribeMountTargets")
def test_an_unknown_access_point_is_not_found(world: World) -> None:
    for call, request in (
        (world.efs.delete_access_point, {"AccessPointId": "fsap-00000000"}),
        (world.efs.describe_access_points, {"AccessPointId": "fsap-00000000"}),
        (world.efs.describe_mount_targets, {"AccessPointId": "fsap-00000000"}),
        (world.efs.list_tags_for_resource, {"ResourceId": "fsap-00000000"}),
    ):
        assert refusal(call, **request)[::2] == ("AccessPointNotFound", 404)


@follows("EFS API reference, RootDirectory")
@pytest.mark.parametrize("path", ["models", "/a/b/c/d/e", "/x" * 60, "/a*b"])
def test_a_root_directory_has_at_most_four_levels_and_a_hundred_characters(world: World, path: str) -> None:
    system = world.file_system()
    request = {"ClientToken": "t", "FileSystemId": system, "RootDirectory": {"Path": path}}
    code, message, status = refusal(world.efs.create_access_point, **request)
    assert (code, status) == ("ValidationException", 400)
    assert "at 'rootDirectory.path' failed to satisfy constraint" in message


@follows("EFS API reference, DescribeAccessPoints")
def test_access_points_are_described_in_pages(world: World) -> None:
    system = world.file_system()
    points = [access_point(world, system, name=f"t{number}") for number in range(5)]
    first = world.efs.describe_access_points(FileSystemId=system, MaxResults=3)
    second = world.efs.describe_access_points(FileSystemId=system, MaxResults=3, NextToken=first["NextToken"])
    found = [each["AccessPointId"] for each in first["AccessPoints"] + second["AccessPoints"]]
    assert found == points
    assert "NextToken" not in second


@follows("EFS API reference, DeleteAccessPoint")
def test_a_deleted_access_point_is_gone(world: World) -> None:
    system = world.file_system()
    point = access_point(world, system)
    world.efs.delete_access_point(AccessPointId=point)
    assert world.efs.describe_access_points(FileSystemId=system)["AccessPoints"] == []


@follows("EFS API reference, CreationInfo")
@differs("The owner is set only where the sandbox may give folders away.")
def test_an_access_point_makes_its_root_directory_when_a_task_mounts_it(world: World) -> None:
    system = world.file_system()
    user = {"Uid": 10001, "Gid": 10001}
    root = {"Path": "/models/shop", "CreationInfo": CREATION}
    point = access_point(world, system, PosixUser=user, RootDirectory=root)
    folder = world.efs_root / system / "models" / "shop"
    assert not folder.exists()
    world.create(taskDefinition=mounted(world, system, point, read_only=True))
    world.advance(60)
    assert folder.is_dir()
    assert folder.stat().st_mode & 0o777 == 0o750
    [mount] = world.runner.starts[0].containers[0].mounts
    assert (mount.container_path, Path(mount.host_path), mount.read_only) == ("/models", folder, True)
    assert (mount.uid, mount.gid) == (10001, 10001)


@follows("EFS API reference, CreationInfo")
def test_without_creation_info_a_missing_root_directory_cannot_be_mounted(world: World) -> None:
    system = world.file_system()
    point = access_point(world, system, RootDirectory={"Path": "/missing"})
    world.create(taskDefinition=mounted(world, system, point))
    world.advance(60)
    assert reason(world).startswith("ResourceInitializationError: failed to invoke EFS utils commands")
    assert "access denied by server" in reason(world)
    (world.efs_root / system / "missing").mkdir(parents=True)
    world.advance(60)
    assert world.describe()["runningCount"] == 1


@follows("Developer guide, “Stopped tasks error messages”: ResourceInitializationError")
def test_a_deleted_access_point_cannot_be_mounted(world: World) -> None:
    system = world.file_system()
    point = access_point(world, system)
    definition = mounted(world, system, point)
    world.efs.delete_access_point(AccessPointId=point)
    world.create(taskDefinition=definition)
    world.advance(60)
    assert "access denied by server" in reason(world)


@follows("Developer guide, “Stopped tasks error messages”: ResourceInitializationError")
def test_an_unknown_file_system_cannot_be_resolved(world: World) -> None:
    world.create(taskDefinition=mounted(world, "fs-00000000"))
    world.advance(60)
    assert 'Failed to resolve "fs-00000000.efs.us-east-1.amazonaws.com"' in reason(world)


@follows("Developer guide, “Stopped tasks error messages”: ResourceInitializationError")
def test_a_file_system_without_mount_target_in_the_zone_cannot_be_resolved(world: World) -> None:
    system = world.efs.create_file_system(CreationToken="lonely")["FileSystemId"]
    world.create(taskDefinition=mounted(world, system))
    world.advance(60)
    assert f'Failed to resolve "{system}.efs' in reason(world)
    assert world.tasks("STOPPED")[0]["stopCode"] == "TaskFailedToStart"


@follows("Developer guide, “Stopped tasks error messages”: ResourceInitializationError")
def test_a_missing_root_directory_of_a_volume_says_so(world: World) -> None:
    system = world.file_system()
    world.create(taskDefinition=mounted(world, system, root="/nowhere"))
    world.advance(60)
    assert "No such file or directory" in reason(world)


def test_a_path_never_leaves_its_file_system(world: World) -> None:
    system = world.file_system()
    folder = world.aws.surroundings.folder(system, "/../../etc")
    assert folder == world.efs_root / system / "etc"
