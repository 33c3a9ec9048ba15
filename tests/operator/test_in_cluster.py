"""The operator in a pod: where it asks the API server, and as whom."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import kopf
import pytest
from kopf._core.intents import piggybacking
from kopf._core.intents.causes import Activity
from kubernetes.config import incluster_config

from inference_operator.runtime import handlers
from inference_operator.runtime.health import Health
from inference_operator.runtime.settings import Settings


class Pod:
    """The files and variables that the kubelet gives to one."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.token, certificate = folder / "token", folder / "ca.crt"
        certificate.write_text("of the cluster")
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
        monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "8443")
        monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(self.token))
        monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(certificate))
        # kopf has the paths in its code.
        exists = SimpleNamespace(environ=os.environ, path=SimpleNamespace(exists=lambda _: True))
        monkeypatch.setattr(piggybacking, "os", exists)
        monkeypatch.setattr(piggybacking, "open", lambda path, **_: (folder / Path(path).name).open(), raising=False)
        (folder / "namespace").write_text("operators")

    def logs_in(self) -> kopf.ConnectionInfo:
        registry = kopf.OperatorRegistry()
        handlers.register(registry, Settings(), Health(), lambda: None, lambda: None)
        (login,) = registry._activities.get_handlers(activity=Activity.AUTHENTICATION)
        login_as_kopf_does: Any = login.fn
        info = login_as_kopf_does(logger=logging.getLogger(), settings=kopf.OperatorSettings())
        assert isinstance(info, kopf.ConnectionInfo)
        return info


def test_the_watch_asks_where_kubernetes_says_without_a_dns_and_with_the_token_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = Pod(tmp_path, monkeypatch)
    for token in ("first", "rotated"):
        pod.token.write_text(token)
        info = pod.logs_in()
        assert (info.server, info.token) == ("https://[fd00::1]:8443", token)
