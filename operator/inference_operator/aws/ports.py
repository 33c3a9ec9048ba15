"""Everything that the operator asks of AWS, operation by operation. Reading this file is reading the IAM policy.

A method is a boto3 client's method with the members that we send; answers are botocore's maps, with the member names of
the API reference. Errors are `aws.errors.AwsError`. Adding a method here adds its action to the policy (`iam.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, Protocol

from inference_operator.domain.members import Member

Answer = Mapping[str, Any]

ALLOWED_AS = {"s3:HeadBucket": "s3:ListBucket", "sqs:DeleteMessageBatch": "sqs:DeleteMessage"}
"""The action that allows an operation, where it is not called like it (S3 user guide, "Required permissions for Amazon
S3 API operations"; SQS developer guide, "Amazon SQS API permissions")."""


class Ecs(Protocol):
    def describe_clusters(self, *, clusters: Sequence[str]) -> Answer: ...
    def describe_services(self, *, cluster: str, services: Sequence[str], include: Sequence[str]) -> Answer: ...
    def create_service(self, **members: Any) -> Answer: ...
    def update_service(self, **members: Any) -> Answer: ...
    def delete_service(self, *, cluster: str, service: str, force: bool) -> Answer: ...
    def list_service_deployments(self, *, cluster: str, service: str, maxResults: int) -> Answer: ...  # noqa: N803
    def describe_service_deployments(self, *, serviceDeploymentArns: Sequence[str]) -> Answer: ...  # noqa: N803
    def describe_service_revisions(self, *, serviceRevisionArns: Sequence[str]) -> Answer: ...  # noqa: N803
    def continue_service_deployment(self, *, serviceDeploymentArn: str, hookId: str, action: str) -> Answer: ...  # noqa: N803
    def stop_service_deployment(self, *, serviceDeploymentArn: str, stopType: str) -> Answer: ...  # noqa: N803
    def register_task_definition(self, **members: Any) -> Answer: ...
    def deregister_task_definition(self, *, taskDefinition: str) -> Answer: ...  # noqa: N803 boto3's names
    def describe_task_definition(self, *, taskDefinition: str, include: Sequence[str]) -> Answer: ...  # noqa: N803
    def list_task_definitions(self, **members: Any) -> Answer: ...
    def list_tasks(self, **members: Any) -> Answer: ...
    def describe_tasks(self, *, cluster: str, tasks: Sequence[str]) -> Answer: ...
    def tag_resource(self, *, resourceArn: str, tags: Sequence[Mapping[str, str]]) -> Answer: ...  # noqa: N803
    def untag_resource(self, *, resourceArn: str, tagKeys: Sequence[str]) -> Answer: ...  # noqa: N803


class Efs(Protocol):
    def describe_file_systems(self, *, FileSystemId: str) -> Answer: ...  # noqa: N803
    def describe_mount_targets(self, *, FileSystemId: str) -> Answer: ...  # noqa: N803
    def describe_mount_target_security_groups(self, *, MountTargetId: str) -> Answer: ...  # noqa: N803
    def describe_access_points(self, **members: Any) -> Answer: ...
    def create_access_point(self, **members: Any) -> Answer: ...
    def delete_access_point(self, *, AccessPointId: str) -> Answer: ...  # noqa: N803
    def tag_resource(self, *, ResourceId: str, Tags: Sequence[Mapping[str, str]]) -> Answer: ...  # noqa: N803
    def untag_resource(self, *, ResourceId: str, TagKeys: Sequence[str]) -> Answer: ...  # noqa: N803


class Elb(Protocol):
    def describe_listeners(self, **members: Any) -> Answer: ...
    def describe_load_balancers(self, *, LoadBalancerArns: Sequence[str]) -> Answer: ...  # noqa: N803
    def describe_target_groups(self, **members: Any) -> Answer: ...
    def describe_target_group_attributes(self, *, TargetGroupArn: str) -> Answer: ...  # noqa: N803
    def create_target_group(self, **members: Any) -> Answer: ...
    def modify_target_group(self, **members: Any) -> Answer: ...
    def modify_target_group_attributes(self, **members: Any) -> Answer: ...
    def delete_target_group(self, *, TargetGroupArn: str) -> Answer: ...  # noqa: N803
    def describe_target_health(self, *, TargetGroupArn: str) -> Answer: ...  # noqa: N803
    def describe_rules(self, **members: Any) -> Answer: ...
    def create_rule(self, **members: Any) -> Answer: ...
    def modify_rule(self, **members: Any) -> Answer: ...
    def set_rule_priorities(self, *, RulePriorities: Sequence[Mapping[str, Any]]) -> Answer: ...  # noqa: N803
    def delete_rule(self, *, RuleArn: str) -> Answer: ...  # noqa: N803
    def describe_tags(self, *, ResourceArns: Sequence[str]) -> Answer: ...  # noqa: N803
    def add_tags(self, *, ResourceArns: Sequence[str], Tags: Sequence[Mapping[str, str]]) -> Answer: ...  # noqa: N803
    def remove_tags(self, *, ResourceArns: Sequence[str], TagKeys: Sequence[str]) -> Answer: ...  # noqa: N803


class Logs(Protocol):
    def describe_log_groups(self, **members: Any) -> Answer: ...
    def create_log_group(self, **members: Any) -> Answer: ...
    def put_retention_policy(self, *, logGroupName: str, retentionInDays: int) -> Answer: ...  # noqa: N803
    def filter_log_events(self, **members: Any) -> Answer: ...
    def delete_log_group(self, *, logGroupName: str) -> Answer: ...  # noqa: N803
    def list_tags_for_resource(self, *, resourceArn: str) -> Answer: ...  # noqa: N803
    def tag_resource(self, *, resourceArn: str, tags: Mapping[str, str]) -> Answer: ...  # noqa: N803
    def untag_resource(self, *, resourceArn: str, tagKeys: Sequence[str]) -> Answer: ...  # noqa: N803


class Sqs(Protocol):
    def get_queue_url(self, *, QueueName: str) -> Answer: ...  # noqa: N803
    def get_queue_attributes(self, *, QueueUrl: str, AttributeNames: Sequence[str]) -> Answer: ...  # noqa: N803
    def create_queue(self, **members: Any) -> Answer: ...
    def set_queue_attributes(self, *, QueueUrl: str, Attributes: Mapping[str, str]) -> Answer: ...  # noqa: N803
    def delete_queue(self, *, QueueUrl: str) -> Answer: ...  # noqa: N803
    def list_queue_tags(self, *, QueueUrl: str) -> Answer: ...  # noqa: N803
    def tag_queue(self, *, QueueUrl: str, Tags: Mapping[str, str]) -> Answer: ...  # noqa: N803
    def untag_queue(self, *, QueueUrl: str, TagKeys: Sequence[str]) -> Answer: ...  # noqa: N803
    def receive_message(self, *, QueueUrl: str, MaxNumberOfMessages: int, WaitTimeSeconds: int) -> Answer: ...  # noqa: N803
    def delete_message_batch(self, *, QueueUrl: str, Entries: Sequence[Mapping[str, str]]) -> Answer: ...  # noqa: N803


class Events(Protocol):
    """EventBridge."""

    def describe_rule(self, *, Name: str) -> Answer: ...  # noqa: N803
    def put_rule(self, **members: Any) -> Answer: ...
    def delete_rule(self, *, Name: str) -> Answer: ...  # noqa: N803
    def list_targets_by_rule(self, *, Rule: str) -> Answer: ...  # noqa: N803
    def put_targets(self, *, Rule: str, Targets: Sequence[Mapping[str, str]]) -> Answer: ...  # noqa: N803
    def remove_targets(self, *, Rule: str, Ids: Sequence[str]) -> Answer: ...  # noqa: N803
    def list_tags_for_resource(self, *, ResourceARN: str) -> Answer: ...  # noqa: N803
    def tag_resource(self, *, ResourceARN: str, Tags: Sequence[Mapping[str, str]]) -> Answer: ...  # noqa: N803
    def untag_resource(self, *, ResourceARN: str, TagKeys: Sequence[str]) -> Answer: ...  # noqa: N803


class Scaling(Protocol):
    """Application Auto Scaling."""

    def describe_scalable_targets(self, **members: Any) -> Answer: ...
    def register_scalable_target(self, **members: Any) -> Answer: ...
    def deregister_scalable_target(self, **members: Any) -> Answer: ...
    def describe_scaling_policies(self, **members: Any) -> Answer: ...
    def put_scaling_policy(self, **members: Any) -> Answer: ...
    def delete_scaling_policy(self, **members: Any) -> Answer: ...
    def describe_scheduled_actions(self, **members: Any) -> Answer: ...
    def put_scheduled_action(self, **members: Any) -> Answer: ...
    def delete_scheduled_action(self, **members: Any) -> Answer: ...
    def list_tags_for_resource(self, *, ResourceARN: str) -> Answer: ...  # noqa: N803
    def tag_resource(self, *, ResourceARN: str, Tags: Mapping[str, str]) -> Answer: ...  # noqa: N803
    def untag_resource(self, *, ResourceARN: str, TagKeys: Sequence[str]) -> Answer: ...  # noqa: N803


class Ec2(Protocol):
    def describe_subnets(self, *, SubnetIds: Sequence[str]) -> Answer: ...  # noqa: N803
    def describe_security_group_rules(self, **members: Any) -> Answer: ...
    def authorize_security_group_ingress(self, **members: Any) -> Answer: ...
    def revoke_security_group_ingress(self, *, GroupId: str, SecurityGroupRuleIds: Sequence[str]) -> Answer: ...  # noqa: N803
    def describe_vpc_attribute(self, *, VpcId: str, Attribute: str) -> Answer: ...  # noqa: N803


class Discovery(Protocol):
    """Cloud Map."""

    def get_namespace(self, *, Id: str) -> Answer: ...  # noqa: N803
    def list_services(self, **members: Any) -> Answer: ...
    def get_service(self, *, Id: str) -> Answer: ...  # noqa: N803
    def create_service(self, **members: Any) -> Answer: ...
    def update_service(self, *, Id: str, Service: Mapping[str, Any]) -> Answer: ...  # noqa: N803
    def delete_service(self, *, Id: str) -> Answer: ...  # noqa: N803
    def list_tags_for_resource(self, *, ResourceARN: str) -> Answer: ...  # noqa: N803
    def tag_resource(self, *, ResourceARN: str, Tags: Sequence[Mapping[str, str]]) -> Answer: ...  # noqa: N803
    def untag_resource(self, *, ResourceARN: str, TagKeys: Sequence[str]) -> Answer: ...  # noqa: N803


class Iam(Protocol):
    def get_role(self, *, RoleName: str) -> Answer: ...  # noqa: N803
    def simulate_principal_policy(self, **members: Any) -> Answer: ...


class S3(Protocol):
    def head_bucket(self, *, Bucket: str) -> Answer: ...  # noqa: N803


class Firehose(Protocol):
    def describe_delivery_stream(self, *, DeliveryStreamName: str) -> Answer: ...  # noqa: N803


class Ecr(Protocol):
    def batch_get_image(self, **members: Any) -> Answer: ...


class SecretsManager(Protocol):
    def describe_secret(self, *, SecretId: str) -> Answer: ...  # noqa: N803


class Ssm(Protocol):
    def describe_parameters(self, **members: Any) -> Answer: ...


class Sns(Protocol):
    def publish(self, **members: Any) -> Answer: ...


ANY_AGE = timedelta(days=1)
"""Of an answer whose age does not matter."""


class Services(Protocol):
    """DescribeServices for many objects at once: ten to a call (the API's limit), answers shared among the objects."""

    def get(self, cluster: str, service: str, *, max_age: timedelta) -> Answer | None:
        """The service as AWS showed it at most `max_age` ago, or None if there is none (or an INACTIVE one)."""

    def age(self, cluster: str, service: str) -> timedelta:
        """How long ago AWS showed what `get` would answer now whatever its age; nothing if it would have to ask."""

    def beside(
        self,
        cluster: str,
        service: str,
        what: tuple[str, ...],
        read: Callable[[], list[Answer]],
        *,
        moves: Callable[[list[Answer]], bool] = lambda _: False,
        old_will_do: bool = False,
    ) -> list[Answer]:
        """What a call for this service alone tells. It is `read` again once `get` shows that something has happened to
        the service; while nothing does, ever more seldom; each time while it `moves` by itself. Where AWS lets nobody
        ask, one of before may do."""

    def record(self, cluster: str, service: str, answer: Answer | None) -> None:
        """What a write just answered. DescribeServices may lag behind it for some seconds and is then not believed."""


Listing = Literal["access points", "discovery services", "rules", "scalable targets", "target groups"]


class Listings(Protocol):
    """Lists that many objects read: fetched once, shared for some seconds. Who makes something adds it, who changes
    something has its list forgotten; so a fleet that is made asks no more than one that is there.

    AWS may still lack what was made a moment ago, so who creates remembers.
    """

    def access_points(self, file_system: str) -> Sequence[Answer]:
        """As DescribeAccessPoints shows them."""

    def target_groups(self) -> Sequence[Answer]:
        """All of the account's, as DescribeTargetGroups shows them."""

    def rules(self, listener: str) -> Sequence[Answer]:
        """As DescribeRules shows them, with their `Tags` from DescribeTags."""

    def scalable_targets(self) -> Sequence[Answer]:
        """Those of ECS services, as DescribeScalableTargets shows them."""

    def discovery_services(self, namespace: str) -> Sequence[Answer]:
        """Those of a Cloud Map namespace, as ListServices shows them."""

    def load_balancer_of(self, listener: str) -> Answer:
        """The load balancer of the listener, as DescribeLoadBalancers shows it."""

    def shared(self, question: tuple[str, ...], fetch: Callable[[], Answer]) -> Answer:
        """The answer of `fetch`, which others who ask the same `question` for some seconds are given too; likewise the
        AwsError that it raises."""

    def add(self, what: Listing, made: Answer, of: str = "") -> Sequence[Answer] | None:
        """What has been made, as the list would show it; `of`: the file system, listener or namespace. Answers what was
        in the list before it, so that of two who add at once one knows of the other; None if there is no list now."""

    def forget(self, what: Listing | None = None) -> None:
        """Something in these lists was changed, or a write ended in doubt (all of them): the next look is a fresh
        one."""


@dataclass(frozen=True, kw_only=True)
class Aws:
    """One account and region."""

    region: str
    ecs: Ecs
    efs: Efs
    elb: Elb
    logs: Logs
    sqs: Sqs
    events: Events
    scaling: Scaling
    discovery: Discovery
    ec2: Ec2
    iam: Iam
    s3: S3
    firehose: Firehose
    ecr: Ecr
    secrets: SecretsManager
    ssm: Ssm
    sns: Sns
    services: Services
    listings: Listings
    lacking: Collection[Member] = ()
    """What ECS knows and the clients can't send, as botocore is too old."""
