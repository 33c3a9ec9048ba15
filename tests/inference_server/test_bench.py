"""The command that puts load on a server."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from inference_server.cli import main
from tests.inference_server.models import published, write_linear, write_top_n
from tests.inference_server.running import running


def test_it_tells_how_each_model_was_answered(tmp_path: Path) -> None:
    root = tmp_path / "models"
    write_linear(root)
    write_top_n(root)
    with running(published(root)) as server:
        server.wait_until_live()

        def bench(*arguments: str) -> tuple[int, str]:
            options = ["--url", server.base_url, "--seconds", "0.5", "--connections", "4"]
            result = CliRunner().invoke(main, ["bench", *options, *arguments])
            return result.exit_code, result.output

        for model in ("linear", "recommender"):
            code, output = bench(model)
            assert code == 0, output
            assert "requests/s on 4 connections" in output
            assert "p99 " in output
            assert "200: " in output
        wrong = tmp_path / "request.json"
        wrong.write_text("{}")
        code, output = bench("linear", "--request", str(wrong))
        assert code == 1
        assert "400: " in output
        code, output = bench("nobody")
        assert code == 1
        assert "has no example for model 'nobody'" in output


def test_a_server_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(main, ["bench", "linear", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "http://127.0.0.1:9 can't be reached" in result.output
