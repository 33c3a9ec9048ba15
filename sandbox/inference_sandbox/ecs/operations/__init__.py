"""The operations of ECS, by what they are about.

Each takes the caller and the request as the API reference shapes it, and returns the response likewise, or raises
AwsError. They must not know HTTP.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inference_sandbox.ecs.accounts import Caller

Request = dict[str, Any]
Response = dict[str, Any]
Operation = Callable[[Caller, Request], Response]
