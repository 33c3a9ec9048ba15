"""IAM mode: what a call needs to be allowed, and whether its caller's policies allow it.

Which action, resource and condition keys a call has follows the Service Authorization Reference; a caller's policies
are those attached to its role or user in moto's IAM. The root user may do everything. This module must not know how a
call is performed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from moto.efs.models import efs_backends
from moto.elbv2.models import elbv2_backends
from moto.events.models import events_backends
from moto.iam.models import iam_backends
from moto.logs.models import logs_backends
from moto.secretsmanager.models import secretsmanager_backends
from moto.servicediscovery.models import servicediscovery_backends
from moto.sqs.models import sqs_backends
from moto.sts.models import sts_backends

from inference_sandbox.aws.policies import Access, Policy, allowed
from inference_sandbox.ecs.accounts import Caller

Parameters = Mapping[str, Any]
Tags = Mapping[str, str]
PREFIXES = {"monitoring": "cloudwatch"}
"""The action's prefix, where it is not the name in the signature."""
ALWAYS_ALLOWED = frozenset({"sts:GetCallerIdentity"})


class Asked(Protocol):
    """What is known of a call."""

    @property
    def service(self) -> str: ...
    @property
    def operation(self) -> str: ...
    @property
    def parameters(self) -> Parameters: ...
    @property
    def region(self) -> str: ...
    @property
    def account(self) -> str: ...
    @property
    def principal(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Own:
    """What only the services that the sandbox performs itself can tell, by the name that a signature carries."""

    tags: Mapping[str, Callable[[Caller, str], Tags]] = field(default_factory=dict)
    """The tags of a resource, by its ARN."""
    resources: Mapping[str, Callable[[Caller, Parameters], Sequence[str]]] = field(default_factory=dict)
    """The ARNs of what a request is about."""
    tagging_is_free: Mapping[str, Callable[[Caller], bool]] = field(default_factory=dict)
    """Whether something may be tagged as it is made without leave to tag."""

    def needs_tagging(self, call: Asked) -> bool:
        free = self.tagging_is_free.get(call.service)
        return free is None or not free(_caller(call))


def refused(policies: Sequence[Policy], asked: Iterable[Access]) -> Access | None:
    """The first access that the policies do not allow; None if the call may be performed."""
    return next((access for access in asked if not _may(policies, access)), None)


def _may(policies: Sequence[Policy], access: Access) -> bool:
    return access.action in ALWAYS_ALLOWED or allowed(policies, access)


# -- whose policies


def policies_of(principal: str, account: str) -> list[Policy] | None:
    """Inline and attached policies; None for the root user, to whom none apply."""
    kind, _, name = principal.rsplit(":", 1)[-1].partition("/")
    if kind == "root":
        return None
    backend = iam_backends[account]["aws"]
    holders: list[Any]
    if kind == "assumed-role":
        holders = [role for role in backend.roles.values() if role.name == name.split("/")[0]]
    else:
        holders = [user for user in backend.users.values() if user.name == name.rsplit("/", 1)[-1]]
    found: list[Policy] = []
    for holder in holders:
        found += [_document(text) for text in holder.policies.values()]
        found += [_document(_default_version(policy)) for policy in holder.managed_policies.values()]
    return found


def _default_version(policy: Any) -> str:
    return str(next(each.document for each in policy.versions if each.is_default))


def _document(text: Any) -> Policy:
    return dict(json.loads(text)) if isinstance(text, str) else dict(text)


def principal_arn(access_key: str, account: str) -> str:
    """Whose key it is."""
    for partition in list(sts_backends.get(account, {}).values()):
        role = partition.get_assumed_role_from_access_key(access_key)
        if role is not None:
            return str(role.arn)
    for user in iam_backends[account]["aws"].users.values():
        if any(key.access_key_id == access_key for key in user.access_keys):
            return str(user.arn)
    return f"arn:aws:iam::{account}:root"


# -- what a call does


def accesses(call: Asked, own: Own) -> Iterable[Access]:
    """The call itself on each resource, then what it implies: tagging what it makes, passing roles."""
    prefix = PREFIXES.get(call.service, call.service)
    given = _requested_tags(call)
    context: dict[str, Sequence[str]] = {f"aws:requesttag/{key.lower()}": [value] for key, value in given.items()}
    if given:
        context["aws:tagkeys"] = list(given)
    context["aws:requestedregion"] = [call.region]
    if call.service == "ecs":
        context |= _ecs_context(call)
    if call.service == "application-autoscaling":
        context |= _scaling_context(call)
    known = own.resources.get(call.service)
    resources = (known(_caller(call), call.parameters) if known else _resources(call)) or ["*"]
    for resource in resources:
        tags = {f"aws:resourcetag/{key.lower()}": [value] for key, value in _tags_of(resource, call, own).items()}
        yield Access(action=_action(prefix, call.operation), resource=resource, context=context | tags)
    if given and call.operation.startswith(MAKING) and own.needs_tagging(call):
        tagging = TAGGING.get(call.service, "TagResource")
        making = {f"{prefix}:createaction": [call.operation]} if call.service in TELLS_WHAT_MAKES else {}
        for resource in resources:
            yield Access(action=f"{prefix}:{tagging}", resource=resource, context=context | making)
    for role, to in _passed_roles(call):
        yield Access(action="iam:PassRole", resource=role, context={"iam:passedtoservice": [to]})


MAKING = ("Create", "Register", "RunTask", "PutRule", "AuthorizeSecurityGroup")
"""How operations begin that make something which may have tags from the start."""
TAGGING = {"elasticloadbalancing": "AddTags", "ec2": "CreateTags", "sqs": "TagQueue"}
"""What tagging is called where it is not TagResource."""
TELLS_WHAT_MAKES = frozenset({"ec2", "ecs", "elasticfilesystem", "elasticloadbalancing"})
"""Services whose tagging has the condition key CreateAction, where something is tagged as it is made."""

ACTIONS = {
    "s3": {
        "AbortMultipartUpload": "AbortMultipartUpload",
        "CompleteMultipartUpload": "PutObject",
        "CreateMultipartUpload": "PutObject",
        "UploadPart": "PutObject",
        "HeadObject": "GetObject",
        "HeadBucket": "ListBucket",
        "ListObjects": "ListBucket",
        "ListObjectsV2": "ListBucket",
        "ListBuckets": "ListAllMyBuckets",
        "DeleteObjects": "DeleteObject",
    },
    "sqs": {
        "ChangeMessageVisibilityBatch": "ChangeMessageVisibility",
        "DeleteMessageBatch": "DeleteMessage",
        "SendMessageBatch": "SendMessage",
    },
}
"""Operations that are not allowed by their own name (S3 user guide, "Required permissions for Amazon S3 API
operations"; SQS developer guide, "Amazon SQS API permissions")."""


def _action(prefix: str, operation: str) -> str:
    return f"{prefix}:{ACTIONS.get(prefix, {}).get(operation, operation)}"


def _requested_tags(call: Asked) -> Tags:
    given = call.parameters.get("Tags") or call.parameters.get("tags") or []
    if call.service == "ec2":
        given = [tag for each in call.parameters.get("TagSpecifications") or [] for tag in each.get("Tags") or []]
    if isinstance(given, Mapping):
        return {str(key): str(value) for key, value in given.items()}
    return {
        str(tag.get("key") or tag.get("Key")): str(tag.get("value") or tag.get("Value") or "")
        for tag in given
        if isinstance(tag, Mapping)
    }


def _ecs_context(call: Asked) -> dict[str, Sequence[str]]:
    context: dict[str, Sequence[str]] = {"ecs:cluster": [_cluster(call)]}
    definition = call.parameters.get("taskDefinition")
    if definition:
        context["ecs:task-definition"] = [_arn(call, "ecs", f"task-definition/{str(definition).rsplit('/', 1)[-1]}")]
    return context


def _scaling_context(call: Asked) -> dict[str, Sequence[str]]:
    members = {"service-namespace": "ServiceNamespace", "scalable-dimension": "ScalableDimension"}
    given = {key: call.parameters.get(member) for key, member in members.items()}
    return {f"application-autoscaling:{key}": [str(value)] for key, value in given.items() if value}


def _caller(call: Asked) -> Caller:
    return Caller(call.account, call.region, call.principal)


def _arn(call: Asked, service: str, rest: str) -> str:
    return f"arn:aws:{service}:{call.region}:{call.account}:{rest}"


def _cluster(call: Asked) -> str:
    name = str(call.parameters.get("cluster") or "default").rsplit("/", 1)[-1]
    return _arn(call, "ecs", f"cluster/{name}")


def _in_cluster(call: Asked, kind: str, name: Any) -> str:
    cluster = _cluster(call).rsplit("/", 1)[-1]
    return _arn(call, "ecs", f"{kind}/{cluster}/{str(name).rsplit('/', 1)[-1]}")


def _resources(call: Asked) -> list[str]:
    """ARNs, as the Service Authorization Reference gives resource types to actions; empty for "*"."""
    known = {
        "ecs": _ecs_resources,
        "elasticfilesystem": _efs_resources,
        "elasticloadbalancing": _elb_resources,
        "logs": _logs_resources,
        "events": _named_resource("Name", "Rule", form="rule/{}"),
        "servicediscovery": _cloud_map_resources,
        "sqs": _sqs_resources,
        "sns": _named_resource("Name", form="{}", arn="TopicArn"),
        "s3": _s3_resources,
        "ecr": _named_resource("repositoryName", form="repository/{}"),
        "ssm": _parameters,
        "secretsmanager": _secrets,
        "iam": _named_resource("RoleName", form="role/{}", regional=False),
        "sts": _roles_taken_on,
        "monitoring": _named_resource("AlarmName", form="alarm:{}", service="cloudwatch"),
    }.get(call.service)
    return known(call) if known is not None else []


ECS_RESOURCES = (
    ("service", "serviceName", {"CreateService"}),
    ("service", "service", {"UpdateService", "DeleteService", "ListServiceDeployments"}),
    ("service", "services", {"DescribeServices"}),
    ("task", "tasks", {"DescribeTasks", "UpdateTaskProtection", "GetTaskProtection"}),
    ("task", "task", {"StopTask", "ExecuteCommand"}),
)
"""The kind of resource, the member that names it, and the actions on it."""


def _ecs_resources(call: Asked) -> list[str]:
    given = call.parameters
    for kind, member, operations in ECS_RESOURCES:
        if call.operation in operations:
            names = given.get(member) or []
            return [_in_cluster(call, kind, name) for name in (names if isinstance(names, list) else [names])]
    if call.operation in ("RunTask", "RegisterTaskDefinition"):
        name = given.get("taskDefinition") or f"{given.get('family')}:*"
        return [_arn(call, "ecs", f"task-definition/{str(name).rsplit('/', 1)[-1]}")]
    if call.operation == "DescribeClusters":
        return [
            _arn(call, "ecs", f"cluster/{name.rsplit('/', 1)[-1]}") for name in given.get("clusters") or ["default"]
        ]
    if call.operation in ("DeleteCluster", "UpdateCluster", "UpdateClusterSettings", "PutClusterCapacityProviders"):
        return [_cluster(call)]
    return [arn for each in _arns_in(given) for arn in _and_its_service(each)]


def _and_its_service(arn: str) -> list[str]:
    """What is done to a service's deployment or revision is done to the service too."""
    prefix, _, name = arn.rpartition(":")
    kind, *path = name.split("/")
    return (
        [arn, f"{prefix}:service/{'/'.join(path[:2])}"] if kind in ("service-deployment", "service-revision") else [arn]
    )


def _efs_resources(call: Asked) -> list[str]:
    given = call.parameters
    found = []
    if given.get("FileSystemId"):
        found.append(_arn(call, "elasticfilesystem", f"file-system/{given['FileSystemId']}"))
    if given.get("AccessPointId"):
        found.append(_arn(call, "elasticfilesystem", f"access-point/{given['AccessPointId']}"))
    resource = str(given.get("ResourceId") or "").rsplit("/", 1)[-1]
    if resource:
        kind = "access-point" if resource.startswith("fsap-") else "file-system"
        found.append(_arn(call, "elasticfilesystem", f"{kind}/{resource}"))
    return found


def _elb_resources(call: Asked) -> list[str]:
    if call.operation.startswith("Describe"):
        return []  # no Describe action takes a resource
    if call.operation == "CreateTargetGroup":
        return [_arn(call, "elasticloadbalancing", f"targetgroup/{call.parameters.get('Name')}/*")]
    if call.operation == "SetRulePriorities":
        return [str(each.get("RuleArn")) for each in call.parameters.get("RulePriorities") or []]
    return [arn for arn in _arns_in(call.parameters) if ":elasticloadbalancing:" in arn]


def _logs_resources(call: Asked) -> list[str]:
    name = call.parameters.get("logGroupName")
    if name:
        return [_arn(call, "logs", f"log-group:{name}")]
    return [_arn(call, "logs", "log-group:*")] if call.operation == "DescribeLogGroups" else _arns_in(call.parameters)


def _cloud_map_resources(call: Asked) -> list[str]:
    """Tagging has no resource there."""
    given = call.parameters
    if call.operation == "CreateService":
        namespace = given.get("NamespaceId") or (given.get("DnsConfig") or {}).get("NamespaceId")
        return [_arn(call, "servicediscovery", f"namespace/{namespace}"), _arn(call, "servicediscovery", "service/*")]
    kind = call.operation.removeprefix("Get").removeprefix("Update").removeprefix("Delete").lower()
    return [_arn(call, "servicediscovery", f"{kind}/{given['Id']}")] if kind in ("service", "namespace") else []


def _sqs_resources(call: Asked) -> list[str]:
    name = call.parameters.get("QueueName") or str(call.parameters.get("QueueUrl") or "").rsplit("/", 1)[-1]
    return [_arn(call, "sqs", name)] if name else []


def _s3_resources(call: Asked) -> list[str]:
    bucket, key = call.parameters.get("Bucket"), call.parameters.get("Key")
    if not bucket:
        return []
    return [f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"]


def _roles_taken_on(call: Asked) -> list[str]:
    return [str(call.parameters["RoleArn"])] if call.parameters.get("RoleArn") else []


def _parameters(call: Asked) -> list[str]:
    names = call.parameters.get("Names") or [call.parameters.get("Name")]
    return [_arn(call, "ssm", f"parameter/{str(name).removeprefix('/')}") for name in names if name]


def _secrets(call: Asked) -> list[str]:
    """A secret's ARN ends in six characters that its name does not tell."""
    name = call.parameters.get("SecretId")
    if name is None:
        return []
    known = secretsmanager_backends[call.account][call.region].secrets
    return [str(known[name].arn) if name in known else str(name)]


def _named_resource(
    *members: str, form: str, arn: str | None = None, regional: bool = True, service: str | None = None
) -> Any:
    """A function of a call for services whose resources are named by one member of the request."""

    def find(call: Asked) -> list[str]:
        if arn and call.parameters.get(arn):
            return [str(call.parameters[arn])]
        name = next((call.parameters[each] for each in members if call.parameters.get(each)), None)
        if name is None:
            return _arns_in(call.parameters)
        region = call.region if regional else ""
        return [f"arn:aws:{service or call.service}:{region}:{call.account}:{form.format(name)}"]

    return find


def _arns_in(given: Parameters) -> list[str]:
    """The ARNs among the members named …Arn and …Arns."""
    found: list[str] = []
    for name, value in given.items():
        if name.endswith(("Arn", "ARN")) and isinstance(value, str):
            found.append(value)
        elif name.endswith("Arns") and isinstance(value, list):
            found += [str(each) for each in value]
    return [each for each in found if each.startswith("arn:") and ":role/" not in each]


def _passed_roles(call: Asked) -> list[tuple[str, str]]:
    """iam:PassRole is needed for each role that a call hands to a service."""
    given = call.parameters
    if call.operation == "RegisterTaskDefinition":
        roles = (given.get("taskRoleArn"), given.get("executionRoleArn"))
        return [(str(role), "ecs-tasks.amazonaws.com") for role in dict.fromkeys(roles) if role]
    if call.operation in ("CreateService", "UpdateService"):
        advanced = [each.get("advancedConfiguration") or {} for each in given.get("loadBalancers") or []]
        return [(str(each["roleArn"]), "ecs.amazonaws.com") for each in advanced if each.get("roleArn")]
    return []


# -- tags that a resource has


def _tags_of(resource: str, call: Asked, own: Own) -> Tags:
    known = own.tags.get(call.service)
    if known is not None:
        return known(_caller(call), resource)
    identifier = resource.rsplit("/", 1)[-1]
    if ":elasticfilesystem:" in resource:
        return dict(efs_backends[call.account][call.region].tagging_service.get_tag_dict_for_resource(identifier))
    if ":elasticloadbalancing:" in resource:
        return dict(elbv2_backends[call.account][call.region].tagging_service.get_tag_dict_for_resource(resource))
    if ":sqs:" in resource:
        queue = sqs_backends[call.account][call.region].queues.get(resource.rpartition(":")[2])
        return dict(queue.tags) if queue is not None else {}
    backends = TAGGED.get(call.service)
    return dict(backends[call.account][call.region].tagger.get_tag_dict_for_resource(resource)) if backends else {}


TAGGED: Mapping[str, Any] = {
    "events": events_backends,
    "logs": logs_backends,
    "servicediscovery": servicediscovery_backends,
}
"""Where moto keeps tags by ARN."""
