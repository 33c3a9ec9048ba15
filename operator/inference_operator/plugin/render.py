"""Objects as people and programs read them: tables, trees and summaries. Returns what is to be shown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table
from rich.tree import Tree

from inference_operator.plugin.timeline import brief, duration, moment, rollouts, short

Document = Mapping[str, Any]
_SKIPPED = ("Accepted", "Ready", "Progressing", "Degraded", "Reconciling", "Stalled", "Contested")
"""Conditions that are about the whole object; the others are each about one AWS resource."""


def objects_table(documents: Iterable[Document], now: datetime, *, namespaces: bool, wide: bool) -> Table:
    columns = ["NAME", "READY", "REASON", "REPLICAS", "MODEL", "URL", "AGE"]
    table = _plain(*(["NAMESPACE"] if namespaces else []), *columns, *(["REVISION", "MESSAGE"] if wide else []))
    for document in documents:
        meta, status = document["metadata"], document.get("status") or {}
        ready = _condition(document, "Ready")
        row = [
            meta["name"],
            ready.get("status", "Unknown"),
            ready.get("reason", ""),
            f"{status.get('readyReplicas', 0)}/{_asked_for(document['spec'], '-')}",
            (status.get("running") or {}).get("model", ""),
            status.get("url", ""),
            brief(now - moment(meta["creationTimestamp"])),
        ]
        more = [short((status.get("running") or {}).get("revision", "")), ready.get("message", "")] if wide else []
        table.add_row(*([meta["namespace"]] if namespaces else []), *row, *more)
    return table


def summary(document: Document) -> list[str]:
    """How it stands, what serves, what failed and what to do."""
    meta, status = document["metadata"], document.get("status") or {}
    ready = _condition(document, "Ready")
    rows = [
        ("Name", f"{meta['namespace']}/{meta['name']}, generation {meta.get('generation', '?')}"),
        ("Ready", _said(ready) if ready else "nothing is known yet"),
        ("Running", _revision(status.get("running") or {})),
        ("Desired", _revision(status.get("desired") or {})),
        ("Replicas", f"{status.get('readyReplicas', 0)} ready, {_asked_for(document['spec'], ' to ')} asked for"),
        ("Rollout", _rollout(status.get("deployment") or {})),
        ("URL", status.get("url", "")),
        ("Contested", _condition(document, "Contested").get("message", "")),
    ]
    failure = status.get("lastFailure") or {}
    if failure:
        where = f" in {failure['container']}" if failure.get("container") else ""
        code = f", exit code {failure['exitCode']}" if failure.get("exitCode") is not None else ""
        rows += [
            ("Failure", f"{failure.get('cause', 'Unknown')}{where}{code}: {failure.get('message', '')}"),
            ("Next step", failure.get("nextStep", "")),
        ]
    if status.get("observedGeneration") != meta.get("generation"):
        rows.append(("Note", "the operator has not looked at this generation yet"))
    return [f"{name + ':':<11}{text}" for name, text in rows if text]


def history_table(status: Mapping[str, Any]) -> Table:
    table = _plain("GENERATION", "OUTCOME", "CAUSE", "STARTED", "TOOK", "REVISION", "IMAGE", "MODEL")
    for rollout in rollouts(status):
        started = moment(rollout["startedAt"]).strftime("%Y-%m-%d %H:%M:%SZ") if rollout.get("startedAt") else "-"
        table.add_row(
            str(rollout.get("generation", "?")),
            rollout.get("outcome", ""),
            rollout.get("cause", ""),
            started,
            duration(rollout.get("startedAt"), rollout.get("finishedAt")),
            short(rollout.get("revision", "")),
            short(rollout.get("image", "")),
            rollout.get("model", ""),
        )
    return table


def tree(document: Document, environment: Document | None) -> Tree:
    """The object, where it runs, and each of its AWS resources with how it stands."""
    meta, status = document["metadata"], document.get("status") or {}
    ready = _condition(document, "Ready")
    root = Tree(f"{_mark(ready)} InferenceDeployment {meta['namespace']}/{meta['name']}  {ready.get('reason', '')}")
    name = document["spec"].get("environment", "default")
    root.add(_environment(name, environment))
    for condition in status.get("conditions", ()):
        if condition["type"] not in _SKIPPED:
            kind = condition["type"].removesuffix("Ready")
            branch = root.add(f"{_mark(condition)} {kind}  {condition['message']}")
            for child in _children(kind, status):
                branch.add(child)
    return root


def _environment(name: str, environment: Document | None) -> str:
    """Where it runs; and what is wrong there."""
    if environment is None:
        return f"  InferenceEnvironment {name}  not readable"
    ready, place = _condition(environment, "Ready"), environment["spec"]
    told = f"{_mark(ready)} InferenceEnvironment {name}  cluster {place['cluster']}, {place['region']}"
    return told if ready.get("status") != "False" else f"{told}: {ready['message']}"


def age(document: Document) -> str:
    return brief(datetime.now(UTC) - moment(document["metadata"]["creationTimestamp"]))


def _children(kind: str, status: Mapping[str, Any]) -> list[str]:
    resources = status.get("resources") or {}
    key = kind[:1].lower() + kind[1:]
    ids = [resources[key]] if isinstance(resources.get(key), str) else list(resources.get(f"{key}s") or ())
    told = [f"  {identifier}" for identifier in ids]
    if kind == "Service":
        told += [f"  rollout: {_rollout(status['deployment'])}"] if status.get("deployment") else []
        told += [f"  runs {_revision(status['running'])}"] if status.get("running") else []
    return told


def _asked_for(spec: Mapping[str, Any], to: str) -> str:
    """How many tasks: a number, or the limits of scaling."""
    if spec.get("suspend"):
        return "0"
    if scaled := spec.get("autoscaling"):
        return f"{scaled['minReplicas']}{to}{scaled['maxReplicas']}"
    return str(spec.get("replicas", 1))


def _revision(revision: Mapping[str, Any]) -> str:
    parts = [short(revision.get("revision", "")), revision.get("image", ""), revision.get("model", "")]
    return ", ".join(part for part in parts if part)


def _rollout(deployment: Mapping[str, Any]) -> str:
    if not deployment:
        return ""
    failed = deployment.get("failedTasks")
    threshold = f" of {deployment['threshold']} that it may" if deployment.get("threshold") else ""
    told = f"{deployment.get('state', '')} ({deployment.get('strategy', 'ROLLING')}"
    told += f", {deployment['stage']}" if deployment.get("stage") else ""
    return told + (f", {failed} tasks failed{threshold})" if failed else ")")


def _said(condition: Mapping[str, Any]) -> str:
    return f"{condition['status']}, {condition['reason']}: {condition['message']}"


def _mark(condition: Mapping[str, Any]) -> str:
    return {"True": "✓", "False": "✗"}.get(condition.get("status", ""), "?")


def _condition(document: Document, name: str) -> Mapping[str, Any]:
    conditions: Sequence[Mapping[str, Any]] = (document.get("status") or {}).get("conditions", ())
    return next((c for c in conditions if c["type"] == name), {})


def _plain(*columns: str) -> Table:
    """As kubectl's tables are: no lines, two spaces between columns."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ignore")
    return table
