"""Writes what is derived from the code: CRDs, IAM policy, reference pages. With --check it only says what is stale."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import yaml

from inference_operator.api.crd import crd_files
from inference_operator.api.reference import reference_page
from inference_operator.api.schema import structural_schema
from inference_operator.api.v1alpha1 import InferenceEnvironmentSpec
from inference_operator.aws.iam import policy
from inference_operator.domain.conditions import Type
from inference_operator.domain.diagnosis import known
from inference_operator.domain.reasons import EXPLANATIONS, Reason
from inference_operator.resources import ENVIRONMENT_KINDS, KINDS
from inference_operator.runtime import rbac
from inference_server.settings import described

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "charts" / "inference-operator"


def conditions_page() -> str:
    """Every condition and every reason, with what to do."""
    about = "\n".join(f"| `{t.value}` | {t.about} |" for t in Type)
    kinds = "\n".join(f"| `{kind.name}Ready` | {(kind.__doc__ or '').strip()} |" for kind in KINDS)
    own = "\n".join(f"| `{kind.name}Ready` | {(kind.__doc__ or '').strip()} |" for kind in ENVIRONMENT_KINDS)
    reasons = "\n".join(f"| `{r.value}` | {' | '.join(EXPLANATIONS[r])} |" for r in Reason)
    return f"""<!-- Generated from the operator's code: edit it, then `make manifests`. -->

# Conditions

`kubectl describe infdep NAME` shows them; each has a `message` that names the object and the next step.

## About the whole object

| condition | True means |
|---|---|
{about}

## About one AWS resource

| condition | True means that this is there, as specified and settled |
|---|---|
{kinds}

Of an InferenceEnvironment that asks for events ([events](../events.md)):

| condition | True means that this is there, as specified and settled |
|---|---|
{own}

## Reasons

| reason | what it says | what to do |
|---|---|---|
{reasons}
"""


def causes_page() -> str:
    """Every cause of a failure, with what to do."""
    rows = "\n".join(f"| `{c.name}` | {c.severity} | {c.explanation} | {c.next_step} |" for c in known())
    return f"""<!-- Generated from operator/inference_operator/domain/causes.py: edit it, then `make manifests`. -->

# Causes

`status.lastFailure.cause` and `status.stoppedTasks[].cause` are one of these. The text that they were read from stands
beside them, as ECS wrote it.

| cause | severity | what happened | what to do |
|---|---|---|---|
{rows}
"""


def server_settings_page() -> str:
    """Every setting of the server."""
    rows = "\n".join(f"| `{s.variable}` | {s.default} | {s.description} |" for s in described())
    return f"""<!-- Generated from inference_server/settings.py: edit it, then `make manifests`. -->

# Settings of the server

Environment variables of `inference-server run`. One that is empty is as good as none.

| variable | default | meaning |
|---|---|---|
{rows}
"""


def argocd_file() -> str:
    """A patch of Argo CD's ConfigMap argocd-cm."""
    scripts = sorted((ROOT / "argocd" / "resource_customizations").glob("*/*/health.lua"))
    data = {
        f"resource.customizations.health.{script.parts[-3]}_{script.parts[-2]}": script.read_text()
        for script in scripts
    }
    lines = ["# Generated from argocd/resource_customizations: edit those, then `make manifests`.", "data:"]
    for key, text in data.items():
        lines += [f"  {key}: |", *(f"    {line}".rstrip() for line in text.splitlines())]
    return "\n".join(lines) + "\n"


def rbac_file() -> str:
    """The rules of the chart's roles, by scope."""
    return (
        "# Generated from operator/inference_operator/runtime/rbac.py: edit it, then `make manifests`.\n"
        + yaml.safe_dump(rbac.roles(), sort_keys=False)
    )


def values_schema_file() -> str:
    """The chart's schema, which is written by hand but for the environment's spec. Not every Helm has the API server
    validate strictly: a guardrail that is misspelt in the values would be dropped without a word."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    schema["properties"]["environment"]["properties"]["spec"] = {
        **_names_and_types(structural_schema(InferenceEnvironmentSpec)),
        "$comment": "Generated from the models in operator/inference_operator/api.",
    }
    del schema["properties"]["environment"]["properties"]["spec"]["required"]  # it may be empty while it is not enabled
    return json.dumps(schema, indent=2) + "\n"


def _names_and_types(node: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON schema; the limits are the API server's to tell, in better words."""
    if node.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    kept = {key: node[key] for key in ("type", "enum", "required") if key in node}
    if "items" in node:
        kept["items"] = _names_and_types(node["items"])
    if "properties" in node:
        required = node.get("required", ())
        members = {name: _names_and_types(member) for name, member in node["properties"].items()}
        kept["properties"] = {n: member if n in required else _or_null(member) for n, member in members.items()}
        kept["additionalProperties"] = False
    elif "additionalProperties" in node:
        kept["additionalProperties"] = _names_and_types(node["additionalProperties"])
    return kept


def _or_null(node: dict[str, Any]) -> dict[str, Any]:
    """As a value of Helm's is taken away."""
    types = node["type"] if isinstance(node["type"], list) else [node["type"]]
    return {**node, "type": [*types, "null"], **({"enum": [*node["enum"], None]} if "enum" in node else {})}


def generated() -> dict[Path, str]:
    crds = {ROOT / "crds" / name: text for name, text in crd_files().items()}
    reference = ROOT / "docs" / "reference"
    chart = CHART / "files"
    return {
        **crds,
        **{chart / "crds" / name: text for name, text in crd_files().items()},
        chart / "rbac.yaml": rbac_file(),
        CHART / "values.schema.json": values_schema_file(),
        ROOT / "argocd" / "argocd-cm.yaml": argocd_file(),
        reference / "api.md": reference_page(),
        reference / "causes.md": causes_page(),
        reference / "conditions.md": conditions_page(),
        reference / "server-settings.md": server_settings_page(),
        reference / "iam-policy.json": json.dumps(policy(), indent=2) + "\n",
    }


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail if a file is not up to date.")
def main(*, check: bool) -> None:
    """Write the generated files."""
    stale = [path for path, text in generated().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(generated()[path])
        click.echo(f"{'out of date' if check else 'wrote'}: {path.relative_to(ROOT)}", err=check)
    if check and stale:
        click.echo("run `make manifests`", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
