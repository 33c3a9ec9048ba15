"""The server's own description of itself."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

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
