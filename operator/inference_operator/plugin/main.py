"""The command line of `kubectl inference`."""

from __future__ import annotations

import difflib
import json
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click
import yaml
from click.shell_completion import CompletionItem, ShellComplete
from rich.console import Console

from inference_operator import __version__
from inference_operator.api.meta import CONTAINER, CONTINUE_AT, PAUSED, RECONCILE_AT, ROLLBACK_AT
from inference_operator.files import with_some
from inference_operator.plugin import render
from inference_operator.plugin.cluster import Cluster
from inference_operator.plugin.timeline import beside, lines, rollouts, timeline
from inference_operator.plugin.verdict import judge

Document = Mapping[str, Any]
FAILED, TIMED_OUT = 1, 3
"""Exit codes beside 0; click's own for wrong usage is 2."""
WIDTH = 10_000
"""Columns: no name or URL is ever cut, however narrow the terminal is. It wraps lines itself, as those of kubectl."""
TAIL = 8
"""Lines of the timeline that `status` ends with."""


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("-n", "--namespace", default="", help="Namespace; that of the kubeconfig's context if not given.")
@click.option("--context", help="Context of the kubeconfig.")
@click.option("--kubeconfig", type=click.Path(dir_okay=False), help="Path of the kubeconfig.")
@click.pass_context
def main(ctx: click.Context, namespace: str, context: str | None, kubeconfig: str | None) -> None:
    """Looks at InferenceDeployments, and asks the operator to act on them.

    Uses the rights of the kubeconfig alone; needs no AWS credentials.
    """
    ctx.obj = _Wanted(namespace, context, kubeconfig)


class _Wanted:
    """Where to look. The same options may stand after the command too, as with kubectl itself."""

    def __init__(self, namespace: str, context: str | None, kubeconfig: str | None) -> None:
        self.namespace, self.context, self.kubeconfig = namespace, context, kubeconfig

    def cluster(self) -> Cluster:
        return Cluster(self.kubeconfig, self.context, self.namespace)


def _take(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    if value:
        setattr(ctx.find_object(_Wanted), str(parameter.name), value)


def _names(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    try:
        found = (ctx.find_object(_Wanted) or _Wanted("", None, None)).cluster().all(everywhere=False)
    except click.ClickException:
        return []
    return [CompletionItem(d["metadata"]["name"]) for d in found if d["metadata"]["name"].startswith(incomplete)]


def _where(command: Any) -> Any:
    """The options that every command has."""
    late = partial(click.option, expose_value=False, callback=_take)
    for option in (
        late("-n", "--namespace", help="Namespace."),
        late("--context", help="Context of the kubeconfig."),
        late("--kubeconfig", help="Path of the kubeconfig."),
    ):
        command = option(command)
    return click.pass_obj(command)


_name = click.argument("name", shell_complete=_names)
_output = click.option("-o", "--output", type=click.Choice(["text", "wide", "json", "yaml"]), default="text")
_watch = click.option("-w", "--watch", is_flag=True, help="Go on, and print it again whenever it changes.")


@main.command()
@click.argument("name", required=False, shell_complete=_names)
@click.option("-A", "--all-namespaces", is_flag=True, help="In all namespaces.")
@_watch
@_output
@_where
def status(wanted: _Wanted, name: str | None, all_namespaces: bool, watch: bool, output: str) -> None:
    """How one stands, what happened to it lately and what to do; without NAME, one line for each."""
    cluster = wanted.cluster()
    if name is not None:
        _watched(cluster, name, watch, partial(_show_status, cluster, output))
        return
    while True:
        found = cluster.all(everywhere=all_namespaces)
        if output in ("json", "yaml"):
            _print_data([_brief(document) for document in found], output)
        elif found:
            _print(render.objects_table(found, datetime.now(UTC), namespaces=all_namespaces, wide=output == "wide"))
        else:
            click.echo("No InferenceDeployments found.", err=True)
        if not watch:
            return
        time.sleep(2)


def _show_status(cluster: Cluster, output: str, document: Document) -> None:
    if output in ("json", "yaml"):
        _print_data(_brief(document), output)
        return
    told = beside(document, timeline(document, cluster.events(document)))
    shown = told if output == "wide" else told[-TAIL:]
    click.echo("\n".join([*render.summary(document), "", *lines(shown)]))


def _brief(document: Document) -> dict[str, Any]:
    meta, verdict = document["metadata"], judge(document)
    return {
        "namespace": meta["namespace"],
        "name": meta["name"],
        "generation": meta.get("generation"),
        "verdict": verdict.state,
        "why": verdict.why,
        "status": document.get("status") or {},
    }


@main.command()
@_name
@_watch
@_output
@_where
def events(wanted: _Wanted, name: str, watch: bool, output: str) -> None:
    """Everything that happened to NAME, in order: rollouts, ECS's events, stopped tasks, conditions, Events."""
    cluster = wanted.cluster()

    def show(document: Document) -> None:
        told = timeline(document, cluster.events(document))
        if output in ("json", "yaml"):
            _print_data([entry.document() for entry in told], output)
        else:
            click.echo("\n".join(lines(told)))

    _watched(cluster, name, watch, show)


@main.command()
@_name
@_output
@_where
def history(wanted: _Wanted, name: str, output: str) -> None:
    """The last rollouts of NAME, newest first."""
    found = wanted.cluster().get(name).get("status") or {}
    if output in ("json", "yaml"):
        _print_data(rollouts(found), output)
    else:
        _print(render.history_table(found))


@main.command()
@_name
@_where
def tree(wanted: _Wanted, name: str) -> None:
    """NAME with its AWS resources, and how each of them stands."""
    cluster = wanted.cluster()
    document = cluster.get(name)
    try:
        environment = cluster.environment(document["spec"].get("environment", "default"))
    except click.ClickException:  # the right to read it is the platform team's
        environment = None
    _print(render.tree(document, environment))


@main.command()
@click.argument("name", required=False, shell_complete=_names)
@click.option("-f", "--file", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text")
@_where
def plan(wanted: _Wanted, name: str | None, files: Sequence[Path], output: str) -> None:
    """The AWS calls that make NAME, or what is in the files, from nothing. Asks no AWS."""
    cluster = wanted.cluster()
    documents = with_some(["InferenceDeployment"], files) if files else [cluster.get(_needed(name))]
    plans = _plans(cluster, documents)
    if output == "json":
        click.echo(json.dumps([p.document() for p in plans], indent=2, default=str))
    else:
        click.echo("\n\n".join(p.text() for p in plans))
    sys.exit(FAILED if any(p.refusal for p in plans) else 0)


@main.command()
@click.argument("name", required=False, shell_complete=_names)
@click.option("-f", "--file", "files", multiple=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_where
def diff(wanted: _Wanted, name: str | None, files: Sequence[Path]) -> None:
    """What applying the files would change, and whether it rolls out new tasks; or, of NAME, how what runs differs from
    what is asked for. Exits with 1 if there is a difference.
    """
    cluster = wanted.cluster()
    differs = False
    for document in with_some(["InferenceDeployment"], files) if files else []:
        if document.get("kind") == "InferenceDeployment":
            differs |= _diff_file(cluster, document)
        elif document.get("kind") == "InferenceEnvironment":
            passed_over = f"InferenceEnvironment {document['metadata']['name']}"
            click.echo(f"{passed_over} is not compared; `kubectl diff -f` shows what changes", err=True)
    if not files:
        differs = _diff_running(cluster.get(_needed(name)))
    sys.exit(FAILED if differs else 0)


def _diff_file(cluster: Cluster, document: Document) -> bool:
    name, cluster = document["metadata"]["name"], cluster.in_namespace(document["metadata"].get("namespace"))
    before = cluster.find(name)
    after = cluster.dry_run(document, before)
    old = yaml.safe_dump(before["spec"]).splitlines() if before is not None else []
    told = list(difflib.unified_diff(old, yaml.safe_dump(after["spec"]).splitlines(), "live", "applied", lineterm=""))
    if not told:
        return False
    click.echo("\n".join([f"# {name}", *told]))
    tasks = [_task_definition(cluster, it) for it in (before, after) if it is not None]
    rolls = len(tasks) < 2 or tasks[0] != tasks[1]  # noqa: PLR2004 before and after
    click.echo("# new tasks are rolled out" if rolls else "# the tasks that run go on")
    return True


def _task_definition(cluster: Cluster, document: Document) -> Any:
    (planned,) = _plans(cluster, [document])
    if planned.refusal:
        click.echo(f"# {planned.refusal}", err=True)
    registered = [members for operation, members in planned.calls if operation == "ecs.register_task_definition"]
    return [{**members, "tags": None} for members in registered]


def _diff_running(document: Document) -> bool:
    found = document.get("status") or {}
    running, desired = found.get("running") or {}, found.get("desired") or {}
    names = [name for name in ("revision", "image", "model") if running.get(name) != desired.get(name)]
    for name in names:
        click.echo(f"{name}:\n- {running.get(name, 'nothing')}  (runs)\n+ {desired.get(name, 'nothing')}  (asked for)")
    return bool(names)


def _plans(cluster: Cluster, documents: Sequence[Document]) -> list[Any]:
    import structlog  # noqa: PLC0415 only for what is computed

    from inference_operator.engine.offline import plan_documents  # noqa: PLC0415 half a second

    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # the plan says it all
    deployments = [_placed(cluster, d) for d in documents if d.get("kind") == "InferenceDeployment"]
    others = [d for d in documents if d.get("kind") in ("InferenceEnvironment", "Namespace")]
    known = {d["metadata"]["name"] for d in others if d["kind"] == "InferenceEnvironment"}
    asked = {(d.get("spec") or {}).get("environment", "default") for d in deployments} - known
    others += [cluster.environment(name) for name in sorted(asked)]
    if any(((d.get("spec") or {}).get("policy") or {}).get("namespaces") for d in others):
        known = {d["metadata"]["name"] for d in others if d["kind"] == "Namespace"}
        others += [
            cluster.labels_of(name) for name in sorted({d["metadata"]["namespace"] for d in deployments} - known)
        ]
    return plan_documents([*others, *deployments])


def _placed(cluster: Cluster, document: Document) -> Document:
    return {**document, "metadata": {"namespace": cluster.namespace, **document["metadata"]}}


def _needed(name: str | None) -> str:
    if name is None:
        raise click.UsageError("give a NAME, or files with -f")
    return name


@main.command()
@_name
@click.option("-f", "--follow", is_flag=True, help="Go on.")
@click.option("--since", default="10m", show_default=True, help="How far back, as `aws logs tail` has it.")
@click.option("--run", is_flag=True, help="Run the command, with your AWS credentials, instead of printing it.")
@_where
def logs(wanted: _Wanted, name: str, follow: bool, since: str, run: bool) -> None:
    """The command that shows the logs of NAME."""
    cluster = wanted.cluster()
    document = cluster.get(name)
    groups = ((document.get("status") or {}).get("resources") or {}).get("logGroups") or []
    if not groups:
        raise click.ClickException(f"{name} has no log group yet; see `kubectl inference tree {name}`")
    where = ["--region", _region(cluster, document), "--since", since, *(["--follow"] if follow else [])]
    _hand_over([["aws", "logs", "tail", group, *where] for group in groups], run=run)


@main.command("exec")
@_name
@click.option("-c", "--container", default=CONTAINER, show_default=True, help="Container.")
@click.option("--run", is_flag=True, help="Run the command, with your AWS credentials, instead of printing it.")
@click.argument("command", nargs=-1)
@_where
def execute(wanted: _Wanted, name: str, container: str, run: bool, command: Sequence[str]) -> None:
    """The command that opens a shell, or runs COMMAND, in a task of NAME."""
    told = (wanted.cluster().get(name).get("status") or {}).get("exec") or {}
    message = str(told.get("message", ""))
    if not message.startswith("aws "):
        why = message or "spec.exec.enabled is not true"
        raise click.ClickException(f"there is no way in: {why}")
    words = shlex.split(message)
    words[words.index("--container") + 1] = container
    if command:
        words[words.index("--command") + 1] = shlex.join(command)
    _hand_over([words], run=run)


def _region(cluster: Cluster, document: Document) -> str:
    found = (document.get("status") or {}).get("resources") or {}
    arn = str(found.get("service") or found.get("taskDefinition") or "")
    if arn:
        return arn.split(":")[3]
    return str(cluster.environment(document["spec"].get("environment", "default"))["spec"]["region"])


def _hand_over(commands: Sequence[Sequence[str]], *, run: bool) -> None:
    if not run:
        click.echo("\n".join(shlex.join(words) for words in commands))
        return
    try:
        os.execvp(commands[0][0], list(commands[0]))  # noqa: S606 that is what was asked for
    except OSError as error:
        raise click.ClickException(f"{commands[0][0]} can't be run: {error.strerror}") from error


@main.command()
@_name
@click.option("--wait/--no-wait", "waits", default=True, show_default=True, help="Until the operator has looked.")
@_where
def reconcile(wanted: _Wanted, name: str, waits: bool) -> None:
    """Have the operator look at NAME now; a failed rollout that is held is tried again.

    Unless all images are named by digest and there are no secrets, new tasks of the same revision replace those that
    run.
    """
    cluster = wanted.cluster()
    value = _annotate(cluster, name, RECONCILE_AT)
    click.echo(f"{name}: the operator is asked to look", err=True)
    deadline = time.monotonic() + 60
    while waits:
        if (cluster.get(name).get("status") or {}).get("lastReconcileAt") == value:
            return
        if time.monotonic() > deadline:
            click.echo(f"{name}: the operator has not looked within a minute; does it run?", err=True)
            sys.exit(TIMED_OUT)
        time.sleep(0.2)


@main.command()
@_name
@_where
def rollback(wanted: _Wanted, name: str) -> None:
    """Stop the rollout of NAME that is under way, and go back to the last one that completed."""
    _annotate(wanted.cluster(), name, ROLLBACK_AT)
    click.echo(f"{name}: asked to roll back; `kubectl inference status {name} -w` shows what becomes of it", err=True)


@main.command("continue")
@_name
@_where
def proceed(wanted: _Wanted, name: str) -> None:
    """Let the rollout of NAME go on that is paused by its strategy."""
    cluster = wanted.cluster()
    state = ((cluster.get(name).get("status") or {}).get("deployment") or {}).get("state")
    if state != "Paused":
        raise click.ClickException(f"no rollout of {name} is paused: its state is {state or 'unknown'}")
    _annotate(cluster, name, CONTINUE_AT)
    click.echo(f"{name}: asked to go on", err=True)


@main.command()
@_name
@_where
def pause(wanted: _Wanted, name: str) -> None:
    """Have the operator write nothing to AWS for NAME until `resume`; it goes on looking and telling."""
    wanted.cluster().annotate(name, {PAUSED: "true"})
    click.echo(f"{name}: paused", err=True)


@main.command()
@_name
@_where
def resume(wanted: _Wanted, name: str) -> None:
    """Let the operator act on NAME again."""
    wanted.cluster().annotate(name, {PAUSED: None})
    click.echo(f"{name}: resumed", err=True)


@main.command()
@_name
@click.option("--timeout", default="30m", show_default=True, help="How long to wait, such as 90s, 30m or 2h.")
@_where
def wait(wanted: _Wanted, name: str, timeout: str) -> None:
    """Until the spec of NAME, as it is now, is what serves.

    Exits with 0 then; with 1 if it failed or was rolled back, which ECS calls stable too; with 3 when time is up.
    """
    cluster, deadline, told = wanted.cluster(), time.monotonic() + _seconds(timeout), ""
    while True:
        verdict = judge(cluster.get(name))
        if verdict.why != told:
            told = verdict.why
            click.echo(f"{name}: {told}", err=True)
        if verdict.state != "pending":
            sys.exit(0 if verdict.state == "ready" else FAILED)
        if time.monotonic() >= deadline:
            click.echo(f"{name}: not ready within {timeout}", err=True)
            sys.exit(TIMED_OUT)
        time.sleep(min(1.0, max(0.0, deadline - time.monotonic())))


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print what makes SHELL complete `kubectl-inference`. kubectl itself completes `kubectl inference` without it."""
    from click.shell_completion import get_completion_class  # noqa: PLC0415 for this alone

    made = get_completion_class(shell)
    if made is not None:
        click.echo(made(main, {}, "kubectl-inference", "_KUBECTL_INFERENCE_COMPLETE").source())


def complete() -> None:
    """`kubectl_complete-inference`: what kubectl runs to complete `kubectl inference …` (cobra's protocol)."""
    words = sys.argv[1:] or [""]
    found = ShellComplete(main, {}, "kubectl-inference", "").get_completions(words[:-1], words[-1])
    click.echo("\n".join([*(item.value for item in found), ":4"]))  # 4: no file names


def _annotate(cluster: Cluster, name: str, annotation: str) -> str:
    value = datetime.now(UTC).isoformat()
    cluster.annotate(name, {annotation: value})
    return value


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600}
    try:
        return float(text[:-1]) * units[text[-1:]]
    except (KeyError, ValueError):
        raise click.UsageError(f"--timeout must be a number with s, m or h, such as 30m; got '{text}'") from None


def _watched(cluster: Cluster, name: str, watch: bool, show: Any) -> None:
    if not watch:
        show(cluster.get(name))
        return
    for document in cluster.watch(name):
        if sys.stdout.isatty():
            click.clear()
        show(document)


def _print(what: Any) -> None:
    console = Console(highlight=False, width=WIDTH)
    with console.capture() as captured:
        console.print(what)
    click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _print_data(value: Any, output: str) -> None:
    plain = json.loads(json.dumps(value, default=str))
    click.echo(
        json.dumps(plain, indent=2) if output == "json" else yaml.safe_dump(plain, sort_keys=False), nl=output == "json"
    )
