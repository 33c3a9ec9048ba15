from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from inference_operator.api import reference
from inference_operator.api.crd import check_crds, crd_documents, write_crds
from inference_operator.api.meta import GROUP
from tests.api.conftest import ROOT

Node = dict[str, Any]

CRDS = {document["spec"]["names"]["kind"]: document for document in crd_documents()}


def version(kind: str) -> Node:
    only: Node
    (only,) = CRDS[kind]["spec"]["versions"]
    return only


def nodes(kind: str) -> Iterator[tuple[str, Node]]:
    def below(path: str, node: Node) -> Iterator[tuple[str, Node]]:
        yield path, node
        for name, child in node.get("properties", {}).items():
            yield from below(f"{path}.{name}".removeprefix("."), child)
        if "items" in node:
            yield from below(f"{path}[]", node["items"])

    return below("", version(kind)["schema"]["openAPIV3Schema"])


def test_the_files_in_crds_are_what_the_models_say() -> None:
    assert check_crds(ROOT / "crds") == [], "run `make manifests`"


def test_the_reference_page_is_what_the_models_say() -> None:
    assert reference.is_current(ROOT / reference.PAGE), "run `make manifests`"


def test_a_stale_a_missing_and_a_foreign_file_are_told(tmp_path: Path) -> None:
    stale, missing = write_crds(tmp_path)
    stale.write_text("{}")
    missing.unlink()
    (tmp_path / "other.yaml").write_text("{}")
    told = check_crds(tmp_path)
    assert sorted(told) == sorted(
        [f"{stale} is out of date", f"{missing} is missing", f"{tmp_path / 'other.yaml'} belongs to no kind"]
    )


def test_what_is_written_is_what_is_checked(tmp_path: Path) -> None:
    paths = write_crds(tmp_path / "new")
    assert check_crds(tmp_path / "new") == []
    assert [yaml.safe_load(path.read_text()) for path in paths] == list(crd_documents())


@pytest.mark.parametrize("kind", CRDS)
def test_every_field_has_a_description(kind: str) -> None:
    bare = {path for path, node in nodes(kind) if not node.get("description")}
    scalar_items = {path for path, node in nodes(kind) if path.endswith("[]") and "properties" not in node}
    assert bare - scalar_items == {"metadata"}  # the API server describes that itself


@pytest.mark.parametrize("kind", CRDS)
def test_a_description_tells_the_limits_and_the_default(kind: str) -> None:
    for path, node in nodes(kind):
        description = node.get("description", "")
        for bound in ("minimum", "maximum", "maxItems"):
            if bound in node:
                assert str(node[bound]) in description, path
        if node.get("default", {}) != {}:
            assert "Default: " in description, path


@pytest.mark.parametrize("kind", CRDS)
def test_everything_that_a_rule_could_walk_is_bounded(kind: str) -> None:
    for path, node in nodes(kind):
        if path.startswith("spec"):
            if node.get("type") == "array":
                assert "maxItems" in node, path
            if node.get("type") == "string":
                assert "maxLength" in node or "enum" in node, path


@pytest.mark.parametrize("kind", CRDS)
def test_no_keyword_of_our_own_is_left(kind: str) -> None:
    strange = {
        keyword
        for _, node in nodes(kind)
        for keyword in node
        if keyword.startswith("x-") and not keyword.startswith("x-kubernetes-")
    }
    assert not strange


def test_conditions_are_a_list_keyed_by_type() -> None:
    for kind in CRDS:
        conditions = dict(nodes(kind))["status.conditions"]
        assert conditions["x-kubernetes-list-type"] == "map"
        assert conditions["x-kubernetes-list-map-keys"] == ["type"]


def test_names_are_those_that_people_type() -> None:
    for kind, short in (("InferenceEnvironment", "infenv"), ("InferenceDeployment", "infdep")):
        names = CRDS[kind]["spec"]["names"]
        assert names["shortNames"] == [short]
        assert names["categories"] == ["inference"]
        assert CRDS[kind]["metadata"]["name"] == f"{names['plural']}.{GROUP}"
