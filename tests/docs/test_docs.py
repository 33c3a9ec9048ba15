"""What the pages say exists, exists: links, paths, manifests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from inference_operator.api.meta import API_VERSION
from inference_operator.api.v1alpha1 import InferenceDeployment, InferenceEnvironment
from inference_operator.domain.causes import causes
from inference_operator.domain.reasons import EXPLANATIONS, Reason
from inference_operator.resources import KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
KIND: dict[str, type[BaseModel]] = {
    "InferenceDeployment": InferenceDeployment,
    "InferenceEnvironment": InferenceEnvironment,
}
TOP = r"(?:operator|sandbox|inference_server|docs|tests|examples|crds|tools|demo|benchmarks|requirements)/"

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text()))
    local = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [link for link in local if link and not (page.parent / link).exists()] == []


@each_page
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = re.findall(rf"`({TOP}[\w./-]*)`", without_code(page.read_text()))
    invented = {"operator/inference_operator/resources/alarm.py"}  # the recipe's example
    assert [path for path in named if path not in invented and not (ROOT / path).exists()] == []


def manifests() -> list[Any]:
    blocks = [b for page in PAGES for b in re.findall(r"```yaml\n(.*?)```", page.read_text(), flags=re.DOTALL)]
    files = [file.read_text() for file in sorted((ROOT / "examples").glob("*.yaml"))]
    documents = [d for text in (*blocks, *files) for d in yaml.safe_load_all(text)]
    return [d for d in documents if isinstance(d, dict) and d.get("apiVersion") == API_VERSION]


@pytest.mark.parametrize("document", manifests(), ids=lambda d: f"{d['kind']}-{d['metadata']['name']}")
def test_every_manifest_shown_is_valid(document: dict[str, Any]) -> None:
    KIND[document["kind"]].model_validate(document)


def test_there_are_manifests_to_check() -> None:
    assert len(manifests()) >= 4


def test_every_reason_is_explained() -> None:
    assert set(EXPLANATIONS) == set(Reason)


def test_the_reference_has_every_condition_and_every_cause() -> None:
    conditions = (ROOT / "docs/reference/conditions.md").read_text()
    assert [kind.name for kind in KINDS if f"`{kind.name}Ready`" not in conditions] == []
    listed = (ROOT / "docs/reference/causes.md").read_text()
    assert [cause.name for cause in causes() if f"`{cause.name}`" not in listed] == []
