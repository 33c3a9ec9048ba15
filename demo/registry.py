"""Puts images into the sandbox's registry, in name: what its tasks run is a program of this machine."""

from __future__ import annotations

import json

import boto3

from inference_sandbox.details import Details

REPOSITORY, TAG = "inference-server", "0.1.0"
"""As the manifests in `examples/` name them."""

_INDEX = "application/vnd.oci.image.index.v1+json"


def push(details: Details, repository: str = REPOSITORY) -> None:
    ecr = boto3.client(
        "ecr",
        endpoint_url=details.aws_endpoint_url,
        region_name=details.region,
        aws_access_key_id=details.aws_access_key_id,
        aws_secret_access_key=details.aws_secret_access_key,
    )
    platforms = [{"digest": f"sha256:{0:064}", "platform": {"os": "linux", "architecture": "amd64"}}]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": _INDEX, "manifests": platforms})
    ecr.create_repository(repositoryName=repository)
    ecr.put_image(repositoryName=repository, imageManifest=manifest, imageTag=TAG)
