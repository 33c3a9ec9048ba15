"""A destination → Fluent Bit's output, and what the task role must be allowed to do there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from inference_operator.api.destinations import S3, CloudWatchLogs, Destination, Firehose, OpenSearch
from inference_operator.fluentbit.intent import Intent, placed

Entries = list[tuple[str, str]]

STREAM = "$TAG[2]"
"""Of the tag `r.<route>.<container>-firelens-<task id>`."""

TIME = "@timestamp"
"""The member of a line that says when it came."""

TRIES = "30"
"""A quarter of an hour and more: at most a minute between two, for S3 two seconds more each time."""

SILENCE = ("net.io_timeout", "30s")
"""A destination that takes a request and never answers is asked again after that. Fluent Bit would wait for ever with
what it sent, and S3's output, which sends one object after the other, with all that is for S3."""

LINE_ID = "line_id"
"""The member that tells a line from all others, where one may come twice."""


def output(intent: Intent, name: str, destination: Destination) -> Entries:
    """The entries of an [OUTPUT] that say where to."""
    if destination.cloud_watch_logs is not None:
        return cloud_watch(intent, name, intent.placed(destination.cloud_watch_logs.log_group))
    if destination.s3 is not None:
        return _s3(intent, name, destination.s3)
    if destination.firehose is not None:
        return _firehose(intent, name, destination.firehose)
    if destination.open_search is not None:
        return _open_search(intent, name, destination.open_search)
    raise ValueError(f"the destination {name} is of no kind")


def cloud_watch(intent: Intent, name: str, group: str) -> Entries:
    """One stream for each task. `log_key` stays unset: it would skip every JSON line."""
    return [
        ("Name", "cloudwatch_logs"),
        ("Alias", name),
        ("region", intent.region),
        ("log_group_name", group),
        ("log_stream_prefix", "unknown/"),
        ("log_stream_template", STREAM),
        *_patience(intent),
    ]


def _s3(intent: Intent, name: str, destination: S3) -> Entries:
    """Files grow in the task and go whole; what is left goes when the router stops. No connection is kept: this output
    would ask again over the one that fell silent."""
    prefix = intent.placed(destination.prefix)
    return [
        ("Name", "s3"),
        ("Alias", name),
        ("region", intent.region),
        ("bucket", destination.bucket),
        ("s3_key_format", f"/{prefix}dt=%Y-%m-%d/hour=%H/{STREAM}-%M%S-$UUID.jsonl.gz"),
        ("compression", "gzip"),
        ("use_put_object", "On"),
        ("total_file_size", "20M"),
        ("upload_timeout", "1m"),
        ("store_dir", f"/router/s3/{name}"),
        ("store_dir_limit_size", f"{intent.buffer_mib * 2}M"),
        ("retry_exhausted_action", "delete"),
        ("json_date_key", TIME),
        ("json_date_format", "iso8601"),
        SILENCE,
        ("net.keepalive", "Off"),
        ("Retry_Limit", TRIES),
    ]


def _firehose(intent: Intent, name: str, destination: Firehose) -> Entries:
    return [
        ("Name", "kinesis_firehose"),
        ("Alias", name),
        ("region", intent.region),
        ("delivery_stream", destination.delivery_stream),
        ("time_key", TIME),
        ("time_key_format", "%Y-%m-%dT%H:%M:%S.%3NZ"),
        *_patience(intent),
    ]


def _open_search(intent: Intent, name: str, destination: OpenSearch) -> Entries:
    """If one line is refused, all that were sent with it are sent again: ids keep them from being there twice. Answers
    grow with the lines, beyond what is read of them by default."""
    return [
        ("Name", "opensearch"),
        ("Alias", name),
        ("Host", destination.endpoint),
        ("Port", "443"),
        ("tls", "On"),
        ("AWS_Auth", "On"),
        ("AWS_Region", intent.region),
        ("Index", destination.index),
        ("Suppress_Type_Name", "On"),
        ("Id_Key", LINE_ID),
        ("compress", "gzip"),
        ("Buffer_Size", "False"),
        ("Trace_Error", "On"),
        *_patience(intent),
    ]


def _patience(intent: Intent) -> Entries:
    return [SILENCE, ("Retry_Limit", TRIES), ("storage.total_limit_size", f"{intent.buffer_mib * 2}M")]


@dataclass(frozen=True, kw_only=True)
class Need:
    """What the task role must be allowed to do for one destination."""

    destination: str
    actions: Sequence[str]
    resource: str
    """An ARN, in which `*` may stand for what the spec does not say."""


def needs(name: str, destination: Destination, *, namespace: str, service: str, place: str) -> Need:
    """`place` is `<partition>:<region>:<account>`, such as `aws:eu-west-1:123456789012`. Keys of KMS come on top."""
    partition, region, account = place.split(":")
    where = f"{region}:{account}"
    actions: Sequence[str]
    if isinstance(group := destination.cloud_watch_logs, CloudWatchLogs):
        group_name = placed(group.log_group, namespace, service)
        actions = ("logs:CreateLogStream", "logs:PutLogEvents")
        arn = f"arn:{partition}:logs:{where}:log-group:{group_name}:*"
    elif isinstance(bucket := destination.s3, S3):
        actions = ("s3:PutObject",)
        arn = f"arn:{partition}:s3:::{bucket.bucket}/{placed(bucket.prefix, namespace, service)}*"
    elif isinstance(stream := destination.firehose, Firehose):
        actions = ("firehose:PutRecordBatch",)
        arn = f"arn:{partition}:firehose:{where}:deliverystream/{stream.delivery_stream}"
    else:
        actions = ("es:ESHttpPost", "es:ESHttpPut")
        arn = f"arn:{partition}:es:{where}:domain/*"
    return Need(destination=name, actions=actions, resource=arn)
