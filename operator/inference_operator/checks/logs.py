"""The places where routes send logs exist, and the task role may write there: it is the log router that does.

What a configuration of one's own (`logging.custom`) writes to is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import Any

from inference_operator.api.destinations import S3, CloudWatchLogs, Destination, Firehose, OpenSearch
from inference_operator.aws.errors import AwsError, NotFound
from inference_operator.checks.base import Case, Check, Finding, Place, failed, unknown, unseen, warning
from inference_operator.domain.names import Identity
from inference_operator.fluentbit.intent import is_own, placed
from inference_operator.fluentbit.outputs import needs

DOMAIN = re.compile(
    r"(?:search|vpc)-(?P<domain>.+)-[a-z0-9]{26}\.(?:aos\.)?(?P<region>[a-z0-9-]+)\.(?:es\.amazonaws\.com(?:\.cn)?|on\.aws)"
)
"""Host names that OpenSearch Service gives to domains (developer guide, "Creating and managing domains")."""

A_FILE = "dt=2026-01-01/hour=00/app-firelens-0-0000-0.jsonl.gz"
"""As `outputs` names the objects in a bucket: a policy may be as narrow as their folders."""


def look_at_destinations(case: Case) -> Iterator[Finding]:
    yield from _each(case, _routed_to(case), partial(_existence, case, case.identity))


def look_at_all_destinations(place: Place) -> Iterator[Finding]:
    yield from _each(place, place.environment.logging.destinations, partial(_existence, place, None))


def look_at_access(case: Case) -> Iterator[Finding]:
    yield from _each(case, _routed_to(case), partial(_access, case))


def _routed_to(case: Case) -> set[str]:
    return {name for route in case.spec.logging.routes for name in route.to}


def _each(
    place: Place, names: Iterable[str], look: Callable[[str, Destination], Iterator[Finding]]
) -> Iterator[Finding]:
    """Of one that can't be looked at nothing is known; of the others it is."""
    for name in sorted(names):
        try:
            yield from look(name, place.environment.logging.destinations[name])
        except AwsError as error:
            yield unseen(error)


# -- whether it exists


def _existence(place: Place, identity: Identity | None, name: str, destination: Destination) -> Iterator[Finding]:
    """Without an identity, what can be told without a service."""
    if isinstance(bucket := destination.s3, S3):
        yield from _bucket(place, name, bucket)
    elif isinstance(stream := destination.firehose, Firehose):
        yield from _stream(place, name, stream)
    elif isinstance(group := destination.cloud_watch_logs, CloudWatchLogs) and not is_own(group):
        yield from _shared_group(place, identity, name, group)
    elif isinstance(domain := destination.open_search, OpenSearch):
        yield from _domain(place, identity, name, domain)


def _bucket(place: Place, name: str, destination: S3) -> Iterator[Finding]:
    bucket, region = destination.bucket, place.environment.region
    try:
        found = place.ask(place.aws.s3.head_bucket, "s3:HeadBucket", Bucket=bucket)
    except NotFound:
        yield failed(f"{_of(name)}: there is no bucket {bucket}", _make("it"))
        return
    # HeadBucket is answered from wherever the bucket is; the log router's output has one region (`outputs`).
    if found.get("BucketRegion", region) != region:
        yield failed(
            f"{_of(name)}: the bucket {bucket} is in {found['BucketRegion']}, and log routers write to {region} alone",
            f"Name a bucket in {region} in the InferenceEnvironment.",
        )


def _stream(place: Place, name: str, destination: Firehose) -> Iterator[Finding]:
    stream = destination.delivery_stream
    try:
        answer = place.ask(
            place.aws.firehose.describe_delivery_stream, "firehose:DescribeDeliveryStream", DeliveryStreamName=stream
        )
    except NotFound:
        yield failed(f"{_of(name)}: there is no delivery stream {stream} in {place.environment.region}", _make("it"))
        return
    status = answer["DeliveryStreamDescription"]["DeliveryStreamStatus"]
    if status != "ACTIVE":
        yield failed(f"{_of(name)}: the delivery stream {stream} is {status}", "Wait until it is ACTIVE, or mend it.")


def _shared_group(place: Place, identity: Identity | None, name: str, destination: CloudWatchLogs) -> Iterator[Finding]:
    group = destination.log_group
    if identity is not None:
        group = placed(group, identity.namespace, identity.name)
    elif "{" in group:  # there is one for each namespace, or for each name
        return
    answer = place.ask(
        place.aws.logs.describe_log_groups, "logs:DescribeLogGroups", logGroupNamePrefix=group, limit=50
    )  # the shortest name comes first
    if group not in {found["logGroupName"] for found in answer["logGroups"]}:
        both = "{namespace} and {name}"
        yield failed(
            f"{_of(name)}: there is no log group {group} in {place.environment.region}",
            _make(f"it; or, to have each service's made, put {both} into its name"),
        )


def _domain(place: Place, identity: Identity | None, name: str, destination: OpenSearch) -> Iterator[Finding]:
    found, region = DOMAIN.fullmatch(destination.endpoint), place.environment.region
    if found is not None and found["region"] != region:
        yield failed(
            f"{_of(name)}: the domain {destination.endpoint} is in {found['region']}, and log routers sign for "
            f"{region} alone",
            f"Name a domain in {region} in the InferenceEnvironment.",
        )
    elif identity is not None:
        yield unknown(
            f"{_of(name)}: whether tasks reach the domain {destination.endpoint} can't be asked of AWS",
            "Nothing, if they do; the condition LogsFlowing tells it later.",
        )


# -- whether the task role may write there


def _access(case: Case, name: str, destination: Destination) -> Iterator[Finding]:
    role = case.spec.task_role_arn or case.environment.task_role_arn
    _, partition, _, _, account, _ = role.split(":", 5)
    place = f"{partition}:{case.environment.region}:{account}"
    identity = case.identity
    need = needs(name, destination, namespace=identity.namespace, service=identity.name, place=place)
    resource = _example(need.resource, destination)
    if resource is None:
        return
    try:
        answer = case.ask(
            case.aws.iam.simulate_principal_policy,
            "iam:SimulatePrincipalPolicy",
            PolicySourceArn=role,
            ActionNames=list(need.actions),
            ResourceArns=[resource],
        )
    except NotFound:
        return  # the role does not exist, as the check of roles tells
    for result in answer["EvaluationResults"]:
        yield from _judged(name, destination, role, need.resource, result)


def _judged(
    name: str, destination: Destination, role: str, resource: str, result: Mapping[str, Any]
) -> Iterator[Finding]:
    """A simulation knows the role's own policies, and no request: what a condition asks of one is missing, and what a
    bucket or a domain allows by itself is not seen (API_SimulatePrincipalPolicy)."""
    decision, action = result["EvalDecision"], result["EvalActionName"]
    if decision == "allowed":
        return
    told = f"{_of(name)}: the task role {role} has no right to {action} on {resource}"
    step = f"Allow {action} on {resource} to the task role."
    if result.get("MissingContextValues"):
        yield unknown(f"{told}, unless a condition on {', '.join(result['MissingContextValues'])} is met", step)
    elif decision != "explicitDeny" and (destination.s3 is not None or destination.open_search is not None):
        yield warning(f"{told}, unless the {'bucket' if destination.s3 else 'domain'}'s own policy gives it", step)
    else:
        denied = ": a policy denies it" if decision == "explicitDeny" else ""
        yield failed(f"{told}{denied}", "Take the denial out of that policy." if denied else step)


def _example(resource: str, destination: Destination) -> str | None:
    """One of what an ARN with `*` stands for; None where that is not known."""
    if destination.s3 is not None:
        return resource.removesuffix("*") + A_FILE
    if destination.cloud_watch_logs is not None:
        return resource.removesuffix("*") + "log-stream:app"
    if destination.open_search is not None:
        found = DOMAIN.fullmatch(destination.open_search.endpoint)
        return resource.removesuffix("*") + f"{found['domain']}/_bulk" if found is not None else None
    return resource


def _of(name: str) -> str:
    return f"the log destination {name}"


def _make(what: str) -> str:
    return f"Make {what}; or name one that exists in the InferenceEnvironment."


LOG_DESTINATIONS = Check(
    name="LogDestinations",
    about="The buckets, delivery streams and shared log groups that `logging.routes` lead to exist, in the "
    "environment's region.",
    look=look_at_destinations,
)
LOG_ACCESS = Check(
    name="LogAccess",
    about="The task role's policies let the log router write to the destinations of `logging.routes`. What a bucket's "
    "own policy allows is not seen, so that there a missing right is a warning.",
    look=look_at_access,
)
OF_ENVIRONMENT = Check(
    name="LogDestinations",
    about="The buckets, delivery streams and shared log groups of `logging.destinations` exist, in `region`.",
    member="logging.destinations",
    look=look_at_all_destinations,
    optional=True,
)
