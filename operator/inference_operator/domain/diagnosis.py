"""Which cause a text of ECS's tells of. Pure.

The table is ordered: the first rule that fits wins, so what is specific stands before what is general. A rule matches
ideas and not sentences, as the wording changes with the agent's version: what is told of, and what is wrong with it.
A text that is cut off before its reason gets the cause that says no more than it does; one that no rule knows is
`Unknown`: a wrong cause sends people the wrong way. tests/operator/data/failure_texts.yaml holds the texts that the
table is measured against.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from functools import lru_cache

from inference_operator.domain import causes
from inference_operator.domain.causes import Cause


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
hosts that are not AWS's, parameters, secrets and their keys, containers, target groups, task definitions, alarms, and
a single word or path in quotes: their names are people's own words, and say nothing of the cause."""

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
    return rule.cause if (rule := rule_for(fact)) else causes.UNKNOWN


@lru_cache(maxsize=4096)
def rule_for(fact: Fact) -> Rule | None:
    """The first rule that fits; None if none does. Kept, as each pass over a service reads the same texts again, up to
    a hundred events and as many tasks.
    """
    bare = replace(fact, text=_DID_NOT_HAPPEN.sub("", _NAMES.sub("", _plain(fact.text))))
    return next((rule for rule in RULES if rule.fits(bare)), None)


def _plain(text: str) -> str:
    """In one line of plain letters: texts come broken over lines, and with the quotes and the spaces of a document."""
    letters = unicodedata.normalize("NFKC", text[:_LONGEST]).translate(_QUOTES)
    visible = "".join(letter for letter in letters[:_LONGEST] if unicodedata.category(letter) != "Cf")
    return " ".join(visible.split())


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
_KEY = r"\b(AWS)?KMS.{0,80}(not|pending|disabled|Exception)|(\bKMS|master) key"
"""A key is at fault with which something is encrypted."""
_SECRETS = (
    r"(pull|retrieve|retrieved|fetch|fetching|find)( \w{1,20}+){0,3} secrets?\b|Secrets ?Manager|"
    r"Parameter Store|\bssm\b|GetSecretValue|ssm:GetParameters"
)
_PULL = (
    r"CannotPull\w{0,30}Error|pull image manifest|httpReade?r?Seeker|pull access denied|to pulled\b|"
    r"(register|extract) layer|"
    r"(cannot|can.t|unable to|failed to|error) pull(ing)? (the |container )?image|"
    r"(cannot|can.t) pull (?!secrets)[^ ]{0,300} ?from|^pull command failed|normalize image reference|"
    r"https?://[\w.:-]{0,100}/v2/|starport-layer-bucket"
)


def _alone(word: str) -> str:
    """Where it stands alone and not within a name that somebody chose, as in `oom-killed-demo` or `/ecs/throttled`."""
    return rf"(?<![\w/-])({word})(?![\w/-]|\.\w)"


_MEMORY = r"OutOfMemory(Error|Exception)?|OOM[- ]?killed|out of memory: killed"

_EXITED = frozenset({"EssentialContainerExited"})

RULES: tuple[Rule, ...] = (
    # Texts that only look like a failure. Why somebody stopped a task is in their own words.
    Rule(cause=causes.STOPPED_BY_USER, stop_codes=frozenset({"UserInitiated"})),
    Rule(cause=causes.PROGRESS, pattern=r"successfully set desired count"),
    Rule(cause=causes.SPOT, pattern=r"(?<![\w/-])spot(?![\w/.-]).{0,24}interrupt|" + _alone("TerminationNotice")),
    Rule(cause=causes.SPOT, stop_codes=frozenset({"SpotInterruption", "TerminationNotice"})),
    Rule(
        cause=causes.MAINTENANCE,
        pattern=r"maintenance on the underlying|underlying (host|hardware).{0,40}(degrad|fail|impair)|"
        r"degradation.{0,20}underlying (host|hardware)|scheduled for retirement|task retirement|"
        r"retired infrastructure|infrastructure.{0,20}(retire|retiring)",
    ),
    Rule(cause=causes.MAINTENANCE, stop_codes=frozenset({"InfrastructureHealth"})),
    Rule(cause=causes.SCALING, pattern=r"scaling activity initiated|scheduler initiated|rebalancing initiated"),
    # Memory and the disk come before all else: they hide behind other errors, and memory even behind exit code 0.
    Rule(cause=causes.ROUTER_OUT_OF_MEMORY, pattern=_alone(_MEMORY), router=True),
    Rule(cause=causes.START_FAILED, pattern=r"cgroup.{0,120}cannot allocate memory"),  # the host's memory
    Rule(cause=causes.OUT_OF_MEMORY, pattern=_alone(_MEMORY) + "|killed due to memory|cannot allocate memory"),
    Rule(cause=causes.DISK_FULL, pattern=r"no space left on device|thin pool|ephemeral storage.{0,80}(full|exceed)"),
    # Nothing is wrong with what is asked for, but with how often.
    Rule(
        cause=causes.IMAGE_RATE_LIMIT,
        pattern=_alone("toomanyrequests") + "|pull rate limit|429 Too Many|Too Many Requests",
    ),
    Rule(
        cause=causes.THROTTLED,
        pattern=_alone(
            r"\w{0,30}throttl(ed|ing)(Exception)?|Rate ?(limit ?)?exceeded|RequestLimitExceeded|Request limit exceeded"
        )
        + r"|too many concurrent (attempts|requests|operations)",
    ),
    Rule(
        cause=causes.QUOTA,
        pattern=_alone(r"\w{0,60}(?<!Retry)(Limit|Count|Quota)Exceeded(Exception)?")
        + r"|TooManyTargets|(reached|exceeded) (the|your) (limit on|maximum number of)",
    ),
    # Logging. A check of the driver's options that was killed had waited for CloudWatch in vain; but a driver without
    # credentials had not come so far as to ask CloudWatch, whatever it says of connections, and others never ask it.
    Rule(cause=causes.LOG_DENIED, pattern=_LOGS, also=_DENIED),
    Rule(
        cause=causes.LOG_DRIVER,
        pattern=r"logger args|logging driver",
        also=_alone("credentials?|splunk|gelf|syslog|fluentd") + "|services/collector",
    ),
    Rule(cause=causes.LOG_DRIVER, pattern=r"logging driver: (dial|fluent|unix|socket)"),  # not CloudWatch's
    Rule(cause=causes.LOG_NETWORK, pattern=_LOGS, also=rf"{_UNREACHABLE}|signal: killed"),
    Rule(
        cause=causes.LOG_GROUP_MISSING,
        pattern=r"log ?group.{0,80}(not exist|not found)|(cannot|can.t|could not) find.{0,40}log ?group",
    ),
    Rule(cause=causes.LOG_GROUP_MISSING, pattern=r"logger args", also=r"ResourceNotFound"),
    Rule(cause=causes.PLATFORM, pattern=r"logger args", also=_FAULT),
    Rule(cause=causes.LOG_DRIVER, pattern=r"logger args|logging driver|(?<![/-])firelens(?!-).{0,40}(config\b|socket)"),
    # EFS. Without the name, the helper looks for the address itself, and complains of what it may not for that.
    Rule(
        cause=causes.EFS_DNS,
        pattern=_EFS,
        also=r"(not|failed to) resolve|no such host|NXDOMAIN|look ?up mount target|"
        r"(no|not|cannot|can.t)( \w{1,20}+){0,2} mount target",
    ),
    Rule(cause=causes.EFS_DENIED, pattern=_EFS, also=rf"{_DENIED}|permission denied"),
    Rule(
        cause=causes.EFS_ACCESS_POINT,
        pattern=r"access ?point.{0,120}(not exist|not found|invalid|not available|malformed|unable to create|"
        r"failed to create)|"
        r"AccessPointNotFound|fsap-\w{1,40}.{0,80}(not|invalid)",
    ),
    Rule(cause=causes.EFS_MISSING, pattern=_EFS, also=r"No such file or directory|does not exist on"),
    Rule(
        cause=causes.EFS_TIMEOUT,
        pattern=_EFS,
        also=r"timed? ?out|mount system call failed|cannot be connected|connection (refused|reset)|"
        r"broken pipe|no route to host|unreachable",
    ),
    Rule(cause=causes.EFS_FAILED, pattern=_EFS, also=r"mount|volume"),
    Rule(cause=causes.EFS_FAILED, pattern=r"chown.{0,120}operation not permitted|mounting volume failed"),
    # Secrets and the registry's login, which come in one sentence.
    Rule(
        cause=causes.SECRET_KEY,
        pattern=r"not contain json key|retrieved secret.{0,80}(json|key)|"
        r"unmarshal secret value|empty secrets? value|AuthorizationData is malformed",
    ),
    Rule(
        cause=causes.SECRET_KEY,
        pattern=rf"{_SECRETS}|registry auth",
        also=r"invalid character '|invalid character.{0,80}(value|JSON)",
    ),
    Rule(
        cause=causes.SECRET_NOT_FOUND,
        pattern=_SECRETS,
        also=r"ResourceNotFound|find the specified secret|AWSCURRENT|invalid ?(ssm )?parameters?|"
        r"Parameter(Version)?NotFound|staging label|(check )?whether the (secret|parameter) exists|"
        r"(marked|scheduled) for deletion|because it was deleted|invalid (name|ARN|version)|ValidationException",
    ),
    Rule(
        cause=causes.REGISTRY_LOGIN_DENIED,
        pattern=r"GetAuthorizationToken|retrieve ecr registry auth|CannotPullECRContainerError",
        also=_DENIED,
    ),
    Rule(
        cause=causes.SECRET_NETWORK,
        pattern=rf"{_SECRETS}|registry auth|GetAuthorizationToken",
        also=rf"{_UNREACHABLE}|signal: killed",
    ),
    Rule(
        cause=causes.SECRET_DENIED,
        pattern=_SECRETS,
        also=rf"{_DENIED}|{_KEY}|kms:Decrypt|DecryptionFailure|DisabledException|InvalidKeyId",
    ),
    Rule(
        cause=causes.ENVIRONMENT_FILE,
        pattern=r"\benv(ironment)? ?files?\b",
        also=r"failed|unable|error|denied|invalid",
    ),
    Rule(cause=causes.PLATFORM, pattern=rf"{_SECRETS}|registry auth|GetAuthorizationToken", also=_FAULT),
    Rule(
        cause=causes.SECRET_FETCH,
        pattern=r"(unable to|failed to|cannot|can.t) (pull|retrieve|fetch)( \w{1,20}+){0,3} (secret|auth)|"
        r"unable to find execution role credentials",
    ),
    # Images. The reference that could not be resolved stands in all of them, and says nothing.
    Rule(
        cause=causes.IMAGE_PLATFORM,
        pattern=r"descriptor (for|matching) platform|matching platform|no match(ing manifest)? for|"
        r"exec format error|operating system.{0,40}cannot be used|does not match.{0,40}platform",
    ),
    Rule(
        cause=causes.IMAGE_DENIED,
        pattern=_PULL,
        also=rf"{_DENIED}|{_KEY}|403 Forbidden|unauthorized|no basic auth|insufficient_scope|authorization failed|"
        r": denied\b|denied on resource|requested access to the resource is denied|failed to fetch anonymous token\W?$|"
        r"authorization token has expired|authentication is required|402 Payment Required|permissions? to pull",
    ),
    # It was reached, but spoke no TLS that the task trusts.
    Rule(cause=causes.IMAGE_PULL, pattern=_PULL, also=r"x509|certificate|\btls: |gave HTTP response to HTTPS"),
    Rule(cause=causes.IMAGE_NETWORK, pattern=_PULL, also=rf"{_UNREACHABLE}|nil pointer|invalid memory address"),
    Rule(
        cause=causes.IMAGE_INVALID,
        pattern=_PULL,
        also=r"(invalid|image) reference|: object required|invalid.{0,40}manifest|media.?type|diffIDs|corrupt|"
        r"unexpected commit digest|mismatched image|cannot be mapped|tar header|gzip: invalid|failed size validation|"
        r"max depth exceeded|"
        r"(format|schema|manifest version)( [\w.-]{1,20}){0,3} (is |are )?(deprecated|disabled|not supported)",
    ),
    Rule(
        cause=causes.IMAGE_NOT_FOUND,
        pattern=_PULL,
        also=r"not found|(manifest|name) unknown|not exist|\b404\b",
    ),
    Rule(cause=causes.IMAGE_NOT_FOUND, pattern=r"\b(repository|image)( \S{1,255}+)? {1,2}not found|no such image"),
    Rule(cause=causes.IMAGE_PULL, pattern=_PULL),
    # Roles and network.
    Rule(
        cause=causes.ROLE,
        pattern=r"unable to assume|not authorized to perform: sts:AssumeRole|AssumeRole.{0,80}denied|"
        r"\brole is not valid|trust (relationship|policy).{0,40}(misconfigured|not|invalid|missing)",
    ),
    # Not a role lacks it, but the account.
    Rule(cause=causes.BLOCKED, pattern=r"not have authorization to access the specified platform"),
    Rule(cause=causes.ROLE_PERMISSION, pattern=rf"{_DENIED}|permissions? polic(y|ies).{{0,40}}misconfigured"),
    Rule(
        cause=causes.NETWORK_WRONG,
        pattern=r"InvalidSubnetI?D?\.NotFound|InvalidGroup\.NotFound|InvalidSecurityGroup\w{0,10}\.NotFound|"
        r"(subnet ID|subnet|security group)s? .{0,80}(does|do) not exist|the same VPC|belong to different networks",
    ),
    Rule(
        cause=causes.SUBNET_FULL,
        pattern=r"(insufficient|enough|no) free (IP(v[46])? )?address|InsufficientFreeAddresses",
    ),
    Rule(
        cause=causes.NETWORK,
        pattern=r"network interface|(?<![\w/:-])ENI(?![\w/-])",
        also=r"error|fail|unable|time ?out|timed out|can.?t|could not|has no",
    ),
    Rule(
        cause=causes.NETWORK,
        pattern=r"failed to (configure|set ?up) .{0,40}network|"
        r"ContainerNetworkingError|network namespace",
    ),
    # Health.
    Rule(
        cause=causes.CONTAINER_UNHEALTHY,
        pattern=r"failed container health checks?|container.{0,40}health ?check.{0,20}fail",
    ),
    Rule(
        cause=causes.TARGET_UNUSED,
        pattern=r"target group is not configured to receive|not associated with a load balancer|"
        r"not have an associated load balancer",
    ),
    Rule(
        cause=causes.TARGET_ZONE,
        pattern=r"Availability Zone that is not enabled|not in a supported (Availability )?Zone|Target\.NotInUse",
    ),
    Rule(
        cause=causes.TARGET_ABSENT,
        pattern=r"target( group)?s? (is |are )?not (found|registered)|failed to register targets|"
        r"not in the target group|Target\.NotRegistered",
    ),
    Rule(cause=causes.PLATFORM, pattern=r"health checks? failed due to an internal error|Elb\.InternalError"),
    Rule(cause=causes.TARGET_CODE, pattern=r"health checks? failed with these codes|ResponseCodeMismatch"),
    Rule(
        cause=causes.TARGET_TIMEOUT,
        pattern=r"unhealthy|health check|target.?group|Target\.Timeout",
        also=r"timed out|Target\.Timeout",
    ),
    Rule(
        cause=causes.TARGET_UNHEALTHY,
        pattern=r"failed ELB health checks|FailedHealthChecks|is (unhealthy|not healthy) in |LATTICE_TARGET_UNHEALTHY",
    ),
    Rule(
        cause=causes.DISCOVERY,
        pattern=r"(service discovery|cloud ?map|servicediscovery).{0,80}unhealthy|DISCOVERY_INSTANCE_UNHEALTHY",
    ),
    # The scheduler.
    Rule(cause=causes.HOOK, pattern=r"lifecycle ?hook", also=r"fail|timed? ?out|unable"),
    Rule(cause=causes.HOOK, pattern=r"(?<!prestart )(?<!running )(?<![/-])\bhooks?\b.{0,40}(fail|timed? ?out)"),
    Rule(
        cause=causes.TRAFFIC,
        pattern=r"invalid networking configuration[.:] (?!ECS was unable).{20}|(production|test) ?listener ?rule|"
        r"listener rules?.{0,60}not found",
    ),
    Rule(
        cause=causes.ALARM,
        pattern=r"(?<![\w/-])alarms?\b(?!-)",
        also=r"detected|triggered(?! policy)|breach|\bALARM state|in alarm\b|roll(ing|ed) back|deployment.failed",
    ),
    Rule(
        cause=causes.ROLLBACK_REQUESTED,
        pattern=r"roll ?back (was )?requested|rolled back by (the )?user|deployment (was )?stopped by",
    ),
    Rule(cause=causes.BACKOFF, pattern=r"unable to consistently start tasks|TASK_START_IMPAIRED"),
    Rule(cause=causes.PERCENT_DEADLOCK, pattern=r"because of the service deployment configuration"),
    Rule(cause=causes.PROTECTED, pattern=r"protected tasks|under protection|BY_TASK_PROTECTION|unable to scale in"),
    Rule(
        cause=causes.BLOCKED,
        pattern=r"BlockedException|account (is|was|has been) (currently )?blocked|\bBLOCKED$|Pending_?Verification",
    ),
    Rule(
        cause=causes.QUOTA,
        pattern=r"(reached|exceed(s|ed)) (the|your) (maximum )?limit|limit (was|is|has been) (reached|exceeded)|"
        r"maximum number of (?!attempts).{0,60}(reached|exceeded)|vCPU.{0,20}limit|"
        r"(?<![\w/-])(?<!disk )quotas?(?![\w/-]).{0,40}(reach|exceed)|"
        r"(reach|exceed|above|over)\w{0,3} .{0,40}(?<![\w/-])(?<!disk )quotas?(?![\w/-])",
    ),
    Rule(cause=causes.SIZE, pattern=r"configuration is above your limit"),
    Rule(
        cause=causes.PLACEMENT,
        pattern=r"no container.instances?|RESOURCE:(?!F)\w|(^|: )(AGENT|ATTRIBUTE|LOCATION)\.?$|ECS agent|"
        r"placement.constraint|the resources could not be found|empty capacity provider|no active instances",
    ),
    Rule(
        cause=causes.CAPACITY,
        pattern=r"capacity is (currently )?unavailable|no capacity(?! provider)|insufficient ?(instance ?)?capacity|"
        r"Unfulfillable ?Capacity|unable to fulfill capacity|RESOURCE:FARGATE|"
        r"unable to place a task in |could not launch \d{1,6} task|TASK_PLACEMENT_FAILURE",
    ),
    # The container, by what its runtime says.
    Rule(
        cause=causes.COMMAND_NOT_FOUND,
        pattern=r"executable file not found|\bexec\b.{0,60}(no such file|permission denied|is a directory)|"
        r"\bstat (?!/var/lib/).{0,120}no such file",
    ),
    Rule(
        cause=causes.DEPENDENCY,
        pattern=r"dependsOn|dependent container|container.{0,40}dependenc|dependenc.{0,40}container|task dependenc",
        also=r"fail|timed? ?out|exited|unhealthy|\bnot\b|cannot|never|without",
    ),
    Rule(
        cause=causes.START_FAILED,
        pattern=r"Cannot(Start|Create)ContainerError|failed to create (shim|new container runtime) task|"
        r"ContainerRuntime(Timeout)?Error|OCI runtime (create|start) failed|"
        r"starting container process caused|contains VOLUME|"
        r"not tran\w{3,10} to (created|started|running)",
    ),
    Rule(
        cause=causes.PLATFORM,
        pattern=rf"{_FAULT}|Cannot(Inspect|Stop|Remove|Describe)ContainerError|CreateVolumeError|"
        r"not tran\w{3,10} to (inspecting|stopped)|waiting for \w{1,40} provisioning|cgroup resource|"
        r"SERVICE_HEALTH_UNKNOWN",
    ),
    Rule(
        cause=causes.CONFIGURATION,
        pattern=r"TASK_CONFIGURATION_FAILURE|invalid configuration|\bClientException|InvalidParameter|"
        r"not compatible with|Platform(TaskDefinitionIncompat|Unknown)|platform version.{0,40}(retired|not exist)|"
        r"HostConfigError|InvalidVolumeError|volume detection failed|"
        r"task ?definition.{0,120}(is inactive|does not exist|not found)|"
        r"ClusterNotFound|\bcluster (is |was )?(inactive|not found)",
    ),
    # What says no more than that tasks failed, whatever for.
    Rule(cause=causes.BREAKER, pattern=r"circuit breaker|deployment.failed"),
    Rule(cause=causes.ROLLBACK, pattern=r"rolling back|rolled back"),
    # The container, by its exit code alone.
    Rule(cause=causes.ROUTER_EXITED, stop_codes=_EXITED, router=True),
    Rule(cause=causes.COMMAND_NOT_FOUND, exit_codes=frozenset({126, 127})),
    Rule(cause=causes.CRASHED, exit_codes=frozenset({132, 133, 134, 135, 136, 139, 159})),
    Rule(cause=causes.KILLED, exit_codes=frozenset({137}), stop_codes=_EXITED),
    Rule(cause=causes.TERMINATED, exit_codes=frozenset({143})),
    Rule(cause=causes.EXITED_ZERO, exit_codes=frozenset({0}), stop_codes=_EXITED),
    Rule(cause=causes.EXITED, stop_codes=_EXITED),
    Rule(cause=causes.EXITED, pattern=r"essential container in task exited"),
    Rule(cause=causes.STOPPED_BY_USER, pattern=r"stopped by user"),
    # What is no failure at all.
    Rule(cause=causes.STEADY, pattern=r"reached a steady state|STEADY_STATE"),
    Rule(
        cause=causes.PROGRESS,
        pattern=r"(started|stopped) \d{1,6} |draining connections|registered \d{1,6} (target|instance)|"
        r"(?<!unable to )AZ (re)?balanc|"
        r"deployment.{0,60}(completed|in.progress)|(?<!set )desired.?count|TASKS_(STARTED|STOPPED)|SERVICE_REBALANCING",
    ),
)


def known() -> tuple[Cause, ...]:
    """Each cause once, in the order of the table."""
    return (*dict.fromkeys(rule.cause for rule in RULES), causes.UNKNOWN)
