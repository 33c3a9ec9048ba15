"""What every command has: the sandbox's name, and errors that are told in a line instead of a trace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import click

from inference_sandbox import running
from inference_sandbox.control_plane import BinariesUnavailableError, ControlPlaneError, KubectlError
from inference_sandbox.door import DoorError
from inference_sandbox.tasks.images import EngineUnavailableError, FluentBitUnusableError

_EXPECTED = (
    BinariesUnavailableError,
    ControlPlaneError,
    DoorError,
    EngineUnavailableError,
    FluentBitUnusableError,
    KubectlError,
    running.AlreadyUpError,
    running.NotUpError,
    TimeoutError,
)


def _name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", value):
        raise click.BadParameter(f"{value!r}: use at most 40 of a-z, 0-9 and -, neither first nor last a -")
    return value


name_option = click.option(
    "--name", default="default", show_default=True, callback=_name, help="Which sandbox: several can be up at once."
)


@contextmanager
def expected_errors() -> Iterator[None]:
    try:
        yield
    except _EXPECTED as error:
        raise click.ClickException(str(error)) from None
