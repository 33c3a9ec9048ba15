"""The checks of `verification` over objects in files, for people and pipelines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from inference_operator.api.errors import sentences
from inference_operator.checks import CHECKS, OF_ENVIRONMENTS
from inference_operator.checks.base import Case, Place, Result
from inference_operator.domain.reasons import Reason
from inference_operator.engine.manifests import Cluster, Manifest, manifests, of_kind
from inference_operator.engine.objects import Connect, Document, environment_spec
from inference_operator.engine.status import Refusal
from inference_operator.engine.verification import Told, verify, verify_place


@dataclass(frozen=True, kw_only=True)
class Report:
    """What is to be said of one object before it is applied."""

    name: str
    refusal: str | None = None
    told: Sequence[Told] = ()
    checks: int = len(CHECKS)

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
        return "\n".join([f"# {self.name}", *lines, f"{self.checks} checks, {found}"])


def verify_documents(documents: Sequence[Document], connect: Connect, cluster: Cluster | None = None) -> list[Report]:
    """One report for each environment and each service among the documents. Nothing is written."""
    environments = [_of_environment(document, connect) for document in of_kind("InferenceEnvironment", documents)]
    return [*environments, *(_report(manifest, connect) for manifest in manifests(documents, cluster))]


def _of_environment(document: Document, connect: Connect) -> Report:
    name = f"InferenceEnvironment {document['metadata']['name']}"
    spec = environment_spec(document)
    if isinstance(spec, ValidationError):
        return Report(name=name, refusal=f"{Reason.INVALID_SPEC}: {sentences(spec)}")
    told = verify_place(Place(environment=spec, aws=connect(spec)))
    return Report(name=name, told=told, checks=len(OF_ENVIRONMENTS))


def _report(manifest: Manifest, connect: Connect) -> Report:
    accepted = manifest.accepted()
    if isinstance(accepted, Refusal):
        return Report(name=manifest.name, refusal=f"{accepted.reason}: {accepted.message}")
    spec, environment = accepted
    case = Case(identity=manifest.identity, spec=spec, environment=environment, aws=connect(environment))
    return Report(name=manifest.name, told=verify(case))
