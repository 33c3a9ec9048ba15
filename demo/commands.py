"""Runs commands as a person would type them, and shows both the command and what it prints."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from demo.failure import DemoFailed

_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Shell:
    """Where commands run, and with which environment."""

    folder: Path
    environment: Mapping[str, str]

    def show(self, command: str) -> str:
        """Print the command, run it, print its output and return that. Raises DemoFailed if it fails."""
        print(f"$ {command}", flush=True)
        output = self.run(command)
        print(output, flush=True)
        return output

    def run(self, command: str) -> str:
        """The command's output. No shell is involved: quotes are understood, but no pipes and no variables."""
        done = subprocess.run(
            shlex.split(command),
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        if done.returncode != 0:
            raise DemoFailed(f"`{command}` ended with exit code {done.returncode}: {done.stderr.strip()}")
        return done.stdout
