"""Every `reason` that a condition or an Event may carry, in one place: users and alerts match on these words."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    # Accepted
    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    ENVIRONMENT_NOT_FOUND = "EnvironmentNotFound"
    ENVIRONMENT_INVALID = "EnvironmentInvalid"
    FORBIDDEN_BY_POLICY = "ForbiddenByPolicy"

    # one AWS resource
    AS_SPECIFIED = "AsSpecified"
    WAITING = "Waiting"
    NOT_OWNED = "NotOwned"
    NOT_WANTED = "NotWanted"
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    ACCESS_DENIED = "AccessDenied"
    THROTTLED = "Throttled"
    LIMIT_EXCEEDED = "LimitExceeded"
    REJECTED_BY_AWS = "RejectedByAws"
    AWS_UNAVAILABLE = "AwsUnavailable"
    AWS_ERROR = "AwsError"
    INTERNAL_ERROR = "InternalError"

    # a rollout, and the summary
    READY = "Ready"
    SCALED_TO_ZERO = "ScaledToZero"
    ROLLING_OUT = "RollingOut"
    ROLLED_BACK = "RolledBack"
    ROLLOUT_FAILED = "RolloutFailed"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    REPLICAS_UNAVAILABLE = "ReplicasUnavailable"
    STEADY = "Steady"
    DELETING = "Deleting"
    OBSERVED = "Observed"
