"""What can be at fault where tasks stop and services complain, and what to do about it. Pure.

Which of them a text tells of is told in `diagnosis`. docs/reference/causes.md is made from both.
"""

from __future__ import annotations

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

_ELSEWHERE = (
    " Where the text tells of another policy (a VPC endpoint's, a service control policy, a resource control policy, a"
    " permissions boundary, the resource's own), allow it there."
)
"""A role's own permissions are not all that can refuse it something."""

_ROUTE = "Give the environment's network.subnets a route: a NAT gateway, network.assignPublicIp in a public subnet, or"
_HTTPS = " Let tcp 443 out of network.securityGroups and into those of the endpoints."

_IMAGE = "spec.image (or sidecars.image, logging.router.image)"

_TASK_ROLE = "the task's role (spec.taskRoleArn, else the environment's)"

# -- images

IMAGE_NOT_FOUND = _error(
    "ImageNotFound",
    "The registry has no such image: the repository, tag or digest is wrong, or the image was deleted.",
    f"Push the image, or set {_IMAGE} to one that exists.",
)
IMAGE_PLATFORM = _error(
    "ImagePlatformMismatch",
    "The image was built for another processor architecture than the task's.",
    f"Build {_IMAGE} for the platform of spec.architecture (linux/amd64, or linux/arm64 for ARM64) or for both, or"
    " set spec.architecture to that of the image.",
)
IMAGE_DENIED = _error(
    "ImageAccessDenied",
    "The registry did not let the execution role in, or knows no such repository and won't say so.",
    "Allow ecr:BatchGetImage and ecr:GetDownloadUrlForLayer to the environment's executionRoleArn, and check the name"
    f" in {_IMAGE}, the repository's policy, that its KMS key is enabled, and the policies of the VPC endpoints for ECR"
    " and S3. A registry outside ECR is asked without credentials: have a private image in ECR, or in a pull-through"
    " cache whose credentials are good." + _ELSEWHERE,
)
IMAGE_RATE_LIMIT = _error(
    "ImagePullRateLimited",
    "The registry limits how often images are pulled, mostly without an account.",
    f"Mirror the image to ECR, and set {_IMAGE} to the copy. If it is there already, nothing: ECS tries again.",
)
IMAGE_NETWORK = _error(
    "ImageRegistryUnreachable",
    "The task could not reach the image registry.",
    f"{_ROUTE} VPC endpoints for ecr.api, ecr.dkr and S3, which lead to ECR's private repositories alone: copy any"
    f" other image there, logging.router.image too.{_HTTPS} If its name does not resolve, mend the host in spec.image.",
)
IMAGE_INVALID = _error(
    "ImageInvalid",
    "The image reference is malformed, or its manifest can't be used.",
    f"Mend {_IMAGE}, or push the image again.",
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
    " executionRoleArn, and see that its KMS key exists and is enabled." + _ELSEWHERE,
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
    "Read the log of the router's container: most often its logging configuration or its memory is to be changed, or "
    "its image: one before aws-for-fluent-bit 3.5.10 does not know all that routes are made of.",
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
    "Wait if AWS still validates the account, else ask AWS Support to lift its block: nothing in the spec helps.",
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
