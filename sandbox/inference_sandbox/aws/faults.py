"""What can be made to go wrong, per operation: throttles, 500s, denials, latency, replies lost after the effect.

Codes and statuses follow each API reference's "Common Errors". This module must not know HTTP bodies (`gateway` does).
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal, get_args

Kind = Literal["throttle", "error", "deny", "latency", "lost"]

THROTTLING = {
    "ecs": "ThrottlingException",
    "elasticfilesystem": "ThrottlingException",
    "elasticloadbalancing": "Throttling",
    "logs": "ThrottlingException",
    "events": "ThrottlingException",
    "application-autoscaling": "ThrottlingException",
    "ec2": "RequestLimitExceeded",
    "iam": "Throttling",
    "s3": "SlowDown",
    "sts": "Throttling",
    "sns": "Throttling",
    "sqs": "RequestThrottled",
    "ssm": "ThrottlingException",
    "secretsmanager": "ThrottlingException",
    "monitoring": "ThrottlingException",
}
SERVER_ERRORS = {"ecs": "ServerException", "elasticfilesystem": "InternalServerError"}
DENIALS = {
    "elasticloadbalancing": "AccessDenied",
    "iam": "AccessDenied",
    "sts": "AccessDenied",
    "s3": "AccessDenied",
    "ec2": "UnauthorizedOperation",
    "sns": "AuthorizationError",
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """`service` (IAM prefix) and `operation` may hold wildcards; `times` None means until it is cleared."""

    kind: Kind
    service: str = "*"
    operation: str = "*"
    times: int | None = None
    probability: float = 1.0
    seconds: float = 0.0
    """For latency."""
    code: str | None = None
    """Another error code than the usual one of `kind`."""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"fault kind {self.kind!r} is unknown: use one of {', '.join(get_args(Kind))}")
        if not 0 < self.probability <= 1:
            raise ValueError(f"fault probability {self.probability} must be above 0 and at most 1")

    def matches(self, service: str, operation: str) -> bool:
        return fnmatchcase(service, self.service) and fnmatchcase(operation, self.operation)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> Fault:
        try:
            return cls(**given)
        except TypeError as error:
            raise ValueError(f"a fault takes {', '.join(cls.__dataclass_fields__)}: {error}") from error


@dataclass(frozen=True, kw_only=True)
class ErrorAnswer:
    code: str
    message: str
    status: int


class Faults:
    """The faults switched on. Thread-safe; a fault with `times` is used up by that many calls."""

    def __init__(self, seed: int = 0) -> None:
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - chances of a fault, repeatable on purpose

    def add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()

    def listed(self) -> list[Fault]:
        with self._lock:
            return list(self._faults)

    def take(self, service: str, operation: str) -> Fault | None:
        """The first fault that strikes this call."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if not fault.matches(service, operation) or self._random.random() > fault.probability:
                    continue
                if fault.times is not None:
                    if fault.times <= 1:
                        del self._faults[index]
                    else:
                        self._faults[index] = replace(fault, times=fault.times - 1)
                return fault
        return None


def answer(fault: Fault, service: str, operation: str, principal: str) -> ErrorAnswer:
    """The error of a throttle, a 500 or a denial, as the service words it."""
    if fault.kind == "throttle":
        status = 503 if service in ("ec2", "s3") else 429 if service == "elasticfilesystem" else 400
        return ErrorAnswer(
            code=fault.code or THROTTLING.get(service, "Throttling"), message="Rate exceeded", status=status
        )
    if fault.kind == "error":
        code = fault.code or SERVER_ERRORS.get(service, "InternalFailure")
        return ErrorAnswer(code=code, message="Service Unavailable. Please try again later.", status=500)
    prefix = "cloudwatch" if service == "monitoring" else service
    return denied(service, f"{prefix}:{operation}", principal, code=fault.code)


def denied(
    service: str,
    action: str,
    principal: str,
    *,
    resource: str = "*",
    code: str | None = None,
    explicitly: bool = False,
) -> ErrorAnswer:
    """The two texts: IAM user guide, "Troubleshoot access denied error messages"."""
    code = code or DENIALS.get(service, "AccessDeniedException")
    why = (
        "with an explicit deny in an identity-based policy"
        if explicitly
        else f"because no identity-based policy allows the {action} action"
    )
    message = f"User: {principal} is not authorized to perform: {action} on resource: {resource} {why}"
    return ErrorAnswer(
        code=code, message=message, status=403 if service in ("elasticfilesystem", "ec2", *DENIALS) else 400
    )
