"""botocore's model of an AWS service, reduced to what the ports ask for: all that a process keeps of it.

The model of EC2 alone tells of 830 operations, of which the operator calls five; with the documentation of each member
the models take 53 MiB, without what nobody calls 20. Pure: the models come as values.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from inference_operator.aws import ports

Model = Mapping[str, Any]
PROSE = frozenset({"documentation", "documentationUrl"})

CLIENTS: Mapping[str, type] = {
    "ecs": ports.Ecs,
    "efs": ports.Efs,
    "elbv2": ports.Elb,
    "logs": ports.Logs,
    "sqs": ports.Sqs,
    "events": ports.Events,
    "application-autoscaling": ports.Scaling,
    "servicediscovery": ports.Discovery,
    "ec2": ports.Ec2,
    "iam": ports.Iam,
    "s3": ports.S3,
    "firehose": ports.Firehose,
    "ecr": ports.Ecr,
    "secretsmanager": ports.SecretsManager,
    "ssm": ports.Ssm,
    "sns": ports.Sns,
}
"""By boto3's name of the service."""


def operations(port: type) -> set[str]:
    """What a port asks for, by the names of the API reference."""
    methods = (name for name, _ in inspect.getmembers(port, inspect.isfunction) if not name.startswith("_"))
    return {"".join(word.capitalize() for word in name.split("_")) for name in methods}


def without_prose(members: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """For `json.loads(…, object_pairs_hook=…)`. A member of that name that is a shape is kept."""
    return {name: value for name, value in members if name not in PROSE or not isinstance(value, str)}


def reduced(model: Model, asked: Collection[str]) -> dict[str, Any]:
    """The model with the operations that are `asked` for, and the shapes that these reach."""
    kept = {name: operation for name, operation in model["operations"].items() if name in asked}
    shapes: dict[str, Any] = {}
    waiting = list(_named(kept))
    while waiting:
        name = waiting.pop()
        if name not in shapes:
            shapes[name] = model["shapes"][name]
            waiting += _named(shapes[name])
    # botocore reads the prose of these alone without asking whether there is any (ServiceModel).
    settings = {name: {"documentation": "", **each} for name, each in model.get("clientContextParams", {}).items()}
    return {**model, "operations": kept, "shapes": shapes, "clientContextParams": settings}


def _named(part: Any) -> Iterator[str]:
    """The shapes that a part of a model refers to: each by a map whose member `shape` is a name."""
    if isinstance(part, Mapping):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        for inner in part.values():
            yield from _named(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _named(inner)
