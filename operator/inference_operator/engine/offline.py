"""Plans: what the engine would do for some objects, if nothing of theirs were there yet or with what there is."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_operator.aws.offline import EPOCH, Offline
from inference_operator.aws.rehearsal import Rehearsal
from inference_operator.engine import plan
from inference_operator.engine.manifests import Cluster, Manifest, manifests
from inference_operator.engine.objects import Connect, Document, World, look_after
from inference_operator.engine.plan import StepResult
from inference_operator.engine.reconcile import Memory
from inference_operator.engine.status import Refusal


@dataclass(frozen=True, kw_only=True)
class ObjectPlan:
    name: str
    refusal: str | None
    results: Sequence[StepResult] = ()
    calls: Sequence[tuple[str, Mapping[str, Any]]] = ()

    def document(self) -> dict[str, Any]:
        return {
            "name": self.name,
            **({"refusal": self.refusal} if self.refusal else {}),
            "steps": [{"kind": r.kind, "step": plan.describe(r.step)} for r in self.results],
            "calls": [{"operation": operation, "members": members} for operation, members in self.calls],
        }

    def text(self) -> str:
        if self.refusal:
            return f"# {self.name}\nrefused: {self.refusal}"
        calls = [f"{operation}\n{json.dumps(members, indent=2, default=str)}" for operation, members in self.calls]
        return "\n".join([f"# {self.name}", plan.text(self.results), "", *calls])


def plan_documents(documents: Sequence[Document]) -> list[ObjectPlan]:
    """One plan for each InferenceDeployment among the documents."""
    return [_plan(manifest) for manifest in manifests(documents)]


def plan_live(documents: Sequence[Document], connect: Connect, cluster: Cluster | None) -> list[ObjectPlan]:
    """The same against what there is. Nothing is written."""

    def rehearsed(environment: InferenceEnvironmentSpec) -> Offline:
        return Rehearsal(region=environment.region, live=connect(environment))

    return [_plan(manifest, rehearsed, datetime.now(UTC)) for manifest in manifests(documents, cluster)]


def _in_the_dark(environment: InferenceEnvironmentSpec) -> Offline:
    return Offline(region=environment.region)


def _plan(
    manifest: Manifest, account: Callable[[InferenceEnvironmentSpec], Offline] = _in_the_dark, now: datetime = EPOCH
) -> ObjectPlan:
    accepted = manifest.accepted()
    if isinstance(accepted, Refusal):
        return ObjectPlan(name=manifest.name, refusal=f"{accepted.reason}: {accepted.message}")
    offline = account(accepted[1])
    world = World(
        environments=manifest.environments,
        connect=lambda _environment: offline.aws(),
        labels=manifest.labels,
        verifies=False,
    )
    outcome = look_after(manifest.document, world, Memory(), now)
    return ObjectPlan(name=manifest.name, refusal=None, results=outcome.results, calls=offline.calls)
