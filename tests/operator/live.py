"""The real operator as a process, between the real API server and the sandbox's AWS on the wall clock.

Tasks and targets are scripted and quick: what is tested is the operator.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from inference_operator.api.meta import GROUP, VERSION
from inference_sandbox.aws import Aws as Sandbox
from inference_sandbox.aws.in_process import CREDENTIALS
from inference_sandbox.aws.server import Server
from inference_sandbox.control_plane import Cluster
from inference_sandbox.ecs.clock import WallClock
from inference_sandbox.ecs.surroundings import Latencies, Settings, TargetGroupFacts
from inference_sandbox.load_balancer.scripted import ScriptedLoadBalancer
from inference_sandbox.tasks.scripted import Script, ScriptedRunner
from tests.eventually import eventually
from tests.operator.builders import deployment_document
from tests.operator.world import READS, REGION, Account

DEPLOYMENTS = "inferencedeployments"
ENVIRONMENTS = "inferenceenvironments"
OBJECT = (GROUP, VERSION)
PROGRAM = (sys.executable, "-m", "inference_operator", "run")
HASTY = (sys.executable, str(Path(__file__).with_name("hasty.py")))
"""The same with its waits shortened."""
MERGE = "application/merge-patch+json"
MOMENT = timedelta(milliseconds=30)
TICK = 0.02
GOES_OFF = 45.0
"""Seconds within which anything that is asked of an operator under test has happened."""


class _QuickLoadBalancer(ScriptedLoadBalancer):
    def deregister(self, target_group_arn: str, address: str, port: int) -> None:
        """Nobody has a request under way, so nothing drains."""
        self._targets[target_group_arn].pop((address, port), None)


@dataclass
class LiveCloud:
    cloud: Sandbox
    account: Account
    runner: ScriptedRunner
    url: str

    def __post_init__(self) -> None:
        self.prepared = self.mark

    @property
    def mark(self) -> int:
        """The number of the latest call."""
        number: int = self.cloud.calls[-1].number
        return number

    def holdings(self) -> dict[str, int]:
        """How many there are in the account, by kind; a kind of which there is none is left out."""
        return {kind: len(things) for kind, things in self.account.holdings().items() if things}

    def calls(self, since: int | None = None) -> list[str]:
        """As `service:Operation`, those since the account was prepared, or after the `since`-th."""
        found = self.cloud.calls.find(since=self.prepared if since is None else since)
        return [f"{call.service}:{call.operation}" for call in found]

    def writes(self, since: int | None = None) -> list[str]:
        return [call for call in self.calls(since) if not call.partition(":")[2].startswith(READS)]


@contextmanager
def live_cloud(folder: Path) -> Iterator[LiveCloud]:
    """Served on loopback, within the `with` block. One at a time in a process."""
    clock = WallClock()
    runner = ScriptedRunner(clock, lambda _launch: Script(starts_after=MOMENT, stops_after=MOMENT))
    latencies = Latencies(
        provisioning=MOMENT, pulling=MOMENT, activating=MOMENT, deprovisioning=MOMENT, spot_warning=MOMENT
    )
    cloud = Sandbox(
        clock=clock,
        runner=runner,
        load_balancer=_QuickLoadBalancer(clock, decides_after=MOMENT),
        efs_root=folder / "efs",
        settings=Settings(latencies=latencies, healthy_after=MOMENT),
    )
    facts_of = cloud.surroundings.target_group

    def checked_often(arn: str) -> TargetGroupFacts | None:
        facts = facts_of(arn)
        return replace(facts, health_check_interval=MOMENT) if facts is not None else None

    cloud.surroundings.target_group = checked_often  # type: ignore[method-assign]  # the interval is the operator's choice
    server, over = Server(cloud), threading.Event()

    def tick() -> None:
        while not over.wait(TICK):
            cloud.tick()

    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    try:
        account = Account(lambda service: cloud.client(service, REGION))
        yield LiveCloud(cloud=cloud, account=account, runner=runner, url=server.url)
    finally:
        over.set()
        ticking.join()
        server.close()


@dataclass
class Operator:
    """`inference-operator run` as a process of its own. Its log is a file, which is shown where a test fails."""

    environment: Mapping[str, str]
    log: Path
    program: Sequence[str]
    metrics_port: int = 0
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)

    def start(self, *, sign: str = "started") -> None:
        """Returns once it has logged the message `sign`."""
        assert self.process is None, "it runs already"
        self.metrics_port = free_port()
        began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.program,
                env={**self.environment, "INFERENCE_OPERATOR_METRICS_PORT": str(self.metrics_port)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

        def started() -> bool:
            assert self.process is not None
            text = self.log.read_bytes()[began:].decode()
            if self.process.poll() is not None:
                raise RuntimeError(f"the operator ended with {self.process.returncode}:\n{text}")
            return f'"message": "{sign}"' in text

        eventually(started, GOES_OFF)

    def stop(self, *, within: float = 30) -> int:
        """SIGTERM; the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(within)
        self.process = None
        return code

    def kill(self) -> None:
        """SIGKILL."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        print(self.log.read_text())  # noqa: T201 shown where the test fails


@dataclass
class Stage:
    """An API server with a namespace and an environment in it, an account, and an operator that may be started."""

    custom: Any
    """CustomObjectsApi."""
    posted: Any
    """EventsV1Api."""
    namespace: str
    live: LiveCloud
    operator: Operator

    # -- what an application team does

    def apply(self, name: str, *, namespace: str | None = None, **spec: Any) -> dict[str, Any]:
        """In the stage's namespace, unless another is given; always in the stage's environment."""
        namespace = namespace or self.namespace
        document = deployment_document(name, namespace, environment=self.namespace, **spec)
        document["metadata"] = {"name": name, "namespace": namespace}
        made: dict[str, Any] = self.custom.create_namespaced_custom_object(*OBJECT, namespace, DEPLOYMENTS, document)
        return made

    def patch(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.custom.patch_namespaced_custom_object(
            *OBJECT, self.namespace, DEPLOYMENTS, name, body, _content_type="application/merge-patch+json"
        )
        return made

    def change_environment(self, **spec: Any) -> None:
        self.patch_environment({"spec": spec})

    def patch_environment(self, body: Mapping[str, Any]) -> None:
        self.custom.patch_cluster_custom_object(
            *OBJECT, ENVIRONMENTS, self.namespace, body, _content_type="application/merge-patch+json"
        )

    def environment(self) -> dict[str, Any] | None:
        """None if it is gone."""
        listed = self.custom.list_cluster_custom_object(*OBJECT, ENVIRONMENTS)["items"]
        return next((item for item in listed if item["metadata"]["name"] == self.namespace), None)

    def environment_stands(self) -> tuple[str, str, str]:
        """Status, reason and message of its condition Ready."""
        found = self.environment() or {}
        conditions = found.get("status", {}).get("conditions", ())
        return next(((c["status"], c["reason"], c["message"]) for c in conditions), ("Unknown", "", ""))

    def delete(self, name: str) -> None:
        self.custom.delete_namespaced_custom_object(*OBJECT, self.namespace, DEPLOYMENTS, name)

    def get(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.custom.get_namespaced_custom_object(*OBJECT, self.namespace, DEPLOYMENTS, name)
        return found

    def names(self) -> set[str]:
        listed = self.custom.list_namespaced_custom_object(*OBJECT, self.namespace, DEPLOYMENTS)
        return {item["metadata"]["name"] for item in listed["items"]}

    def events(self, name: str) -> list[tuple[str, str, str]]:
        """Type, reason and note of the object's Events, as they were posted."""
        listed = self.posted.list_namespaced_event(self.namespace).items
        about = [event for event in listed if event.regarding.name == name]
        return [(e.type, e.reason, e.note) for e in sorted(about, key=lambda e: e.event_time)]

    # -- what it waits for

    def stands(self, name: str, condition: str = "Ready") -> tuple[str, str]:
        """Status and reason of a condition, of the spec as it is now."""
        document = self.get(name)
        for found in document.get("status", {}).get("conditions", ()):
            if found["type"] == condition and found["observedGeneration"] == document["metadata"]["generation"]:
                return found["status"], found["reason"]
        return "Unknown", ""

    def until_ready(self, *names: str, within: float = GOES_OFF) -> None:
        def ready() -> bool:
            standing = {name: self.stands(name) for name in names}
            assert all(status == "True" for status, _ in standing.values()), standing
            return True

        eventually(ready, within)

    def until_gone(self, *names: str, within: float = GOES_OFF) -> None:
        eventually(lambda: not self.names() & set(names), within)

    def until(self, predicate: Callable[[], Any], within: float = GOES_OFF) -> None:
        eventually(predicate, within)


@contextmanager
def stage(cluster: Cluster, folder: Path, namespace: str, *, program: Sequence[str] = HASTY) -> Iterator[Stage]:
    """Within the `with` block. What is left in the namespace at its end is removed, finalizers or not."""
    from kubernetes import client, config  # noqa: PLC0415 an extra, which the callers have found installed

    connect: Any = config.new_client_from_config  # typed in part
    with connect(str(cluster.kubeconfig)) as api, live_cloud(folder) as live:
        custom = client.CustomObjectsApi(api)
        client.CoreV1Api(api).create_namespace(client.V1Namespace(metadata=client.V1ObjectMeta(name=namespace)))
        environment = live.account.environment(namespace)
        environment["metadata"] = {"name": namespace}
        custom.create_cluster_custom_object(*OBJECT, ENVIRONMENTS, environment)
        operator = Operator(
            environment={
                **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "INFERENCE_"))},
                "KUBECONFIG": str(cluster.kubeconfig),
                "AWS_ENDPOINT_URL": live.url,
                "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
                "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
                "AWS_CONFIG_FILE": os.devnull,
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            log=folder / "operator.log",
            program=program,
        )
        made = Stage(
            custom=custom,
            posted=client.EventsV1Api(api),
            namespace=namespace,
            live=live,
            operator=operator,
        )
        try:
            yield made
        finally:
            operator.kill()
            for name in made.names():
                with suppress(client.exceptions.NotFoundException):  # what is being deleted goes with its finalizer
                    made.patch(name, {"metadata": {"finalizers": None}})
                    made.delete(name)
            with suppress(client.exceptions.NotFoundException):
                made.patch_environment({"metadata": {"finalizers": None}})
                custom.delete_cluster_custom_object(*OBJECT, ENVIRONMENTS, namespace)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.monotonic()
    work()
    return time.monotonic() - began
