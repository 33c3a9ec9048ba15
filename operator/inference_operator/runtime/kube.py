"""What the operator writes to and lists from the Kubernetes API, beside what kopf does. Blocking; called in threads."""

from __future__ import annotations

import socket
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from urllib3 import Retry

from inference_operator.api.meta import API_VERSION, GROUP, VERSION
from inference_operator.engine.events import Event

DEPLOYMENTS = "inferencedeployments"
ENVIRONMENTS = "inferenceenvironments"
COMPONENT = "inference-operator"
MESSAGE_LIMIT = 1024  # Event: note
TIMEOUT = (5, 15)  # connect, read
ALL = ""  # namespaces


class GoneError(Exception):
    """The object is no longer there."""


class UnreadableError(Exception):
    """The objects of a namespace may not be listed."""


METADATA_ONLY = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"


def connect() -> client.ApiClient:
    """By the configuration that has been loaded. A server's Retry-After is not waited for: it would hold a pass for as
    long as whoever answers says, and who calls tries again by itself."""
    configuration = client.Configuration.get_default_copy()
    configuration.retries = Retry(3, respect_retry_after_header=False)
    return client.ApiClient(configuration)


class Kube:
    """By the package `kubernetes`, whose configuration has been loaded. `before_write` is called before each write; if
    it raises or does not return, nothing is written."""

    def __init__(self, namespaces: Sequence[str] = (), before_write: Callable[[], None] = lambda: None) -> None:
        self._namespaces = namespaces
        self._before_write = before_write
        api = connect()
        self._objects = client.CustomObjectsApi(api)
        self._events = client.EventsV1Api(api)
        self._instance = socket.gethostname()

    def environments(self) -> dict[str, Mapping[str, Any]]:
        listed: Any = self._objects.list_cluster_custom_object(GROUP, VERSION, ENVIRONMENTS, _request_timeout=TIMEOUT)
        return {item["metadata"]["name"]: item for item in listed["items"]}

    def readable(self) -> list[str]:
        """Those of its namespaces whose objects may be listed: one that is deleted takes the Role in it along.
        UnreadableError if there is none.
        """
        found = [n for n in self._namespaces if self._listed(n, {"limit": 1}) is not None]
        if not found:
            raise UnreadableError(f"InferenceDeployments may be listed in none of {', '.join(self._namespaces)}")
        return found

    def metadata(self) -> list[Mapping[str, Any]]:
        """Of every InferenceDeployment that is looked after, where they may be listed."""
        each = [self._listed(n, {"_headers": {"Accept": METADATA_ONLY}}) for n in self._namespaces or (ALL,)]
        return [item["metadata"] for items in each for item in items or ()]

    def metadata_of_all(self) -> list[Mapping[str, Any]]:
        """The environments' too."""
        return [*self.metadata(), *(environment["metadata"] for environment in self.environments().values())]

    def deployments(self) -> list[Mapping[str, Any]]:
        """Every InferenceDeployment that is looked after. UnreadableError if there may be more than can be listed."""
        found: list[Mapping[str, Any]] = []
        for namespace in self._namespaces or (ALL,):
            items = self._listed(namespace, {})
            if items is None and self._namespace(namespace) is not None:
                raise UnreadableError(f"InferenceDeployments may not be listed in {namespace}")
            found += items or ()
        return found

    def latest(self, document: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """The same object or environment as it is now; as given, if that may not be seen; None if it is gone."""
        metadata = document["metadata"]
        if "namespace" not in metadata:
            found: Iterable[Mapping[str, Any]] | None = self.environments().values()
        else:
            found = self._listed(metadata["namespace"], {"field_selector": f"metadata.name={metadata['name']}"})
        if found is None:
            return document
        return next((item for item in found if item["metadata"]["uid"] == metadata["uid"]), None)

    def _listed(self, namespace: str, options: dict[str, Any]) -> list[Mapping[str, Any]] | None:
        """The InferenceDeployments of a namespace, None if they may not be listed; or those of the cluster."""
        options = {**options, "_request_timeout": TIMEOUT}
        if namespace == ALL:
            listed: Any = self._objects.list_cluster_custom_object(GROUP, VERSION, DEPLOYMENTS, **options)
            return listed["items"] or []  # null if empty
        try:
            listed = self._objects.list_namespaced_custom_object(GROUP, VERSION, namespace, DEPLOYMENTS, **options)
        except ApiException as error:
            if error.status == HTTPStatus.FORBIDDEN:
                return None
            raise
        return listed["items"] or []

    def namespace_labels(self, namespace: str) -> dict[str, str]:
        """A namespace that does not exist has none."""
        found = self._namespace(namespace)
        return dict(found["metadata"].get("labels") or {}) if found is not None else {}

    def _namespace(self, name: str) -> Mapping[str, Any] | None:
        """None if there is none."""
        try:
            return self._core("namespaces/{name}", name=name)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def secret(self, namespace: str, name: str) -> dict[str, str]:
        """Its values by key."""
        found = self._core("namespaces/{namespace}/secrets/{name}", namespace=namespace, name=name)
        return {key: b64decode(value).decode() for key, value in (found.get("data") or {}).items()}

    def _core(self, path: str, **parameters: str) -> Mapping[str, Any]:
        """An object of the core group. Without `CoreV1Api`, which takes 20 MB."""
        api: Any = self._objects.api_client
        request = api.param_serialize(
            "GET",
            f"/api/v1/{path}",
            path_params=parameters,
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        answer = api.call_api(*request, _request_timeout=TIMEOUT)
        answer.read()
        found: Mapping[str, Any] = api.response_deserialize(answer, {"200": "object"}).data
        return found

    def deployment(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        """None if there is none."""
        where = (GROUP, VERSION, namespace, DEPLOYMENTS, name)
        try:
            found: Any = self._objects.get_namespaced_custom_object(*where, _request_timeout=TIMEOUT)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        return dict(found)

    def write_status(
        self, document: Mapping[str, Any], before: Mapping[str, Any] | None, after: Mapping[str, Any]
    ) -> str | None:
        """Makes `after` the status of this very object, whose status is `before`: the resourceVersion that it has then.
        None if they are equal, and nothing is sent.

        Raises GoneError if the object is gone.
        """
        if (before or {}) == after:
            return None
        metadata = document["metadata"]
        # Whole: what it really was may be something else by now. An earlier write may have come through after all, or
        # somebody may have taken the status away; and the object may be the next one of the name.
        body = [
            {"op": "test", "path": "/metadata/uid", "value": metadata["uid"]},
            {"op": "add", "path": "/status", "value": after},
        ]
        options: dict[str, Any] = {"_content_type": "application/json-patch+json", "_request_timeout": TIMEOUT}
        self._before_write()
        try:
            if "namespace" in metadata:
                stored: Any = self._objects.patch_namespaced_custom_object_status(
                    GROUP, VERSION, metadata["namespace"], DEPLOYMENTS, metadata["name"], body, **options
                )
            else:
                stored = self._objects.patch_cluster_custom_object_status(
                    GROUP, VERSION, ENVIRONMENTS, metadata["name"], body, **options
                )
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise GoneError(metadata["name"]) from error
            raise
        return str(stored["metadata"]["resourceVersion"])

    def publish(self, document: Mapping[str, Any], event: Event, name: str, count: int) -> None:
        """Posts a new Event; or, if it has happened `count` times by now, says so on the Event that is there."""
        metadata = document["metadata"]
        body = client.EventsV1Event(
            metadata=client.V1ObjectMeta(name=name, namespace=metadata["namespace"]),
            event_time=micro_time(datetime.now(UTC)),
            type=event.type,
            reason=event.reason,
            action="Reconcile",
            note=event.message[:MESSAGE_LIMIT],
            reporting_controller=COMPONENT,
            reporting_instance=self._instance,
            regarding=client.V1ObjectReference(
                api_version=API_VERSION,
                kind="InferenceDeployment",
                namespace=metadata["namespace"],
                name=metadata["name"],
                uid=metadata["uid"],
            ),
        )
        self._before_write()
        if count > 1:
            series = client.EventsV1EventSeries(count=count, last_observed_time=micro_time(datetime.now(UTC)))
            try:
                self._events.patch_namespaced_event(
                    name, metadata["namespace"], {"series": series}, _request_timeout=TIMEOUT
                )
            except ApiException as error:
                if error.status != HTTPStatus.NOT_FOUND:  # if it is forgotten, it is posted anew
                    raise
            else:
                return
        self._events.create_namespaced_event(metadata["namespace"], body, _request_timeout=TIMEOUT)


def micro_time(at: datetime) -> datetime:
    """As the API server reads a MicroTime: with a fraction, which the client leaves out at a full second."""
    return at.replace(microsecond=max(1, at.microsecond))
