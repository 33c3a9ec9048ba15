"""What is done to a sandbox that is up, from status to reset. All of it through its side door."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import timedelta
from fnmatch import fnmatchcase
from textwrap import TextWrapper
from typing import Any

import click

from inference_sandbox import durations, running, table
from inference_sandbox.cli.options import expected_errors, name_option
from inference_sandbox.door import Door
from inference_sandbox.ecs.failures import STRIKES, UNPLACED, UNSTARTED

_FOLLOW_SECONDS = 0.5
_ADVANCE_SECONDS = 3_600
_FAULTS = ("throttle", "error", "deny", "latency", "lost")
_PARAMETERS_SHOWN = 160


def _door(name: str) -> Door:
    return Door(running.find(name).aws_endpoint_url)


@click.command(short_help="Show services, deployments, tasks and events, once.")
@name_option
@click.option("--json", "as_json", is_flag=True, help="As a document, with all that the APIs tell.")
def status(*, name: str, as_json: bool) -> None:
    """Print services, deployments, tasks and the newest events, once."""
    with expected_errors():
        found = _door(name).get("/status")
    if as_json:
        click.echo(json.dumps(found))
        return
    click.echo(table.text(found))


# -- calls


@click.command(short_help="Show the AWS API calls so far.")
@name_option
@click.option("--service", help="As in IAM actions: ecs, elasticloadbalancing, elasticfilesystem, logs, …")
@click.option("--operation", help="E.g. UpdateService.")
@click.option("--follow", is_flag=True, help="Go on with new calls as they come.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON for each call, with everything that was asked.")
def calls(*, name: str, service: str | None, operation: str | None, follow: bool, as_json: bool) -> None:
    """Print the AWS API calls so far, oldest first: when, what, how it was answered, with which parameters."""
    with expected_errors():
        for call in _calls(_door(name), follow=follow, service=service, operation=operation):
            click.echo(json.dumps(call) if as_json else _call_line(call))


def _calls(door: Door, *, follow: bool, **wanted: str | None) -> Iterator[dict[str, Any]]:
    last: dict[str, Any] | None = None
    while True:
        # The last one is asked for again: if it is no longer there, the record has been begun anew.
        found = door.get("/calls", since=last["number"] - 1 if last else 0, **wanted)["calls"]
        if last and (not found or found[0] != last):
            found, last = door.get("/calls", **wanted)["calls"], None
        yield from found[1:] if last else found
        last = found[-1] if found else None
        if not follow:
            return
        time.sleep(_FOLLOW_SECONDS)


def _call_line(call: dict[str, Any]) -> str:
    outcome = " ".join(
        filter(None, [str(call["status"]), call["error"], call["fault"] and f"(fault: {call['fault']})"])
    )
    parameters = json.dumps(call["parameters"], ensure_ascii=False)
    if len(parameters) > _PARAMETERS_SHOWN:
        parameters = f"{parameters[: _PARAMETERS_SHOWN - 1]}…"
    return f"{call['at'][11:23]} {call['service']}:{call['operation']} {outcome} {parameters}"


# -- time


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(self, value: str, parameter: click.Parameter | None, context: click.Context | None) -> timedelta:
        try:
            return durations.parse(value)
        except ValueError as error:
            self.fail(str(error), parameter, context)


@click.command(short_help="Let time pass at once: 90s, 10m, 1h30m.")
@name_option
@click.argument("duration", type=_Duration())
def advance(*, name: str, duration: timedelta) -> None:
    """Let DURATION pass at once for AWS, e.g. 90s, 10m, 1h30m: what is due in between happens."""
    with expected_errors():
        door = _door(name)
        door.post("/advance", within_seconds=_ADVANCE_SECONDS, seconds=duration.total_seconds())
        now = door.get("/status")
    ahead = durations.written(timedelta(seconds=now["secondsAhead"]))
    click.echo(f"It is {now['at'][:19].replace('T', ' ')} UTC in sandbox {name!r}, {ahead} ahead of this machine.")


# -- what goes wrong


@click.command(short_help="Make AWS API calls go wrong.")
@name_option
@click.argument("kind", type=click.Choice(_FAULTS), required=False)
@click.option("--service", default="*", help="As in IAM actions: ecs, elasticfilesystem, …; shell wildcards.")
@click.option("--operation", default="*", help="E.g. UpdateService or 'Describe*'.")
@click.option("--times", type=click.IntRange(min=1), help="So many calls. Default: until --clear.")
@click.option("--probability", type=click.FloatRange(min=0, max=1, min_open=True), default=1.0, show_default=True)
@click.option("--latency", type=_Duration(), help="How long a call takes, for KIND latency, e.g. 5s.")
@click.option("--code", help="Another error code than the usual one.")
@click.option("--clear", is_flag=True, help="Switch all of them off.")
def faults(*, name: str, kind: str | None, clear: bool, latency: timedelta | None, **given: Any) -> None:
    """Make API calls go wrong: KIND is throttle, error (500), deny, latency or lost (done, but the answer never comes).

    Without KIND: the faults that are on.
    """
    if (kind == "latency") != (latency is not None):
        raise click.UsageError("KIND latency and --latency go together, e.g. `faults latency --latency 5s`")
    with expected_errors():
        door = _door(name)
        if clear:
            door.delete("/faults")
        if kind is not None:
            door.post("/faults", kind=kind, seconds=latency.total_seconds() if latency else None, **given)
        on = door.get("/faults")["faults"]
    for each in on:
        click.echo(_fault_line(each))
    if not on:
        click.echo("No faults are on.")


def _fault_line(fault: dict[str, Any]) -> str:
    parts = [f"{fault['kind']} {fault['service']}:{fault['operation']}"]
    if fault["kind"] == "latency":
        parts.append(durations.written(timedelta(seconds=fault["seconds"])))
    if fault["code"]:
        parts.append(f"as {fault['code']}")
    if fault["probability"] < 1:
        parts.append(f"with probability {fault['probability']}")
    parts.append("until cleared" if fault["times"] is None else f"{fault['times']} times")
    return ", ".join(parts)


def _causes() -> str:
    """For help and for whoever asks. Names are not broken at their hyphens."""
    kinds = {
        "The next tasks find no place": UNPLACED,
        "The next tasks do not start": UNSTARTED,
        "Tasks that run are struck": STRIKES,
    }
    names = TextWrapper(width=76, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(f"{kind}:\n{names.fill(', '.join(causes))}" for kind, causes in kinds.items())


@click.command(short_help="Make tasks of an ECS service fail.", epilog=f"\b\n{_causes()}")
@name_option
@click.argument("service", required=False)
@click.argument("cause", required=False)
@click.option("--tasks", type=click.IntRange(min=1), default=1, show_default=True, help="How many of them fail.")
@click.option("--all", "every", is_flag=True, help="All tasks that run now, or all that start until --clear.")
@click.option("--exit-code", type=click.IntRange(0, 255), help="Of CAUSE crash. Default: 1.")
@click.option("--zone", help="Of CAUSE capacity: only this availability zone has none, until --clear.")
@click.option("--clear", is_flag=True, help="Let what starts from now on start.")
def fail(
    *,
    name: str,
    service: str | None,
    cause: str | None,
    tasks: int,
    every: bool,
    exit_code: int | None,
    zone: str | None,
    clear: bool,
) -> None:
    """Make tasks of an ECS service fail: those that run now, or the next ones to start, depending on CAUSE.

    SERVICE may have shell wildcards. Without SERVICE and CAUSE: the causes there are, and the failures that wait.
    """
    if (service is None) != (cause is None):
        raise click.UsageError("give SERVICE and CAUSE, e.g. `inference-sandbox fail web oom`")
    with expected_errors():
        door = _door(name)
        if clear:
            door.delete("/failures")
        running_tasks = _running(door, service or "")
        if service is not None:
            times = None if every or zone else tasks
            door.post("/failures", service=service, cause=cause, times=times, exit_code=exit_code, zone=zone)
        waiting = door.get("/failures")["failures"]
    if service is None and not clear:
        click.echo(_causes())
    for each in waiting:
        click.echo(_waiting_line(each))
    if clear and not waiting:
        click.echo("No failure waits.")
    if cause in STRIKES:
        if not running_tasks:
            raise click.ClickException(f"no task of a service {service!r} runs, so none could meet {cause}")
        struck = running_tasks if every else min(tasks, running_tasks)
        click.echo(f"Running tasks of {service} that meet {cause}: {struck}")


def _waiting_line(failure: dict[str, Any]) -> str:
    count = "all" if failure["times"] is None else f"the next {failure['times']}"
    place = f" in {failure['zone']}" if failure["zone"] else ""
    return f"Waiting for tasks to start: {count} of {failure['service']}, {failure['cause']}{place}"


def _running(door: Door, service: str) -> int:
    """How many tasks of the services that fit the pattern run, and are to run."""
    return sum(
        (task["lastStatus"], task["desiredStatus"]) == ("RUNNING", "RUNNING")
        for each in door.get("/status")["services"]
        if fnmatchcase(each["serviceName"], service)
        for task in each["tasks"]
    )


# -- how AWS is otherwise


@click.command(short_help="Switch on throttling, IAM, stale reads, unruly events.")
@name_option
@click.option("--throttling/--no-throttling", default=None, help="Refuse calls beyond AWS's published quotas.")
@click.option("--iam/--no-iam", default=None, help="Evaluate the policies of whoever calls.")
@click.option("--staleness", type=_Duration(), help="How long reads may show what was before, e.g. 5s.")
@click.option("--no-staleness", is_flag=True, help="Reads show what is.")
@click.option("--duplicates", type=click.FloatRange(0, 1), help="The share of events that come twice.")
@click.option("--shuffled/--no-shuffled", default=None, help="Let events come out of order.")
def modes(*, name: str, staleness: timedelta | None, no_staleness: bool, **given: Any) -> None:
    """Let AWS be as strict and as sloppy as it really is; without options, show what is on."""
    seconds = 0.0 if no_staleness else staleness.total_seconds() if staleness else None
    with expected_errors():
        for mode, value in _door(name).post("/modes", staleness=seconds, **given).items():
            click.echo(f"{mode}: {value}")


@click.command(short_help="Set a metric that services are scaled by.")
@name_option
@click.argument("service")
@click.argument("metric")
@click.argument("value", type=float)
@click.option("--cluster", help="Default: the sandbox's own.")
def metric(*, name: str, service: str, metric: str, value: float, cluster: str | None) -> None:
    """Let METRIC of an ECS service be VALUE from now on, for Application Auto Scaling to act on.

    METRIC is e.g. ECSServiceAverageCPUUtilization or ALBRequestCountPerTarget.
    """
    with expected_errors():
        found = running.find(name)
        Door(found.aws_endpoint_url).post(
            "/metrics", cluster=cluster or found.cluster, service=service, metric=metric, value=value
        )
    click.echo(f"{metric} of {service} is {value:g}")


@click.command(short_help="Make AWS as it was at the start.")
@name_option
def reset(*, name: str) -> None:
    """Make AWS as it was at the start: the same account, nothing built in it. Files and Kubernetes are left alone."""
    with expected_errors():
        _door(name).post("/reset")
    click.echo(f"AWS in sandbox {name!r} is as it was at its start")


COMMANDS = (status, calls, advance, faults, fail, modes, metric, reset)
