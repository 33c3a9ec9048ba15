"""Lists in pages, as ECS's List operations and some of its Describe operations give them."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from inference_sandbox.ecs.errors import invalid_parameter


def page(
    items: Sequence[Any], request: Mapping[str, Any], member: str, maximum: int, *, default: int | None = None
) -> dict[str, Any]:
    """`maxResults` up to `maximum`; a token says where the next page begins, and for which list."""
    size = request.get("maxResults") or default or maximum
    if not 1 <= size <= maximum:
        raise invalid_parameter(f"maxResults must be between 1 and {maximum}.")
    start = 0
    token = request.get("nextToken")
    if token:
        try:
            start = json.loads(base64.urlsafe_b64decode(token))[member]
        except (ValueError, KeyError, TypeError) as error:
            raise invalid_parameter("Invalid token") from error
    response: dict[str, Any] = {member: items[start : start + size]}
    if start + size < len(items):
        response["nextToken"] = base64.urlsafe_b64encode(json.dumps({member: start + size}).encode()).decode()
    return response
