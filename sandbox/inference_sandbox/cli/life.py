"""The life of a sandbox: up, exec, fill, down, build. What they do is in `sandbox` and `running`."""

from __future__ import annotations

import json
import logging
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from string import Template
from types import FrameType
from typing import NoReturn, TextIO

import click
from rich.console import Console
from rich.live import Live

from inference_sandbox import running, table
from inference_sandbox.cli.options import expected_errors, name_option
from inference_sandbox.control_plane import find_binaries
from inference_sandbox.details import Details
from inference_sandbox.door import Door, DoorError
from inference_sandbox.sandbox import Sandbox, run
from inference_sandbox.tasks.images import Choice, ProcessImage
from inference_sandbox.workdirs import temporary_folder

_DOWN_SECONDS = 60
_REFRESH_SECONDS = 1.0
_TOLD_TO_STOP = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def _images(_context: click.Context, _parameter: click.Parameter, values: Sequence[str]) -> Mapping[str, ProcessImage]:
    images = {}
    for value in values:
        reference, equals, command = value.partition("=")
        if not (reference and equals and command.strip()):
            raise click.BadParameter(f"{value!r}: write NAME=COMMAND, e.g. '*/echo:*=python -m http.server'")
        images[reference] = ProcessImage(entrypoint=shlex.split(command))
    return images


@click.command(short_help="Start a sandbox, and stay until told to stop.")
@name_option
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
    "--tasks",
    type=click.Choice(["auto", "container", "process"]),
    default="auto",
    show_default=True,
    help="What tasks run as. auto: containers if a Docker-compatible engine answers at DOCKER_HOST (or at Docker's "
    "usual socket) and has all images of the task in its local store, else processes.",
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
    tasks: Choice,
    kubeconfig: Path | None,
    crds: Path | None,
) -> None:
    """Start a sandbox, say when it is ready, and stay until SIGTERM or Ctrl-C.

    On a terminal a table shows its services, deployments, tasks and events; elsewhere each event is a line.

    FLUENT_BIT names the Fluent Bit program that log routers run; else it is looked for on PATH.
    """
    if images and tasks == "container":
        raise click.UsageError("--image says what process runs for an image, and --tasks container that none may")
    started = time.monotonic()
    with (
        expected_errors(),
        _until_told_to_stop(),
        running.claim(name) as announce,
        _folder(workdir) as folder,
        run(folder, images=images, tasks=tasks, kubeconfig=kubeconfig, crds=crds) as sandbox,
    ):
        details = sandbox.details
        announce(details)
        if as_json:
            click.echo(json.dumps(details.as_json()))
            stay = _stay_silently
        else:
            click.echo(_welcome(details, name, time.monotonic() - started))
            stay = _stay_with_table if sys.stdout.isatty() else _stay_with_events
        stay(sandbox)


@click.command(
    "exec",
    short_help="Run a command in a sandbox: kubectl, a shell, a program.",
    context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
)
@name_option
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_(*, name: str, command: Sequence[str]) -> NoReturn:
    """Run a command whose Kubernetes and AWS are the sandbox's, with the sandbox's kubectl first on PATH."""
    with expected_errors():
        environment = running.find(name).environment(os.environ)
    try:
        os.execvpe(command[0], list(command), environment)  # noqa: S606 - the user's own command; no shell is wanted
    except OSError as error:
        click.echo(f"{command[0]}: {error.strerror}", err=True)
        sys.exit(127 if isinstance(error, FileNotFoundError) else 126)


@click.command(short_help="Print a file with the sandbox's ids in it.")
@name_option
@click.argument("file", type=click.File())
def fill(*, name: str, file: TextIO) -> None:
    """Print FILE (- for standard input) with $cluster, $subnets and the like replaced by what the sandbox has.

    The names are those of `up --json`. A list becomes one of JSON, which is one of YAML too; $$ becomes $.
    """
    with expected_errors():
        details = running.find(name).as_json()
    values = {key: json.dumps(value) if isinstance(value, list) else str(value) for key, value in details.items()}
    try:
        click.echo(Template(file.read()).substitute(values), nl=False)
    except KeyError as error:
        raise click.ClickException(f"{file.name}: ${error.args[0]} is none of {', '.join(values)}") from None
    except ValueError:
        raise click.ClickException(f"{file.name}: a $ stands before no name; write $$ for a $") from None


@click.command(short_help="End a sandbox.")
@name_option
def down(*, name: str) -> None:
    """End a sandbox, and return when all its processes have ended."""
    with expected_errors():
        running.end(name, within_seconds=_DOWN_SECONDS)
    click.echo(f"sandbox {name!r} is down")


@click.command(short_help="Build the Kubernetes programs, once.")
def build() -> None:
    """Build etcd, kube-apiserver and kubectl if that has not been done yet, and print their folder."""
    with expected_errors():
        click.echo(find_binaries().etcd.parent)


def _welcome(details: Details, name: str, seconds: float) -> str:
    option = "" if name == "default" else f" --name {name}"
    return f"""\
The sandbox is up ({seconds:.1f} s). Ctrl-C ends it.

  Kubernetes   KUBECONFIG={details.kubeconfig}
  AWS          AWS_ENDPOINT_URL={details.aws_endpoint_url}, region {details.region}, ECS cluster {details.cluster}
  Services     {details.load_balancer_url}
  Tasks        {details.tasks}
  Log router   {details.log_router}
  Models       {details.models_dir} is the root of {details.file_system_id}

In another terminal:
  inference-sandbox exec{option} -- kubectl get namespaces
  inference-sandbox exec{option} -- bash
  inference-sandbox fail{option} SERVICE oom
  inference-sandbox down{option}"""


def _stay_silently(sandbox: Sandbox) -> NoReturn:
    while True:
        sandbox.live(_REFRESH_SECONDS)


def _stay_with_table(sandbox: Sandbox) -> NoReturn:
    """A table that is brought up to date where it stands."""
    door, console = Door(sandbox.details.aws_endpoint_url), Console()
    with Live(console=console, auto_refresh=False) as screen:
        while True:
            with suppress(DoorError):  # busy: the next look will do
                screen.update(table.tables(door.get("/status"), lines=console.height), refresh=True)
            sandbox.live(_REFRESH_SECONDS)


def _stay_with_events(sandbox: Sandbox) -> NoReturn:
    """Where there is no terminal: each service event in a line, as it happens."""
    door, seen = Door(sandbox.details.aws_endpoint_url), set[str]()
    while True:
        with suppress(DoorError):
            for line in table.new_events(door.get("/status"), seen):
                click.echo(line)
        sandbox.live(_REFRESH_SECONDS)


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
        workdir = workdir or stack.enter_context(temporary_folder())
        workdir.mkdir(parents=True, exist_ok=True)
        warnings = _StandardError()
        warnings.setLevel(logging.WARNING)
        log = logging.FileHandler(workdir / "sandbox.log")
        stack.callback(log.close)
        logging.basicConfig(
            level=logging.INFO, handlers=[warnings, log], format="%(asctime)s %(levelname)s %(name)s %(message)s"
        )
        yield workdir.absolute()


class _StandardError(logging.StreamHandler[TextIO]):
    """Whatever standard error is when there is something to say: above a live table it is the table's."""

    @property
    def stream(self) -> TextIO:
        return sys.stderr

    @stream.setter
    def stream(self, _stream: TextIO) -> None:
        pass


COMMANDS = (up, exec_, fill, down, build)
