"""The commands that look at an account, as somebody types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from inference_operator.cli import main
from inference_operator.engine.offline import plan_documents
from inference_operator.runtime.settings import misspelt
from inference_sandbox.aws.in_process import CREDENTIALS
from tests.operator.builders import deployment_document
from tests.operator.live import LiveCloud, live_cloud
from tests.operator.world import CLUSTER, REGION


@dataclass
class Terminal:
    live: LiveCloud
    folder: Path

    def types(self, *arguments: str, **spec: Any) -> subprocess.CompletedProcess[str]:
        return self.types_exactly(*arguments, "-f", str(self.objects(**spec)))

    def objects(self, **spec: Any) -> Path:
        """A file with an environment, all that it names being there, and a service."""
        environment = self.live.account.environment()
        del environment["spec"]["logging"]
        file = self.folder / "objects.yaml"
        file.write_text(yaml.safe_dump_all([environment, deployment_document(**spec)]))
        return file

    def types_exactly(self, *arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
        """With such environment variables besides, or without those that are None."""
        environment: Mapping[str, str | None] = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KUBE"))},
            "KUBECONFIG": str(self.folder / "none"),
            "AWS_ENDPOINT_URL": self.live.url,
            "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-m", "inference_operator", *arguments],
            env={name: value for name, value in environment.items() if value is not None},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )


@pytest.fixture(scope="module")
def terminal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Terminal]:
    folder = tmp_path_factory.mktemp("terminal")
    with live_cloud(folder) as live:
        yield Terminal(live, folder)


def test_verify_says_what_it_found_and_succeeds_where_nothing_would_fail(terminal: Terminal) -> None:
    mark = terminal.live.mark
    done = terminal.types("verify")
    assert done.returncode == 0, done.stderr
    of_environment, of_service = done.stdout.split("\n\n")
    assert of_environment == "# InferenceEnvironment default\n9 checks, findings: 0"
    assert of_service.startswith("# shop/recommender\nUnknown  Images: ")
    assert of_service.endswith("10 checks, findings: 1\n")
    assert terminal.live.writes(mark) == []


def test_verify_looks_for_what_an_environment_names_before_there_is_a_service(terminal: Terminal) -> None:
    environment = terminal.live.account.environment()  # the bucket that it names is not there
    file = terminal.folder / "environment.yaml"
    file.write_text(yaml.safe_dump(environment))
    done = terminal.types_exactly("verify", "-f", str(file))
    assert done.returncode == 1
    assert "\nFailed   LogDestinations: spec.logging.destinations: the log destination archive: " in done.stdout
    environment["spec"]["cluster"] = "arn:aws:ecs:eu-west-1:123456789012:cluster/inference"
    file.write_text(yaml.safe_dump(environment))
    assert "\nrefused: InvalidSpec: spec.cluster" in terminal.types_exactly("verify", "-f", str(file)).stdout


def test_verify_fails_where_something_would_and_can_say_it_in_json(terminal: Terminal) -> None:
    done = terminal.types("verify", "-o", "json", secrets=[{"name": "TOKEN", "valueFrom": "/shop/none"}])
    assert done.returncode == 1
    reports = {report["name"]: report["findings"] for report in json.loads(done.stdout)}
    assert reports["InferenceEnvironment default"] == []
    assert [f["check"] for f in reports["shop/recommender"] if f["result"] == "Failed"] == ["Secrets"]


def test_a_live_plan_reads_the_account_and_writes_nothing(terminal: Terminal) -> None:
    mark = terminal.live.mark
    done = terminal.types("plan", "--live")
    assert done.returncode == 0, done.stderr
    assert any(line.split() == ["Service", "create"] for line in done.stdout.splitlines())
    assert "ecs.create_service" in done.stdout
    assert terminal.live.writes(mark) == []
    assert "ecs:DescribeTaskDefinition" in terminal.live.calls(mark)


def made_by_hand(terminal: Terminal) -> str:
    """A service of nobody's; its name."""
    account = terminal.live.account
    ecs = account.client("ecs")
    ecs.register_task_definition(
        family="web",
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="512",
        memory="1024",
        containerDefinitions=[{"name": "web", "image": "registry.example.com/web:1", "entryPoint": ["/start"]}],
        **account.roles,
    )
    network = {"subnets": account.subnets, "securityGroups": account.security_groups}
    ecs.create_service(
        cluster=CLUSTER,
        serviceName="web",
        taskDefinition="web",
        desiredCount=0,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": network},
    )
    return f"{CLUSTER}/web"


def test_an_import_prints_manifests_that_can_be_planned_and_writes_nothing(terminal: Terminal) -> None:
    service = made_by_hand(terminal)
    mark = terminal.live.mark
    done = terminal.types("import", service, "--region", REGION, "--namespace", "shop")
    assert done.returncode == 0, done.stderr
    assert "# - taskDefinition.containerDefinitions[app].entryPoint: " in done.stdout
    deployment, environment = yaml.safe_load_all(done.stdout)
    assert deployment["metadata"]["namespace"] == "shop"
    assert deployment["spec"]["cpu"] == "0.5"
    assert [plan.refusal for plan in plan_documents([deployment, environment])] == [None]
    named = terminal.types("import", f"arn:aws:ecs:{REGION}:123456789012:service/{service}", "--environment", "default")
    assert named.returncode == 0, named.stderr
    assert [each["kind"] for each in yaml.safe_load_all(named.stdout)] == ["InferenceDeployment"]
    assert terminal.live.writes(mark) == []


def test_an_import_of_what_is_not_there_says_what_was_looked_for(terminal: Terminal) -> None:
    done = terminal.types("import", f"{CLUSTER}/none", "--region", REGION)
    assert done.returncode == 1
    assert f"there is no active service none with a task definition in the cluster {CLUSTER} of {REGION}" in done.stderr
    done = terminal.types("import", f"{CLUSTER}/none", "--environment", "other")
    assert "there is no InferenceEnvironment other in the cluster or in FILE (there is: default)" in done.stderr
    assert "no region is known; give --region" in terminal.types("import", f"{CLUSTER}/none").stderr


KUBECONFIG = """\
apiVersion: v1
kind: Config
clusters: [{name: it, cluster: {server: "http://127.0.0.1:1"}}]
contexts: [{name: it, context: {cluster: it, user: it}}]
users: [{name: it, user: {}}]
current-context: it
"""


def in_a_line(done: subprocess.CompletedProcess[str]) -> str:
    """What a command that fails says."""
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith("Error: ")
    assert "Traceback" not in done.stderr
    return done.stderr


def test_what_can_not_be_asked_is_told_in_a_line(terminal: Terminal) -> None:
    said = in_a_line(terminal.types_exactly("import", "nowhere/web", "--region", REGION))
    assert "ClusterNotFoundException" in said
    assert "Next: " in said
    file, config = terminal.objects(), terminal.folder / "kubeconfig"
    config.write_text(KUBECONFIG)
    for command in (("verify",), ("plan", "--live")):
        without = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}
        assert "no AWS credentials" in in_a_line(terminal.types_exactly(*command, "-f", str(file), **without))
        said = in_a_line(terminal.types_exactly(*command, "-f", str(file), KUBECONFIG=str(config)))
        assert "the cluster of KUBECONFIG can't be reached" in said
    assert "there is no cluster to work in" in in_a_line(terminal.types_exactly("run"))
    said = in_a_line(terminal.types_exactly("run", INFERENCE_OPERATOR_CONCURRENCY="0"))
    assert said == "Error: INFERENCE_OPERATOR_CONCURRENCY is '0': Input should be greater than or equal to 1\n"
    said = in_a_line(terminal.types_exactly("run", INFERENCE_OPERATOR_NAMESPACE="shop"))
    assert said == "Error: INFERENCE_OPERATOR_NAMESPACE is not a setting; did you mean INFERENCE_OPERATOR_NAMESPACES?\n"


def test_what_kubernetes_sets_for_a_service_called_as_the_operator_is_taken_for_no_setting() -> None:
    links = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_METRICS", "PORT", "PORT_8080_TCP", "PORT_8080_TCP_ADDR")
    assert list(misspelt({f"INFERENCE_OPERATOR_{link}": "" for link in links} | {"inference_operator_lease": ""})) == []


@pytest.mark.parametrize("command", [("verify",), ("plan",), ("plan", "--live")], ids=" ".join)
@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("kind: Namespace\nmetadata: {name: shop}\n", "there is no InferenceDeployment "),
        ("", "there is no InferenceDeployment "),
        ("{", "can't be read"),
        ("a line of a log", "holds no objects of Kubernetes but 'a line of a log'"),
        ("kind: InferenceDeployment\nspec: {}\n", "of the kind InferenceDeployment without a metadata.name"),
    ],
)
def test_a_file_of_which_nothing_can_be_said_is_an_error(
    command: tuple[str, ...], text: str, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(text)
    done = CliRunner().invoke(main, [*command, "-f", str(file)])  # it is read before anything is asked of anybody
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert complaint in done.stderr
