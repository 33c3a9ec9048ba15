"""What a spec's logging means, without an account and a cluster: the configuration, and where sample lines would go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from inference_operator.api.v1alpha1 import InferenceDeploymentSpec, InferenceEnvironmentSpec, ObjectMeta, Route
from inference_operator.domain.names import Identity
from inference_operator.engine.objects import accept
from inference_operator.engine.status import Refusal
from inference_operator.fluentbit import custom
from inference_operator.fluentbit.intent import debugged, intent
from inference_operator.fluentbit.outputs import needs
from inference_operator.fluentbit.rendering import Configuration, described, render
from inference_operator.fluentbit.routing import Line, goes_to, joined, understood

Document = Mapping[str, Any]
SHOWN = 100
"""Characters of a sample line that are shown."""


@dataclass(frozen=True, kw_only=True)
class Explanation:
    name: str
    refusal: str | None = None
    configuration: Configuration | None = None
    """None: there is no log router."""
    notes: Sequence[str] = ()
    lines: Sequence[str] = ()
    """Where each sample line goes."""

    def text(self) -> str:
        if self.refusal is not None:
            return f"# {self.name}\nrefused: {self.refusal}"
        parts = [f"# {self.name}", *self.notes]
        if self.configuration is not None:
            parts += ["", "# ==== configuration ====", self.configuration.main]
            parts += ["# ==== parsers ====", self.configuration.parsers]
            parts.append(f"# {len(self.configuration)} bytes, sha256 {self.configuration.hash}")
        if self.lines:
            parts += ["", "# ==== sample lines ====", *self.lines]
        return "\n".join(parts)


def explained(
    document: Document, environments: Mapping[str, Document], sample: Sequence[str], now: datetime
) -> Explanation:
    """`sample` holds lines as the server would write them to stdout. Who may have the object is not asked."""
    metadata = {"namespace": "default", "uid": "", **document["metadata"]}
    object_meta = ObjectMeta.model_validate(metadata)
    identity = Identity(namespace=str(object_meta.namespace), name=object_meta.name, uid="")
    accepted = accept({"metadata": metadata, "spec": document.get("spec", {})}, environments, {})
    if isinstance(accepted, Refusal):
        return Explanation(name=identity.key, refusal=accepted.message)
    spec, environment = accepted
    if spec.logging.custom is not None:
        notes = ("# a configuration of its own: where lines go is not known here",)
        return Explanation(name=identity.key, configuration=custom.wrapped(spec.logging.custom), notes=notes)
    if not spec.logging.routes:
        notes = (f"# no routes: every line goes to the log group {identity.log_group}",)
        return Explanation(name=identity.key, notes=notes)
    asked = intent(
        spec, environment, namespace=identity.namespace, name=identity.name, log_group=identity.log_group, now=now
    )
    return Explanation(
        name=identity.key,
        configuration=render(asked),
        notes=tuple(_notes(spec, environment, identity, now)),
        lines=tuple(_where(spec.logging.routes, sample, debug=debugged(spec, now))),
    )


def _notes(
    spec: InferenceDeploymentSpec, environment: InferenceEnvironmentSpec, identity: Identity, now: datetime
) -> Iterator[str]:
    for number, route in enumerate(spec.logging.routes):
        yield f"# route {number}: {described(route)}"
    if debugged(spec, now):
        yield f"# until {spec.logging.debug_until}: every line also to the log group {identity.log_group}"
    yield f"# the task role {spec.task_role_arn or environment.task_role_arn} needs:"
    place = f"aws:{environment.region}:{environment.task_role_arn.split(':')[4]}"
    for name in sorted({name for route in spec.logging.routes for name in route.to}):
        destination = environment.logging.destinations[name]
        need = needs(name, destination, namespace=identity.namespace, service=identity.name, place=place)
        yield f"#   {', '.join(need.actions)} on {need.resource} (destination {name})"


def _where(routes: Sequence[Route], sample: Sequence[str], *, debug: bool) -> Iterator[str]:
    for text in joined(sample):
        number, names = goes_to(understood(Line(text=text)), routes, dice=0)
        share = routes[number].sample_percent
        told = [f"{name}{f' ({share} %)' if share else ''}" for name in sorted(names)]
        told += ["debug"] if debug else []
        shown = text.replace("\n", "⏎")
        yield f"route {number} -> {', '.join(told) or 'nowhere'}: {shown[:SHOWN]}{'…' * (len(shown) > SHOWN)}"
