"""EFS: moto's, with what it gets wrong for our calls put right (EFS API reference, each operation's Errors).

This module must not know ECS.
"""

from __future__ import annotations

import json
from typing import Any

from moto.ec2.models import ec2_backends
from moto.efs.exceptions import AccessPointNotFound, BadRequest, EFSError, FileSystemNotFound
from moto.efs.responses import EFSResponse

MAXIMUM_ACCESS_POINTS = 10_000
"""Access points for each file system (EFS quotas; 1,000 until 2025)."""


class AccessPointAlreadyExists(EFSError):
    """409, with the id of the access point that the token made."""

    code = 409

    def __init__(self, identifier: str) -> None:
        message = f"Access point {identifier} already exists with the creation token provided in the request."
        super().__init__("AccessPointAlreadyExists", message)
        self.description = json.dumps(
            {"ErrorCode": "AccessPointAlreadyExists", "Message": message, "AccessPointId": identifier}
        )


class AccessPointLimitExceeded(EFSError):
    code = 403

    def __init__(self) -> None:
        super().__init__("AccessPointLimitExceeded", "The maximum number of access points has been reached.")


class Efs(EFSResponse):
    def create_access_point(self) -> Any:
        token, file_system = self._get_param("ClientToken"), self._get_param("FileSystemId")
        self._require_file_system(file_system)
        points = self.efs_backend.access_points.values()
        for point in points:
            if point.client_token == token:
                raise AccessPointAlreadyExists(point.access_point_id)
        if sum(point.file_system_id == file_system for point in points) >= MAXIMUM_ACCESS_POINTS:
            raise AccessPointLimitExceeded
        return super().create_access_point()

    def describe_access_points(self) -> Any:
        identifier, file_system = self._get_param("AccessPointId"), self._get_param("FileSystemId")
        if identifier and file_system:
            raise BadRequest("Request cannot contain both a file system ID and an access point ID.")
        if file_system:
            self._require_file_system(file_system)
        found = [p.info_json() for p in self.efs_backend.describe_access_points(identifier, file_system)]
        size = self._get_int_param("MaxResults", 100)
        start = int(self._get_param("NextToken") or 0)
        answer: dict[str, Any] = {"AccessPoints": found[start : start + size]}
        if start + size < len(found):
            answer["NextToken"] = str(start + size)
        return json.dumps(answer), {"Content-Type": "application/json"}

    def delete_access_point(self) -> Any:
        identifier = self._get_param("AccessPointId")
        if identifier not in self.efs_backend.access_points:
            raise AccessPointNotFound(identifier)
        super().delete_access_point()
        return "", {"status": 204, "Content-Type": "application/json"}

    def describe_mount_targets(self) -> Any:
        identifier = self._get_param("AccessPointId")
        if identifier and identifier not in self.efs_backend.access_points:
            raise AccessPointNotFound(identifier)
        return super().describe_mount_targets()

    def create_mount_target(self) -> Any:
        """Without security groups it gets the default one of its VPC."""
        if not self._get_param("SecurityGroups"):
            backend = ec2_backends[self.current_account][self.region]
            subnet = backend.get_subnet(self._get_param("SubnetId"))
            group = backend.get_default_security_group(subnet.vpc_id)
            if group is not None:
                self.body = json.dumps(json.loads(self.body) | {"SecurityGroups": [group.id]})
        return super().create_mount_target()

    def list_tags_for_resource(self) -> Any:
        self._require_resource()
        return super().list_tags_for_resource()

    def tag_resource(self) -> Any:
        self._require_resource()
        return super().tag_resource()

    def untag_resource(self) -> Any:
        self._require_resource()
        return super().untag_resource()

    def _require_resource(self) -> None:
        identifier = self._get_param("ResourceId").rsplit("/", 1)[-1]
        if identifier.startswith("fsap-"):
            if identifier not in self.efs_backend.access_points:
                raise AccessPointNotFound(identifier)
        else:
            self._require_file_system(identifier)

    def _require_file_system(self, identifier: str) -> None:
        if identifier.rsplit("/", 1)[-1] not in self.efs_backend.file_systems_by_id:
            raise FileSystemNotFound(identifier)
