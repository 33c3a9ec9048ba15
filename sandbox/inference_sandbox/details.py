"""What a client needs to use a running sandbox: plain values, light to import."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Account:
    """An account that a platform team has prepared: what there is to build on. Ids and ARNs as AWS gives them."""

    account_id: str
    cluster: str
    vpc_id: str
    subnets: list[str]
    """Two, in different availability zones."""
    security_groups: list[str]
    """For tasks: they may be reached by the load balancer, and may reach the mount targets."""
    file_system_id: str
    execution_role_arn: str
    task_role_arn: str
    load_balancer_arn: str
    listener_arn: str


@dataclass(frozen=True, kw_only=True)
class Cloud(Account):
    """An account in the sandbox's AWS, and how to reach that."""

    aws_endpoint_url: str
    region: str
    aws_access_key_id: str
    """Dummies, this and the next: they open nothing but the sandbox."""
    aws_secret_access_key: str
    models_dir: str
    """The folder that stands in for the root of the file system."""
    load_balancer_url: str
    tasks: str
    """What tasks run as, in words."""
    log_router: str
    """Which Fluent Bit routes the logs of tasks that have a router, in words."""


@dataclass(frozen=True, kw_only=True)
class Details(Cloud):
    """All that there is to know: what `inference-sandbox up --json` prints."""

    pid: int
    """Of the process that the sandbox lives in."""
    workdir: str
    kubeconfig: str
    """Of an administrator."""
    kubectl: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """`inherited` with what leads to the sandbox, and no AWS setting left that might lead to a real account."""
        kept = {name: value for name, value in inherited.items() if not name.startswith("AWS_")}
        return kept | {
            "KUBECONFIG": self.kubeconfig,
            "SANDBOX_MODELS_DIR": self.models_dir,
            "PATH": os.pathsep.join([str(Path(self.kubectl).parent), inherited.get("PATH", os.defpath)]),
            "AWS_ENDPOINT_URL": self.aws_endpoint_url,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ACCESS_KEY_ID": self.aws_access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.aws_secret_access_key,
            # Nothing to find, and seconds to wait for it.
            "AWS_EC2_METADATA_DISABLED": "true",
        }
