"""Why tasks stop and services complain: ECS's words, turned into a cause that comes with what to do about it. Pure.

The table is ordered: the first rule that fits wins, so what is specific stands before what is general. A rule matches
ideas and not sentences, as the wording changes with the agent's version: what is told of, and what is wrong with it.
A text that is cut off before its reason gets the cause that says no more than it does; one that no rule knows is
`Unknown`: a wrong cause sends people the wrong way. docs/reference/causes.md is made from the table, and
tests/operator/data/failure_texts.yaml holds the texts that it is measured against.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from enum import StrEnum


class Severity(StrEnum):
    INFO = "Info"
    """Part of the normal course."""
    WARNING = "Warning"
    """It may pass by itself."""
    ERROR = "Error"
    """Somebody has to act."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    name: str
    severity: Severity
    explanation: str
    next_step: str
    """What to change, and where: a field of the InferenceDeployment, of the InferenceEnvironment, or a thing in AWS."""


@dataclass(frozen=True, kw_only=True)
class Rule:
    cause: Cause
    pattern: str = ""
    """A regular expression, searched without regard to case; empty fits every text. Every repetition is bounded, so
    that a search takes time in proportion to the text."""
    also: str = ""
    """A second one that must be found too, anywhere in the text."""
    stop_codes: frozenset[str] = frozenset()
    exit_codes: frozenset[int] = frozenset()
    router: bool | None = None
    """Whether the container is the log router; None: either."""

    def fits(self, fact: Fact) -> bool:
        return (
            (not self.stop_codes or fact.stop_code in self.stop_codes)
            and (not self.exit_codes or fact.exit_code in self.exit_codes)
            and (self.router is None or self.router == fact.router)
            and all(re.search(p, fact.text, re.IGNORECASE) for p in (self.pattern, self.also))
        )


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What there is to go by: the texts of a stopped task and of its container, or of one service event."""

    text: str
    stop_code: str | None = None
    exit_code: int | None = None
    router: bool = False
    """The container that is told of is the log router."""


_NAMES = re.compile(
    r"^ ?\(?service \(?[^ ,)]{1,300}+\)?(, taskSet [^ )]{1,300}+\))?|"
    r"arn:aws[\w-]{0,20}:(?!s3:::prod-[\w-]{1,30}-starport)[^ '\",)]{1,2048}+|"
    r"(?<![/.\w-])[\w-]{1,63}+(\.[\w-]{1,63}+){1,8}+(:\d{0,5}+)?/[^ '\",)]{1,512}(?<!:)|"
    r"(?<=access denied for )[^ ,]{1,512}+|(?<=manifest for )[^ ]{1,512}+|"
    r"(?<=/v2/)[\w./-]{1,256}(?=/(manifests|blobs)/)|"
    r"((?<=://)|(?<= lookup ))(?![\w.-]{1,253}\.(amazonaws|api\.aws)\b)[\w-]{1,63}+\.[\w.-]{1,253}+|"
    r"(?<=parameters: )(?!invalid )[^ ]{1,1024}|"
    r"(?<=fetch secret )[^ ]{1,512}|"
    r"(?<=json key )\S{1,512}+|"
    r"(?<=[ ]container )\w{1,255}+-[\w-]{1,255}+|(?<=[ (]target-group )[^ )]{1,32}+|"
    r"(?<= )\[[a-z][\w-]{0,254}\]|(?<= ')[\w./-]{1,255}+(?=')|"
    r"(?<=task definition )[\w-]{1,255}+(?=:\d)|(?<=alarm detected: ).{1,255}+"
)
"""The service that an event begins with, ARNs (but those of ECR's own buckets), images on whatever host, repositories,
hosts that are not AWS's, parameters, secrets and their keys, containers, target groups, task definitions, and a single
word in quotes: their names are people's own words, and say nothing of the cause."""

_DID_NOT_HAPPEN = re.compile(
    r"[^.:;,]{0,80}\b("
    r"(no|without)( any)? (alarms?|errors?\b(?! message)|OutOfMemory|OOM|access denied|health check (failed|timed))|"
    r"(not|never)( been)? (caused|expected|failed|interrupted|killed|necessary|needed|throttled|timed out|triggered)\b"
    r")[^.:;,]{0,80}+",
    re.IGNORECASE,
)
"""The clause that says of a trouble that there was none."""

_QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")

_LONGEST = 10_000
"""Characters of a text that are looked at. ECS cuts its own texts far below; this bounds the time that junk takes."""


def classify(fact: Fact) -> Cause:
    return rule.cause if (rule := rule_for(fact)) else UNKNOWN


def rule_for(fact: Fact) -> Rule | None:
    """The first rule that fits; None if none does."""
    bare = replace(fact, text=_DID_NOT_HAPPEN.sub("", _NAMES.sub("", _plain(fact.text))))
    return next((rule for rule in RULES if rule.fits(bare)), None)


def _plain(text: str) -> str:
    """In one line of plain letters: texts come broken over lines, and with the quotes and the spaces of a document."""
    letters = unicodedata.normalize("NFKC", text[:_LONGEST]).translate(_QUOTES)
    visible = "".join(letter for letter in letters[:_LONGEST] if unicodedata.category(letter) != "Cf")
    return " ".join(visible.split())


def _error(name: str, explanation: str, next_step: str) -> Cause:
    return Cause(name=name, severity=Severity.ERROR, explanation=explanation, next_step=next_step)


def _warning(name: str, explanation: str, next_step: str) -> Cause:
    return Cause(name=name, severity=Severity.WARNING, explanation=explanation, next_step=next_step)


def _info(name: str, explanation: str, next_step: str = "Nothing to do.") -> Cause:
    return Cause(name=name, severity=Severity.INFO, explanation=explanation, next_step=next_step)


UNKNOWN = _warning(
    "Unknown",
    "No rule knows this text; it is kept as ECS wrote it.",
    "Read the text. If it is cut off, `aws ecs describe-tasks` has the whole for an hour.",
)

_ELSEWHERE = " Where the text tells of another policy (a VPC endpoint's, a service control policy), allow it there."
"""A role's own permissions are not all that can refuse it something."""

_ROUTE = "Give the environment's network.subnets a route: a NAT gateway, network.assignPublicIp in a public subnet, or"
_HTTPS = " Let tcp 443 out of network.securityGroups and into those of the endpoints."

_TASK_ROLE = "the task's role (spec.taskRoleArn, else the environment's)"

# -- images

IMAGE_NOT_FOUND = _error(
    "ImageNotFound",
    "The registry has no such image: the repository, tag or digest is wrong, or the image was deleted.",
    "Push the image, or set spec.image to one that exists.",
)
IMAGE_PLATFORM = _error(
    "ImagePlatformMismatch",
    "The image was built for another processor architecture than the task's.",
    "Build spec.image for the platform of spec.architecture (linux/amd64, or linux/arm64 for ARM64) or for both, or set"
    " spec.architecture to that of the image.",
)
IMAGE_DENIED = _error(
    "ImageAccessDenied",
    "The registry did not let the execution role in, or knows no such repository and won't say so.",
    "Allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer to the environment's executionRoleArn, and check the name"
    " in spec.image, the repository's policy, and those of the VPC endpoints for ECR and S3. A registry outside ECR is"
    " asked without credentials: have a private image in ECR, or in a pull-through cache whose credentials are good."
    + _ELSEWHERE,
)
IMAGE_RATE_LIMIT = _error(
    "ImagePullRateLimited",
    "The registry limits how often images are pulled, mostly without an account.",
    "Mirror the image to ECR, and set spec.image to the copy. If it is there already, nothing: ECS tries again.",
)
IMAGE_NETWORK = _error(
    "ImageRegistryUnreachable",
    "The task could not reach the image registry.",
    f"{_ROUTE} VPC endpoints for ecr.api, ecr.dkr and S3.{_HTTPS} If its name does not resolve, mend the host in"
    " spec.image.",
)
IMAGE_INVALID = _error(
    "ImageInvalid",
    "The image reference is malformed, or its manifest can't be used.",
    "Mend spec.image, or push the image again.",
)
IMAGE_PULL = _error(
    "ImagePullFailed",
    "The image could not be pulled.",
    "Read the text; check spec.image, its registry and the route to it.",
)
DISK_FULL = _error(
    "DiskFull",
    "The task's ephemeral storage is full.",
    "Use a smaller image, or raise spec.ephemeralStorage (20 GiB is the default).",
)

# -- secrets and configuration

SECRET_DENIED = _error(
    "SecretAccessDenied",
    "The execution role may not read a secret or parameter, or may not decrypt it.",
    "Allow secretsmanager:GetSecretValue or ssm:GetParameters (and kms:Decrypt) on it to the environment's"
    " executionRoleArn." + _ELSEWHERE,
)
SECRET_NOT_FOUND = _error(
    "SecretNotFound",
    "A secret or parameter does not exist, was deleted, has no current version, or is not what the reference names.",
    "Create the secret or parameter in the environment's region, or mend the reference to it.",
)
SECRET_KEY = _error(
    "SecretKeyMissing",
    "The secret is not JSON, or lacks the key that is asked for.",
    "Add the key to the secret, or mend the `:key:` in the reference to it.",
)
SECRET_NETWORK = _error(
    "SecretStoreUnreachable",
    "The task could not reach Secrets Manager, Systems Manager or ECR's login.",
    f"{_ROUTE} VPC endpoints for secretsmanager, ssm, ecr.api and kms.{_HTTPS}",
)
REGISTRY_LOGIN_DENIED = _error(
    "RegistryLoginDenied",
    "The execution role may not log in to ECR.",
    "Allow ecr:GetAuthorizationToken to the environment's executionRoleArn, and in the policy of the VPC endpoint for"
    " ecr.api if there is one." + _ELSEWHERE,
)
SECRET_FETCH = _error(
    "SecretFetchFailed",
    "A secret, a parameter or the registry's login could not be fetched; if the text does not say why, it is cut off.",
    "Read the whole of it with `aws ecs describe-tasks`; check what the environment's executionRoleArn may read, and"
    " the route from network.subnets to Secrets Manager, Systems Manager and ECR.",
)
ENVIRONMENT_FILE = _error(
    "EnvironmentFileFailed",
    "An environment file could not be read from S3.",
    "Check that it exists, that the environment's executionRoleArn may s3:GetObject it, and the route to S3.",
)

# -- EFS

EFS_DENIED = _error(
    "EfsAccessDenied",
    "EFS refused the mount: the task role, the file system's policy or the access point does not allow it.",
    f"Allow elasticfilesystem:ClientMount on the file system to {_TASK_ROLE}, and check the file system's policy."
    + _ELSEWHERE,
)
EFS_DNS = _error(
    "EfsNameNotResolved",
    "The file system's name does not resolve: no mount target in the task's availability zone, DNS support off in the"
    " VPC, or a wrong file system.",
    "Make a mount target in the zone of every subnet of the environment, and turn on DNS support and hostnames in the"
    " VPC.",
)
EFS_TIMEOUT = _error(
    "EfsUnreachable",
    "The mount target did not answer: a security group stands in between.",
    "Let tcp 2049 into the mount targets' security group from the environment's network.securityGroups, and out of"
    " these.",
)
EFS_ACCESS_POINT = _error(
    "EfsAccessPointUnusable",
    "The access point does not exist, is not available, or its directory could not be made.",
    "See the AccessPointReady condition; check models.path and the environment's models.rootDirectory.",
)
EFS_MISSING = _error(
    "EfsPathMissing",
    "The directory to mount does not exist on the file system.",
    "Publish the models to spec.models.path first, or mend the path.",
)
EFS_FAILED = _error(
    "EfsMountFailed",
    "The file system could not be mounted.",
    "Read the text; check models.fileSystemId, its mount targets in the zones of network.subnets, tcp 2049 from"
    " network.securityGroups, and what the task's role may.",
)

# -- logs

LOG_GROUP_MISSING = _error(
    "LogGroupMissing",
    "The log group that the container writes to does not exist.",
    "Nothing if the operator makes it (see LogGroupReady); else create it, or allow logs:CreateLogGroup.",
)
OURS_MISSING = frozenset(each.name for each in (EFS_DENIED, EFS_ACCESS_POINT, LOG_GROUP_MISSING))
"""Names of causes that may mean that something is gone which the operator has made. EFS refuses to mount through an
access point that is not there."""

LOG_DENIED = _error(
    "LogAccessDenied",
    "The execution role may not write to CloudWatch Logs.",
    "Allow logs:CreateLogStream and logs:PutLogEvents on the log group to the environment's executionRoleArn."
    + _ELSEWHERE,
)
LOG_NETWORK = _error(
    "LogServiceUnreachable",
    "The task could not reach CloudWatch Logs.",
    f"{_ROUTE} a VPC endpoint for logs.{_HTTPS}",
)
LOG_DRIVER = _error(
    "LogDriverFailed",
    "The container's log driver did not start.",
    "Read the text; check the logging part of the spec.",
)
ROUTER_EXITED = _error(
    "LogRouterExited",
    "The log router ended, and took the task with it.",
    "Read the log of the router's container: most often its logging configuration or its memory is to be changed.",
)

# -- the container

OUT_OF_MEMORY = _error(
    "OutOfMemory",
    "A container used more memory than it may, and was killed.",
    "Raise spec.memory (sidecars.memory if it was a sidecar), lower INFERENCE_WORKERS, or serve smaller models.",
)
ROUTER_OUT_OF_MEMORY = _error(
    "LogRouterOutOfMemory",
    "The log router used more memory than it may, and was killed.",
    "Raise spec.memory, and see in the router's log which destination does not take what it sends.",
)
COMMAND_NOT_FOUND = _error(
    "CommandNotFound",
    "The container's program does not exist in the image, or may not be run.",
    "Mend spec.command or the entry point of spec.image: the file must exist there, be executable, and not be hidden"
    " by the mount at models.mountPath.",
)
START_FAILED = _error(
    "ContainerStartFailed",
    "The container could not be created or started.",
    "The text has the runtime's reason: change what it names in spec.image (entry point, user) or models.mountPath.",
)
CRASHED = _error(
    "ContainerCrashed",
    "The program ended by a fault of its own (a segmentation fault, an abort).",
    "Read the container's log; try the image with the same models locally.",
)
KILLED = _error(
    "ContainerKilled",
    "The container was killed (137): for its memory, or because it did not end within its stop timeout.",
    "If it was running: raise spec.memory. If it was being stopped: shorten the drain or raise spec.stopTimeout.",
)
EXITED = _error(
    "ContainerExited",
    "The program ended with an error.",
    "Read the container's log: its last lines say why (a model that does not load, a wrong setting, a write outside of"
    " /tmp, see spec.readOnlyRootFilesystem).",
)
EXITED_ZERO = _error(
    "ContainerFinished",
    "The program ended without an error, but a service must not end.",
    "Check the image's entry point: it must stay in the foreground.",
)
TERMINATED = _info("ContainerTerminated", "The program ended on SIGTERM, as it should.")
DEPENDENCY = _error(
    "DependencyFailed",
    "A container that another one waits for did not start or did not become healthy.",
    "Find why the container that the text names did not start or is not healthy (its log, status.stoppedTasks), and"
    " change that.",
)

# -- health

CONTAINER_UNHEALTHY = _error(
    "ContainerHealthCheckFailed",
    "The container's own health check failed.",
    "See whether the program in the check exists in the image, and whether health.startup leaves time to load the"
    " models.",
)
TARGET_CODE = _error(
    "TargetHealthCheckCode",
    "The load balancer got an error status from the health check.",
    "Ask health.path of a task yourself: its answer names the model that is not ready. Check spec.health.path.",
)
TARGET_TIMEOUT = _error(
    "TargetHealthCheckTimeout",
    "The load balancer got no answer from the health check.",
    "Let the load balancer's security group into network.securityGroups on spec.port; see that the server listens"
    " there.",
)
TARGET_UNHEALTHY = _error(
    "TargetUnhealthy",
    "The load balancer's health check failed.",
    "Check spec.health.path, spec.port, health.startup and the security groups between load balancer and tasks.",
)
TARGET_ZONE = _error(
    "TargetZoneDisabled",
    "The task runs in an availability zone in which the load balancer has no subnet, so that it gets no request.",
    "Give the load balancer a subnet in that zone, or take the zone's subnet out of the environment's network.subnets.",
)
TARGET_UNUSED = _error(
    "TargetGroupUnused",
    "No listener rule sends requests to the tasks' target group.",
    "See the condition ListenerRuleReady, and who changed the listener.",
)
TARGET_ABSENT = _error(
    "TargetNotRegistered",
    "The tasks are not in the load balancer's target group: it was deleted, is in another VPC, or refused them.",
    "See the TargetGroupReady condition; network.subnets and the target group must be in one VPC.",
)

# -- capacity, quotas, platform

CAPACITY = _warning(
    "CapacityUnavailable",
    "Fargate has no capacity of this size in these availability zones at the moment.",
    "Wait, add subnets in more availability zones, or use another size.",
)
SPOT = _warning(
    "SpotInterrupted",
    "AWS took Spot capacity back.",
    "Keep a base of on-demand tasks: capacity provider FARGATE beside FARGATE_SPOT.",
)
QUOTA = _error(
    "QuotaReached",
    "A quota of the account is reached.",
    "Raise it in Service Quotas (Fargate's vCPUs, network interfaces: what the text names), or scale down.",
)
BLOCKED = _error(
    "AccountBlocked",
    "AWS does not let the account run tasks.",
    "Ask AWS Support to lift the block of the account: nothing in the spec helps.",
)
SIZE = _error(
    "SizeAboveLimit",
    "The account may not run tasks of this size.",
    "Lower spec.cpu or spec.memory, or raise the limit.",
)
NETWORK = _warning(
    "NetworkInterfaceFailed",
    "The task's network interface could not be made or attached.",
    "If it lasts: check free addresses in network.subnets, the quota of network interfaces, that"
    " network.securityGroups exist, and tag policies of the organisation.",
)
NETWORK_WRONG = _error(
    "NetworkMisconfigured",
    "A subnet or a security group of the environment does not exist, or they are not all in one VPC.",
    "Mend the environment's network.subnets and network.securityGroups: the text names what is wrong.",
)
SUBNET_FULL = _error(
    "SubnetFull",
    "A subnet has no free addresses.",
    "Use larger subnets, or more of them, in the environment's network.subnets.",
)
THROTTLED = _warning("AwsThrottled", "AWS limits how fast ECS may call another service.", "Nothing: ECS tries again.")
ROLE = _error(
    "RoleNotAssumable",
    "ECS may not use a role: it does not exist, or does not trust ecs-tasks.amazonaws.com (a role of ECS itself:"
    " ecs.amazonaws.com).",
    f"Check the role that the text names, and its trust policy: mostly the environment's executionRoleArn, or"
    f" {_TASK_ROLE}.",
)
ROLE_PERMISSION = _error(
    "RolePermissionMissing",
    "A role that ECS uses may not do what it must.",
    "Allow the action that the text names to the role that it names." + _ELSEWHERE,
)
PLACEMENT = _error(
    "PlacementFailed",
    "No container instance of the cluster can take the task: it was asked for on EC2 and not on Fargate.",
    "Use the capacity providers FARGATE or FARGATE_SPOT; else add container instances to the environment's cluster.",
)
MAINTENANCE = _info(
    "InfrastructureMaintenance", "AWS replaces the host of the task.", "Nothing to do: ECS has started another task."
)
PLATFORM = _warning(
    "PlatformError",
    "The platform failed, not the task.",
    "Nothing at first: ECS tries again. If it lasts, check that Fargate is offered in the availability zones of"
    " network.subnets.",
)
BACKOFF = _error(
    "StartBackoff",
    "Tasks failed to start again and again, so ECS waits longer and longer between tries (15 minutes and more).",
    "Change what the cause of the stopped tasks names (status.stoppedTasks); a new revision starts at once.",
)
PERCENT_DEADLOCK = _error(
    "RolloutDeadlock",
    "The rollout's percentages leave no room to stop or to start a task.",
    "Raise rollout.maximumPercent or lower rollout.minimumHealthyPercent.",
)
PROTECTED = _warning(
    "TaskProtected", "Tasks are protected from being stopped.", "Wait for the protection to end, or take it away."
)
BREAKER = _error(
    "CircuitBreaker",
    "Too many tasks of a rollout failed, and ECS gave it up.",
    "Change what the cause of the stopped tasks names (status.stoppedTasks); that makes a new revision.",
)
ALARM = _error(
    "DeploymentAlarm", "A CloudWatch alarm of the rollout went off.", "Look at the alarm; then change the spec."
)
HOOK = _error(
    "LifecycleHookFailed",
    "A lifecycle hook failed the rollout.",
    "Read the log of the function that the text names; mend it, or what it tests.",
)
CONFIGURATION = _error(
    "TaskConfigurationRefused",
    "ECS could not use the task's configuration.",
    "Read the text; change what it names: mostly spec.cpu, spec.memory, spec.image, or the environment's cluster or"
    " network.",
)
TRAFFIC = _error(
    "TrafficShiftRefused",
    "ECS can't shift requests: one of the two target groups is in no listener rule, or a rule is gone.",
    "See the conditions TargetGroupReady and ListenerRuleReady, and who changed the listener; then have it tried"
    " again, or set rollout.strategy to ROLLING.",
)
DISCOVERY = _error(
    "ServiceDiscoveryUnhealthy",
    "Service discovery calls the task unhealthy.",
    "See why the container is not healthy (its log, spec.health.path), and that the namespace exists.",
)

# -- the normal course

SCALING = _info("Scaling", "The scheduler no longer needed the task.")
STOPPED_BY_USER = _info("StoppedByUser", "Somebody stopped the task.", "Nothing to do: ECS starts another one.")
ROLLBACK = _warning(
    "RollingBack", "ECS goes back to the last revision that worked.", "Find the cause in the stopped tasks."
)
ROLLBACK_REQUESTED = _info(
    "RollbackRequested",
    "Somebody had the rollout stopped and rolled back.",
    "Ask who did so and why; then change the spec, or have it tried again.",
)
PROGRESS = _info("Progress", "Tasks are started, stopped, registered or drained.")
STEADY = _info("SteadyState", "The service is at rest.")

# What is wrong with something, whatever it is.
_DENIED = (
    r"(?<![/-])AccessDenied(?!-)|not authorized|no identity-based policy|access denied|UnauthorizedOperation|"
    r"missing permission"
)
_UNREACHABLE = (
    r"i/o timeout|deadline exceeded|context canceled|request ?canceled|dial tcp|(send request|request send) failed|"
    r"connection (refused|reset|issue|timed out)|TLS handshake timeout|no such host|Client\.Timeout|no route to host|"
    r"network is unreachable|failed to do request|(unable to|could not|cannot|can.t) (connect|reach)|"
    r"check your (\w{1,20} )?network"
)
_FAULT = r"Internal ?(Server|Service)? ?(Error|Failure)|ServerException|Service ?Unavailable|status ?code: 5\d\d\b"
"""A service of AWS says of itself that it failed."""
# What is told of.
_LOGS = (
    r"logger args|logging driver|log driver|log ?group|log ?stream|awslogs|logs:(Create|Put)|"
    r"Amazon CloudWatch(?! alarm)"
)
_EFS = r"(?<![\w/-])EFS(?![\w-])|mount\.nfs|elasticfilesystem"
_SECRETS = (
    r"(pull|retrieve|retrieved|fetch|fetching|find)( \w{1,20}+){0,3} secrets?\b|Secrets ?Manager|"
    r"Parameter Store|\bssm\b|GetSecretValue|ssm:GetParameters"
)
_PULL = (
    r"CannotPull\w{0,30}Error|pull image manifest|httpReade?r?Seeker|pull access denied|(register|extract) layer|"
    r"(cannot|can.t|unable to|failed to|error) pull(ing)? (the |container )?image|"
    r"(cannot|can.t) pull (?!secrets)[^ ]{0,300} ?from|^pull command failed|normalize image reference|"
    r"https?://[\w.:-]{0,100}/v2/|starport-layer-bucket"
)


def _alone(word: str) -> str:
    """Where it stands alone and not within a name that somebody chose, as in `oom-killed-demo` or `/ecs/throttled`."""
    return rf"(?<![\w/-])({word})(?![\w/-]|\.\w)"


_MEMORY = r"OutOfMemory(Error|Exception)?|OOM-?killed"

_EXITED = frozenset({"EssentialContainerExited"})

RULES: tuple[Rule, ...] = (
    # Texts that only look like a failure. Why somebody stopped a task is in their own words.
    Rule(cause=STOPPED_BY_USER, stop_codes=frozenset({"UserInitiated"})),
    Rule(cause=PROGRESS, pattern=r"successfully set desired count"),
    Rule(cause=SPOT, pattern=r"(?<![\w/-])spot(?![\w/.-]).{0,24}interrupt|" + _alone("TerminationNotice")),
    Rule(cause=SPOT, stop_codes=frozenset({"SpotInterruption", "TerminationNotice"})),
    Rule(
        cause=MAINTENANCE,
        pattern=r"maintenance on the underlying|underlying (host|hardware).{0,40}(degrad|fail|impair)|"
        r"scheduled for retirement|task retirement",
    ),
    Rule(cause=MAINTENANCE, stop_codes=frozenset({"InfrastructureHealth"})),
    Rule(cause=SCALING, pattern=r"scaling activity initiated|scheduler initiated|rebalancing initiated"),
    # Memory comes before all else: it hides behind other errors and even behind exit code 0.
    Rule(cause=ROUTER_OUT_OF_MEMORY, pattern=_alone(_MEMORY), router=True),
    Rule(cause=START_FAILED, pattern=r"cgroup.{0,120}cannot allocate memory"),  # the host's memory
    Rule(cause=OUT_OF_MEMORY, pattern=_alone(_MEMORY) + "|killed due to memory|cannot allocate memory"),
    # Nothing is wrong with what is asked for, but with how often.
    Rule(
        cause=IMAGE_RATE_LIMIT,
        pattern=_alone("toomanyrequests") + "|pull rate limit|429 Too Many|Too Many Requests",
    ),
    Rule(
        cause=THROTTLED,
        pattern=_alone(
            r"\w{0,30}throttl(ed|ing)(Exception)?|Rate ?(limit ?)?exceeded|RequestLimitExceeded|Request limit exceeded"
        )
        + r"|too many concurrent (attempts|requests|operations)",
    ),
    Rule(
        cause=QUOTA,
        pattern=_alone(r"\w{0,60}(?<!Retry)(Limit|Count|Quota)Exceeded(Exception)?")
        + r"|TooManyTargets|(reached|exceeded) (the|your) limit on",
    ),
    # Logging. A check of the driver's options that was killed had waited for CloudWatch in vain; but a driver without
    # credentials had not come so far as to ask CloudWatch, whatever it says of connections, and others never ask it.
    Rule(cause=LOG_DENIED, pattern=_LOGS, also=_DENIED),
    Rule(
        cause=LOG_DRIVER,
        pattern=r"logger args|logging driver",
        also=_alone("credentials?|splunk|gelf|syslog|fluentd") + "|services/collector",
    ),
    Rule(cause=LOG_DRIVER, pattern=r"logging driver: (dial|fluent|unix|socket)"),  # not CloudWatch's
    Rule(cause=LOG_NETWORK, pattern=_LOGS, also=rf"{_UNREACHABLE}|signal: killed"),
    Rule(
        cause=LOG_GROUP_MISSING,
        pattern=r"log ?group.{0,80}(not exist|not found)|(cannot|can.t|could not) find.{0,40}log ?group",
    ),
    Rule(cause=LOG_GROUP_MISSING, pattern=r"logger args", also=r"ResourceNotFound"),
    Rule(cause=PLATFORM, pattern=r"logger args", also=_FAULT),
    Rule(cause=LOG_DRIVER, pattern=r"logger args|logging driver|(?<![/-])firelens(?!-).{0,40}(config\b|socket)"),
    # EFS. Without the name, the helper looks for the address itself, and complains of what it may not for that.
    Rule(
        cause=EFS_DNS,
        pattern=_EFS,
        also=r"(not|failed to) resolve|no such host|NXDOMAIN|look ?up mount target|"
        r"(no|not|cannot|can.t)( \w{1,20}+){0,2} mount target",
    ),
    Rule(cause=EFS_DENIED, pattern=_EFS, also=rf"{_DENIED}|permission denied"),
    Rule(
        cause=EFS_ACCESS_POINT,
        pattern=r"access ?point.{0,120}(not exist|not found|invalid|not available|malformed|unable to create|"
        r"failed to create)|"
        r"AccessPointNotFound|fsap-\w{1,40}.{0,80}(not|invalid)",
    ),
    Rule(cause=EFS_MISSING, pattern=_EFS, also=r"No such file or directory|does not exist on"),
    Rule(
        cause=EFS_TIMEOUT,
        pattern=_EFS,
        also=r"timed? ?out|mount system call failed|cannot be connected|connection (refused|reset)|"
        r"broken pipe|no route to host|unreachable",
    ),
    Rule(cause=EFS_FAILED, pattern=_EFS, also=r"mount|volume"),
    Rule(cause=EFS_FAILED, pattern=r"chown.{0,120}operation not permitted|mounting volume failed"),
    # Secrets and the registry's login, which come in one sentence.
    Rule(
        cause=SECRET_KEY,
        pattern=r"not contain json key|retrieved secret.{0,80}(json|key)|"
        r"unmarshal secret value|empty secrets? value|AuthorizationData is malformed",
    ),
    Rule(
        cause=SECRET_KEY,
        pattern=rf"{_SECRETS}|registry auth",
        also=r"invalid character '|invalid character.{0,80}(value|JSON)",
    ),
    Rule(
        cause=SECRET_NOT_FOUND,
        pattern=_SECRETS,
        also=r"ResourceNotFound|find the specified secret|AWSCURRENT|invalid ?(ssm )?parameters?|"
        r"Parameter(Version)?NotFound|staging label|(check )?whether the (secret|parameter) exists|"
        r"marked for deletion|because it was deleted|invalid (name|ARN|version)|ValidationException",
    ),
    Rule(
        cause=REGISTRY_LOGIN_DENIED,
        pattern=r"GetAuthorizationToken|retrieve ecr registry auth|CannotPullECRContainerError",
        also=_DENIED,
    ),
    Rule(
        cause=SECRET_NETWORK,
        pattern=rf"{_SECRETS}|registry auth|GetAuthorizationToken",
        also=rf"{_UNREACHABLE}|signal: killed",
    ),
    Rule(
        cause=SECRET_DENIED,
        pattern=_SECRETS,
        also=rf"{_DENIED}|\b(AWS)?KMS.{{0,80}}(not|pending|disabled|Exception)|kms:Decrypt|DecryptionFailure|"
        r"DisabledException|InvalidKeyId",
    ),
    Rule(
        cause=ENVIRONMENT_FILE,
        pattern=r"\benv(ironment)? ?files?\b",
        also=r"failed|unable|error|denied|invalid",
    ),
    Rule(cause=PLATFORM, pattern=rf"{_SECRETS}|registry auth|GetAuthorizationToken", also=_FAULT),
    Rule(
        cause=SECRET_FETCH,
        pattern=r"(unable to|failed to|cannot|can.t) (pull|retrieve|fetch)( \w{1,20}+){0,3} (secret|auth)|"
        r"unable to find execution role credentials",
    ),
    # Images. The reference that could not be resolved stands in all of them, and says nothing.
    Rule(cause=DISK_FULL, pattern=r"no space left on device|thin pool|ephemeral storage.{0,80}(full|exceed)"),
    Rule(
        cause=IMAGE_PLATFORM,
        pattern=r"descriptor (for|matching) platform|matching platform|no match(ing manifest)? for|"
        r"exec format error|operating system.{0,40}cannot be used|does not match.{0,40}platform",
    ),
    Rule(
        cause=IMAGE_DENIED,
        pattern=_PULL,
        also=rf"{_DENIED}|403 Forbidden|unauthorized|no basic auth|insufficient_scope|authorization failed|"
        r": denied\b|denied on resource|requested access to the resource is denied|failed to fetch anonymous token\W?$|"
        r"authorization token has expired|authentication is required|402 Payment Required|permissions? to pull",
    ),
    # It was reached, but spoke no TLS that the task trusts.
    Rule(cause=IMAGE_PULL, pattern=_PULL, also=r"x509|certificate|\btls: |gave HTTP response to HTTPS"),
    Rule(cause=IMAGE_NETWORK, pattern=_PULL, also=rf"{_UNREACHABLE}|nil pointer|invalid memory address"),
    Rule(
        cause=IMAGE_INVALID,
        pattern=_PULL,
        also=r"(invalid|image) reference|: object required|invalid.{0,40}manifest|media.?type|diffIDs|corrupt|"
        r"unexpected commit digest|mismatched image|cannot be mapped|tar header|gzip: invalid|failed size validation|"
        r"max depth exceeded|"
        r"(format|schema|manifest version)( [\w.-]{1,20}){0,3} (is |are )?(deprecated|disabled|not supported)",
    ),
    Rule(
        cause=IMAGE_NOT_FOUND,
        pattern=_PULL,
        also=r"not found|(manifest|name) unknown|not exist|\b404\b",
    ),
    Rule(cause=IMAGE_NOT_FOUND, pattern=r"\b(repository|image)( \S{1,255}+)? {1,2}not found|no such image"),
    Rule(cause=IMAGE_PULL, pattern=_PULL),
    # Roles and network.
    Rule(
        cause=ROLE,
        pattern=r"unable to assume|not authorized to perform: sts:AssumeRole|AssumeRole.{0,80}denied|"
        r"\brole is not valid|trust (relationship|policy).{0,40}(misconfigured|not|invalid|missing)",
    ),
    # Not a role lacks it, but the account.
    Rule(cause=BLOCKED, pattern=r"not have authorization to access the specified platform"),
    Rule(cause=ROLE_PERMISSION, pattern=rf"{_DENIED}|permissions? polic(y|ies).{{0,40}}misconfigured"),
    Rule(
        cause=NETWORK_WRONG,
        pattern=r"InvalidSubnetI?D?\.NotFound|InvalidGroup\.NotFound|InvalidSecurityGroup\w{0,10}\.NotFound|"
        r"(subnet ID|subnet|security group)s? .{0,80}(does|do) not exist|the same VPC|belong to different networks",
    ),
    Rule(
        cause=SUBNET_FULL,
        pattern=r"(insufficient|enough|no) free (IP )?address|InsufficientFreeAddresses",
    ),
    Rule(
        cause=NETWORK,
        pattern=r"network interface|(?<![\w/:-])ENI(?![\w/-])",
        also=r"error|fail|unable|time ?out|timed out|can.?t|could not|has no",
    ),
    Rule(
        cause=NETWORK,
        pattern=r"failed to (configure|set ?up) .{0,40}network|"
        r"ContainerNetworkingError|network namespace",
    ),
    # Health.
    Rule(
        cause=CONTAINER_UNHEALTHY, pattern=r"failed container health checks?|container.{0,40}health ?check.{0,20}fail"
    ),
    Rule(
        cause=TARGET_UNUSED,
        pattern=r"target group is not configured to receive|not associated with a load balancer|"
        r"not have an associated load balancer",
    ),
    Rule(
        cause=TARGET_ZONE,
        pattern=r"Availability Zone that is not enabled|not in a supported (Availability )?Zone|Target\.NotInUse",
    ),
    Rule(
        cause=TARGET_ABSENT,
        pattern=r"target( group)?s? (is |are )?not found|failed to register targets|not in the target group|"
        r"Target\.NotRegistered",
    ),
    Rule(cause=PLATFORM, pattern=r"health checks? failed due to an internal error|Elb\.InternalError"),
    Rule(cause=TARGET_CODE, pattern=r"health checks? failed with these codes|ResponseCodeMismatch"),
    Rule(cause=TARGET_TIMEOUT, pattern=r"unhealthy|health check|target.?group", also=r"timed out|Target\.Timeout"),
    Rule(
        cause=TARGET_UNHEALTHY,
        pattern=r"failed ELB health checks|FailedHealthChecks|is (unhealthy|not healthy) in |LATTICE_TARGET_UNHEALTHY",
    ),
    Rule(
        cause=DISCOVERY,
        pattern=r"(service discovery|cloud ?map|servicediscovery).{0,80}unhealthy|DISCOVERY_INSTANCE_UNHEALTHY",
    ),
    # The scheduler.
    Rule(cause=HOOK, pattern=r"lifecycle ?hook", also=r"fail|timed? ?out|unable"),
    Rule(cause=HOOK, pattern=r"(?<!prestart )(?<!running )(?<![/-])\bhooks?\b.{0,40}(fail|timed? ?out)"),
    Rule(
        cause=TRAFFIC,
        pattern=r"invalid networking configuration[.:] (?!ECS was unable).{20}|(production|test) ?listener ?rule|"
        r"listener rules?.{0,60}not found",
    ),
    Rule(
        cause=ALARM,
        pattern=r"(?<![\w/-])alarms?\b(?!-)",
        also=r"detected|triggered(?! policy)|breach|\bALARM state|in alarm\b|roll(ing|ed) back|deployment.failed",
    ),
    Rule(
        cause=ROLLBACK_REQUESTED,
        pattern=r"roll ?back (was )?requested|rolled back by (the )?user|deployment (was )?stopped by",
    ),
    Rule(cause=BACKOFF, pattern=r"unable to consistently start tasks|TASK_START_IMPAIRED"),
    Rule(cause=PERCENT_DEADLOCK, pattern=r"because of the service deployment configuration"),
    Rule(cause=PROTECTED, pattern=r"protected tasks|under protection|BY_TASK_PROTECTION|unable to scale in"),
    Rule(cause=BLOCKED, pattern=r"BlockedException|account (is|was|has been) (currently )?blocked|\bBLOCKED$"),
    Rule(
        cause=QUOTA,
        pattern=r"(reached|exceed(s|ed)) (the|your) (maximum )?limit|limit (was|is|has been) (reached|exceeded)|"
        r"maximum number of (?!attempts).{0,60}(reached|exceeded)|vCPU.{0,20}limit|"
        r"(?<![\w/-])(?<!disk )quotas?(?![\w/-]).{0,40}(reach|exceed)|"
        r"(reach|exceed|above|over)\w{0,3} .{0,40}(?<![\w/-])(?<!disk )quotas?(?![\w/-])",
    ),
    Rule(cause=SIZE, pattern=r"configuration is above your limit"),
    Rule(
        cause=PLACEMENT,
        pattern=r"no container.instances?|RESOURCE:(?!F)\w|(^|: )(AGENT|ATTRIBUTE|LOCATION)\.?$|ECS agent|"
        r"placement.constraint|the resources could not be found|empty capacity provider|no active instances",
    ),
    Rule(
        cause=CAPACITY,
        pattern=r"capacity is (currently )?unavailable|no capacity(?! provider)|insufficient ?(instance ?)?capacity|"
        r"Unfulfillable ?Capacity|unable to fulfill capacity|RESOURCE:FARGATE|"
        r"unable to place a task in |could not launch \d{1,6} task|TASK_PLACEMENT_FAILURE",
    ),
    # The container, by what its runtime says.
    Rule(
        cause=COMMAND_NOT_FOUND,
        pattern=r"executable file not found|\bexec\b.{0,60}(no such file|permission denied|is a directory)|"
        r"\bstat (?!/var/lib/).{0,120}no such file",
    ),
    Rule(
        cause=DEPENDENCY,
        pattern=r"dependsOn|dependent container|container.{0,40}dependenc|dependenc.{0,40}container|task dependenc",
        also=r"fail|timed? ?out|exited|unhealthy|\bnot\b|cannot|never",
    ),
    Rule(
        cause=START_FAILED,
        pattern=r"Cannot(Start|Create)ContainerError|failed to create (shim|new container runtime) task|"
        r"ContainerRuntime(Timeout)?Error|OCI runtime (create|start) failed|"
        r"starting container process caused|contains VOLUME|"
        r"not tran\w{3,10} to (created|started|running)",
    ),
    Rule(
        cause=PLATFORM,
        pattern=rf"{_FAULT}|Cannot(Inspect|Stop)ContainerError|CreateVolumeError|"
        r"not tran\w{3,10} to (inspecting|stopped)|waiting for \w{1,40} provisioning|cgroup resource|"
        r"SERVICE_HEALTH_UNKNOWN",
    ),
    Rule(
        cause=CONFIGURATION,
        pattern=r"TASK_CONFIGURATION_FAILURE|invalid configuration|ClientException|InvalidParameter|"
        r"not compatible with|Platform(TaskDefinitionIncompat|Unknown)|platform version.{0,40}(retired|not exist)|"
        r"HostConfigError|InvalidVolumeError|volume detection failed|"
        r"task ?definition.{0,120}(is inactive|does not exist|not found)|"
        r"ClusterNotFound|\bcluster (is |was )?(inactive|not found)",
    ),
    # What says no more than that tasks failed, whatever for.
    Rule(cause=BREAKER, pattern=r"circuit breaker|deployment.failed"),
    Rule(cause=ROLLBACK, pattern=r"rolling back|rolled back"),
    # The container, by its exit code alone.
    Rule(cause=ROUTER_EXITED, stop_codes=_EXITED, router=True),
    Rule(cause=COMMAND_NOT_FOUND, exit_codes=frozenset({126, 127})),
    Rule(cause=CRASHED, exit_codes=frozenset({132, 133, 134, 135, 136, 139, 159})),
    Rule(cause=KILLED, exit_codes=frozenset({137}), stop_codes=_EXITED),
    Rule(cause=TERMINATED, exit_codes=frozenset({143})),
    Rule(cause=EXITED_ZERO, exit_codes=frozenset({0}), stop_codes=_EXITED),
    Rule(cause=EXITED, stop_codes=_EXITED),
    Rule(cause=EXITED, pattern=r"essential container in task exited"),
    Rule(cause=STOPPED_BY_USER, pattern=r"stopped by user"),
    # What is no failure at all.
    Rule(cause=STEADY, pattern=r"reached a steady state|STEADY_STATE"),
    Rule(
        cause=PROGRESS,
        pattern=r"(started|stopped) \d{1,6} |draining connections|registered \d{1,6} (target|instance)|"
        r"(?<!unable to )AZ (re)?balanc|"
        r"deployment.{0,60}(completed|in.progress)|(?<!set )desired.?count|TASKS_(STARTED|STOPPED)|SERVICE_REBALANCING",
    ),
)


def causes() -> tuple[Cause, ...]:
    """Each cause once, in the order of the table."""
    return (*dict.fromkeys(rule.cause for rule in RULES), UNKNOWN)
