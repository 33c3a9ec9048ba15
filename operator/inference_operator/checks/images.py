"""The images exist and are made for the processor of the tasks: those in ECR, which alone can be asked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from inference_operator.aws.errors import NotFound
from inference_operator.checks.base import Case, Check, Finding, failed, unknown

_ECR = re.compile(
    r"(?P<account>[0-9]{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?/"
    r"(?P<repository>[^:@]+)(:(?P<tag>[^@]+))?(@(?P<digest>sha256:[0-9a-f]+))?"
)
_SINGLE = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_SEVERAL = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_PLATFORM = {"X86_64": "amd64", "ARM64": "arm64"}


@dataclass(frozen=True, kw_only=True)
class EcrImage:
    account: str
    region: str
    repository: str
    id: dict[str, str]
    """As BatchGetImage takes it."""


def ecr_image(reference: str) -> EcrImage | None:
    """None if it is not in a private registry of ECR."""
    found = _ECR.fullmatch(reference)
    if found is None:
        return None
    by = {"imageDigest": found["digest"]} if found["digest"] else {"imageTag": found["tag"] or "latest"}
    return EcrImage(account=found["account"], region=found["region"], repository=found["repository"], id=by)


def look(case: Case) -> Iterator[Finding]:
    for reference in sorted({case.spec.image, *(sidecar.image for sidecar in case.spec.sidecars)}):
        image = ecr_image(reference)
        if image is None or image.region != case.environment.region:
            yield unknown(
                f"the image {reference} is not in ECR of {case.environment.region}, so that it is not known to exist",
                "Nothing, if tasks can pull it.",
            )
        else:
            yield from _judge(case, reference, image)


def _judge(case: Case, reference: str, image: EcrImage) -> Iterator[Finding]:
    missing = failed(f"the image {reference} does not exist", "Push it, or name one that exists in spec.image.")
    try:
        answer = case.ask(
            case.aws.ecr.batch_get_image,
            "ecr:BatchGetImage",
            registryId=image.account,
            repositoryName=image.repository,
            imageIds=[image.id],
            acceptedMediaTypes=[*_SINGLE, *_SEVERAL],
        )
    except NotFound:
        yield missing
        return
    if not answer.get("images"):
        yield missing
        return
    offered = platforms(answer["images"][0]["imageManifest"])
    wanted = f"linux/{_PLATFORM[case.spec.architecture]}"
    if offered and wanted not in offered:
        yield failed(
            f"the image {reference} is made for {', '.join(sorted(offered))}, and spec.architecture needs {wanted}",
            "Build it for that platform too, or change spec.architecture.",
        )


def platforms(manifest: str) -> set[str]:
    """As in linux/amd64, of an image index; empty for a single image, whose manifest does not tell."""
    listed: list[dict[str, Any]] = json.loads(manifest).get("manifests", [])
    told = (entry.get("platform", {}) for entry in listed)
    return {f"{platform.get('os')}/{platform.get('architecture')}" for platform in told} - {
        "unknown/unknown",
        "None/None",
    }


IMAGES = Check(
    name="Images",
    about="The images exist in ECR, and one of several platforms is the tasks'. Other registries can't be asked.",
    look=look,
)
