"""Every `reason` that a condition or an Event may carry, in one place: users and alerts match on these words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Reason(StrEnum):
    # Accepted
    ACCEPTED = "Accepted"
    INVALID_SPEC = "InvalidSpec"
    ENVIRONMENT_NOT_FOUND = "EnvironmentNotFound"
    ENVIRONMENT_INVALID = "EnvironmentInvalid"
    FORBIDDEN_BY_POLICY = "ForbiddenByPolicy"
    IN_USE = "InUse"

    # checks before a rollout
    VERIFIED = "Verified"
    VERIFICATION_FAILED = "VerificationFailed"
    NOT_VERIFIED = "NotVerified"

    # one AWS resource
    AS_SPECIFIED = "AsSpecified"
    WAITING = "Waiting"
    DEPENDENCY_NOT_READY = "DependencyNotReady"
    NOT_OWNED = "NotOwned"
    UNSUITABLE = "Unsuitable"
    PATH_TAKEN = "PathTaken"
    PAUSED = "Paused"
    DRIFTED = "Drifted"
    CONTESTED = "Contested"
    SCALED_BY_OTHERS = "ScaledByOthers"
    ACCESS_DENIED = "AccessDenied"
    THROTTLED = "Throttled"
    LIMIT_EXCEEDED = "LimitExceeded"
    REJECTED_BY_AWS = "RejectedByAws"
    AWS_UNAVAILABLE = "AwsUnavailable"
    INTERNAL_ERROR = "InternalError"

    # logs
    LOGS_FLOWING = "LogsFlowing"
    LOGS_LOST = "LogsLost"
    LOGS_DELAYED = "LogsDelayed"
    LOGS_NOT_REPORTED = "LogsNotReported"

    # a rollout, and the summary
    READY = "Ready"
    SCALED_TO_ZERO = "ScaledToZero"
    ROLLING_OUT = "RollingOut"
    ROLLOUT_PAUSED = "RolloutPaused"
    ROLLED_BACK = "RolledBack"
    ROLLOUT_FAILED = "RolloutFailed"
    PROGRESS_DEADLINE_EXCEEDED = "ProgressDeadlineExceeded"
    REPLICAS_UNAVAILABLE = "ReplicasUnavailable"
    STEADY = "Steady"
    DELETING = "Deleting"
    NOT_DELIVERED = "NotDelivered"


_NOTHING = "Nothing."
_WAIT = "Nothing: the operator goes on by itself."

EXPLANATIONS: Mapping[Reason, tuple[str, str]] = {
    Reason.ACCEPTED: ("The spec is valid, its environment exists and allows it.", _NOTHING),
    Reason.INVALID_SPEC: (
        "The stored spec breaks a rule of the API, for instance one that is newer than the object.",
        "Mend the field that the message names. What runs goes on as it is.",
    ),
    Reason.ENVIRONMENT_NOT_FOUND: (
        "`spec.environment` names an InferenceEnvironment that does not exist.",
        "Have it created; or make the object again with one that exists (the message lists them).",
    ),
    Reason.ENVIRONMENT_INVALID: (
        "The InferenceEnvironment breaks a rule of the API.",
        "The platform team mends the field that the message names.",
    ),
    Reason.FORBIDDEN_BY_POLICY: (
        "The environment's `policy` forbids something in the spec.",
        "Change the field that the message names, or have the policy changed.",
    ),
    Reason.IN_USE: (
        "The InferenceEnvironment is to be deleted, and services still run in it.",
        "Delete the InferenceDeployments that the message names; it goes once they are gone.",
    ),
    Reason.VERIFIED: ("The checks found nothing that would fail.", _NOTHING),
    Reason.VERIFICATION_FAILED: (
        (
            "A check found something that would make the rollout fail, so nothing is rolled out. What runs goes on. "
            "Of an InferenceEnvironment: something that it names is missing, or can't be used."
        ),
        "Do what the message says; `status.verification` has all that was found. It is checked again by itself.",
    ),
    Reason.NOT_VERIFIED: (
        "Whether all is there that the InferenceEnvironment names can't be told: mostly the operator may not look.",
        "Do what the message says. Nothing is kept back by it.",
    ),
    Reason.AS_SPECIFIED: ("The resource is there, as specified and settled.", _NOTHING),
    Reason.WAITING: ("AWS is still at work on something.", _WAIT),
    Reason.DEPENDENCY_NOT_READY: ("Another resource has to be there first.", "Look at that one's condition."),
    Reason.NOT_OWNED: (
        "Something with the name that this object would use exists and does not carry its tags. It is left alone.",
        "Delete it if nobody needs it, give this object another name, or set the annotation `ecs-inference.dev/adopt`.",
    ),
    Reason.UNSUITABLE: (
        "Something that is there, maybe to be adopted, is of a sort that can't become what is asked for.",
        "Do what the message says. What is only to be adopted is left as it is, all of it, until then.",
    ),
    Reason.PATH_TAKEN: (
        "Another rule of the shared listener comes first and gets requests that are meant for this service.",
        "Choose other `ingress.paths` or `ingress.hosts`, or have that rule removed (the message names it).",
    ),
    Reason.PAUSED: (
        "Something differs from what is asked for, and the annotation `ecs-inference.dev/paused` says to leave it.",
        "Remove the annotation. `status.drift` lists what would then change.",
    ),
    Reason.DRIFTED: (
        "Somebody has changed something at AWS, and `spec.driftPolicy` says to leave it. `status.drift` lists it.",
        (
            "Undo it; or put it into the spec; or have it undone, by a new value of the annotation "
            "`ecs-inference.dev/reconcile-at`."
        ),
    ),
    Reason.CONTESTED: (
        "Somebody else keeps changing what the operator puts back, so it now waits longer before it does so again.",
        (
            "Find out who (AWS CloudTrail names the caller), and let one of the two be responsible: change the other, "
            "or the spec, or set `spec.driftPolicy` to Report."
        ),
    ),
    Reason.SCALED_BY_OTHERS: (
        "Application Auto Scaling moves how many tasks run, by policies or scheduled actions that are not of the spec.",
        "Put them into `spec.autoscaling`, or delete them (the message names them). They are left as they are.",
    ),
    Reason.ACCESS_DENIED: (
        "AWS denied a call to the operator's role, or to a role that it passes on, or did not take its credentials.",
        "Do what the message says; `inference-operator iam-policy` prints the whole policy.",
    ),
    Reason.THROTTLED: ("AWS asked the operator to slow down.", _WAIT),
    Reason.LIMIT_EXCEEDED: (
        "A quota of the account is reached.",
        "Raise it in Service Quotas, or remove what is unused.",
    ),
    Reason.REJECTED_BY_AWS: (
        "AWS refused what was asked.",
        "Change what the message names: in the spec, or in the InferenceEnvironment.",
    ),
    Reason.AWS_UNAVAILABLE: (
        "AWS gave no answer, or an internal error.",
        "Nothing at first. If it lasts, check the operator's route to AWS.",
    ),
    Reason.INTERNAL_ERROR: ("The operator itself failed.", "Report it, with the operator's log."),
    Reason.LOGS_FLOWING: ("Every line reached its destinations in the last half hour.", _NOTHING),
    Reason.LOGS_LOST: (
        "A log router gave up lines in the last half hour: too long ones, or a destination was not reached.",
        "Check that the destination that the message names exists, and that the task role may write there.",
    ),
    Reason.LOGS_DELAYED: (
        "A log router has to try again, or told an error. Lines wait on the task's disk meanwhile.",
        "As for LogsLost, before lines are lost.",
    ),
    Reason.LOGS_NOT_REPORTED: (
        "No log router has told its counters, or the operator can't read them.",
        "Wait 5 minutes after a start. If it lasts, look at the router's log group; its image needs sh and curl.",
    ),
    Reason.READY: ("The revision asked for runs, with all replicas healthy.", _NOTHING),
    Reason.SCALED_TO_ZERO: ("No replicas are asked for and none run.", _NOTHING),
    Reason.ROLLING_OUT: ("Tasks of the revision asked for are being started.", _WAIT),
    Reason.ROLLOUT_PAUSED: (
        "The rollout waits at one of `rollout.pauses`.",
        (
            "Look at the new tasks; then set the annotation `ecs-inference.dev/continue-at` or "
            "`ecs-inference.dev/rollback-at` to a new value."
        ),
    ),
    Reason.ROLLED_BACK: (
        "The revision asked for failed, and ECS went back to the one before, which serves.",
        (
            "Find the cause in `status.lastFailure`, mend it and change the spec; or, if it was outside the spec, "
            "set the annotation `ecs-inference.dev/reconcile-at` to a new value."
        ),
    ),
    Reason.ROLLOUT_FAILED: (
        "The revision asked for failed and there was nothing to go back to, or rollback is off.",
        "As for RolledBack.",
    ),
    Reason.PROGRESS_DEADLINE_EXCEEDED: (
        "The rollout takes longer than `rollout.progressDeadline`.",
        "Look at `status.stoppedTasks` and `status.events`; the rollout goes on meanwhile.",
    ),
    Reason.REPLICAS_UNAVAILABLE: ("Fewer tasks run than are asked for.", "ECS replaces them; see `status.events`."),
    Reason.STEADY: ("Nothing is under way.", _NOTHING),
    Reason.NOT_DELIVERED: (
        "A notification did not reach one of the environment's `notifications`. It is tried again for an hour.",
        "Mend what the message names: the topic and its policy, or the Secret and the address in it.",
    ),
    Reason.DELETING: ("The object's resources are being removed.", "Nothing: the message says what is waited for."),
}
