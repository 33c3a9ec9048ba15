"""The commands that look at an account, as somebody types them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import yaml

from inference_operator.engine.offline import plan_documents
from inference_sandbox.aws.in_process import CREDENTIALS
from tests.operator.builders import deployment_document
from tests.operator.live import LiveCloud, live_cloud
from tests.operator.world import CLUSTER, REGION


@dataclass
class Terminal:
    live: LiveCloud
    folder: Path

    def types(
        self, *arguments: str, environment: Mapping[str, str] = MappingProxyType({}), **spec: Any
    ) -> subprocess.CompletedProcess[str]:
        documents = [self.live.account.environment(), deployment_document(**spec)]
        file = self.folder / "objects.yaml"
        file.write_text(yaml.safe_dump_all(documents))
        variables = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "KUBE"))},
            "KUBECONFIG": str(self.folder / "none"),
            "AWS_ENDPOINT_URL": self.live.url,
            "AWS_ACCESS_KEY_ID": CREDENTIALS["aws_access_key_id"],
            "AWS_SECRET_ACCESS_KEY": CREDENTIALS["aws_secret_access_key"],
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
            **environment,
        }
        return subprocess.run(
            [sys.executable, "-m", "inference_operator", *arguments, "-f", str(file)],
            env=variables,
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
    assert done.stdout.startswith("# shop/recommender\nUnknown  Images: ")
    assert done.stdout.endswith("10 checks, findings: 1\n")
    assert terminal.live.writes(mark) == []


def test_verify_fails_where_something_would_and_can_say_it_in_json(terminal: Terminal) -> None:
    done = terminal.types("verify", "-o", "json", secrets=[{"name": "TOKEN", "valueFrom": "/shop/none"}])
    assert done.returncode == 1
    [report] = json.loads(done.stdout)
    assert [f["check"] for f in report["findings"] if f["result"] == "Failed"] == ["Secrets"]


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
    assert f"there is no active service none in the cluster {CLUSTER} of {REGION}" in done.stderr
    done = terminal.types("import", f"{CLUSTER}/none", "--environment", "other")
    assert "there is no InferenceEnvironment other in the cluster or in FILE (there is: default)" in done.stderr
    assert "no region is known; give --region" in terminal.types("import", f"{CLUSTER}/none").stderr


@pytest.mark.parametrize(
    ("target", "environment", "words"),
    [
        ("elsewhere/web", {}, "ecs:DescribeServices: ClusterNotFoundException: "),
        (f"{CLUSTER}/web", {"AWS_ACCESS_KEY_ID": ""}, "Next: give the operator credentials that AWS takes"),
    ],
)
def test_what_aws_refuses_an_import_is_told_in_a_sentence(
    target: str, environment: dict[str, str], words: str, terminal: Terminal
) -> None:
    done = terminal.types("import", target, "--region", REGION, environment=environment)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: ecs:DescribeServices: ")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1
