"""AWS's JSON protocol, for the services whose operations the sandbox performs itself. It must not know any of them."""

from __future__ import annotations

import json
from datetime import datetime
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ServiceModel

from inference_sandbox.ecs.errors import AwsError


@cache
def model(service: str) -> ServiceModel:
    """Read once; it is large."""
    return botocore.session.get_session().get_service_model(service)


def missing_member(service: str, operation: str, request: dict[str, Any]) -> str | None:
    """A required member that is not there: boto3 checks this before it sends; another client may not."""
    shape = model(service).operation_model(operation).input_shape
    return next((name for name in (shape.required_members if shape else ()) if request.get(name) is None), None)


def body(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, default=_timestamp).encode()


def error_body(error: AwsError) -> bytes:
    return json.dumps({"__type": error.code, "message": error.message, **error.members}).encode()


def _timestamp(value: object) -> float:
    if not isinstance(value, datetime):
        raise TypeError(f"{type(value).__name__} is not a value of the API")
    return round(value.timestamp(), 3)
