"""The objects in some files, as a pass takes them: what a plan and a verification are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from inference_operator.api.meta import GROUP
from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec
from inference_operator.domain.names import Identity
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
    """Of its namespace, if that is among the documents, or in the cluster."""

    @property
    def name(self) -> str:
        metadata = self.document["metadata"]
        return f"{metadata['namespace']}/{metadata['name']}"

    @property
    def identity(self) -> Identity:
        metadata = self.document["metadata"]
        return Identity(namespace=metadata["namespace"], name=metadata["name"], uid=metadata["uid"])

    def accepted(self) -> tuple[InferenceDeploymentSpec, InferenceEnvironmentSpec] | Refusal:
        return accept(self.document, self.environments, self.labels)


class Cluster(Protocol):
    """What a cluster knows of the objects."""

    def environments(self) -> Mapping[str, Document]: ...
    def deployment(self, namespace: str, name: str) -> Document | None: ...
    def namespace_labels(self, namespace: str) -> Labels: ...


def manifests(documents: Sequence[Document], cluster: Cluster | None = None) -> list[Manifest]:
    """One for each InferenceDeployment; other kinds than ours and Namespaces are passed over. What the documents do not
    tell, and who an object is that exists already, is asked of the cluster."""
    environments = {d["metadata"]["name"]: d for d in of_kind("InferenceEnvironment", documents)}
    namespaces = {
        d["metadata"]["name"]: d["metadata"].get("labels", {}) for d in documents if d.get("kind") == "Namespace"
    }
    if cluster is not None:
        environments = {**cluster.environments(), **environments}
    wanted = [_completed(d) for d in of_kind("InferenceDeployment", documents)]
    return [_manifest(d, environments, namespaces.get(d["metadata"]["namespace"]), cluster) for d in wanted]


def of_kind(kind: str, documents: Sequence[Document]) -> list[Document]:
    """Those of a kind of ours."""
    return [d for d in documents if d.get("kind") == kind and str(d.get("apiVersion", "")).startswith(f"{GROUP}/")]


def _manifest(
    document: Document, environments: Mapping[str, Document], labels: Labels | None, cluster: Cluster | None
) -> Manifest:
    if cluster is None:
        return Manifest(document=document, environments=environments, labels=labels)
    namespace, name = document["metadata"]["namespace"], document["metadata"]["name"]
    labels = labels if labels is not None else cluster.namespace_labels(namespace)
    known = cluster.deployment(namespace, name)
    document = _applied(document, known) if known is not None else document
    return Manifest(document=document, environments=environments, labels=labels)


def _applied(document: Document, known: Document) -> Document:
    """The object as it would be after `document` was applied."""
    metadata = {**known["metadata"], "annotations": document["metadata"].get("annotations", {})}
    return {"metadata": metadata, "spec": document["spec"], "status": known.get("status")}


def _completed(document: Document) -> dict[str, Any]:
    metadata = {"namespace": "default", "uid": NOBODY, "generation": 1, **document["metadata"]}
    return {"metadata": metadata, "spec": document.get("spec", {})}
