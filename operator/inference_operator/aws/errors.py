"""What AWS can answer instead of what was asked, as a few families that the engine treats differently.

Codes are sets, in one place (the API reference's "Errors" sections; `LimitExceededException` is botocore's throttle but
a real limit, so it is terminal here). Knows no botocore: `clients` turns its errors into these.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, ClassVar

from inference_operator.aws.ports import ALLOWED_AS
from inference_operator.domain.reasons import Reason

THROTTLED = frozenset(
    {
        "Throttling",
        "ThrottlingException",
        "ThrottledException",
        "RequestLimitExceeded",
        "TooManyRequestsException",
        "RequestThrottled",
        "RequestThrottledException",
        "SlowDown",
        "PriorRequestNotComplete",
    }
)
DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "Client.UnauthorizedOperation",
        "AuthFailure",
        "AuthorizationError",
        "UnrecognizedClientException",
        "InvalidClientTokenId",
        "ExpiredToken",
        "ExpiredTokenException",
        "NotAuthorized",
        "SignatureDoesNotMatch",
        "403",  # HEAD has an answer without a body, and so without a code
    }
)
CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "NoCredentialsError",  # botocore's own, as is the next
        "PartialCredentialsError",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
"""Of those, what no policy mends."""
NOT_FOUND = frozenset(
    {
        "ServiceNotFoundException",
        "ServiceNotFound",
        "ResourceNotFoundException",
        "AccessPointNotFound",
        "FileSystemNotFound",
        "TargetGroupNotFound",
        "RuleNotFound",
        "ListenerNotFound",
        "LoadBalancerNotFound",
        "ClusterNotFoundException",
        "ObjectNotFoundException",
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidSubnetID.NotFound",
        "InvalidSecurityGroupRuleId.NotFound",
        "InvalidGroup.NotFound",
        "NoSuchEntity",
        "NamespaceNotFound",
        "RepositoryNotFoundException",
        "404",  # as 403 above
    }
)
EXISTS = frozenset(
    {
        "AccessPointAlreadyExists",
        "ResourceAlreadyExistsException",
        "DuplicateTargetGroupName",
        "DuplicateTargetGroupNameException",
        "InvalidPermission.Duplicate",
        "ServiceAlreadyExists",
        "QueueAlreadyExists",
        "QueueNameExists",
    }
)
BUSY = frozenset(
    {
        "ResourceInUse",
        "ResourceInUseException",
        "OperationAbortedException",
        "ServiceNotActiveException",
        "UpdateInProgressException",
        "ConflictException",
        "IncorrectFileSystemLifeCycleState",
        "PriorityInUse",
        "ConcurrentModificationException",
        "QueueDeletedRecently",
        "AWS.SimpleQueueService.QueueDeletedRecently",
    }
)
TAG_LIMIT = frozenset({"TooManyTags", "TooManyTagsException", "TagLimitExceeded"})
LIMIT = TAG_LIMIT | frozenset(
    {
        "LimitExceededException",
        "AccessPointLimitExceeded",
        "TooManyTargetGroups",
        "TooManyRules",
        "ServiceQuotaExceededException",
        "TooManyUniqueTargetGroupsPerLoadBalancer",
        "RulesPerSecurityGroupLimitExceeded",
    }
)


class AwsError(Exception):
    """AWS refused or did not answer a call. The base class stands for a refusal of what was asked (`RejectedByAws`)."""

    reason: ClassVar[Reason] = Reason.REJECTED_BY_AWS
    retry_soon: ClassVar[bool] = False
    """Whether the same call may succeed shortly with nothing changed."""

    def __init__(self, *, code: str, message: str, operation: str, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{operation}: {code}: {message.rstrip('.')}")  # what shows it goes on after it
        self.code = code
        self.message = message
        self.operation = operation
        self.detail = dict(detail or {})
        """Members of the error besides code and message, e.g. AccessPointId of AccessPointAlreadyExists."""

    def next_step(self) -> str:
        return "change what AWS names above, then apply again"


class Throttled(AwsError):
    reason = Reason.THROTTLED
    retry_soon = True

    def next_step(self) -> str:
        return "nothing to do: the operator waits and tries again"


class Paced(AwsError):
    """Not sent: AWS takes so many of these calls a second, and the turn of this one comes later."""

    reason = Reason.WAITING
    retry_soon = True

    def __init__(self, *, operation: str, wait: timedelta) -> None:
        super().__init__(
            code="Paced",
            message="AWS takes only so many of these calls a second from an account, and others of it come first",
            operation=operation,
        )
        self.wait = wait
        """After which its turn has come."""


class Denied(AwsError):
    reason = Reason.ACCESS_DENIED

    def next_step(self) -> str:
        if self.code in CREDENTIALS:
            return (
                "give the operator credentials that are valid, by Pod Identity or IRSA: "
                "a pod that is older than these has to be restarted"
            )
        action = ALLOWED_AS.get(self.operation, self.operation)
        return (
            f"allow {action} to the operator's role (`inference-operator iam-policy` prints the "
            f"policy that it needs) or, if the message names another principal, to that one"
        )


class NotFound(AwsError):
    def next_step(self) -> str:
        return "check the identifiers in the InferenceEnvironment: what they name is not in its region and account"


class AlreadyExists(AwsError):
    def next_step(self) -> str:
        return "remove or rename what holds the name, if it is not in use"


class Busy(AwsError):
    """AWS will take the call once something under way has ended."""

    reason = Reason.WAITING
    retry_soon = True

    def next_step(self) -> str:
        return "nothing to do: the operator tries again when AWS has finished what is under way"


class NothingToGoBackTo(AwsError):
    """A rollback was asked for where there is none to be had."""

    def next_step(self) -> str:
        return (
            "nothing was deployed before this, or it has ended already: change the spec instead, "
            "and remove the annotation"
        )


class StillForwarded(AwsError):
    """A target group can't go, since rules of other people's forward to it."""

    def next_step(self) -> str:
        return f"have them forward elsewhere, or delete them: {', '.join(self.detail['rules'])}"


class LimitReached(AwsError):
    reason = Reason.LIMIT_EXCEEDED

    def next_step(self) -> str:
        if self.code in TAG_LIMIT:
            return (
                "AWS takes 50 tags at most on one thing: remove some of other people's, or ask for fewer in spec.tags"
            )
        return "raise the quota in Service Quotas, or remove what is no longer used"


class Unavailable(AwsError):
    """No answer, or a 5xx: whether the call took effect is not known."""

    reason = Reason.AWS_UNAVAILABLE
    retry_soon = True

    def next_step(self) -> str:
        return "nothing to do: the operator tries again; if it lasts, check its route to the AWS endpoint"


_FAMILIES: tuple[tuple[frozenset[str], type[AwsError]], ...] = (
    (THROTTLED, Throttled),
    (DENIED, Denied),
    (NOT_FOUND, NotFound),
    (EXISTS, AlreadyExists),
    (BUSY, Busy),
    (LIMIT, LimitReached),
)


def from_answer(
    *, code: str, message: str, operation: str, status: int, detail: Mapping[str, Any] | None = None
) -> AwsError:
    """The error for an answer with `code` and HTTP `status`."""
    family = next((cls for codes, cls in _FAMILIES if code in codes), Unavailable if status >= 500 else AwsError)  # noqa: PLR2004 the HTTP class of server errors
    return family(code=code, message=message, operation=operation, detail=detail)
