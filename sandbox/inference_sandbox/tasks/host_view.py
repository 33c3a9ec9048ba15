"""Turns what a container definition says into what is true for a process on this machine. Pure text.

A local process has neither a mount namespace nor a network namespace, so two kinds of word must change their meaning:

- a path that is a mount's container path, or lies below it, becomes the folder that stands in for the file system;
- `localhost`, `127.0.0.1` and `0.0.0.0`, which a container means as its own task, become the task's own address.

Both are recognised as whole words (`--dir=/models`, `test -f '/models/a'`, `http://localhost:8080/`), not inside others
(`/models2`, `10.0.0.0`). It is done to the definition's command, entry point, health check and working directory, and
to the task's environment; never to the image's own environment, so that is the place for an address outside of the
task, such as the AWS endpoint.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from inference_sandbox.ports import EfsMount

_OWN_ADDRESS = re.compile(r"(?<![\w.-])(?:localhost|127\.0\.0\.1|0\.0\.0\.0)(?![\w.-]|/\d)")
_BEFORE_A_PATH = r"(?:^|(?<=[\s\"'`=:,;()<>|&]))"
_AFTER_A_PATH = r"(?=$|[/\s\"'`:,;()<>|&])"


@dataclass(frozen=True)
class HostView:
    """How one container's world maps to this machine."""

    address: str
    mounts: Sequence[EfsMount]

    @cached_property
    def _folders(self) -> dict[str, str]:
        return {mount.container_path.rstrip("/"): mount.host_path.rstrip("/") for mount in self.mounts}

    @cached_property
    def _mounted(self) -> re.Pattern[str]:
        longest_first = sorted(self._folders, key=len, reverse=True)
        return re.compile(f"{_BEFORE_A_PATH}({'|'.join(map(re.escape, longest_first))}){_AFTER_A_PATH}")

    def of(self, text: str) -> str:
        """The text as a process on this machine must read it."""
        text = _OWN_ADDRESS.sub(self.address, text)
        return self._mounted.sub(lambda found: self._folders[found[1]], text) if self._folders else text
