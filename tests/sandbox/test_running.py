"""Sandboxes by name: claimed by one process, found and ended by others. What they consist of plays no part here."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from inference_sandbox import running
from inference_sandbox.cli import main
from inference_sandbox.details import Details

DETAILS = Details(
    pid=1,
    workdir="/sandbox",
    kubeconfig="/sandbox/kubeconfig",
    kubectl="/sandbox/bin/kubectl",
    aws_endpoint_url="http://127.0.0.1:1",
    region="ap-northeast-1",
    account_id="123456789012",
    aws_access_key_id="sandbox",
    aws_secret_access_key="sandbox",
    cluster="inference",
    vpc_id="vpc-1",
    subnets=["subnet-1", "subnet-2"],
    security_groups=["sg-1"],
    file_system_id="fs-1",
    models_dir="/sandbox/efs/fs-1",
    execution_role_arn="arn:aws:iam::123456789012:role/execution",
    task_role_arn="arn:aws:iam::123456789012:role/task",
    load_balancer_arn="arn:aws:elasticloadbalancing:…:loadbalancer/app/inference/1",
    listener_arn="arn:aws:elasticloadbalancing:…:listener/app/inference/1/1",
    load_balancer_url="http://127.0.0.1:2",
    tasks="processes",
    log_router="none",
)

HOLDER = """
import json, signal, sys
from inference_sandbox import running
from inference_sandbox.details import Details
with running.claim(sys.argv[1]) as announce:
    if sys.argv[2:]:
        announce(Details(**json.loads(sys.argv[2])))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print("up", flush=True)
    signal.pause()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Start a process that is the sandbox of that name, ready or still starting."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    started: list[subprocess.Popen[str]] = []

    def start(name: str, *, ready: bool = True) -> subprocess.Popen[str]:
        details = [json.dumps(DETAILS.as_json())] if ready else []
        process = subprocess.Popen([sys.executable, "-c", HOLDER, name, *details], stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def test_a_ready_sandbox_is_found_by_its_name_with_all_details(start: Start) -> None:
    start("one")
    assert running.find("one") == DETAILS


def test_a_name_can_be_claimed_once_and_the_refusal_names_who_has_it(start: Start) -> None:
    holder = start("one")
    result = command("up", "--name", "one")
    assert result.exit_code == 1
    assert f"'one' is up already (process {holder.pid})" in result.output
    assert "inference-sandbox down --name one" in result.output
    assert running.find("one") == DETAILS


def test_several_names_live_side_by_side(start: Start) -> None:
    first, second = start("one"), start("two")
    assert command("down", "--name", "one").exit_code == 0
    assert first.wait(10) == 0
    assert second.poll() is None
    assert running.find("two") == DETAILS


def test_down_returns_when_the_process_has_ended(start: Start) -> None:
    holder = start("one")
    result = command("down", "--name", "one")
    assert result.exit_code == 0, result.output
    assert holder.poll() == 0
    with pytest.raises(running.NotUpError):
        running.find("one")


def test_a_process_that_does_not_end_in_time_is_reported(start: Start) -> None:
    holder = start("one")
    holder.send_signal(signal.SIGSTOP)  # now it can't act on another one
    with pytest.raises(TimeoutError, match="'one' has not ended within 0 s"):
        running.end("one", within_seconds=0.1)


def test_what_a_killed_sandbox_left_counts_for_nothing(start: Start) -> None:
    holder = start("one")
    holder.kill()
    holder.wait()
    for arguments in (["down", "--name", "one"], ["exec", "--name", "one", "--", "true"]):
        result = command(*arguments)
        assert result.exit_code == 1
        assert "no sandbox 'one' is up" in result.output
    start("one")
    assert running.find("one") == DETAILS


def test_a_sandbox_that_is_still_starting_is_not_ready_but_can_be_ended(start: Start) -> None:
    holder = start("one", ready=False)
    with pytest.raises(running.NotUpError, match="not ready yet"):
        running.find("one")
    running.end("one", within_seconds=10)
    assert holder.poll() is not None


def test_nobody_else_can_read_the_details(start: Start, tmp_path: Path) -> None:
    start("one")
    (state,) = tmp_path.rglob("one.json")
    assert state.stat().st_mode & 0o077 == 0
    assert state.parent.stat().st_mode & 0o077 == 0


def test_exec_leads_a_command_to_the_sandbox_and_to_no_other_account(start: Start) -> None:
    start("one")
    inherited = {
        "AWS_PROFILE": "production",
        "AWS_ENDPOINT_URL_ECS": "https://ecs.example.com",
        "AWS_SESSION_TOKEN": "t",
    }
    done = subprocess.run(
        [sys.executable, "-m", "inference_sandbox", "exec", "--name", "one", "--", "env", "-0"],
        env=os.environ | inherited,
        capture_output=True,
        text=True,
        check=True,
    )
    environment = dict(line.split("=", 1) for line in done.stdout.split("\0") if line)
    assert environment["KUBECONFIG"] == DETAILS.kubeconfig
    assert environment["PATH"].split(os.pathsep)[0] == "/sandbox/bin"
    assert environment["SANDBOX_MODELS_DIR"] == DETAILS.models_dir
    assert {name: value for name, value in environment.items() if name.startswith("AWS_")} == {
        "AWS_ENDPOINT_URL": DETAILS.aws_endpoint_url,
        "AWS_REGION": DETAILS.region,
        "AWS_DEFAULT_REGION": DETAILS.region,
        "AWS_ACCESS_KEY_ID": DETAILS.aws_access_key_id,
        "AWS_SECRET_ACCESS_KEY": DETAILS.aws_secret_access_key,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def test_a_file_is_filled_in_with_the_ids_of_the_sandbox(start: Start, tmp_path: Path) -> None:
    start("one")
    manifest = tmp_path / "environment.yaml"
    manifest.write_text("cluster: $cluster\nsubnets: $subnets\nprice: $$1\n")

    filled = command("fill", "--name", "one", str(manifest))

    assert filled.output == 'cluster: inference\nsubnets: ["subnet-1", "subnet-2"]\nprice: $1\n'


@pytest.mark.parametrize(
    ("text", "told"), [("a: $nothing", "$nothing is none of account_id, cluster"), ("a: $1", "write $$ for a $")]
)
def test_a_file_that_asks_for_what_no_sandbox_has_is_refused(
    start: Start, tmp_path: Path, text: str, told: str
) -> None:
    start("one")
    manifest = tmp_path / "environment.yaml"
    manifest.write_text(text)

    refused = command("fill", "--name", "one", str(manifest))

    assert refused.exit_code == 1
    assert told in refused.output


@pytest.mark.parametrize(("argv", "code"), [(["sh", "-c", "exit 7"], 7), (["no-such-program"], 127), (["/etc"], 126)])
def test_exec_ends_with_the_code_of_the_command_as_a_shell_would(start: Start, argv: list[str], code: int) -> None:
    start("one")
    done = subprocess.run(
        [sys.executable, "-m", "inference_sandbox", "exec", "--name", "one", "--", *argv], check=False
    )
    assert done.returncode == code


@pytest.mark.parametrize("name", ["", "UPPER", "../etc", "-a", "a" * 41])
def test_a_name_that_is_no_safe_file_name_is_refused(start: Start, name: str) -> None:
    result = command("down", f"--name={name}")
    assert result.exit_code == 2
    assert repr(name) in result.output


@pytest.mark.parametrize("image", ["name-alone", "name=", "=command"])
def test_an_image_without_a_command_is_refused_with_an_example(start: Start, image: str) -> None:
    result = command("up", f"--image={image}")
    assert result.exit_code == 2
    assert repr(image) in result.output
    assert "NAME=COMMAND" in result.output


def test_details_survive_the_way_through_json() -> None:
    assert Details(**json.loads(json.dumps(DETAILS.as_json()))) == dataclasses.replace(DETAILS)
