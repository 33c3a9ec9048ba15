"""What AWS can answer instead of what was asked, as a few families that the engine treats differently.

Codes are sets, in one place (the API reference's "Errors" sections; `LimitExceededException` is botocore's throttle but
a real limit, so it is terminal here). Where a code says nothing, as ECS's `ClientException`, the message decides. Knows
no botocore: `clients` turns its errors into these.
"""

from __future__ import annotations

import re
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
        "OverLimit",  # of SQS: too many messages in hand
        "KmsThrottled",
        "KMSThrottling",
    }
)
DENIED = frozenset(
    {
        "AccessDenied",
        "AccessDeniedException",
        "UnauthorizedOperation",
        "Client.UnauthorizedOperation",
        "AuthorizationError",
        "NotAuthorized",
        "KMS.AccessDeniedException",
        "KMSAccessDenied",
        "KmsAccessDenied",
        "403",  # HEAD has an answer without a body, and so without a code
    }
)
UNKNOWN_CALLER = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "IncompleteSignatureException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidIdentityToken",
        "InvalidSignatureException",
        "InvalidToken",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "RequestExpired",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
NOT_SERVED = frozenset(
    {
        "AccountProblem",
        "Blocked",
        "BlockedException",
        "OptInRequired",
        "PendingVerification",
        "RegionDisabledException",
        "SubscriptionRequiredException",
    }
)
GONE = frozenset(
    {
        "ServiceNotFoundException",
        "ServiceNotFound",
        "ResourceNotFoundException",
        "AccessPointNotFound",
        "TargetGroupNotFound",
        "RuleNotFound",
        "ObjectNotFoundException",
        "QueueDoesNotExist",
        "AWS.SimpleQueueService.NonExistentQueue",
        "InvalidSecurityGroupRuleId.NotFound",
    }
)
PLACE_NOT_FOUND = frozenset({"ClusterNotFoundException", "FileSystemNotFound", "ListenerNotFound"})
NOT_FOUND = frozenset(
    {
        "LoadBalancerNotFound",
        "InvalidSubnetID.NotFound",
        "InvalidGroup.NotFound",
        "NoSuchBucket",
        "NoSuchEntity",
        "NamespaceNotFound",
        "NamespaceNotFoundException",
        "NotFound",  # of SNS: a topic
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
        "ConcurrentUpdateException",
        "QueueDeletedRecently",
        "AWS.SimpleQueueService.QueueDeletedRecently",
    }
)
TAG_LIMIT = frozenset({"TooManyTags", "TooManyTagsException", "TagLimitExceeded"})
LIMIT = re.compile(r"TooMany|\w*(Limit|Quota)Exceeded")
"""Begins the code of any other quota; those of `THROTTLED` are not meant."""
NO_ANSWER = frozenset({"RequestTimeout", "RequestTimeoutException"})
VAGUE = frozenset(
    {
        "BadRequest",
        "ClientException",
        "InvalidParameter",
        "InvalidParameterException",
        "InvalidParameterValue",
        "InvalidRequest",
        "InvalidRequestException",
        "ValidationError",
        "ValidationException",
    }
)
"""Codes for nearly everything: what is wrong is in the message alone."""
LONGEST_MESSAGE = 1000  # characters: AWS quotes what it refuses, and that may be a whole task definition


class AwsError(Exception):
    """AWS refused or did not answer a call. The base class stands for a refusal of what was asked (`RejectedByAws`)."""

    reason: ClassVar[Reason] = Reason.REJECTED_BY_AWS
    retry_soon: ClassVar[bool] = False
    """Whether the same call may succeed shortly with nothing changed."""

    def __init__(self, *, code: str, message: str, operation: str, detail: Mapping[str, Any] | None = None) -> None:
        super().__init__(f"{operation}: {code}: {_readable(message)}")
        self.code = code
        self.message = message
        """As AWS wrote it."""
        self.operation = operation
        self.detail = dict(detail or {})
        """Members of the error besides code and message, e.g. AccessPointId of AccessPointAlreadyExists."""

    def next_step(self) -> str:
        return "change what AWS names above, in the spec or in the InferenceEnvironment"

    def told(self) -> str:
        """In full, for people."""
        return f"{self}. Next: {self.next_step()}."


_OF_THIS_TRY = re.compile(
    r"\s*Encoded authorization failure message: \S+|[,;]?\s*\brequest ?id: *[\w-]+", flags=re.IGNORECASE
)
"""Differs with each try: a condition and an Event that are told again should not."""


def _readable(message: str) -> str:
    """On one line, without a full stop: what shows it goes on after it."""
    line = " ".join(_OF_THIS_TRY.sub("", message).split()).rstrip(".")
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}…"


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


_ACTION = re.compile(r"not authorized to perform:? ([\w-]+):(\w+)")
_DENYING = re.compile(r"with an explicit deny(?: in an? ([\w -]+? (?:policy|boundary))(?:: (arn:\S+))?)?")
_LACKING = re.compile(r"because no ([\w -]+?) allows")
_OF_THE_CALLER = "identity-based policy"
_KEY = re.compile(r"\bkms|customer master key", flags=re.IGNORECASE)


class Denied(AwsError):
    reason = Reason.ACCESS_DENIED

    def next_step(self) -> str:
        """After the forms that the IAM user guide gives ("Troubleshoot access denied error messages")."""
        action, denying, lacking = self._action(), _DENYING.search(self.message), _LACKING.search(self.message)
        if denying is not None:
            where = f"the {denying[1] or 'policy'} that denies it"
            named = f" ({denying[2]})" if denying[2] else ""
            return f"have {where}{named} leave {action} to the operator: no allow outweighs an explicit deny"
        if lacking is not None and lacking[1] != _OF_THE_CALLER:
            return f"have the {lacking[1]} allow {action} as well: the operator's own policy is not enough there"
        if _ACTION.search(self.message) is None and _KEY.search(f"{self.code} {self.message}"):
            return "have the policy of the KMS key allow its use to whoever the message names, or else to the operator"
        if action.startswith("sts:AssumeRole"):
            return (
                f"allow {action} to the operator's role, and have the trust policy of the role that is taken on name "
                f"who takes it on"
            )
        return (
            f"allow {action} to the operator's role (`inference-operator iam-policy` prints the "
            f"policy that it needs) or, if the message names another principal, to that one"
        )

    def _action(self) -> str:
        """What the message names, which may be another one than what was asked for, as iam:PassRole."""
        named = _ACTION.search(self.message)
        action = f"{named[1].lower()}:{named[2]}" if named is not None else self.operation
        return ALLOWED_AS.get(action, action)


_OUT_OF_TIME = re.compile(r"signature (expired|not yet current)|current time|request has expired", flags=re.IGNORECASE)


class UnknownCaller(AwsError):
    """AWS can't tell who asks: there are no credentials, or none that it takes."""

    reason = Reason.ACCESS_DENIED

    def next_step(self) -> str:
        if _OUT_OF_TIME.search(self.message):
            return "set the clock of the operator's node right: AWS takes no request that is minutes off"
        if "Expired" in self.code:
            return "renew the operator's credentials; those of a role renew themselves, unless their source is gone"
        return (
            "give the operator credentials that AWS takes in this region, by Pod Identity or IRSA, and restart a pod "
            "that is older than these; no policy is at fault"
        )


class NotServed(AwsError):
    """AWS does not serve the account, there or at all."""

    def next_step(self) -> str:
        return "activate the service or the region for the account, or ask AWS Support: no change of a spec helps"


class NotFound(AwsError):
    def next_step(self) -> str:
        return "check the identifiers in the InferenceEnvironment: what they name is not in its region and account"


class Gone(NotFound):
    """Something that the operator made, or had seen: what is known of the object is out of date."""

    reason = Reason.WAITING
    retry_soon = True

    def next_step(self) -> str:
        return "nothing to do: the operator looks again, and makes what is gone anew"


class NoLinkedRole(AwsError):
    """The role that ECS acts with in an account. ECS makes it when it is first needed, which takes some seconds."""

    def next_step(self) -> str:
        return (
            "nothing at first, since ECS makes it by itself; if it lasts, have somebody run "
            "`aws iam create-service-linked-role --aws-service-name ecs.amazonaws.com`"
        )


class PlaceNotFound(NotFound):
    """What an environment's services have is in it. AWS deletes none of these while something is left in it, or deletes
    that too."""


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


class Protected(AwsError):
    """Somebody has protected a log group from being deleted. AWS does not say which."""

    def of(self, log_group: str) -> Protected:
        message = f"{log_group}: {self.message}"
        return Protected(code=self.code, message=message, operation=self.operation)

    def next_step(self) -> str:
        return (
            "have its protection taken away (aws logs put-log-group-deletion-protection "
            "--no-deletion-protection-enabled --log-group-identifier …), or set spec.deletionPolicy to Retain, with "
            "which what is left stays"
        )


class LimitReached(AwsError):
    reason = Reason.LIMIT_EXCEEDED

    def next_step(self) -> str:
        if self.code in TAG_LIMIT:
            return (
                "AWS takes 50 tags at most on one thing: remove some of other people's, or ask for fewer in spec.tags"
            )
        return "raise the quota in Service Quotas, or remove what is no longer used"


_WAYS = {
    "EndpointConnectionError": "check that spec.region of the InferenceEnvironment is a region of AWS, and DNS and the "
    "route to the endpoint",
    "SSLError": "check which certificates the operator trusts (AWS_CA_BUNDLE)",
    "ProxyConnectionError": "check HTTPS_PROXY",
    "CredentialRetrievalError": "check where the operator's credentials come from",
    "FileNotFoundError": "check where the operator's credentials come from",
    "WebPageError": "check HTTPS_PROXY, and what else answers in place of AWS",
}


class Unavailable(AwsError):
    """No answer, or a 5xx: whether the call took effect is not known."""

    reason = Reason.AWS_UNAVAILABLE
    retry_soon = True

    def next_step(self) -> str:
        what = _WAYS.get(self.code, "check its route to the AWS endpoint")
        return f"nothing to do: the operator tries again; if it lasts, {what}"


_FAMILIES: tuple[tuple[frozenset[str], type[AwsError]], ...] = (
    (THROTTLED, Throttled),
    (DENIED, Denied),
    (UNKNOWN_CALLER, UnknownCaller),
    (NOT_SERVED, NotServed),
    (GONE, Gone),
    (PLACE_NOT_FOUND, PlaceNotFound),
    (NOT_FOUND, NotFound),
    (EXISTS, AlreadyExists),
    (BUSY, Busy),
    (NO_ANSWER, Unavailable),
)
_SAID: tuple[tuple[re.Pattern[str], type[AwsError]], ...] = tuple(
    (re.compile(pattern, flags=re.IGNORECASE), family)
    for pattern, family in (
        (r"not authorized to perform", Denied),
        # One service passes on what another one told it.
        (r"\b(rate|request limit) exceeded", Throttled),
        (r"not able to validate the provided access credentials|security token \S+ in the request", UnknownCaller),
        (r"\baccount (is|was|has been) (currently )?(blocked|suspended)", NotServed),
        (r"service linked role|ECS service role", NoLinkedRole),
        (r"reached the (limit|maximum)|(exceeds|exceeded) the (limit|quota)", LimitReached),
        (r"not idempotent", AlreadyExists),
        (r"deletion protection", Protected),
        (r"TaskDefinition (is inactive|not found)|service registry \S+ does not exist", Gone),
        (r"\b(subnet|sg|vpc)-\w+.*(does not exist|not found)", NotFound),
        # A rule that was just made is not known everywhere at once.
        (r"does not have an associated load balancer|not (attached to|associated with) (the |a )?load balancer", Busy),
        (r"\bconcurrent|still draining|in progress|pending update", Busy),
        (r"(^|[.;] )(please )?try again", Busy),  # not "mend this and try again"
    )
)
"""What the message of a vague code says, the specific before the general."""


def from_answer(
    *, code: str, message: str, operation: str, status: int, detail: Mapping[str, Any] | None = None
) -> AwsError:
    """The error for an answer with `code` and HTTP `status`."""
    family = _family(code, message, status)
    return family(code=code, message=message, operation=operation, detail=detail)


def _family(code: str, message: str, status: int) -> type[AwsError]:
    by_code = next((family for codes, family in _FAMILIES if code in codes), None)
    if by_code is not None:
        return by_code
    if LIMIT.match(code):
        return LimitReached
    if code in VAGUE:
        return next((family for pattern, family in _SAID if pattern.search(message)), AwsError)
    return Unavailable if status >= 500 else AwsError  # noqa: PLR2004 the HTTP class of server errors
