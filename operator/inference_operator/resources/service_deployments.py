"""ECS's records of a service's deployments, read where DescribeServices does not tell enough.

They cannot be read in batches of services, so they are asked for only while a rollout is under way, when one has ended
badly, and once before one begins. Where the calls are denied or not offered, what DescribeServices says must do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from inference_operator.aws.errors import AwsError, Busy, NothingToGoBackTo
from inference_operator.aws.ports import Answer, Ecs
from inference_operator.domain import service_deployment
from inference_operator.domain.rollout import Known
from inference_operator.domain.service_deployment import Record

log = structlog.get_logger(__name__)

LISTED = 10
"""ListServiceDeployments names no order, so the latest is looked for among some; services have few within 90 days."""


Brings = Callable[[Mapping[str, Any]], bool]
Describe = Callable[[str], Sequence[Answer]]


def latest(ecs: Ecs, service: Answer, asked: str, known: Known, brings: Brings, describe: Describe) -> Record | None:
    """The record of the latest deployment of a service that DescribeServices shows, if that brings what is asked for.

    `asked` is the hash of that; `brings` says of a service revision, as DescribeServiceRevisions shows it, whether it
    is that; `describe` shows a record by its ARN.
    """
    try:
        return _latest(ecs, service, asked, known, brings, describe)
    except AwsError as error:
        if error.retry_soon:
            raise
        log.debug("service deployments can't be read", operation=error.operation, code=error.code)
        return None


def _latest(ecs: Ecs, service: Answer, asked: str, known: Known, brings: Brings, describe: Describe) -> Record | None:
    arn = service.get("currentServiceDeployment") or _newest(ecs, service)
    followed = arn == known.record
    if arn is None or (followed and known.asked != asked):
        return None
    described = describe(arn)
    if not described:
        return None
    record = service_deployment.read(described[0])
    if followed:
        return record
    revisions = ecs.describe_service_revisions(serviceRevisionArns=[record.target])["serviceRevisions"]
    return record if any(map(brings, revisions)) else None


def roll_back(ecs: Ecs, service: Answer) -> None:
    """Stop the deployment that is under way. Raises AwsError; `NothingToGoBackTo` if ECS can't."""
    arn = service.get("currentServiceDeployment") or _newest(ecs, service)
    if arn is None:
        return
    try:
        ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    except Busy as error:
        raise NothingToGoBackTo(code=error.code, message=error.message, operation=error.operation) from error


def _newest(ecs: Ecs, service: Answer) -> str | None:
    listed = ecs.list_service_deployments(
        cluster=service["clusterArn"], service=service["serviceArn"], maxResults=LISTED
    )["serviceDeployments"]
    newest = max(listed, key=lambda d: d["createdAt"], default=None)
    return newest["serviceDeploymentArn"] if newest is not None else None
