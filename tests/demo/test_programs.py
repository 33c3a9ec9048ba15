"""Programs that the demo starts are waited for, are missed when they end, and end with it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from demo.commands import Shell
from demo.failure import DemoFailed
from demo.programs import running
from tests.eventually import eventually


def script(folder: Path, name: str, program: str) -> str:
    """An executable file, so that its name is a word of its own as the demo's programs have it."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{program}\n")
    path.chmod(0o755)
    return name


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


def test_a_program_is_ready_with_its_first_line_and_ends_with_the_block(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name = script(
        tmp_path,
        "server",
        "import os, signal; os.write(2, b'building'); print('ready', flush=True); signal.pause()",
    )

    with running([name], environment=environment(tmp_path), logs=tmp_path) as program:
        assert program.first_line(within_seconds=30) == "ready\n"
        program.check()

    assert program.process.returncode == -15
    assert "building" in capfd.readouterr().out
    assert (tmp_path / "server.log").read_text() == "ready\n"


def test_a_program_that_ends_before_it_is_ready_is_told_with_what_it_said(tmp_path: Path) -> None:
    name = script(tmp_path, "server", "import sys; sys.exit('no room left')")

    with (
        running([name], environment=environment(tmp_path), logs=tmp_path) as program,
        pytest.raises(DemoFailed, match=r"`server` ended with exit code 1[^$]*no room left"),
    ):
        program.first_line(within_seconds=30)


def test_a_program_that_ends_later_is_missed(tmp_path: Path) -> None:
    name = script(tmp_path, "server", "raise SystemExit(3)")

    with running([name], environment=environment(tmp_path), logs=tmp_path) as program:
        eventually(lambda: program.process.poll() is not None)
        with pytest.raises(DemoFailed, match="exit code 3"):
            program.check()


def test_a_command_is_shown_before_its_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shell = Shell(folder=tmp_path, environment={**os.environ, "WORD": "hello"})
    command = f"""{sys.executable} -c 'import os; print(os.environ["WORD"], os.getcwd())'"""

    output = shell.show(command)

    assert output == f"hello {tmp_path}\n"
    assert capsys.readouterr().out == f"$ {command}\n{output}\n"


def test_a_command_that_fails_is_told_with_its_own_words(tmp_path: Path) -> None:
    shell = Shell(folder=tmp_path, environment=os.environ)

    with pytest.raises(DemoFailed, match="exit code 1: that went wrong"):
        shell.run(f"""{sys.executable} -c 'import sys; sys.exit("that went wrong")'""")
