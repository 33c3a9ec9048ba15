"""Where the control plane's programs come from. Building them takes minutes, so a script stands in for Go here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from inference_sandbox.control_plane import BinariesUnavailableError, find_binaries, why_unavailable

FAKE_GO = """\
#!/bin/sh
# go build -v … -o FOLDER/ PACKAGE…
echo "$@" >> "$GO_LOG"
[ -f go.mod ] && [ -f go.sum ] || exit 9
while [ "$1" != "-o" ]; do shift; done
mkdir -p "$2"
echo 'k8s.io/a' >&2
[ -z "$GO_FAILS" ] || { echo 'k8s.io/b: no space left on device' >&2; touch "$2/server"; exit 1; }
for name in server kube-apiserver kubectl; do printf '#!/bin/sh\\n' > "$2/$name"; chmod +x "$2/$name"; done
"""

PRINT_ETCD = "from inference_sandbox.control_plane import find_binaries; print(find_binaries().etcd)"


@pytest.fixture
def go_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Go that builds scripts, an empty cache folder, and the log with one line for each run of that Go."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "go").write_text(FAKE_GO)
    (programs / "go").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GO_LOG", str(tmp_path / "go.log"))
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    return tmp_path / "go.log"


def test_programs_are_built_into_the_users_cache_once(go_log: Path, tmp_path: Path) -> None:
    said: list[str] = []
    first = find_binaries(said.append)
    second = find_binaries(said.append)

    assert first == second
    assert first.etcd.is_relative_to(tmp_path / "cache" / "ecs-inference")
    assert all(path.is_file() for path in (first.etcd, first.kube_apiserver, first.kubectl))
    (built,) = go_log.read_text().splitlines()
    assert "-X k8s.io/component-base/version.gitVersion=v1.36.3" in built
    assert "once" in said[0]


def test_processes_that_want_the_programs_at_the_same_time_build_them_once(go_log: Path) -> None:
    wanting = [
        subprocess.Popen([sys.executable, "-c", PRINT_ETCD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    found = {process.communicate(timeout=60)[0] for process in wanting}
    assert len(found) == 1
    assert Path(found.pop().strip()).name == "etcd"
    assert len(go_log.read_text().splitlines()) == 1


def test_a_failed_build_says_what_go_said_and_leaves_nothing_half_done(
    go_log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_FAILS", "1")
    with pytest.raises(BinariesUnavailableError, match="no space left on device"):
        find_binaries()
    monkeypatch.delenv("GO_FAILS")
    assert find_binaries().kubectl.is_file()


def test_what_a_killed_build_left_is_swept_away(go_log: Path) -> None:
    folder = find_binaries().etcd.parent
    left = folder.parent / f".{folder.name}-killed"
    folder.rename(left)
    assert find_binaries().etcd.parent == folder
    assert not left.exists()


def test_without_go_and_without_assets_the_message_names_both_ways_out(
    go_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BinariesUnavailableError, match=r"Install Go.*KUBEBUILDER_ASSETS"):
        find_binaries()
    assert why_unavailable() is not None


def test_assets_are_used_as_they_are(go_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assets = find_binaries().etcd.parent.rename(tmp_path / "assets")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(assets))
    assert why_unavailable() is None
    assert find_binaries().etcd == assets / "etcd"
    assert len(go_log.read_text().splitlines()) == 1


def test_assets_that_lack_a_program_are_refused_by_its_name(
    go_log: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "kube-apiserver").touch(mode=0o755)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))
    with pytest.raises(BinariesUnavailableError, match=r"no executable etcd, kubectl\."):
        find_binaries()
