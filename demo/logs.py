"""Reads what arrived in the sandbox's CloudWatch Logs and S3. Decides nothing."""

from __future__ import annotations

import gzip
import json
from typing import Any

import boto3

from inference_sandbox.details import Details

Line = dict[str, Any]


class Arrived:
    """What the services' logs have become."""

    def __init__(self, details: Details, bucket: str) -> None:
        account: Any = {
            "endpoint_url": details.aws_endpoint_url,
            "region_name": details.region,
            "aws_access_key_id": details.aws_access_key_id,
            "aws_secret_access_key": details.aws_secret_access_key,
        }
        self._logs = boto3.client("logs", **account)
        self._s3 = boto3.client("s3", **account)
        self._bucket = bucket
        self._region = details.region

    def make_bucket(self) -> None:
        where: Any = {"LocationConstraint": self._region}
        self._s3.create_bucket(Bucket=self._bucket, CreateBucketConfiguration=where)

    def in_group(self, group: str) -> list[Line]:
        """The lines of a log group, oldest first."""
        pages = self._logs.get_paginator("filter_log_events").paginate(logGroupName=group)
        return [json.loads(event["message"]) for page in pages for event in page["events"]]

    def in_bucket(self) -> dict[str, list[Line]]:
        """By key."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket)
        keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return {key: self._read(key) for key in keys}

    def _read(self, key: str) -> list[Line]:
        body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        return [json.loads(line) for line in gzip.decompress(body).splitlines()]
