"""Virtual environments with other people's programs, built once in the user's cache from pinned requirements.

They are apart from the project's own, as those programs want other versions of the same libraries.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import platformdirs

FOLDER = platformdirs.user_cache_path("ecs-inference") / "environments"
BUILD_SECONDS = 600


class CantBuildError(Exception):
    """The environment can't be built here; the text says why."""


def python_with(requirements: Path) -> Path:
    """The interpreter of the environment with exactly the packages of `requirements`, which has hashes.

    Builds it if it is not there; a change of the file makes another one. Raises CantBuildError.
    """
    content = requirements.read_bytes() + sys.version.encode()
    folder = FOLDER / f"{requirements.parent.name}-{requirements.stem}-{hashlib.sha256(content).hexdigest()[:12]}"
    python, complete = folder / "bin" / "python", folder / "complete"
    FOLDER.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            _build(folder, requirements)
            complete.touch()
    return python


def _build(folder: Path, requirements: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    program = str(uv) if uv.exists() else shutil.which("uv")
    if program is None:
        raise CantBuildError("uv is not installed")
    python, wheels = str(folder / "bin" / "python"), ("--only-binary", ":all:")
    for arguments in (
        ["venv", "--quiet", "--clear", "--no-project", "--python", sys.executable, str(folder)],
        ["pip", "install", "--quiet", "--python", python, "--require-hashes", *wheels, "-r", str(requirements)],
    ):
        environment = {**os.environ, "VIRTUAL_ENV": ""}
        try:
            done = subprocess.run(
                [program, *arguments],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
                timeout=BUILD_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise CantBuildError(f"{requirements.name} took more than {BUILD_SECONDS} s to install") from None
        if done.returncode:
            raise CantBuildError(f"{requirements.name} can't be installed: {done.stderr.strip()[-500:]}")
