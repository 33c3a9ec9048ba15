"""The command that puts load on a server."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest
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
        for name in ("nobody", "no body/ä"):
            code, output = bench(name)
            assert code == 1
            assert f"has no example for model '{name}': " in output


def test_a_server_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(main, ["bench", "linear", "--url", "http://127.0.0.1:9"])
    assert result.exit_code == 1
    assert "http://127.0.0.1:9 can't be reached" in result.output


@pytest.mark.parametrize(
    "url", ["127.0.0.1:8080", "localhost:8080", "http://:8080", "http://127.0.0.1:80800", "ftp://a"]
)
def test_what_is_no_url_of_a_server_is_told(url: str) -> None:
    result = CliRunner().invoke(main, ["bench", "linear", "--url", url])
    assert result.exit_code == 1
    assert f"{url} is not the URL of a server" in result.output


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nhtml", "it answers 404, and not as this server does"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n[]", "it answers 404, and not as this server does"),
        (b"SSH-2.0-OpenSSH\r\n", "can't be reached: SSH-2.0-OpenSSH"),
    ],
)
def test_another_server_is_told_from_this_one(answer: bytes, words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_one() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=answer_one)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        result = CliRunner().invoke(main, ["bench", "linear", "--url", url])
        thread.join()
    assert result.exit_code == 1
    assert words in result.output
