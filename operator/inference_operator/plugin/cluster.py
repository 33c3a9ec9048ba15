"""What the plugin asks of the Kubernetes API, with the rights of whoever calls it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import click
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException

from inference_operator.api.meta import GROUP, VERSION

DEPLOYMENTS, ENVIRONMENTS = "inferencedeployments", "inferenceenvironments"
TIMEOUT = (5, 15)  # connect, read
MERGE = "application/merge-patch+json"
APPLY = "application/apply-patch+yaml"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
EVERY = 1.0
"""Seconds between two looks while something is watched."""

Document = Mapping[str, Any]


@dataclass
class Cluster:
    """`namespace` is that of the kubeconfig's context if none is given."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str = ""
    _objects: Any = field(init=False)
    _api: Any = field(init=False)

    def __post_init__(self) -> None:
        try:
            connect: Any = config.new_client_from_config  # typed in part
            self._api = connect(self.kubeconfig, self.context)
            contexts: Any = config.list_kube_config_contexts(self.kubeconfig)  # type: ignore[no-untyped-call]  # typed in part
        except (ConfigException, OSError) as error:
            raise click.ClickException(
                f"the kubeconfig can't be used: {error}. Set --kubeconfig or KUBECONFIG"
            ) from error
        self._objects = client.CustomObjectsApi(self._api)
        used = next((c for c in contexts[0] if c["name"] == self.context), contexts[1])
        self.namespace = self.namespace or used["context"].get("namespace") or "default"

    def get(self, name: str) -> Document:
        return self._asked(
            self._objects.get_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            DEPLOYMENTS,
            name,
            what=f"{name} in namespace {self.namespace}",
        )

    def in_namespace(self, namespace: str | None) -> Cluster:
        """The same, in another namespace if one is given."""
        other = copy(self)
        other.namespace = namespace or self.namespace
        return other

    def find(self, name: str) -> Document | None:
        """None if there is none."""
        named = f"metadata.name={name}"
        found = self._asked(
            self._objects.list_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            DEPLOYMENTS,
            field_selector=named,
        )
        return next(iter(found["items"]), None)

    def all(self, *, everywhere: bool) -> list[Document]:
        if everywhere:
            found = self._asked(self._objects.list_cluster_custom_object, GROUP, VERSION, DEPLOYMENTS)
        else:
            found = self._asked(
                self._objects.list_namespaced_custom_object, GROUP, VERSION, self.namespace, DEPLOYMENTS
            )
        return list(found["items"])

    def environment(self, name: str) -> Document:
        return self._asked(
            self._objects.get_cluster_custom_object, GROUP, VERSION, ENVIRONMENTS, name, what=f"environment {name}"
        )

    def labels_of(self, namespace: str) -> Document:
        """The namespace with its labels, which an environment's policy may ask for."""
        read: Any = client.CoreV1Api(self._api).read_namespace
        labels = self._asked(read, namespace, what=f"namespace {namespace}").metadata.labels  # type: ignore[attr-defined]  # a V1Namespace
        return {"kind": "Namespace", "metadata": {"name": namespace, "labels": labels or {}}}

    def annotate(self, name: str, annotations: Mapping[str, str | None]) -> Document:
        """None takes an annotation away."""
        return self._asked(
            self._objects.patch_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            DEPLOYMENTS,
            name,
            {"metadata": {"annotations": dict(annotations)}},
            what=f"{name} in namespace {self.namespace}",
            field_manager="kubectl-inference",
            _content_type=MERGE,
        )

    def dry_run(self, document: Document, before: Document | None) -> Document:
        """The object as it would be after `document` was applied in the way in which `before` was: what was applied
        then and is not in `document` goes. Nothing is written."""
        applier = _applied_by(before) if before is not None else None
        patch = _client_side(document, before) if before is not None and applier is None else None
        answer: Any = self._asked(
            self._objects.patch_namespaced_custom_object,
            GROUP,
            VERSION,
            self.namespace,
            DEPLOYMENTS,
            document["metadata"]["name"],
            document if patch is None else patch,
            field_manager=applier or "kubectl-inference",
            force=True if patch is None else None,
            field_validation="Strict",
            dry_run="All",
            _content_type=APPLY if patch is None else MERGE,
            _preload_content=False,  # the client knows no answer for an object that is new
        )
        made: Document = json.loads(answer.data)
        return made

    def events(self, document: Document) -> list[Document]:
        """Kubernetes Events about it; none if they may not be read."""
        uid = document["metadata"]["uid"]
        try:
            found: Any = client.EventsV1Api(self._api).list_namespaced_event(
                document["metadata"]["namespace"], field_selector=f"regarding.uid={uid}", _request_timeout=TIMEOUT
            )
        except ApiException:
            return []
        return [self._api.sanitize_for_serialization(event) for event in found.items]

    def watch(self, name: str) -> Iterator[Document]:
        """The object now, and whenever it has changed."""
        version = None
        while True:
            document = self.get(name)
            if document["metadata"]["resourceVersion"] != version:
                version = document["metadata"]["resourceVersion"]
                yield document
            time.sleep(EVERY)

    def _asked(self, call: Any, *args: Any, what: str = "", **options: Any) -> Document:
        try:
            found: Document = call(*args, _request_timeout=TIMEOUT, **options)
            return found
        except ApiException as error:
            if error.status == 404 and what:  # noqa: PLR2004 not found
                raise click.ClickException(f"there is no {what}") from error
            raise click.ClickException(
                f"the API server answers {error.status} {error.reason}: {_message(error)}"
            ) from error
        except Exception as error:  # urllib3's: many
            raise click.ClickException(f"the API server can't be reached: {type(error).__name__}") from error


def _applied_by(document: Document) -> str | None:
    """Who applies its spec on the server's side."""
    fields = document["metadata"].get("managedFields", ())
    return next((one["manager"] for one in fields if one["operation"] == "Apply" and "f:spec" in one["fieldsV1"]), None)


def _client_side(document: Document, before: Document) -> Document | None:
    """The patch that `kubectl apply` makes of the annotation that it left last time; None if there is none."""
    last = (before["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    return {"spec": _merge(json.loads(last).get("spec") or {}, document.get("spec"))} if last is not None else None


def _merge(last: Mapping[str, Any], now: Any) -> Any:
    """A merge patch that makes it as it is `now`, and takes away what it was made to have `last`."""
    if not isinstance(now, Mapping):
        return now
    gone = dict.fromkeys(last.keys() - now.keys())
    return gone | {k: _merge(last[k], v) if isinstance(last.get(k), Mapping) else v for k, v in now.items()}


def _message(error: ApiException) -> str:
    try:
        return str(json.loads(error.body or "{}").get("message", ""))
    except ValueError:
        return str(error.body)[:200]
