"""What another process may ask of the sandbox itself, over HTTP under /_sandbox: look at calls, switch faults, let
tasks fail, move time, begin anew. `GET /_sandbox/` lists it.

This module must not know how a request reaches it (`server` does).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from inference_sandbox.aws.composition import Aws
from inference_sandbox.aws.faults import Fault
from inference_sandbox.ecs.failures import CAUSES, Failure

Given = dict[str, Any]
"""The JSON body and the query's parameters together."""
Routes = Mapping[tuple[str, str], Callable[[Aws, Given], Any]]
"""By method and path. A list of them tells their docstrings."""


def answer(aws: Aws, routes: Routes, method: str, path: str, given: Given) -> Any:
    """A JSON-able answer; LookupError or ValueError says what is wrong with the request."""
    if (method, path) == ("GET", "/"):
        return {"routes": {f"{how} /_sandbox{where}": route.__doc__ for (how, where), route in routes.items()}}
    route = routes.get((method, path))
    if route is None:
        raise LookupError(f"there is no {method} /_sandbox{path}: see GET /_sandbox/")
    return route(aws, given) or {}


def _calls(aws: Aws, given: Given) -> Any:
    """Calls so far, oldest first. Parameters: service, operation, since (the number of the last one already seen)."""
    found = aws.calls.find(
        service=given.get("service"), operation=given.get("operation"), since=int(given.get("since", 0))
    )
    return {"calls": [call.as_json() for call in found]}


def _forget_calls(aws: Aws, _given: Given) -> None:
    """Forget the calls so far."""
    aws.calls.clear()


def _faults(aws: Aws, _given: Given) -> Any:
    """The faults that are on."""
    return {"faults": [asdict(fault) for fault in aws.faults.listed()]}


def _add_fault(aws: Aws, given: Given) -> None:
    """Switch one on: {kind: throttle|error|deny|latency|lost, service, operation, times, probability, seconds}."""
    aws.faults.add(Fault.from_json(given))


def _clear_faults(aws: Aws, _given: Given) -> None:
    """Switch all of them off."""
    aws.faults.clear()


def _failures(aws: Aws, _given: Given) -> Any:
    """The failures that wait for tasks to come, and the causes there are."""
    return {"failures": [asdict(failure) for failure in aws.scheduler.failures.waiting], "causes": list(CAUSES)}


def _add_failure(aws: Aws, given: Given) -> None:
    """Let tasks fail: {service, cause, times, zone (of capacity), exit_code (of crash)}."""
    try:
        failure = Failure(**given)
    except TypeError as error:
        raise ValueError(f"a failure takes service, cause, times, zone and exit_code: {error}") from error
    aws.fail(failure)


def _clear_failures(aws: Aws, _given: Given) -> None:
    """Let tasks live again."""
    aws.clear_failures()


def _give_metric(aws: Aws, given: Given) -> None:
    """What Application Auto Scaling sees of a service from now on: {cluster, service, metric, value}."""
    missing = [name for name in ("cluster", "service", "metric", "value") if name not in given]
    if missing:
        raise ValueError(f"a metric takes cluster, service, metric and value: {', '.join(missing)} is missing")
    aws.give_metric(given["cluster"], given["service"], given["metric"], float(given["value"]))


def _modes(aws: Aws, given: Given) -> Any:
    """How AWS behaves; what is left out stays: {throttling, iam, staleness (seconds), duplicates (share), shuffled}."""
    gateway, events = aws.gateway, aws.surroundings.events
    events.duplicates = float(given.get("duplicates", events.duplicates))
    events.shuffled = bool(given.get("shuffled", events.shuffled))
    gateway.quotas.on = bool(given.get("throttling", gateway.quotas.on))
    aws.enforce_iam(on=bool(given.get("iam", gateway.iam)))
    gateway.stale_reads.delay = timedelta(
        seconds=float(given.get("staleness", gateway.stale_reads.delay.total_seconds()))
    )
    return {
        "throttling": gateway.quotas.on,
        "iam": gateway.iam,
        "staleness": gateway.stale_reads.delay.total_seconds(),
        "duplicates": events.duplicates,
        "shuffled": events.shuffled,
    }


def _reset(aws: Aws, _given: Given) -> None:
    """Begin anew: no resources, no calls, no faults."""
    aws.reset()


def _advance(aws: Aws, given: Given) -> None:
    """Let time pass: {seconds}."""
    if "seconds" not in given:
        raise ValueError('advance takes seconds, e.g. {"seconds": 600}')
    aws.advance(timedelta(seconds=float(given["seconds"])))


def _tick(aws: Aws, _given: Given) -> None:
    """Bring everything up to now."""
    aws.tick()


ROUTES: Routes = {
    ("GET", "/calls"): _calls,
    ("DELETE", "/calls"): _forget_calls,
    ("GET", "/faults"): _faults,
    ("POST", "/faults"): _add_fault,
    ("DELETE", "/faults"): _clear_faults,
    ("GET", "/failures"): _failures,
    ("POST", "/failures"): _add_failure,
    ("DELETE", "/failures"): _clear_failures,
    ("POST", "/metrics"): _give_metric,
    ("POST", "/modes"): _modes,
    ("POST", "/reset"): _reset,
    ("POST", "/advance"): _advance,
    ("POST", "/tick"): _tick,
}
