"""The command `inference-sandbox`: reads the command line and prints. What it does is in `sandbox` and `running`."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from inference_sandbox import running
from inference_sandbox.control_plane import (
    BinariesUnavailableError,
    ControlPlaneError,
    KubectlError,
    find_binaries,
)
from inference_sandbox.details import Details
from inference_sandbox.sandbox import run
from inference_sandbox.tasks.images import ProcessImage

_DOWN_SECONDS = 60
_TOLD_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_EXPECTED_ERRORS = (
    BinariesUnavailableError,
    ControlPlaneError,
    KubectlError,
    running.AlreadyUpError,
    running.NotUpError,
    TimeoutError,
)


def _name(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", value):
        raise click.BadParameter(f"{value!r}: use at most 40 of a-z, 0-9 and -, neither first nor last a -")
    return value


def _images(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> Mapping[str, ProcessImage]:
    images = {}
    for value in values:
        reference, equals, command = value.partition("=")
        if not (reference and equals and command.strip()):
            raise click.BadParameter(f"{value!r}: write NAME=COMMAND, e.g. '*/echo:*=python -m http.server'")
        images[reference] = ProcessImage(entrypoint=shlex.split(command))
    return images


_name_option = click.option(
    "--name", default="default", show_default=True, callback=_name, help="Several can be up at once, by name."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Kubernetes and AWS on this machine: a real API server, and an ECS whose services really run."""


@main.command()
@_name_option
@click.option("--json", "as_json", is_flag=True, help="When ready, print one line of JSON instead of a text.")
@click.option(
    "--workdir",
    type=click.Path(file_okay=False, path_type=Path),
    help="For logs, models and all the rest; it is kept. Default: a temporary folder, removed at the end.",
)
@click.option(
    "--image",
    "images",
    metavar="NAME=COMMAND",
    multiple=True,
    callback=_images,
    help="What runs for an image: its reference, with shell wildcards, and a command, in which {address} is the task's "
    "own address. Images named */inference-server are known already.",
)
@click.option(
    "--kubeconfig",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Use this cluster, and kubectl on PATH, instead of a control plane of its own.",
)
@click.option(
    "--crds",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of CustomResourceDefinitions to create.",
)
def up(
    *,
    name: str,
    as_json: bool,
    workdir: Path | None,
    images: Mapping[str, ProcessImage],
    kubeconfig: Path | None,
    crds: Path | None,
) -> None:
    """Start a sandbox, say when it is ready, and stay until SIGTERM or Ctrl-C."""
    started = time.monotonic()
    with (
        _expected_errors(),
        _until_told_to_stop(),
        running.claim(name) as announce,
        _folder(workdir) as folder,
        run(folder, images=images, kubeconfig=kubeconfig, crds=crds) as details,
    ):
        announce(details)
        ready = json.dumps(details.as_json()) if as_json else _welcome(details, name, time.monotonic() - started)
        click.echo(ready)
        while True:
            signal.pause()


@main.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@_name_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(*, name: str, command: Sequence[str]) -> NoReturn:
    """Run a command whose Kubernetes and AWS are the sandbox's, with the sandbox's kubectl first on PATH."""
    with _expected_errors():
        environment = running.find(name).environment(os.environ)
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - the user's own command; no shell is wanted
    except OSError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


@main.command()
@_name_option
def down(*, name: str) -> None:
    """End a sandbox, and return when all its processes have ended."""
    with _expected_errors():
        running.end(name, within_seconds=_DOWN_SECONDS)
    click.echo(f"sandbox {name!r} is down")


@main.command()
def build() -> None:
    """Build etcd, kube-apiserver and kubectl if that has not been done yet, and print their folder."""
    with _expected_errors():
        click.echo(find_binaries().etcd.parent)


def _welcome(details: Details, name: str, seconds: float) -> str:
    option = "" if name == "default" else f" --name {name}"
    return f"""\
The sandbox is up ({seconds:.1f} s). Ctrl-C ends it.

  Kubernetes   KUBECONFIG={details.kubeconfig}
  AWS          AWS_ENDPOINT_URL={details.aws_endpoint_url}, region {details.region}, ECS cluster {details.cluster}
  Services     {details.load_balancer_url}
  Models       {details.models_dir} is the root of {details.file_system_id}

In another terminal:
  inference-sandbox exec{option} -- kubectl get namespaces
  inference-sandbox exec{option} -- bash
  inference-sandbox down{option}"""


@contextmanager
def _expected_errors() -> Iterator[None]:
    try:
        yield
    except _EXPECTED_ERRORS as error:
        raise click.ClickException(str(error)) from None


class _ToldToStop(BaseException):
    """Unwinds everything, wherever it is."""


@contextmanager
def _until_told_to_stop() -> Iterator[None]:
    """Leave the block at the first signal, in good order: those that follow change nothing."""

    def stop(_signal: int, _frame: FrameType | None) -> None:
        for number in _TOLD_TO_STOP:
            signal.signal(number, lambda *_: None)
        raise _ToldToStop

    for number in _TOLD_TO_STOP:
        signal.signal(number, stop)
    with suppress(_ToldToStop):
        yield


@contextmanager
def _folder(workdir: Path | None) -> Iterator[Path]:
    """With a log in it; warnings go to standard error too."""
    with ExitStack() as stack:
        if workdir is None:
            temporary = tempfile.TemporaryDirectory(prefix="inference-sandbox-", ignore_cleanup_errors=True)
            workdir = Path(stack.enter_context(temporary))
        workdir.mkdir(parents=True, exist_ok=True)
        warnings = logging.StreamHandler()
        warnings.setLevel(logging.WARNING)
        log = logging.FileHandler(workdir / "sandbox.log")
        stack.callback(log.close)
        logging.basicConfig(
            level=logging.INFO, handlers=[warnings, log], format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        yield workdir.absolute()
