"""The site that `make docs` builds: every page is in it, and its pages fetch nothing from elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.docs.test_docs import without_code

ROOT = Path(__file__).resolve().parents[2]
PAGES = {
    *("README.md", "CONTRIBUTING.md", "argocd/README.md"),
    *(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md")),
}


def listed(entries: list[Any]) -> Iterator[str]:
    """The pages of the navigation, in its order."""
    for entry in entries:
        for target in entry.values() if isinstance(entry, dict) else [entry]:
            yield from listed(target) if isinstance(target, list) else [target]


def test_the_navigation_has_every_page_once() -> None:
    project = tomllib.loads((ROOT / "zensical.toml").read_text())["project"]

    assert sorted(listed(project["nav"])) == sorted(PAGES)


@pytest.mark.parametrize("page", sorted(PAGES))
def test_what_belongs_to_an_item_of_a_list_is_indented_by_four(page: str) -> None:
    """What the site is made with wants that; GitHub, which would do with less, takes it as well."""
    text = without_code((ROOT / page).read_text())

    assert re.findall(r"^\n {2,3}\S.*|^ {2,3}(?:[-*]|\d+\.) .*", text, re.MULTILINE) == []


@pytest.mark.skipif(find_spec("zensical") is None, reason="the dependency group `docs` is not installed")
def test_the_site_builds_strictly_and_its_pages_fetch_nothing_from_elsewhere(tmp_path: Path) -> None:
    built = subprocess.run(
        [sys.executable, str(ROOT / "tools/site.py"), str(tmp_path / "docs")],
        check=False,
        capture_output=True,
        text=True,
    )

    assert built.returncode == 0, built.stderr
    site = tmp_path / "docs" / "site"
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(PAGES)  # one says that there is no such page
    fetched = [
        (page.name, tag)
        for page in pages
        for tag in re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", page.read_text())
        if re.search(r"""(?:src|href)=["']?(?:https?:)?//""", tag)
    ]
    assert fetched == []
