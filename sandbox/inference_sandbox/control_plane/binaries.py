"""Where etcd, kube-apiserver and kubectl come from: `KUBEBUILDER_ASSETS`, else built once from Go modules.

The build is reproducible from the `go.mod` and `go.sum` beside this file, is kept in the user's cache folder under a
name that changes when they do, and is safe against crashes and against other processes that want it at the same time.
The folder it makes can serve as `KUBEBUILDER_ASSETS` for other programs. This module starts none of the three.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import platformdirs

KUBERNETES_VERSION = "1.36.3"
"""As in go.mod. The API server tells it to clients, which is why it is linked in."""

_PACKAGES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
}
_BUILT_AS = {"etcd": "server"}
"""What `go build` names a program, where that is not our name: the last part of its path that is not a version."""

_MODULE_FILES = ("go.mod", "go.sum")
_PROGRESS_SECONDS = 15

Say = Callable[[str], None]


class BinariesUnavailableError(Exception):
    """The programs can't be had on this machine; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Binaries:
    etcd: Path
    kube_apiserver: Path
    kubectl: Path


def find_binaries(say: Say | None = None) -> Binaries:
    """The programs, built now if need be. `say` gets lines of progress; standard error if it is not given."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return _in_assets(Path(assets))
    return _built(say or _say_to_stderr)


def why_unavailable() -> str | None:
    """Why `find_binaries` can't succeed, None if it should. Builds nothing."""
    if os.environ.get("KUBEBUILDER_ASSETS") or _cached(_cache_folder()) or shutil.which("go"):
        return None
    return "neither KUBEBUILDER_ASSETS nor Go: no Kubernetes control plane can be started"


def _in_assets(folder: Path) -> Binaries:
    missing = [name for name in _PACKAGES if not os.access(folder / name, os.X_OK)]
    if missing:
        raise BinariesUnavailableError(
            f"KUBEBUILDER_ASSETS={folder} has no executable {', '.join(missing)}. Point it to a folder with "
            f"{', '.join(_PACKAGES)} (`setup-envtest use -p path` prints one), or unset it to build them with Go."
        )
    return _binaries(folder)


def _binaries(folder: Path) -> Binaries:
    return Binaries(etcd=folder / "etcd", kube_apiserver=folder / "kube-apiserver", kubectl=folder / "kubectl")


def _built(say: Say) -> Binaries:
    folder = _cache_folder()
    if (cached := _cached(folder)) is not None:
        return cached
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _only_one(folder.with_name(f"{folder.name}.lock"), say):
        if (cached := _cached(folder)) is not None:
            return cached
        for left_by_a_crash in folder.parent.glob(f".{folder.name}-*"):
            shutil.rmtree(left_by_a_crash)
        with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as temporary:
            _build(Path(temporary), say)
            (Path(temporary) / "bin").rename(folder)
    return _binaries(folder)


def _cached(folder: Path) -> Binaries | None:
    return _binaries(folder) if folder.is_dir() else None


def _cache_folder() -> Path:
    """Appears complete or not at all. Named after everything that decides its content."""
    recipe = hashlib.sha256(" ".join([*_PACKAGES.values(), *_build_flags()]).encode())
    for name in _MODULE_FILES:
        recipe.update(_module_file(name))
    target = f"{platform.system()}-{platform.machine()}".lower()
    cache = platformdirs.user_cache_path("ecs-inference")
    return cache / "control-plane" / f"{KUBERNETES_VERSION}-{target}-{recipe.hexdigest()[:12]}"


def _module_file(name: str) -> bytes:
    return (resources.files("inference_sandbox.control_plane") / name).read_bytes()


def _build_flags() -> list[str]:
    major, minor, _ = KUBERNETES_VERSION.split(".")
    version = "k8s.io/component-base/version"
    variables = {"gitVersion": f"v{KUBERNETES_VERSION}", "gitMajor": major, "gitMinor": minor}
    linked = " ".join(f"-X {version}.{name}={value}" for name, value in variables.items())
    return ["-trimpath", "-ldflags", f"-s -w {linked}"]


def _build(folder: Path, say: Say) -> None:
    """Fill `folder/bin`. The module is built from a copy: an installed package may lie where nobody can write."""
    go = shutil.which("go")
    if go is None:
        raise BinariesUnavailableError(
            "no Kubernetes control plane: Go is not on PATH and KUBEBUILDER_ASSETS is not set. Install Go "
            f"(https://go.dev/dl), or set KUBEBUILDER_ASSETS to a folder with {', '.join(_PACKAGES)}."
        )
    for name in _MODULE_FILES:
        (folder / name).write_bytes(_module_file(name))
    programs = folder / "bin"
    programs.mkdir()
    say(f"Building {', '.join(_PACKAGES)} {KUBERNETES_VERSION} from source, once (about 4 minutes on two cores)")
    started = time.monotonic()
    _run_go(
        [go, "build", "-v", *_build_flags(), "-o", f"{programs}{os.sep}", *_PACKAGES.values()],
        folder=folder,
        say=say,
    )
    for name, built_as in _BUILT_AS.items():
        (programs / built_as).rename(programs / name)
    say(f"Built the control plane in {time.monotonic() - started:.0f} s")


def _run_go(command: list[str], *, folder: Path, say: Say) -> None:
    """Run `go build -v`, which names each package that it compiles, and tell how far it is now and then."""
    output = _Output()
    with (
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "GOWORK": "off", "GO111MODULE": "on"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
        _telling_progress(output, say),
    ):
        try:
            assert process.stdout is not None  # noqa: S101 - it is a pipe: asked for above
            for line in process.stdout:
                output.add(line)
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0:
        raise BinariesUnavailableError(f"`{' '.join(command)}` ended with {process.returncode}:\n{output.tail()}")


class _Output:
    """What `go build` says: counted, and its end kept for the case that it fails."""

    def __init__(self) -> None:
        self.lines = 0
        self._last: deque[str] = deque(maxlen=20)

    def add(self, line: str) -> None:
        self.lines += 1
        self._last.append(line)

    def tail(self) -> str:
        return "".join(self._last).rstrip()


@contextmanager
def _telling_progress(output: _Output, say: Say) -> Iterator[None]:
    finished = threading.Event()
    started = time.monotonic()

    def tell() -> None:
        while not finished.wait(_PROGRESS_SECONDS):
            say(f"… {time.monotonic() - started:.0f} s, {output.lines} packages compiled")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        finished.set()
        teller.join()


@contextmanager
def _only_one(lock: Path, say: Say) -> Iterator[None]:
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another process that builds the control plane")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _say_to_stderr(line: str) -> None:
    print(line, file=sys.stderr, flush=True)  # noqa: T201 - progress of minutes, to be seen by a person
