"""InferenceEnvironment: where services run. Written once by the platform team. Knows no service."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from inference_operator.api.constraints import Flag, Unique, immutable, kept, refuse, stays, text, whole
from inference_operator.api.destinations import RETENTION_DAYS, Destinations, Router
from inference_operator.api.model import Conditions, SpecModel, StatusModel, cut, newest
from inference_operator.api.policy import Policy
from inference_operator.api.status import VerificationState

ROLE_ARN = text(
    2048,
    "arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+",
    "the ARN of an IAM role, such as arn:aws:iam::123456789012:role/inference-task",
)
_SubnetId = Annotated[str, *text(47, "subnet-[0-9a-f]{8,40}", "the id of a subnet, such as subnet-0123456789abcdef0")]
_SecurityGroupId = Annotated[
    str, *text(43, "sg-[0-9a-f]{8,40}", "the id of a security group, such as sg-0123456789abcdef0")
]
EFS_FOLDER = "[A-Za-z0-9_=@+:,~-][A-Za-z0-9_=@+:,.~-]*"
FOLDER_DEPTH = 4
FOLDER_LENGTH = 100
"""An access point's root directory has at most 4 folders and 100 characters: CreateAccessPoint, RootDirectory.Path."""


_NO_ROLE = "externalId is given to the role of assumeRoleArn; name that role, or remove externalId"
_ELSEWHERE = "a listener of loadBalancer is in another region than spec.region; correct the one that is wrong"
_MADE_THERE = "what services have was made there; make another environment instead"


class Network(SpecModel):
    """Where in the VPC the tasks have their network interfaces."""

    subnets: Annotated[tuple[_SubnetId, ...], Field(min_length=1, max_length=16), Unique()]
    """Ids of the subnets that tasks are placed in, one or more for each availability zone."""

    security_groups: Annotated[tuple[_SecurityGroupId, ...], Field(min_length=1, max_length=5), Unique()]
    """Ids of the security groups of every task. They must let the load balancer in on the service's port."""

    assign_public_ip: Flag = False
    """Whether tasks get a public IPv4 address: for subnets without a NAT gateway or VPC endpoints."""

    manage_security_group_rules: Flag = False
    """Whether the operator lets the load balancer's first security group into the first of `securityGroups` on the
    ports that services use, and the latter into the first group of the file system's mount targets on tcp 2049. It
    removes only rules that it made."""


class PosixUser(SpecModel):
    """The user as whom the file system is read, whoever the container runs as."""

    uid: Annotated[int, whole(0, 4294967295)]
    """User id."""

    gid: Annotated[int, whole(0, 4294967295)]
    """Group id."""


class ModelStore(SpecModel):
    """The EFS file system that holds the models of every service in this environment."""

    file_system_id: Annotated[
        str, *text(43, "fs-[0-9a-f]{8,40}", "the id of an EFS file system, such as fs-0123456789abcdef0")
    ]
    """Id of the EFS file system. It needs a mount target in the availability zone of each subnet."""

    root_directory: Annotated[
        str,
        *text(FOLDER_LENGTH, f"/|(/{EFS_FOLDER}){{1,3}}", "an absolute folder at most 3 deep, such as / or /models"),
    ] = "/"
    """Folder of the file system that `models.path` of a service starts from."""

    posix_user: PosixUser
    """The user as whom the file system is read, whoever the container runs as."""

    rules = (immutable("fileSystemId", _MADE_THERE),)


_LISTENER_ARN = text(
    512,
    "arn:aws[a-z-]*:elasticloadbalancing:[a-z0-9-]+:[0-9]{12}:listener/app(/[A-Za-z0-9-]+){3}",
    "the ARN of a listener of an Application Load Balancer, "
    "such as arn:aws:elasticloadbalancing:eu-west-1:123456789012:"
    "listener/app/shared/0123456789abcdef/0123456789abcdef",
)
_TEST_NEEDS_ROLE = "testListenerArn is of use with infrastructureRoleArn alone; set that too, or remove this"


class LoadBalancer(SpecModel):
    """An Application Load Balancer that the environment's services share."""

    listener_arn: Annotated[str, *_LISTENER_ARN]
    """ARN of the listener that gets one rule for each service."""

    url: Annotated[
        str,
        *text(
            255,
            "https?://[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?(:[0-9]{1,5})?",
            "the address that callers use, without a path, such as https://inference.example.com",
        ),
    ]
    """Address at which callers reach the listener; `status.url` of a service begins with it."""

    infrastructure_role_arn: Annotated[str, *ROLE_ARN] | None = None
    """ARN of the role with which ECS shifts requests between old and new tasks, for the strategies BLUE_GREEN, LINEAR
    and CANARY. With it every service has two target groups; to add it rolls each service out once. It can't be removed
    again, only replaced."""

    test_listener_arn: Annotated[str, *_LISTENER_ARN] | None = None
    """ARN of a second listener, at which the new tasks of those strategies can be tried before others get to them. It
    gets one rule for each service, too. It can't be removed again."""

    @model_validator(mode="after")
    def _requests_can_be_shifted(self) -> Self:
        if self.test_listener_arn is not None and self.infrastructure_role_arn is None:
            raise refuse(_TEST_NEEDS_ROLE)
        return self

    rules = (
        immutable("listenerArn", _MADE_THERE),
        kept("infrastructureRoleArn", "services have two target groups since"),
        kept("testListenerArn", "services have rules there since"),
        {"rule": "!has(self.testListenerArn) || has(self.infrastructureRoleArn)", "message": _TEST_NEEDS_ROLE},
    )


class ServiceDiscovery(SpecModel):
    """A Cloud Map namespace in which the tasks of every service are registered."""

    namespace_id: Annotated[
        str, *text(64, "ns-[a-z0-9]{1,60}", "the id of a Cloud Map namespace, such as ns-0123456789abcdef")
    ]
    """Id of a namespace with private DNS. A service is found there as `<name>.<namespace>`, those of its object, on its
    own `port`."""

    rules = (immutable("namespaceId", "services are registered there; remove serviceDiscovery, and add it anew later"),)


class EnvironmentLogging(SpecModel):
    """What becomes of what the containers write."""

    retention_days: RETENTION_DAYS = 90
    """Days that CloudWatch Logs keeps what services log to their own log group."""

    router: Router = Router()
    """The log router of services that have routes."""

    destinations: Destinations = Field(default={})
    """Where the routes of services can go."""


class Events(SpecModel):
    """How the operator hears of what happens to tasks and deployments within a second or two, instead of asking."""

    queue: Annotated[
        str, *text(64, "[A-Za-z0-9_-]+", "the name of an SQS queue: letters, digits, - and _, such as inference-events")
    ]
    """Name of the SQS queue that the operator reads, and of the EventBridge rule that fills it. Both are made if they
    are absent, and removed with the environment. Where one exists that is not this environment's, it is left alone."""


class Topic(SpecModel):
    """An SNS topic."""

    topic_arn: Annotated[
        str,
        *text(
            512,
            "arn:aws[a-z-]*:sns:[a-z0-9-]+:[0-9]{12}:[A-Za-z0-9_-]{1,256}([.]fifo)?",
            "the ARN of an SNS topic, such as arn:aws:sns:eu-west-1:123456789012:inference",
        ),
    ]
    """ARN of the topic, in the environment's region. The operator's role needs sns:Publish on it."""


class SecretReference(SpecModel):
    """A Secret of the cluster."""

    namespace: Annotated[str, *text(63, "[a-z0-9]([a-z0-9-]*[a-z0-9])?", "the name of a namespace")]
    """Namespace of the Secret. The operator's service account needs the right to get it."""

    name: Annotated[str, *text(253, "[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "the name of a Secret")]
    """Name of the Secret."""


class Webhook(SpecModel):
    """An address that is sent a JSON document with POST."""

    secret_ref: SecretReference
    """Secret with the key `url`, an address that begins with https://, and, if messages are to be signed, the key
    `signingKey`. It is read anew for each message."""


_ONE_CHANNEL = "a notification goes to sns or to webhook: set one of them"


class Notification(SpecModel):
    """Where people are told of rollouts: that one began, is paused, failed or was rolled back, and that a service that
    had failed is well again."""

    sns: Topic | None = None
    """An SNS topic."""

    webhook: Webhook | None = None
    """An address that is sent a JSON document."""

    rules = ({"rule": "has(self.sns) != has(self.webhook)", "message": _ONE_CHANNEL},)

    @model_validator(mode="after")
    def _one_channel(self) -> Self:
        if (self.sns is None) == (self.webhook is None):
            raise refuse(_ONE_CHANNEL)
        return self


class InferenceEnvironmentSpec(SpecModel):
    """Where services run, and what they may ask for."""

    region: Annotated[str, *text(30, "[a-z]{2,5}(-[a-z]+)+-[0-9]{1,2}", "an AWS region, such as eu-west-1")]
    """AWS region of the cluster and of all else."""

    cluster: Annotated[
        str, *text(255, "[A-Za-z0-9_-]+", "the name (not the ARN) of an ECS cluster: letters, digits, - and _")
    ]
    """Name of the ECS cluster, which must exist."""

    assume_role_arn: Annotated[str, *ROLE_ARN] | None = None
    """ARN of a role, in this account or another, that the operator takes on for this environment. It works with its own
    rights if absent. Another role of the same account may take its place."""

    external_id: (
        Annotated[
            str,
            *text(1224, r"[A-Za-z0-9+=,.@:/-]{2,}", "at least two letters, digits and + = , . @ : / -, such as prod-1"),
        ]
        | None
    ) = None
    """What the role's trust policy may ask for as sts:ExternalId."""

    network: Network
    """Where in the VPC the tasks have their network interfaces."""

    execution_role_arn: Annotated[str, *ROLE_ARN]
    """ARN of the role with which ECS starts tasks: it pulls the image and writes the logs."""

    task_role_arn: Annotated[str, *ROLE_ARN]
    """ARN of the role that the containers have: it mounts the models' file system."""

    models: ModelStore
    """The EFS file system that holds the models of every service in this environment."""

    load_balancer: LoadBalancer | None = None
    """The Application Load Balancer that the environment's services share. Without it services have no URL."""

    service_discovery: ServiceDiscovery | None = None
    """A Cloud Map namespace for callers inside the VPC, who then need no load balancer. None if absent. Adding or
    removing it replaces the tasks of every service, as a rollout does."""

    logging: EnvironmentLogging = EnvironmentLogging()
    """What becomes of what the containers write."""

    events: Events | None = None
    """How the operator hears of what happens within a second or two. Without it, it asks: every few seconds during a
    rollout, else every few minutes."""

    notifications: Annotated[tuple[Notification, ...], Field(max_length=5)] = ()
    """Where people are told of rollouts. Nowhere if absent."""

    policy: Policy | None = None
    """What services in this environment may ask for. No limits if absent."""

    rules = (
        *(immutable(member, _MADE_THERE) for member in ("region", "cluster")),
        stays("loadBalancer", _MADE_THERE),
        stays("assumeRoleArn", _MADE_THERE),
        {
            "rule": "!has(self.assumeRoleArn) || !has(oldSelf.assumeRoleArn)"
            " || self.assumeRoleArn.split(':')[4] == oldSelf.assumeRoleArn.split(':')[4]",
            "message": f"the account of assumeRoleArn can't be changed: {_MADE_THERE}",
            "fieldPath": ".assumeRoleArn",
        },
        {"rule": "!has(self.externalId) || has(self.assumeRoleArn)", "message": _NO_ROLE},
        {
            "rule": "!has(self.loadBalancer) || self.loadBalancer.listenerArn.split(':')[3] == self.region"
            " && (!has(self.loadBalancer.testListenerArn)"
            " || self.loadBalancer.testListenerArn.split(':')[3] == self.region)",
            "message": _ELSEWHERE,
        },
    )

    @model_validator(mode="after")
    def _an_external_id_is_for_a_role(self) -> Self:
        if self.external_id is not None and self.assume_role_arn is None:
            raise refuse(_NO_ROLE)
        return self

    @model_validator(mode="after")
    def _its_listeners_are_where_it_is(self) -> Self:
        balancer = self.load_balancer
        arns = (balancer.listener_arn, balancer.test_listener_arn) if balancer is not None else ()
        if any(arn is not None and arn.split(":")[3] != self.region for arn in arns):
            raise refuse(_ELSEWHERE)
        return self


class EventsState(StatusModel):
    """Where the operator hears of what happens."""

    queue: Annotated[str, *cut(128)] | None = None
    """Name of the SQS queue and of the EventBridge rule."""
    url: Annotated[str, *cut(2048)] | None = None
    """URL of the queue."""


class InferenceEnvironmentStatus(StatusModel):
    """What the operator knows of the environment."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """The generation of the spec that this status speaks about."""

    conditions: Conditions = ()
    """`Ready` is True when the environment can be used by services, `Verified` when all that it names is there."""
    services: Annotated[int, Field(ge=0)] = 0
    """Number of InferenceDeployments that run in it."""
    events: EventsState | None = None
    """Where the operator hears of what happens. Absent where it asks."""
    security_group_rules: Annotated[tuple[Annotated[str, *cut(128)], ...], *newest(50)] = ()
    """The rules of security groups that the operator made: group, port and source."""
    verification: VerificationState | None = None
    """Whether what the spec names is there, as the checks found last."""
