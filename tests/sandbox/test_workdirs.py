"""Temporary folders of sandboxes: gone at the end, and those of killed ones with the next start."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from inference_sandbox.workdirs import MARKER, PREFIX, temporary_folder

HOLDER = """
import sys, tempfile
tempfile.tempdir = sys.argv[1]
from inference_sandbox.workdirs import temporary_folder
with temporary_folder() as folder:
    (folder / "efs").mkdir()
    (folder / "efs" / "model").write_text("weights")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@contextmanager
def holder(temporary: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Another process with a folder of its own, and that folder."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(temporary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def test_a_folder_is_there_for_its_block_and_then_gone(temporary: Path) -> None:
    with temporary_folder() as folder:
        assert folder.parent == temporary
        (folder / "log").touch()
    assert list(temporary.iterdir()) == []


def test_what_a_killed_sandbox_left_goes_with_the_next_start(temporary: Path) -> None:
    with holder(temporary) as (process, left):
        process.kill()
        process.wait()
        assert (left / "efs" / "model").exists()
        with temporary_folder():
            assert not left.exists()


def test_the_folder_of_one_that_lives_is_left_alone(temporary: Path) -> None:
    with holder(temporary) as (_, folder), temporary_folder() as own:
        assert (folder / "efs" / "model").read_text() == "weights"
        assert folder != own


@pytest.mark.parametrize("content", [None, "something"])
def test_a_folder_that_only_has_such_a_name_is_left_alone(temporary: Path, content: str | None) -> None:
    foreign = temporary / f"{PREFIX}of-somebody"
    foreign.mkdir()
    if content is not None:
        (foreign / "file").write_text(content)
    with temporary_folder():
        pass
    assert foreign.exists()


def test_a_link_to_a_folder_with_a_dead_marker_is_not_followed(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / MARKER).write_text("1\n")
    (temporary / f"{PREFIX}link").symlink_to(elsewhere)
    with temporary_folder():
        pass
    assert (elsewhere / MARKER).exists()
