"""The table of causes, measured against real texts of ECS that its patterns were not written from."""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import replace
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from inference_operator.api.v1alpha1 import InferenceDeployment, InferenceEnvironment
from inference_operator.domain import diagnosis, failures
from inference_operator.domain.causes import Severity
from inference_operator.domain.diagnosis import RULES, Fact, classify, known, rule_for

DATA = Path(__file__).parent / "data"


@cache
def corpus() -> tuple[dict[str, Any], ...]:
    return tuple(yaml.safe_load((DATA / "failure_texts.yaml").read_text()))


@cache
def later() -> tuple[dict[str, Any], ...]:
    """Texts that were found only after the patterns had been written."""
    return tuple(yaml.safe_load((DATA / "failure_texts_later.yaml").read_text()))


@cache
def remembered() -> tuple[dict[str, Any], ...]:
    """Texts that were written down from memory before the patterns were looked at, and some after it."""
    return tuple(yaml.safe_load((DATA / "failure_texts_remembered.yaml").read_text()))


def fact(entry: dict[str, Any]) -> Fact:
    return Fact(
        text=entry["text"],
        stop_code=entry.get("stop_code"),
        exit_code=entry.get("exit_code"),
        router=entry.get("container") == failures.ROUTER,
    )


def missed(entries: tuple[dict[str, Any], ...]) -> list[str]:
    """Those that get another cause than a person gave them, one a line."""
    got = [(entry, classify(fact(entry)).name) for entry in entries]
    return [f"{name}, not {entry['cause']}: {entry['text']}" for entry, name in got if name != entry["cause"]]


SEEN = tuple(entry for entry in corpus() if not entry.get("held_out"))
NAMES = diagnosis._NAMES.pattern
NEVER = diagnosis._DID_NOT_HAPPEN.pattern
HELD_OUT = tuple(entry for entry in corpus() if entry.get("held_out"))

# For what no text of the corpus that may be looked at tells of: documented stop codes, exit codes, and rarer errors.
EXAMPLES: tuple[tuple[Fact, str], ...] = (
    (Fact(text="Service deployment rollback was requested by the user."), "RollbackRequested"),
    (
        Fact(text="AccessDeniedException: You do not have authorization to access the specified platform."),
        "AccountBlocked",
    ),
    (Fact(text="", stop_code="TerminationNotice"), "SpotInterrupted"),
    (Fact(text="", stop_code="InfrastructureHealth"), "InfrastructureMaintenance"),
    (
        Fact(text="OutOfMemoryError: Container killed due to memory usage", exit_code=137, router=True),
        "LogRouterOutOfMemory",
    ),
    (
        Fact(
            text="failed to validate logger args: AccessDeniedException: not authorized to perform: logs:CreateLogGroup"
        ),
        "LogAccessDenied",
    ),
    (Fact(text="failed to validate logger args: create stream: ResourceNotFoundException"), "LogGroupMissing"),
    (Fact(text="failed to initialize logging driver: unix fluent.sock: connection refused"), "LogDriverFailed"),
    (Fact(text="failed to initialize logging driver: NoCredentialProviders: no valid providers"), "LogDriverFailed"),
    (Fact(text="EFS: the access point fsap-0123456789abcdef0 does not exist"), "EfsAccessPointUnusable"),
    (Fact(text="failed to chown /var/lib/x: lchown /var/lib/x: operation not permitted"), "EfsMountFailed"),
    (
        Fact(text="AccessDeniedException: User: x is not authorized to perform: ecr:GetAuthorizationToken"),
        "RegistryLoginDenied",
    ),
    (
        Fact(text="failed to download env files: file download command: non empty error stream: RequestCanceled"),
        "EnvironmentFileFailed",
    ),
    (Fact(text="Create Network Interface in subnet: InsufficientFreeAddressesInSubnet"), "SubnetFull"),
    (Fact(text="is unhealthy in (target-group x) due to (reason Target.NotInUse)"), "TargetZoneDisabled"),
    (
        Fact(text="Both target groups must be associated with the productionListenerRule or testListenerRule."),
        "TrafficShiftRefused",
    ),
    (Fact(text="SERVICE_DISCOVERY_INSTANCE_UNHEALTHY"), "ServiceDiscoveryUnhealthy"),
    (
        Fact(text="dependency graph: container ordering dependency [model] for target [app] has timed out."),
        "DependencyFailed",
    ),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=1, router=True), "LogRouterExited"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=127), "CommandNotFound"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=139), "ContainerCrashed"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=137), "ContainerKilled"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=143), "ContainerTerminated"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=0), "ContainerFinished"),
    (Fact(text="", stop_code="EssentialContainerExited", exit_code=3), "ContainerExited"),
    (Fact(text="Essential container in task exited"), "ContainerExited"),
    (Fact(text="Task stopped by user"), "StoppedByUser"),
    (
        Fact(text='CannotPullContainerError: failed to do request: Head "https://r/v2/": tls: failed: x509: unknown'),
        "ImagePullFailed",
    ),
    (Fact(text="unable to retrieve secrets from ssm: ThrottlingException: Rate exceeded"), "AwsThrottled"),
    (Fact(text="failed to register targets in (target-group t) with (error Rate exceeded)"), "AwsThrottled"),
    (Fact(text="toomanyrequests: Rate exceeded"), "ImagePullRateLimited"),
    (Fact(text="failed to fetch secret a from secrets manager: RateLimitExceeded"), "AwsThrottled"),
    (Fact(text="BlockedException: Your account is currently blocked"), "AccountBlocked"),
    (  # API reference, RunTask
        Fact(text="(service shop) was unable to place a task. Reason: Your AWS account was blocked."),
        "AccountBlocked",
    ),
    (  # the developer guide's form, with an error of DescribeTargetHealth's
        Fact(
            text="(service shop) failed to describe target health on target-group shop-tg with "
            "(error One or more target groups not found)"
        ),
        "TargetNotRegistered",
    ),
    (
        Fact(
            text="(service s) (task t) (port 80) is unhealthy in (target-group t) due to (reason Target group is not "
            "configured to receive traffic from the load balancer)"
        ),
        "TargetGroupUnused",
    ),
    (
        Fact(text="failed to launch a task with (error Security group sg-1 does not appear to belong to the same VPC)"),
        "NetworkMisconfigured",
    ),
    (Fact(text="failed to launch a task with (error TaskDefinition is inactive)"), "TaskConfigurationRefused"),
    (Fact(text="The target group arn:x does not have an associated load balancer."), "TargetGroupUnused"),
    (Fact(text="The task was stopped: its underlying host is degraded."), "InfrastructureMaintenance"),
    (
        Fact(text="not authorized to perform: cloudwatch:DescribeAlarms (Amazon CloudWatch alarms)"),
        "RolePermissionMissing",
    ),
    (Fact(text="unable to retrieve ecr registry auth: AccessDeniedException: User"), "RegistryLoginDenied"),
    (
        Fact(text="unable to retrieve secrets from ssm: cannot find parameters: invalid ssm parameters: /a/kms"),
        "SecretNotFound",
    ),
    (Fact(text="CannotPullContainerError: denied: Your Authorization Token has expired."), "ImageAccessDenied"),
    (Fact(text="CannotPullContainerError: failed to register layer: archive/tar: invalid tar header"), "ImageInvalid"),
    (Fact(text="CannotStartContainerError: error running prestart hook #0: failed: nvml"), "ContainerStartFailed"),
    (
        Fact(text="CannotCreateContainerError: stat /var/lib/docker/x: no such file or directory"),
        "ContainerStartFailed",
    ),
    (
        Fact(text="Unexpected EC2 error while attempting to Create Network Interface: NetworkInterfaceLimitExceeded"),
        "QuotaReached",
    ),
    (Fact(text="The requested Fargate platform version 1.2.0 is retired."), "TaskConfigurationRefused"),
    (Fact(text="(service s) updated computedDesiredCount for taskSet ecs-svc/1 to 3."), "Progress"),
    (Fact(text="InternalServerError: try again"), "PlatformError"),
    (
        Fact(
            text="failed to validate logger args: failed to create Cloudwatch log stream: ServiceUnavailableException"
        ),
        "PlatformError",
    ),
    (
        Fact(text="failed to fetch secret a from secrets manager: InternalServiceError: An error occurred"),
        "PlatformError",
    ),
    (
        Fact(text="failed to validate logger args: failed to create Cloudwatch log stream: LimitExceededException"),
        "QuotaReached",
    ),
    (Fact(text="failed to register targets in (target-group t) with (error TooManyTargets)"), "QuotaReached"),
    (Fact(text="ClusterNotFoundException: The referenced cluster was inactive."), "TaskConfigurationRefused"),
    (Fact(text="repository acme/app not found"), "ImageNotFound"),
    (Fact(text="starting caused: applying cgroup: mkdir /sys/fs: cannot allocate memory"), "ContainerStartFailed"),
    (Fact(text="CannotStartContainerError: write /x: disk quota exceeded"), "ContainerStartFailed"),
    (
        Fact(text="Successfully set desired count to 2. Cause: monitor alarm a in state ALARM triggered policy p"),
        "Progress",
    ),
    (Fact(text="ContainerNetworkingError: failed to configure the task's network"), "NetworkInterfaceFailed"),
    (Fact(text="deployment failed: hook execution failure(s) detected"), "LifecycleHookFailed"),
    (Fact(text="is unhealthy in (target-group x) due to (reason Target.NotRegistered)"), "TargetNotRegistered"),
    (Fact(text="reason Target.FailedHealthChecks"), "TargetUnhealthy"),
    (
        Fact(text="is unhealthy in (target-group x) due to (reason Health checks failed due to an internal error)"),
        "PlatformError",
    ),
    (
        Fact(
            text="error pulling image configuration: error parsing HTTP 403 response body: invalid character '<' "
            'looking for beginning of value: "<Code>AccessDenied</Code>"'
        ),
        "ImageAccessDenied",
    ),
    (Fact(text="Host EC2 (instance i-1) terminated. Spot interruption"), "SpotInterrupted"),
    (Fact(text="The VPC would be over the quota of interfaces: quota 5000 is exceeded"), "QuotaReached"),
    (Fact(text="Too many tasks: 21 above the quota of 20"), "QuotaReached"),
    (Fact(text="ECS was unable to use it: the trust policy does not name ecs-tasks.amazonaws.com"), "RoleNotAssumable"),
    (
        Fact(text="Failed to set desired count to 5. Cause: monitor alarm a in state ALARM triggered policy p"),
        "Unknown",
    ),
)

SERVICE_ACTIONS = {
    "SERVICE_STEADY_STATE": "SteadyState",
    "TASKSET_STEADY_STATE": "SteadyState",
    "CAPACITY_PROVIDER_STEADY_STATE": "SteadyState",
    "SERVICE_DESIRED_COUNT_UPDATED": "Progress",
    "TASKS_STARTED": "Progress",
    "TASKS_STOPPED": "Progress",
    "SERVICE_DEPLOYMENT_IN_PROGRESS": "Progress",
    "SERVICE_DEPLOYMENT_COMPLETED": "Progress",
    "SERVICE_DEPLOYMENT_FAILED": "CircuitBreaker",
    "SERVICE_REBALANCING_STARTED": "Progress",
    "SERVICE_REBALANCING_COMPLETED": "Progress",
    "SERVICE_REBALANCING_STOPPED": "Progress",
    "TASKSET_SCALE_IN_FAILURE_BY_TASK_PROTECTION": "TaskProtected",
    "SERVICE_TASK_START_IMPAIRED": "StartBackoff",
    "SERVICE_DISCOVERY_INSTANCE_UNHEALTHY": "ServiceDiscoveryUnhealthy",
    "VPC_LATTICE_TARGET_UNHEALTHY": "TargetUnhealthy",
    "SERVICE_DAEMON_PLACEMENT_CONSTRAINT_VIOLATED": "PlacementFailed",
    "ECS_OPERATION_THROTTLED": "AwsThrottled",
    "SERVICE_DISCOVERY_OPERATION_THROTTLED": "AwsThrottled",
    "SERVICE_TASK_PLACEMENT_FAILURE": "CapacityUnavailable",
    "SERVICE_TASK_PLACEMENT_FAILURE RESOURCE:FARGATE": "CapacityUnavailable",
    "SERVICE_TASK_PLACEMENT_FAILURE RESOURCE:CPU": "PlacementFailed",
    "SERVICE_TASK_CONFIGURATION_FAILURE": "TaskConfigurationRefused",
    "SERVICE_HEALTH_UNKNOWN": "PlatformError",
}
"""Names of "ECS Service Action" and "ECS Deployment State Change" (developer guide, "Amazon ECS service action
events" and "Track Availability Zone rebalancing"), some with their `reason`."""


@pytest.mark.parametrize("entry", SEEN, ids=lambda entry: f"{entry['cause']}: {entry['text'][-40:]}")
def test_a_real_text_gets_the_cause_that_a_person_gave_it(entry: dict[str, Any]) -> None:
    assert classify(fact(entry)).name == entry["cause"], entry["meaning"]


@pytest.mark.parametrize(("example", "cause"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_rarer_failure_gets_its_cause(example: Fact, cause: str) -> None:
    assert classify(example).name == cause


@pytest.mark.parametrize(("name", "cause"), SERVICE_ACTIONS.items())
def test_each_documented_event_of_the_service_has_its_cause(name: str, cause: str) -> None:
    assert classify(Fact(text=name)).name == cause


# -- texts that no pattern was written for


def test_texts_kept_aside_get_their_causes() -> None:
    wrong = missed(HELD_OUT)
    assert len(wrong) <= 0.03 * len(HELD_OUT), "\n".join(wrong)


def test_texts_found_later_get_their_causes() -> None:
    wrong = missed(later())
    assert len(wrong) <= 0.06 * len(later()), "\n".join(wrong)


@pytest.mark.parametrize("entry", remembered(), ids=lambda entry: f"{entry['cause']}: {entry['text'][-40:]}")
def test_a_text_written_down_from_memory_gets_its_cause(entry: dict[str, Any]) -> None:
    assert classify(fact(entry)).name == entry["cause"]


# -- the corpus


def test_the_corpus_is_large_has_sources_and_keeps_a_third_aside_by_a_rule_that_nobody_chooses_by_hand() -> None:
    assert len(corpus()) >= 150
    assert len(HELD_OUT) >= len(corpus()) / 4
    assert all(entry["source"].startswith(("https://", "github.com, ")) for entry in (*corpus(), *later()))
    aside = [int(hashlib.sha256(entry["text"].encode()).hexdigest(), 16) % 3 == 0 for entry in corpus()]
    assert aside == [bool(entry.get("held_out")) for entry in corpus()]


def test_every_label_is_a_cause_of_the_table() -> None:
    assert {entry["cause"] for entry in (*corpus(), *later(), *remembered())} <= {cause.name for cause in known()}


def test_nothing_is_counted_twice() -> None:
    facts = [fact(entry) for entry in (*corpus(), *later(), *remembered())]
    assert len(facts) == len(set(facts))


# -- cutting, joining, names

# Causes that say less than their neighbours do: right for a text whose end is missing.
SAYS_LESS = frozenset(
    {
        "Unknown",
        "ImagePullFailed",
        "EfsMountFailed",
        "LogDriverFailed",
        "SecretFetchFailed",
        "ContainerStartFailed",
        "ContainerExited",
        "NetworkInterfaceFailed",
        "PlatformError",
        "TargetUnhealthy",
        "TargetNotRegistered",
        "CircuitBreaker",
        "RollingBack",
        "LifecycleHookFailed",
    }
)
# AWS says first that the log group can't be found, and only then that CloudWatch can't be reached.
MISLEADING = (
    "The task cannot find the Amazon CloudWatch log group defined in the task definition. There is a connection"
)


@pytest.mark.parametrize("entry", SEEN, ids=lambda entry: f"{entry['cause']}: {entry['text'][-40:]}")
def test_a_text_that_is_cut_off_anywhere_never_gets_a_wrong_cause(entry: dict[str, Any]) -> None:
    if MISLEADING in entry["text"]:
        pytest.skip("the beginning of this text is misleading by itself")
    whole = fact(entry)
    for end in range(0, len(whole.text), 5):
        cut = classify(
            Fact(text=whole.text[:end], stop_code=whole.stop_code, exit_code=whole.exit_code, router=whole.router)
        )
        assert cut.name in SAYS_LESS | {entry["cause"]}, whole.text[:end]


@pytest.mark.parametrize(
    "entry", [entry for entry in SEEN if entry.get("field") == "reason"], ids=lambda entry: entry["text"][-40:]
)
def test_the_reason_of_a_container_decides_beside_the_general_words_of_its_task(entry: dict[str, Any]) -> None:
    stopped = failures.stopped_task(
        {
            "taskArn": "arn:aws:ecs:us-east-1:111122223333:task/c/1",
            "stopCode": "EssentialContainerExited",
            "stoppedReason": "Essential container in task exited",
            "containers": [{"name": "app", "reason": entry["text"], "exitCode": entry.get("exit_code")}],
        }
    )
    assert stopped.cause == entry["cause"]
    assert entry["text"] in (stopped.reason or "")


SETTINGS = {
    "broken over lines": lambda text: text.replace(" ", "\n"),
    "with blanks at its lines' ends": lambda text: text.replace(" ", " \r\n\t"),
    "with spaces that do not break": lambda text: text.replace(" ", "\u00a0"),
    "with a document's quotes": lambda text: text.replace("'", "\u2019"),
    "with marks that nobody sees": lambda text: text.replace("e", "e\u200b"),
    "in wide letters": lambda text: text.replace("E", "\uff25"),
    "in capitals": str.upper,
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("entry", SEEN[::3], ids=lambda entry: f"{entry['cause']}: {entry['text'][-40:]}")
def test_a_text_means_the_same_however_it_is_set(entry: dict[str, Any], setting: str) -> None:
    whole = fact(entry)
    assert classify(replace(whole, text=SETTINGS[setting](whole.text))).name == entry["cause"]


@pytest.mark.parametrize("image", ["efs-volume-mount", "log-group", "quota", "spot-task-interrupted", "alarm/x509"])
def test_names_of_images_parameters_and_secrets_decide_nothing(image: str) -> None:
    ref = f"111122223333.dkr.ecr.eu-west-1.amazonaws.com/{image}:1"
    for text in (f"failed to resolve ref {ref}: not found", f'failed to resolve ref "{ref}": not found'):
        assert classify(Fact(text=f"CannotPullContainerError: pull image manifest: {text}")).name == "ImageNotFound"
    missing = f"unable to retrieve secrets from ssm: invalid ssm parameters: /prod/{image}"
    assert classify(Fact(text=missing)).name == "SecretNotFound"
    denied = f"failed to fetch secret {image} from secrets manager: AccessDeniedException"
    assert classify(Fact(text=denied)).name == "SecretAccessDenied"


@pytest.mark.parametrize("container", ["efs-init", "alarm-sender", "throttle-api", "quota-log-driver"])
def test_names_of_containers_decide_nothing(container: str) -> None:
    waited = f"dependency graph: container ordering dependency [{container}] for target [app] has timed out."
    assert classify(Fact(text=waited)).name == "DependencyFailed"
    started = f"CannotStartContainerError: the container {container} could not be started: OCI runtime create failed"
    assert classify(Fact(text=started)).name == "ContainerStartFailed"


@pytest.mark.parametrize(
    "name", ["efs-quota", "out-of-memory-alarm", "circuit breaker".replace(" ", "-"), "spot-throttle"]
)
def test_names_that_people_chose_decide_nothing(name: str) -> None:
    assert classify(Fact(text=f"(service {name}) has reached a steady state.")).name == "SteadyState"
    registered = (
        f"(service {name}) registered 1 targets in (target-group arn:aws:elasticloadbalancing:r:1:targetgroup/{name}/1)"
    )
    assert classify(Fact(text=registered)).name == "Progress"

    missing = f"(service s) failed to launch a task with (error task definition {name}:42 does not exist)"
    assert classify(Fact(text=missing)).name == "TaskConfigurationRefused"


# Where people's own names stand in what ECS says; {name} is one of them.
NAMED = (
    ("pull image manifest: failed to resolve ref registry.acme.example/{name}:1: not found", "ImageNotFound"),
    ("pull image manifest: failed to resolve ref registry.acme.example:5000/ml/{name}: not found", "ImageNotFound"),
    (
        "CannotPullContainerError: manifest for acme/{name}:1 not found: manifest unknown: manifest unknown",
        "ImageNotFound",
    ),
    ("pull access denied for acme/{name}, repository does not exist", "ImageAccessDenied"),
    ('Head "https://{name}.acme.example/v2/": lookup {name}.acme.example: no such host', "ImageRegistryUnreachable"),
    ('Get "https://registry-1.docker.io/v2/acme/{name}/manifests/1": i/o timeout', "ImageRegistryUnreachable"),
    ("retrieved secret from Secrets Manager did not contain json key {name}", "SecretKeyMissing"),
    ("failed to create Cloudwatch log stream: The log group does not exist: /ecs/{name}", "LogGroupMissing"),
    ("mount.nfs4: mounting fs-1:/models/{name} failed: No such file or directory", "EfsPathMissing"),
    ('starting container process caused: exec: "/opt/{name}": no such file or directory', "CommandNotFound"),
    (
        "is unhealthy in (target-group {name}) due to (reason Health checks failed with these codes: [503])",
        "TargetHealthCheckCode",
    ),
    ("deployment failed: alarm detected: prod-{name}.", "DeploymentAlarm"),
    ("deployment failed: alarm detected: {name}, too high for 5 minutes.", "DeploymentAlarm"),
    (
        "CannotPullContainerError: name unknown: The repository with name 'ml/{name}' does not exist in the registry",
        "ImageNotFound",
    ),
    ("is unhealthy in target-group {name} due to (reason Health checks failed)", "TargetUnhealthy"),
    (
        "mount.nfs4: mounting fs-1.efs.eu-west-1.amazonaws.com:/{name} failed: No such file or directory",
        "EfsPathMissing",
    ),
    ("failed to register layer: write /opt/{name}/model.onnx: no space left on device", "DiskFull"),
    ("ClientException: The specified capacity provider '{name}' was not found.", "TaskConfigurationRefused"),
)


@pytest.mark.parametrize(("text", "cause"), NAMED)
def test_a_name_that_sounds_like_a_failure_decides_nothing_wherever_it_stands(text: str, cause: str) -> None:
    words = "oom-killed OutOfMemoryError-test throttled-queue toomanyrequests-demo access-denied-page spot-interrupted"
    errors = "AccessDenied-test RateExceeded-api LimitExceeded-x firelens-config x509-certificate eni-hook-failed"
    said = {name: classify(Fact(text=text.format(name=name))).name for name in f"{words} {errors}".split()}
    assert said == dict.fromkeys(said, cause)


@pytest.mark.parametrize("path", ["spot/interruption", "quota/exceeded", "awslogs", "tls/x509"])
def test_a_path_that_sounds_like_a_failure_decides_nothing(path: str) -> None:
    where = (
        ("CannotPullContainerError: name unknown: The repository with name '{path}' does not exist", "ImageNotFound"),
        ("unable to retrieve secrets from ssm: invalid ssm parameters: /a, /{path}", "SecretNotFound"),
        (
            "mount.nfs4: mounting fs-1.efs.eu-west-1.amazonaws.com:/{path} failed: No such file or directory",
            "EfsPathMissing",
        ),
        ('OCI runtime create failed: exec: "/{path}/run.sh": no such file or directory', "CommandNotFound"),
    )
    for text, cause in where:
        assert classify(Fact(text=text.format(path=path))).name == cause, text


@pytest.mark.parametrize(
    "words", ["restarted for the new EFS volume", "alarm storm", "quota is needed elsewhere", "OutOfMemoryError?"]
)
def test_what_somebody_writes_who_stops_a_task_decides_nothing(words: str) -> None:
    assert classify(Fact(text=words, stop_code="UserInitiated", exit_code=137)).name == "StoppedByUser"


# Told of, but nothing is wrong with it.
HARMLESS = (
    "No alarms are in ALARM state.",
    "Alarm based rollback feature is only supported with ECS deployment controller.",
    "The task was not throttled.",
    "Service quota increase request was approved.",
    "Container health checks have not failed.",
    "Target is healthy; no health check timed out.",
    "The trust policy of the role was updated.",
    "ECS was able to assume the role.",
    "Network interface eni-0123456789abcdef0 was attached.",
    "PRE_SCALE_UP lifecycle hook(s) succeeded.",
    "The subnet has 200 free addresses.",
    "Image pull completed without access denied errors.",
    "The secret was retrieved from AWS Secrets Manager and KMS decrypted it.",
    "The log group does exist and was found.",
    "The capacity provider is ready; capacity is available.",
    "Spot instance interruptions are not expected.",
    "Task protection is not enabled.",
    "Container [app] logs mention a dependency injection error",
    "hookworm failure, unalarming, quotation, throttle-free, subnetting",
)


@pytest.mark.parametrize("text", HARMLESS)
def test_a_word_with_which_nothing_is_wrong_is_no_cause(text: str) -> None:
    assert classify(Fact(text=text)).name == "Unknown"


def test_what_is_said_not_to_have_happened_does_not_hide_what_has() -> None:
    sidecar = "Essential container in task exited; the sidecar reported no OutOfMemoryError"
    assert classify(Fact(text=sidecar, stop_code="EssentialContainerExited", exit_code=1)).name == "ContainerExited"
    breaker = "Deployment completed; the circuit breaker was not triggered."
    assert classify(Fact(text=breaker)).name == "Progress"
    lookup = "CannotPullContainerError: manifest not found failed"
    assert classify(Fact(text=lookup)).name == "ImageNotFound"
    quiet = "ECS deployment ecs-svc/1 completed. No alarm detected."
    assert classify(Fact(text=quiet)).name == "Progress"
    for ruled_out in ("It was not killed due to memory usage", "It was not caused by a Spot interruption"):
        exited = Fact(text=f"Essential container in task exited; {ruled_out}", exit_code=1)
        assert classify(exited).name == "ContainerExited"


REFUSALS = {
    "ecr:GetAuthorizationToken": "RegistryLoginDenied",
    "logs:CreateLogStream": "LogAccessDenied",
    "secretsmanager:GetSecretValue": "SecretAccessDenied",
    "elasticloadbalancing:RegisterTargets": "RolePermissionMissing",
}


@pytest.mark.parametrize(
    "policy",
    [
        "because no VPC endpoint policy allows the action",
        "because no permissions boundary allows the action",
        "because no resource-based policy allows the action",
        "with an explicit deny in a service control policy: p-1",
        "with an explicit deny in a resource control policy",
    ],
)
@pytest.mark.parametrize(("action", "cause"), REFUSALS.items())
def test_who_is_refused_by_a_policy_that_is_not_the_roles_is_sent_to_that_policy(
    action: str, cause: str, policy: str
) -> None:
    text = (
        f"AccessDeniedException: User: arn:aws:sts::1:r is not authorized to perform: {action} on resource: * {policy}"
    )
    found = classify(Fact(text=text))
    assert found.name == cause
    others = "a VPC endpoint's, a service control policy, a resource control policy, a permissions boundary"
    assert f"{others}, the resource's own" in found.next_step


def test_of_two_causes_the_one_that_says_more_counts() -> None:
    verdict = (
        "(service s) (deployment d) deployment failed: tasks failed to start. (service s) was unable to place a task."
    )
    quota = "Reason: You've reached the limit on the number of vCPUs you can run concurrently"
    assert classify(Fact(text=verdict)).name == "CircuitBreaker"
    assert classify(Fact(text=f"{verdict} {quota}")).name == "QuotaReached"


def test_what_no_rule_knows_is_unknown_and_asks_to_read_the_text() -> None:
    cause = classify(Fact(text="Flux capacitor misaligned"))
    assert (cause.name, cause.severity) == ("Unknown", Severity.WARNING)
    assert "Read the text" in cause.next_step


# -- the table


def test_every_rule_decides_some_text() -> None:
    facts = [fact(entry) for entry in SEEN] + [example for example, _ in EXAMPLES]
    deciding = [rule_for(one) for one in facts]
    idle = [(rule.cause.name, rule.pattern) for rule in RULES if not any(rule is one for one in deciding)]
    assert idle == []


def test_every_cause_has_a_name_of_its_own_an_explanation_and_a_next_step() -> None:
    names = [cause.name for cause in known()]
    assert len(names) == len(set(names))
    for cause in known():
        assert re.fullmatch(r"([A-Z][a-z]+)+", cause.name)
        assert cause.explanation.endswith(".")
        assert cause.next_step.endswith(".")
        assert cause.explanation != cause.next_step


def field_names(model: type[BaseModel]) -> set[str]:
    """Names of all fields below `spec`, each as `name` and as `parent.name`."""
    found: set[str] = set()
    for name, field in model.model_fields.items():
        found.add(field.alias or name)
        for inner in models_in(field.annotation):
            below = field_names(inner)
            found |= below | {f"{field.alias or name}.{one}" for one in below}
    return found


def models_in(annotation: Any) -> set[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return {annotation}
    return {model for one in getattr(annotation, "__args__", ()) for model in models_in(one)}


FIELDS = field_names(InferenceDeployment) | field_names(InferenceEnvironment)
DOTTED = re.compile(r"(?<![\w./])[a-z]\w+(?:\.[a-z]\w+)+(?![\w.]*\.com)")
AWS_NAMES = frozenset({"ecr.api", "ecr.dkr"})
# What can be changed that is no field: a permission, a condition to look at, or a thing.
THING = re.compile(
    r"\b[a-z0-9]+:[A-Z]\w+|[a-z]\w+RoleArn|\b\w+Ready\b|"
    r"\b(image|secret|role|policy|alarm|logging|subnets?|container|entry point|Quotas|capacity providers?|function)\b|"
    r"\baccount\b"
)


def test_every_field_that_a_next_step_names_exists() -> None:
    named = {(cause.name, field) for cause in known() for field in DOTTED.findall(cause.next_step)}
    assert len(named) > 10
    assert {(cause, field) for cause, field in named if field not in FIELDS | AWS_NAMES} == set()


def test_every_error_says_what_to_change() -> None:
    errors = [cause for cause in known() if cause.severity is Severity.ERROR]
    vague = [cause.name for cause in errors if not DOTTED.search(cause.next_step) and not THING.search(cause.next_step)]
    assert vague == []


# What has to be said of a failure where it is met, and is forgotten easily.
ADVICE = {
    "ImageNotFound": ("sidecars.image", "logging.router.image"),
    "ImagePlatformMismatch": ("spec.architecture", "linux/arm64", "sidecars.image", "logging.router.image"),
    "ImageAccessDenied": ("outside ECR is asked without credentials", "pull-through cache", "logging.router.image"),
    "ImageInvalid": ("sidecars.image", "logging.router.image"),
    "SecretAccessDenied": ("kms:Decrypt", "key exists and is enabled"),
    "ImagePullRateLimited": ("logging.router.image", "If it is there already"),
    "ImageRegistryUnreachable": ("network.assignPublicIp", "private repositories alone", "logging.router.image"),
    "SecretStoreUnreachable": ("network.assignPublicIp", "tcp 443 out of network.securityGroups"),
    "LogServiceUnreachable": ("network.assignPublicIp", "tcp 443 out of network.securityGroups"),
    "EfsUnreachable": ("and out of these",),
    "EfsAccessDenied": ("spec.taskRoleArn",),
    "RoleNotAssumable": ("spec.taskRoleArn",),
    "DiskFull": ("spec.ephemeralStorage",),
    "OutOfMemory": ("sidecars.memory",),
    "ContainerKilled": ("spec.stopTimeout",),
    "ContainerExited": ("spec.readOnlyRootFilesystem",),
    "CommandNotFound": ("spec.command",),
}


@pytest.mark.parametrize(("name", "advice"), ADVICE.items())
def test_a_next_step_names_what_else_may_be_at_fault(name: str, advice: tuple[str, ...]) -> None:
    step = next(cause.next_step for cause in known() if cause.name == name)
    assert [words for words in advice if words not in step] == []


FRAGMENTS = sorted({word for rule in RULES for word in re.findall(r"[A-Za-z]{3,}|\d+", rule.pattern + " " + rule.also)})
junk = st.lists(
    st.sampled_from([*FRAGMENTS, " ", ":", "(service ", "arn:aws:", "\n", "x" * 50]), min_size=1, max_size=6
)


def alternatives(pattern: str) -> list[str]:
    """Those of the whole pattern, without what is inside of brackets."""
    flat = re.sub(r"\[(\\.|[^\]\\])*\]", "C", re.sub(r"\\.", "E", pattern))
    found, depth = [""], 0
    for letter in flat:
        depth += (letter == "(") - (letter == ")")
        if letter == "|" and depth == 0:
            found.append("")
        else:
            found[-1] += letter
    return found


@pytest.mark.parametrize("pattern", sorted({p for rule in RULES for p in (rule.pattern, rule.also)} | {NAMES, NEVER}))
def test_no_pattern_tries_more_than_a_bounded_number_of_ways_at_each_letter(pattern: str) -> None:
    for one in alternatives(pattern):
        assert not re.search(r"(?<![}])[*+]|\{\d*,\}", one), f"a repetition has no bound: {one}"
        longest = [int(most) for most in re.findall(r"\{\d+,(\d+)\}(?!\+)", one)]
        optional = len(re.findall(r"(?<!\()\?", one))
        assert prod(longest) * 2**optional <= 20_000, f"too many ways to match: {one}"


@given(junk)
@settings(deadline=None, max_examples=60)
def test_a_hundred_kilobytes_of_junk_from_the_tables_own_words_are_classified_in_no_time(words: list[str]) -> None:
    unit = "".join(words)
    text = unit * (100_000 // len(unit) + 1)
    began = time.process_time()
    classify(Fact(text=text))
    assert time.process_time() - began < 2


@given(st.text(max_size=300), st.sampled_from([None, "EssentialContainerExited", "New"]), st.integers() | st.none())
def test_whatever_aws_says_there_is_a_cause(text: str, stop_code: str | None, exit_code: int | None) -> None:
    assert classify(Fact(text=text, stop_code=stop_code, exit_code=exit_code)) in known()
