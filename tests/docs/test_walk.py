"""The walk of docs/getting-started.md, replayed: its commands in a live sandbox, its output beside what they print.

The convention of a page that is replayed: each `console` block has a title, the first two words of which name a
terminal. What follows `$ ` is typed there; the lines until the next `$ ` are what is printed then. A line that is `…`
stands for any lines, `…` within one for any text. A command in a block whose title ends in `stays` goes on running.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from inference_sandbox.control_plane import Cluster
from tests.eventually import eventually

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "getting-started.md"
BLOCK = re.compile(r'^```console title="(?P<title>[^"]*)"\n(?P<body>.*?)^```$', re.DOTALL | re.MULTILINE)
WITHIN_SECONDS = 180
GAP = "…"
VOLATILE = (
    (r"/\S*/inference-sandbox-\w+", "<folder>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", "<moment>"),
    (r"\b\d\d:\d\d:\d\d\b", "<moment>"),
    (r"(127\.0\.0\.1):\d+", r"\1:<port>"),
    (r"\b(\d+(\.\d+)?(ms|[smhd]))+\b|\(\d+\.\d s\)", "<duration>"),
    (r"\b(fs|fsap|run|ecs-svc)([-/])\w+", r"\1\2<id>"),
    (r"\b[0-9a-f]{8,}\b", "<id>"),
    (r" {2,}", " "),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What is typed, and what is printed then."""

    terminal: str
    command: str
    printed: list[str] = field(default_factory=list)
    stays: bool


def entries(page: str) -> Iterator[Entry]:
    for block in BLOCK.finditer(page):
        terminal, stays = " ".join(block["title"].split()[:2]), block["title"].endswith("stays")
        for part in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
            command, *printed = part.splitlines()
            yield Entry(terminal=terminal, command=command, printed=printed, stays=stays)


def normal(line: str) -> str:
    """Without what differs from run to run."""
    for pattern, name in VOLATILE:
        line = re.sub(pattern, name, line)
    return line.strip()


def fits(printed: list[str], documented: list[str]) -> bool:
    """Whether what was printed is what the page says."""
    pattern = "".join(
        r"(?:.*\n)*" if line == GAP else ".*".join(re.escape(normal(part)) for part in line.split(GAP)) + r"\n"
        for line in documented
    )
    return re.fullmatch(pattern, "".join(f"{normal(line)}\n" for line in printed)) is not None


class Terminal:
    """A shell that is typed into."""

    def __init__(self, screen: Path, environment: dict[str, str]) -> None:
        self._screen = screen
        self._seen = 0
        with screen.open("wb") as output:
            self._shell = subprocess.Popen(
                ["bash"],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def type(self, entry: Entry) -> list[str]:
        """What is printed until the command has ended, or, if it stays, until that is what the page says."""
        self._send(entry.command)
        if entry.stays or entry.command.endswith("bash"):
            eventually(lambda: fits(self._new(), [*entry.printed, GAP]) if entry.printed else True, WITHIN_SECONDS)
            return self._new()
        end = f"-- end of {self._seen} --"
        self._send(f'(code=$?; printf "\\n{end}\\n"; exit $code)')
        eventually(lambda: end in self._new(), WITHIN_SECONDS)
        printed = self._new()
        self._seen += len(printed)
        last = printed.index(end)
        # The line break before the mark is ours; where the command has ended its last line itself, one is too much.
        return printed[: last - 1] if printed[last - 1] == "" else printed[:last]

    def end(self) -> None:
        with self._shell:
            os.killpg(self._shell.pid, signal.SIGTERM)

    def _send(self, line: str) -> None:
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{line}\n".encode())
        self._shell.stdin.flush()

    def _new(self) -> list[str]:
        return self._screen.read_text().splitlines()[self._seen :]


@contextmanager
def terminals(folder: Path, environment: dict[str, str]) -> Iterator[dict[str, Terminal]]:
    """Those that the page names, within the `with` block."""
    with ExitStack() as stack:
        opened = {}
        for name in sorted({entry.terminal for entry in entries(PAGE.read_text())}):
            opened[name] = Terminal(folder / name.replace(" ", "-"), environment)
            stack.callback(opened[name].end)
        yield opened


def newcomer(folder: Path, control_plane: Cluster) -> dict[str, str]:
    """The environment of somebody who has installed this repository, with folders of their own."""
    programs = Path(sys.executable).parent
    inherited = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "KUBECONFIG")}
    return inherited | {
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "KUBEBUILDER_ASSETS": str(control_plane.kubectl_program.parent),
        "XDG_CACHE_HOME": str(folder),
        "no_proxy": "127.0.0.1",
    }


@pytest.mark.timeout(900)
def test_the_walk_of_the_docs_is_what_happens(control_plane: Cluster, tmp_path: Path) -> None:
    walk = list(entries(PAGE.read_text()))
    assert len(walk) > 20

    with terminals(tmp_path, newcomer(tmp_path / "cache", control_plane)) as opened:
        differences = [
            "\n".join([f"$ {entry.command}", *printed, "-- the page says", *entry.printed])
            for entry in walk
            if not fits(printed := opened[entry.terminal].type(entry), entry.printed) and not entry.stays
        ]

    assert differences == [], "\n\n".join(differences)


@pytest.mark.parametrize(
    ("printed", "documented"),
    [
        (["digits True 14s"], ["digits   True   2m3s"]),
        (["at http://127.0.0.1:80"], ["at http://127.0.0.1:4711"]),
        (["a", "b", "c", "d"], ["a", "…", "d"]),
        (["a", "d"], ["a", "…", "d"]),
        (["arn:aws:ecs:x:service/a"], ["arn:…:service/a"]),
    ],
)
def test_what_differs_from_run_to_run_makes_no_difference(printed: list[str], documented: list[str]) -> None:
    assert fits(printed, documented)


@pytest.mark.parametrize(
    ("printed", "documented"),
    [
        (["digits True"], ["digits False"]),
        (["digits True", "more"], ["digits True"]),
        ([], ["digits True"]),
        (["a", "c"], ["a", "…", "d"]),
        (["arn:aws:ecs:x:service/b"], ["arn:…:service/a"]),
    ],
)
def test_anything_else_does(printed: list[str], documented: list[str]) -> None:
    assert not fits(printed, documented)
