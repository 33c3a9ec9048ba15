"""The objects in some files, as a pass takes them: what a plan and a verification are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_operator.api.meta import GROUP
from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.domain.policy import Labels
from inference_operator.engine.objects import Document, accept
from inference_operator.engine.status import Refusal

NOBODY = "00000000-0000-0000-0000-000000000000"
"""The uid of an object that is not in a cluster."""


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """One InferenceDeployment."""

    document: Document
    """With the metadata that an API server would have given it."""
    environments: Mapping[str, Document]
    labels: Labels | None
    """Of its namespace, if that is among the documents."""

    @property
    def name(self) -> str:
        metadata = self.document["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}"

    def accepted(self) -> tuple[InferenceDeploymentSpec, InferenceEnvironmentSpec] | Refusal:
        return accept(self.document, self.environments, self.labels)


def manifests(documents: Sequence[Document]) -> list[Manifest]:
    """One for each InferenceDeployment; other kinds than ours and Namespaces are passed over."""
    ours = [d for d in documents if str(d.get("apiVersion", "")).startswith(f"{GROUP}/")]
    environments = {d["metadata"]["name"]: d for d in ours if d.get("kind") == "InferenceEnvironment"}
    namespaces = {
        d["metadata"]["name"]: d["metadata"].get("labels", {}) for d in documents if d.get("kind") == "Namespace"
    }
    wanted = [_completed(d) for d in ours if d.get("kind") == "InferenceDeployment"]
    return [
        Manifest(document=d, environments=environments, labels=namespaces.get(d["metadata"]["namespace"]))
        for d in wanted
    ]


def _completed(document: Document) -> dict[str, Any]:
    metadata = {"namespace": "default", "uid": NOBODY, "generation": 1, **document["metadata"]}
    return {"metadata": metadata, "spec": document.get("spec", {})}
