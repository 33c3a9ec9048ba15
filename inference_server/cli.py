"""The script `inference-server`: reads arguments and environment, calls what does the work, says what came of it."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from inference_server.settings import Settings


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="ecs-inference")
def main() -> None:
    """Serve models over the Open Inference Protocol (V2)."""


class CantStart(click.ClickException):
    """Why the server does not start. A container's log has it as a line like all others, a terminal as words."""

    def show(self, file: IO[Any] | None = None) -> None:
        if sys.stderr.isatty():
            super().show(file)
            return
        ts = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"ts": ts, "level": "CRITICAL", "logger": "inference_server", "message": self.message}
        click.echo(json.dumps(record), err=True)


@main.command()
def run() -> None:
    """Serve the models of INFERENCE_MODELS_DIR, as PID 1 of a container. Configured by INFERENCE_* variables alone."""
    # To PID 1 a signal that it does not handle is lost. One that it blocks waits, until the supervisor handles it.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        _run()
    except click.ClickException as error:
        raise CantStart(error.message) from None


def _run() -> None:
    from inference_server import supervisor  # noqa: PLC0415  (of use to this command only)
    from inference_server.uwsgi_config import uwsgi_ini  # noqa: PLC0415

    settings = _settings()
    if settings.tracing and importlib.util.find_spec("opentelemetry") is None:
        raise click.ClickException(
            "INFERENCE_TRACING is true, but OpenTelemetry is not in this image: install ecs-inference[server-tracing]"
        )
    try:
        scratch = Path(tempfile.mkdtemp(prefix="inference-server-", dir=settings.scratch_dir))
        (scratch / supervisor.INI_FILE).write_text(uwsgi_ini(settings))
        (scratch / supervisor.LAUNCH_FILE).write_text(settings.model_dump_json())
    except OSError as error:
        raise click.ClickException(
            f"no folder for local copies: {error}; mount a volume and set INFERENCE_SCRATCH_DIR"
        ) from None
    # The supervisor takes this process over: it keeps the PID and leaves behind what only the command line needs.
    os.execv(sys.executable, [sys.executable, "-m", supervisor.__name__, str(scratch)])  # noqa: S606  (no shell is meant)


@main.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def check(directory: Path, *, as_json: bool) -> None:
    """Load every model of the repository DIRECTORY as the server would, and say which can't be served and why.

    Exits 1 if a required model can't be served.
    """
    from inference_server import logs  # noqa: PLC0415  (loading brings the runtimes in, which is slow)
    from inference_server.checking import CantCheckError, check_repository  # noqa: PLC0415  (the same)

    settings = _settings()
    logs.configure("CRITICAL", sys.stderr.fileno())
    try:
        outcome = check_repository(directory, settings.unsafe_models)
    except CantCheckError as error:
        raise click.ClickException(str(error)) from None
    if as_json:
        click.echo(json.dumps(outcome, indent=1))
    else:
        for entry in outcome["served"]:
            click.echo(f"ok       {entry['model']} version {entry['version']} ({entry['platform']})")
        for entry in outcome["problems"]:
            subject = (
                f"{entry['model']} version {entry['version']}" if entry["version"] else entry["model"] or directory
            )
            click.echo(f"{'problem' if entry['required'] else 'skipped'}  {subject}: {entry['reason']}")
    sys.exit(0 if outcome["ready"] else 1)


@main.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--replace", is_flag=True, help="Write new manifests even where a published version was changed.")
def publish(directory: Path, *, replace: bool) -> None:
    """Write the manifest of every version in the repository DIRECTORY: the server takes only versions that have one."""
    from inference_server.repository.model_config import ModelError  # noqa: PLC0415  (NumPy comes with it)
    from inference_server.repository.publish import publish as publish_repository  # noqa: PLC0415

    try:
        for version in publish_repository(directory, replace=replace):
            click.echo(f"{version.state:9}  {version.model} version {version.version}")
    except (ModelError, OSError) as error:
        raise click.ClickException(str(error)) from None


@main.command()
@click.argument("model")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="Where the server is.")
@click.option("--connections", type=click.IntRange(1, 1000), default=8, show_default=True, help="Requests at once.")
@click.option("--seconds", type=click.FloatRange(0.1), default=5, show_default=True, help="For how long.")
@click.option(
    "--request",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON body to send; the model's example from /docs if not given.",
)
def bench(model: str, url: str, connections: int, seconds: float, file: Path | None) -> None:
    """Put load on MODEL of a running server, and tell requests per second and latencies.

    Exits 1 if a request was not answered with 200.
    """
    from inference_server.bench import CantAskError, check_url, example_request  # noqa: PLC0415  (of use here only)
    from inference_server.bench import bench as put_load  # noqa: PLC0415  (the same)

    try:
        check_url(url)
        body = file.read_bytes() if file is not None else example_request(url, model)
    except CantAskError as error:
        raise click.ClickException(str(error)) from None
    outcome = put_load(url, model, body, connections, seconds)
    click.echo(f"{outcome.per_second:.0f} requests/s on {connections} connections for {outcome.seconds:.1f} s")
    click.echo("  ".join(f"p{part * 100:g} {outcome.percentile(part) * 1000:.2f} ms" for part in (0.5, 0.9, 0.99, 1)))
    click.echo("  ".join(f"{status}: {count}" for status, count in sorted(outcome.statuses.items())))
    sys.exit(0 if outcome.statuses.keys() == {"200"} else 1)


@main.command("print-config")
def print_config() -> None:
    """Print the configuration that `run` would use, as JSON."""
    click.echo(_settings().model_dump_json(indent=1))


def _settings() -> Settings:
    from inference_server.settings import SettingsError, load_settings  # noqa: PLC0415  (pydantic takes half a second)

    try:
        return load_settings(os.environ)
    except SettingsError as error:
        raise click.ClickException(str(error)) from None
