"""The server's own description of itself, and the page about it."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from inference_server.protocol.errors import RequestError
from inference_server.repository.model_config import ModelConfig
from inference_server.runtimes import _BUILT_IN
from inference_server.settings import described
from tests.inference_server.models import published, write_linear
from tests.inference_server.running import running


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models"
    root.mkdir()
    write_linear(root)
    return published(root)


def test_the_openapi_document_names_the_paths_and_its_examples_are_answered(models: Path) -> None:
    with running(models) as server:
        server.wait_until_live()
        document = server.get("/openapi.json").json()
        assert document["openapi"].startswith("3.")
        assert {"/v2", "/v2/health/live", "/v2/health/ready"} <= set(document["paths"])
        example = server.get("/docs/examples/linear")
        answer = server.post("/v2/models/linear/infer", content=example.content)
        assert answer.status_code == 200, answer.text


def test_the_docs_page_loads_nothing_from_elsewhere(models: Path) -> None:
    with running(models) as server:
        page: httpx.Response = server.wait_until_live().get("/docs")
        assert page.status_code == 200
        assert page.headers["content-security-policy"].startswith("default-src 'none'")
        assert "http://" not in page.text.replace("http://www.w3.org", "")
        assert "https://" not in page.text


# --- docs/server.md ---------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "server.md").read_text()


def first_column(heading: str) -> set[str]:
    """The names in the first column of the table whose head begins so."""
    (table,) = re.findall(rf"^\| {heading} \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    rows = table.splitlines()[2:]
    return {name for row in rows if row for name in re.findall(r"`(\w+)`", row.split(" | ")[0])}


def test_the_page_tells_of_every_member_of_model_json_and_of_no_other() -> None:
    assert first_column("member") == ModelConfig.model_fields.keys()


def test_the_page_tells_of_every_runtime_and_of_no_other() -> None:
    assert first_column("runtime") == _BUILT_IN.keys()


def test_the_page_tells_of_every_error_code_and_of_no_other() -> None:
    (table,) = re.findall(r"^\| code \|.*?\n\n", PAGE, re.DOTALL | re.MULTILINE)
    told = {int(code) for row in table.splitlines()[2:] for code in re.findall(r"\d{3}", row.split(" | ")[0])}
    assert told == {kind.status for kind in RequestError.__subclasses__()} | {405}


def test_the_page_tells_of_every_metric_and_of_no_other(models: Path) -> None:
    with running(models) as server:
        server.wait_until_live()
        families = text_string_to_metric_families(server.get("/metrics").text)
        names = {f"{family.name}_{family.type}" if family.type == "info" else family.name for family in families}
    assert {name.removesuffix("_total") for name in first_column("metric")} == names


def test_the_page_names_settings_that_exist() -> None:
    known = {setting.variable for setting in described()}
    assert set(re.findall(r"INFERENCE_[A-Z_]+", PAGE)) <= known
