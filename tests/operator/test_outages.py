"""The API server goes away for a while, as when a control plane is updated, and comes back. Or AWS is silent."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from inference_sandbox.control_plane import Cluster
from tests.operator.live import Stage
from tests.operator.test_high_availability import holder
from tests.operator.world import CLUSTER, REGION

PERSISTENT = """
from botocore.config import Config
from inference_operator.aws import clients

clients.CONFIG = clients.CONFIG.merge(Config(read_timeout=2, retries={"mode": "standard", "total_max_attempts": 99}))
from inference_operator.cli import main

main(["run"])
"""
"""The operator, with clients that try again and again what is not answered."""
BETTER = "registry.example.com/inference-server:1.5.0"


class Gate:
    """A way to a server that can be shut: then whoever is inside is thrown out, and nobody is let in. Or it is a hole:
    everybody is let in, and hears nothing."""

    def __init__(self, host: str, port: int) -> None:
        self._to = (host, port)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._inside: list[socket.socket] = []
        self.port: int = self._door.getsockname()[1]
        self.open = True
        self.hole = False
        self.swallowed = 0
        """Pieces of requests that nobody will answer."""
        threading.Thread(target=self._let_in, daemon=True).start()

    def shut(self) -> None:
        self.open = False
        for end in self._inside:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self.shut()
        for end in (self._door, *self._inside):
            end.close()

    def _let_in(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                caller, _ = self._door.accept()
                if not self.open:
                    caller.close()
                    continue
                server = socket.create_connection(self._to)
                self._inside += (caller, server)
                for ends in ((caller, server), (server, caller)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.hole:
                    self.swallowed += 1
                else:
                    to.sendall(data)
            to.shutdown(socket.SHUT_WR)


@contextmanager
def gate_before(stage: Stage, folder: Path) -> Iterator[Gate]:
    """Within the block the operator, once started, reaches the API server through a gate."""
    document = yaml.safe_load(Path(stage.operator.environment["KUBECONFIG"]).read_text())
    cluster = document["clusters"][0]["cluster"]
    server = urlsplit(cluster["server"])
    gate = Gate(server.hostname or "", server.port or 0)
    cluster["server"] = f"https://127.0.0.1:{gate.port}"
    own = folder / "kubeconfig-through-the-gate"
    own.write_text(yaml.safe_dump(document))
    stage.operator.environment = {**stage.operator.environment, "KUBECONFIG": str(own)}
    try:
        yield gate
    finally:
        stage.operator.kill()
        gate.close()


def test_what_was_asked_for_while_the_api_server_was_away_is_done_when_it_is_back(stage: Stage, tmp_path: Path) -> None:
    with gate_before(stage, tmp_path) as gate, stage.operator:
        stage.apply("recommender")
        stage.until_ready("recommender")
        mark = stage.live.mark

        gate.shut()
        stage.patch("recommender", {"spec": {"image": BETTER}})
        stage.until(lambda: "Request attempt #2" in stage.operator.log.read_text())  # so it has missed the watch
        assert stage.live.writes(mark) == []
        gate.open = True

        stage.until_ready("recommender")
        assert stage.operator.stop() == 0  # it has lived through that
        assert stage.live.writes(mark) == ["ecs:RegisterTaskDefinition", "ecs:UpdateService"]


def test_a_rollout_that_ends_while_the_api_server_is_away_is_told_when_it_is_back(stage: Stage, tmp_path: Path) -> None:
    with gate_before(stage, tmp_path) as gate, stage.operator:
        stage.apply("recommender")
        stage.until(lambda: "ecs:CreateService" in stage.live.calls())
        gate.shut()
        ecs = stage.live.cloud.client("ecs", REGION)

        def over() -> bool:
            [service] = ecs.describe_services(cluster=CLUSTER, services=[f"{stage.namespace}_recommender"])["services"]
            return bool(service["deployments"][0]["rolloutState"] == "COMPLETED")

        stage.until(over)
        stage.until(lambda: "status not written" in stage.operator.log.read_text())
        gate.open = True

        stage.until_ready("recommender")
        assert stage.live.calls().count("ecs:CreateService") == 1


def test_an_operator_that_starts_while_the_api_server_is_away_works_when_it_is_back(
    stage: Stage, tmp_path: Path
) -> None:
    stage.apply("recommender")
    with gate_before(stage, tmp_path) as gate:
        gate.shut()
        stage.operator.start(sign="the objects can't be listed yet")
        assert stage.operator.stop() == 0  # nor does it hold up a shutdown
        stage.operator.start(sign="the objects can't be listed yet")
        gate.open = True
        stage.until_ready("recommender")


def test_an_operator_that_is_told_to_stop_while_aws_is_silent_ends_in_time_and_gives_its_lease_back(
    stage: Stage, own_cluster: Cluster
) -> None:
    aws = urlsplit(stage.operator.environment["AWS_ENDPOINT_URL"])
    gate = Gate(aws.hostname or "", aws.port or 0)
    gate.hole = True
    environment = {
        **stage.operator.environment,
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{gate.port}",
        "INFERENCE_OPERATOR_LEASE": f"{stage.namespace}/operator",
    }
    stage.apply("recommender")
    with replace(stage.operator, environment=environment, program=(sys.executable, "-c", PERSISTENT)) as operator:
        stage.until(lambda: gate.swallowed)
        assert holder(own_cluster, stage)
        assert operator.stop(within=20) == 0
    assert holder(own_cluster, stage) == ""
    gate.close()
