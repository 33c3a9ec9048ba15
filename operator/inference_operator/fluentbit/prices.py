"""What a day of logs costs at a destination, in US dollars, from what was measured. An estimate at list prices.

CloudWatch's of us-east-1 and ap-northeast-1 and S3's storage in ap-northeast-1 are as guides quoted them in 2026
(c3x.dev, June 2026; awsi.click); the other prices were not looked up. AWS's pricing pages are what counts.
Others are told at us-east-1's. Not in them: searching, what Firehose goes on to, CloudWatch's storage, discounts.
"""

from __future__ import annotations

import math
from typing import Final

from inference_operator.api.destinations import Destination
from inference_operator.fluentbit.reports import Flow

_GIB: Final = 2**30
_FIREHOSE_STEP: Final = 5 * 1024
_OBJECTS_PER_DAY: Final = 24 * 60

CLOUDWATCH_INGESTION: Final = {"us-east-1": 0.50, "eu-west-1": 0.57, "ap-northeast-1": 0.76}
"""For a GB that is written, Standard class."""
S3_STORAGE: Final = {"us-east-1": 0.023, "eu-west-1": 0.023, "ap-northeast-1": 0.025}
"""For a GB-month, S3 Standard."""
S3_PUT: Final = {"us-east-1": 0.005, "eu-west-1": 0.005, "ap-northeast-1": 0.0047}
"""For a thousand objects that are written."""
FIREHOSE: Final = {"us-east-1": 0.029, "eu-west-1": 0.031, "ap-northeast-1": 0.036}
"""For a GB that is put, each record rounded up to 5 KB."""

_DEFAULT: Final = "us-east-1"

A_LOG_GROUP: Final = Destination.model_validate({"cloudWatchLogs": {"logGroup": "any"}})
"""Every log group costs the same."""


def per_day(destination: Destination, flow: Flow, *, region: str, routers: int, routes: int) -> float | None:
    """None for OpenSearch, which is paid by its instances, not by what is written."""
    if destination.cloud_watch_logs is not None:
        return _of(CLOUDWATCH_INGESTION, region) * flow.bytes_per_day / _GIB
    if destination.s3 is not None:
        stored = _of(S3_STORAGE, region) * flow.bytes_per_day / _GIB  # for a month, as if gzip saved nothing
        most = min(flow.records_per_day, routers * routes * _OBJECTS_PER_DAY)
        return stored + _of(S3_PUT, region) * most / 1000
    if destination.firehose is not None:
        size = flow.bytes_per_day / flow.records_per_day if flow.records_per_day else 0
        steps = math.ceil(size / _FIREHOSE_STEP)
        return _of(FIREHOSE, region) * flow.records_per_day * steps * _FIREHOSE_STEP / _GIB
    return None


def _of(prices: dict[str, float], region: str) -> float:
    return prices.get(region, prices[_DEFAULT])
