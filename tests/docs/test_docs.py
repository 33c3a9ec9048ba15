"""What the pages say exists, exists: links, paths, commands, names, manifests."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from inference_operator.api.meta import API_VERSION
from inference_operator.api.v1alpha1 import InferenceDeployment, InferenceEnvironment
from inference_operator.domain.diagnosis import known
from inference_operator.domain.reasons import EXPLANATIONS, Reason
from inference_operator.resources import KINDS

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")])
PACKAGES = [ROOT / "operator/inference_operator", ROOT / "inference_server", ROOT / "sandbox/inference_sandbox"]
KIND: dict[str, type[BaseModel]] = {
    "InferenceDeployment": InferenceDeployment,
    "InferenceEnvironment": InferenceEnvironment,
}
TOP = "operator|sandbox|inference_server|docs|tests|examples|crds|tools|demo|benchmarks|requirements"
PATH = re.compile(rf"(?:{TOP})/[\w./*-]*|[\w./-]+/[\w-]+\.py|Dockerfile\.\w+|\.ci/run")
INVENTED = {"resources/alarm.py"}
"""The file that the recipe for a new kind makes."""
NEVER_READY = {
    *(Reason.ACCEPTED, Reason.VERIFIED, Reason.AS_SPECIFIED, Reason.DEPENDENCY_NOT_READY, Reason.STEADY),
    *(Reason.LOGS_FLOWING, Reason.LOGS_LOST, Reason.LOGS_DELAYED, Reason.LOGS_NOT_REPORTED),
    *(Reason.NOT_DELIVERED, Reason.NOT_VERIFIED),
}
"""Reasons of conditions other than Ready."""

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


@cache
def anchors(page: Path) -> set[str]:
    """As GitHub makes them from headings."""
    headings = re.findall(r"^#+ (.+)$", without_code(page.read_text()), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def quoted(page: Path) -> Iterator[str]:
    """What stands between backticks in the text."""
    yield from re.findall(r"`([^`\n]+)`", without_code(page.read_text()))


@cache
def code() -> str:
    folders = [*PACKAGES, ROOT / "tests", ROOT / "demo", ROOT / "tools"]
    return "\n".join(file.read_text() for folder in folders for file in sorted(folder.rglob("*.py")))


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", without_code(page.read_text()))
    lost = []
    for link in links:
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        is_here = not re.match(r"[a-z]+:", link)
        if is_here and not (target.exists() and (not anchor or anchor in anchors(target))):
            lost.append(link)
    assert lost == []


@each_page
def test_every_path_that_is_named_exists(page: Path) -> None:
    named = [path for path in quoted(page) if PATH.fullmatch(path) and path not in INVENTED]
    assert [path for path in named if not any(list(root.glob(path)) for root in (ROOT, *PACKAGES))] == []


@each_page
def test_every_make_target_that_is_named_exists(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = re.findall(r"(?:`|^\$ )make ((?:[a-z-]+ ?)+)", page.read_text(), flags=re.MULTILINE)
    assert {target for line in named for target in line.split()} <= targets


@each_page
def test_every_constant_and_setting_that_is_named_is_in_the_code(page: Path) -> None:
    named = {word for word in quoted(page) if re.fullmatch(r"_?[A-Z]+(_[A-Z]+)+|_[a-z]+(_[a-z]+)*", word)}
    settings = {word for word in named if word.startswith("INFERENCE_")}
    fields = {re.sub(r"INFERENCE_(OPERATOR_)?", "", word).lower() for word in settings}
    assert [field for field in fields if not re.search(rf"^    {field}:", code(), re.MULTILINE)] == []
    known = named - settings - {"UPDATE_GOLDEN", "KUBEBUILDER_ASSETS", "AWS_ENDPOINT_URL"}
    assert [word for word in known if not re.search(rf"\b_?{word}\b", code())] == []


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


def test_the_walk_to_a_cause_has_every_reason_that_ready_may_have() -> None:
    walk = set(quoted(ROOT / "docs/troubleshooting.md"))
    assert set(Reason) - NEVER_READY - walk == set()


def test_every_cause_that_the_walk_names_exists() -> None:
    table = (ROOT / "docs/troubleshooting.md").read_text().partition("| cause |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", "".join(re.findall(r"^\|([^|]*)\|", table, flags=re.MULTILINE)))
    assert named
    assert set(named) <= {cause.name for cause in known()}


def test_the_reference_has_every_condition_and_every_cause() -> None:
    conditions = (ROOT / "docs/reference/conditions.md").read_text()
    assert [kind.name for kind in KINDS if f"`{kind.name}Ready`" not in conditions] == []
    listed = (ROOT / "docs/reference/causes.md").read_text()
    assert [cause.name for cause in known() if f"`{cause.name}`" not in listed] == []


def test_every_decision_is_in_the_index_and_has_the_four_parts() -> None:
    folder = ROOT / "docs/adr"
    decisions = sorted(folder.glob("[0-9]*.md"))
    assert [int(page.name[:4]) for page in decisions] == list(range(1, len(decisions) + 1))
    index = (folder / "README.md").read_text()
    for page in decisions:
        text = page.read_text()
        title = text.partition("\n")[0].partition(". ")[2]
        assert f"]({page.name}) | {title} |" in index
        assert re.findall(r"^\*\*(Context|Decision|Consequences|Rejected)\.\*\*", text, re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
            "Rejected",
        ], page.name
