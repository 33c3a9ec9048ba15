"""The custom resource definitions, as documents and as files. What a field is, the models say; this adds the furniture.

`inference-operator crd` and `python -m inference_operator.api.crd DIRECTORY` write them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import yaml

from inference_operator.api.meta import GROUP, VERSION
from inference_operator.api.model import NAME_LENGTH, NAME_REGEX, SpecModel, StatusModel
from inference_operator.api.prose import explained
from inference_operator.api.schema import Schema, structural_schema
from inference_operator.api.v1alpha1 import (
    NAME_MUST_BE,
    InferenceDeploymentSpec,
    InferenceDeploymentStatus,
    InferenceEnvironmentSpec,
    InferenceEnvironmentStatus,
)

HEADER: Final = "# Generated from the models in operator/inference_operator/api: edit those, then `make manifests`.\n"


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column that `kubectl get` prints; a wide one only with `-o wide`."""

    name: str
    path: str
    description: str
    type: str = "string"
    wide: bool = False

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "description": self.description,
            "jsonPath": self.path,
            "priority": int(self.wide),
        }


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of the group: its names, models and columns."""

    kind: str
    short_name: str
    scope: str
    description: str
    spec: type[SpecModel]
    status: type[StatusModel]
    columns: Sequence[Column]
    scale: Mapping[str, str] = field(default_factory=dict)

    @property
    def plural(self) -> str:
        return f"{self.kind.lower()}s"


def _ready(member: str) -> str:
    return f'.status.conditions[?(@.type=="Ready")].{member}'


_READY: Final = Column(name="Ready", path=_ready("status"), description="Whether the latest spec is in effect.")
_REASON: Final = Column(name="Reason", path=_ready("reason"), description="Why it is ready or not.")
_MESSAGE: Final = Column(name="Message", path=_ready("message"), description="What is the matter.", wide=True)
_AGE: Final = Column(name="Age", path=".metadata.creationTimestamp", description="Time since creation.", type="date")

KINDS: Final = (
    Kind(
        kind="InferenceEnvironment",
        short_name="infenv",
        scope="Cluster",
        description="A place for inference services: an ECS cluster with its network, roles, models and guardrails.",
        spec=InferenceEnvironmentSpec,
        status=InferenceEnvironmentStatus,
        columns=(
            _READY,
            _REASON,
            Column(name="Region", path=".spec.region", description="AWS region."),
            Column(name="Cluster", path=".spec.cluster", description="ECS cluster."),
            Column(name="Services", path=".status.services", description="Services that run in it.", type="integer"),
            _AGE,
            _MESSAGE,
        ),
    ),
    Kind(
        kind="InferenceDeployment",
        short_name="infdep",
        scope="Namespaced",
        description="An inference service on ECS Fargate: an image, the models that it serves, and how many tasks.",
        spec=InferenceDeploymentSpec,
        status=InferenceDeploymentStatus,
        columns=(
            _READY,
            _REASON,
            Column(
                name="Replicas", path=".status.readyReplicas", description="Tasks that are healthy.", type="integer"
            ),
            Column(name="Model", path=".status.running.model", description="Folder of the models that are served."),
            Column(name="URL", path=".status.url", description="Address of the service."),
            _AGE,
            Column(name="Revision", path=".status.running.revision", description="Revision that is served.", wide=True),
            _MESSAGE,
        ),
        scale={
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    ),
)

_NAME_RULE: Final = {
    "rule": f"self.metadata.name.size() <= {NAME_LENGTH} && self.metadata.name.matches('^{NAME_REGEX}$')",
    "message": f"metadata.name must be {NAME_MUST_BE}",
    "fieldPath": ".metadata",
}


def crd_documents() -> tuple[dict[str, Any], ...]:
    """Every CustomResourceDefinition of the group."""
    return tuple(_document(kind) for kind in KINDS)


def _document(kind: Kind) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short_name],
                "categories": ["inference"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "schema": {"openAPIV3Schema": _object_schema(kind)},
                    "subresources": {"status": {}, **({"scale": dict(kind.scale)} if kind.scale else {})},
                    "additionalPrinterColumns": [column.document() for column in kind.columns],
                }
            ],
        },
    }


def _object_schema(kind: Kind) -> Schema:
    return {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "description": f"Group and version: {GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"{kind.kind}."},
            "metadata": {"type": "object"},
            "spec": explained(structural_schema(kind.spec)),
            "status": explained(structural_schema(kind.status)),
        },
        "x-kubernetes-validations": [_NAME_RULE],
    }


def crd_files() -> dict[str, str]:
    """File name → YAML text, one for each kind."""
    return {
        f"{GROUP}_{document['spec']['names']['plural']}.yaml": HEADER + yaml.safe_dump(document, width=120)
        for document in crd_documents()
    }


def write_crds(directory: Path) -> list[Path]:
    """Writes every file; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in crd_files().items():
        (directory / name).write_text(text, encoding="utf-8")
        paths.append(directory / name)
    return paths


def check_crds(directory: Path) -> list[str]:
    """What is wrong with the files in `directory`, a line for each; empty if they are what the models say."""
    wanted = crd_files()
    present = {path.name: path.read_text(encoding="utf-8") for path in directory.glob("*.yaml")}
    return [
        *(f"{directory / name} is missing" for name in wanted.keys() - present.keys()),
        *(f"{directory / name} belongs to no kind" for name in present.keys() - wanted.keys()),
        *(
            f"{directory / name} is out of date"
            for name in wanted.keys() & present.keys()
            if present[name] != wanted[name]
        ),
    ]


if __name__ == "__main__":
    write_crds(Path(sys.argv[1] if len(sys.argv) > 1 else "crds"))
