"""What is to be seen of a service while it comes up: its InferenceDeployment and its tasks, as plain values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Condition:
    status: str
    reason: str
    message: str


@dataclass(frozen=True, kw_only=True)
class Task:
    revision: str
    """Task definition and its revision: `shop_digits:2`."""
    status: str
    """As ECS calls it: PENDING, RUNNING, DEACTIVATING, STOPPED…"""


@dataclass(frozen=True, kw_only=True)
class Service:
    name: str
    observed: bool
    """Whether the status speaks of the spec as it is now."""
    model: str
    """The folder of models that is asked for."""
    running_model: str | None
    """The folder of models that is served."""
    url: str | None = None
    cause: str | None = None
    """Why the spec as it is now failed, in one word; None if it has not."""
    conditions: Mapping[str, Condition] = field(default_factory=dict)
    tasks: Mapping[str, Task] = field(default_factory=dict)
    """By short id."""

    @property
    def ready(self) -> Condition:
        return self.conditions.get("Ready", Condition(status="Unknown", reason="", message="nothing is known yet"))

    @property
    def is_up(self) -> bool:
        """Whether what is asked for serves, and nothing else is left of what served before."""
        settled = self.observed and self.ready.status == "True" and self.running_model == self.model
        alive = [task for task in self.tasks.values() if task.status != "STOPPED"]
        return settled and {task.status for task in alive} == {"RUNNING"} and len({t.revision for t in alive}) == 1

    @property
    def is_given_up(self) -> bool:
        """Whether what is asked for has failed, or was kept back, and what served before serves alone."""
        alive = {task.revision for task in self.tasks.values() if task.status != "STOPPED"}
        failed = self.ready.reason == "RolledBack" and self.cause is not None and "Reconciling" not in self.conditions
        return self.observed and (failed or self.ready.reason == "VerificationFailed") and len(alive) == 1

    @property
    def is_stuck(self) -> bool:
        """Whether it says itself that it can't go on without somebody's help."""
        return self.observed and "Stalled" in self.conditions

    def resources(self) -> Mapping[str, Condition]:
        """The conditions of its AWS resources, by the resource's kind."""
        return {
            name.removesuffix("Ready"): condition
            for name, condition in self.conditions.items()
            if name.endswith("Ready") and name != "Ready"
        }


def read(document: Mapping[str, Any], tasks: Iterable[Mapping[str, Any]]) -> Service:
    """From an InferenceDeployment as the API server gives it, and tasks as DescribeTasks of ECS does: any services'."""
    metadata, spec, status = document["metadata"], document["spec"], document.get("status") or {}
    failure = status.get("lastFailure") or {}
    group = "service:" + (status.get("resources") or {}).get("service", "").rpartition("/")[2]
    return Service(
        name=metadata["name"],
        observed=status.get("observedGeneration") == metadata["generation"],
        model=spec["models"]["path"],
        running_model=(status.get("running") or {}).get("model"),
        url=status.get("url"),
        cause=failure.get("cause") if failure.get("generation") == metadata["generation"] else None,
        conditions={
            condition["type"]: Condition(
                status=condition["status"], reason=condition["reason"], message=condition["message"]
            )
            for condition in status.get("conditions", ())
        },
        tasks={
            task["taskArn"].rpartition("/")[2][:8]: Task(
                revision=task["taskDefinitionArn"].rpartition("/")[2], status=task["lastStatus"]
            )
            for task in tasks
            if task.get("group") == group
        },
    )


def changes(before: Service | None, after: Service) -> Iterator[str]:
    """A line for each thing that has become different and is worth telling."""
    known = before.resources() if before is not None else {}
    for kind, condition in after.resources().items():
        if condition.status == "True" and (kind not in known or known[kind].status != "True"):
            yield f"{kind} is ready: {condition.message}"
    tasks = before.tasks if before is not None else {}
    for name, task in after.tasks.items():
        if name not in tasks:
            yield f"task {name} of {task.revision} is {task.status}"
        elif task.status != tasks[name].status:
            yield f"task {name} of {task.revision}: {tasks[name].status} -> {task.status}"
    if before is None or before.ready != after.ready:
        yield f"Ready is {after.ready.status}: {after.ready.message}"
