"""The checks of `verification` over objects in files, for people and pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inference_operator.checks import CHECKS
from inference_operator.checks.base import Case, Result
from inference_operator.engine.manifests import Cluster, Manifest, manifests
from inference_operator.engine.objects import Connect, Document
from inference_operator.engine.status import Refusal
from inference_operator.engine.verification import Told, verify


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is to be said of one object before it is applied."""

    name: str
    refusal: str | None = None
    told: Sequence[Told] = ()

    @property
    def failed(self) -> bool:
        return self.refusal is not None or any(told.finding.result is Result.FAILED for told in self.told)

    def document(self) -> dict[str, Any]:
        findings = [
            {
                "check": told.check,
                "result": told.finding.result.value,
                "message": told.finding.message,
                "nextStep": told.finding.next_step,
            }
            for told in self.told
        ]
        return {"name": self.name, **({"refusal": self.refusal} if self.refusal else {}), "findings": findings}

    def text(self) -> str:
        if self.refusal:
            return f"# {self.name}\nrefused: {self.refusal}"
        lines = [
            f"{told.finding.result.value:<8} {told.check}: {told.finding.message}. Next: {told.finding.next_step}"
            for told in self.told
        ]
        found = f"findings: {len(self.told)}"
        return "\n".join([f"# {self.name}", *lines, f"{len(CHECKS)} checks, {found}"])


def verify_documents(documents: Sequence[Document], connect: Connect, cluster: Cluster | None = None) -> list[Report]:
    """One report for each InferenceDeployment among the documents. Nothing is written."""
    return [_report(manifest, connect) for manifest in manifests(documents, cluster)]


def _report(manifest: Manifest, connect: Connect) -> Report:
    accepted = manifest.accepted()
    if isinstance(accepted, Refusal):
        return Report(name=manifest.name, refusal=f"{accepted.reason}: {accepted.message}")
    spec, environment = accepted
    case = Case(identity=manifest.identity, spec=spec, environment=environment, aws=connect(environment))
    return Report(name=manifest.name, told=verify(case))
