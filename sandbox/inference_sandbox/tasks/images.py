"""The local image store: which program stands for which image reference.

Its duty is the look-up and the words of a failed pull. It starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

Choice = Literal["auto", "container", "process"]
"""What tasks run as. auto: containers where an engine has their images, else processes."""


class EngineUnavailableError(Exception):
    """Containers were asked for, and there is no engine that could run them; the message says why."""


class FluentBitUnusableError(Exception):
    """FLUENT_BIT names a program that does not run."""


@dataclass(frozen=True, kw_only=True)
class ProcessImage:
    """A program that stands for an image.

    `entrypoint`, `command` and `environment` are an image's ENTRYPOINT, CMD and ENV: a container definition's
    `entryPoint` replaces the first two, its `command` the second, its environment wins name by name. In all of them
    `{address}` becomes the task's own loopback address, which is how a server is told where to bind
    (`environment={"INFERENCE_HOST": "{address}"}`), and `{workdir}` the container's own scratch folder.
    """

    command: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: Sequence[str] = ()

    def at(self, *, address: str, workdir: str) -> ProcessImage:
        """The same image, its placeholders filled."""

        def fill(template: str) -> str:
            return template.replace("{address}", address).replace("{workdir}", workdir)

        return ProcessImage(
            command=[fill(word) for word in self.command],
            environment={name: fill(value) for name, value in self.environment.items()},
            entrypoint=[fill(word) for word in self.entrypoint],
        )

    def argv(self, *, entrypoint: Sequence[str], command: Sequence[str]) -> list[str]:
        """The words to run, as Docker combines an image's with a container's (empty where it gives none)."""
        if entrypoint:
            return [*entrypoint, *command]
        return [*self.entrypoint, *(command or self.command)]


def find_image(images: Mapping[str, ProcessImage], reference: str) -> ProcessImage | None:
    """The image of the first pattern (shell wildcards, case counts) that fits the reference, in the mapping's order."""
    return next((image for pattern, image in images.items() if fnmatchcase(reference, pattern)), None)


def pull_failure(reference: str) -> str:
    """What Fargate (platform 1.4) says of an image that its registry does not have."""
    return (
        "CannotPullContainerError: pull image manifest has been retried 1 time(s): "
        f"failed to resolve ref {reference}: {reference}: not found"
    )
