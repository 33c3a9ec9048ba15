"""`inference-sandbox up` as a user has it: one real sandbox for all tests here, in a process of its own."""

from __future__ import annotations

import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import psutil
import pytest

from inference_sandbox.control_plane import Cluster
from inference_sandbox.details import Details
from tests.eventually import eventually

PROGRAM = (sys.executable, "-m", "inference_sandbox")
MARK = "INFERENCE_SANDBOX_TEST"
"""An environment variable that every process inherits from the sandbox that it comes from."""
ECHO = "registry.example.com/echo:1"


class Cli:
    """The command, with folders of its own for what it remembers and for what it leaves."""

    def __init__(self, folder: Path, control_plane: Cluster) -> None:
        assets = control_plane.kubectl_program.parent
        self._folder = folder
        # A test runner may say how wide its own terminal is; rich would believe it of ours.
        inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
        self._environment = inherited | {
            "XDG_CACHE_HOME": str(folder),
            "KUBEBUILDER_ASSETS": str(assets),
            "PATH": f"{assets}{os.pathsep}{os.environ['PATH']}",
        }

    def start(
        self, command: str, *arguments: str, name: str = "default", stdout: int = subprocess.PIPE
    ) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*PROGRAM, command, "--name", name, *arguments],
            env=self._environment | {MARK: self._mark(name)},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, command: str, *arguments: str, name: str = "default") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*PROGRAM, command, "--name", name, *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def running(self, name: str) -> set[str]:
        """The names of all processes that live and that come from the sandbox of that name, by whatever way."""
        return {process.name() for process in psutil.process_iter() if self._comes_from(process, name)}

    def processes(self, name: str, program: str) -> list[psutil.Process]:
        """Those of the sandbox of that name that run that program."""
        return [each for each in psutil.process_iter() if each.name() == program and self._comes_from(each, name)]

    def _mark(self, name: str) -> str:
        return f"{self._folder}/{name}"

    def _comes_from(self, process: psutil.Process, name: str) -> bool:
        try:
            return process.environ().get(MARK) == self._mark(name)
        except psutil.Error:  # gone meanwhile, or somebody else's
            return False


@pytest.fixture(scope="module")
def cli(control_plane: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cli:
    return Cli(tmp_path_factory.mktemp("cli"), control_plane)


@pytest.fixture(scope="module")
def up(cli: Cli) -> Iterator[Details]:
    crds = Path(__file__).parents[2] / "crds"
    echo = shlex.join([sys.executable, "-m", "http.server", "--bind", "{address}", "8080"])
    with cli.start("up", "--json", "--crds", str(crds), "--image", f"*/echo:*={echo}") as process:
        yield ready(process)
        process.terminate()


def ready(process: subprocess.Popen[str]) -> Details:
    assert process.stdout is not None
    return Details(**json.loads(process.stdout.readline()))


def client(up: Details, service: str) -> Any:
    session = boto3.Session(
        region_name=up.region,
        aws_access_key_id=up.aws_access_key_id,
        aws_secret_access_key=up.aws_secret_access_key,
    )
    return session.client(service, endpoint_url=up.aws_endpoint_url)  # type: ignore[call-overload]  # any service


def test_the_json_leads_to_both_worlds(up: Details, cli: Cli) -> None:
    nodes = cli.run("exec", "--", "kubectl", "get", "namespaces", "-o", "name")
    assert nodes.stdout.splitlines()[0] == "namespace/default", nodes.stderr
    assert client(up, "sts").get_caller_identity()["Account"] == up.account_id
    assert psutil.Process(up.pid).is_running()


def test_the_kinds_of_the_folder_given_are_served(up: Details, cli: Cli) -> None:
    found = cli.run("exec", "--", "kubectl", "get", "inferencedeployments", "-A")
    assert "No resources found" in found.stderr


def test_a_second_up_of_the_same_name_is_refused(up: Details, cli: Cli) -> None:
    second = cli.run("up", "--json")
    assert second.returncode == 1
    assert f"'default' is up already (process {up.pid})" in second.stderr
    assert second.stdout == ""


def test_the_account_is_one_to_build_services_in(up: Details) -> None:
    (cluster,) = client(up, "ecs").describe_clusters(clusters=[up.cluster])["clusters"]
    assert cluster["status"] == "ACTIVE"

    subnets = client(up, "ec2").describe_subnets(SubnetIds=up.subnets)["Subnets"]
    zones = {subnet["AvailabilityZone"] for subnet in subnets}
    assert len(zones) == 2
    mounted = client(up, "efs").describe_mount_targets(FileSystemId=up.file_system_id)["MountTargets"]
    assert {target["AvailabilityZoneName"] for target in mounted} == zones
    assert Path(up.models_dir).is_dir()

    groups = client(up, "ec2").describe_security_groups(GroupIds=up.security_groups)["SecurityGroups"]
    assert {group["VpcId"] for group in groups} == {up.vpc_id} == {subnet["VpcId"] for subnet in subnets}
    for arn in (up.execution_role_arn, up.task_role_arn):
        role = client(up, "iam").get_role(RoleName=arn.rsplit("/", 1)[-1])["Role"]
        (statement,) = role["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": "ecs-tasks.amazonaws.com"}


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - loopback, over HTTP
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def create_service(up: Details, name: str, image: str) -> None:
    """Behind the load balancer at /NAME, one task, with the file system's root at /models as its working directory."""
    elb, ecs = client(up, "elbv2"), client(up, "ecs")
    (group,) = elb.create_target_group(
        Name=name,
        Protocol="HTTP",
        Port=8080,
        VpcId=up.vpc_id,
        TargetType="ip",
        HealthCheckIntervalSeconds=5,
        HealthCheckTimeoutSeconds=2,
        HealthyThresholdCount=2,
    )["TargetGroups"]
    elb.create_rule(
        ListenerArn=up.listener_arn,
        Priority=len(elb.describe_rules(ListenerArn=up.listener_arn)["Rules"]),
        Conditions=[{"Field": "path-pattern", "Values": [f"/{name}*"]}],
        Actions=[{"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}],
    )
    ecs.register_task_definition(
        family=name,
        requiresCompatibilities=["FARGATE"],
        networkMode="awsvpc",
        cpu="256",
        memory="512",
        executionRoleArn=up.execution_role_arn,
        taskRoleArn=up.task_role_arn,
        containerDefinitions=[
            {
                "name": "app",
                "image": image,
                "workingDirectory": "/models",
                "portMappings": [{"containerPort": 8080}],
                "mountPoints": [{"sourceVolume": "models", "containerPath": "/models"}],
            }
        ],
        volumes=[{"name": "models", "efsVolumeConfiguration": {"fileSystemId": up.file_system_id}}],
    )
    ecs.create_service(
        cluster=up.cluster,
        serviceName=name,
        taskDefinition=name,
        desiredCount=1,
        launchType="FARGATE",
        networkConfiguration={"awsvpcConfiguration": {"subnets": up.subnets, "securityGroups": up.security_groups}},
        loadBalancers=[{"targetGroupArn": group["TargetGroupArn"], "containerName": "app", "containerPort": 8080}],
    )


def test_a_service_runs_with_its_files_and_is_reached_through_the_load_balancer(up: Details) -> None:
    (Path(up.models_dir) / "echo.txt").write_text("hello from the file system")
    assert get(f"{up.load_balancer_url}/echo.txt")[0] == 404  # the listener's default
    create_service(up, "echo", ECHO)
    eventually(lambda: get(f"{up.load_balancer_url}/echo.txt") == (200, "hello from the file system"), timeout=60)


def test_an_image_that_nothing_was_given_for_cannot_be_pulled(up: Details) -> None:
    create_service(up, "unknown", "registry.example.com/unknown:1")
    ecs = client(up, "ecs")

    def reason() -> str:
        stopped = ecs.list_tasks(cluster=up.cluster, family="unknown", desiredStatus="STOPPED")["taskArns"]
        assert stopped
        return str(ecs.describe_tasks(cluster=up.cluster, tasks=stopped)["tasks"][0]["stoppedReason"])

    assert eventually(reason, timeout=30).startswith("CannotPullContainerError")


def test_a_cluster_that_exists_already_is_used_and_left_as_it_was(cli: Cli, control_plane: Cluster) -> None:
    kubeconfig = ("--kubeconfig", str(control_plane.kubeconfig))
    with cli.start("up", "--json", *kubeconfig, name="guest") as process:
        details = ready(process)
        assert details.kubeconfig == str(control_plane.kubeconfig)
        assert not cli.running(name="guest") & {"etcd", "kube-apiserver"}
        assert "namespace/default" in cli.run("exec", "--", "kubectl", "get", "ns", "-o", "name", name="guest").stdout
        process.terminate()
    assert "namespace/default" in control_plane.kubectl("get", "namespaces", "-o", "name")


def test_a_cluster_that_does_not_answer_is_refused_before_anything_is_announced(cli: Cli, tmp_path: Path) -> None:
    nowhere = tmp_path / "kubeconfig"
    nowhere.write_text(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\ncontexts: [{name: a, context: {cluster: a, user: a}}]\n"
        "clusters: [{name: a, cluster: {server: 'https://127.0.0.1:1'}}]\nusers: [{name: a, user: {token: a}}]\n"
    )
    refused = cli.run("up", "--json", "--kubeconfig", str(nowhere), name="guest")
    assert refused.returncode == 1
    assert f"the cluster of {nowhere} does not answer" in refused.stderr
    assert "127.0.0.1:1" in refused.stderr
    assert refused.stdout == ""


def test_told_to_stop_while_it_starts_it_leaves_no_process(cli: Cli) -> None:
    with cli.start("up", name="early") as process:
        eventually(lambda: {"etcd", "kube-apiserver"} <= cli.running(name="early"), timeout=30)
        process.send_signal(signal.SIGINT)
        assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == 0
    eventually(lambda: not cli.running(name="early"))


def test_down_leaves_no_process_and_no_file(cli: Cli) -> None:
    with cli.start("up", "--json", name="brief") as process:
        details = ready(process)
        assert cli.running(name="brief") >= {"etcd", "kube-apiserver"}
        assert cli.run("down", name="brief").returncode == 0
        assert process.wait(5) == 0
    eventually(lambda: not cli.running(name="brief"))
    assert not Path(details.workdir).exists()
    gone = cli.run("exec", "--", "true", name="brief")
    assert gone.returncode == 1
    assert "inference-sandbox up --name brief" in gone.stderr


def test_a_control_plane_that_dies_ends_the_sandbox_with_a_message(cli: Cli) -> None:
    with cli.start("up", "--json", name="stricken") as process:
        details = ready(process)
        (etcd,) = cli.processes("stricken", "etcd")
        etcd.kill()
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Error: the control plane has ended, and the sandbox with it: etcd ended with -9" in errors
    eventually(lambda: not cli.running(name="stricken"))
    assert not Path(details.workdir).exists()


def test_what_a_killed_sandbox_left_is_gone_once_the_next_is_up(cli: Cli, control_plane: Cluster) -> None:
    kubeconfig = ("--kubeconfig", str(control_plane.kubeconfig))
    with cli.start("up", "--json", *kubeconfig, name="killed") as process:
        left = Path(ready(process).workdir)
        process.kill()
        process.communicate()
    assert left.exists()
    with cli.start("up", "--json", *kubeconfig, name="killed") as process:
        ready(process)
        process.terminate()
        assert not left.exists()


def test_without_a_terminal_each_event_is_a_line(cli: Cli, control_plane: Cluster) -> None:
    with cli.start("up", "--kubeconfig", str(control_plane.kubeconfig), name="plain") as process:
        assert process.stdout is not None
        assert any("inference-sandbox down --name plain" in line for line in process.stdout)
        create_service(found(cli, "plain"), "unknown", "registry.example.com/unknown:1")
        line = next(process.stdout)
        process.terminate()
    assert re.fullmatch(r"\d\d:\d\d:\d\d \(service unknown\) has started 1 tasks: \(task [0-9a-f]{32}\)\.\n", line)


def test_on_a_terminal_a_table_is_kept_up_to_date(cli: Cli, control_plane: Cluster) -> None:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(ours, (40, 150))
    with cli.start("up", "--kubeconfig", str(control_plane.kubeconfig), name="seen", stdout=theirs) as process:
        os.close(theirs)
        try:
            read_until(ours, "TASK DEFINITION")
            create_service(found(cli, "seen"), "unknown", "registry.example.com/unknown:1")
            read_until(ours, "CannotPullContainerError")
        finally:
            process.terminate()
            with suppress(OSError):  # EIO, once nobody writes any more: who does not read on keeps it from ending
                while os.read(ours, 65_536):
                    pass
    os.close(ours)
    assert process.returncode == 0


def found(cli: Cli, name: str) -> Details:
    """What another process knows of a sandbox that is up."""
    told = cli.run("exec", "--", sys.executable, "-c", FIND, name, name=name)
    return Details(**json.loads(told.stdout))


FIND = """
import json, sys
from inference_sandbox import running
print(json.dumps(running.find(sys.argv[1]).as_json()))
"""


def read_until(terminal: int, words: str) -> None:
    """Returns when these words have been printed; the test's own time limit is the limit."""
    shown = ""
    while words not in shown:
        shown += os.read(terminal, 65_536).decode(errors="replace")


def test_the_commands_reach_a_sandbox_in_another_process(up: Details, cli: Cli) -> None:
    assert "services: " in cli.run("status").stdout
    assert "ecs:DescribeClusters 200" in cli.run("calls", "--operation", "DescribeClusters").stdout
    gone = cli.run("status", name="nowhere")
    assert gone.returncode == 1
    assert "inference-sandbox up --name nowhere" in gone.stderr
