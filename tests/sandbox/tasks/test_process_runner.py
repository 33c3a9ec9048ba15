"""Local processes as tasks: real programs, started, watched and stopped by the runner."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import psutil
import pytest

from inference_sandbox.ports import ContainerExited, ContainerHealth, EfsMount, TaskFailedToStart
from inference_sandbox.tasks.images import ProcessImage
from inference_sandbox.tasks.process import ProcessRunner
from tests.sandbox.tasks.conftest import Observed, WallClock, container, has_ended, poll, task

TEMPORARY = "/tmp"  # noqa: S108 - a path in containers, not here
PRINT_AND_WAIT = "import os, time; print({}, flush=True); time.sleep(600)"
SERVER = """
import http.server, os
server = http.server.HTTPServer((os.environ["BIND"], 0), http.server.SimpleHTTPRequestHandler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
IGNORE_SIGTERM = "import signal, time; signal.signal(15, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"


def test_a_task_serves_on_an_address_of_its_own(observed: Observed) -> None:
    one, two = observed.running(task(container(SERVER))), observed.running(task(container(SERVER)))

    assert one.address != two.address
    for each in (one, two):
        assert each.address.startswith("127.")
        assert each.address != "127.0.0.1"
        port = poll(partial(observed.lines, each.arn))[0]
        with urllib.request.urlopen(f"http://{each.address}:{port}/") as answer:
            assert answer.status == 200


def test_environment_of_image_and_definition_reaches_the_process_and_the_sandbox_s_own_does_not(
    observed: Observed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_SANDBOX", "x")
    names = ("BIND", "OUTSIDE", "MODE", "SELF", "SECRET_OF_THE_SANDBOX")
    script = PRINT_AND_WAIT.format(f"[os.environ.get(name) for name in {names}]")
    running = observed.running(task(container(script, environment={"MODE": "a", "SELF": "http://localhost:8080/"})))

    line = poll(lambda: observed.lines(running.arn))[0]

    assert line == str([running.address, "http://127.0.0.1:1", "a", f"http://{running.address}:8080/", None])


def test_a_definition_s_entry_point_and_command_replace_the_image_s(observed: Observed) -> None:
    plain = observed.running(task(container(name="plain")))
    words = observed.start(task(container(entryPoint=["/bin/echo", "a"], command=["b"])))

    observed.wait(ContainerExited, words, exit_code=0)

    assert observed.lines(words) == ["a b"]
    assert not observed.lines(plain.arn)


def test_a_mounted_folder_is_seen_under_its_container_path(observed: Observed, tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    (tmp_path / "fs" / "model").write_text("weights")
    mount = EfsMount(container_path="/models", host_path=str(tmp_path / "fs"), read_only=True)
    script = "import os, sys; print(open(os.environ['FILE']).read(), sys.argv[1:], flush=True)"
    launch = task(
        container(
            command=["-c", script, "--dir=/models", "/models2"],
            environment={"FILE": "/models/model"},
            mounts=[mount],
        )
    )

    observed.wait(ContainerExited, observed.start(launch), exit_code=0)

    assert observed.lines(launch.arn) == [f"weights ['--dir={tmp_path}/fs', '/models2']"]


def test_a_file_that_its_mode_makes_unreadable_is_unreadable_for_the_container(
    observed: Observed, tmp_path: Path
) -> None:
    folder = tmp_path / "fs"
    folder.mkdir()
    (folder / "model").write_text("weights")
    (folder / "model").chmod(0)
    mount = EfsMount(container_path="/models", host_path=str(folder), read_only=True)
    launch = task(container("open('/models/model')", mounts=[mount]))

    observed.wait(ContainerExited, observed.start(launch), exit_code=1)

    assert "PermissionError: [Errno 13]" in observed.lines(launch.arn)[-1]
    assert stat.S_IMODE((folder / "model").stat().st_mode) == 0


def test_an_image_that_is_not_in_the_store_fails_the_task_as_a_failed_pull(observed: Observed) -> None:
    launch = task(container(image="registry.example/absent:1"))

    failed = observed.wait(TaskFailedToStart, observed.start(launch))

    assert failed.reason.startswith("CannotPullContainerError: ")
    assert failed.reason.endswith("registry.example/absent:1: not found")
    assert (failed.container, failed.container_reason) == ("app", failed.reason)
    assert observed.kinds(launch.arn) == ["TaskFailedToStart"]


@pytest.mark.parametrize(
    ("volume", "trouble"),
    [
        (
            {"fileSystemId": "fs-1", "rootDirectory": "/gone", "transitEncryption": "ENABLED"},
            "mount.nfs4: mounting 127.0.0.1:/gone failed, reason given by server: No such file or directory",
        ),
        (
            {
                "fileSystemId": "fs-1",
                "transitEncryption": "ENABLED",
                "authorizationConfig": {"accessPointId": "fsap-1"},
            },
            "mount.nfs4: access denied by server while mounting 127.0.0.1:/",
        ),
    ],
)
def test_a_mount_without_its_folder_fails_the_task_as_the_mount_helper_does(
    observed: Observed, tmp_path: Path, volume: Mapping[str, object], trouble: str
) -> None:
    mount = EfsMount(container_path="/models", host_path=str(tmp_path / "gone"), read_only=True)
    launch = task(
        container(mounts=[mount], mountPoints=[{"sourceVolume": "models", "containerPath": "/models"}]),
        volumes=[{"name": "models", "efsVolumeConfiguration": volume}],
    )

    failed = observed.wait(TaskFailedToStart, observed.start(launch))

    assert failed.reason == (
        "ResourceInitializationError: failed to invoke EFS utils commands to set up EFS volumes: "
        f"stderr: b'{trouble}' : unsuccessful EFS utils command execution; code: 32"
    )


def test_a_command_that_is_not_there_fails_the_task_and_names_it(observed: Observed) -> None:
    launch = task(container(entryPoint=["no-such-program"]))

    failed = observed.wait(TaskFailedToStart, observed.start(launch))

    assert failed.reason == "Task failed to start"
    assert failed.container == "app"
    assert failed.container_reason is not None
    assert failed.container_reason.startswith("CannotStartContainerError: ")
    assert 'exec: "no-such-program": executable file not found in $PATH' in failed.container_reason


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("", 0),
        ("raise SystemExit(3)", 3),
        ("import os; os.kill(os.getpid(), 11)", 139),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.kill(os.getpid(), 6)", 134),
    ],
)
def test_exit_codes_are_those_that_a_container_reports(observed: Observed, script: str, code: int) -> None:
    exited = observed.wait(ContainerExited, observed.start(task(container(script or "pass"))))

    assert (exited.exit_code, exited.reason) == (code, None)
    assert observed.kinds(exited.arn) == ["TaskRunning", "ContainerExited"]


def test_stop_sends_sigterm_and_a_handler_may_finish_its_work(observed: Observed) -> None:
    script = r"""
import os, signal, sys, time
def finish(*_):
    os.write(1, b"bye\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, finish)
print("ready", flush=True)
time.sleep(600)
"""
    arn = observed.running(task(container(script))).arn
    poll(lambda: "ready" in observed.lines(arn))

    observed.runner.stop(arn)

    assert observed.wait(ContainerExited, arn).exit_code == 0
    assert observed.lines(arn) == ["ready", "bye"]


def test_a_process_without_a_handler_ends_with_143_on_stop(observed: Observed) -> None:
    arn = observed.running(task(container())).arn

    observed.runner.stop(arn)
    observed.runner.stop(arn)

    assert observed.wait(ContainerExited, arn).exit_code == 143
    assert observed.kinds(arn).count("ContainerExited") == 1


def test_a_process_that_ignores_sigterm_is_killed_after_its_stop_timeout(observed: Observed) -> None:
    arn = observed.running(task(container(IGNORE_SIGTERM, stopTimeout=0.2))).arn
    poll(lambda: "ready" in observed.lines(arn))

    observed.runner.stop(arn)

    assert observed.wait(ContainerExited, arn).exit_code == 137


def test_the_end_of_an_essential_container_stops_the_others(observed: Observed) -> None:
    launch = task(container("raise SystemExit(1)", name="app"), container(name="side"))

    observed.start(launch)

    assert observed.wait(ContainerExited, launch.arn, container="app").exit_code == 1
    assert observed.wait(ContainerExited, launch.arn, container="side").exit_code == 143


def test_the_end_of_a_container_that_is_not_essential_leaves_the_task_running(observed: Observed) -> None:
    launch = task(container(IGNORE_SIGTERM), container("pass", name="side", essential=False))

    observed.wait(ContainerExited, observed.start(launch), container="side")
    poll(lambda: "ready" in observed.lines(launch.arn))

    assert observed.kinds(launch.arn) == ["TaskRunning", "ContainerExited"]


def test_containers_start_in_the_order_of_their_conditions_and_stop_in_the_reverse(observed: Observed) -> None:
    stop = "import os, signal, sys, time; signal.signal(15, lambda *_: (os.write(1, b'{0} ends\\n'), sys.exit()))"
    run = stop + "; print('{0} runs', flush=True); time.sleep(600)"
    launch = task(
        container(
            run.format("app"),
            name="app",
            dependsOn=[
                {"containerName": "init", "condition": "SUCCESS"},
                {"containerName": "router", "condition": "HEALTHY"},
            ],
        ),
        container("print('init runs', flush=True)", name="init", essential=False),
        container(
            run.format("router"),
            name="router",
            dependsOn=[{"containerName": "init", "condition": "COMPLETE"}],
            healthCheck={"command": ["CMD-SHELL", 'test -n "$BIND"'], "interval": 0.3},
        ),
    )

    observed.running(launch)
    poll(lambda: "app runs" in observed.lines(launch.arn))
    observed.runner.stop(launch.arn)
    observed.wait(ContainerExited, launch.arn, container="router")

    assert observed.lines(launch.arn) == ["init runs", "router runs", "app runs", "app ends", "router ends"]


def test_a_dependency_that_does_not_succeed_fails_the_task_and_ends_what_runs(observed: Observed) -> None:
    launch = task(
        container(name="app", dependsOn=[{"containerName": "init", "condition": "SUCCESS"}]),
        container("raise SystemExit(2)", name="init", essential=False),
        container(name="side"),
    )

    failed = observed.wait(TaskFailedToStart, observed.start(launch))

    assert (failed.reason, failed.container) == ("Task failed to start", "app")
    assert failed.container_reason == (
        "CannotStartContainerError: dependency graph: failed to resolve container ordering dependency "
        "[init(registry.example/python:3) (STOPPED->RUNNING) - Exit: 2] "
        "for target [app(registry.example/python:3) (NONE->RUNNING)]"
    )
    assert observed.kinds(launch.arn) == ["ContainerExited", "ContainerExited", "TaskFailedToStart"]


def test_a_task_does_without_a_container_that_is_not_essential_and_can_not_start(observed: Observed) -> None:
    launch = task(
        container(name="app"),
        container("raise SystemExit(2)", name="init", essential=False),
        container(name="late", essential=False, dependsOn=[{"containerName": "init", "condition": "SUCCESS"}]),
        container(name="broken", essential=False, entryPoint=["no-such-program"]),
    )

    observed.running(launch)

    late = observed.wait(ContainerExited, launch.arn, container="late")
    broken = observed.wait(ContainerExited, launch.arn, container="broken")
    assert late.exit_code == 143
    assert "failed to resolve container ordering dependency [init(" in (late.reason or "")
    assert broken.exit_code is None
    assert "executable file not found in $PATH" in (broken.reason or "")
    assert "TaskFailedToStart" not in observed.kinds(launch.arn)


def test_a_dependency_that_takes_longer_than_its_start_timeout_fails_the_task(observed: Observed) -> None:
    launch = task(
        container(name="app", dependsOn=[{"containerName": "init", "condition": "COMPLETE"}]),
        container(name="init", essential=False, startTimeout=0.1),
    )

    failed = observed.wait(TaskFailedToStart, observed.start(launch))

    assert "[init(registry.example/python:3) (RUNNING->RUNNING)" in (failed.container_reason or "")


def test_the_working_directory_is_a_scratch_folder_or_lies_in_a_mount(observed: Observed, tmp_path: Path) -> None:
    (tmp_path / "fs" / "in").mkdir(parents=True)
    mount = EfsMount(container_path="/data", host_path=str(tmp_path / "fs"), read_only=False)
    script = "import os; print(os.getcwd(), flush=True)"

    apart = observed.wait(ContainerExited, observed.start(task(container(script, workingDirectory="/app")))).arn
    inside = observed.wait(
        ContainerExited, observed.start(task(container(script, workingDirectory="/data/in", mounts=[mount])))
    ).arn

    assert observed.lines(apart) == [str(observed.workdir / apart.rsplit("/", 1)[-1] / "scratch" / "app")]
    assert observed.lines(inside) == [str(tmp_path / "fs" / "in")]


def test_a_volume_of_the_task_is_shared_by_its_containers_and_goes_with_it(observed: Observed) -> None:
    points = [{"sourceVolume": "scratch", "containerPath": TEMPORARY, "readOnly": False}]
    write = "import os; open(os.environ['TMPDIR'] + '/note', 'w').write('from the first'); print(os.environ['TMPDIR'])"
    read = "import sys; print(open(sys.argv[1]).read(), flush=True)"
    launch = task(
        container(write, name="first", essential=False, mountPoints=points),
        container(
            name="second",
            command=["-c", read, f"{TEMPORARY}/note"],
            mountPoints=points,
            dependsOn=[{"containerName": "first", "condition": "SUCCESS"}],
        ),
        volumes=[{"name": "scratch"}],
    )

    observed.wait(ContainerExited, observed.start(launch), container="second", exit_code=0)

    folder, note = observed.lines(launch.arn)
    assert note == "from the first"
    assert folder.startswith(str(observed.workdir))
    poll(lambda: not Path(folder).exists())


def test_a_task_stopped_while_it_waits_for_a_dependency_ends_as_not_started(observed: Observed) -> None:
    launch = task(
        container(name="app", dependsOn=[{"containerName": "side", "condition": "SUCCESS"}]),
        container(IGNORE_SIGTERM.replace("SIG_IGN", "SIG_DFL"), name="side", essential=False),
    )
    observed.start(launch)
    poll(lambda: "ready" in observed.lines(launch.arn))

    observed.runner.stop(launch.arn)

    assert observed.wait(ContainerExited, launch.arn, container="side").exit_code == 143
    assert "before" in observed.wait(TaskFailedToStart, launch.arn).reason


def test_a_health_check_turns_healthy_and_later_unhealthy_with_its_file(observed: Observed, tmp_path: Path) -> None:
    (tmp_path / "fs").mkdir()
    flag = tmp_path / "fs" / "flag"
    flag.touch()
    mount = EfsMount(container_path="/state", host_path=str(tmp_path / "fs"), read_only=False)
    check = {"command": ["CMD-SHELL", "test -f /state/flag"], "interval": 0.05, "retries": 2}
    arn = observed.running(task(container(mounts=[mount], healthCheck=check))).arn

    observed.wait(ContainerHealth, arn, status="HEALTHY")
    flag.unlink()
    observed.wait(ContainerHealth, arn, status="UNHEALTHY")

    assert observed.kinds(arn) == ["TaskRunning", "ContainerHealth", "ContainerHealth"]


def test_a_health_check_that_outlasts_its_timeout_fails_and_leaves_no_process(observed: Observed) -> None:
    check = {"command": ["CMD-SHELL", "sleep 611 & wait"], "interval": 0.05, "timeout": 0.1, "retries": 1}
    arn = observed.running(task(container(healthCheck=check))).arn

    observed.wait(ContainerHealth, arn, status="UNHEALTHY")
    observed.runner.stop(arn)
    observed.wait(ContainerExited, arn)
    observed.runner.close()

    ours = {process.pid for process in psutil.Process().children(recursive=True)}
    sleepers = [p.pid for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "611"]]
    assert not ours.intersection(sleepers)
    assert not sleepers


def test_a_health_check_whose_program_is_missing_is_unhealthy_and_its_output_says_so(observed: Observed) -> None:
    check = {"command": ["CMD", "no-such-curl"], "interval": 0.05, "retries": 1}
    arn = observed.running(task(container(healthCheck=check))).arn

    observed.wait(ContainerHealth, arn, status="UNHEALTHY")

    assert "no-such-curl" in next(observed.workdir.glob("*/app.health.log")).read_text()


def test_both_streams_reach_the_log_sink_line_by_line_and_the_log_file(observed: Observed) -> None:
    script = "import sys; print('out 1'); print('err', file=sys.stderr); sys.stdout.write('out 2 without an end')"

    arn = observed.wait(ContainerExited, observed.start(task(container(script)))).arn

    assert sorted(observed.logs) == [
        (arn, "stderr", "err"),
        (arn, "stdout", "out 1"),
        (arn, "stdout", "out 2 without an end"),
    ]
    assert "out 2 without an end" in next(observed.workdir.glob("*/app.log")).read_text()


def test_a_failing_log_sink_does_not_harm_the_task(tmp_path: Path, images: Mapping[str, ProcessImage]) -> None:
    def fail(*_: object) -> None:
        raise OSError("full")

    runner = ProcessRunner(images=images, workdir=tmp_path, clock=WallClock(), log_sink=fail)
    seen = Observed(runner, tmp_path)
    try:
        assert seen.wait(ContainerExited, seen.start(task(container("print(1)")))).exit_code == 0
    finally:
        runner.close()


def test_the_processes_that_a_container_leaves_behind_end_with_it(observed: Observed) -> None:
    script = """
import subprocess, sys
child = subprocess.Popen(["sleep", "600"])
print(child.pid, flush=True)
"""
    arn = observed.wait(ContainerExited, observed.start(task(container(script)))).arn
    left_behind = int(observed.lines(arn)[0])

    poll(partial(has_ended, left_behind))


def test_close_ends_every_process_and_leaves_no_child(observed: Observed) -> None:
    before = {child.pid for child in psutil.Process().children()}
    for _ in range(3):
        observed.running(task(container(IGNORE_SIGTERM)))
    started = [child for child in psutil.Process().children() if child.pid not in before]
    assert len(started) == 3

    observed.runner.close()
    observed.runner.close()

    assert not [child for child in started if child.is_running()]


def test_tasks_and_their_children_end_when_the_sandbox_is_killed(tmp_path: Path) -> None:
    program = f"""
import sys, time
from pathlib import Path
from inference_sandbox.tasks.images import ProcessImage
from inference_sandbox.tasks.process import ProcessRunner
from tests.sandbox.tasks.conftest import Observed, WallClock, container, has_ended, poll, task
runner = ProcessRunner(
    images={{"*": ProcessImage(entrypoint=["/bin/sh", "-c"])}}, workdir=Path({str(tmp_path)!r}), clock=WallClock()
)
seen = Observed(runner, Path({str(tmp_path)!r}))
arn = seen.running(task(container(command=["sleep 600 & echo $$ $!; wait"]))).arn
print(poll(lambda: next(Path({str(tmp_path)!r}).glob("*/app.log")).read_text()), flush=True)
time.sleep(600)
"""
    root = Path(__file__).parents[3]
    path = os.pathsep.join([str(root), str(root / "sandbox")])
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}
    ) as sandbox:
        assert sandbox.stdout is not None
        pids = [int(pid) for pid in sandbox.stdout.readline().split()]
        assert len(pids) == 2

        sandbox.send_signal(signal.SIGKILL)

    for pid in pids:
        poll(partial(has_ended, pid))


def test_a_task_can_be_started_only_once(observed: Observed) -> None:
    launch = task(container())
    observed.running(launch)

    with pytest.raises(ValueError, match="already started"):
        observed.runner.start(launch)


def test_stopping_an_unknown_task_does_nothing(observed: Observed) -> None:
    observed.runner.stop("arn:aws:ecs:eu-west-1:111122223333:task/test/unknown")

    assert list(observed.runner.poll()) == []


def test_a_task_stopped_right_after_its_start_comes_to_an_end(observed: Observed) -> None:
    launches = [task(container()) for _ in range(10)]

    for launch in launches:
        observed.runner.start(launch)
        observed.runner.stop(launch.arn)

    for launch in launches:
        poll(partial(_has_ended, observed, launch.arn))


def _has_ended(observed: Observed, arn: str) -> bool:
    observed.reports += observed.runner.poll()
    return not {"ContainerExited", "TaskFailedToStart"}.isdisjoint(observed.kinds(arn))
