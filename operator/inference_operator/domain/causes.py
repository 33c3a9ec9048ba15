"""Why tasks stop and services complain: ECS's words, turned into a cause that comes with what to do about it. Pure.

The table is ordered: the first rule that fits wins, so what is specific stands before what is general. A rule matches
ideas and not sentences, as the wording changes with the agent's version. A text that is cut off before its reason, or
that no rule knows, is `Unknown`: a wrong cause sends people the wrong way. docs/reference/causes.md is made from it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    """A regular expression, searched without regard to case; empty fits every text."""
    stop_codes: frozenset[str] = frozenset()
    exit_codes: frozenset[int] = frozenset()
    router: bool | None = None
    """Whether the container is the log router; None: either."""

    def fits(self, fact: Fact) -> bool:
        return (
            (not self.stop_codes or fact.stop_code in self.stop_codes)
            and (not self.exit_codes or fact.exit_code in self.exit_codes)
            and (self.router is None or self.router == fact.router)
            and re.search(self.pattern, fact.text, re.IGNORECASE | re.DOTALL) is not None
        )


@dataclass(frozen=True, kw_only=True)
class Fact:
    """What there is to go by: the texts of a stopped task and of its container, or of one service event."""

    text: str
    stop_code: str | None = None
    exit_code: int | None = None
    router: bool = False
    """The container that is told of is the log router."""


def classify(fact: Fact) -> Cause:
    return next((rule.cause for rule in RULES if rule.fits(fact)), UNKNOWN)


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

# -- images

IMAGE_NOT_FOUND = _error(
    "ImageNotFound",
    "The registry has no such image: the repository, tag or digest is wrong, or the image was deleted.",
    "Push the image, or set spec.image to one that exists.",
)
IMAGE_PLATFORM = _error(
    "ImagePlatformMismatch",
    "The image was built for another processor architecture than the task's.",
    "Build spec.image for linux/amd64 (or for several platforms), or match the architecture.",
)
IMAGE_DENIED = _error(
    "ImageAccessDenied",
    "The registry did not let the execution role in, or knows no such repository and won't say so.",
    "Allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer to the environment's executionRoleArn, and check the "
    "repository's policy and the name in spec.image.",
)
IMAGE_RATE_LIMIT = _error(
    "ImagePullRateLimited",
    "The public registry limits how often images are pulled without an account.",
    "Mirror the image to ECR, and set spec.image to the copy.",
)
IMAGE_NETWORK = _error(
    "ImageRegistryUnreachable",
    "The task could not reach the image registry.",
    "Give the environment's network.subnets a route: a NAT gateway, network.assignPublicIp in a public subnet, or VPC"
    " endpoints for ecr.api, ecr.dkr and S3.",
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
    "Use a smaller image or smaller models, or ask for more ephemeral storage (20 GiB is the default).",
)

# -- secrets and configuration

SECRET_DENIED = _error(
    "SecretAccessDenied",
    "The execution role may not read a secret or parameter, or may not decrypt it.",
    "Allow secretsmanager:GetSecretValue or ssm:GetParameters (and kms:Decrypt) on it to the environment's"
    " executionRoleArn.",
)
SECRET_NOT_FOUND = _error(
    "SecretNotFound",
    "A secret or parameter does not exist, or has no current version.",
    "Create it, or mend the reference in spec.secrets.",
)
SECRET_KEY = _error(
    "SecretKeyMissing",
    "The secret is not JSON, or lacks the key that is asked for.",
    "Add the key to the secret, or mend the `:key:` in spec.secrets.",
)
SECRET_NETWORK = _error(
    "SecretStoreUnreachable",
    "The task could not reach Secrets Manager, Systems Manager or ECR's login.",
    "Give the subnets a route to them: a NAT gateway, or VPC endpoints for secretsmanager, ssm, ecr.api and kms.",
)
REGISTRY_LOGIN_DENIED = _error(
    "RegistryLoginDenied",
    "The execution role may not log in to ECR.",
    "Allow ecr:GetAuthorizationToken to the environment's executionRoleArn.",
)
ENVIRONMENT_FILE = _error(
    "EnvironmentFileFailed",
    "An environment file could not be read from S3.",
    "Check that it exists and that the execution role may s3:GetObject it.",
)

# -- EFS

EFS_DENIED = _error(
    "EfsAccessDenied",
    "EFS refused the mount: the task role, the file system's policy or the access point does not allow it.",
    "Allow elasticfilesystem:ClientMount on the file system to the environment's taskRoleArn, and check the file"
    " system's policy.",
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
    "Let tcp 2049 into the mount targets' security group from the environment's network.securityGroups.",
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
    "Read the text; check mount targets, security groups and roles.",
)

# -- logs

LOG_GROUP_MISSING = _error(
    "LogGroupMissing",
    "The log group that the container writes to does not exist.",
    "Nothing if the operator makes it (see LogGroupReady); else create it, or allow logs:CreateLogGroup.",
)
LOG_DENIED = _error(
    "LogAccessDenied",
    "The execution role may not write to CloudWatch Logs.",
    "Allow logs:CreateLogStream and logs:PutLogEvents on the log group to the environment's executionRoleArn.",
)
LOG_NETWORK = _error(
    "LogServiceUnreachable",
    "The task could not reach CloudWatch Logs.",
    "Give the subnets a route to it: a NAT gateway, or a VPC endpoint for logs.",
)
LOG_DRIVER = _error(
    "LogDriverFailed",
    "The container's log driver did not start.",
    "Read the text; check the logging part of the spec.",
)
ROUTER_EXITED = _error(
    "LogRouterExited",
    "The log router ended, and took the task with it.",
    "Read the router's own log: most often its configuration or its memory is at fault.",
)

# -- the container

OUT_OF_MEMORY = _error(
    "OutOfMemory",
    "A container used more memory than it may, and was killed.",
    "Raise spec.memory, lower INFERENCE_WORKERS, or serve smaller models.",
)
ROUTER_OUT_OF_MEMORY = _error(
    "LogRouterOutOfMemory", "The log router used more memory than it may.", "Raise the router's memory."
)
COMMAND_NOT_FOUND = _error(
    "CommandNotFound",
    "The container's program does not exist in the image, or may not be run.",
    "Check the image's entry point, spec.command, and that the file is executable.",
)
START_FAILED = _error(
    "ContainerStartFailed",
    "The container could not be created or started.",
    "Check spec.command, user and image; the text has the runtime's reason.",
)
CRASHED = _error(
    "ContainerCrashed",
    "The program ended by a fault of its own (a segmentation fault, an abort).",
    "Read the container's log; try the image with the same models locally.",
)
KILLED = _error(
    "ContainerKilled",
    "The container was killed (137): for its memory, or because it did not end within its stop timeout.",
    "If it was running: raise spec.memory. If it was being stopped: shorten the drain or raise the stop timeout.",
)
EXITED = _error(
    "ContainerExited",
    "The program ended with an error.",
    "Read the container's log: its last lines say why (a model that does not load, a wrong setting).",
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
    "Look at the other containers of the task.",
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

# -- capacity, quotas, platform

CAPACITY = _warning(
    "CapacityUnavailable",
    "Fargate has no capacity of this size in these availability zones at the moment.",
    "Wait, add subnets in more availability zones, or use another size.",
)
SPOT = _warning(
    "SpotInterrupted",
    "AWS took Spot capacity back.",
    "Keep a base of on-demand tasks (capacity with provider FARGATE).",
)
QUOTA = _error(
    "QuotaReached",
    "A quota of the account is reached.",
    "Raise it in Service Quotas (Fargate vCPUs or tasks), or scale down.",
)
SIZE = _error(
    "SizeAboveLimit",
    "The account may not run tasks of this size.",
    "Lower spec.cpu or spec.memory, or raise the limit.",
)
NETWORK = _warning(
    "NetworkInterfaceFailed",
    "The task's network interface could not be made or attached.",
    "If it lasts: check free addresses in the subnets, the quota of network interfaces, and the security groups'"
    " existence.",
)
SUBNET_FULL = _error(
    "SubnetFull",
    "A subnet has no free addresses.",
    "Use larger subnets, or more of them, in the environment's network.subnets.",
)
THROTTLED = _warning("AwsThrottled", "AWS limits how fast ECS may call another service.", "Nothing: ECS tries again.")
ROLE = _error(
    "RoleNotAssumable",
    "ECS may not use a role: it does not exist, or does not trust ecs-tasks.amazonaws.com.",
    "Check the environment's executionRoleArn and taskRoleArn and their trust policies.",
)
MAINTENANCE = _info(
    "InfrastructureMaintenance", "AWS replaces the host of the task.", "Nothing to do: ECS has started another task."
)
PLATFORM = _warning("PlatformError", "The platform failed, not the task.", "Nothing at first: ECS tries again.")
BACKOFF = _error(
    "StartBackoff",
    "Tasks failed to start again and again, so ECS waits longer and longer between tries (15 minutes and more).",
    "Mend the cause of the stopped tasks; a new revision starts at once.",
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
    "Look at the stopped tasks for the cause, then change the spec.",
)
ALARM = _error(
    "DeploymentAlarm", "A CloudWatch alarm of the rollout went off.", "Look at the alarm; then change the spec."
)
CONFIGURATION = _error(
    "TaskConfigurationRefused",
    "ECS could not use the task's configuration.",
    "Read the text; change what it names in the spec or the environment.",
)
DISCOVERY = _error(
    "ServiceDiscoveryUnhealthy",
    "Service discovery calls the task unhealthy.",
    "Check the health of the task and the namespace.",
)

# -- the normal course

SCALING = _info("Scaling", "The scheduler no longer needed the task.")
STOPPED_BY_USER = _info("StoppedByUser", "Somebody stopped the task.", "Nothing to do: ECS starts another one.")
ROLLBACK = _warning(
    "RollingBack", "ECS goes back to the last revision that worked.", "Find the cause in the stopped tasks."
)
PROGRESS = _info("Progress", "Tasks are started, stopped, registered or drained.")
STEADY = _info("SteadyState", "The service is at rest.")

_RESOURCE = "ResourceInitializationError"
_PULL = r"CannotPull\w*Error|CannotPullECRContainerError|pull image manifest|unable to pull.{0,40}image"
_DENIED = r"AccessDenied|not authorized|no identity-based policy|access denied|UnauthorizedOperation"
_UNREACHABLE = (
    r"i/o timeout|context deadline exceeded|context canceled|request canceled|dial tcp|connection"
    r" (refused|reset|issue)|"
    r"TLS handshake timeout|no such host|Client\.Timeout|RequestCanceled|unable to (connect|reach)|connection"
    r" timed out"
)
_EFS = r"EFS|file ?system"
_LOGS = r"logger args|logging driver|log ?group|awslogs|CloudWatch|log stream|log driver"
_SECRETS = (
    r"unable to (pull|retrieve) secrets?|secrets? (manager|from)|ssm|GetSecretValue|GetParameters|retrieve secret"
)

_STARTED = frozenset({"EssentialContainerExited"})

RULES: tuple[Rule, ...] = (
    # Texts that only look like a failure.
    Rule(cause=SPOT, pattern=r"spot (task|instance|capacity).{0,20}interrupt|TerminationNotice"),
    Rule(cause=SPOT, stop_codes=frozenset({"SpotInterruption", "TerminationNotice"})),
    Rule(cause=MAINTENANCE, pattern=r"maintenance on the underlying|scheduled for retirement|task retirement"),
    Rule(cause=MAINTENANCE, stop_codes=frozenset({"InfrastructureHealth"})),
    Rule(cause=SCALING, pattern=r"scaling activity initiated by"),
    # Memory comes before all else: it hides behind other errors and even behind exit code 0.
    Rule(cause=ROUTER_OUT_OF_MEMORY, pattern=r"OutOfMemory|OOM-?killed", router=True),
    Rule(cause=OUT_OF_MEMORY, pattern=r"OutOfMemory|OOM-?killed|container killed due to memory|cannot allocate memory"),
    # Logging.
    Rule(cause=LOG_DENIED, pattern=rf"({_LOGS}).*({_DENIED})|({_DENIED}).*logs:(Create|Put)"),
    Rule(cause=LOG_NETWORK, pattern=rf"({_LOGS}).*({_UNREACHABLE})"),
    Rule(cause=LOG_GROUP_MISSING, pattern=r"log ?group.{0,80}(does not exist|not found)|logger args.*ResourceNotFound"),
    Rule(cause=LOG_DRIVER, pattern=r"(failed to initialize|initiali[sz]e) logging driver|validate logger args"),
    # EFS.
    Rule(
        cause=EFS_DENIED,
        pattern=rf"({_EFS}).*(access denied by server|{_DENIED}|permission denied)|mount\.nfs4?: access denied",
    ),
    Rule(
        cause=EFS_DNS, pattern=r"failed to resolve \"?fs-|fs-[0-9a-f]+\S*\.(efs|amazonaws)\S*.*(resolve|no such host)"
    ),
    Rule(cause=EFS_DNS, pattern=rf"({_EFS}).*(mount target.{{0,60}}(not|no)|no mount target|NXDOMAIN)"),
    Rule(cause=EFS_MISSING, pattern=rf"({_EFS}|mount\.nfs4?).*(No such file or directory|does not exist on)"),
    Rule(
        cause=EFS_ACCESS_POINT,
        pattern=r"access ?point.{0,120}(not exist|not found|invalid|not available|unable to create|failed to create)|"
        r"AccessPointNotFound|fsap-\w+.{0,80}(not|invalid)",
    ),
    Rule(
        cause=EFS_TIMEOUT,
        pattern=(
            rf"({_EFS}).*(timed? ?out|timeout|mount system call failed|connection"
            r" (refused|reset))|mount\.nfs4?:.*timed out"
        ),
    ),
    Rule(cause=EFS_FAILED, pattern=r"EFS utils|mount\.nfs4?:|set up EFS|CannotCreateVolumeError.*EFS"),
    Rule(cause=EFS_FAILED, pattern=r"chown.{0,120}operation not permitted"),
    # Secrets and the registry's login, which come in one sentence.
    Rule(
        cause=SECRET_KEY,
        pattern=r"did not contain json key|retrieved secret.*(json|key)|invalid character.*(value|JSON)",
    ),
    Rule(
        cause=SECRET_NOT_FOUND,
        pattern=rf"({_SECRETS}).*(ResourceNotFound|can't find the specified secret|AWSCURRENT|invalid parameters?|"
        r"ParameterNotFound|staging label)|invalid ssm parameters",
    ),
    Rule(
        cause=REGISTRY_LOGIN_DENIED, pattern=rf"({_DENIED}).*GetAuthorizationToken|GetAuthorizationToken.*({_DENIED})"
    ),
    Rule(cause=SECRET_DENIED, pattern=rf"({_SECRETS}).*({_DENIED}|KMS|AccessDeniedException)"),
    Rule(cause=SECRET_NETWORK, pattern=rf"({_SECRETS}|registry auth).*({_UNREACHABLE})"),
    Rule(
        cause=ENVIRONMENT_FILE,
        pattern=r"environment files?.*(failed|unable|error|denied)|(failed|unable).*environment files?",
    ),
    # Images.
    Rule(cause=DISK_FULL, pattern=r"no space left on device|thin pool|ephemeral storage.*(full|exceed)"),
    Rule(
        cause=IMAGE_PLATFORM,
        pattern=(
            r"descriptor matching platform|no matching manifest for|exec format error|does not match.{0,40}platform"
        ),
    ),
    Rule(cause=IMAGE_RATE_LIMIT, pattern=r"toomanyrequests|pull rate limit|rate exceeded.*pull|Too Many Requests"),
    Rule(
        cause=IMAGE_DENIED,
        pattern=(
            rf"({_PULL}).*(pull access denied|403 Forbidden|401 Unauthorized|{_DENIED}|no basic"
            r" auth|insufficient_scope|"
            r"authorization failed|unauthorized|requested access to the resource is denied)"
        ),
    ),
    Rule(
        cause=IMAGE_NOT_FOUND,
        pattern=(
            rf"({_PULL}).*(not found|manifest unknown|failed to resolve ref|does not exist|repository .{{0,200}}not"
            r" found|"
            r"name unknown)"
        ),
    ),
    Rule(
        cause=IMAGE_INVALID,
        pattern=rf"({_PULL}).*(invalid reference|invalid.{{0,40}}manifest|unsupported.{{0,40}}media)",
    ),
    Rule(cause=IMAGE_NETWORK, pattern=rf"({_PULL}).*({_UNREACHABLE})"),
    Rule(cause=IMAGE_PULL, pattern=rf"({_PULL}).*\w+:.{{20,}}"),
    # Roles and network.
    Rule(
        cause=ROLE,
        pattern=(
            r"unable to assume the (role|service)|not authorized to perform: sts:AssumeRole|AssumeRole.{0,80}denied"
        ),
    ),
    Rule(
        cause=SUBNET_FULL,
        pattern=(
            r"(insufficient|not enough|no) free addresses|InsufficientFreeAddresses|subnet.{0,80}free (ip )?address"
        ),
    ),
    Rule(
        cause=NETWORK,
        pattern=r"network interface|\bENI\b|Create Network Interface|AttachNetworkInterface|network configuration|"
        r"failed to (configure|set ?up) .{0,40}network|RequestLimitExceeded",
    ),
    # Health.
    Rule(
        cause=CONTAINER_UNHEALTHY, pattern=r"failed container health checks?|container.{0,40}health ?check.{0,20}fail"
    ),
    Rule(cause=TARGET_CODE, pattern=r"health checks? failed with these codes|ResponseCodeMismatch"),
    Rule(
        cause=TARGET_TIMEOUT,
        pattern=r"(unhealthy|health check|target).{0,200}(request timed out|Target\.Timeout|connection timed out)",
    ),
    Rule(
        cause=TARGET_UNHEALTHY,
        pattern=r"failed ELB health checks|is unhealthy in .{0,20}(target[- ]group|elb)|port \d+\)? is unhealthy",
    ),
    Rule(
        cause=DISCOVERY,
        pattern=r"(service discovery|cloud ?map|servicediscovery).{0,80}unhealthy|DISCOVERY_INSTANCE_UNHEALTHY",
    ),
    # The scheduler.
    Rule(cause=ALARM, pattern=r"deployment failed: alarm|alarms? (detected|went)|CloudWatch alarm"),
    Rule(cause=ROLLBACK, pattern=r"rolling back to deployment"),
    Rule(cause=BREAKER, pattern=r"deployment failed|circuit breaker"),
    Rule(cause=BACKOFF, pattern=r"unable to consistently start tasks"),
    Rule(cause=THROTTLED, pattern=r"operations are being throttled|THROTTL|Rate exceeded"),
    Rule(cause=PERCENT_DEADLOCK, pattern=r"because of the service deployment configuration"),
    Rule(cause=PROTECTED, pattern=r"protected tasks|task protection|unable to scale in"),
    Rule(
        cause=QUOTA,
        pattern=(
            r"(reached|exceeded) the limit on the number|vCPU.{0,20}limit|limit.{0,40}(vCPU|tasks you can run)|quota"
        ),
    ),
    Rule(cause=SIZE, pattern=r"configuration is above your limit"),
    Rule(
        cause=CAPACITY,
        pattern=r"capacity is (currently )?unavailable|no capacity|RESOURCE:FARGATE|insufficient capacity",
    ),
    Rule(cause=CAPACITY, pattern=r"unable to place a task in (the )?(AZ|availability zone)"),
    # The container, by what its runtime says.
    Rule(
        cause=COMMAND_NOT_FOUND,
        pattern=(
            r"executable file not found|no such file or directory.{0,40}(unknown|exec)|exec.{0,60}(no such"
            r" file|permission denied)|"
            r"stat .{0,120}no such file"
        ),
    ),
    Rule(cause=DEPENDENCY, pattern=r"dependency|dependsOn|dependent container"),
    Rule(
        cause=START_FAILED,
        pattern=(
            r"Cannot(Start|Create)ContainerError: .{10,}|ContainerRuntime(Timeout)?Error: .{10,}|OCI runtime create"
            r" failed"
        ),
    ),
    Rule(
        cause=PLATFORM,
        pattern=(
            r"Cannot(Inspect|Stop)ContainerError|CannotCreateVolumeError|InternalError|Internal error|agent"
            r" disconnected"
        ),
    ),
    Rule(cause=CONFIGURATION, pattern=r"TASK_CONFIGURATION_FAILURE|invalid configuration|ClientException"),
    # The container, by its exit code alone.
    Rule(cause=ROUTER_EXITED, stop_codes=_STARTED, router=True),
    Rule(cause=COMMAND_NOT_FOUND, exit_codes=frozenset({126, 127})),
    Rule(cause=CRASHED, exit_codes=frozenset({132, 134, 135, 136, 139})),
    Rule(cause=KILLED, exit_codes=frozenset({137}), stop_codes=frozenset({"EssentialContainerExited"})),
    Rule(cause=TERMINATED, exit_codes=frozenset({143})),
    Rule(cause=EXITED_ZERO, exit_codes=frozenset({0}), stop_codes=_STARTED),
    Rule(cause=EXITED, stop_codes=_STARTED),
    Rule(cause=EXITED, pattern=r"essential container in task exited"),
    Rule(cause=STOPPED_BY_USER, stop_codes=frozenset({"UserInitiated"})),
    Rule(cause=STOPPED_BY_USER, pattern=r"task stopped by user|stopped by user"),
    # What is no failure at all.
    Rule(cause=STEADY, pattern=r"has reached a steady state|is AZ balanced with"),
    Rule(
        cause=PROGRESS,
        pattern=(
            r"has (started|stopped) \d+|has begun draining|(de)?registered \d+ (targets?|instances?)|deployment"
            r" completed|"
            r"Rebalancing in progress|desired count"
        ),
    ),
)


def causes() -> tuple[Cause, ...]:
    """Each cause once, in the order of the table."""
    return (*dict.fromkeys(rule.cause for rule in RULES), UNKNOWN)
