"""What a client needs to use a running sandbox: plain values, light to import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Details:
    """All that a client needs. Plain JSON values, written down by `inference-sandbox up`."""

    pid: int
    """Of the process that the sandbox lives in."""
    workdir: str
    kubeconfig: str
    """Of an administrator."""
    kubectl: str
    aws_endpoint_url: str
    region: str
    account_id: str
    aws_access_key_id: str
    aws_secret_access_key: str
    cluster: str
    vpc_id: str
    subnets: list[str]
    security_groups: list[str]
    file_system_id: str
    models_dir: str
    """The folder that stands in for the root of the file system."""
    execution_role_arn: str
    task_role_arn: str
    load_balancer_arn: str
    listener_arn: str
    load_balancer_url: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """`inherited` with what leads to the sandbox, and no AWS setting left that might lead to a real account."""
        kept = {name: value for name, value in inherited.items() if not name.startswith("AWS_")}
        return kept | {
            "KUBECONFIG": self.kubeconfig,
            "PATH": os.pathsep.join([str(Path(self.kubectl).parent), inherited.get("PATH", os.defpath)]),
            "AWS_ENDPOINT_URL": self.aws_endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.aws_secret_access_key,
            # Nothing to find, and seconds to wait for it.
            "AWS_EC2_METADATA_DISABLED": "true",
        }
