from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from kubernetes.client import Configuration
from kubernetes.client.exceptions import ApiException

from inference_operator.runtime.election import KubeLease
from inference_operator.runtime.kube import Kube as Writer
from tests.operator.builders import deployment_document
from tests.operator.live import DEPLOYMENTS, OBJECT

if TYPE_CHECKING:
    from inference_sandbox.pytest_plugin import Kube

FIRST = {"replicas": 1, "readyReplicas": 1, "url": "https://inference.example.com/shop/recommender"}
SECOND = {"replicas": 2, "readyReplicas": 1}


@pytest.fixture
def writer(kube: Kube) -> Writer:
    made = Writer()
    made._objects = kube.custom
    return made


@pytest.fixture
def stored(crds: None, kube: Kube) -> dict[str, Any]:
    document = deployment_document(namespace=kube.namespace)
    document["metadata"] = {"name": "recommender"}
    made: dict[str, Any] = kube.custom.create_namespaced_custom_object(*OBJECT, kube.namespace, DEPLOYMENTS, document)
    return made


def now(kube: Kube) -> dict[str, Any]:
    return dict(kube.custom.get_namespaced_custom_object(*OBJECT, kube.namespace, DEPLOYMENTS, "recommender"))


def test_a_status_is_as_it_was_written_whatever_it_was_before(
    kube: Kube, writer: Writer, stored: dict[str, Any]
) -> None:
    version = writer.write_status(stored, None, FIRST)
    assert now(kube)["metadata"]["resourceVersion"] == version
    writer.write_status(stored, None, SECOND)  # the first write came through, and its answer did not
    assert now(kube)["status"] == SECOND
    writer.write_status(stored, FIRST, {**FIRST, "replicas": 3})  # somebody has put another one there meanwhile
    assert now(kube)["status"] == {**FIRST, "replicas": 3}


def test_the_next_object_of_a_name_is_not_told_what_the_one_before_was(
    kube: Kube, writer: Writer, stored: dict[str, Any]
) -> None:
    before = {**stored, "metadata": {**stored["metadata"], "uid": "another"}}
    with pytest.raises(ApiException):
        writer.write_status(before, None, FIRST)
    assert "status" not in now(kube)


def test_nothing_is_written_where_nothing_has_changed(writer: Writer, stored: dict[str, Any]) -> None:
    assert writer.write_status(stored, FIRST, FIRST) is None


class _Busy(BaseHTTPRequestHandler):
    """As a load balancer whose servers are away: come back in an hour."""

    def do_GET(self) -> None:
        self.send_response(503)
        self.send_header("Retry-After", "3600")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.mark.parametrize(
    "ask",
    [lambda: Writer().environments(), lambda: Writer().namespace_labels("shop"), lambda: KubeLease("a", "b").read()],
    ids=["objects", "a namespace", "the lease"],
)
def test_nobody_waits_in_a_thread_for_as_long_as_an_answer_says(
    ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = SimpleNamespace(sleep=lambda seconds: pytest.fail(f"waits {seconds} s"))
    monkeypatch.setattr("urllib3.util.retry.time", waits)  # there alone: other threads may sleep
    with HTTPServer(("127.0.0.1", 0), _Busy) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        configuration = Configuration(host=f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setattr(Configuration, "get_default_copy", lambda: configuration)
        with pytest.raises(ApiException, match="503"):
            ask()
        server.shutdown()
