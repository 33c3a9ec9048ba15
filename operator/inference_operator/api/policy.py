"""What an environment allows the services in it. Knows no service."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from inference_operator.api.constraints import Flag, Unique, text, whole
from inference_operator.api.logging import DestinationName
from inference_operator.api.model import SpecModel
from inference_operator.api.quantities import Cpu, Memory

MAXIMUM_REPLICAS = 5000
"""Tasks of one ECS service: a quota of AWS."""

_ImagePattern = Annotated[
    str,
    *text(
        255,
        r"[A-Za-z0-9*?][A-Za-z0-9._:/@*?-]*",
        "an image reference with * for any text and ? for one character, such as registry.example.com/team/*",
    ),
]
_RolePattern = Annotated[
    str,
    *text(
        2048,
        r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/*?-]+",
        "the ARN of an IAM role with * for any text and ? for one character, "
        "such as arn:aws:iam::123456789012:role/inference-*",
    ),
]
NAMESPACE = "{namespace}"
"""Stands in a pattern for the service's own namespace, so that one pattern gives each team what is its own."""

_FolderPattern = Annotated[
    str,
    *text(
        255,
        r"(/([A-Za-z0-9_=@+:,.~*-]|\{namespace\})+)+",
        f"a folder with * for any text and {NAMESPACE} for the service's, such as /{NAMESPACE}/*",
    ),
]
_PathPattern = Annotated[
    str,
    *text(
        255,
        r"(/([A-Za-z0-9_.~*-]|\{namespace\})+)*/\*",
        f"a URL path that ends in /*, with * for any text and {NAMESPACE} for the service's, such as /{NAMESPACE}/*",
    ),
]
_HostPattern = Annotated[
    str,
    *text(
        255,
        r"([a-z0-9.*-]|\{namespace\})+",
        f"a host name with * for any text and {NAMESPACE} for the service's, such as *.{NAMESPACE}.example.com",
    ),
]
_LabelValue = Annotated[str, Field(max_length=63)]


class NamespaceSelector(SpecModel):
    """Which namespaces may have services here."""

    match_labels: Annotated[dict[str, _LabelValue], Field(min_length=1, max_length=20)]
    """Labels that a namespace must have, all of them, with these values."""


class Maximum(SpecModel):
    """The most that one service may ask for."""

    cpu: Cpu | None = None
    """Most vCPUs of one task. No limit if absent."""

    memory: Memory | None = None
    """Most memory of one task. No limit if absent."""

    replicas: Annotated[int, whole(0, MAXIMUM_REPLICAS)] | None = None
    """Most tasks of one service. No limit of its own if absent."""


class IngressPolicy(SpecModel):
    """Which requests of the shared load balancer services may ask for."""

    paths: Annotated[tuple[_PathPattern, ...], Field(min_length=1, max_length=50), Unique()] | None = None
    """Patterns of the URL paths allowed, the one that a service has by default included. Any path if absent."""

    hosts: Annotated[tuple[_HostPattern, ...], Field(min_length=1, max_length=50), Unique()] | None = None
    """Patterns of the host names allowed; a service must then name its hosts. Any host if absent."""


class LoggingPolicy(SpecModel):
    """What services may do with their logs."""

    destinations: Annotated[tuple[DestinationName, ...], Field(max_length=10), Unique()] | None = None
    """Names of the destinations that routes may go to. All of the environment's if absent."""

    custom: Flag = True
    """Whether services may bring a configuration of the log router of their own, which can send logs anywhere."""


class Policy(SpecModel):
    """What services in this environment may ask for. A service that asks for more is not accepted."""

    namespaces: NamespaceSelector | None = None
    """Which namespaces may have services here. Every one if absent."""

    images: Annotated[tuple[_ImagePattern, ...], Field(min_length=1, max_length=50), Unique()] | None = None
    """Patterns of the images allowed. Any image if absent."""

    task_role_arns: Annotated[tuple[_RolePattern, ...], Field(min_length=1, max_length=50), Unique()] | None = None
    """Patterns of the roles that a service may name as its `taskRoleArn`, besides the environment's. None if absent."""

    model_paths: Annotated[tuple[_FolderPattern, ...], Field(min_length=1, max_length=50), Unique()] | None = None
    """Patterns of the folders allowed as `models.path`. Any folder if absent."""

    ingress: IngressPolicy | None = None
    """Which requests of the shared load balancer services may ask for. Any if absent."""

    maximum: Maximum | None = None
    """The most that one service may ask for. No limit if absent."""

    logging: LoggingPolicy | None = None
    """What services may do with their logs. Anything if absent."""
