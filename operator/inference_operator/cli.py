"""`inference-operator`: run it, or ask it what it would do."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TextIO

import click

from inference_operator import __version__
from inference_operator.files import objects_in, with_some


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def main() -> None:
    """Keeps inference services on ECS Fargate as InferenceDeployments ask."""


@main.command()
def run() -> None:
    """Watch the cluster and keep its InferenceDeployments, until SIGTERM.

    Configured by INFERENCE_OPERATOR_*, AWS_* and KUBECONFIG (or the pod's service account).
    """
    from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415
    from pydantic import ValidationError  # noqa: PLC0415

    from inference_operator.runtime import logs, process  # noqa: PLC0415 half a second that the other commands need not pay
    from inference_operator.runtime.settings import Settings, misspelt  # noqa: PLC0415

    if wrong := list(misspelt(os.environ)):
        raise click.ClickException("; ".join(wrong))
    try:
        settings = Settings()
    except ValidationError as error:
        wrong = [
            f"INFERENCE_OPERATOR_{e['loc'][0]}".upper() + f" is {e['input']!r}: {e['msg']}" for e in error.errors()
        ]
        raise click.ClickException("; ".join(wrong)) from error
    logs.configure(settings.log_level)
    try:
        process.run(settings)
    except ConfigException as error:
        raise click.ClickException(
            f"there is no cluster to work in: this is no pod with a service account's token, and of KUBECONFIG: {error}"
        ) from error


_FILES = click.option(
    "-f", "--file", "files", required=True, multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
_OUTPUT = click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)


@main.command()
@_FILES
@_OUTPUT
@click.option("--live", is_flag=True, help="Against what there is, in AWS and in the cluster. Nothing is written.")
def plan(files: tuple[Path, ...], output: str, *, live: bool) -> None:
    """Print the AWS calls that would make the objects in FILE: as if nothing were there yet, and offline.

    FILE holds InferenceDeployments and the InferenceEnvironments that they name; and their Namespaces, where an
    environment asks for labels. With --live what FILE does not hold is asked of the cluster; configured by AWS_* and
    KUBECONFIG.
    """
    from inference_operator.engine.offline import plan_documents, plan_live  # noqa: PLC0415

    _keep_quiet()
    documents = with_some(["InferenceDeployment"], files)
    with _outside():
        plans = plan_live(documents, *_world()) if live else plan_documents(documents)
    _print(plans, output)
    if any(p.refusal for p in plans):
        sys.exit(1)


@main.command("import")
@click.argument("target", metavar="CLUSTER/SERVICE")
@click.option("--region", envvar=["AWS_REGION", "AWS_DEFAULT_REGION"], help="Where it is.  [default: $AWS_REGION]")
@click.option("--environment", help="The InferenceEnvironment to run in: of FILE, or of the cluster.")
@click.option(
    "-f",
    "--file",
    "files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the InferenceEnvironment.",
)
@click.option("--namespace", help="Of the InferenceDeployment.  [default: as the service is called, or default]")
@click.option("--name", help="Of the InferenceDeployment.  [default: as the service is called]")
def import_service(
    target: str,
    region: str | None,
    environment: str | None,
    files: tuple[Path, ...],
    namespace: str | None,
    name: str | None,
) -> None:
    """Print the manifest of a live ECS service, and what the operator would make otherwise. Nothing is written.

    Comments say what a spec can't say, and what applying the manifest would do. Without --environment the
    InferenceEnvironment that it needs is printed as well.
    """
    from inference_operator.engine.importing import CannotImportError, identity_of, imported  # noqa: PLC0415
    from inference_operator.engine.importing.live import look  # noqa: PLC0415
    from inference_operator.engine.importing.printing import text  # noqa: PLC0415
    from inference_operator.engine.offline import plan_live  # noqa: PLC0415

    _keep_quiet()
    connect, kubernetes = _world()
    with _outside():
        document = _environment(environment, files, kubernetes) if environment is not None else None
        aws, known = _account(document, region, connect)
        cluster, service = target.split("/")[-2:] if "/" in target else ("default", target)
        live = look(aws, cluster, service)
    if live is None:
        raise click.ClickException(
            f"there is no active service {service} with a task definition in the cluster {cluster} of {aws.region}"
        )
    try:
        found = imported(live, identity_of(live, namespace, name), known)
    except CannotImportError as error:
        raise click.ClickException(f"no manifest can be made of {target}: {error}") from error
    with _outside():
        [planned] = plan_live([found.deployment, found.environment or document or {}], lambda _: aws, kubernetes)
    click.echo(text(live, found, planned), nl=False)


def _environment(name: str, files: tuple[Path, ...], kubernetes: Any) -> Any:
    """The InferenceEnvironment of that name."""
    known = dict(kubernetes.environments()) if kubernetes is not None else {}
    known |= {d["metadata"]["name"]: d for d in objects_in(files) if d.get("kind") == "InferenceEnvironment"}
    if name not in known:
        raise click.ClickException(
            f"there is no InferenceEnvironment {name} in the cluster or in FILE (there is: "
            f"{', '.join(sorted(known)) or 'none'}); leave --environment out to have one made from the service"
        )
    return known[name]


def _account(document: Any, region: str | None, connect: Any) -> tuple[Any, Any]:
    """AWS where the service is, and the name and spec of its environment if it is known."""
    from pydantic import ValidationError  # noqa: PLC0415

    from inference_operator.api.errors import explain  # noqa: PLC0415
    from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec  # noqa: PLC0415
    from inference_operator.aws import clients  # noqa: PLC0415

    if document is None:
        if region is None:
            raise click.ClickException("no region is known; give --region, or set AWS_REGION")
        return clients.connect(region), None
    try:
        spec = InferenceEnvironmentSpec.model_validate(document["spec"])
    except ValidationError as error:
        raise click.ClickException(explain(error)) from error
    return connect(spec), (document["metadata"]["name"], spec)


@main.group()
def logs() -> None:
    """What becomes of what the containers write."""


@logs.command("explain")
@click.option("-f", "--file", required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "-e",
    "--environment",
    "environments",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A file with the InferenceEnvironment, where FILE does not hold it.",
)
@click.option(
    "-s",
    "--sample",
    type=click.File(),
    help="Lines of a log, as the server writes them; - for standard input.",
)
def explain_logs(file: Path, environments: tuple[Path, ...], sample: TextIO | None) -> None:
    """Print the log router's configuration for the InferenceDeployments in FILE, and where sample lines would go."""
    from datetime import UTC, datetime  # noqa: PLC0415

    from inference_operator.engine.log_explanation import explained  # noqa: PLC0415

    documents = objects_in((file, *environments))
    known = {d["metadata"]["name"]: d for d in documents if d.get("kind") == "InferenceEnvironment"}
    lines = sample.read().splitlines() if sample is not None else []
    found = [d for d in documents if d.get("kind") == "InferenceDeployment"]
    if not found:
        raise click.ClickException(f"{file} holds no InferenceDeployment")
    explanations = [explained(document, known, lines, datetime.now(UTC)) for document in found]
    click.echo("\n\n".join(explanation.text() for explanation in explanations))
    if any(explanation.refusal for explanation in explanations):
        sys.exit(1)


@main.command()
@_FILES
@_OUTPUT
def verify(files: tuple[Path, ...], output: str) -> None:
    """Check in AWS what would make a rollout of the objects in FILE fail. Nothing is written.

    FILE is as for plan --live, or holds an InferenceEnvironment alone. All that one in FILE names is looked for, too.
    Fails if something would or is missing; what can't be told does not count.
    """
    from inference_operator.engine.preflight import verify_documents  # noqa: PLC0415

    _keep_quiet()
    documents = with_some(["InferenceDeployment", "InferenceEnvironment"], files)
    with _outside():
        reports = verify_documents(documents, *_world())
    _print(reports, output)
    if any(report.failed for report in reports):
        sys.exit(1)


def _world() -> tuple[Any, Any]:
    """AWS, and the cluster if one is configured. Without credentials nothing could be told of AWS: that is an error."""
    from kubernetes.config import load_incluster_config, load_kube_config  # noqa: PLC0415 slow to import, like boto3
    from kubernetes.config.config_exception import ConfigException  # noqa: PLC0415

    from inference_operator.aws.clients import has_credentials, ignore  # noqa: PLC0415
    from inference_operator.runtime.connections import Connections  # noqa: PLC0415
    from inference_operator.runtime.kube import Kube  # noqa: PLC0415

    if not has_credentials():
        raise click.ClickException("there are no AWS credentials; set AWS_PROFILE, or whatever your AWS CLI works with")
    cluster = None
    for load in (load_incluster_config, load_kube_config):
        with suppress(ConfigException):
            load()
            cluster = Kube()
            break
    return Connections(ignore, lambda _cluster, _service: None), cluster


@contextmanager
def _outside() -> Iterator[None]:
    """What AWS or the cluster answers instead of what was asked, in a line."""
    from kubernetes.client import ApiException  # noqa: PLC0415 as above
    from urllib3.exceptions import HTTPError  # noqa: PLC0415

    from inference_operator.aws.errors import AwsError  # noqa: PLC0415

    try:
        yield
    except AwsError as error:
        raise click.ClickException(error.told()) from error
    except ApiException as error:
        raise click.ClickException(f"the cluster of KUBECONFIG answers {error.status} {error.reason}") from error
    except HTTPError as error:
        raise click.ClickException(f"the cluster of KUBECONFIG can't be reached: {error}") from error


class _Printable(Protocol):
    def document(self) -> dict[str, Any]: ...
    def text(self) -> str: ...


def _print(found: Sequence[_Printable], output: str) -> None:
    if output == "json":
        click.echo(json.dumps([each.document() for each in found], indent=2, default=str))
    else:
        click.echo("\n\n".join(each.text() for each in found))


def _keep_quiet() -> None:
    """What is printed says it all."""
    import structlog  # noqa: PLC0415

    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


@main.command()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.option("--check", is_flag=True, help="Write nothing; fail if a file is not up to date.")
def crd(directory: Path, check: bool) -> None:
    """Write the CustomResourceDefinitions to DIRECTORY."""
    from inference_operator.api import crd as definitions  # noqa: PLC0415

    stale: Any = definitions.check_crds(directory) if check else definitions.write_crds(directory)
    if check and stale:
        raise click.ClickException(f"not up to date: {', '.join(map(str, stale))}; run `make manifests`")


@main.command("iam-policy")
def iam_policy() -> None:
    """Print the IAM policy that the operator's role needs."""
    from inference_operator.aws.iam import policy  # noqa: PLC0415

    click.echo(json.dumps(policy(), indent=2))
