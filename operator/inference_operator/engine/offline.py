"""Plans without an account: what the engine would do for some objects if nothing of theirs were there yet."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference_operator.api.meta import GROUP
from inference_operator.aws.offline import EPOCH, Offline
from inference_operator.engine import plan
from inference_operator.engine.objects import World, accept, look_after
from inference_operator.engine.plan import StepResult
from inference_operator.engine.reconcile import Memory
from inference_operator.engine.status import Refusal

Document = Mapping[str, Any]


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
    ours = [d for d in documents if str(d.get("apiVersion", "")).startswith(f"{GROUP}/")]
    environments = {d["metadata"]["name"]: d for d in ours if d.get("kind") == "InferenceEnvironment"}
    namespaces = {
        d["metadata"]["name"]: d["metadata"].get("labels", {}) for d in documents if d.get("kind") == "Namespace"
    }
    return [_plan(d, environments, namespaces) for d in ours if d.get("kind") == "InferenceDeployment"]


def _plan(
    document: Document, environments: Mapping[str, Document], namespaces: Mapping[str, Mapping[str, str]]
) -> ObjectPlan:
    metadata = {"namespace": "default", "uid": "00000000-0000-0000-0000-000000000000", "generation": 1}
    metadata |= document["metadata"]
    namespace = str(metadata["namespace"])
    name = f"{namespace}/{metadata['name']}"
    document = {"metadata": metadata, "spec": document.get("spec", {})}
    labels = namespaces.get(namespace)
    accepted = accept(document, environments, labels)
    if isinstance(accepted, Refusal):
        return ObjectPlan(name=name, refusal=f"{accepted.reason}: {accepted.message}")
    offline = Offline(accepted[1].region)
    world = World(environments=environments, connect=lambda _environment: offline.aws(), labels=labels)
    outcome = look_after(document, world, Memory(), EPOCH)
    return ObjectPlan(name=name, refusal=None, results=outcome.results, calls=offline.calls)
